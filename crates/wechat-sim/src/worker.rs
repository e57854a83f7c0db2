//! The one worker: ends refunds and sends notifications when the simulator's clock says so.
//!
//! Decisions (what is due, which faults strike) are made one after another in the order of due time, so
//! they are repeatable; only the sendings themselves run in parallel.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    delivery::{self, from_record, send},
    error::SimError,
    faults::{Occasion, SendFaults},
    journal::Mutation,
    model::{Attempt, Delivery, NotificationKind, NotificationRecord, NotificationState},
    refunds,
    sim::Sim,
    state::Store,
};

/// WeChat's retry table in seconds: fifteen retries after the first sending, 24 h 4 min in all.
pub(crate) const RETRIES_S: [u32; 15] =
    [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600];
/// Sendings under way at once.
const PARALLEL: usize = 64;
/// The worker looks around at least this often.
const IDLE: Duration = Duration::from_secs(1);

/// Something to announce.
pub(crate) struct Announcement {
    pub(crate) kind: NotificationKind,
    pub(crate) event_type: &'static str,
    pub(crate) mchid: String,
    pub(crate) out_trade_no: String,
    pub(crate) out_refund_no: Option<String>,
    pub(crate) url: String,
    pub(crate) plaintext: Value,
}

/// Puts an announcement on the schedule.
pub(crate) fn queue(
    sim: &Sim,
    store: &mut Store,
    announcement: Announcement,
    at: DateTime<Utc>,
) -> Result<(), SimError> {
    let sequence = store.sequence;
    let record = NotificationRecord {
        sequence,
        id: notification_id(at, sequence),
        kind: announcement.kind,
        event_type: announcement.event_type.to_owned(),
        mchid: announcement.mchid,
        out_trade_no: announcement.out_trade_no,
        out_refund_no: announcement.out_refund_no,
        url: announcement.url,
        plaintext: announcement.plaintext,
        created_at: at,
        state: NotificationState::Pending,
        tries: 0,
        next_at: Some(at + sim.notify_delay()),
        attempts: Vec::new(),
    };
    store.commit(Mutation::NotificationQueued { record: Box::new(record) })
}

/// Shaped like a UUID, 36 characters; unique by time and sequence.
pub(crate) fn notification_id(at: DateTime<Utc>, sequence: u64) -> String {
    let millis = at.timestamp_millis().unsigned_abs();
    format!("{:08x}-{:04x}-5000-8000-{:012x}", millis >> 16, millis & 0xFFFF, sequence & 0xFFFF_FFFF_FFFF)
}

/// Time from the `tries`-th sending to the next; `None` after the last.
fn retry_delay(sim: &Sim, tries: usize) -> Option<TimeDelta> {
    let seconds = RETRIES_S.get(tries.checked_sub(1)?)?;
    let scaled = Duration::try_from_secs_f64(f64::from(*seconds) / sim.notify_speed()).ok()?;
    TimeDelta::from_std(scaled).ok()
}

/// Notifications a `reorder` holds back. Kept outside the state: a restart releases them.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Vec<u64>>);

impl Held {
    fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, sequence: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sequence);
    }
}

/// Lets held notifications go, except one that has just been sent itself.
pub(crate) fn release_held(sim: &Sim, sent: Option<u64>) {
    let held = sim.held().take();
    if held.is_empty() {
        return;
    }
    let now = sim.now();
    let mut store = sim.store();
    for sequence in held.into_iter().filter(|sequence| Some(*sequence) != sent) {
        store.reschedule(sequence, now);
    }
    drop(store);
    sim.wake();
}

