//! Placing orders: price, stock reserved by guarded updates (all lines or none), and the order, in one transaction.

use std::collections::BTreeMap;

use chrono::Duration;
use hexiao_core::id::{CustomerId, LineId, OrderId, StockId};
use hexiao_core::number::OrderNumber;
use hexiao_core::order::{Fulfilment, MAX_UNPAID_ORDERS, OrderState};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::MerchantScope;
use hexiao_core::stock::{ReservationState, StockFacts, check_available};
use hexiao_core::time::Timestamp;
use hexiao_db::idempotency::{self, Claim, Key};
use hexiao_db::orders::{self, Actor, Line, Order};
use hexiao_db::stock::{self, Reservation};
use hexiao_db::{DbError, Tx, customers, merchants, store_facts, transact};
use serde::Serialize;

use super::quote::{QuoteRequest, Quoted, quote_in, wanted};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::keys::{entropy, new_id};
use crate::payment::settle_free_order;

/// A request to place an order.
#[derive(Debug, Clone)]
pub struct PlaceOrder {
    /// By whom.
    pub customer_id: CustomerId,
    /// Where and what.
    pub quote: QuoteRequest,
    /// What the customer wrote.
    pub remark: String,
    /// Its idempotency key.
    pub key: String,
}

/// A placed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Whose.
    pub merchant: MerchantScope,
    /// The order.
    pub order_id: OrderId,
    /// The same request had placed it before.
    pub replayed: bool,
}

#[derive(Serialize)]
struct Asked<'a> {
    quote: &'a QuoteRequest,
    remark: &'a str,
}

impl App {
    /// Places an order.
    pub async fn place_order(&self, request: PlaceOrder) -> Result<Placed> {
        let store = store_facts::for_customer(self.db.reader(), request.quote.store_id).await?;
        let store = store.ok_or_else(|| Refusal::with_message(Reason::NotFound, "没有找到这个门店"))?;
        let merchant = MerchantScope::of_system(store.merchant_id);
        let requests = [request];
        let verdicts: Result<Vec<Result<Placed, Refusal>>> =
            transact!(self.db, |tx| place_orders(self, &tx, merchant, &requests));
        let placed = verdicts?.pop().ok_or_else(|| AppError::Internal("no verdict".to_owned()))??;
        self.hold_at("order.after_commit").await;
        self.wake.notify_one();
        Ok(placed)
    }
}

/// Places orders at one merchant; each has its own verdict. A refused one leaves nothing behind.
pub(crate) async fn place_orders(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    requests: &[PlaceOrder],
) -> Result<Vec<Result<Placed, Refusal>>> {
    let now = app.now();
    let mut verdicts = Vec::with_capacity(requests.len());
    for request in requests {
        let asked = Asked { quote: &request.quote, remark: &request.remark };
        let key = Key {
            merchant,
            actor_id: request.customer_id.into(),
            key: &request.key,
            operation: "order.place",
            fingerprint: fingerprint(&asked),
        };
        let verdict = match idempotency::claim(tx, &key, now).await? {
            Claim::Replay { subject_id, .. } => {
                let order_id = hexiao_core::id::Id::from_uuid(subject_id);
                Ok(Placed { merchant, order_id, replayed: true })
            }
            Claim::Conflict => Err(Reason::IdempotencyConflict.into()),
            Claim::New => match place_one(app, tx, merchant, request, now).await {
                Ok(order_id) => {
                    idempotency::store(tx, &key, order_id.into(), "{}").await?;
                    Ok(Placed { merchant, order_id, replayed: false })
                }
                // Nothing was written before the refusal but the claim, which a refusal gives back.
                Err(AppError::Refused(refusal)) => {
                    idempotency::release(tx, &key).await?;
                    Err(*refusal)
                }
                Err(error) => return Err(error),
            },
        };
        verdicts.push(verdict);
    }
    app.hold_at("order.before_commit").await;
    Ok(verdicts)
}

/// Decides everything before it writes anything: a refusal must leave the transaction as it was.
async fn place_one(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    request: &PlaceOrder,
    now: Timestamp,
) -> Result<OrderId> {
    let owner = merchants::get(tx, merchant).await?.ok_or(Reason::NotFound)?;
    let quoted = quote_in(tx, &request.quote, now).await?;
    check_unpaid(tx, merchant, request.customer_id).await?;
    let reserved = decide_stock(tx, merchant, &quoted).await?;
    count_limits(tx, merchant, request.customer_id, &quoted).await?;
    let (order, lines) = build(merchant, request, &quoted, owner.order_ttl_s, now);
    let date = quoted.store.business_day.date(now);
    orders::insert(tx, &[(order.clone(), date)], &lines).await.map_err(number_taken)?;
    let reservations = reservations(&quoted, &order, &lines);
    stock::reserve(tx, merchant, &reserved, &reservations).await?;
    let event = orders::NewEvent {
        merchant_id: order.merchant_id,
        id: new_id(),
        order_id: order.id,
        event: "create",
        from: None,
        to: Some(OrderState::PendingPayment),
        actor: Actor::Customer(order.customer_id),
        store_id: Some(order.store_id),
        device: None,
        note: None,
        at: now,
    };
    orders::append_events(tx, vec![event]).await?;
    if order.pay == hexiao_core::money::Money::ZERO {
        settle_free_order(app, tx, merchant, &order, now).await?;
    }
    Ok(order.id)
}

/// An order number is random: one in ten thousand million meets another and is drawn again.
fn number_taken(error: DbError) -> DbError {
    if error.is_unique_violation("number") { DbError::Stale("order number") } else { error }
}

