//! Orders, their lines and their events.

use std::collections::BTreeMap;

use hexiao_core::id::{
    CheckoutId, CustomerId, LineId, MerchantId, OrderId, PaymentId, ProductId, RecordId, SkuId, StoreId,
};
use hexiao_core::money::Money;
use hexiao_core::order::{CloseReason, Fulfilment, OrderState, OrderTab, Units};
use hexiao_core::price::TrailStep;
use hexiao_core::scope::{CustomerScope, MerchantScope, StoreScope, Stores};
use hexiao_core::time::{BusinessDate, Timestamp};
use sea_orm::Value;
use uuid::Uuid;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param, Row, json_text};
use crate::sql::{JsonType, for_update, id_set, in_ids, json_rows, json_table};
use crate::{new_row, params, sql};

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: OrderId,
    /// What it was bought in.
    pub checkout_id: CheckoutId,
    /// By whom.
    pub customer_id: CustomerId,
    /// In which store.
    pub store_id: StoreId,
    /// For people.
    pub number: String,
    /// How the goods reach the customer.
    pub kind: Fulfilment,
    /// Its state.
    pub state: OrderState,
    /// Why it was closed.
    pub close_reason: Option<CloseReason>,
    /// Sum of the goods.
    pub goods: Money,
    /// Sum of the discounts.
    pub discount: Money,
    /// What is paid.
    pub pay: Money,
    /// How the price came about.
    pub trail: Vec<TrailStep>,
    /// What the customer wrote.
    pub remark: String,
    /// Closes by itself at.
    pub expires_at: Timestamp,
    /// Placed at.
    pub created_at: Timestamp,
    /// Paid at.
    pub paid_at: Option<Timestamp>,
    /// Closed at.
    pub closed_at: Option<Timestamp>,
}

impl Order {
    /// The scope of what belongs to this row.
    pub fn merchant(&self) -> MerchantScope {
        MerchantScope::of_row(self.merchant_id)
    }
}

impl FromRow for Order {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            checkout_id: row.get("checkout_id")?,
            customer_id: row.get("customer_id")?,
            store_id: row.get("store_id")?,
            number: row.get("number")?,
            kind: row.get("kind")?,
            state: row.get("state")?,
            close_reason: row.get("close_reason")?,
            goods: row.get("goods_fen")?,
            discount: row.get("discount_fen")?,
            pay: row.get("pay_fen")?,
            trail: row.json("trail")?,
            remark: row.get("remark")?,
            expires_at: row.get("expires_at")?,
            created_at: row.get("created_at")?,
            paid_at: row.get("paid_at")?,
            closed_at: row.get("closed_at")?,
        })
    }
}

/// A line of an order.
#[derive(Debug, Clone)]
pub struct Line {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: LineId,
    /// Of which order.
    pub order_id: OrderId,
    /// Its place, from 0.
    pub line_no: i64,
    /// What.
    pub product_id: ProductId,
    /// Which specification.
    pub sku_id: SkuId,
    /// What it was called.
    pub product_name: String,
    /// What the specification was called.
    pub sku_name: String,
    /// Units.
    pub quantity: u32,
    /// Uses of a unit.
    pub uses: u32,
    /// Price of a unit.
    pub unit_price: Money,
    /// Of all units.
    pub goods: Money,
    /// Off all units.
    pub discount: Money,
    /// For all units.
    pub pay: Money,
    /// The rule it was bought with.
    pub rule_id: i64,
    /// Whether a whole unused voucher returns its unit to the stock.
    pub return_on_refund: bool,
    /// Whether its units are in the customer's purchase counter.
    pub counted: bool,
}

impl FromRow for Line {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            order_id: row.get("order_id")?,
            line_no: row.get("line_no")?,
            product_id: row.get("product_id")?,
            sku_id: row.get("sku_id")?,
            product_name: row.get("product_name")?,
            sku_name: row.get("sku_name")?,
            quantity: row.get("quantity")?,
            uses: row.get("uses")?,
            unit_price: row.get("unit_price_fen")?,
            goods: row.get("goods_fen")?,
            discount: row.get("discount_fen")?,
            pay: row.get("pay_fen")?,
            rule_id: row.get("rule_id")?,
            return_on_refund: row.get("return_on_refund")?,
            counted: row.get("counted")?,
        })
    }
}

