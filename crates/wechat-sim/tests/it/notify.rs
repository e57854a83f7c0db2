//! Notifications without faults: form, retries, forgeries.

use std::time::Duration;

use hexiao_wechat_sim::{Forgery, ForgeryKind, NotificationState, SimConfig};
use reqwest::Method;
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn form() {
    let bed = Bed::new().await;
    bed.paid("NOTIFY_0001").await;
    let received = &bed.hook.wait(1).await[0];
    assert!(received.verifies());
    assert_eq!(received.header("Wechatpay-Serial"), CERT_SERIAL);
    assert_eq!(received.header("Wechatpay-Signature-Type"), "WECHATPAY2-SHA256-RSA2048");
    assert_eq!(received.header("Content-Type"), "application/json");
    let body = &received.json;
    assert_eq!(body["event_type"], "TRANSACTION.SUCCESS");
    assert_eq!(body["resource_type"], "encrypt-resource");
    assert_eq!(body["resource"]["associated_data"], "transaction");
    assert_eq!(body["resource"]["nonce"].as_str().unwrap().len(), 12);
    assert_eq!(body["id"].as_str().unwrap().len(), 36);
    assert_eq!(received.plain(), bed.query("NOTIFY_0001").await);
    eventually(|| bed.sim.notifications()[0].state == NotificationState::Delivered).await;
}

#[tokio::test]
async fn retries_until_200_or_204() {
    let bed = Bed::new().await;
    for status in [500, 404, 202, 302] {
        bed.hook.answer(status);
    }
    bed.hook.answer(200);
    bed.paid("NOTIFY_0001").await;
    let received = bed.hook.wait(5).await;
    eventually(|| bed.sim.notifications()[0].state == NotificationState::Delivered).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bed.hook.received().len(), 5, "nothing after a success");
    for pair in received.windows(2) {
        assert!(pair[1].verifies());
        assert_eq!(pair[0].json["id"], pair[1].json["id"], "a retry keeps the id");
        assert_ne!(pair[0].json["resource"]["nonce"], pair[1].json["resource"]["nonce"]);
        assert_ne!(pair[0].header("Wechatpay-Nonce"), pair[1].header("Wechatpay-Nonce"));
    }
    let attempts = &bed.sim.notifications()[0].attempts;
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt.delivery.http_status.unwrap()).collect();
    assert_eq!(statuses, [500, 404, 202, 302, 200]);
}

#[tokio::test]
async fn the_retry_table_and_its_end() {
    // Real speed; the clock is moved instead.
    let bed = Bed::with(SimConfig { notify_speed: 1.0, ..config() }).await;
    for _ in 0..16 {
        bed.hook.answer(500);
    }
    bed.paid("NOTIFY_0001").await;
    let mut count = 1;
    for seconds in [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600] {
        eventually(|| bed.sim.notifications()[0].tries == count).await;
        let record = &bed.sim.notifications()[0];
        let wait = (record.next_at.unwrap() - record.attempts.last().unwrap().at).num_seconds();
        assert!((seconds..seconds + 2).contains(&wait), "after try {count}: {wait}");
        bed.sim.advance_clock(Duration::from_secs(seconds.unsigned_abs() - 2)).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(bed.hook.received().len(), count, "not before its time");
        bed.sim.advance_clock(Duration::from_secs(2)).unwrap();
        count += 1;
        bed.hook.wait(count).await;
    }
    eventually(|| bed.sim.notifications()[0].state == NotificationState::GaveUp).await;
    assert_eq!(bed.sim.notifications()[0].next_at, None);
    bed.sim.advance_clock(Duration::from_hours(24)).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bed.hook.received().len(), 16);
}

#[tokio::test]
async fn five_seconds_to_answer() {
    let bed = Bed::new().await;
    bed.hook.answer_after(200, Duration::from_millis(5500));
    bed.paid("NOTIFY_0001").await;
    bed.hook.wait(2).await;
    let first = bed.sim.notifications()[0].attempts[0].delivery.clone();
    assert_eq!((first.http_status, first.error.as_deref()), (None, Some("timeout")));
}

#[tokio::test]
async fn the_delay_before_the_first() {
    let bed = Bed::with(SimConfig { notify_delay: Duration::from_mins(10), ..config() }).await;
    bed.paid("NOTIFY_0001").await;
    bed.sim.advance_clock(Duration::from_secs(590)).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(bed.hook.received().is_empty());
    bed.sim.advance_clock(Duration::from_secs(10)).unwrap();
    bed.hook.wait(1).await;
}

