//! The job queue: what is delayed or retried. A job row is written in the transaction of the business that needs it,
//! claimed with a lease, run outside any transaction, and finished only while the lease is still ours.
//!
//! A job that failed too often is dead, and stays until a person has it retried: see [`close_dead`].

use chrono::Duration;
use hexiao_core::id::{JobId, MerchantId};
use hexiao_core::job::JobState;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use uuid::Uuid;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::{new_row, params, sql};

/// Failures after which a job is dead and an alarm is raised.
pub const MAX_ATTEMPTS: i64 = 20;

/// A job that is ours until its lease ends.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// For whom.
    pub merchant_id: MerchantId,
    /// What is to be done.
    pub kind: String,
    /// To which row.
    pub subject_id: Uuid,
    /// When it was due.
    pub run_at: Timestamp,
    /// Failures so far.
    pub attempts: i64,
    /// Runs so far, this one included.
    pub runs: i64,
    /// Our lease.
    pub lease: i64,
    /// How often it had been asked for when it was claimed.
    pub asked: i64,
}

impl FromRow for Job {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            merchant_id: row.get("merchant_id")?,
            kind: row.get("kind")?,
            subject_id: row.get("subject_id")?,
            run_at: row.get("run_at")?,
            attempts: row.get("attempts")?,
            runs: row.get("runs")?,
            lease: row.get("lease")?,
            asked: row.get("asked")?,
        })
    }
}

/// What to enqueue.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// A fresh id.
    pub id: JobId,
    /// For whom.
    pub merchant_id: MerchantId,
    /// What.
    pub kind: &'static str,
    /// To which row.
    pub subject_id: Uuid,
    /// Not before.
    pub run_at: Timestamp,
}

/// Enqueues jobs. Where a subject already has one of the kind, that one runs at the earlier of the two times; one that
/// is running runs once more.
pub async fn enqueue(tx: &Tx, jobs: &[NewJob], now: Timestamp) -> Result<()> {
    let row = |j: &NewJob| {
        new_row! {
            id: j.id, merchant_id: j.merchant_id, kind: j.kind, subject_id: j.subject_id, state: "Ready", run_at: j.run_at,
            attempts: 0i64, runs: 0i64, lease: 0i64, asked: 1i64, created_at: now,
        }
    };
    let conflict = "ON CONFLICT (kind, subject_id) WHERE state IN ('Ready', 'Running') DO UPDATE SET asked = jobs.asked + 1,
                    run_at = CASE WHEN jobs.state = 'Running' OR excluded.run_at < jobs.run_at THEN excluded.run_at ELSE jobs.run_at END";
    sql::insert_with(tx, "jobs", jobs.iter().map(row).collect(), conflict).await?;
    Ok(())
}

const DUE: &str = "(state = 'Ready' AND run_at <= $1) OR (state = 'Running' AND lease_until < $1)";

/// Whether anything is due: asked of the reader before the writer is troubled.
pub async fn any_due(c: &impl Conn, now: Timestamp) -> Result<bool> {
    Ok(sql::row(c, &format!("SELECT id FROM jobs WHERE {DUE} LIMIT 1"), params![now]).await?.is_some())
}

/// When the next job is due.
pub async fn next_due(c: &impl Conn) -> Result<Option<Timestamp>> {
    let row = sql::row(c, "SELECT MIN(run_at) AS at FROM jobs WHERE state = 'Ready'", vec![]).await?;
    row.map_or(Ok(None), |r| r.get("at"))
}

