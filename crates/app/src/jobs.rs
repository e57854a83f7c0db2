//! The kinds of jobs and what runs them. A handler is idempotent, holds no transaction while it calls WeChat, and
//! says when it wants to run again.

use std::panic::AssertUnwindSafe;

use chrono::Duration;
use futures::FutureExt as _;
use hexiao_core::id::{Id as _, PaymentId, RefundId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::jobs::{self as queue, Job, NewJob};
use hexiao_db::{Tx, transact};
use uuid::Uuid;

use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::{entropy, new_id};

/// What jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Ask WeChat about a payment that is not settled; close it there when its order is closed.
    PaymentCheck,
    /// Send a refund to WeChat.
    RefundSubmit,
    /// Ask WeChat about a refund.
    RefundCheck,
}

impl JobKind {
    const ALL: [JobKind; 3] = [Self::PaymentCheck, Self::RefundSubmit, Self::RefundCheck];

    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentCheck => "payment_check",
            Self::RefundSubmit => "refund_submit",
            Self::RefundCheck => "refund_check",
        }
    }

    /// Reads it; nothing for a kind of another version.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// What it does, in Chinese.
    pub const fn words(self) -> &'static str {
        match self {
            Self::PaymentCheck => "向微信查询支付结果",
            Self::RefundSubmit => "向微信提交退款",
            Self::RefundCheck => "向微信查询退款结果",
        }
    }

    /// The id of the row it is about.
    pub fn subject(self, id: Uuid) -> String {
        match self {
            Self::PaymentCheck => PaymentId::from_uuid(id).to_string(),
            Self::RefundSubmit | Self::RefundCheck => RefundId::from_uuid(id).to_string(),
        }
    }
}

/// How a job's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do.
    Done,
    /// Run again then; not a failure.
    Again(Timestamp),
}

/// Enqueues a job in the transaction of the business that needs it.
pub(crate) async fn enqueue(
    tx: &Tx,
    merchant: MerchantScope,
    kind: JobKind,
    subject: Uuid,
    run_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let job = NewJob {
        id: new_id(),
        merchant_id: merchant.merchant_id(),
        kind: kind.as_str(),
        subject_id: subject,
        run_at,
    };
    Ok(queue::enqueue(tx, &[job], now).await?)
}

impl App {
    /// Takes back the jobs of a worker that was killed, where no other worker can be at them; how many there were.
    pub(crate) async fn recover_jobs(&self) -> Result<u64> {
        let recovered: Result<u64> =
            transact!(self.db, |tx| async { Ok::<_, AppError>(queue::recover(&tx).await?) });
        recovered
    }

    /// Claims due jobs and runs them side by side; how many there were. Called by the worker until it answers 0.
    pub async fn run_due_jobs(&self, limit: u32) -> Result<usize> {
        let now = self.now();
        if !queue::any_due(self.db.reader(), now).await? {
            return Ok(0);
        }
        let claimed: Result<Vec<Job>> = transact!(self.db, |tx| async {
            Ok::<_, AppError>(queue::claim(&tx, now, self.settings.job_lease, limit).await?)
        });
        let claimed = claimed?;
        let count = claimed.len();
        if count > 0 {
            self.hold_at("job.claimed").await;
        }
        futures::future::join_all(claimed.into_iter().map(|job| self.run_job(job))).await;
        Ok(count)
    }

    async fn run_job(&self, job: Job) {
        let handled = AssertUnwindSafe(self.handle(&job)).catch_unwind().await;
        let outcome = handled.unwrap_or_else(|_| Err(AppError::Internal("the handler panicked".to_owned())));
        let now = self.now();
        let recorded: Result<bool> = transact!(self.db, |tx| record(&tx, &job, &outcome, now));
        match (&outcome, recorded) {
            (_, Err(error)) => {
                tracing::error!(job = %job.id, kind = %job.kind, error = error.log_text(), "cannot record a job's outcome; its lease will end");
            }
            (Err(error), Ok(dead)) => {
                metrics::counter!("job_failures_total", "kind" => job.kind.clone()).increment(1);
                if dead {
                    tracing::error!(alarm = "job_dead", job = %job.id, kind = %job.kind, error = error.log_text(), "a job is dead after too many failures");
                } else {
                    tracing::warn!(job = %job.id, kind = %job.kind, attempts = job.attempts + 1, error = error.log_text(), "a job failed and will be retried");
                }
            }
            (Ok(_), Ok(_)) => {}
        }
    }

    async fn handle(&self, job: &Job) -> Result<Outcome> {
        let merchant = MerchantScope::of_system(job.merchant_id);
        match JobKind::from_text(&job.kind) {
            Some(JobKind::PaymentCheck) => {
                self.check_payment(merchant, PaymentId::from_uuid(job.subject_id), job.runs).await
            }
            Some(JobKind::RefundSubmit) => {
                self.submit_refund(merchant, RefundId::from_uuid(job.subject_id)).await
            }
            Some(JobKind::RefundCheck) => {
                self.check_refund(merchant, RefundId::from_uuid(job.subject_id), job.runs).await
            }
            None => Err(AppError::Internal(format!("no handler for jobs of kind {}", job.kind))),
        }
    }
}

async fn record(tx: &Tx, job: &Job, outcome: &Result<Outcome>, now: Timestamp) -> Result<bool> {
    match outcome {
        Ok(Outcome::Done) => queue::finish(tx, job, now).await?,
        Ok(Outcome::Again(at)) => queue::reschedule(tx, job, *at).await?,
        Err(error) => {
            return Ok(queue::fail(
                tx,
                job,
                &error.log_text(),
                (now, backoff(job.attempts, now)),
                !matches!(error, AppError::Wechat(_)),
            )
            .await?);
        }
    }
    Ok(false)
}

/// 2 s, 4 s, 8 s … an hour at most, and up to a quarter more so that failures do not march in step.
fn backoff(attempts: i64, now: Timestamp) -> Timestamp {
    let exponent = u32::try_from(attempts.clamp(0, 11)).unwrap_or(11);
    let seconds = 2i64.saturating_mul(1 << exponent).min(3600);
    let [jitter] = entropy::<1>();
    let jitter_ms = seconds * 250 * i64::from(jitter) / 256;
    now.plus(Duration::seconds(seconds) + Duration::milliseconds(jitter_ms))
}