/// Runs until the simulator stops.
pub(crate) async fn run(sim: Sim) {
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut sendings = JoinSet::new();
    loop {
        let next = round(&sim, &permits, &mut sendings).await;
        while sendings.try_join_next().is_some() {}
        let wait = next
            .and_then(|at| (at - sim.now()).to_std().ok())
            .map_or(IDLE, |wait| wait.min(IDLE))
            // Due times have finer grain than timers; never spin.
            .max(Duration::from_millis(1));
        tokio::select! {
            () = sim.stop().cancelled() => return,
            () = sim.woken() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Starts everything that is due; returns when the next thing will be.
async fn round(sim: &Sim, permits: &Arc<Semaphore>, sendings: &mut JoinSet<()>) -> Option<DateTime<Utc>> {
    let now = sim.now();
    if let Err(error) = refunds::settle_due(sim, &mut sim.store(), now) {
        tracing::error!(%error, "a refund could not be ended");
    }
    loop {
        let taken = sim.store().take_send_due(now);
        let Some(sequence) = taken else { break };
        let Some((record, faults)) = decide(sim, sequence, now) else { continue };
        let Ok(permit) = permits.clone().acquire_owned().await else { break };
        let sim = sim.clone();
        sendings.spawn(async move {
            attempt(&sim, record, faults).await;
            drop(permit);
        });
    }
    let store = sim.store();
    let refund = store.refunds_due.first().map(|(at, _)| *at);
    let sending = store.sends_due.first().map(|(at, _)| *at);
    refund.into_iter().chain(sending).min()
}

/// Which faults strike this sending; `None` when it is put off.
fn decide(sim: &Sim, sequence: u64, now: DateTime<Utc>) -> Option<(NotificationRecord, SendFaults)> {
    let record = sim.store().notifications.get(&sequence).cloned()?;
    if record.state != NotificationState::Pending {
        return None;
    }
    let occasion =
        Occasion { path: &record.url, out_trade_no: Some(&record.out_trade_no), kind: record.kind.wire() };
    let first = record.tries == 0 && !sim.is_put_off(sequence);
    let faults = sim.faults().take_for_send(occasion, first);
    if let Some(delay_ms) = faults.late_ms {
        sim.mark_put_off(sequence);
        let delay = TimeDelta::milliseconds(i64::try_from(delay_ms).unwrap_or(i64::MAX / 4));
        sim.store().reschedule(sequence, now + delay);
        return None;
    }
    if faults.reordered {
        sim.mark_put_off(sequence);
        sim.held().push(sequence);
        return None;
    }
    Some((record, faults))
}

/// One sending by the retry table, with its faults.
async fn attempt(sim: &Sim, record: NotificationRecord, faults: SendFaults) {
    let sequence = record.sequence;
    let mut attempts = Vec::new();
    if faults.dropped {
        let delivery = Delivery { http_status: None, error: Some("dropped".into()) };
        attempts.push(Attempt { at: sim.now(), note: "dropped".into(), delivery });
    } else if let Err(error) = transmit(sim, &record, &faults, &mut attempts).await {
        let delivery = Delivery { http_status: None, error: Some(error.to_string()) };
        attempts.push(Attempt { at: sim.now(), note: "scheduled".into(), delivery });
    }
    let next_at = retry_delay(sim, record.tries + 1).map(|delay| sim.now() + delay);
    let tried = Mutation::NotificationTried { sequence, attempts, next_at, counted: true };
    if let Err(error) = sim.store().commit(tried) {
        tracing::error!(%error, "a sending could not be recorded");
    }
    sim.forget_put_off(sequence);
    release_held(sim, Some(sequence));
    sim.wake();
}

async fn transmit(
    sim: &Sim,
    record: &NotificationRecord,
    faults: &SendFaults,
    attempts: &mut Vec<Attempt>,
) -> Result<(), SimError> {
    if faults.probe_first {
        let at = sim.now();
        let delivery = send(sim, from_record(sim, record)?.into_probe()).await;
        attempts.push(Attempt { at, note: "probe".into(), delivery });
    }
    let mut copies = JoinSet::new();
    for copy in 0..faults.copies.unwrap_or(1) {
        let mut outgoing = from_record(sim, record)?;
        let note = match (faults.tampered, copy) {
            (true, _) => "tampered",
            (false, 0) => "scheduled",
            (false, _) => "duplicate",
        };
        if faults.tampered {
            outgoing.tamper();
        }
        let sim = sim.clone();
        copies.spawn(async move {
            let at = sim.now();
            let delivery = send(&sim, outgoing).await;
            Attempt { at, note: note.to_owned(), delivery }
        });
    }
    while let Some(done) = copies.join_next().await {
        match done {
            Ok(attempt) => attempts.push(attempt),
            Err(error) => tracing::error!(%error, "a sending failed"),
        }
    }
    Ok(())
}

/// One sending outside the schedule.
pub(crate) async fn resend(sim: &Sim, id: &str) -> Result<Delivery, SimError> {
    let unknown = || SimError::NotFound(format!("notification {id}"));
    let record = {
        let store = sim.store();
        let sequence = store.notification_by_id.get(id).ok_or_else(unknown)?;
        store.notifications.get(sequence).cloned().ok_or_else(unknown)?
    };
    let at = sim.now();
    let delivery = delivery::send(sim, from_record(sim, &record)?).await;
    let attempts = vec![Attempt { at, note: "resend".into(), delivery: delivery.clone() }];
    let tried =
        Mutation::NotificationTried { sequence: record.sequence, attempts, next_at: None, counted: false };
    sim.store().commit(tried)?;
    Ok(delivery)
}
