//! Backfills: redemptions that were recorded after they happened, and those that wait for a second person.

use hexiao_core::backfill::{BackfillPolicy, BackfillState};
use hexiao_core::id::{BackfillId, MerchantId, RedemptionId, StaffId, StoreId, VoucherId};
use hexiao_core::limit::Spent;
use hexiao_core::money::Money;
use hexiao_core::scope::{MerchantScope, StoreScope, Stores};
use hexiao_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param as _, Row, json_text};
use crate::sql::{for_update, id_set, in_ids};
use crate::{new_row, params, sql};

/// What is to be redeemed of one voucher, and how to name it to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillItem {
    /// Which.
    pub voucher_id: VoucherId,
    /// How many uses.
    pub quantity: u32,
    /// What it was called.
    pub product_name: String,
    /// The last digits of its code.
    pub code_last4: String,
}

/// A backfill.
#[derive(Debug, Clone)]
pub struct Backfill {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: BackfillId,
    /// Where it happened.
    pub store_id: StoreId,
    /// Who says so.
    pub staff_id: StaffId,
    /// Their name then.
    pub staff_name: String,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// What became of it.
    pub state: BackfillState,
    /// What of which vouchers.
    pub items: Vec<BackfillItem>,
    /// Uses.
    pub quantity: i64,
    /// What they are worth.
    pub amount: Money,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Why it was not redeemed then.
    pub reason: String,
    /// The address of a picture that shows it.
    pub photo_url: Option<String>,
    /// When it was said.
    pub created_at: Timestamp,
    /// Who decided.
    pub decided_by: Option<StaffId>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// Why, where it was rejected.
    pub decision_note: Option<String>,
    /// What was redeemed by it.
    pub redemption_id: Option<RedemptionId>,
}

impl FromRow for Backfill {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            store_id: row.get("store_id")?,
            staff_id: row.get("staff_id")?,
            staff_name: row.get("staff_name")?,
            device: row.get("device")?,
            state: row.get("state")?,
            items: row.json("items")?,
            quantity: row.get("quantity")?,
            amount: row.get("amount_fen")?,
            occurred_at: row.get("occurred_at")?,
            reason: row.get("reason")?,
            photo_url: row.get("photo_url")?,
            created_at: row.get("created_at")?,
            decided_by: row.get("decided_by")?,
            decided_at: row.get("decided_at")?,
            decision_note: row.get("decision_note")?,
            redemption_id: row.get("redemption_id")?,
        })
    }
}

/// Adds one.
pub async fn insert(tx: &Tx, b: &Backfill) -> Result<()> {
    let row = new_row! {
        merchant_id: b.merchant_id, id: b.id, store_id: b.store_id, staff_id: b.staff_id, staff_name: &b.staff_name, device: b.device,
        state: b.state, items: json_text(&b.items), quantity: b.quantity, amount_fen: b.amount, occurred_at: b.occurred_at,
        reason: &b.reason, photo_url: b.photo_url, created_at: b.created_at, decided_by: b.decided_by, decided_at: b.decided_at,
        decision_note: b.decision_note, redemption_id: b.redemption_id,
    };
    sql::insert_one(tx, "backfills", row).await
}

/// One of the stores in scope.
pub async fn get(c: &impl Conn, scope: &StoreScope, id: BackfillId) -> Result<Option<Backfill>> {
    let text = "SELECT * FROM backfills WHERE merchant_id = $1 AND id = $2";
    let found: Option<Backfill> = sql::find(c, text, params![scope.merchant_id(), id]).await?;
    Ok(found.filter(|b| scope.contains(b.store_id)))
}

/// The same, locked, of any store. Lock its vouchers first.
pub async fn lock(tx: &Tx, merchant: MerchantScope, id: BackfillId) -> Result<Option<Backfill>> {
    let text = format!("SELECT * FROM backfills b WHERE merchant_id = $1 AND id = $2{}", for_update(tx, "b"));
    sql::find(tx, &text, params![merchant.merchant_id(), id]).await
}

/// Writes what was decided of a pending one.
pub async fn decide(tx: &Tx, b: &Backfill) -> Result<()> {
    let text = "UPDATE backfills SET state = $3, decided_by = $4, decided_at = $5, decision_note = $6, redemption_id = $7
                WHERE merchant_id = $1 AND id = $2 AND state = 'Pending'";
    let values =
        params![b.merchant_id, b.id, b.state, b.decided_by, b.decided_at, b.decision_note, b.redemption_id];
    sql::execute_exactly(tx, 1, "pending backfill", text, values).await
}

/// How many of a store wait.
pub async fn pending(c: &impl Conn, merchant: MerchantScope, store: StoreId) -> Result<i64> {
    let text =
        "SELECT COUNT(*) AS n FROM backfills WHERE merchant_id = $1 AND store_id = $2 AND state = 'Pending'";
    sql::row(c, text, params![merchant.merchant_id(), store]).await?.map_or(Ok(0), |r| r.get("n"))
}

/// What a person recorded alone since an instant. Lock their row first.
pub async fn recorded_since(
    c: &impl Conn,
    merchant: MerchantScope,
    staff: StaffId,
    since: Timestamp,
) -> Result<Spent> {
    let text = "SELECT CAST(COALESCE(SUM(quantity), 0) AS BIGINT) AS uses, CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT) AS amount
                FROM backfills WHERE merchant_id = $1 AND staff_id = $2 AND state = 'Recorded' AND created_at > $3";
    let row = sql::row(c, text, params![merchant.merchant_id(), staff, since]).await?;
    row.map_or(Ok(Spent::default()), |r| Ok(Spent { uses: r.get("uses")?, amount: r.get("amount")? }))
}

/// Backfills of the stores in scope, newest first.
pub async fn list(
    c: &impl Conn,
    scope: &StoreScope,
    state: Option<BackfillState>,
    page: &PageRequest,
) -> Result<Page<Backfill>> {
    let (at, id) = page.bounds();
    let mut values = params![scope.merchant_id(), at, id, page.fetch()];
    let mut parts = String::new();
    if let Some(state) = state {
        values.push(state.value());
        parts.push_str(&format!(" AND state = ${}", values.len()));
    }
    if let Stores::Only(ids) = scope.stores() {
        values.push(id_set(ids));
        parts.push_str(&format!(" AND store_id {}", in_ids(c, values.len())));
    }
    let text = format!(
        "SELECT * FROM backfills WHERE merchant_id = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)){parts}
         ORDER BY created_at DESC, id DESC LIMIT $4"
    );
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |b: &Backfill| Cursor { at: b.created_at, id: b.id.into() }))
}

/// What one person may record alone at the merchant.
pub async fn policy(c: &impl Conn, merchant: MerchantScope) -> Result<Option<BackfillPolicy>> {
    let text = "SELECT backfill_free_uses, backfill_free_fen FROM merchants WHERE id = $1";
    let row = sql::row(c, text, params![merchant.merchant_id()]).await?;
    let policy = |r: Row| {
        let free_uses = r.get("backfill_free_uses")?;
        Ok(BackfillPolicy { free_uses, free_amount: r.get("backfill_free_fen")? })
    };
    row.map(policy).transpose()
}

/// Changes it.
pub async fn set_policy(tx: &Tx, merchant: MerchantScope, policy: BackfillPolicy) -> Result<()> {
    let text = "UPDATE merchants SET backfill_free_uses = $2, backfill_free_fen = $3 WHERE id = $1";
    let values = params![merchant.merchant_id(), policy.free_uses, policy.free_amount];
    sql::execute_exactly(tx, 1, "merchant", text, values).await
}
