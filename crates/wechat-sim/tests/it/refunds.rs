//! Refunds: acceptance rules, settlement, the balance.

use std::time::Duration;

use hexiao_wechat_sim::{RefundOutcome, RefundStatus, SimConfig, SimError};
use serde_json::{Value, json};

use crate::support::*;

const APPLY: &str = "/v3/refund/domestic/refunds";

/// Nothing settles by itself unless a test moves the clock.
async fn bed() -> Bed {
    Bed::with(SimConfig { refund_delay: Duration::from_hours(1), ..config() }).await
}

fn minute(bed: &Bed) {
    bed.sim.advance_clock(Duration::from_mins(1)).unwrap();
}

#[tokio::test]
async fn every_field_rule() {
    let bed = bed().await;
    bed.paid("REFUND_0001").await;
    for (pointer, value) in [
        ("/out_refund_no", json!("")),
        ("/out_refund_no", json!("r".repeat(65))),
        ("/out_refund_no", json!("r r")),
        ("/reason", json!("r".repeat(81))),
        ("/reason", Value::Null),
        ("/notify_url", json!("https://a.b/?x")),
        ("/funds_account", json!("BASIC")),
        ("/amount", json!({"refund": 1, "total": 100})),
        ("/amount", json!({"refund": 0, "total": 100, "currency": "CNY"})),
        ("/amount", json!({"refund": 1, "total": 100, "currency": "CNY", "payer_refund": 1})),
        ("/sub_mchid", json!(SUB)),
        ("/extra", json!(1)),
    ] {
        let mut body = bed.refund("REFUND_0001", "R1", 1);
        body[&pointer[1..]] = value.clone();
        let answer = bed.post(APPLY, &body).await.refused(400, "PARAM_ERROR");
        let field = answer["detail"]["field"].as_str().unwrap();
        assert!(field.starts_with(pointer), "{pointer} = {value}: reported {field}");
    }
    let mut nameless = bed.refund("REFUND_0001", "R1", 1);
    nameless.as_object_mut().unwrap().remove("out_trade_no");
    bed.post(APPLY, &nameless).await.refused(400, "PARAM_ERROR");
    assert!(bed.sim.refunds().is_empty());
    assert_eq!(bed.query("REFUND_0001").await["trade_state"], "SUCCESS");
    let mut full = bed.refund("REFUND_0001", "R@_-|*1", 1);
    full["reason"] = json!("退");
    bed.post(APPLY, &full).await.ok();
}

#[tokio::test]
async fn life_of_a_refund() {
    let bed = bed().await;
    let id = bed.paid("REFUND_0001").await;
    let accepted = bed.apply_refund("REFUND_0001", "R1", 40).await.ok();
    assert_eq!(accepted["status"], "PROCESSING");
    assert_eq!(accepted["transaction_id"], id);
    assert_eq!(accepted["amount"]["refund"], 40);
    assert!(accepted.get("success_time").is_none());
    assert_eq!(bed.query("REFUND_0001").await["trade_state"], "REFUND");
    let again = bed.apply_refund("REFUND_0001", "R1", 40).await.ok();
    assert_eq!(again, accepted, "the same number is the same refund");
    bed.apply_refund("REFUND_0001", "R1", 41).await.refused(400, "INVALID_REQUEST");

    bed.sim.advance_clock(Duration::from_mins(59)).unwrap();
    assert_eq!(bed.get(&format!("{APPLY}/R1")).await.ok()["status"], "PROCESSING");
    minute(&bed);
    let done = bed.get(&format!("{APPLY}/R1")).await.ok();
    assert_eq!(done["status"], "SUCCESS");
    assert!(done["success_time"].as_str().unwrap().ends_with("+08:00"));

    let notified = &bed.hook.wait(2).await[1];
    assert_eq!(notified.json["event_type"], "REFUND.SUCCESS");
    assert_eq!(notified.json["resource"]["original_type"], "refund");
    let plain = notified.plain();
    assert_eq!(plain["refund_status"], "SUCCESS");
    assert!(plain.get("status").is_none());
    assert_eq!(plain["amount"], json!({"total": 100, "refund": 40, "payer_total": 100, "payer_refund": 40}));
    bed.get(&format!("{APPLY}/R2")).await.refused(404, "RESOURCE_NOT_EXISTS");
}

