//! Refunds.

use hexiao_core::consent::Held;
use hexiao_core::id::{CustomerId, MerchantId, OrderId, PaymentId, RefundId, StaffId, StoreId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::payment::Method;
use hexiao_core::refund::{BlockedReason, RefundCause, RefundState};
use hexiao_core::scope::{CustomerScope, MerchantScope, StoreScope, Stores};
use hexiao_core::time::Timestamp;

use crate::orders::Order;
use crate::page::{Cursor, Page, PageRequest};
use crate::payments::Payment;
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param, Row};
use crate::sql::{for_update, id_set, in_ids};
use crate::{new_row, params, sql};

/// A refund.
#[derive(Debug, Clone)]
pub struct Refund {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: RefundId,
    /// Of which order.
    pub order_id: OrderId,
    /// Of which payment.
    pub payment_id: PaymentId,
    /// To whom.
    pub customer_id: CustomerId,
    /// Its state.
    pub state: RefundState,
    /// Why it is blocked.
    pub blocked_reason: Option<BlockedReason>,
    /// Where it comes from.
    pub cause: RefundCause,
    /// How the money goes back.
    pub method: Method,
    /// What the customer or we gave as reason.
    pub reason: String,
    /// How much.
    pub amount: Money,
    /// The n-th number at WeChat.
    pub attempt: i64,
    /// WeChat's number.
    pub wechat_refund_id: Option<String>,
    /// Its money has left the liability in the books.
    pub booked: bool,
    /// WeChat was told to send the money to the merchant's own account.
    pub to_merchant: bool,
    /// What WeChat said last, for staff.
    pub error: Option<String>,
    /// Asked for at.
    pub created_at: Timestamp,
    /// First sent at.
    pub submitted_at: Option<Timestamp>,
    /// Done at.
    pub succeeded_at: Option<Timestamp>,
}

impl Refund {
    /// The scope of what belongs to this row.
    pub fn merchant(&self) -> MerchantScope {
        MerchantScope::of_row(self.merchant_id)
    }
}

impl Refund {
    /// One that was asked for and is not sent yet.
    pub fn created(
        id: RefundId,
        order: &Order,
        payment: &Payment,
        amount: Money,
        cause: RefundCause,
        reason: String,
        now: Timestamp,
    ) -> Self {
        Self {
            merchant_id: order.merchant_id,
            id,
            order_id: order.id,
            payment_id: payment.id,
            customer_id: order.customer_id,
            state: RefundState::Created,
            blocked_reason: None,
            cause,
            method: payment.method,
            reason,
            amount,
            attempt: 1,
            wechat_refund_id: None,
            booked: false,
            to_merchant: false,
            error: None,
            created_at: now,
            submitted_at: None,
            succeeded_at: None,
        }
    }
}

impl FromRow for Refund {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            order_id: row.get("order_id")?,
            payment_id: row.get("payment_id")?,
            customer_id: row.get("customer_id")?,
            state: row.get("state")?,
            blocked_reason: row.get("blocked_reason")?,
            cause: row.get("cause")?,
            method: row.get("method")?,
            reason: row.get("reason")?,
            amount: row.get("amount_fen")?,
            attempt: row.get("attempt")?,
            wechat_refund_id: row.get("wechat_refund_id")?,
            booked: row.get("booked")?,
            to_merchant: row.get("to_merchant")?,
            error: row.get("error")?,
            created_at: row.get("created_at")?,
            submitted_at: row.get("submitted_at")?,
            succeeded_at: row.get("succeeded_at")?,
        })
    }
}

/// Adds a refund.
pub async fn insert(tx: &Tx, r: &Refund) -> Result<()> {
    insert_all(tx, std::slice::from_ref(r)).await
}

/// Adds refunds.
pub async fn insert_all(tx: &Tx, refunds: &[Refund]) -> Result<()> {
    let row = |r: &Refund| {
        new_row! {
            merchant_id: r.merchant_id, id: r.id, order_id: r.order_id, payment_id: r.payment_id, customer_id: r.customer_id, state: r.state,
            cause: r.cause, method: r.method, reason: &r.reason, amount_fen: r.amount, attempt: r.attempt, booked: r.booked,
            to_merchant: r.to_merchant, created_at: r.created_at, submitted_at: r.submitted_at, succeeded_at: r.succeeded_at,
        }
    };
    sql::insert(tx, "refunds", refunds.iter().map(row).collect()).await
}

/// Locks a refund.
pub async fn lock(tx: &Tx, merchant: MerchantScope, id: RefundId) -> Result<Option<Refund>> {
    let text = format!("SELECT * FROM refunds r WHERE merchant_id = $1 AND id = $2{}", for_update(tx, "r"));
    sql::find(tx, &text, params![merchant.merchant_id(), id]).await
}

/// Writes what moved: state, block, attempt, WeChat's number, booking, times, error. `from` is the state it was read in.
pub async fn update(tx: &Tx, r: &Refund, from: RefundState) -> Result<()> {
    let text = "UPDATE refunds SET state = $4, blocked_reason = $5, attempt = $6, wechat_refund_id = $7, booked = $8, error = $9,
                submitted_at = $10, succeeded_at = $11, to_merchant = $12 WHERE merchant_id = $1 AND id = $2 AND state = $3";
    let values = params![
        r.merchant_id,
        r.id,
        from,
        r.state,
        r.blocked_reason,
        r.attempt,
        r.wechat_refund_id,
        r.booked,
        r.error,
        r.submitted_at,
        r.succeeded_at,
        r.to_merchant
    ];
    sql::execute_exactly(tx, 1, "refund state", text, values).await
}