/// Who did something to an order.
#[derive(Debug, Clone, Copy)]
pub enum Actor {
    /// Its customer.
    Customer(CustomerId),
    /// Staff.
    Staff(hexiao_core::id::StaffId),
    /// A job or a deadline.
    System,
    /// WeChat's word.
    Wechat,
}

impl Actor {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Customer(_) => "customer",
            Self::Staff(_) => "staff",
            Self::System => "system",
            Self::Wechat => "wechat",
        }
    }

    pub(crate) fn id(self) -> Option<Uuid> {
        match self {
            Self::Customer(id) => Some(id.into()),
            Self::Staff(id) => Some(id.into()),
            Self::System | Self::Wechat => None,
        }
    }
}

/// Something that happened to an order: who, when, where, why.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Whose.
    pub merchant_id: MerchantId,
    /// A fresh id.
    pub id: RecordId,
    /// To which order.
    pub order_id: OrderId,
    /// What.
    pub event: &'static str,
    /// From which state, if it moved.
    pub from: Option<OrderState>,
    /// To which state, if it moved.
    pub to: Option<OrderState>,
    /// Who.
    pub actor: Actor,
    /// Where.
    pub store_id: Option<StoreId>,
    /// With which device.
    pub device: Option<String>,
    /// Why, or what of.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Appends events.
pub async fn append_events(tx: &Tx, events: Vec<NewEvent>) -> Result<()> {
    let row = |e: NewEvent| {
        new_row! {
            merchant_id: e.merchant_id, id: e.id, order_id: e.order_id, event: e.event, from_state: e.from, to_state: e.to,
            actor: e.actor.kind(), actor_id: e.actor.id(), store_id: e.store_id, device: e.device, note: e.note, at: e.at,
        }
    };
    sql::insert(tx, "order_events", events.into_iter().map(row).collect()).await
}

/// Adds checkouts, orders and their lines.
pub async fn insert(tx: &Tx, orders: &[(Order, BusinessDate)], lines: &[Line]) -> Result<()> {
    let checkout = |(o, _): &(Order, BusinessDate)| new_row! { id: o.checkout_id, customer_id: o.customer_id, created_at: o.created_at };
    sql::insert(tx, "checkouts", orders.iter().map(checkout).collect()).await?;
    let order = |(o, date): &(Order, BusinessDate)| {
        new_row! {
            merchant_id: o.merchant_id, id: o.id, checkout_id: o.checkout_id, customer_id: o.customer_id, store_id: o.store_id,
            number: &o.number, kind: o.kind, state: o.state, goods_fen: o.goods, discount_fen: o.discount, pay_fen: o.pay,
            trail: json_text(&o.trail), remark: &o.remark, business_date: *date, expires_at: o.expires_at, created_at: o.created_at,
        }
    };
    sql::insert(tx, "orders", orders.iter().map(order).collect()).await?;
    let line = |l: &Line| {
        new_row! {
            merchant_id: l.merchant_id, id: l.id, order_id: l.order_id, line_no: l.line_no, product_id: l.product_id, sku_id: l.sku_id,
            product_name: &l.product_name, sku_name: &l.sku_name, quantity: l.quantity, uses: l.uses, unit_price_fen: l.unit_price,
            goods_fen: l.goods, discount_fen: l.discount, pay_fen: l.pay, rule_id: l.rule_id, return_on_refund: l.return_on_refund,
            counted: l.counted,
        }
    };
    sql::insert(tx, "order_lines", lines.iter().map(line).collect()).await
}

