//! Sends what is due. A loop of its own, so that a receiver that takes its time holds up nothing else; and each
//! webhook has few tries under way, so that one that is slow does not hold up the others.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use chrono::Duration as Span;
use futures::FutureExt as _;
use hexiao_core::id::{Id as _, MerchantId, WebhookId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::webhook::{AfterTry, DeliveryState, MAX_LOGGED_TRIES, after_try, gives_up};
use hexiao_db::webhooks::{self, Delivery, Try, Webhook};
use hexiao_db::{Tx, audit, transact};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::send::Tried;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::entropy;

/// The longest that something due waits when nobody wakes the loop.
const TICK: Duration = Duration::from_millis(500);
/// Tries under way at once, of all webhooks and of one.
const IN_FLIGHT: usize = 128;
const IN_FLIGHT_OF_ONE: usize = 8;
/// Webhooks that get something to do in one round; the next round goes on after the last of them.
const ROUND: u32 = 32;

/// A try that is over.
struct Done {
    webhook: Webhook,
    delivery: Delivery,
    taken: bool,
}

/// What is under way.
#[derive(Default)]
struct Flight {
    tries: JoinSet<Done>,
    of: HashMap<WebhookId, usize>,
    /// Over, and not recorded yet.
    done: Vec<Done>,
    after: (Uuid, Uuid),
}

impl Flight {
    fn landed(&mut self, joined: std::result::Result<Done, tokio::task::JoinError>) {
        // A try catches its own panics; what is left is a runtime that stops.
        let Ok(done) = joined else { return };
        if let Some(n) = self.of.get_mut(&done.webhook.id) {
            *n -= 1;
            if *n == 0 {
                self.of.remove(&done.webhook.id);
            }
        }
        self.done.push(done);
    }

    /// How many more tries a webhook may have. One that fails gets a single one until it works again.
    fn room(&self, webhook: &Webhook) -> usize {
        let most = if webhook.failing_since.is_some() { 1 } else { IN_FLIGHT_OF_ONE };
        let busy = self.of.get(&webhook.id).copied().unwrap_or_default();
        most.saturating_sub(busy).min(IN_FLIGHT.saturating_sub(self.tries.len()))
    }
}

impl App {
    /// Sends until cancelled; what is under way then is waited for and recorded.
    pub(crate) async fn run_webhooks(&self, stop: &CancellationToken) {
        let now = self.now();
        let recovered: Result<u64> =
            transact!(self.db, |tx| async { Ok::<_, AppError>(webhooks::recover(&tx, now).await?) });
        if let Err(error) = recovered {
            tracing::error!(error = error.log_text(), "cannot take back webhooks that were being sent");
        }
        let mut flight = Flight::default();
        loop {
            let round = AssertUnwindSafe(self.webhook_round(&mut flight, stop)).catch_unwind().await;
            let busy = match round {
                Ok(Ok(busy)) => busy,
                Ok(Err(error)) => {
                    tracing::error!(error = error.log_text(), "sending webhooks failed; it goes on");
                    false
                }
                Err(_) => {
                    tracing::error!(
                        alarm = "worker_panic",
                        part = "webhooks",
                        "the worker panicked; it goes on"
                    );
                    false
                }
            };
            if stop.is_cancelled() && flight.tries.is_empty() {
                return;
            }
            if busy {
                continue;
            }
            tokio::select! {
                Some(joined) = flight.tries.join_next() => flight.landed(joined),
                () = self.outgoing.wake.notified() => {}
                () = tokio::time::sleep(TICK) => {}
                () = stop.cancelled(), if !stop.is_cancelled() => {}
            }
        }
    }

    /// Records what is over and sends what is due; whether there was anything.
    async fn webhook_round(&self, flight: &mut Flight, stop: &CancellationToken) -> Result<bool> {
        while let Some(joined) = flight.tries.try_join_next() {
            flight.landed(joined);
        }
        let recorded = !flight.done.is_empty();
        if recorded {
            self.record_tries(&flight.done).await?;
            flight.done.clear();
        }
        if stop.is_cancelled() || flight.tries.len() >= IN_FLIGHT {
            return Ok(recorded);
        }
        let now = self.now();
        let waiting = webhooks::waiting(self.db.reader(), flight.after, now, ROUND).await?;
        let all = u32::try_from(waiting.len()).is_ok_and(|n| n < ROUND);
        flight.after = waiting
            .last()
            .filter(|_| !all)
            .map_or((Uuid::nil(), Uuid::nil()), |w| (w.merchant_id.uuid(), w.id.uuid()));
        // The same webhook twice in one round would be given its room twice: there is one row of each.
        let wanted: Vec<(&Webhook, usize)> =
            waiting.iter().map(|w| (w, flight.room(w))).filter(|(_, room)| *room > 0).collect();
        if wanted.is_empty() {
            return Ok(recorded);
        }
        let lease = self.settings.job_lease;
        let claimed: Result<Vec<(Webhook, Delivery)>> = transact!(self.db, |tx| async {
            let mut claimed = Vec::new();
            for (webhook, room) in &wanted {
                let due = webhooks::claim(&tx, webhook, now, lease, *room).await?;
                claimed.extend(due.into_iter().map(|d| ((*webhook).clone(), d)));
            }
            Ok::<_, AppError>(claimed)
        });
        let claimed = claimed?;
        let sent = !claimed.is_empty();
        for (webhook, delivery) in claimed {
            *flight.of.entry(webhook.id).or_default() += 1;
            let app = self.clone();
            flight.tries.spawn(async move { app.try_and_judge(webhook, delivery).await });
        }
        Ok(recorded || sent)
    }

    async fn try_and_judge(&self, webhook: Webhook, delivery: Delivery) -> Done {
        let tried = AssertUnwindSafe(self.try_delivery(&webhook, &delivery)).catch_unwind().await;
        let now = self.now();
        let tried = tried.unwrap_or_else(|_| {
            let error = Some("系统内部错误".to_owned());
            Tried { taken: false, entry: Try { at: now, took_ms: 0, status: None, error, excerpt: None } }
        });
        let result = if tried.taken { "delivered" } else { "failed" };
        metrics::counter!("webhook_tries_total", "result" => result).increment(1);
        let taken = tried.taken;
        let delivery = judged(delivery, tried, now);
        if delivery.state == DeliveryState::Dead {
            tracing::warn!(webhook = %webhook.id, delivery = %delivery.id, "a webhook was tried for days in vain");
        }
        Done { webhook, delivery, taken }
    }

    async fn record_tries(&self, done: &[Done]) -> Result<()> {
        let now = self.now();
        let stopped: Result<Vec<WebhookId>> = transact!(self.db, |tx| record(self, &tx, done, now));
        self.hold_at("webhook_record.after_commit").await;
        for webhook in stopped? {
            metrics::counter!("webhooks_disabled_total").increment(1);
            tracing::error!(alarm = "webhook_disabled", %webhook, "a webhook has failed for days and was stopped");
        }
        Ok(())
    }
}

/// What a delivery is after a try.
fn judged(mut d: Delivery, tried: Tried, now: Timestamp) -> Delivery {
    d.tries += 1;
    d.failures = if tried.taken { 0 } else { d.failures + 1 };
    d.log.push(tried.entry);
    d.log.drain(..d.log.len().saturating_sub(MAX_LOGGED_TRIES));
    (d.state, d.next_at, d.finished_at) = match after_try(tried.taken, d.failures) {
        AfterTry::Delivered => (DeliveryState::Delivered, None, Some(now)),
        AfterTry::Retry(wait) => (DeliveryState::Failed, Some(now.plus(wait + jitter(wait))), None),
        AfterTry::Dead => (DeliveryState::Dead, None, Some(now)),
    };
    d
}

/// Up to a tenth more, so that what failed together does not come back together.
fn jitter(wait: Span) -> Span {
    let [byte] = entropy::<1>();
    wait * i32::from(byte) / 2560
}

/// Writes how tries ended, and which webhooks fail since now, work again, or are stopped: the stopped ones.
async fn record(app: &App, tx: &Tx, done: &[Done], now: Timestamp) -> Result<Vec<WebhookId>> {
    let mut tried: BTreeMap<MerchantId, Vec<Delivery>> = BTreeMap::new();
    let mut works: BTreeMap<(MerchantId, WebhookId), (bool, Option<Timestamp>)> = BTreeMap::new();
    for d in done {
        tried.entry(d.webhook.merchant_id).or_default().push(d.delivery.clone());
        let entry =
            works.entry((d.webhook.merchant_id, d.webhook.id)).or_insert((false, d.webhook.failing_since));
        entry.0 |= d.taken;
    }
    for (merchant, tried) in &tried {
        webhooks::record(tx, MerchantScope::of_system(*merchant), tried).await?;
    }
    let mut stopped = Vec::new();
    for ((merchant, id), (works, failing_since)) in works {
        let merchant = MerchantScope::of_system(merchant);
        match (works, failing_since) {
            (true, None) => {}
            (true, Some(_)) => webhooks::set_failing(tx, merchant, id, None).await?,
            (false, None) => webhooks::set_failing(tx, merchant, id, Some(now)).await?,
            (false, Some(since)) if gives_up(since, now) => {
                if webhooks::disable(tx, merchant, id, since, now).await? {
                    let detail = json!({"failing_since": since});
                    audit::record(tx, merchant, None, "webhook.disable", &id.to_string(), &detail, now)
                        .await?;
                    stopped.push(id);
                }
            }
            (false, Some(_)) => {}
        }
    }
    app.hold_at("webhook_record.before_commit").await;
    Ok(stopped)
}
