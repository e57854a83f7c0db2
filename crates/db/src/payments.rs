//! Payments, which orders they pay, and what did not match.

use hexiao_core::id::{
    CheckoutId, CustomerId, MerchantId, OrderId, PayAccountId, PaymentId, RecordId, RefundId,
};
use hexiao_core::money::Money;
use hexiao_core::payment::{AnomalyKind, Method, PaymentState};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use serde::Serialize;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param, Row};
use crate::sql::{JsonType, for_update, id_set, in_ids, json_rows, json_table};
use crate::{new_row, params, sql};

/// A payment.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id; the TypeID is the `out_trade_no`.
    pub id: PaymentId,
    /// For what was bought at once.
    pub checkout_id: CheckoutId,
    /// By whom.
    pub customer_id: CustomerId,
    /// Through which account.
    pub pay_account_id: Option<PayAccountId>,
    /// How.
    pub method: Method,
    /// Its state.
    pub state: PaymentState,
    /// How much.
    pub amount: Money,
    /// The payer at WeChat.
    pub openid: Option<String>,
    /// What WeChat shows the payer.
    pub description: String,
    /// WeChat's handle for the payer's phone.
    pub prepay_id: Option<String>,
    /// When it was given; it lives 2 h.
    pub prepay_at: Option<Timestamp>,
    /// WeChat's number.
    pub transaction_id: Option<String>,
    /// Not payable after.
    pub expires_at: Timestamp,
    /// When the money came.
    pub paid_at: Option<Timestamp>,
    /// It came after the order was closed.
    pub late: bool,
    /// The refund that WeChat may be paying now.
    pub refund_in_flight: Option<RefundId>,
    /// When the last refund was sent.
    pub last_refund_at: Option<Timestamp>,
    /// Refunds ever sent.
    pub refund_count: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl FromRow for Payment {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            checkout_id: row.get("checkout_id")?,
            customer_id: row.get("customer_id")?,
            pay_account_id: row.get("pay_account_id")?,
            method: row.get("method")?,
            state: row.get("state")?,
            amount: row.get("amount_fen")?,
            openid: row.get("openid")?,
            description: row.get("description")?,
            prepay_id: row.get("prepay_id")?,
            prepay_at: row.get("prepay_at")?,
            transaction_id: row.get("transaction_id")?,
            expires_at: row.get("expires_at")?,
            paid_at: row.get("paid_at")?,
            late: row.get("late")?,
            refund_in_flight: row.get("refund_in_flight")?,
            last_refund_at: row.get("last_refund_at")?,
            refund_count: row.get("refund_count")?,
            created_at: row.get("created_at")?,
        })
    }
}

/// Adds a payment and the orders it pays.
pub async fn insert(tx: &Tx, p: &Payment, orders: &[(OrderId, Money)]) -> Result<()> {
    let row = new_row! {
        merchant_id: p.merchant_id, id: p.id, checkout_id: p.checkout_id, customer_id: p.customer_id, pay_account_id: p.pay_account_id,
        method: p.method, state: p.state, amount_fen: p.amount, openid: p.openid, description: &p.description, expires_at: p.expires_at,
        paid_at: p.paid_at, late: false, refund_count: 0i64, created_at: p.created_at,
    };
    sql::insert_one(tx, "payments", row).await?;
    let row = |(order, amount): &(OrderId, Money)| new_row! { merchant_id: p.merchant_id, payment_id: p.id, order_id: *order, amount_fen: *amount };
    sql::insert(tx, "payment_orders", orders.iter().map(row).collect()).await
}

