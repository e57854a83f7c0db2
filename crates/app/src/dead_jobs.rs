//! Jobs that failed too often: seen by people, and retried by them once the cause is gone.
//!
//! A retry closes the dead job and enqueues its work anew, in one transaction: of several who retry the same job one
//! gets through, and a subject that got another job meanwhile keeps that one, which then runs at once.

use hexiao_core::catalog::Capability;
use hexiao_core::id::{JobId, StaffId};
use hexiao_core::job::JobState;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::jobs::{self, Listed};
use hexiao_db::page::{MAX_LIMIT, PageRequest};
use hexiao_db::{Db, Tx, audit, transact};
use serde_json::json;

use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::jobs::{JobKind, enqueue};

impl App {
    /// Retries a dead job; the job that does its work from now on.
    pub async fn retry_job(&self, staff: &StaffPrincipal, id: JobId) -> Result<Listed> {
        staff.require(Capability::ManageRefunds)?;
        let (merchant, by, now) = (staff.merchant(), Some(staff.staff_id), self.now());
        let retried = transact!(self.db, |tx| retry(&tx, merchant, by, id, now));
        self.wake.notify_one();
        retried
    }
}

/// Retries a dead job of any merchant, for those who run the installation: without the keys that an [`App`] needs.
pub async fn retry_one(db: &Db, id: JobId, now: Timestamp) -> Result<Listed> {
    let merchant = jobs::merchant_of(db.reader(), id).await?.ok_or(Reason::NotFound)?;
    let merchant = MerchantScope::of_system(merchant);
    transact!(db, |tx| retry(&tx, merchant, None, id, now))
}

/// Retries all dead jobs, one transaction each; how many, and how many of them are of a kind that only another
/// version knows and stay dead.
pub async fn retry_all(db: &Db, now: Timestamp) -> Result<(u64, u64)> {
    let (mut retried, mut unknown) = (0, 0);
    let mut page = PageRequest { after: None, limit: MAX_LIMIT };
    loop {
        let found = jobs::list_everywhere(db.reader(), Some(JobState::Dead), &page).await?;
        for job in &found.items {
            if JobKind::from_text(&job.kind).is_none() {
                unknown += 1;
                continue;
            }
            let merchant = MerchantScope::of_system(job.merchant_id);
            match transact!(db, |tx| retry(&tx, merchant, None, job.id, now)) {
                Ok(_) => retried += 1,
                // Somebody else was faster.
                Err(AppError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(next) = found.next else { return Ok((retried, unknown)) };
        page.after = Some(next);
    }
}

async fn retry(
    tx: &Tx,
    merchant: MerchantScope,
    by: Option<StaffId>,
    id: JobId,
    now: Timestamp,
) -> Result<Listed> {
    let Some((kind, subject)) = jobs::close_dead(tx, merchant, id, now).await? else {
        let job = jobs::get(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
        return Err(not_dead(job.state).into());
    };
    let kind = JobKind::from_text(&kind).ok_or_else(|| {
        Refusal::with_message(Reason::IllegalState, "当前版本不认识这类任务，请用写入它的版本重试")
    })?;
    enqueue(tx, merchant, kind, subject, now, now).await?;
    let detail = json!({"kind": kind.as_str(), "subject": kind.subject(subject)});
    audit::record(tx, merchant, by, "job.retry", &id.to_string(), &detail, now).await?;
    jobs::open(tx, merchant, kind.as_str(), subject)
        .await?
        .ok_or_else(|| AppError::Internal("a job that was enqueued is not there".to_owned()))
}

fn not_dead(state: JobState) -> Refusal {
    let message = match state {
        JobState::Ready | JobState::Running => "该任务还在自动重试，不需要人工重试",
        // A retried job is closed; lost between two looks, it is dead no more either.
        JobState::Done | JobState::Dead => "该任务已完成，或已被重试",
    };
    Refusal::with_message(Reason::IllegalState, message)
}
