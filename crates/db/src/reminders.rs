//! Reminders: orders whose customers are to hear that vouchers end.

use hexiao_core::id::{CustomerId, MerchantId, OrderId, StoreId, VoucherId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::VoucherState;
use serde::Serialize;

use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param as _, Row};
use crate::sql::{JsonType, for_update, id_set, in_ids, json_rows, json_table};
use crate::{params, sql};

/// Orders with a reminder that is due, at whatever merchant: the reconciler's work list.
pub async fn due(c: &impl Conn, now: Timestamp, limit: u32) -> Result<Vec<(MerchantId, OrderId)>> {
    let text = "SELECT merchant_id, id FROM orders WHERE remind_at <= $1 ORDER BY remind_at LIMIT $2";
    let rows = sql::rows(c, text, params![now, limit]).await?;
    rows.iter().map(|r| Ok((r.get("merchant_id")?, r.get("id")?))).collect()
}

/// An order with a reminder that is due.
#[derive(Debug, Clone)]
pub struct DueOrder {
    /// Which.
    pub id: OrderId,
    /// The store chosen at purchase.
    pub store_id: StoreId,
    /// Up to when its customer was reminded before.
    pub reminded_until: Option<Timestamp>,
}

impl FromRow for DueOrder {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            store_id: row.get("store_id")?,
            reminded_until: row.get("reminded_until")?,
        })
    }
}

/// Locks orders, in the order of their ids, as far as their reminder is still due.
pub async fn lock(
    tx: &Tx,
    merchant: MerchantScope,
    ids: &[OrderId],
    now: Timestamp,
) -> Result<Vec<DueOrder>> {
    let text = format!(
        "SELECT o.id, o.store_id, o.reminded_until FROM orders o
         WHERE o.merchant_id = $1 AND o.id {} AND o.remind_at <= $3 ORDER BY o.id{}",
        in_ids(tx, 2),
        for_update(tx, "o")
    );
    sql::list(tx, &text, vec![merchant.merchant_id().value(), id_set(ids), now.value()]).await
}

/// A voucher that a reminder may speak of.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Which.
    pub id: VoucherId,
    /// Bought in which order.
    pub order_id: OrderId,
    /// Who holds it.
    pub customer_id: CustomerId,
    /// What it was called.
    pub product_name: String,
    /// Uses that can still be redeemed, booked ones too.
    pub usable: i64,
    /// Its state.
    pub state: VoucherState,
    /// The rule it was bought with.
    pub rule_id: i64,
    /// Valid to (excluded).
    pub valid_to: Timestamp,
    /// Issued at.
    pub created_at: Timestamp,
}

impl FromRow for Ending {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            order_id: row.get("order_id")?,
            customer_id: row.get("customer_id")?,
            product_name: row.get("product_name")?,
            usable: row.get("usable")?,
            state: row.get("state")?,
            rule_id: row.get("rule_id")?,
            valid_to: row.get("valid_to")?,
            created_at: row.get("created_at")?,
        })
    }
}

/// The vouchers of orders.
pub async fn vouchers(c: &impl Conn, merchant: MerchantScope, orders: &[OrderId]) -> Result<Vec<Ending>> {
    let text = format!(
        "SELECT id, order_id, customer_id, product_name, state, rule_id, valid_to, created_at,
           total - used - locked_refund - refunded - transferred - forfeited AS usable
         FROM vouchers WHERE merchant_id = $1 AND order_id {} ORDER BY order_id, line_id, unit_no",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(orders)]).await
}

/// When an order's customer is reminded next, and up to when they were.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Which order.
    pub order_id: OrderId,
    /// Next, if there is a next one.
    pub remind_at: Option<Timestamp>,
    /// Up to when, if they were.
    pub reminded_until: Option<Timestamp>,
}

#[derive(Serialize)]
struct PlanRow {
    id: String,
    remind_at: Option<i64>,
    reminded_until: Option<i64>,
}

/// Writes plans of locked orders.
pub async fn plan(tx: &Tx, merchant: MerchantScope, plans: &[Plan]) -> Result<()> {
    use hexiao_core::id::Id as _;
    let row = |p: &Plan| PlanRow {
        id: p.order_id.uuid().simple().to_string(),
        remind_at: p.remind_at.map(Timestamp::micros),
        reminded_until: p.reminded_until.map(Timestamp::micros),
    };
    let rows: Vec<PlanRow> = plans.iter().map(row).collect();
    let columns = [("id", JsonType::Uuid), ("remind_at", JsonType::Int), ("reminded_until", JsonType::Int)];
    let text = format!(
        "UPDATE orders SET remind_at = q.remind_at, reminded_until = q.reminded_until FROM {}
         WHERE orders.merchant_id = q.merchant_id AND orders.id = q.id AND orders.remind_at IS NOT NULL",
        json_table(tx, 2, "q", &columns)
    );
    let values = vec![merchant.merchant_id().value(), json_rows(&rows)];
    sql::execute_exactly(tx, plans.len(), "orders with a reminder", &text, values).await
}