/// Locks payments, in the order of their ids.
pub async fn lock(tx: &Tx, merchant: MerchantScope, ids: &[PaymentId]) -> Result<Vec<Payment>> {
    let text = format!(
        "SELECT * FROM payments p WHERE merchant_id = $1 AND id {} ORDER BY id{}",
        in_ids(tx, 2),
        for_update(tx, "p")
    );
    sql::list(tx, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await
}

/// A payment of the merchant.
pub async fn get(c: &impl Conn, merchant: MerchantScope, id: PaymentId) -> Result<Option<Payment>> {
    sql::find(
        c,
        "SELECT * FROM payments WHERE merchant_id = $1 AND id = $2",
        params![merchant.merchant_id(), id],
    )
    .await
}

/// The payment of an order.
pub async fn of_order(c: &impl Conn, merchant: MerchantScope, order: OrderId) -> Result<Option<Payment>> {
    let text = "SELECT p.* FROM payments p JOIN payment_orders po ON po.merchant_id = p.merchant_id AND po.payment_id = p.id
                WHERE po.merchant_id = $1 AND po.order_id = $2";
    sql::find(c, text, params![merchant.merchant_id(), order]).await
}

/// The orders that payments pay, and how much of it is for each.
pub async fn orders_of(
    c: &impl Conn,
    merchant: MerchantScope,
    payments: &[PaymentId],
) -> Result<Vec<(PaymentId, OrderId, Money)>> {
    let text = format!(
        "SELECT payment_id, order_id, amount_fen FROM payment_orders WHERE merchant_id = $1 AND payment_id {} ORDER BY order_id",
        in_ids(c, 2)
    );
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(payments)]).await?;
    rows.iter().map(|r| Ok((r.get("payment_id")?, r.get("order_id")?, r.get("amount_fen")?))).collect()
}

/// Records WeChat's handle. Whether the payment still waits for its money: it may have been settled or closed
/// meanwhile, and then nothing changes.
pub async fn set_prepay(
    tx: &Tx,
    merchant: MerchantScope,
    id: PaymentId,
    prepay_id: &str,
    now: Timestamp,
) -> Result<bool> {
    let text = "UPDATE payments SET state = 'Pending', prepay_id = $3, prepay_at = $4
                WHERE merchant_id = $1 AND id = $2 AND state IN ('Created', 'Pending')";
    Ok(sql::execute(tx, text, params![merchant.merchant_id(), id, prepay_id, now]).await? == 1)
}

/// Money that came.
#[derive(Debug, Clone, Copy)]
pub struct Success<'t> {
    /// For which payment.
    pub payment_id: PaymentId,
    /// The state it was in.
    pub from: PaymentState,
    /// WeChat's number.
    pub transaction_id: &'t str,
    /// What the payer really paid.
    pub payer_total: Money,
    /// When, by WeChat's clock.
    pub paid_at: Timestamp,
    /// Its orders were closed before.
    pub late: bool,
}

#[derive(Serialize)]
struct SuccessRow<'t> {
    id: String,
    from_state: &'static str,
    transaction_id: &'t str,
    payer_total_fen: i64,
    paid_at: i64,
    late: i64,
}

