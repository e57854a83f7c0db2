//! Placing orders: price, stock reserved by guarded updates (all lines or none), and the order, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use hexiao_core::id::{CustomerId, LineId, OrderId, StockId};
use hexiao_core::money::Money;
use hexiao_core::number::OrderNumber;
use hexiao_core::order::{Fulfilment, MAX_UNPAID_ORDERS, OrderState};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::MerchantScope;
use hexiao_core::stock::{ReservationState, StockFacts, check_available};
use hexiao_core::time::{BusinessDate, Timestamp};
use hexiao_db::idempotency::{self, Claim, Key};
use hexiao_db::orders::{self, Actor, Line, Order};
use hexiao_db::stock::{self, Reservation};
use hexiao_db::{DbError, Tx, customers, merchants, store_facts};
use serde::Serialize;
use uuid::Uuid;

use super::quote::{QuoteRequest, Quoted, quote_in, wanted};
use crate::batch::{Batched, Queue};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::keys::{entropy, new_id};
use crate::payment::settle_free_orders;

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
        Ok(self.in_batch(merchant, request).await??)
    }
}

impl Batched for PlaceOrder {
    type Verdict = Result<Placed, Refusal>;
    const NAME: &'static str = "place";
    const AFTER_COMMIT: &'static str = "order.after_commit";

    // The key is claimed when an order is decided on and says what it made only when it is written.
    fn apart(&self) -> Option<(Uuid, &str)> {
        Some((self.customer_id.into(), &self.key))
    }

    fn queue(app: &App) -> &Queue<Self> {
        &app.queues.orders
    }

    async fn run(
        app: &App,
        tx: &Tx,
        merchant: MerchantScope,
        requests: &[Self],
    ) -> Result<Vec<Result<Placed, Refusal>>> {
        place_orders(app, tx, merchant, requests).await
    }
}

/// An order that was decided on and not yet written.
struct Decided {
    order: Order,
    date: BusinessDate,
    lines: Vec<Line>,
    reserve: BTreeMap<StockId, i64>,
    reservations: Vec<Reservation>,
}

/// Places orders at one merchant; each has its own verdict. A refused one leaves nothing behind. Order of locks:
/// keys, customers, stocks, the customers' purchase counters.
async fn place_orders(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    requests: &[PlaceOrder],
) -> Result<Vec<Result<Placed, Refusal>>> {
    let mut verdicts = Vec::with_capacity(requests.len());
    let mut fresh: Vec<(usize, Key<'_>, Quoted)> = Vec::new();
    for (n, request) in requests.iter().enumerate() {
        let key = key_of(merchant, request);
        verdicts.push(match idempotency::claim(tx, &key, app.now()).await? {
            Claim::Replay { subject_id, .. } => {
                let order_id = hexiao_core::id::Id::from_uuid(subject_id);
                Ok(Placed { merchant, order_id, replayed: true })
            }
            Claim::Conflict => Err(Reason::IdempotencyConflict.into()),
            Claim::New => match refusal_of(quote_in(tx, &request.quote, app.now()).await)? {
                Ok(quoted) => {
                    fresh.push((n, key, quoted));
                    // Until it is decided below.
                    Err(Reason::Internal.into())
                }
                Err(refusal) => {
                    idempotency::release(tx, &key).await?;
                    Err(refusal)
                }
            },
        });
    }
    if fresh.is_empty() {
        return Ok(verdicts);
    }
    let owner = merchants::get(tx, merchant).await?.ok_or(Reason::NotFound)?;
    let mut room = Room::lock(tx, merchant, requests, &fresh).await?;
    // Read under the locks, so that orders follow each other in time as they do in the stock.
    let now = app.now();
    let mut decided = Vec::with_capacity(fresh.len());
    for (n, key, quoted) in &fresh {
        let request = &requests[*n];
        verdicts[*n] = match refusal_of(room.decide(tx, merchant, request, quoted).await)? {
            Ok(reserve) => {
                let (order, lines) = build(merchant, request, quoted, owner.order_ttl_s, now);
                idempotency::store(tx, key, order.id.into(), "{}").await?;
                let placed = Placed { merchant, order_id: order.id, replayed: false };
                let reservations = reservations(quoted, &order, &lines);
                let date = quoted.store.business_day.date(now);
                decided.push(Decided { order, date, lines, reserve, reservations });
                Ok(placed)
            }
            // Nothing was written before the refusal but the claim, which a refusal gives back.
            Err(refusal) => {
                idempotency::release(tx, key).await?;
                Err(refusal)
            }
        };
    }
    write(app, tx, merchant, decided, now).await?;
    app.hold_at("order.before_commit").await;
    Ok(verdicts)
}

fn key_of(merchant: MerchantScope, request: &PlaceOrder) -> Key<'_> {
    let asked = Asked { quote: &request.quote, remark: &request.remark };
    Key {
        merchant,
        actor_id: request.customer_id.into(),
        key: &request.key,
        operation: "order.place",
        fingerprint: fingerprint(&asked),
    }
}

