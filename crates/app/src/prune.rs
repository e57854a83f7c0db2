//! Deletes what nobody needs any more, in small batches that keep no request waiting.
//!
//! What is evidence stays: orders, money, redemptions. Refused attempts and the audit log are evidence for a time, which
//! the installation may make longer. Dead jobs stay until a person has dealt with them.

use chrono::Duration;
use hexiao_core::time::Timestamp;
use hexiao_db::retention::{self, Kept};
use hexiao_db::{consents, jobs, outbox, sessions, transact, webhooks as deliveries};

use crate::context::App;
use crate::error::{AppError, Result};
use crate::{commission, messages, risk, webhooks};

/// Days for which a row of the outbox is kept that every consumer has read.
pub const OUTBOX_DAYS: i64 = 7;
/// Days for which a job is kept after it was done.
pub const JOB_DAYS: i64 = 7;
/// Days for which a session is kept after it ended.
pub const SESSION_DAYS: i64 = 30;
/// Days for which an idempotency key is kept: longer than any client repeats a request. (Redemptions keep their own.)
pub const KEY_DAYS: i64 = 90;

/// Days for which what was sent to webhooks is kept after it was over.
pub const DELIVERY_DAYS: i64 = 30;
/// Days for which a request for consent is kept that came to nothing.
pub const CONSENT_DAYS: i64 = 7;

/// Rows of one transaction: a few milliseconds of SQLite's writer.
const BATCH: u32 = 500;
/// Every consumer of the outbox.
pub const CONSUMERS: &[&str] =
    &[messages::CONSUMER, webhooks::CONSUMER, commission::CONSUMER, risk::CONSUMER];

impl App {
    /// Deletes one batch of each kind; how many rows there were. Called by the worker until it answers 0.
    pub async fn prune(&self) -> Result<usize> {
        let now = self.now();
        let before = |days: i64| now.minus(Duration::days(days));
        let events = self.prune_outbox(before(OUTBOX_DAYS)).await?;
        let jobs: Result<u64> = transact!(self.db, |tx| async {
            Ok::<_, AppError>(jobs::prune(&tx, before(JOB_DAYS), BATCH).await?)
        });
        let sessions: Result<u64> = transact!(self.db, |tx| async {
            Ok::<_, AppError>(sessions::prune(&tx, before(SESSION_DAYS), BATCH).await?)
        });
        let deliveries: Result<u64> = transact!(self.db, |tx| async {
            Ok::<_, AppError>(deliveries::prune(&tx, before(DELIVERY_DAYS), BATCH).await?)
        });
        let consents: Result<u64> = transact!(self.db, |tx| async {
            Ok::<_, AppError>(consents::prune(&tx, before(CONSENT_DAYS), BATCH).await?)
        });
        let (jobs, sessions, deliveries, consents) = (jobs?, sessions?, deliveries?, consents?);
        let retention = self.settings.retention;
        let attempts = self.prune_kept(Kept::Attempts, before(retention.attempts_days.into())).await?;
        let audit = self.prune_kept(Kept::Audit, before(retention.audit_days.into())).await?;
        let flags = self.prune_kept(Kept::Flags, before(retention.audit_days.into())).await?;
        let keys = self.prune_kept(Kept::Keys, before(KEY_DAYS)).await?;
        let all = events + jobs + sessions + deliveries + consents + attempts + audit + flags + keys;
        if all > 0 {
            tracing::info!(
                events,
                jobs,
                sessions,
                deliveries,
                consents,
                attempts,
                audit,
                flags,
                keys,
                "deleted what is no longer needed"
            );
        }
        Ok(usize::try_from(all).unwrap_or(usize::MAX))
    }

    async fn prune_kept(&self, kept: Kept, before: Timestamp) -> Result<u64> {
        transact!(self.db, |tx| async {
            Ok::<_, AppError>(retention::prune(&tx, kept, before, BATCH).await?)
        })
    }

    async fn prune_outbox(&self, before: Timestamp) -> Result<u64> {
        transact!(self.db, |tx| async {
            Ok::<_, AppError>(outbox::prune(&tx, CONSUMERS, before, BATCH).await?)
        })
    }
}