/// Locks orders, in the order of their ids.
pub async fn lock(tx: &Tx, merchant: MerchantScope, ids: &[OrderId]) -> Result<Vec<Order>> {
    let text = format!(
        "SELECT * FROM orders o WHERE merchant_id = $1 AND id {} ORDER BY id{}",
        in_ids(tx, 2),
        for_update(tx, "o")
    );
    sql::list(tx, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await
}

/// Moves paid orders on, each with the moment at which its customer is first reminded that vouchers end.
pub async fn mark_paid(
    tx: &Tx,
    merchant: MerchantScope,
    orders: &[(OrderId, Option<Timestamp>)],
    to: OrderState,
    now: Timestamp,
) -> Result<()> {
    use hexiao_core::id::Id as _;
    let row = |(id, remind_at): &(OrderId, Option<Timestamp>)| PaidRow {
        id: id.uuid().simple().to_string(),
        remind_at: remind_at.map(Timestamp::micros),
    };
    let rows: Vec<PaidRow> = orders.iter().map(row).collect();
    let text = format!(
        "UPDATE orders SET state = $3, paid_at = $4, remind_at = q.remind_at FROM {}
         WHERE orders.merchant_id = q.merchant_id AND orders.id = q.id AND orders.state = 'PendingPayment'",
        json_table(tx, 2, "q", &[("id", JsonType::Uuid), ("remind_at", JsonType::Int)])
    );
    let values = vec![merchant.merchant_id().value(), json_rows(&rows), to.value(), now.value()];
    sql::execute_exactly(tx, orders.len(), "unpaid orders", &text, values).await
}

#[derive(serde::Serialize)]
struct PaidRow {
    id: String,
    remind_at: Option<i64>,
}

/// Closes an unpaid order.
pub async fn mark_closed(
    tx: &Tx,
    merchant: MerchantScope,
    id: OrderId,
    reason: CloseReason,
    now: Timestamp,
) -> Result<()> {
    let text = "UPDATE orders SET state = 'Closed', close_reason = $3, closed_at = $4 WHERE merchant_id = $1 AND id = $2 AND state = 'PendingPayment'";
    sql::execute_exactly(tx, 1, "unpaid order", text, params![merchant.merchant_id(), id, reason, now]).await
}

/// How many orders of a customer wait for their payment at one merchant. Placing one holds the customer's lock.
pub async fn count_unpaid(tx: &Tx, merchant: MerchantScope, customer: CustomerId) -> Result<i64> {
    let text = "SELECT COUNT(*) AS n FROM orders WHERE merchant_id = $1 AND customer_id = $2 AND state = 'PendingPayment'";
    sql::row(tx, text, params![merchant.merchant_id(), customer]).await?.map_or(Ok(0), |r| r.get("n"))
}

/// Unpaid orders whose time is over, at whatever merchant: the reconciler's work list.
pub async fn expired(c: &impl Conn, now: Timestamp, limit: u32) -> Result<Vec<(MerchantId, OrderId)>> {
    let text = "SELECT merchant_id, id FROM orders WHERE state = 'PendingPayment' AND expires_at <= $1 ORDER BY expires_at LIMIT $2";
    let rows = sql::rows(c, text, params![now, limit]).await?;
    rows.iter().map(|r| Ok((r.get("merchant_id")?, r.get("id")?))).collect()
}

/// A customer's order, wherever it was bought; by its id.
pub async fn of_customer(c: &impl Conn, customer: CustomerScope, id: OrderId) -> Result<Option<Order>> {
    sql::find(
        c,
        "SELECT * FROM orders WHERE customer_id = $1 AND id = $2",
        params![customer.customer_id(), id],
    )
    .await
}

/// A customer's order by its payment, as WeChat's order entry names it.
pub async fn of_customer_by_payment(
    c: &impl Conn,
    customer: CustomerScope,
    payment: PaymentId,
) -> Result<Option<Order>> {
    let text = "SELECT o.* FROM orders o JOIN payment_orders po ON po.merchant_id = o.merchant_id AND po.order_id = o.id
                JOIN payments p ON p.merchant_id = po.merchant_id AND p.id = po.payment_id
                WHERE p.id = $2 AND p.customer_id = $1 AND o.customer_id = $1 ORDER BY o.id LIMIT 1";
    sql::find(c, text, params![customer.customer_id(), payment]).await
}

/// An order of the stores in scope.
pub async fn get(c: &impl Conn, scope: &StoreScope, id: OrderId) -> Result<Option<Order>> {
    let found: Option<Order> = sql::find(
        c,
        "SELECT * FROM orders WHERE merchant_id = $1 AND id = $2",
        params![scope.merchant_id(), id],
    )
    .await?;
    Ok(found.filter(|o| scope.contains(o.store_id)))
}

/// The order of a number for people, and its customer.
pub async fn by_number(
    c: &impl Conn,
    merchant: MerchantScope,
    number: &str,
) -> Result<Option<(OrderId, CustomerId)>> {
    let text = "SELECT id, customer_id FROM orders WHERE merchant_id = $1 AND number = $2";
    let row = sql::row(c, text, params![merchant.merchant_id(), number]).await?;
    row.map(|r| Ok((r.get("id")?, r.get("customer_id")?))).transpose()
}

/// The lines of some orders of one merchant, in order.
pub async fn lines(c: &impl Conn, merchant: MerchantScope, orders: &[OrderId]) -> Result<Vec<Line>> {
    let text = format!(
        "SELECT * FROM order_lines WHERE merchant_id = $1 AND order_id {} ORDER BY order_id, line_no",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(orders)]).await
}

