//! What devices redeemed offline: every entry with what became of it, and what a person has to look at.

use std::collections::HashMap;

use hexiao_core::device::DeviceState;
use hexiao_core::id::{DeviceId, ExceptionId, MerchantId, RedemptionId, StaffId, StoreId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::offline::{ExceptionKind, ExceptionOutcome, ExceptionState, OfflineVerdict};
use hexiao_core::scope::{MerchantScope, StoreScope, Stores};
use hexiao_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param as _, Row, json_text};
use crate::sql::{JsonType, for_update, id_set, in_ids, json_rows, json_table};
use crate::{new_row, params, sql};

/// What took the uses that an entry wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Winner {
    /// `redemption`, or the reason why the uses are not free.
    pub kind: String,
    /// Which redemption.
    pub redemption_id: Option<RedemptionId>,
    /// Where.
    pub store_id: Option<StoreId>,
    /// When.
    pub at: Option<Timestamp>,
}

/// An entry and what became of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// On which device.
    pub device_id: DeviceId,
    /// Its number there.
    pub seq: i64,
    /// Where.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// SHA-256 of what was signed.
    pub fingerprint: [u8; 32],
    /// The device's signature.
    pub signature: Vec<u8>,
    /// What was scanned.
    pub ticket: String,
    /// The voucher, if the ticket is one of ours.
    pub voucher_id: Option<VoucherId>,
    /// Uses.
    pub quantity: u32,
    /// What they are worth; nothing when nothing was redeemed.
    pub amount: Money,
    /// When, by the device's clock.
    pub occurred_at: Timestamp,
    /// Whether they were booked here: then they count against no limit.
    pub leased: bool,
    /// What became of it.
    pub verdict: OfflineVerdict,
    /// Why it is not simply accepted.
    pub reason: Option<String>,
    /// The same in words.
    pub message: Option<String>,
    /// What was redeemed.
    pub redemption_id: Option<RedemptionId>,
    /// What took the uses instead.
    pub winner: Option<Winner>,
    /// When it came.
    pub recorded_at: Timestamp,
}

impl FromRow for Entry {
    fn from_row(row: &Row) -> Result<Self> {
        let fingerprint: Vec<u8> = row.get("fingerprint")?;
        let winner: Option<String> = row.get("winner")?;
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            device_id: row.get("device_id")?,
            seq: row.get("seq")?,
            store_id: row.get("store_id")?,
            staff_id: row.get("staff_id")?,
            fingerprint: fingerprint.try_into().map_err(|_| crate::DbError::Corrupt {
                column: "fingerprint".into(),
                detail: "not 32 bytes".into(),
            })?,
            signature: row.get("signature")?,
            ticket: row.get("ticket")?,
            voucher_id: row.get("voucher_id")?,
            quantity: row.get("quantity")?,
            amount: row.get("amount_fen")?,
            occurred_at: row.get("occurred_at")?,
            leased: row.get("leased")?,
            verdict: row.get("verdict")?,
            reason: row.get("reason")?,
            message: row.get("message")?,
            redemption_id: row.get("redemption_id")?,
            winner: winner.map(|_| row.json("winner")).transpose()?,
            recorded_at: row.get("recorded_at")?,
        })
    }
}

/// Locks a member's own device that is in use; the highest number it has sent. Lock vouchers and member first.
pub async fn lock_device(
    tx: &Tx,
    merchant: MerchantScope,
    staff: StaffId,
    id: DeviceId,
) -> Result<Option<i64>> {
    let text = format!(
        "SELECT d.last_seq FROM devices d WHERE d.merchant_id = $1 AND d.id = $2 AND d.staff_id = $3 AND d.state = $4{}",
        for_update(tx, "d")
    );
    let values = params![merchant.merchant_id(), id, staff, DeviceState::Active];
    sql::row(tx, &text, values).await?.map(|r| r.get("last_seq")).transpose()
}

/// Notes how far a device has sent.
pub async fn advance(
    tx: &Tx,
    merchant: MerchantScope,
    id: DeviceId,
    last_seq: i64,
    now: Timestamp,
) -> Result<()> {
    let text = "UPDATE devices SET last_seq = $3, seen_at = $4 WHERE merchant_id = $1 AND id = $2";
    sql::execute_exactly(tx, 1, "device", text, params![merchant.merchant_id(), id, last_seq, now]).await
}

