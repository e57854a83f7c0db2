//! Refunds: exact bodies, statuses, encrypted fields.

use crate::support::{
    PUB_KEY_ID, Reply, Server, Signer, certificate, client, config, direct, partner, public_key,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hexiao_wechat::{
    AbnormalRefund, AbnormalRefundTo, CallError, PayClient, PayConfig, RefundRequest, RefundStatus,
};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};

fn request() -> RefundRequest {
    RefundRequest {
        out_trade_no: "HX20261123000001".into(),
        out_refund_no: "RF20261123000001".into(),
        reason: Some("买错了".into()),
        notify_url: "https://m.example.com/notify/refund".into(),
        refund_fen: 3_000,
        total_fen: 10_000,
    }
}

fn refund(status: &str) -> Value {
    json!({
        "refund_id": "50200207182018070300011301001", "out_refund_no": "RF20261123000001",
        "transaction_id": "4200001234202611230123456789", "out_trade_no": "HX20261123000001",
        "channel": "ORIGINAL", "user_received_account": "招商银行信用卡0403",
        "create_time": "2025-11-23T17:00:00+08:00", "status": status, "funds_account": "UNSETTLED",
        "amount": {"total": 10_000, "refund": 3_000, "payer_total": 9_900, "payer_refund": 2_970,
            "settlement_refund": 3_000, "settlement_total": 10_000, "discount_refund": 30, "currency": "CNY"},
    })
}

#[tokio::test]
async fn refund_direct_is_exact() {
    let server = Server::start([Reply::ok(&refund("PROCESSING"))]).await;
    let answer = client(&server, direct()).refund(&request()).await.expect("accepted");
    let seen = server.only();
    assert_eq!(seen.line(), "POST /v3/refund/domestic/refunds");
    assert_eq!(
        seen.body_text(),
        "{\"out_trade_no\":\"HX20261123000001\",\"out_refund_no\":\"RF20261123000001\",\"reason\":\"买错了\",\
         \"notify_url\":\"https://m.example.com/notify/refund\",\
         \"amount\":{\"refund\":3000,\"total\":10000,\"currency\":\"CNY\"}}"
    );
    assert_eq!(answer.status, RefundStatus::Processing);
    assert_eq!((answer.refund_fen, answer.total_fen), (3_000, 10_000));
    assert_eq!((answer.refund_id.as_str(), answer.success_time), ("50200207182018070300011301001", None));
    assert_eq!(answer.user_received_account.as_deref(), Some("招商银行信用卡0403"));
}

#[tokio::test]
async fn refund_partner_names_the_sub_merchant_and_cuts_the_reason() {
    let server = Server::start([Reply::ok(&refund("SUCCESS"))]).await;
    let request = RefundRequest { reason: Some("退".repeat(40)), ..request() };
    client(&server, partner(None)).refund(&request).await.expect("accepted");
    let body: Value = serde_json::from_slice(&server.only().body).expect("JSON");
    assert_eq!(body["sub_mchid"], "1900000109");
    assert_eq!(body["reason"], "退".repeat(26));
}

#[tokio::test]
async fn refund_omits_an_empty_reason() {
    for reason in [None, Some(String::new())] {
        let server = Server::start([Reply::ok(&refund("SUCCESS"))]).await;
        client(&server, direct()).refund(&RefundRequest { reason, ..request() }).await.expect("accepted");
        assert!(!server.only().body_text().contains("reason"));
    }
}