/// An order and the sums of its vouchers' counters, for lists.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The order.
    pub order: Order,
    /// Its units.
    pub units: Units,
    /// Its store's name.
    pub store_name: String,
}

impl FromRow for Summary {
    fn from_row(row: &Row) -> Result<Self> {
        let units = Units {
            total: row.get("u_total")?,
            used: row.get("u_used")?,
            locked_refund: row.get("u_locked_refund")?,
            refunded: row.get("u_refunded")?,
            transferred: row.get("u_transferred")?,
            forfeited: row.get("u_forfeited")?,
        };
        Ok(Self { order: Order::from_row(row)?, units, store_name: row.get("store_name")? })
    }
}

/// What lists of orders are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One store.
    pub store_id: Option<StoreId>,
    /// One tab.
    pub tab: Option<OrderTab>,
    /// Placed at or after.
    pub from: Option<Timestamp>,
    /// Placed before.
    pub to: Option<Timestamp>,
    /// The whole order number.
    pub number: Option<String>,
}

/// Orders with the sums of their vouchers' counters. The sums are sub-selects, so a page costs one index lookup a row.
fn summary_text(where_clause: &str, order_by: &str) -> String {
    let sums: Vec<String> = ["total", "used", "locked_refund", "refunded", "transferred", "forfeited"]
        .iter()
        .map(|name| {
            format!(
                "(SELECT CAST(COALESCE(SUM(v.{name}), 0) AS BIGINT) FROM vouchers v WHERE v.merchant_id = o.merchant_id AND v.order_id = o.id) AS u_{name}"
            )
        })
        .collect();
    format!(
        "SELECT * FROM (SELECT o.*, s.name AS store_name, {} FROM orders o
         JOIN stores s ON s.merchant_id = o.merchant_id AND s.id = o.store_id) t WHERE {where_clause} {order_by}",
        sums.join(", ")
    )
}

/// The tab of an order in SQL; `hexiao_core::order::Units::tab` is the rule, and a test holds the two together.
const TAB: &str = "CASE WHEN state = 'PendingPayment' THEN 'unpaid' WHEN state = 'Closed' THEN 'closed'
    WHEN state = 'Refunding' OR (state = 'Paid' AND u_locked_refund > 0) THEN 'after_sale'
    WHEN state = 'Grouping' OR u_total - u_used - u_refunded - u_transferred - u_forfeited > 0 THEN 'to_redeem'
    WHEN u_refunded = u_total THEN 'refunded' ELSE 'redeemed' END";