/// Marks a refund as paid outside WeChat.
pub async fn set_manually_done(tx: &Tx, r: &Refund, evidence: &str, approver: StaffId) -> Result<()> {
    let text =
        "UPDATE refunds SET state = 'ManuallyDone', blocked_reason = NULL, evidence = $4, approver_id = $5
                WHERE merchant_id = $1 AND id = $2 AND state = $3";
    sql::execute_exactly(
        tx,
        1,
        "refund state",
        text,
        params![r.merchant_id, r.id, r.state, evidence, approver],
    )
    .await
}

/// How many numbers at WeChat the refunds of a payment have taken or will take: a refund has one for each attempt.
pub async fn numbers_of_payment(c: &impl Conn, merchant: MerchantScope, payment: PaymentId) -> Result<i64> {
    let text = "SELECT CAST(COALESCE(SUM(attempt), 0) AS BIGINT) AS n FROM refunds
                WHERE merchant_id = $1 AND payment_id = $2 AND method = 'wechat' AND state <> 'Withdrawn'";
    sql::row(c, text, params![merchant.merchant_id(), payment]).await?.map_or(Ok(0), |r| r.get("n"))
}

/// A customer's refund.
pub async fn of_customer(c: &impl Conn, customer: CustomerScope, id: RefundId) -> Result<Option<Refund>> {
    sql::find(
        c,
        "SELECT * FROM refunds WHERE customer_id = $1 AND id = $2",
        params![customer.customer_id(), id],
    )
    .await
}

/// A refund of the merchant.
pub async fn get(c: &impl Conn, merchant: MerchantScope, id: RefundId) -> Result<Option<Refund>> {
    sql::find(
        c,
        "SELECT * FROM refunds WHERE merchant_id = $1 AND id = $2",
        params![merchant.merchant_id(), id],
    )
    .await
}

/// A refund by the id that its number at WeChat begins with; the caller checks the account before it believes anything.
pub async fn by_number(c: &impl Conn, id: RefundId) -> Result<Option<Refund>> {
    sql::find(c, "SELECT * FROM refunds WHERE id = $1", params![id]).await
}

/// The refunds of some orders, first to last.
pub async fn of_orders(c: &impl Conn, merchant: MerchantScope, orders: &[OrderId]) -> Result<Vec<Refund>> {
    let text = format!(
        "SELECT * FROM refunds WHERE merchant_id = $1 AND order_id {} ORDER BY created_at, id LIMIT 5000",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(orders)]).await
}

/// Uses of vouchers that refunds keep which their customer asked for and which have not been sent.
pub async fn held(c: &impl Conn, merchant: MerchantScope, vouchers: &[VoucherId]) -> Result<Vec<Held>> {
    let text = format!(
        "SELECT k.voucher_id, k.quantity, r.id, r.created_at FROM voucher_locks k
         JOIN refunds r ON r.merchant_id = k.merchant_id AND r.id = k.owner_id
         WHERE k.merchant_id = $1 AND k.voucher_id {} AND k.kind = 'refund' AND k.state = 'Active'
           AND r.state = 'Created' AND r.cause = 'customer'",
        in_ids(c, 2)
    );
    let held = |row: &Row| {
        Ok(Held {
            refund_id: row.get("id")?,
            voucher_id: row.get("voucher_id")?,
            quantity: row.get("quantity")?,
            asked_at: row.get("created_at")?,
        })
    };
    sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(vouchers)])
        .await?
        .iter()
        .map(held)
        .collect()
}

/// A refund with its order's number and store.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The refund.
    pub refund: Refund,
    /// The order's number.
    pub order_number: String,
    /// The order's store.
    pub store_id: StoreId,
}

impl FromRow for Listed {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            refund: Refund::from_row(row)?,
            order_number: row.get("order_number")?,
            store_id: row.get("store_id")?,
        })
    }
}

/// Refunds of the stores in scope, newest first; in one state if given.
pub async fn list(
    c: &impl Conn,
    scope: &StoreScope,
    state: Option<RefundState>,
    page: &PageRequest,
) -> Result<Page<Listed>> {
    let (at, id) = page.bounds();
    let wanted = state.map_or("", RefundState::as_str);
    let mut values = params![scope.merchant_id(), at, id, page.fetch(), wanted];
    let within = match scope.stores() {
        Stores::All => String::new(),
        Stores::Only(ids) => {
            values.push(id_set(ids));
            format!("AND o.store_id {}", in_ids(c, 6))
        }
    };
    let text = format!(
        "SELECT r.*, o.number AS order_number, o.store_id AS store_id FROM refunds r
         JOIN orders o ON o.merchant_id = r.merchant_id AND o.id = r.order_id
         WHERE r.merchant_id = $1 AND (r.created_at < $2 OR (r.created_at = $2 AND r.id < $3)) AND ($5 = '' OR r.state = $5) {within}
         ORDER BY r.created_at DESC, r.id DESC LIMIT $4"
    );
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |l: &Listed| Cursor { at: l.refund.created_at, id: l.refund.id.into() }))
}

/// A refund in the stores in scope.
pub async fn get_in_stores(c: &impl Conn, scope: &StoreScope, id: RefundId) -> Result<Option<Listed>> {
    let text = "SELECT r.*, o.number AS order_number, o.store_id AS store_id FROM refunds r
                JOIN orders o ON o.merchant_id = r.merchant_id AND o.id = r.order_id WHERE r.merchant_id = $1 AND r.id = $2";
    let found: Option<Listed> = sql::find(c, text, params![scope.merchant_id(), id]).await?;
    Ok(found.filter(|l| scope.contains(l.store_id)))
}
