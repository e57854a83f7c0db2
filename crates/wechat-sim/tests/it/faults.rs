//! Every fault, for notifications and for calls.

use std::time::{Duration, Instant};

use hexiao_wechat_sim::{Fault, FaultAction, NotificationState};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

const CREATE: &str = "/v3/pay/transactions/jsapi";

fn notes(bed: &Bed, index: usize) -> Vec<String> {
    bed.sim.notifications()[index].attempts.iter().map(|attempt| attempt.note.clone()).collect()
}

#[tokio::test]
async fn late() {
    let bed = Bed::new().await;
    bed.fault(json!({"fault": "late", "delay_ms": 600_000, "times": null})).await;
    bed.paid("LATE_000001").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(bed.hook.received().is_empty());
    bed.sim.advance_clock(Duration::from_mins(10)).unwrap();
    assert!(bed.hook.wait(1).await[0].verifies());
    assert_eq!(bed.hook.received().len(), 1);
}

#[tokio::test]
async fn duplicate() {
    let bed = Bed::new().await;
    bed.fault(json!({"fault": "duplicate", "copies": 5})).await;
    for _ in 0..5 {
        bed.hook.answer_after(204, Duration::from_millis(300));
    }
    let started = Instant::now();
    bed.paid("TWICE_00001").await;
    let received = bed.hook.wait(5).await;
    assert!(started.elapsed() < Duration::from_millis(1200), "in parallel, not one after another");
    assert!(received.iter().all(|r| r.verifies() && r.json["id"] == received[0].json["id"]));
    assert_ne!(received[0].json["resource"]["nonce"], received[1].json["resource"]["nonce"]);
    bed.paid("TWICE_00002").await;
    bed.hook.wait(6).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bed.hook.received().len(), 6, "used up");
}

#[tokio::test]
async fn drop_the_first_three() {
    let bed = Bed::new().await;
    bed.fault(json!({"fault": "drop", "times": 3, "matching": {"out_trade_no": "DROP_000001"}})).await;
    bed.paid("DROP_000002").await;
    bed.hook.wait(1).await;
    bed.paid("DROP_000001").await;
    assert_eq!(bed.hook.wait(2).await[1].order(), "DROP_000001");
    eventually(|| bed.sim.notifications()[1].state == NotificationState::Delivered).await;
    assert_eq!(notes(&bed, 1), ["dropped", "dropped", "dropped", "scheduled"]);
    assert_eq!(notes(&bed, 0), ["scheduled"]);
}

#[tokio::test]
async fn reorder() {
    let bed = Bed::new().await;
    bed.fault(json!({"fault": "reorder", "matching": {"kind": "transaction"}})).await;
    bed.paid("ORDER_00001").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(bed.hook.received().is_empty(), "held");
    bed.paid("ORDER_00002").await;
    let received = bed.hook.wait(2).await;
    assert_eq!((received[0].order(), received[1].order()), ("ORDER_00002".into(), "ORDER_00001".into()));

    bed.fault(json!({"fault": "reorder"})).await;
    bed.paid("ORDER_00003").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bed.control(Method::DELETE, "/faults", &json!({})).await.0, 200);
    assert_eq!(bed.hook.wait(3).await[2].order(), "ORDER_00003", "released with the rules");
}

#[tokio::test]
async fn tamper() {
    let bed = Bed::new().await;
    bed.fault(json!({"fault": "tamper"})).await;
    bed.hook.answer(401);
    bed.paid("TAMPER_0001").await;
    let received = bed.hook.wait(2).await;
    assert!(!received[0].verifies());
    assert!(received[1].verifies(), "the retry is genuine");
    assert_eq!(received[0].json["id"], received[1].json["id"]);
}

#[tokio::test]
async fn probe_first() {
    let bed = Bed::new().await;
    bed.fault(json!({"fault": "probe_first"})).await;
    // A receiver that believes the probe still gets the genuine one.
    bed.hook.answer(200);
    bed.paid("PROBE_00001").await;
    let received = bed.hook.wait(2).await;
    assert!(received[0].header("Wechatpay-Signature").starts_with("WECHATPAY/SIGNTEST/"));
    assert!(received[1].verifies());
    eventually(|| bed.sim.notifications()[0].state == NotificationState::Delivered).await;
    assert_eq!(notes(&bed, 0), ["probe", "scheduled"]);
}

#[tokio::test]
async fn by_kind_and_path() {
    let bed = Bed::new().await;
    bed.fault(json!({"fault": "tamper", "times": null, "matching": {"kind": "refund", "path": "/notify"}}))
        .await;
    bed.fault(json!({"fault": "tamper", "times": null, "matching": {"path": "/elsewhere"}})).await;
    bed.paid("KIND_000001").await;
    assert!(bed.hook.wait(1).await[0].verifies());
    bed.apply_refund("KIND_000001", "R1", 1).await.ok();
    bed.sim.advance_clock(Duration::from_secs(2)).unwrap();
    assert!(!bed.hook.wait(2).await[1].verifies());
}

