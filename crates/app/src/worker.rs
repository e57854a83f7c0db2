//! The worker: what goes on by itself. Closes expired orders, ends bookings whose time has come, runs jobs,
//! delivers messages, does what time brings (maturity, expiry, reminders), deletes what is old.
//!
//! Reconcilers take no input and jobs carry their own lease, so that any number of workers may run on one database
//! and a killed one leaves nothing stuck.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use hexiao_db::jobs::{self, NewJob};
use hexiao_db::transact;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::new_id;

/// The longest a due job or an expired order waits when nobody wakes the worker.
const TICK: Duration = Duration::from_millis(500);
const BATCH: u32 = 32;

/// How often lost jobs are looked for.
const RECONCILE: Duration = Duration::from_mins(1);

/// How often it is counted how far the consumers of the outbox are behind.
const GAUGE: Duration = Duration::from_secs(2);

/// How often old rows are looked for; the first time a minute after the start, which has more urgent work.
const PRUNE: Duration = Duration::from_hours(1);

impl App {
    /// Works until cancelled; finishes what it has begun. A failing or panicking part never stops the others.
    pub async fn run_worker(self, stop: CancellationToken) {
        // Receivers of webhooks may take their time; nothing else waits for them.
        tokio::join!(self.run_parts(&stop), self.run_webhooks(&stop));
    }

    async fn run_parts(&self, stop: &CancellationToken) {
        match self.recover_jobs().await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "took back the jobs of a worker that did not finish them"),
            Err(error) => {
                tracing::error!(
                    error = error.log_text(),
                    "cannot take back unfinished jobs; their leases will end"
                );
            }
        }
        let mut reconcile = tokio::time::interval(RECONCILE);
        let mut gauge = tokio::time::interval(GAUGE);
        let mut prune = tokio::time::interval_at(Instant::now() + RECONCILE, PRUNE);
        // When the next batch of old rows may go: one for each tick, however busy the worker is.
        let mut next_batch: Option<Instant> = None;
        // When the next round of what time brings is made: one for each tick, however much is due.
        let mut next_round = Instant::now();
        while !stop.is_cancelled() {
            if reconcile.tick().now_or_never().is_some() {
                part("reconcile", self.adopt_orphans()).await;
                part("count dead jobs", self.count_dead_jobs()).await;
            }
            if gauge.tick().now_or_never().is_some() {
                part("count unread rows", self.count_unread()).await;
            }
            if next_round <= Instant::now() {
                self.settle_time().await;
                next_round = Instant::now() + TICK;
            }
            if prune.tick().now_or_never().is_some() {
                next_batch = Some(Instant::now());
            }
            if next_batch.is_some_and(|at| at <= Instant::now()) {
                let deleted = part("prune", self.prune()).await;
                next_batch = (deleted > 0).then(|| Instant::now() + TICK);
            }
            if self.work_once().await == 0 {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep(TICK) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Does everything that is due once; how much there was.
    pub async fn work_once(&self) -> usize {
        let closed = part("close expired orders", self.close_expired_orders(BATCH)).await;
        let bookings = part("due bookings", self.end_due_bookings(BATCH)).await
            + part("reminders of bookings", self.remind_of_bookings(BATCH)).await;
        let jobs = part("jobs", self.run_due_jobs(BATCH)).await;
        let messages = part("messages", self.deliver_messages()).await;
        let webhooks = part("webhooks", self.feed_webhooks()).await;
        let commission = part("commission", self.count_commission()).await;
        let risks = part("risk flags", self.watch_risks()).await;
        let matured = part("matured commission", self.mature_commission()).await;
        closed + bookings + jobs + messages + webhooks + commission + risks + matured
    }

    /// One round of what time brings; how much there was.
    pub async fn settle_time(&self) -> usize {
        let matured = part("maturity", self.mature_uses()).await;
        let expired = part("expiry", self.expire_vouchers()).await;
        let reminded = part("reminders", self.remind_customers()).await;
        matured + expired + reminded
    }

    /// Tells the metrics how far the consumers are behind.
    async fn count_unread(&self) -> Result<usize> {
        for (consumer, rows) in hexiao_db::outbox::unread(self.db.reader()).await? {
            let rows = u32::try_from(rows).unwrap_or(u32::MAX);
            metrics::gauge!("outbox_unread", "consumer" => consumer).set(rows);
        }
        Ok(0)
    }

    /// Tells the metrics how many jobs gave up.
    async fn count_dead_jobs(&self) -> Result<usize> {
        let dead = jobs::dead(self.db.reader()).await?;
        metrics::gauge!("jobs_dead").set(u32::try_from(dead).unwrap_or(u32::MAX));
        let open = hexiao_db::offline::open(self.db.reader()).await?;
        metrics::gauge!("exceptions_open").set(u32::try_from(open).unwrap_or(u32::MAX));
        Ok(0)
    }

    /// Gives payments and refunds that lost their job a new one.
    pub async fn adopt_orphans(&self) -> Result<usize> {
        let orphans = jobs::orphans(self.db.reader(), BATCH).await?;
        if orphans.is_empty() {
            return Ok(0);
        }
        tracing::warn!(count = orphans.len(), "payments or refunds without a job get a new one");
        let now = self.now();
        let new: Vec<NewJob> = orphans
            .into_iter()
            .map(|(merchant_id, kind, subject_id)| NewJob {
                id: new_id(),
                merchant_id,
                kind,
                subject_id,
                run_at: now,
            })
            .collect();
        let done: Result<()> =
            transact!(self.db, |tx| async { Ok::<_, AppError>(jobs::enqueue(&tx, &new, now).await?) });
        done.map(|()| new.len())
    }
}

/// Runs one part of the work; its failure is logged, counted as nothing done, and kept from the others.
async fn part(name: &str, work: impl Future<Output = Result<usize>>) -> usize {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(count)) => count,
        Ok(Err(error)) => {
            tracing::error!(part = name, error = error.log_text(), "the worker failed; it goes on");
            0
        }
        Err(_) => {
            tracing::error!(alarm = "worker_panic", part = name, "the worker panicked; it goes on");
            0
        }
    }
}