/// Entries that came before, by their numbers.
pub async fn known(
    c: &impl Conn,
    merchant: MerchantScope,
    device: DeviceId,
    seqs: &[i64],
) -> Result<HashMap<i64, Entry>> {
    let wanted = json_table(c, 3, "q", &[("seq", JsonType::Int)]);
    let text = format!(
        "SELECT e.* FROM {wanted} JOIN offline_entries e ON e.merchant_id = q.merchant_id AND e.device_id = $2 AND e.seq = q.seq"
    );
    let rows: Vec<_> = seqs.iter().map(|seq| serde_json::json!({ "seq": seq })).collect();
    let values = vec![merchant.merchant_id().value(), device.value(), json_rows(&rows)];
    let found: Vec<Entry> = sql::list(c, &text, values).await?;
    Ok(found.into_iter().map(|e| (e.seq, e)).collect())
}

/// Adds entries.
pub async fn insert(tx: &Tx, entries: &[Entry]) -> Result<()> {
    let row = |e: &Entry| {
        new_row! {
            merchant_id: e.merchant_id, device_id: e.device_id, seq: e.seq, store_id: e.store_id, staff_id: e.staff_id,
            fingerprint: e.fingerprint, signature: e.signature, ticket: &e.ticket, voucher_id: e.voucher_id, quantity: e.quantity,
            amount_fen: e.amount, occurred_at: e.occurred_at, leased: e.leased, verdict: e.verdict, reason: e.reason,
            message: e.message, redemption_id: e.redemption_id, winner: e.winner.as_ref().map(json_text), recorded_at: e.recorded_at,
        }
    };
    sql::insert(tx, "offline_entries", entries.iter().map(row).collect()).await
}

/// What a device redeemed since an instant of what nobody had booked. Lock the device first.
pub async fn spent_since(
    c: &impl Conn,
    merchant: MerchantScope,
    device: DeviceId,
    since: Timestamp,
) -> Result<(i64, Money)> {
    let text = "SELECT CAST(COALESCE(SUM(quantity), 0) AS BIGINT) AS uses, CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT) AS amount
                FROM offline_entries WHERE merchant_id = $1 AND device_id = $2 AND recorded_at > $3 AND redemption_id IS NOT NULL AND NOT leased";
    let row = sql::row(c, text, params![merchant.merchant_id(), device, since]).await?;
    row.map_or(Ok((0, Money::ZERO)), |r| Ok((r.get("uses")?, r.get("amount")?)))
}

/// The redemption that took a use of a voucher last.
pub async fn last_use(c: &impl Conn, merchant: MerchantScope, voucher: VoucherId) -> Result<Option<Winner>> {
    let text = "SELECT redemption_id, store_id, redeemed_at FROM uses WHERE merchant_id = $1 AND voucher_id = $2 AND state <> 'Reversed'
                ORDER BY redeemed_at DESC, serial DESC LIMIT 1";
    let row = sql::row(c, text, params![merchant.merchant_id(), voucher]).await?;
    row.map(|r| {
        Ok(Winner {
            kind: "redemption".to_owned(),
            redemption_id: r.get("redemption_id")?,
            store_id: r.get("store_id")?,
            at: r.get("redeemed_at")?,
        })
    })
    .transpose()
}

/// Something a person has to look at.
#[derive(Debug, Clone)]
pub struct Exception {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: ExceptionId,
    /// Why.
    pub kind: ExceptionKind,
    /// Whether somebody has.
    pub state: ExceptionState,
    /// Where.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// On which device.
    pub device_id: DeviceId,
    /// Which entry, or the first that is missing.
    pub seq: i64,
    /// The last that is missing.
    pub to_seq: Option<i64>,
    /// Which voucher.
    pub voucher_id: Option<VoucherId>,
    /// What was redeemed.
    pub redemption_id: Option<RedemptionId>,
    /// The reason of the refusal.
    pub reason: Option<String>,
    /// In words.
    pub message: String,
    /// When it came up.
    pub created_at: Timestamp,
    /// What was done.
    pub outcome: Option<ExceptionOutcome>,
    /// In words.
    pub note: Option<String>,
    /// By whom.
    pub resolved_by: Option<StaffId>,
    /// When.
    pub resolved_at: Option<Timestamp>,
}