#[tokio::test]
async fn error_code() {
    let bed = Bed::new().await;
    let rule = json!({"fault": "error", "status": 429, "code": "RATELIMIT_EXCEED", "message": "m", "times": 2,
        "matching": {"path": "/jsapi", "out_trade_no": "ERROR_00001", "kind": "order_create"}});
    bed.fault(rule).await;
    bed.create("ERROR_00002").await;
    for _ in 0..2 {
        bed.post(CREATE, &bed.order("ERROR_00001")).await.refused(429, "RATELIMIT_EXCEED");
    }
    assert!(bed.sim.transaction("ERROR_00001").is_none(), "nothing committed");
    bed.create("ERROR_00001").await;
}

#[tokio::test]
async fn faults_come_after_authentication() {
    let bed = Bed::new().await;
    bed.fault(json!({"fault": "error", "status": 500, "code": "SYSTEM_ERROR"})).await;
    let call = Call { serial: "00".into(), ..bed.call(Method::POST, CREATE, &bed.order("ERROR_00001")) };
    bed.send(call).await.refused(401, "SIGN_ERROR");
    bed.post(CREATE, &bed.order("ERROR_00001")).await.refused(500, "SYSTEM_ERROR");
}

#[tokio::test]
async fn error_after_commit() {
    let bed = Bed::new().await;
    bed.paid("COMMIT_0001").await;
    bed.fault(json!({"fault": "error_after_commit", "matching": {"kind": "refund_create"}})).await;
    bed.apply_refund("COMMIT_0001", "R1", 40).await.refused(500, "SYSTEM_ERROR");
    assert_eq!(bed.sim.refunds().len(), 1);
    bed.apply_refund("COMMIT_0001", "R1", 40).await.ok();

    bed.fault(
        json!({"fault": "error_after_commit", "close": true, "matching": {"out_trade_no": "COMMIT_0002"}}),
    )
    .await;
    let call = bed.call(Method::POST, CREATE, &bed.order("COMMIT_0002"));
    assert!(bed.try_send(call).await.is_err(), "the connection was cut");
    assert!(bed.sim.transaction("COMMIT_0002").is_some());
    bed.create("COMMIT_0002").await;

    // A refusal commits nothing and is told as it is.
    bed.fault(json!({"fault": "error_after_commit"})).await;
    bed.apply_refund("COMMIT_0001", "R2", 100).await.refused(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn timeout() {
    let bed = Bed::new().await;
    for (number, commit) in [("TIME_000001", true), ("TIME_000002", false)] {
        bed.fault(json!({"fault": "timeout", "commit": commit, "hang_ms": 300})).await;
        let started = Instant::now();
        let call = bed.call(Method::POST, CREATE, &bed.order(number));
        assert!(bed.try_send(call).await.is_err());
        assert!(started.elapsed() >= Duration::from_millis(300));
        assert_eq!(bed.sim.transaction(number).is_some(), commit);
    }
}

#[tokio::test]
async fn delay() {
    let bed = Bed::new().await;
    bed.sim.set_fault(Fault::new(FaultAction::Delay { delay_ms: 300 }).kind("order_create")).unwrap();
    let started = Instant::now();
    bed.create("DELAY_00001").await;
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn spoiled_answers() {
    let bed = Bed::new().await;
    bed.create("SPOIL_00001").await;
    let query = format!("/v3/pay/transactions/out-trade-no/SPOIL_00001?mchid={MCHID}");
    bed.fault(json!({"fault": "response_tamper"})).await;
    let answer = bed.get(&query).await;
    assert_eq!((answer.status, answer.json["trade_state"].as_str()), (200, Some("NOTPAY")));
    assert!(!answer.verifies());
    bed.fault(json!({"fault": "response_probe"})).await;
    let answer = bed.get(&query).await;
    assert!(answer.header("Wechatpay-Signature").starts_with("WECHATPAY/SIGNTEST/"));
    bed.fault(json!({"fault": "response_tamper"})).await;
    let close = "/v3/pay/transactions/out-trade-no/SPOIL_00001/close";
    let answer = bed.post(close, &json!({"mchid": MCHID})).await;
    assert_eq!(answer.status, 204);
    assert!(!answer.verifies());
    bed.get(&query).await.ok();
}

#[tokio::test]
async fn mini_program_errors() {
    let bed = Bed::new().await;
    bed.fault(json!({"fault": "error", "status": 500, "code": "-1", "message": "system error", "matching": {"kind": "jscode2session"}})).await;
    let url = format!(
        "{}/sns/jscode2session?appid={APPID}&secret=secret&js_code=sim-ann&grant_type=authorization_code",
        bed.sim.url()
    );
    let answer = Answer::read(bed.http.get(&url).send().await.unwrap()).await;
    assert_eq!((answer.status, answer.json["errcode"].as_i64()), (200, Some(-1)));
    let answer = Answer::read(bed.http.get(&url).send().await.unwrap()).await;
    assert_eq!(answer.json["openid"], bed.openid());
}

#[tokio::test]
async fn bad_rules() {
    let bed = Bed::new().await;
    for rule in [
        json!({"fault": "nonsense"}),
        json!({"fault": "duplicate", "copies": 1}),
        json!({"fault": "error", "status": 200, "code": "X"}),
        json!({"fault": "drop", "matching": {"order": "x"}}),
        json!({"rule": {"fault": "drop"}}),
        Value::Null,
    ] {
        let (status, body) = bed.control(Method::POST, "/faults", &rule).await;
        assert_eq!((status, body["code"].as_str()), (400, Some("fault_invalid")), "{rule}");
    }
}