/// Refuses one unpaid order too many. The lock on the customer makes it exact: their next order waits here until this
/// one is committed.
async fn check_unpaid(tx: &Tx, merchant: MerchantScope, customer: CustomerId) -> Result<()> {
    customers::lock(tx, &[customer]).await?;
    let unpaid = orders::count_unpaid(tx, merchant, customer).await?;
    if unpaid < MAX_UNPAID_ORDERS { Ok(()) } else { Err(Reason::TooManyUnpaid.into()) }
}

/// Locks the stock rows and checks every line; what to reserve of each row.
async fn decide_stock(tx: &Tx, merchant: MerchantScope, quoted: &Quoted) -> Result<BTreeMap<StockId, i64>> {
    let mut ids: Vec<StockId> = quoted.lines.iter().filter_map(|l| l.sku.stock_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let locked = stock::lock(tx, merchant, &ids).await?;
    let facts: Vec<StockFacts> = ids
        .iter()
        .map(|id| locked.get(id).copied().unwrap_or(StockFacts { on_hand: 0, reserved: 0 }))
        .collect();
    let wanted = wanted(&quoted.lines, &mut |id, _| ids.binary_search(&id).unwrap_or(0));
    check_available(&wanted, &facts)?;
    let mut reserve = BTreeMap::new();
    for line in &quoted.lines {
        match line.sku.stock_id {
            Some(id) => *reserve.entry(id).or_insert(0) += i64::from(line.quantity),
            None if line.sku.stock_mode == hexiao_core::catalog::StockMode::Unlimited => {}
            None => {
                return Err(Refusal::new(Reason::OutOfStock)
                    .and_field("lines", format!("「{}」已售罄", line.sku.product_name))
                    .into());
            }
        }
    }
    Ok(reserve)
}

/// Counts limited SKUs against their customer. Several limited lines: the last refused one gives the others back by
/// subtracting, since the transaction goes on with its other requests.
async fn count_limits(tx: &Tx, merchant: MerchantScope, customer: CustomerId, quoted: &Quoted) -> Result<()> {
    let mut counted = Vec::new();
    // In the order of the SKUs' ids: two orders of one customer must not lock their counters crosswise.
    let mut lines: Vec<_> = quoted.lines.iter().enumerate().collect();
    lines.sort_by_key(|(_, line)| line.sku.sku_id);
    for (i, line) in lines {
        let Some(limit) = line.sku.per_customer_limit else { continue };
        let quantity = i64::from(line.quantity);
        if stock::count_purchase(tx, merchant, customer, line.sku.sku_id, quantity, i64::from(limit)).await? {
            counted.push((line.sku.sku_id, quantity));
            continue;
        }
        for (sku, quantity) in counted {
            stock::count_purchase(tx, merchant, customer, sku, -quantity, i64::MAX / 2).await?;
        }
        let text = format!("「{}」每人限购 {limit} 份", line.sku.product_name);
        return Err(Refusal::new(Reason::PurchaseLimit)
            .and_field(format!("lines[{i}].quantity"), text)
            .into());
    }
    Ok(())
}

fn build(
    merchant: MerchantScope,
    request: &PlaceOrder,
    quoted: &Quoted,
    ttl_s: i64,
    now: Timestamp,
) -> (Order, Vec<Line>) {
    let number = OrderNumber::new(now.datetime(), quoted.store.business_day.zone, entropy());
    let order = Order {
        merchant_id: merchant.merchant_id(),
        id: new_id(),
        checkout_id: new_id(),
        customer_id: request.customer_id,
        store_id: quoted.store.id,
        number: number.as_str().to_owned(),
        kind: Fulfilment::Redeem,
        state: OrderState::PendingPayment,
        close_reason: None,
        goods: quoted.quote.goods,
        discount: quoted.quote.discount,
        pay: quoted.quote.pay,
        trail: quoted.quote.trail.clone(),
        remark: request.remark.clone(),
        expires_at: now.plus(Duration::seconds(ttl_s)),
        created_at: now,
        paid_at: None,
        closed_at: None,
    };
    let line = |(line_no, l): (i64, &super::quote::QuotedLine)| Line {
        merchant_id: order.merchant_id,
        id: new_id::<LineId>(),
        order_id: order.id,
        line_no,
        product_id: l.sku.product_id,
        sku_id: l.sku.sku_id,
        product_name: l.sku.product_name.clone(),
        sku_name: l.sku.sku_name.clone(),
        quantity: l.quantity,
        uses: l.sku.uses,
        unit_price: l.price.unit_price,
        goods: l.price.goods,
        discount: l.price.discount,
        pay: l.price.pay,
        rule_id: l.sku.rule_id,
        return_on_refund: l.sku.return_on_refund,
        // What `count_limits` has counted.
        counted: l.sku.per_customer_limit.is_some(),
    };
    let lines = (0..).zip(&quoted.lines).map(line).collect();
    (order, lines)
}

fn reservations(quoted: &Quoted, order: &Order, lines: &[Line]) -> Vec<Reservation> {
    let of = |(quoted, line): (&super::quote::QuotedLine, &Line)| {
        Some(Reservation {
            merchant_id: order.merchant_id,
            line_id: line.id,
            order_id: order.id,
            stock_id: quoted.sku.stock_id?,
            quantity: i64::from(line.quantity),
            state: ReservationState::Open,
        })
    };
    quoted.lines.iter().zip(lines).filter_map(of).collect()
}