/// Records money that came.
pub async fn set_succeeded(tx: &Tx, merchant: MerchantScope, successes: &[Success<'_>]) -> Result<()> {
    use hexiao_core::id::Id as _;
    let rows: Vec<SuccessRow<'_>> = successes
        .iter()
        .map(|s| SuccessRow {
            id: s.payment_id.uuid().simple().to_string(),
            from_state: s.from.as_str(),
            transaction_id: s.transaction_id,
            payer_total_fen: s.payer_total.as_fen(),
            paid_at: s.paid_at.micros(),
            late: i64::from(s.late),
        })
        .collect();
    let columns = [
        ("id", JsonType::Uuid),
        ("from_state", JsonType::Text),
        ("transaction_id", JsonType::Text),
        ("payer_total_fen", JsonType::Int),
        ("paid_at", JsonType::Int),
        ("late", JsonType::Int),
    ];
    let text = format!(
        "UPDATE payments SET state = 'Succeeded', transaction_id = q.transaction_id, payer_total_fen = q.payer_total_fen,
           paid_at = q.paid_at, late = (q.late = 1) FROM {}
         WHERE payments.merchant_id = q.merchant_id AND payments.id = q.id AND payments.state = q.from_state",
        json_table(tx, 2, "q", &columns)
    );
    let values = vec![merchant.merchant_id().value(), json_rows(&rows)];
    sql::execute_exactly(tx, successes.len(), "unsettled payments", &text, values).await
}

/// Records that WeChat will not take money for it any more.
pub async fn set_closed(tx: &Tx, merchant: MerchantScope, id: PaymentId) -> Result<()> {
    let text = "UPDATE payments SET state = 'Closed' WHERE merchant_id = $1 AND id = $2 AND state IN ('Created', 'Pending')";
    sql::execute(tx, text, params![merchant.merchant_id(), id]).await?;
    Ok(())
}

/// Marks a refund as the one in flight, and counts its number if that is a new one. Whether that was allowed: none in
/// flight, and the last one long enough ago.
pub async fn begin_refund(
    tx: &Tx,
    merchant: MerchantScope,
    id: PaymentId,
    refund: RefundId,
    new_number: bool,
    not_after: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    let text = "UPDATE payments SET refund_in_flight = $3, last_refund_at = $5, refund_count = refund_count + $6
                WHERE merchant_id = $1 AND id = $2 AND refund_in_flight IS NULL AND (last_refund_at IS NULL OR last_refund_at <= $4)";
    let values = params![merchant.merchant_id(), id, refund, not_after, now, i64::from(new_number)];
    Ok(sql::execute(tx, text, values).await? == 1)
}

/// The refund is not in flight any more.
pub async fn end_refund(tx: &Tx, merchant: MerchantScope, id: PaymentId, refund: RefundId) -> Result<()> {
    let text = "UPDATE payments SET refund_in_flight = NULL WHERE merchant_id = $1 AND id = $2 AND refund_in_flight = $3";
    sql::execute(tx, text, params![merchant.merchant_id(), id, refund]).await?;
    Ok(())
}

/// A verified message that does not fit.
#[derive(Debug, Clone)]
pub struct Anomaly {
    /// Whose account.
    pub merchant_id: MerchantId,
    /// A fresh id.
    pub id: RecordId,
    /// Which account.
    pub pay_account_id: PayAccountId,
    /// What is wrong.
    pub kind: AnomalyKind,
    /// The number it names.
    pub number: String,
    /// WeChat's number.
    pub transaction_id: String,
    /// Our payment, if the number is known.
    pub payment_id: Option<PaymentId>,
    /// What it said, as JSON without openids.
    pub got: String,
}

/// Records an anomaly; the same one again only counts up.
pub async fn record_anomaly(tx: &Tx, a: &Anomaly, now: Timestamp) -> Result<()> {
    let row = new_row! {
        merchant_id: a.merchant_id, id: a.id, pay_account_id: a.pay_account_id, kind: a.kind.as_str(), number: &a.number,
        transaction_id: &a.transaction_id, payment_id: a.payment_id, got: &a.got, seen: 1i64, first_at: now, last_at: now,
    };
    let conflict = "ON CONFLICT (merchant_id, pay_account_id, kind, number, transaction_id)
                    DO UPDATE SET seen = payment_anomalies.seen + 1, last_at = excluded.last_at";
    sql::insert_with(tx, "payment_anomalies", vec![row], conflict).await?;
    Ok(())
}

/// An anomaly as it is shown.
#[derive(Debug, Clone)]
pub struct AnomalyRow {
    /// Its id.
    pub id: RecordId,
    /// What is wrong.
    pub kind: String,
    /// The number it names.
    pub number: String,
    /// WeChat's number.
    pub transaction_id: String,
    /// What it said.
    pub got: String,
    /// How often.
    pub seen: i64,
    /// Since when.
    pub first_at: Timestamp,
}

impl FromRow for AnomalyRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            kind: row.get("kind")?,
            number: row.get("number")?,
            transaction_id: row.get("transaction_id")?,
            got: row.get("got")?,
            seen: row.get("seen")?,
            first_at: row.get("first_at")?,
        })
    }
}

/// Anomalies of a merchant, newest first.
pub async fn anomalies(
    c: &impl Conn,
    merchant: MerchantScope,
    page: &PageRequest,
) -> Result<Page<AnomalyRow>> {
    let (at, id) = page.bounds();
    let text = "SELECT * FROM payment_anomalies WHERE merchant_id = $1 AND (first_at < $2 OR (first_at = $2 AND id < $3))
                ORDER BY first_at DESC, id DESC LIMIT $4";
    let items = sql::list(c, text, params![merchant.merchant_id(), at, id, page.fetch()]).await?;
    Ok(Page::new(items, page, |a: &AnomalyRow| Cursor { at: a.first_at, id: a.id.into() }))
}

/// A payment by its id alone, as WeChat names it; the caller checks the account before it believes anything.
pub async fn by_out_trade_no(c: &impl Conn, id: PaymentId) -> Result<Option<Payment>> {
    sql::find(c, "SELECT * FROM payments WHERE id = $1", params![id]).await
}