#[tokio::test]
async fn resend() {
    let bed = Bed::new().await;
    bed.paid("NOTIFY_0001").await;
    let id = bed.hook.wait(1).await[0].json["id"].as_str().unwrap().to_owned();
    let (status, body) = bed.control(Method::POST, &format!("/notifications/{id}/resend"), &json!({})).await;
    assert_eq!((status, body["http_status"].as_u64()), (200, Some(204)));
    let received = bed.hook.received();
    assert_eq!((received.len(), &received[1].json["id"]), (2, &json!(id)));
    assert!(received[1].verifies());
    assert_eq!(bed.control(Method::POST, "/notifications/x/resend", &json!({})).await.0, 404);

    let (_, list) = bed.control(Method::GET, "/notifications?out_trade_no=NOTIFY_0001", &json!({})).await;
    assert_eq!(list["items"][0]["id"], id);
    let (_, none) = bed.control(Method::GET, "/notifications?out_trade_no=NOBODY", &json!({})).await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn a_resend_can_deliver_what_waits() {
    let bed = Bed::with(SimConfig { notify_speed: 1.0, ..config() }).await;
    bed.hook.answer(500);
    bed.paid("NOTIFY_0001").await;
    eventually(|| bed.sim.notifications()[0].tries == 1).await;
    let id = bed.sim.notifications()[0].id.clone();
    assert!(bed.sim.resend(&id).await.unwrap().accepted());
    assert_eq!(bed.sim.notifications()[0].state, NotificationState::Delivered);
    bed.sim.advance_clock(Duration::from_mins(1)).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bed.hook.received().len(), 2);
}

#[tokio::test]
async fn probe() {
    let bed = Bed::new().await;
    bed.create("NOTIFY_0001").await;
    bed.hook.answer(401);
    let (status, body) = bed.control(Method::POST, "/probe", &json!({"out_trade_no": "NOTIFY_0001"})).await;
    assert_eq!((status, body["http_status"].as_u64()), (200, Some(401)));
    let received = &bed.hook.received()[0];
    assert!(received.header("Wechatpay-Signature").starts_with("WECHATPAY/SIGNTEST/"));
    assert!(!received.verifies());
    assert_eq!(bed.query("NOTIFY_0001").await["trade_state"], "NOTPAY");
}

#[tokio::test]
async fn keys() {
    let bed = Bed::new().await;
    let mode = async |key: &str| bed.control(Method::POST, "/mode", &json!({"key": key})).await.0;
    assert_eq!(mode("public_key").await, 200);
    bed.paid("NOTIFY_0001").await;
    let received = &bed.hook.wait(1).await[0];
    assert_eq!(received.header("Wechatpay-Serial"), PUBLIC_KEY_ID);
    assert!(received.verifies());
    assert_eq!(mode("mixed").await, 200);
    bed.paid("NOTIFY_0002").await;
    bed.hook.wait(2).await;
    bed.paid("NOTIFY_0003").await;
    let received = bed.hook.wait(3).await;
    assert_ne!(received[1].header("Wechatpay-Serial"), received[2].header("Wechatpay-Serial"));
    assert!(received.iter().all(Received::verifies));
    assert_eq!(mode("none").await, 400);
}

#[tokio::test]
async fn forgeries() {
    let bed = Bed::new().await;
    bed.create("NOTIFY_0001").await;
    let forge = async |forgery: Forgery| {
        bed.hook.answer(500);
        bed.sim.forge(forgery).await.unwrap();
        bed.hook.received().pop().unwrap()
    };
    let kind = |kind| Forgery::new(kind, "NOTIFY_0001");

    assert!(!forge(kind(ForgeryKind::Tampered)).await.verifies());
    let wrong_serial = forge(kind(ForgeryKind::WrongSerial)).await;
    assert_eq!(wrong_serial.header("Wechatpay-Serial").len(), 40);
    assert!(!wrong_serial.verifies());

    let old = forge(kind(ForgeryKind::OldTimestamp)).await;
    assert!(old.verifies());
    let age = bed.sim.now().timestamp() - old.header("Wechatpay-Timestamp").parse::<i64>().unwrap();
    assert!((301..305).contains(&age), "{age}");

    let wrong_amount = forge(Forgery { amount: Some(1), ..kind(ForgeryKind::WrongAmount) }).await;
    assert!(wrong_amount.verifies());
    assert_eq!(wrong_amount.plain()["amount"]["total"], 1);
    let other = forge(kind(ForgeryKind::OtherMerchant)).await;
    assert!(other.verifies());
    assert_eq!(other.plain()["mchid"], "1999999999");
    let unknown = forge(kind(ForgeryKind::UnknownOrder)).await;
    assert!(unknown.verifies());
    assert_ne!(unknown.order(), "NOTIFY_0001");
    let wrong_key = forge(kind(ForgeryKind::WrongKey)).await;
    assert!(wrong_key.verifies());
    assert!(std::panic::catch_unwind(|| wrong_key.plain()).is_err(), "cannot be opened");

    let body = json!({"kind": "tampered", "out_trade_no": "NOTIFY_0001"});
    assert_eq!(bed.control(Method::POST, "/forge", &body).await.0, 200);
    assert_eq!(bed.query("NOTIFY_0001").await["trade_state"], "NOTPAY");
    assert!(bed.sim.notifications().is_empty());
}