impl FromRow for Exception {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            kind: row.get("kind")?,
            state: row.get("state")?,
            store_id: row.get("store_id")?,
            staff_id: row.get("staff_id")?,
            device_id: row.get("device_id")?,
            seq: row.get("seq")?,
            to_seq: row.get("to_seq")?,
            voucher_id: row.get("voucher_id")?,
            redemption_id: row.get("redemption_id")?,
            reason: row.get("reason")?,
            message: row.get("message")?,
            created_at: row.get("created_at")?,
            outcome: row.get("outcome")?,
            note: row.get("note")?,
            resolved_by: row.get("resolved_by")?,
            resolved_at: row.get("resolved_at")?,
        })
    }
}

/// Adds some; one that is there already stays as it is.
pub async fn insert_exceptions(tx: &Tx, exceptions: &[Exception]) -> Result<()> {
    let row = |e: &Exception| {
        new_row! {
            merchant_id: e.merchant_id, id: e.id, kind: e.kind, state: e.state, store_id: e.store_id, staff_id: e.staff_id,
            device_id: e.device_id, seq: e.seq, to_seq: e.to_seq, voucher_id: e.voucher_id, redemption_id: e.redemption_id,
            reason: e.reason, message: &e.message, created_at: e.created_at,
        }
    };
    let conflict = "ON CONFLICT (merchant_id, device_id, seq, kind) DO NOTHING";
    sql::insert_with(tx, "exceptions", exceptions.iter().map(row).collect(), conflict).await?;
    Ok(())
}

/// One of the stores in scope, locked.
pub async fn lock_exception(tx: &Tx, scope: &StoreScope, id: ExceptionId) -> Result<Option<Exception>> {
    let text =
        format!("SELECT * FROM exceptions e WHERE merchant_id = $1 AND id = $2{}", for_update(tx, "e"));
    let found: Option<Exception> = sql::find(tx, &text, params![scope.merchant_id(), id]).await?;
    Ok(found.filter(|e| scope.contains(e.store_id)))
}

/// Writes what was done about an open one.
pub async fn resolve(tx: &Tx, e: &Exception) -> Result<()> {
    let text = "UPDATE exceptions SET state = 'Resolved', outcome = $3, note = $4, resolved_by = $5, resolved_at = $6
                WHERE merchant_id = $1 AND id = $2 AND state = 'Open'";
    let values = params![e.merchant_id, e.id, e.outcome, e.note, e.resolved_by, e.resolved_at];
    sql::execute_exactly(tx, 1, "open exception", text, values).await
}

/// What exceptions are looked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Of one store.
    pub store: Option<StoreId>,
    /// Of one kind.
    pub kind: Option<ExceptionKind>,
    /// Whether settled.
    pub state: Option<ExceptionState>,
}

/// Exceptions of the stores in scope, newest first.
pub async fn exceptions(
    c: &impl Conn,
    scope: &StoreScope,
    filter: Filter,
    page: &PageRequest,
) -> Result<Page<Exception>> {
    let (at, id) = page.bounds();
    let mut values = params![scope.merchant_id(), at, id, page.fetch()];
    let mut parts = String::new();
    if let Stores::Only(ids) = scope.stores() {
        values.push(id_set(ids));
        parts.push_str(&format!(" AND store_id {}", in_ids(c, values.len())));
    }
    if let Some(store) = filter.store {
        values.push(store.value());
        parts.push_str(&format!(" AND store_id = ${}", values.len()));
    }
    if let Some(kind) = filter.kind {
        values.push(kind.value());
        parts.push_str(&format!(" AND kind = ${}", values.len()));
    }
    if let Some(state) = filter.state {
        values.push(state.value());
        parts.push_str(&format!(" AND state = ${}", values.len()));
    }
    let text = format!(
        "SELECT * FROM exceptions WHERE merchant_id = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)){parts}
         ORDER BY created_at DESC, id DESC LIMIT $4"
    );
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |e: &Exception| Cursor { at: e.created_at, id: e.id.into() }))
}

/// How many wait, of all merchants: for the metrics.
pub async fn open(c: &impl Conn) -> Result<i64> {
    let text = "SELECT COUNT(*) AS n FROM exceptions WHERE state = 'Open'";
    sql::row(c, text, vec![]).await?.map_or(Ok(0), |r| r.get("n"))
}
