//! The outbox: what happened, written in the transaction in which it happened, read by consumers by position.

use hexiao_core::id::MerchantId;
use hexiao_core::time::Timestamp;
use sea_orm::DbBackend;
use uuid::Uuid;

use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::sql::for_update;
use crate::{new_row, params, sql};

/// A row to write.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// For whom.
    pub merchant_id: MerchantId,
    /// `redemption.created` …
    pub topic: &'static str,
    /// Of which row.
    pub subject_id: Uuid,
    /// What consumers need, as JSON.
    pub payload: String,
    /// When.
    pub at: Timestamp,
}

/// A row as consumers read it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its transaction (PostgreSQL) or 0.
    pub tx: i64,
    /// Its number.
    pub seq: i64,
    /// For whom.
    pub merchant_id: MerchantId,
    /// What.
    pub topic: String,
    /// Of which row.
    pub subject_id: Uuid,
    /// What consumers need, as JSON.
    pub payload: String,
    /// When.
    pub at: Timestamp,
}

impl FromRow for Event {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            tx: row.get("tx")?,
            seq: row.get("seq")?,
            merchant_id: row.get("merchant_id")?,
            topic: row.get("topic")?,
            subject_id: row.get("subject_id")?,
            payload: row.get("payload")?,
            at: row.get("at")?,
        })
    }
}

/// Appends rows.
pub async fn append(tx: &Tx, events: Vec<NewEvent>) -> Result<()> {
    let row = |e: NewEvent| new_row! { merchant_id: e.merchant_id, topic: e.topic, subject_id: e.subject_id, payload: e.payload, at: e.at };
    sql::insert(tx, "outbox", events.into_iter().map(row).collect()).await
}

/// Rows after a position, for the database's own index walk: by number on SQLite, where there is one writer; by
/// transaction and number on PostgreSQL, up to the oldest transaction that still runs — its rows are not visible yet
/// but may have smaller numbers.
fn after(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "SELECT * FROM outbox WHERE seq > $2 AND $1 >= 0 ORDER BY seq LIMIT $3",
        _ => {
            "SELECT * FROM (
               (SELECT * FROM outbox WHERE tx = $1 AND seq > $2 ORDER BY seq LIMIT $3)
               UNION ALL
               (SELECT * FROM outbox WHERE tx > $1 AND tx < (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint ORDER BY tx, seq LIMIT $3)
             ) o ORDER BY tx, seq LIMIT $3"
        }
    }
}

/// Whether rows exist that a consumer has not read: asked of the reader before the writer is troubled.
pub async fn any_new(c: &impl Conn, consumer: &str) -> Result<bool> {
    let position =
        sql::row(c, "SELECT tx, seq FROM consumer_positions WHERE consumer = $1", params![consumer]).await?;
    let (tx, seq): (i64, i64) =
        position.map_or(Ok::<_, crate::DbError>((0, 0)), |p| Ok((p.get("tx")?, p.get("seq")?)))?;
    Ok(sql::row(c, after(c.backend()), params![tx, seq, 1i64]).await?.is_some())
}

/// Takes the next rows for a consumer and moves its position past them, in the transaction that does its work. One
/// process at a time gets past the lock on the position.
pub async fn take(tx: &Tx, consumer: &str, limit: u32) -> Result<Vec<Event>> {
    let fresh = new_row! { consumer: consumer, tx: 0i64, seq: 0i64 };
    sql::insert_with(tx, "consumer_positions", vec![fresh], "ON CONFLICT (consumer) DO NOTHING").await?;
    let text = format!("SELECT tx, seq FROM consumer_positions p WHERE consumer = $1{}", for_update(tx, "p"));
    let position =
        sql::row(tx, &text, params![consumer]).await?.ok_or(crate::DbError::Stale("consumer position"))?;
    let (at_tx, at_seq): (i64, i64) = (position.get("tx")?, position.get("seq")?);
    let events: Vec<Event> = sql::list(tx, after(tx.backend()), params![at_tx, at_seq, limit]).await?;
    if let Some(last) = events.last() {
        let text = "UPDATE consumer_positions SET tx = $2, seq = $3 WHERE consumer = $1";
        sql::execute_exactly(tx, 1, "consumer position", text, params![consumer, last.tx, last.seq]).await?;
    }
    Ok(events)
}

/// Deletes some rows from before an instant that every consumer has read; how many. `consumers` are those that must
/// have read anything at all; others that have a position count too. The oldest rows are looked at first, and the
/// instant up to which rows may be missing is kept for `verify`.
pub async fn prune(tx: &Tx, consumers: &[&str], before: Timestamp, limit: u32) -> Result<u64> {
    // The lock keeps nobody from reading on, only from renumbering meanwhile.
    let key_share = match tx.backend() {
        DbBackend::Sqlite => "",
        _ => " FOR KEY SHARE",
    };
    let text = format!("SELECT consumer, tx, seq FROM consumer_positions{key_share}");
    let mut positions = Vec::new();
    for row in sql::rows(tx, &text, vec![]).await? {
        positions.push((row.get::<String>("consumer")?, (row.get::<i64>("tx")?, row.get::<i64>("seq")?)));
    }
    if consumers.iter().any(|name| positions.iter().all(|(known, _)| known != name)) {
        return Ok(0);
    }
    let Some((at_tx, at_seq)) = positions.into_iter().map(|(_, position)| position).min() else {
        return Ok(0);
    };
    let text = "DELETE FROM outbox WHERE seq IN (SELECT seq FROM
                  (SELECT seq, at FROM outbox WHERE (tx, seq) <= ($1, $2) ORDER BY tx, seq LIMIT $3) o WHERE o.at < $4)";
    let deleted = sql::execute(tx, text, params![at_tx, at_seq, limit, before]).await?;
    if deleted > 0 {
        let mark = new_row! { what: "outbox", before_at: before };
        let conflict = "ON CONFLICT (what) DO UPDATE SET before_at = excluded.before_at
                        WHERE excluded.before_at > prunings.before_at";
        sql::insert_with(tx, "prunings", vec![mark], conflict).await?;
    }
    Ok(deleted)
}