/// A refusal is a verdict; anything else ends the batch.
fn refusal_of<T>(outcome: Result<T>) -> Result<Result<T, Refusal>> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(AppError::Refused(refusal)) => Ok(Err(*refusal)),
        Err(error) => Err(error),
    }
}

/// What the orders of a batch share, locked: units in stock, and how many more unpaid orders each customer may have.
struct Room {
    stocks: BTreeMap<StockId, StockFacts>,
    unpaid: BTreeMap<CustomerId, i64>,
}

impl Room {
    async fn lock(
        tx: &Tx,
        merchant: MerchantScope,
        requests: &[PlaceOrder],
        fresh: &[(usize, Key<'_>, Quoted)],
    ) -> Result<Self> {
        let customers: BTreeSet<CustomerId> = fresh.iter().map(|(n, ..)| requests[*n].customer_id).collect();
        let customers: Vec<CustomerId> = customers.into_iter().collect();
        // Their next orders wait here until these are committed, which makes counting the unpaid ones exact.
        customers::lock(tx, &customers).await?;
        let mut unpaid = BTreeMap::new();
        for customer in customers {
            unpaid.insert(customer, orders::count_unpaid(tx, merchant, customer).await?);
        }
        let lines = fresh.iter().flat_map(|(_, _, quoted)| &quoted.lines);
        let ids: BTreeSet<StockId> = lines.filter_map(|line| line.sku.stock_id).collect();
        let ids: Vec<StockId> = ids.into_iter().collect();
        Ok(Self { stocks: stock::lock(tx, merchant, &ids).await?, unpaid })
    }

    /// Whether there is room for an order, which is then taken; what it reserves of each stock row.
    async fn decide(
        &mut self,
        tx: &Tx,
        merchant: MerchantScope,
        request: &PlaceOrder,
        quoted: &Quoted,
    ) -> Result<BTreeMap<StockId, i64>> {
        let unpaid = self.unpaid.get(&request.customer_id).copied().unwrap_or(0);
        if unpaid >= MAX_UNPAID_ORDERS {
            return Err(Reason::TooManyUnpaid.into());
        }
        let reserve = decide_stock(&self.stocks, quoted)?;
        count_limits(tx, merchant, request.customer_id, quoted).await?;
        for (id, units) in &reserve {
            if let Some(facts) = self.stocks.get_mut(id) {
                facts.reserved += units;
            }
        }
        // An order of 0 fen is paid at once.
        if quoted.quote.pay != Money::ZERO {
            self.unpaid.insert(request.customer_id, unpaid + 1);
        }
        Ok(reserve)
    }
}

async fn write(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    decided: Vec<Decided>,
    now: Timestamp,
) -> Result<()> {
    if decided.is_empty() {
        return Ok(());
    }
    let (mut placed, mut lines, mut reservations, mut events) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut reserve: BTreeMap<StockId, i64> = BTreeMap::new();
    for each in decided {
        events.push(created(&each.order, now));
        placed.push((each.order, each.date));
        lines.extend(each.lines);
        reservations.extend(each.reservations);
        for (id, units) in each.reserve {
            *reserve.entry(id).or_insert(0) += units;
        }
    }
    orders::insert(tx, &placed, &lines).await.map_err(number_taken)?;
    stock::reserve(tx, merchant, &reserve, &reservations).await?;
    orders::append_events(tx, events).await?;
    let free: Vec<&Order> =
        placed.iter().map(|(order, _)| order).filter(|order| order.pay == Money::ZERO).collect();
    settle_free_orders(app, tx, merchant, &free, now).await
}

fn created(order: &Order, now: Timestamp) -> orders::NewEvent {
    orders::NewEvent {
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
    }
}

/// An order number is random: one in ten thousand million meets another and is drawn again.
fn number_taken(error: DbError) -> DbError {
    if error.is_unique_violation("number") { DbError::Stale("order number") } else { error }
}

/// Checks every line against the locked stock rows; what to reserve of each row.
fn decide_stock(
    stocks: &BTreeMap<StockId, StockFacts>,
    quoted: &Quoted,
) -> Result<BTreeMap<StockId, i64>, Refusal> {
    let mut ids: Vec<StockId> = quoted.lines.iter().filter_map(|l| l.sku.stock_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let facts: Vec<StockFacts> = ids
        .iter()
        .map(|id| stocks.get(id).copied().unwrap_or(StockFacts { on_hand: 0, reserved: 0 }))
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
                    .and_field("lines", format!("「{}」已售罄", line.sku.product_name)));
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
