//! The outbox: what happened, written in the transaction in which it happened, read by consumers by position.
//!
//! On PostgreSQL a position is a transaction's number and a row's. Transactions are counted by the cluster, so in a
//! dump that is restored into another one the numbers are those of the old cluster, and new rows would sort before
//! positions that were reached there: [`rebase`] mends that when a server starts.

use hexiao_core::id::MerchantId;
use hexiao_core::time::Timestamp;
use sea_orm::{ConnectionTrait as _, DbBackend};
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

/// The transaction of a consumer that has read nothing: rebased rows have negative ones.
const BEFORE_ALL: i64 = i64::MIN;

/// Appends rows.
pub async fn append(tx: &Tx, events: Vec<NewEvent>) -> Result<()> {
    let row = |e: NewEvent| new_row! { merchant_id: e.merchant_id, topic: e.topic, subject_id: e.subject_id, payload: e.payload, at: e.at };
    sql::insert(tx, "outbox", events.into_iter().map(row).collect()).await
}

/// How many rows each consumer has not read, as far as it is worth counting.
pub async fn unread(c: &impl Conn) -> Result<Vec<(String, i64)>> {
    let text = "SELECT p.consumer, (SELECT COUNT(*) FROM
                  (SELECT 1 FROM outbox o WHERE (o.tx, o.seq) > (p.tx, p.seq) LIMIT 100000) x) AS n
                FROM consumer_positions p";
    let rows = sql::rows(c, text, vec![]).await?;
    rows.iter().map(|row| Ok((row.get("consumer")?, row.get("n")?))).collect()
}

/// Rows after a position, for the database's own index walk: by number on SQLite, where there is one writer; by
/// transaction and number on PostgreSQL, up to the oldest transaction that still runs — its rows are not visible yet
/// but may have smaller numbers.
fn after(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "SELECT * FROM outbox WHERE seq > $2 AND $1 IS NOT NULL ORDER BY seq LIMIT $3",
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
        position.map_or(Ok::<_, crate::DbError>((BEFORE_ALL, 0)), |p| Ok((p.get("tx")?, p.get("seq")?)))?;
    Ok(sql::row(c, after(c.backend()), params![tx, seq, 1i64]).await?.is_some())
}

/// Takes the next rows for a consumer and moves its position past them, in the transaction that does its work. One
/// process at a time gets past the lock on the position.
pub async fn take(tx: &Tx, consumer: &str, limit: u32) -> Result<Vec<Event>> {
    let fresh = new_row! { consumer: consumer, tx: BEFORE_ALL, seq: 0i64 };
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

/// The first transaction of this cluster that a statement can't see any more: whatever it sees with that number or a
/// greater one was numbered by another cluster.
const NEXT_TX: &str = "(pg_snapshot_xmax(pg_current_snapshot())::text)::bigint";

/// Whether rows or positions are here that another PostgreSQL cluster numbered.
pub async fn is_foreign(c: &impl Conn) -> Result<bool> {
    if c.backend() == DbBackend::Sqlite {
        return Ok(false);
    }
    let text = format!(
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE tx >= {NEXT_TX})
             OR EXISTS (SELECT 1 FROM consumer_positions WHERE tx >= {NEXT_TX}) AS found"
    );
    sql::row(c, &text, vec![]).await?.map_or(Ok(false), |row| row.get("found"))
}

/// Moves what another cluster numbered before everything that this one numbers: rows and positions go down by one
/// distance, below zero, so that they keep their order and what was read stays read. Rows that this cluster wrote
/// since the restore stay where they are; they have greater numbers of their own. Whether there was anything to do:
/// of several servers that start at once, one does it while the others and all consumers wait.
pub async fn rebase(tx: &Tx) -> Result<bool> {
    if tx.backend() == DbBackend::Sqlite {
        return Ok(false);
    }
    let alone = "SET LOCAL lock_timeout = '10min'; SET LOCAL statement_timeout = '30min';
                 LOCK TABLE consumer_positions IN EXCLUSIVE MODE";
    tx.inner().execute_unprepared(alone).await?;
    if !is_foreign(tx).await? {
        return Ok(false);
    }
    // Each statement sees more of what others write meanwhile, so each compares with its own next transaction.
    let text = format!(
        "SELECT MAX(tx) AS tx, MAX(seq) AS seq FROM
           (SELECT tx, seq FROM outbox UNION ALL SELECT tx, seq FROM consumer_positions) x WHERE tx >= {NEXT_TX}"
    );
    let last = sql::row(tx, &text, vec![]).await?.ok_or(crate::DbError::Stale("foreign outbox rows"))?;
    let (last_tx, last_seq): (i64, i64) = (last.get("tx")?, last.get("seq")?);
    let text = format!("UPDATE outbox SET tx = tx - $1 - 1 WHERE seq <= $2 OR tx >= {NEXT_TX}");
    sql::execute(tx, &text, params![last_tx, last_seq]).await?;
    let text = "UPDATE consumer_positions SET tx = tx - $1 - 1 WHERE tx > $2";
    sql::execute(tx, text, params![last_tx, BEFORE_ALL]).await?;
    Ok(true)
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