#[tokio::test]
async fn query_refund_reads_every_status() {
    for (sent, status) in [
        ("SUCCESS", RefundStatus::Success),
        ("CLOSED", RefundStatus::Closed),
        ("PROCESSING", RefundStatus::Processing),
        ("ABNORMAL", RefundStatus::Abnormal),
        ("CLOSE", RefundStatus::Unknown("CLOSE".into())),
    ] {
        let server = Server::start([Reply::ok(&refund(sent))]).await;
        let answer = client(&server, partner(None)).query_refund("RF20261123000001").await.expect("known");
        assert_eq!(answer.status, status);
        assert_eq!(
            server.only().line(),
            "GET /v3/refund/domestic/refunds/RF20261123000001?sub_mchid=1900000109"
        );
    }
    let server = Server::start([Reply::ok(&refund("SUCCESS"))]).await;
    let error = client(&server, direct()).query_refund("RF@1").await.expect_err("another refund's answer");
    assert!(error.outcome_unknown());
    assert_eq!(server.only().line(), "GET /v3/refund/domestic/refunds/RF%401");
}

#[tokio::test]
async fn abnormal_refund_to_the_merchant_has_no_card() {
    let server = Server::start([Reply::ok(&refund("PROCESSING"))]).await;
    let request =
        AbnormalRefund { out_refund_no: "RF20261123000001".into(), to: AbnormalRefundTo::MerchantBankCard };
    client(&server, direct()).apply_abnormal_refund("5020", &request).await.expect("accepted");
    let seen = server.only();
    assert_eq!(seen.line(), "POST /v3/refund/domestic/refunds/5020/apply-abnormal-refund");
    assert_eq!(seen.body_text(), "{\"out_refund_no\":\"RF20261123000001\",\"type\":\"MERCHANT_BANK_CARD\"}");
}

#[tokio::test]
async fn abnormal_refund_encrypts_for_the_key_it_names_as_openssl_reads_it() {
    let server = Server::start([Reply::ok(&refund("PROCESSING")).by(Signer::PublicKey)]).await;
    let keys = vec![certificate(), public_key()];
    let client = PayClient::new(PayConfig { platform_keys: keys, ..config(&server.url) }).expect("good");
    let request = AbnormalRefund {
        out_refund_no: "RF20261123000001".into(),
        to: AbnormalRefundTo::UserBankCard {
            bank_type: "ICBC_DEBIT".into(),
            bank_account: "6225880123456789".into(),
            real_name: "张三".into(),
        },
    };
    assert!(!format!("{request:?}").contains("6225"));
    client.apply_abnormal_refund("5020", &request).await.expect("accepted");
    let seen = server.only();
    assert_eq!(seen.header("wechatpay-serial"), Some(PUB_KEY_ID));
    let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
    assert_eq!((&body["type"], &body["bank_type"]), (&json!("USER_BANK_CARD"), &json!("ICBC_DEBIT")));
    assert_eq!(openssl_decrypt(body["bank_account"].as_str().expect("text")), "6225880123456789");
    assert_eq!(openssl_decrypt(body["real_name"].as_str().expect("text")), "张三");
}

#[tokio::test]
async fn abnormal_refund_with_a_field_too_long_is_not_sent() {
    let server = Server::start([]).await;
    let request = AbnormalRefund {
        out_refund_no: "RF1".into(),
        to: AbnormalRefundTo::UserBankCard {
            bank_type: "ICBC_DEBIT".into(),
            bank_account: "6".repeat(215).into(),
            real_name: "张三".into(),
        },
    };
    let error =
        client(&server, direct()).apply_abnormal_refund("5020", &request).await.expect_err("too long");
    assert!(matches!(error, CallError::NotSent { .. }), "{error}");
    assert!(server.seen().is_empty());
}

/// Decrypts with the openssl command line, so that the padding is not only our own idea of it.
fn openssl_decrypt(cipher: &str) -> String {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/test-only-pubkey-key.pem");
    let mut child = Command::new("openssl")
        .args(["pkeyutl", "-decrypt", "-inkey", key, "-pkeyopt", "rsa_padding_mode:oaep"])
        .args(["-pkeyopt", "rsa_oaep_md:sha1", "-pkeyopt", "rsa_mgf1_md:sha1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs the openssl command line");
    let cipher = BASE64.decode(cipher).expect("base64");
    child.stdin.take().expect("piped").write_all(&cipher).expect("written");
    let output = child.wait_with_output().expect("ran");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}
