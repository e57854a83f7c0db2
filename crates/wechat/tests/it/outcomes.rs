//! What a caller may conclude: refused, unknown, not sent.

use crate::orders::prepay;
use crate::support::{NOW, Reply, Server, Signer, client, config, direct, refusing_url};
use hexiao_wechat::{CallError, ErrorCode, PayClient, PayConfig};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn error_body(code: &str) -> String {
    json!({"code": code, "message": "说明 oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "detail": {"value": "x"}})
        .to_string()
}

fn good() -> Reply {
    Reply::ok(&json!({"prepay_id": "wx1"}))
}

#[tokio::test]
async fn refusals_carry_their_code_unverified() {
    for (status, code, expected, retryable) in [
        (400, "PARAM_ERROR", ErrorCode::ParamError, false),
        (400, "ORDERPAID", ErrorCode::OrderPaid, false),
        (400, "ORDER_CLOSED", ErrorCode::OrderClosed, false),
        (401, "SIGN_ERROR", ErrorCode::SignError, false),
        (403, "NOT_ENOUGH", ErrorCode::NotEnough, false),
        (403, "OUT_TRADE_NO_USED", ErrorCode::OutTradeNoUsed, false),
        (404, "ORDERNOTEXIST", ErrorCode::OrderNotExist, false),
        (404, "RESOURCE_NOT_EXISTS", ErrorCode::ResourceNotExists, false),
        (429, "RATELIMIT_EXCEEDED", ErrorCode::FrequencyLimited, true),
        (429, "SOMETHING_NEW", ErrorCode::Other("SOMETHING_NEW".into()), true),
    ] {
        let server = Server::start([Reply::new(status, error_body(code)).by(Signer::Nobody)]).await;
        let error = client(&server, direct()).prepay(&prepay()).await.expect_err("refused");
        assert_eq!(error.retryable(), retryable, "{code}");
        assert!(!error.outcome_unknown(), "{code}");
        assert!(!format!("{error} {error:?}").contains("oUpF8u"), "no openid in {error:?}");
        let CallError::Refused { status: got_status, code: got, request_id, .. } = error else {
            panic!("{code}: {error:?}");
        };
        assert_eq!((got_status, got), (status, expected));
        assert_eq!(request_id.as_deref(), Some("08F78BB4AF0610D302-268562704"));
        assert_eq!(server.seen().len(), 1, "a refusal is not repeated");
    }
}

#[tokio::test]
async fn server_failures_are_unknown_and_a_post_is_not_repeated() {
    for reply in [
        Reply::new(500, error_body("SYSTEM_ERROR")),
        Reply::new(502, "<html>bad gateway</html>"),
        Reply::new(503, error_body("PARAM_ERROR")),
        Reply::new(400, error_body("SYSTEM_ERROR")),
        Reply::new(403, error_body("BANK_ERROR")),
        Reply::new(404, "<html>some gateway</html>"),
        Reply::new(302, ""),
    ] {
        let server = Server::start([reply.by(Signer::Nobody), good()]).await;
        let error = client(&server, direct()).prepay(&prepay()).await.expect_err("unknown");
        assert!(error.outcome_unknown() && error.retryable(), "{error:?}");
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::start([Reply::new(429, "slow down").by(Signer::Nobody)]).await;
    let error = client(&server, direct()).prepay(&prepay()).await.expect_err("too many");
    assert_eq!(error.code(), Some(&ErrorCode::FrequencyLimited), "{error:?}");
}

#[tokio::test]
async fn success_that_is_not_verified_is_unknown() {
    let tampered = Reply { signed_body: Some("{\"prepay_id\":\"wx2\"}".into()), ..good() };
    for (what, reply) in [
        ("unsigned", good().by(Signer::Nobody)),
        ("probe", good().by(Signer::Probe)),
        ("tampered", tampered),
        ("wrong serial", good().by(Signer::NextCertificate)),
        ("300 s old", Reply { timestamp: NOW - 300, ..good() }),
        ("300 s ahead", Reply { timestamp: NOW + 300, ..good() }),
        ("signed nonsense", Reply::new(200, "{}")),
    ] {
        let server = Server::start([reply, good()]).await;
        let error = client(&server, direct()).prepay(&prepay()).await.expect_err(what);
        assert!(error.outcome_unknown(), "{what}: {error:?}");
        assert_eq!(server.seen().len(), 1, "{what}");
    }
    let server = Server::start([Reply { timestamp: NOW - 299, ..good() }]).await;
    client(&server, direct()).prepay(&prepay()).await.expect("299 s is young enough");
}

#[tokio::test]
async fn get_is_repeated_while_its_outcome_is_unknown() {
    let paid = || Reply::ok(&json!({"out_trade_no": "HX1", "trade_state": "SUCCESS"}));
    let broken = || Reply::new(500, error_body("SYSTEM_ERROR")).by(Signer::Nobody);
    let server = Server::start([broken(), paid().by(Signer::Probe), paid()]).await;
    client(&server, direct()).query("HX1").await.expect("the third answer");
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    let nonces: std::collections::BTreeSet<_> =
        seen.iter().map(|request| request.authorization()["nonce_str"].clone()).collect();
    assert_eq!(nonces.len(), 3, "signed anew each time");

    let server = Server::start([broken(), broken(), broken(), paid()]).await;
    let error = client(&server, direct()).query("HX1").await.expect_err("three are enough");
    assert!(error.outcome_unknown());
    assert_eq!(server.seen().len(), 3);

    let server = Server::start([Reply::new(404, error_body("ORDER_NOT_EXIST")), paid()]).await;
    let error = client(&server, direct()).query("HX1").await.expect_err("refused");
    assert_eq!(error.code(), Some(&ErrorCode::OrderNotExist));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_late_answer_is_unknown_within_the_timeout() {
    let server = Server::start([Reply { after: Duration::from_secs(5), ..good() }]).await;
    let timeout = Duration::from_millis(300);
    let client = PayClient::new(PayConfig { timeout, ..config(&server.url) }).expect("good");
    let start = Instant::now();
    let error = client.prepay(&prepay()).await.expect_err("late");
    assert!(error.outcome_unknown(), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(server.seen().len(), 1, "it did arrive");
}

#[tokio::test]
async fn a_refund_has_its_own_timeout() {
    use hexiao_wechat::RefundRequest;
    let refund = json!({
        "refund_id": "5", "out_refund_no": "RF1", "transaction_id": "4", "out_trade_no": "HX1",
        "status": "PROCESSING", "amount": {"refund": 1, "total": 1},
    });
    let server = Server::start([Reply { after: Duration::from_millis(600), ..Reply::ok(&refund) }]).await;
    let timeout = Duration::from_millis(100);
    let client = PayClient::new(PayConfig { timeout, ..config(&server.url) }).expect("good");
    let request = RefundRequest {
        out_trade_no: "HX1".into(),
        out_refund_no: "RF1".into(),
        reason: None,
        notify_url: "https://m.example.com/r".into(),
        refund_fen: 1,
        total_fen: 1,
    };
    client.refund(&request).await.expect("slower than an order may be, not than a refund may be");
}

#[tokio::test]
async fn a_connection_that_breaks_after_sending_is_unknown() {
    // The first hangs up unanswered, the second in the middle of its body.
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"prepay_id\""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let connections = tokio::spawn(async move {
            let mut count = 0;
            while let Ok(Ok((mut stream, _))) =
                tokio::time::timeout(Duration::from_millis(800), listener.accept()).await
            {
                count += 1;
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            count
        });
        let error = PayClient::new(config(&url)).expect("good").prepay(&prepay()).await.expect_err("broken");
        assert!(error.outcome_unknown(), "{error:?}");
        assert_eq!(connections.await.expect("counted"), 1, "not sent again");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let server = Server::start([Reply::new(200, "x".repeat(1_100_000))]).await;
    let error = client(&server, direct()).prepay(&prepay()).await.expect_err("too long");
    assert!(error.outcome_unknown() && error.to_string().contains("too long"), "{error}");
}

#[tokio::test]
async fn without_a_platform_key_or_a_connection_nothing_was_sent() {
    let server = Server::start([good()]).await;
    let client =
        PayClient::new(PayConfig { platform_keys: Vec::new(), ..config(&server.url) }).expect("good");
    let error = client.prepay(&prepay()).await.expect_err("the answer could not be verified");
    assert!(matches!(error, CallError::NotSent { .. }) && error.retryable(), "{error:?}");
    assert!(server.seen().is_empty());

    let client = PayClient::new(config(&refusing_url().await)).expect("good");
    let error = client.prepay(&prepay()).await.expect_err("nothing listens");
    assert!(matches!(error, CallError::NotSent { .. }), "{error:?}");
    assert!(!error.outcome_unknown());
}