/// Claims due jobs, and those whose worker died.
pub async fn claim(tx: &Tx, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<Job>> {
    let skip_locked = sql::skip_locked(tx);
    let text = format!(
        "UPDATE jobs SET state = 'Running', lease = lease + 1, runs = runs + 1, lease_until = $2
         WHERE id IN (SELECT id FROM jobs WHERE {DUE} ORDER BY run_at LIMIT $3 {skip_locked}) RETURNING *"
    );
    sql::list(tx, &text, params![now, now.plus(lease), limit]).await
}

/// Makes the jobs ready that a killed worker left behind; how many there were. Only on SQLite, which has one worker:
/// on PostgreSQL another process may be at them, and their leases end by themselves.
pub async fn recover(tx: &Tx) -> Result<u64> {
    if tx.backend() != sea_orm::DbBackend::Sqlite {
        return Ok(0);
    }
    sql::execute(tx, "UPDATE jobs SET state = 'Ready', lease_until = NULL WHERE state = 'Running'", vec![])
        .await
}

/// Finishes a job; one that was asked for again while it ran is ready again.
pub async fn finish(tx: &Tx, job: &Job, now: Timestamp) -> Result<()> {
    let text = "UPDATE jobs SET state = CASE WHEN asked > $3 THEN 'Ready' ELSE 'Done' END, attempts = 0, finished_at = $4,
                lease_until = NULL, error = NULL WHERE id = $1 AND lease = $2 AND state = 'Running'";
    sql::execute(tx, text, params![job.id, job.lease, job.asked, now]).await?;
    Ok(())
}

/// Puts a job back for later; not a failure. One that was asked for again while it ran keeps the time it was asked for.
pub async fn reschedule(tx: &Tx, job: &Job, at: Timestamp) -> Result<()> {
    let text = "UPDATE jobs SET state = 'Ready', attempts = 0, lease_until = NULL, error = NULL,
                run_at = CASE WHEN asked > $3 AND run_at < $4 THEN run_at ELSE $4 END
                WHERE id = $1 AND lease = $2 AND state = 'Running'";
    sql::execute(tx, text, params![job.id, job.lease, job.asked, at]).await?;
    Ok(())
}

/// Counts a failure: later again, or dead after too many. A job never dies of what is not its own fault
/// (`may_die: false`): WeChat will be back. Whether it is dead now.
pub async fn fail(
    tx: &Tx,
    job: &Job,
    error: &str,
    (now, retry_at): (Timestamp, Timestamp),
    may_die: bool,
) -> Result<bool> {
    let dead = may_die && job.attempts + 1 >= MAX_ATTEMPTS;
    let state = if dead { "Dead" } else { "Ready" };
    let attempts = (job.attempts + 1).min(if dead { MAX_ATTEMPTS } else { MAX_ATTEMPTS - 1 });
    let text = "UPDATE jobs SET state = $3, attempts = $7, error = $4, lease_until = NULL, finished_at = $8,
                run_at = CASE WHEN asked > $6 AND run_at < $5 THEN run_at ELSE $5 END
                WHERE id = $1 AND lease = $2 AND state = 'Running'";
    let died_at = dead.then_some(now);
    sql::execute(tx, text, params![job.id, job.lease, state, error, retry_at, job.asked, attempts, died_at])
        .await?;
    Ok(dead)
}

/// Payments that wait for their money and refunds that are under way without a job that asks about them: there are
/// none unless a job died or was lost, and then they get a new one.
pub async fn orphans(c: &impl Conn, limit: u32) -> Result<Vec<(MerchantId, &'static str, Uuid)>> {
    // As the partial index says it: SQLite does not see that fewer states are among these.
    const OPEN: &str = "x.state IN ('Created', 'Submitted', 'Processing', 'AbnormalSubmitted')";
    const WAITING: &str = "NOT EXISTS (SELECT 1 FROM jobs j WHERE j.subject_id = x.id AND j.kind = 'KIND' AND j.state IN ('Ready', 'Running'))";
    let mut found = Vec::new();
    for (kind, table, condition) in [
        ("payment_check", "payments", "x.state IN ('Created', 'Pending') AND x.method = 'wechat'".to_owned()),
        (
            "refund_submit",
            "refunds",
            format!("{OPEN} AND x.state IN ('Created', 'Submitted') AND x.method = 'wechat'"),
        ),
        ("refund_check", "refunds", format!("{OPEN} AND x.state IN ('Processing', 'AbnormalSubmitted')")),
    ] {
        let text = format!(
            "SELECT x.merchant_id, x.id FROM {table} x WHERE {condition} AND {} LIMIT $1",
            WAITING.replace("KIND", kind)
        );
        for row in sql::rows(c, &text, params![limit]).await? {
            found.push((row.get("merchant_id")?, kind, row.get("id")?));
        }
    }
    Ok(found)
}

/// How many jobs are dead, for metrics: up to a number above which it does not matter.
pub async fn dead(c: &impl Conn) -> Result<i64> {
    let text = "SELECT COUNT(*) AS n FROM (SELECT finished_at FROM jobs WHERE state = 'Dead' LIMIT 10000) d";
    sql::row(c, text, vec![]).await?.map_or(Ok(0), |r| r.get("n"))
}

/// A job as people see it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its id.
    pub id: JobId,
    /// For whom.
    pub merchant_id: MerchantId,
    /// What is to be done.
    pub kind: String,
    /// To which row.
    pub subject_id: Uuid,
    /// Where it is.
    pub state: JobState,
    /// When it is due, if it still is.
    pub run_at: Timestamp,
    /// Failures in a row.
    pub attempts: i64,
    /// How the last one ended; for operators only.
    pub error: Option<String>,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When it was done, or died.
    pub finished_at: Option<Timestamp>,
    /// Whether another job of its kind and subject waits or runs: the work is under way again.
    pub taken_over: bool,
}

