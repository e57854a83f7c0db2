//! The journal: the state survives a restart, and a torn last line.

use std::{io::Write, path::PathBuf, time::Duration};

use hexiao_wechat_sim::{NotificationState, NotifyKey, RefundOutcome, SimConfig, SimError, start};
use serde_json::json;

use crate::support::*;

/// A file that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("hexiao-sim-{}-{name}.jsonl", std::process::id())))
    }

    fn config(&self) -> SimConfig {
        SimConfig { state_file: Some(self.0.clone()), refund_delay: Duration::from_hours(1), ..config() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Stops a bed and starts another on the same file; the receiver stays.
async fn restart(bed: Bed, config: SimConfig) -> Bed {
    let Bed { sim, http, hook } = bed;
    sim.shutdown().await;
    Bed { sim: start(config).await.unwrap(), http, hook }
}

#[tokio::test]
async fn everything_is_there_again() {
    let file = Scratch::new("all");
    let bed = Bed::with(file.config()).await;
    let id = bed.paid("RESTART_001").await;
    bed.create("RESTART_002").await;
    bed.apply_refund("RESTART_001", "R1", 40).await.ok();
    bed.sim.settle_refund("R1", RefundOutcome::Closed).unwrap();
    bed.hook.wait(2).await;
    eventually(|| bed.sim.notifications().iter().all(|n| n.state == NotificationState::Delivered)).await;
    bed.sim.set_balance(MCHID, 77).unwrap();
    bed.sim.set_notify_key(NotifyKey::PublicKey).unwrap();
    bed.sim.advance_clock(Duration::from_hours(5)).unwrap();
    let before = (bed.sim.now(), json!(bed.sim.transaction("RESTART_001")), json!(bed.sim.notifications()));

    let bed = restart(bed, file.config()).await;
    assert!(bed.sim.now() >= before.0, "the clock keeps its offset");
    assert_eq!(json!(bed.sim.transaction("RESTART_001")), before.1);
    assert_eq!(json!(bed.sim.notifications()), before.2);
    assert_eq!(bed.sim.balance(MCHID), Some(77));
    assert_eq!(bed.query("RESTART_001").await["transaction_id"], id);
    bed.create("RESTART_002").await;
    assert_ne!(bed.pay("RESTART_002"), id);
    let received = bed.hook.wait(3).await;
    assert_eq!(received[2].header("Wechatpay-Serial"), PUBLIC_KEY_ID);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bed.hook.received().len(), 3, "what was delivered is not sent again");
}

#[tokio::test]
async fn what_was_under_way_goes_on() {
    let file = Scratch::new("pending");
    let config = || SimConfig { notify_delay: Duration::from_hours(1), ..file.config() };
    let bed = Bed::with(config()).await;
    bed.paid("RESTART_001").await;
    bed.apply_refund("RESTART_001", "R1", 40).await.ok();
    let bed = restart(bed, config()).await;
    bed.sim.advance_clock(Duration::from_hours(2)).unwrap();
    let received = bed.hook.wait(2).await;
    let kinds: Vec<_> = received.iter().map(|r| r.json["event_type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"TRANSACTION.SUCCESS") && kinds.contains(&"REFUND.SUCCESS"), "{kinds:?}");
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off() {
    let file = Scratch::new("torn");
    let bed = Bed::with(file.config()).await;
    bed.create("RESTART_001").await;
    bed.create("RESTART_002").await;
    bed.sim.shutdown().await;
    let whole = std::fs::read(&file.0).unwrap();
    for torn in
        [&b"{\"m\":\"order_cl"[..], b"{\"m\":\"order_cl\n", b"\xff\xfe\n", b"{\"m\":\"unheard_of\"}\n"]
    {
        std::fs::write(&file.0, [&whole, torn].concat()).unwrap();
        let sim = start(file.config()).await.unwrap();
        assert_eq!(sim.transactions().len(), 2);
        assert_eq!(std::fs::read(&file.0).unwrap(), whole, "nothing of it is left");
        sim.set_balance(MCHID, 1).unwrap();
        sim.shutdown().await;
        let sim = start(file.config()).await.unwrap();
        assert_eq!(sim.balance(MCHID), Some(1), "the line after the cut is whole");
        sim.shutdown().await;
    }
    // The last line cut in the middle: the order before it is still there.
    std::fs::write(&file.0, &whole[..whole.len() - 20]).unwrap();
    assert_eq!(start(file.config()).await.unwrap().transactions().len(), 1);
}

#[tokio::test]
async fn damage_in_the_middle_is_an_error() {
    let file = Scratch::new("damaged");
    let mut out = std::fs::File::create(&file.0).unwrap();
    out.write_all(b"nonsense\n{\"m\":\"clock_moved\",\"offset_ms\":1}\n").unwrap();
    assert!(matches!(start(file.config()).await, Err(SimError::Journal(_))));
}

#[tokio::test]
async fn bad_configurations() {
    assert!(matches!(start(SimConfig { notify_speed: 0.0, ..config() }).await, Err(SimError::Config(_))));
    let mut twice = config();
    twice.merchants.push(merchant(MCHID, APPID, Vec::new()));
    assert!(matches!(start(twice).await, Err(SimError::Config(_))));
    let mut short = config();
    short.merchants[0].api_v3_key = "short".into();
    assert!(matches!(start(short).await, Err(SimError::Config(_))));
    let mut bad_key = config();
    bad_key.merchants[0].public_key_pem = "x".into();
    assert!(matches!(start(bad_key).await, Err(SimError::Key(_))));
}
