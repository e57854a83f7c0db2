//! Requests for a customer's consent.

use hexiao_core::consent::{Asked, ConsentKind, ConsentState, MAX_SHOWN, WINDOW_MINUTES};
use hexiao_core::id::{
    ConsentId, CustomerId, MerchantId, OrderId, RedemptionId, RefundId, SessionId, StaffId, StoreId,
};
use hexiao_core::scope::{CustomerScope, MerchantScope, StoreScope};
use hexiao_core::time::Timestamp;

use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param as _, Row};
use crate::sql::{bytes_set, for_update, in_bytes};
use crate::{new_row, params, sql};

/// A request.
#[derive(Debug, Clone)]
pub struct Consent {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: ConsentId,
    /// What for.
    pub kind: ConsentKind,
    /// As it is stored; see [`ConsentState::at`].
    pub state: ConsentState,
    /// Where it was asked.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// In which session.
    pub session_id: SessionId,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// Keyed hash of the four digits that a lookup was asked by.
    pub phone_hash: Option<Vec<u8>>,
    /// The number that a lookup was asked by.
    pub order_number: Option<String>,
    /// The order of that number, if there is one.
    pub order_id: Option<OrderId>,
    /// Who is asked, where that is known.
    pub asked_of: Option<CustomerId>,
    /// What to redeem, as JSON.
    pub items: Option<String>,
    /// The prepared scan that it consumes or makes.
    pub prepare_nonce: Option<Vec<u8>>,
    /// Who answered.
    pub customer_id: Option<CustomerId>,
    /// What was redeemed with it.
    pub redemption_id: Option<RedemptionId>,
    /// Asked at.
    pub created_at: Timestamp,
    /// Good until.
    pub expires_at: Timestamp,
}

impl Consent {
    /// The scope of what belongs to this row.
    pub fn merchant(&self) -> MerchantScope {
        MerchantScope::of_row(self.merchant_id)
    }

    /// What it is at an instant.
    pub fn state_at(&self, now: Timestamp) -> ConsentState {
        self.state.at(now, self.expires_at)
    }
}

impl FromRow for Consent {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            kind: row.get("kind")?,
            state: row.get("state")?,
            store_id: row.get("store_id")?,
            staff_id: row.get("staff_id")?,
            session_id: row.get("session_id")?,
            device: row.get("device")?,
            phone_hash: row.get("phone_hash")?,
            order_number: row.get("order_number")?,
            order_id: row.get("order_id")?,
            asked_of: row.get("asked_of")?,
            items: row.get("items")?,
            prepare_nonce: row.get("prepare_nonce")?,
            customer_id: row.get("customer_id")?,
            redemption_id: row.get("redemption_id")?,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
        })
    }
}

/// Adds a request with the refunds that it would take back.
pub async fn insert(tx: &Tx, c: &Consent, refunds: &[RefundId]) -> Result<()> {
    let row = new_row! {
        merchant_id: c.merchant_id, id: c.id, kind: c.kind, state: c.state, store_id: c.store_id, staff_id: c.staff_id,
        session_id: c.session_id, device: c.device, phone_hash: c.phone_hash, order_number: c.order_number, order_id: c.order_id,
        asked_of: c.asked_of, items: c.items, prepare_nonce: c.prepare_nonce, created_at: c.created_at, expires_at: c.expires_at,
    };
    sql::insert_one(tx, "consent_requests", row).await?;
    let row = |id: &RefundId| new_row! { merchant_id: c.merchant_id, consent_id: c.id, refund_id: *id };
    sql::insert(tx, "consent_refunds", refunds.iter().map(row).collect()).await
}

/// How much a member of staff and their store have asked. Lock the member first: the counts are then theirs alone.
pub async fn asked(
    tx: &Tx,
    merchant: MerchantScope,
    staff: StaffId,
    store: StoreId,
    now: Timestamp,
) -> Result<Asked> {
    let text = "SELECT
        (SELECT COUNT(*) FROM consent_requests WHERE merchant_id = $1 AND staff_id = $2 AND created_at > $4) AS by_staff,
        (SELECT COUNT(*) FROM consent_requests WHERE merchant_id = $1 AND staff_id = $2 AND created_at > $4
           AND state = 'Pending' AND expires_at > $5) AS pending,
        (SELECT COUNT(*) FROM consent_requests WHERE merchant_id = $1 AND store_id = $3 AND created_at > $4) AS by_store";
    let since = now.minus(chrono::Duration::minutes(WINDOW_MINUTES));
    let row = sql::row(tx, text, params![merchant.merchant_id(), staff, store, since, now]).await?;
    let row = row.ok_or(crate::DbError::Stale("counts"))?;
    Ok(Asked { pending: row.get("pending")?, by_staff: row.get("by_staff")?, by_store: row.get("by_store")? })
}

/// A request of a member of staff.
pub async fn of_staff(
    c: &impl Conn,
    merchant: MerchantScope,
    staff: StaffId,
    id: ConsentId,
) -> Result<Option<Consent>> {
    let text = "SELECT * FROM consent_requests WHERE merchant_id = $1 AND id = $2 AND staff_id = $3";
    sql::find(c, text, params![merchant.merchant_id(), id, staff]).await
}

