//! Prepay, payment parameters, query and close: exact paths and bodies, both account kinds.

use crate::support::{
    CERT_SERIAL, MERCHANT_SERIAL, NOW, OPENID, PUB_KEY_ID, Reply, Server, Signer, certificate, client,
    config, direct, partner, public_key, vectors,
};
use chrono::DateTime;
use hexiao_wechat::{Account, CallError, PayClient, PayConfig, Prepay, TradeState};
use serde_json::{Value, json};

pub fn prepay() -> Prepay {
    Prepay {
        description: "代金券".into(),
        out_trade_no: "HX20261123000001".into(),
        attach: None,
        notify_url: "https://m.example.com/notify/pay".into(),
        time_expire: DateTime::from_timestamp(NOW + 900, 5_000_000).expect("in range"),
        total_fen: 10_000,
        payer_openid: OPENID.into(),
        profit_sharing: false,
    }
}

fn prepaid() -> Reply {
    Reply::ok(&json!({"prepay_id": "wx26112221580621e9b071c00d9e093b0000"}))
}

#[tokio::test]
async fn prepay_direct_is_signed_and_exact() {
    let server = Server::start([prepaid()]).await;
    let id = client(&server, direct()).prepay(&prepay()).await.expect("prepaid");
    assert_eq!(id, "wx26112221580621e9b071c00d9e093b0000");
    let seen = server.only();
    assert_eq!(seen.line(), "POST /v3/pay/transactions/jsapi");
    assert_eq!(
        seen.body_text(),
        "{\"appid\":\"wxd678efh567hg6787\",\"mchid\":\"1230000109\",\"description\":\"代金券\",\
         \"out_trade_no\":\"HX20261123000001\",\"time_expire\":\"2025-11-23T17:15:00+08:00\",\
         \"notify_url\":\"https://m.example.com/notify/pay\",\"amount\":{\"total\":10000,\"currency\":\"CNY\"},\
         \"payer\":{\"openid\":\"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o\"}}"
    );
    let authorization = seen.authorization();
    assert_eq!(authorization["mchid"], "1230000109");
    assert_eq!(authorization["serial_no"], MERCHANT_SERIAL);
    assert_eq!(authorization["timestamp"], NOW.to_string());
    assert_eq!(authorization["nonce_str"].len(), 32);
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("wechatpay-serial"), Some(CERT_SERIAL));
    assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("hexiao-wechat/")));
}

#[tokio::test]
async fn prepay_sends_what_is_optional_only_when_given() {
    let server = Server::start([prepaid()]).await;
    let order =
        Prepay {
            description: "券".repeat(50), attach: Some("m=1".into()), profit_sharing: true, ..prepay()
        };
    client(&server, direct()).prepay(&order).await.expect("prepaid");
    let body: Value = serde_json::from_slice(&server.only().body).expect("JSON");
    assert_eq!(body["attach"], "m=1");
    assert_eq!(body["settle_info"], json!({"profit_sharing": true}));
    assert_eq!(body["description"], "券".repeat(42), "127 bytes at most, characters whole");
}

#[tokio::test]
async fn prepay_partner_names_the_payer_by_whose_appid_it_is() {
    let order = prepay();
    for (sub_appid, identity, payer) in [
        (Some("wxsub00000000000001"), json!("wxsub00000000000001"), json!({"sub_openid": OPENID})),
        (None, Value::Null, json!({"sp_openid": OPENID})),
    ] {
        let server = Server::start([prepaid()]).await;
        client(&server, partner(sub_appid)).prepay(&order).await.expect("prepaid");
        let seen = server.only();
        assert_eq!(seen.line(), "POST /v3/pay/partner/transactions/jsapi");
        assert_eq!(seen.authorization()["mchid"], "1230000109");
        let mut expected = json!({
            "sp_appid": "wx8888888888888888", "sp_mchid": "1230000109", "sub_mchid": "1900000109",
            "description": "代金券", "out_trade_no": "HX20261123000001",
            "time_expire": "2025-11-23T17:15:00+08:00", "notify_url": "https://m.example.com/notify/pay",
            "amount": {"total": 10_000, "currency": "CNY"}, "payer": payer,
        });
        if !identity.is_null() {
            expected["sub_appid"] = identity;
        }
        let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
        assert_eq!(body, expected, "nothing more, and no null");
    }
}

#[tokio::test]
async fn prepay_names_the_public_key_when_there_is_one() {
    let server = Server::start([prepaid().by(Signer::PublicKey), prepaid().by(Signer::Certificate)]).await;
    let keys = vec![certificate(), public_key()];
    let client = PayClient::new(PayConfig { platform_keys: keys, ..config(&server.url) }).expect("good");
    client.prepay(&prepay()).await.expect("answered with the public key");
    client.prepay(&prepay()).await.expect("answered with the certificate, which is known too");
    for seen in server.seen() {
        assert_eq!(seen.header("wechatpay-serial"), Some(PUB_KEY_ID));
    }
}

#[test]
fn request_payment_signs_as_openssl_does() {
    let v = vectors();
    let client = PayClient::new(config("http://127.0.0.1:9")).expect("good");
    let payment = client.request_payment(
        v["pay_sign"]["prepay_id"].as_str().expect("text"),
        v["pay_sign"]["nonce"].as_str().expect("text"),
    );
    assert_eq!(
        serde_json::to_value(&payment).expect("JSON"),
        json!({
            "timeStamp": "1763888400", "nonceStr": "593BEC0C930BF1AFEB40B4A08C8FB242",
            "package": "prepay_id=wx26112221580621e9b071c00d9e093b0000", "signType": "RSA",
            "paySign": v["pay_sign"]["signature"],
        })
    );
}

