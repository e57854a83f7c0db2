//! Settling payments: the one function behind callbacks, polling and reconciliation.
//!
//! Verified facts that match turn unpaid orders into paid ones with vouchers; money for an order that was closed
//! meanwhile goes back by itself; what does not match is an anomaly and an alarm, never "paid".

use std::collections::BTreeMap;

use hexiao_core::id::{OrderId, PayAccountId, PaymentId};
use hexiao_core::ledger::LedgerEvent;
use hexiao_core::money::Money;
use hexiao_core::order::{OrderEvent, OrderState};
use hexiao_core::payment::{
    AnomalyKind, PaidFacts, PaymentFacts, PaymentState, SettleVerdict, judge_settlement,
};
use hexiao_core::refund::RefundCause;
use hexiao_core::reminder::{self, Hours};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::orders::{self, Actor, Order};
use hexiao_db::payments::{self, Anomaly, Payment};
use hexiao_db::refunds::{self, Refund};
use hexiao_db::store_facts::StoreFacts;
use hexiao_db::{Tx, ledger, outbox, stock, store_facts};

use crate::batch::{Batched, Queue};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::jobs::{self, JobKind};
use crate::keys::new_id;
use crate::ledger::{Place, posting};
use crate::messages::{self, Happened};
use crate::voucher::issue_vouchers;

/// A verified message that says that a payment succeeded.
#[derive(Debug, Clone)]
pub struct Paid {
    /// Which payment it names.
    pub payment_id: PaymentId,
    /// What it says.
    pub facts: PaidFacts,
    /// What the payer really paid, after WeChat's own coupons.
    pub payer_total: Money,
    /// When, by WeChat's clock.
    pub paid_at: Timestamp,
    /// What to keep of it if it does not match: JSON without openids.
    pub evidence: String,
}

impl Batched for Paid {
    type Verdict = Settled;
    const NAME: &'static str = "settle";
    const AFTER_COMMIT: &'static str = "settle.after_commit";

    fn queue(app: &App) -> &Queue<Self> {
        &app.queues.payments
    }