/// A request of the stores in scope.
pub async fn in_stores(c: &impl Conn, scope: &StoreScope, id: ConsentId) -> Result<Option<Consent>> {
    let text = "SELECT * FROM consent_requests WHERE merchant_id = $1 AND id = $2";
    let found: Option<Consent> = sql::find(c, text, params![scope.merchant_id(), id]).await?;
    Ok(found.filter(|f| scope.contains(f.store_id)))
}

/// A request that a customer names: whether it concerns them is for the caller to find out.
pub async fn for_customer(c: &impl Conn, id: ConsentId) -> Result<Option<Consent>> {
    sql::find(c, "SELECT * FROM consent_requests WHERE id = $1", params![id]).await
}

/// Locks a request.
pub async fn lock(tx: &Tx, merchant: MerchantScope, id: ConsentId) -> Result<Option<Consent>> {
    let text =
        format!("SELECT * FROM consent_requests c WHERE merchant_id = $1 AND id = $2{}", for_update(tx, "c"));
    sql::find(tx, &text, params![merchant.merchant_id(), id]).await
}

/// The requests that wait for this customer, by name.
pub async fn waiting_for(c: &impl Conn, customer: CustomerScope, now: Timestamp) -> Result<Vec<Consent>> {
    let text = "SELECT * FROM consent_requests WHERE asked_of = $1 AND state = 'Pending' AND expires_at > $2
                ORDER BY expires_at LIMIT $3";
    sql::list(c, text, params![customer.customer_id(), now, MAX_SHOWN]).await
}

/// The requests that wait for somebody whose number ends like this one's.
pub async fn waiting_for_phone(c: &impl Conn, hashes: &[[u8; 32]], now: Timestamp) -> Result<Vec<Consent>> {
    let text = format!(
        "SELECT * FROM consent_requests WHERE phone_hash {} AND state = 'Pending' AND expires_at > $2
         ORDER BY expires_at LIMIT $3",
        in_bytes(c, 1)
    );
    sql::list(c, &text, vec![bytes_set(hashes), now.value(), MAX_SHOWN.value()]).await
}

/// Records what the customer answered.
pub async fn decide(
    tx: &Tx,
    c: &Consent,
    to: ConsentState,
    customer: CustomerId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<()> {
    let text = "UPDATE consent_requests SET state = $4, customer_id = $5, decided_at = $6, expires_at = $7
                WHERE merchant_id = $1 AND id = $2 AND state = $3";
    let values = params![c.merchant_id, c.id, c.state, to, customer, now, expires_at];
    sql::execute_exactly(tx, 1, "consent state", text, values).await
}

/// Marks a lookup as used, by the scan it stands for.
pub async fn use_lookup(tx: &Tx, c: &Consent, nonce: [u8; 16]) -> Result<()> {
    let text = "UPDATE consent_requests SET state = 'Used', prepare_nonce = $3
                WHERE merchant_id = $1 AND id = $2 AND state = 'Approved' AND kind = 'lookup'";
    sql::execute_exactly(tx, 1, "consent state", text, params![c.merchant_id, c.id, nonce]).await
}

/// Marks a withdrawal as done, by whom it was asked and with what it redeemed.
pub async fn use_withdrawal(
    tx: &Tx,
    c: &Consent,
    customer: CustomerId,
    redemption: RedemptionId,
    now: Timestamp,
) -> Result<()> {
    let text =
        "UPDATE consent_requests SET state = 'Used', customer_id = $3, redemption_id = $4, decided_at = $5
                WHERE merchant_id = $1 AND id = $2 AND state = 'Pending' AND kind = 'withdraw_refund'";
    let values = params![c.merchant_id, c.id, customer, redemption, now];
    sql::execute_exactly(tx, 1, "consent state", text, values).await
}

/// The refunds that a request would take back, in the order of their ids.
pub async fn refunds_of(c: &impl Conn, merchant: MerchantScope, id: ConsentId) -> Result<Vec<RefundId>> {
    let text =
        "SELECT refund_id FROM consent_refunds WHERE merchant_id = $1 AND consent_id = $2 ORDER BY refund_id";
    let rows = sql::rows(c, text, params![merchant.merchant_id(), id]).await?;
    rows.iter().map(|r| r.get("refund_id")).collect()
}

/// Deletes some requests from before an instant that came to nothing; how many. Those that were used stay: they are
/// the evidence of what was done with them.
pub async fn prune(tx: &Tx, before: Timestamp, limit: u32) -> Result<u64> {
    let text = format!(
        "DELETE FROM consent_requests WHERE state <> 'Used' AND (merchant_id, id) IN
         (SELECT merchant_id, id FROM consent_requests WHERE created_at < $1 AND state <> 'Used' LIMIT $2 {})",
        sql::skip_locked(tx)
    );
    sql::execute(tx, &text, params![before, limit]).await
}