impl FromRow for Listed {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            merchant_id: row.get("merchant_id")?,
            kind: row.get("kind")?,
            subject_id: row.get("subject_id")?,
            state: row.get("state")?,
            run_at: row.get("run_at")?,
            attempts: row.get("attempts")?,
            error: row.get("error")?,
            created_at: row.get("created_at")?,
            finished_at: row.get("finished_at")?,
            taken_over: row.get("taken_over")?,
        })
    }
}

impl Listed {
    fn cursor(&self) -> Cursor {
        Cursor { at: self.created_at, id: self.id.into() }
    }
}

const LISTED: &str =
    "SELECT j.*, EXISTS (SELECT 1 FROM jobs o WHERE o.kind = j.kind AND o.subject_id = j.subject_id
                      AND o.state IN ('Ready', 'Running') AND o.id <> j.id) AS taken_over FROM jobs j";

/// The jobs of a merchant that are not done, newest first; all of them or those in one state.
pub async fn list(
    c: &impl Conn,
    merchant: MerchantScope,
    state: Option<JobState>,
    page: &PageRequest,
) -> Result<Page<Listed>> {
    let (at, id) = page.bounds();
    let text = format!(
        "{LISTED} WHERE j.merchant_id = $1 AND j.state <> 'Done' AND j.state = COALESCE($2, j.state)
         AND (j.created_at < $3 OR (j.created_at = $3 AND j.id < $4)) ORDER BY j.created_at DESC, j.id DESC LIMIT $5"
    );
    let state = state.map(JobState::as_str);
    let items = sql::list(c, &text, params![merchant.merchant_id(), state, at, id, page.fetch()]).await?;
    Ok(Page::new(items, page, Listed::cursor))
}

/// The same of all merchants, for those who run the installation.
pub async fn list_everywhere(
    c: &impl Conn,
    state: Option<JobState>,
    page: &PageRequest,
) -> Result<Page<Listed>> {
    let (at, id) = page.bounds();
    let text = format!(
        "{LISTED} WHERE j.state <> 'Done' AND j.state = COALESCE($1, j.state)
         AND (j.created_at < $2 OR (j.created_at = $2 AND j.id < $3)) ORDER BY j.created_at DESC, j.id DESC LIMIT $4"
    );
    let items = sql::list(c, &text, params![state.map(JobState::as_str), at, id, page.fetch()]).await?;
    Ok(Page::new(items, page, Listed::cursor))
}

/// A job of a merchant.
pub async fn get(c: &impl Conn, merchant: MerchantScope, id: JobId) -> Result<Option<Listed>> {
    let text = format!("{LISTED} WHERE j.merchant_id = $1 AND j.id = $2");
    sql::find(c, &text, params![merchant.merchant_id(), id]).await
}

/// Whose job it is, for those who run the installation.
pub async fn merchant_of(c: &impl Conn, id: JobId) -> Result<Option<MerchantId>> {
    let row = sql::row(c, "SELECT merchant_id FROM jobs WHERE id = $1", params![id]).await?;
    row.map(|r| r.get("merchant_id")).transpose()
}

/// Closes a dead job; its kind and subject, or nothing when it is not dead (any more). The caller enqueues its work
/// anew in the same transaction. The row itself is not made ready again, because its subject may have got another
/// job meanwhile (see [`orphans`]), and has one at a time.
pub async fn close_dead(
    tx: &Tx,
    merchant: MerchantScope,
    id: JobId,
    now: Timestamp,
) -> Result<Option<(String, Uuid)>> {
    let text = "UPDATE jobs SET state = 'Done', finished_at = $3 WHERE merchant_id = $1 AND id = $2 AND state = 'Dead'
                RETURNING kind, subject_id";
    let row = sql::row(tx, text, params![merchant.merchant_id(), id, now]).await?;
    row.map(|r| Ok((r.get("kind")?, r.get("subject_id")?))).transpose()
}

/// The job of a kind and subject that waits or runs.
pub async fn open(
    c: &impl Conn,
    merchant: MerchantScope,
    kind: &str,
    subject_id: Uuid,
) -> Result<Option<Listed>> {
    let text = format!(
        "{LISTED} WHERE j.merchant_id = $1 AND j.kind = $2 AND j.subject_id = $3 AND j.state IN ('Ready', 'Running')"
    );
    sql::find(c, &text, params![merchant.merchant_id(), kind, subject_id]).await
}

/// Deletes some jobs that were done before an instant; how many. Dead ones stay until a person has dealt with them.
pub async fn prune(tx: &Tx, before: Timestamp, limit: u32) -> Result<u64> {
    let text = format!(
        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state = 'Done' AND finished_at < $1 LIMIT $2 {})",
        sql::skip_locked(tx)
    );
    sql::execute(tx, &text, params![before, limit]).await
}