struct Conditions {
    parts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn and(&mut self, text: &str, value: Value) {
        self.values.push(value);
        self.parts.push(text.replace('?', &format!("${}", self.values.len())));
    }

    fn filter(&mut self, filter: &Filter) {
        if let Some(store) = filter.store_id {
            self.and("store_id = ?", store.value());
        }
        if let Some(tab) = filter.tab {
            self.and(&format!("({TAB}) = ?"), tab.as_str().value());
        }
        if let Some(from) = filter.from {
            self.and("created_at >= ?", from.value());
        }
        if let Some(to) = filter.to {
            self.and("created_at < ?", to.value());
        }
        if let Some(number) = &filter.number {
            self.and("number = ?", number.value());
        }
    }

    fn page(&mut self, page: &PageRequest) -> String {
        let (at, id) = page.bounds();
        self.values.extend([at.value(), id.value(), page.fetch().value()]);
        let n = self.values.len();
        self.parts.push(format!(
            "(created_at < ${} OR (created_at = ${} AND id < ${}))",
            n - 2,
            n - 2,
            n - 1
        ));
        format!("ORDER BY created_at DESC, id DESC LIMIT ${n}")
    }
}

async fn summaries(
    c: &impl Conn,
    mut conditions: Conditions,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Summary>> {
    conditions.filter(filter);
    let order_by = conditions.page(page);
    let items =
        sql::list(c, &summary_text(&conditions.parts.join(" AND "), &order_by), conditions.values).await?;
    Ok(Page::new(items, page, |s: &Summary| Cursor { at: s.order.created_at, id: s.order.id.into() }))
}

/// A customer's orders, newest first.
pub async fn list_of_customer(
    c: &impl Conn,
    customer: CustomerScope,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Summary>> {
    let mut conditions = Conditions { parts: vec![], values: vec![] };
    conditions.and("customer_id = ?", customer.customer_id().value());
    summaries(c, conditions, filter, page).await
}

/// Orders of the stores in scope, newest first.
pub async fn list(
    c: &impl Conn,
    scope: &StoreScope,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Summary>> {
    let mut conditions = Conditions { parts: vec![], values: vec![] };
    conditions.and("merchant_id = ?", scope.merchant_id().value());
    if let Stores::Only(ids) = scope.stores() {
        let text = format!("store_id {}", in_ids(c, conditions.values.len() + 1));
        conditions.values.push(id_set(ids));
        conditions.parts.push(text);
    }
    summaries(c, conditions, filter, page).await
}

/// One order's sums and store name.
pub async fn summary(c: &impl Conn, merchant: MerchantScope, id: OrderId) -> Result<Option<Summary>> {
    sql::find(c, &summary_text("merchant_id = $1 AND id = $2", ""), params![merchant.merchant_id(), id]).await
}

/// An event as it is shown.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// What.
    pub event: String,
    /// Who.
    pub actor: String,
    /// Why, or what of.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl FromRow for EventRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            event: row.get("event")?,
            actor: row.get("actor")?,
            note: row.get("note")?,
            at: row.get("at")?,
        })
    }
}

/// What happened to an order, first to last (the first 500).
pub async fn events(c: &impl Conn, merchant: MerchantScope, id: OrderId) -> Result<Vec<EventRow>> {
    let text = "SELECT event, actor, note, at FROM order_events WHERE merchant_id = $1 AND order_id = $2 ORDER BY at, id LIMIT 500";
    sql::list(c, text, params![merchant.merchant_id(), id]).await
}

/// Adds units to the sales of products. Rows in the order of their ids: settlements of several products must not lock
/// them crosswise. The last write of its transaction, because everybody who buys a product comes by here.
pub async fn count_sales(tx: &Tx, merchant: MerchantScope, units: &BTreeMap<ProductId, i64>) -> Result<()> {
    for (product, units) in units {
        let text = "UPDATE products SET sold_count = sold_count + $3 WHERE merchant_id = $1 AND id = $2";
        sql::execute(tx, text, params![merchant.merchant_id(), *product, *units]).await?;
    }
    Ok(())
}