#[test]
fn request_payment_signs_for_the_appid_that_pays() {
    let sign = |account: Account| {
        let client = PayClient::new(PayConfig { account, ..config("http://127.0.0.1:9") }).expect("good");
        client.request_payment("wx1", "n").pay_sign
    };
    let direct_of = |appid: &str| sign(Account::Direct { appid: appid.into(), mchid: "1230000109".into() });
    assert_eq!(sign(partner(Some("wxsub1"))), direct_of("wxsub1"));
    assert_eq!(sign(partner(None)), direct_of("wx8888888888888888"));
    assert_ne!(direct_of("wxsub1"), direct_of("wx8888888888888888"));
}

#[tokio::test]
async fn query_reads_a_paid_order() {
    let server = Server::start([Reply::ok(&json!({
        "appid": "wxd678efh567hg6787", "mchid": "1230000109", "out_trade_no": "HX20261123000001",
        "transaction_id": "4200001234202611230123456789", "trade_state": "SUCCESS", "trade_state_desc": "支付成功",
        "bank_type": "OTHERS", "attach": "", "success_time": "2025-11-23T17:00:00+08:00",
        "payer": {"openid": OPENID}, "promotion_detail": [], "unheard_of": {"x": 1},
        "amount": {"total": 10_000, "payer_total": 9_900, "currency": "CNY", "payer_currency": "CNY"},
    }))])
    .await;
    let order = client(&server, direct()).query("HX20261123000001").await.expect("known");
    let seen = server.only();
    assert_eq!(seen.line(), "GET /v3/pay/transactions/out-trade-no/HX20261123000001?mchid=1230000109");
    assert!(seen.body.is_empty());
    assert_eq!(order.trade_state, TradeState::Success);
    assert_eq!((order.total_fen, order.payer_total_fen), (Some(10_000), Some(9_900)));
    assert_eq!(order.payer_openid.as_deref(), Some(OPENID));
    assert_eq!(order.success_time.map(|time| time.timestamp()), Some(NOW));
    assert!(order.belongs_to(&direct()));
    assert!(!order.belongs_to(&Account::Direct { appid: "wxother".into(), mchid: "1230000109".into() }));
    assert!(
        !order
            .belongs_to(&Account::Direct { appid: "wxd678efh567hg6787".into(), mchid: "1230000100".into() })
    );
    assert!(!order.belongs_to(&partner(None)));
    assert!(!format!("{order:?}").contains(OPENID), "an openid is not for logs");
}

#[tokio::test]
async fn query_partner_has_both_merchants_and_encodes_the_number() {
    let server = Server::start([Reply::ok(&json!({
        "sp_appid": "wx8888888888888888", "sp_mchid": "1230000109", "sub_mchid": "1900000109",
        "out_trade_no": "A|b*1", "trade_state": "NOTPAY", "trade_state_desc": "订单未支付", "success_time": "",
    }))])
    .await;
    let order = client(&server, partner(None)).query("A|b*1").await.expect("known");
    assert_eq!(
        server.only().line(),
        "GET /v3/pay/partner/transactions/out-trade-no/A%7Cb%2A1?sp_mchid=1230000109&sub_mchid=1900000109"
    );
    assert_eq!(
        (order.trade_state.clone(), order.success_time, order.total_fen),
        (TradeState::NotPay, None, None)
    );
    assert!(order.belongs_to(&partner(None)));
    assert!(!order.belongs_to(&partner(Some("wxsub1"))), "the configured sub_appid must be there");
    assert!(!order.belongs_to(&direct()));
}

#[tokio::test]
async fn query_does_not_take_another_orders_answer() {
    let other = json!({"out_trade_no": "HX2", "trade_state": "SUCCESS"});
    let server = Server::start([Reply::ok(&other)]).await;
    let error = client(&server, direct()).query("HX1").await.expect_err("another order");
    assert!(error.outcome_unknown(), "{error}");
}

#[tokio::test]
async fn query_keeps_a_state_it_does_not_know() {
    for (sent, state) in [
        ("REFUND", TradeState::Refund),
        ("CLOSED", TradeState::Closed),
        ("REVOKED", TradeState::Revoked),
        ("USERPAYING", TradeState::UserPaying),
        ("PAYERROR", TradeState::PayError),
        ("ACCEPT", TradeState::Unknown("ACCEPT".into())),
    ] {
        let server = Server::start([Reply::ok(&json!({"out_trade_no": "HX1", "trade_state": sent}))]).await;
        assert_eq!(client(&server, direct()).query("HX1").await.expect("known").trade_state, state);
    }
}

#[tokio::test]
async fn close_is_a_verified_204() {
    let server = Server::start([Reply::new(204, "")]).await;
    client(&server, direct()).close("HX1").await.expect("closed");
    let seen = server.only();
    assert_eq!(seen.line(), "POST /v3/pay/transactions/out-trade-no/HX1/close");
    assert_eq!(seen.body_text(), "{\"mchid\":\"1230000109\"}");

    let server = Server::start([Reply::new(204, "")]).await;
    client(&server, partner(None)).close("HX1").await.expect("closed");
    let seen = server.only();
    assert_eq!(seen.line(), "POST /v3/pay/partner/transactions/out-trade-no/HX1/close");
    assert_eq!(seen.body_text(), "{\"sp_mchid\":\"1230000109\",\"sub_mchid\":\"1900000109\"}");

    let server = Server::start([Reply::new(204, "").by(Signer::Nobody)]).await;
    let error = client(&server, direct()).close("HX1").await.expect_err("nobody signed");
    assert!(matches!(error, CallError::Unknown { .. }), "{error}");
}