#[tokio::test]
async fn which_orders_can_be_refunded() {
    let bed = bed().await;
    bed.apply_refund("NOBODY", "R1", 1).await.refused(404, "RESOURCE_NOT_EXISTS");
    bed.create("REFUND_0001").await;
    bed.apply_refund("REFUND_0001", "R1", 1).await.refused(404, "RESOURCE_NOT_EXISTS");
    bed.pay("REFUND_0001");
    let mut wrong_total = bed.refund("REFUND_0001", "R1", 1);
    wrong_total["amount"]["total"] = json!(99);
    bed.post(APPLY, &wrong_total).await.refused(400, "INVALID_REQUEST");
    bed.apply_refund("REFUND_0001", "R1", 101).await.refused(400, "INVALID_REQUEST");

    let id = bed.paid("REFUND_0002").await;
    let mut by_id = bed.refund("REFUND_0001", "R2", 1);
    by_id["transaction_id"] = json!(id);
    bed.post(APPLY, &by_id).await.refused(400, "INVALID_REQUEST");
    by_id.as_object_mut().unwrap().remove("out_trade_no");
    assert_eq!(bed.post(APPLY, &by_id).await.ok()["out_trade_no"], "REFUND_0002");

    bed.sim.advance_clock(Duration::from_hours(24 * 365)).unwrap();
    bed.apply_refund("REFUND_0001", "R3", 1).await.refused(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn parts_and_their_sum() {
    let bed = bed().await;
    bed.paid("REFUND_0001").await;
    bed.apply_refund("REFUND_0001", "R1", 60).await.ok();
    minute(&bed);
    bed.apply_refund("REFUND_0001", "R2", 41).await.refused(400, "INVALID_REQUEST");
    // A refund that failed definitively gives its part back.
    bed.sim.settle_refund("R1", RefundOutcome::Closed).unwrap();
    bed.apply_refund("REFUND_0001", "R2", 100).await.ok();
    minute(&bed);
    bed.apply_refund("REFUND_0001", "R3", 1).await.refused(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn one_minute_apart_and_fifty_at_most() {
    let bed = bed().await;
    bed.paid("REFUND_0001").await;
    bed.paid("REFUND_0002").await;
    bed.apply_refund("REFUND_0001", "R00", 1).await.ok();
    bed.apply_refund("REFUND_0001", "R01", 1).await.refused(429, "FREQUENCY_LIMITED");
    bed.apply_refund("REFUND_0001", "R00", 1).await.ok();
    bed.apply_refund("REFUND_0002", "OTHER", 1).await.ok();
    bed.sim.advance_clock(Duration::from_secs(58)).unwrap();
    bed.apply_refund("REFUND_0001", "R01", 1).await.refused(429, "FREQUENCY_LIMITED");
    for index in 1..50 {
        minute(&bed);
        bed.apply_refund("REFUND_0001", &format!("R{index:02}"), 1).await.ok();
    }
    minute(&bed);
    bed.apply_refund("REFUND_0001", "R50", 1).await.refused(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn the_balance() {
    let bed = bed().await;
    bed.paid("REFUND_0001").await;
    assert_eq!(bed.sim.balance(MCHID), None);
    let (status, body) =
        bed.control(reqwest::Method::POST, "/balance", &json!({"mchid": MCHID, "fen": 10})).await;
    assert_eq!((status, body["fen"].as_i64()), (200, Some(10)));
    bed.apply_refund("REFUND_0001", "R1", 11).await.refused(403, "NOT_ENOUGH");
    assert!(bed.sim.refunds().is_empty());
    bed.sim.set_balance(MCHID, 11).unwrap();
    bed.apply_refund("REFUND_0001", "R1", 11).await.ok();
    assert_eq!(bed.sim.balance(MCHID), Some(0));
    bed.sim.settle_refund("R1", RefundOutcome::Closed).unwrap();
    assert_eq!(bed.sim.balance(MCHID), Some(11));
    bed.paid("REFUND_0002").await;
    assert_eq!(bed.sim.balance(MCHID), Some(111));
    bed.sim.set_balance(MCHID, None).unwrap();
    assert_eq!(bed.sim.balance(MCHID), None);
    assert!(bed.sim.set_balance("1", 1).is_err());
}

#[tokio::test]
async fn abnormal_and_again() {
    let bed = bed().await;
    bed.paid("REFUND_0001").await;
    let id = bed.apply_refund("REFUND_0001", "R1", 40).await.ok()["refund_id"].as_str().unwrap().to_owned();
    let url = format!("{APPLY}/{id}/apply-abnormal-refund");
    let card = json!({"out_refund_no": "R1", "type": "MERCHANT_BANK_CARD"});
    bed.post(&url, &card).await.refused(400, "INVALID_REQUEST");
    let (status, body) =
        bed.control(reqwest::Method::POST, "/refunds/R1", &json!({"outcome": "abnormal"})).await;
    assert_eq!((status, body["status"].as_str()), (200, Some("ABNORMAL")));
    assert_eq!(bed.hook.wait(2).await[1].json["event_type"], "REFUND.ABNORMAL");
    bed.sim.advance_clock(Duration::from_hours(2)).unwrap();
    assert_eq!(bed.get(&format!("{APPLY}/R1")).await.ok()["status"], "ABNORMAL", "it stays so");

    bed.post(&url, &json!({"out_refund_no": "R1", "type": "USER_BANK_CARD"}))
        .await
        .refused(400, "PARAM_ERROR");
    bed.post(&url, &json!({"out_refund_no": "R9", "type": "MERCHANT_BANK_CARD"}))
        .await
        .refused(404, "RESOURCE_NOT_EXISTS");
    assert_eq!(bed.post(&url, &card).await.ok()["status"], "PROCESSING");
    bed.sim.advance_clock(Duration::from_hours(1)).unwrap();
    assert_eq!(bed.get(&format!("{APPLY}/R1")).await.ok()["status"], "SUCCESS");
    assert_eq!(bed.hook.wait(3).await[2].json["event_type"], "REFUND.SUCCESS");
}

#[tokio::test]
async fn a_refund_ends_once() {
    let bed = bed().await;
    bed.paid("REFUND_0001").await;
    bed.apply_refund("REFUND_0001", "R1", 40).await.ok();
    bed.sim.settle_refund("R1", RefundOutcome::Success).unwrap();
    let again = bed.sim.settle_refund("R1", RefundOutcome::Closed);
    assert!(matches!(again, Err(SimError::Refused { code: "refund_ended", .. })));
    assert_eq!(bed.sim.refunds()[0].status, RefundStatus::Success);
    assert!(matches!(bed.sim.settle_refund("R2", RefundOutcome::Closed), Err(SimError::NotFound(_))));
}