    async fn run(app: &App, tx: &Tx, merchant: MerchantScope, requests: &[Self]) -> Result<Vec<Settled>> {
        settle_payments(app, tx, merchant, requests).await
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The orders are paid now.
    Paid,
    /// The order was closed: the money goes back.
    Late,
    /// It was settled before.
    Already,
    /// It does not match.
    Anomaly(AnomalyKind),
}

/// Money that came for a payment.
struct Arrival {
    /// Whose message it is.
    n: usize,
    payment: Payment,
    transaction_id: String,
    payer_total: Money,
    paid_at: Timestamp,
}

/// Settles payments of one merchant; each has its own verdict. Order of locks: payments, orders, stocks.
pub(crate) async fn settle_payments(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    paid: &[Paid],
) -> Result<Vec<Settled>> {
    let mut ids: Vec<PaymentId> = paid.iter().map(|p| p.payment_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut locked: BTreeMap<PaymentId, Payment> =
        payments::lock(tx, merchant, &ids).await?.into_iter().map(|p| (p.id, p)).collect();
    let now = app.now();
    let mut verdicts = Vec::with_capacity(paid.len());
    let mut arrivals = Vec::new();
    for (n, message) in paid.iter().enumerate() {
        let payment = locked
            .get_mut(&message.payment_id)
            .ok_or_else(|| AppError::Internal("payment vanished".to_owned()))?;
        let ours = PaymentFacts {
            state: payment.state,
            amount: payment.amount,
            transaction_id: payment.transaction_id.clone(),
        };
        verdicts.push(match judge_settlement(&ours, &message.facts) {
            SettleVerdict::AlreadySettled => Settled::Already,
            SettleVerdict::Anomaly(kind) => {
                let account = payment
                    .pay_account_id
                    .ok_or_else(|| AppError::Internal("payment without account".to_owned()))?;
                record_anomaly(tx, merchant, account, kind, message, now).await?;
                Settled::Anomaly(kind)
            }
            SettleVerdict::Settle => {
                arrivals.push(Arrival {
                    n,
                    payment: payment.clone(),
                    transaction_id: message.facts.transaction_id.clone(),
                    payer_total: message.payer_total,
                    paid_at: message.paid_at,
                });
                // The next message of the same payment, in this very batch, is a repetition.
                payment.state = PaymentState::Succeeded;
                payment.transaction_id = Some(message.facts.transaction_id.clone());
                Settled::Paid
            }
        });
    }
    for n in take_in(app, tx, merchant, &arrivals, now).await? {
        verdicts[n] = Settled::Late;
    }
    app.hold_at("settle.before_commit").await;
    Ok(verdicts)
}

async fn record_anomaly(
    tx: &Tx,
    merchant: MerchantScope,
    account: PayAccountId,
    kind: AnomalyKind,
    message: &Paid,
    now: Timestamp,
) -> Result<()> {
    let anomaly = Anomaly {
        merchant_id: merchant.merchant_id(),
        id: new_id(),
        pay_account_id: account,
        kind,
        number: message.payment_id.to_string(),
        transaction_id: message.facts.transaction_id.clone(),
        payment_id: Some(message.payment_id),
        got: message.evidence.clone(),
    };
    payments::record_anomaly(tx, &anomaly, now).await?;
    raise_alarm(kind, &anomaly.number);
    Ok(())
}

/// Anomalies are rare and somebody must look: an error line and a metric that alerts.
pub(crate) fn raise_alarm(kind: AnomalyKind, number: &str) {
    metrics::counter!("payment_anomalies_total", "kind" => kind.as_str()).increment(1);
    tracing::error!(alarm = "payment_anomaly", kind = %kind, number, "a verified message from WeChat does not match our books");
}

/// Records the money, pays the orders that wait for it, and sends back what came for closed ones. The messages whose
/// orders were all closed: they were late.
async fn take_in(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    arrivals: &[Arrival],
    now: Timestamp,
) -> Result<Vec<usize>> {
    if arrivals.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<PaymentId> = arrivals.iter().map(|a| a.payment.id).collect();
    let mut shares: BTreeMap<PaymentId, Vec<(OrderId, Money)>> = BTreeMap::new();
    for (payment, order, amount) in payments::orders_of(tx, merchant, &ids).await? {
        shares.entry(payment).or_default().push((order, amount));
    }
    let order_ids: Vec<OrderId> = shares.values().flatten().map(|(order, _)| *order).collect();
    let orders: BTreeMap<OrderId, Order> =
        orders::lock(tx, merchant, &order_ids).await?.into_iter().map(|o| (o.id, o)).collect();
    let (mut successes, mut dues, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let mut over: Vec<(&Payment, &Order, Money)> = Vec::new();
    for arrival in arrivals {
        let mut all_over = true;
        for (id, amount) in shares.get(&arrival.payment.id).into_iter().flatten() {
            let order =
                orders.get(id).ok_or_else(|| AppError::Internal("payment without order".to_owned()))?;
            if order.state == OrderState::PendingPayment {
                all_over = false;
                dues.push(Due {
                    order,
                    payment_id: arrival.payment.id,
                    amount: *amount,
                    actor: Actor::Wechat,
                });
            } else {
                over.push((&arrival.payment, order, *amount));
            }
        }
        if all_over {
            late.push(arrival.n);
        }
        successes.push(payments::Success {
            payment_id: arrival.payment.id,
            from: arrival.payment.state,
            transaction_id: &arrival.transaction_id,
            payer_total: arrival.payer_total,
            paid_at: arrival.paid_at,
            late: all_over,
        });
    }
    payments::set_succeeded(tx, merchant, &successes).await?;
    for (payment, order, amount) in over {
        return_late_money(tx, merchant, payment, order, amount, now).await?;
    }
    pay_orders(app, tx, merchant, &dues, now).await?;
    Ok(late)
}

/// A locked unpaid order whose money is there.
pub(crate) struct Due<'o> {
    /// Which.
    pub(crate) order: &'o Order,
    /// By which payment.
    pub(crate) payment_id: PaymentId,
    /// Its share of the payment.
    pub(crate) amount: Money,
    /// Who made it paid.
    pub(crate) actor: Actor,
}

/// Turns locked unpaid orders into paid ones: stock leaves, vouchers are issued, the liability is booked.
pub(crate) async fn pay_orders(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    dues: &[Due<'_>],
    now: Timestamp,
) -> Result<()> {
    if dues.is_empty() {
        return Ok(());
    }
    let ids: Vec<OrderId> = dues.iter().map(|due| due.order.id).collect();
    let to = OrderState::PendingPayment.after(OrderEvent::Pay)?;
    let reservations = stock::open_reservations(tx, merchant, &ids).await?;
    let entry_ids: Vec<_> = reservations.iter().map(|_| new_id()).collect();
    stock::commit(tx, merchant, &reservations, &entry_ids, now).await?;
    let lines = orders::lines(tx, merchant, &ids).await?;
    let open: Vec<&Order> = dues.iter().map(|due| due.order).collect();
    let stores = store_facts::of(tx, merchant, &open.iter().map(|o| o.store_id).collect::<Vec<_>>()).await?;
    let ends = issue_vouchers(app, tx, merchant, &open, &lines, now).await?;
    let remind = |order: &Order| {
        let hours = Hours::of(order.id, stores.get(&order.store_id)?.business_day.zone);
        let ends = ends.get(&order.id)?.iter();
        ends.filter_map(|(valid_to, moves)| reminder::next_look(*valid_to, *moves, now, hours)).min()
    };
    let paid: Vec<(OrderId, Option<Timestamp>)> = open.iter().map(|o| (o.id, remind(o))).collect();
    orders::mark_paid(tx, merchant, &paid, to, now).await?;
    let (mut postings, mut events, mut happened) = (Vec::new(), Vec::new(), Vec::new());
    for Due { order, payment_id, amount, actor } in dues {
        let store = stores.get(&order.store_id);
        let place = place_at(order, store, now)?;
        postings.push(posting(place, LedgerEvent::Payment, order.id, (*payment_id).into(), *amount));
        events.push(event(order, "pay", Some(to), *actor, now));
        let what = Happened::OrderPaid { number: order.number.clone(), amount_fen: order.pay.as_fen() };
        happened.push(messages::event(order, order.id.into(), &what, now));
    }
    ledger::post(tx, &postings).await?;
    orders::append_events(tx, events).await?;
    outbox::append(tx, happened).await?;
    let mut sales = BTreeMap::new();
    for line in &lines {
        *sales.entry(line.product_id).or_insert(0) += i64::from(line.quantity);
    }
    Ok(orders::count_sales(tx, merchant, &sales).await?)
}

pub(crate) async fn place_of(
    tx: &Tx,
    merchant: MerchantScope,
    order: &Order,
    now: Timestamp,
) -> Result<Place> {
    let store = store_facts::get(tx, merchant, order.store_id).await?;
    place_at(order, store.as_ref(), now)
}

fn place_at(order: &Order, store: Option<&StoreFacts>, now: Timestamp) -> Result<Place> {
    let store = store.ok_or_else(|| AppError::Internal("order without store".to_owned()))?;
    Ok(Place {
        merchant_id: order.merchant_id,
        store_id: order.store_id,
        business_date: store.business_day.date(now),
        at: now,
    })
}

fn event(
    order: &Order,
    name: &'static str,
    to: Option<OrderState>,
    actor: Actor,
    now: Timestamp,
) -> orders::NewEvent {
    orders::NewEvent {
        merchant_id: order.merchant_id,
        id: new_id(),
        order_id: order.id,
        event: name,
        from: to.map(|_| order.state),
        to,
        actor,
        store_id: Some(order.store_id),
        device: None,
        note: None,
        at: now,
    }
}

/// The order stays closed; its money is booked as suspense and refunded in full.
async fn return_late_money(
    tx: &Tx,
    merchant: MerchantScope,
    payment: &Payment,
    order: &Order,
    amount: Money,
    now: Timestamp,
) -> Result<()> {
    let place = place_of(tx, merchant, order, now).await?;
    ledger::post(tx, &[posting(place, LedgerEvent::LatePayment, order.id, payment.id.into(), amount)])
        .await?;
    let reason = "订单已关闭，付款原路退回".to_owned();
    let refund = Refund::created(new_id(), order, payment, amount, RefundCause::LatePayment, reason, now);
    refunds::insert(tx, &refund).await?;
    jobs::enqueue(tx, merchant, JobKind::RefundSubmit, refund.id.into(), now, now).await?;
    orders::append_events(tx, vec![event(order, "late_payment", None, Actor::Wechat, now)]).await?;
    let what = Happened::LatePayment { number: order.number.clone(), amount_fen: amount.as_fen() };
    Ok(outbox::append(tx, vec![messages::event(order, refund.id.into(), &what, now)]).await?)
}
