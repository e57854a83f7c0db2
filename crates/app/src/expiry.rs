//! Expiry: what nobody used in time goes back to its customer or is forfeited, as its rule says.
//!
//! What expires of an order at once becomes one refund: WeChat takes fifty for a payment, one at a time. The refunds
//! are made at once and sent one by one, so that those that customers ask for are not kept waiting.

use std::collections::BTreeMap;

use hexiao_core::expiry::{Fate, Uses, again_at, decide, slots, spacing};
use hexiao_core::id::{MerchantId, OrderId, PaymentId, RecordId, RefundId, VoucherId};
use hexiao_core::ledger::LedgerEvent;
use hexiao_core::money::Money;
use hexiao_core::payment::{Method, PaymentState};
use hexiao_core::refund::{MAX_REFUND_NUMBERS, RefundCause};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::LockState;
use hexiao_db::expiry::{self, Ending, Forfeit};
use hexiao_db::jobs::{self, NewJob};
use hexiao_db::ledger::Posting;
use hexiao_db::orders::{self, Actor, Order};
use hexiao_db::payments::{self, Payment};
use hexiao_db::refunds::{self, Refund};
use hexiao_db::vouchers::{self, Loaded, RefundLock};
use hexiao_db::{Tx, ledger, outbox, store_facts};

use crate::bulk::{self, Bulk};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::jobs::JobKind;
use crate::keys::new_id;
use crate::ledger::{Place, posting};
use crate::messages::{self, Happened};

/// Vouchers of one round: half of them for those that are looked at again.
pub const ROUND: u32 = 400;

struct Expiry;

impl Bulk for Expiry {
    type Row = OrderId;
    const NAME: &'static str = "expiry";
    /// An order has up to 50 vouchers.
    const SET: usize = 50;
    const AFTER_COMMIT: &'static str = "expiry.after_commit";

    async fn due(app: &App, now: Timestamp) -> Result<Vec<(MerchantId, OrderId)>> {
        Ok(expiry::due(app.db.reader(), now, ROUND).await?)
    }

    async fn run(
        app: &App,
        tx: &Tx,
        merchant: MerchantScope,
        rows: &[OrderId],
        now: Timestamp,
    ) -> Result<usize> {
        expire(app, tx, merchant, rows, now).await
    }
}

impl App {
    /// Settles vouchers whose time is over; how many. Called by the worker, one round for each tick.
    pub async fn expire_vouchers(&self) -> Result<usize> {
        bulk::round::<Expiry>(self).await
    }
}

/// What is to be written.
#[derive(Default)]
struct Writes {
    endings: BTreeMap<VoucherId, Ending>,
    refunds: Vec<Refund>,
    locks: Vec<RefundLock>,
    forfeits: Vec<Forfeit>,
    postings: Vec<Posting>,
    events: Vec<orders::NewEvent>,
    happened: Vec<outbox::NewEvent>,
}

/// An order whose vouchers end.
struct Ended<'l> {
    order: &'l Order,
    /// Its payment, if a refund may be made of it.
    payment: Option<&'l Payment>,
    place: Place,
    vouchers: Vec<&'l Loaded>,
}

/// Order of locks: payments, orders, vouchers; the merchant's pace last.
async fn expire(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    ids: &[OrderId],
    now: Timestamp,
) -> Result<usize> {
    let payment_of = expiry::payments(tx, merchant, ids).await?;
    let mut payment_ids: Vec<PaymentId> = payment_of.values().copied().collect();
    payment_ids.sort_unstable();
    payment_ids.dedup();
    let locked = payments::lock(tx, merchant, &payment_ids).await?;
    let payments: BTreeMap<PaymentId, Payment> = locked.into_iter().map(|p| (p.id, p)).collect();
    let orders = orders::lock(tx, merchant, ids).await?;
    let over = expiry::vouchers(tx, merchant, ids, now).await?;
    let loaded = vouchers::load(tx, merchant, &over, true).await?;
    let mut numbers = expiry::refund_numbers(tx, merchant, &payment_ids).await?;
    let stores =
        store_facts::of(tx, merchant, &orders.iter().map(|o| o.store_id).collect::<Vec<_>>()).await?;
    let mut writes = Writes::default();
    for order in &orders {
        let store = stores
            .get(&order.store_id)
            .ok_or_else(|| AppError::Internal("order without store".to_owned()))?;
        let payment = payment_of.get(&order.id).and_then(|id| payments.get(id)).filter(|p| {
            let left = numbers.get(&p.id).is_none_or(|n| *n < MAX_REFUND_NUMBERS);
            p.state == PaymentState::Succeeded && p.method != Method::None && left
        });
        let ended = Ended {
            order,
            payment,
            place: Place {
                merchant_id: order.merchant_id,
                store_id: order.store_id,
                business_date: store.business_day.date(now),
                at: now,
            },
            vouchers: loaded.values().filter(|l| l.voucher.order_id == order.id).collect(),
        };
        if let Some(payment) = settle(&ended, &mut writes, now)? {
            *numbers.entry(payment).or_insert(0) += 1;
        }
    }
    let ended = writes.endings.len();
    if ended > 0 {
        write(tx, merchant, writes, now).await?;
        app.hold_at("expiry.before_commit").await;
    }
    Ok(ended)
}

/// Decides over the vouchers of an order; the payment of which a refund is made, if one is.
fn settle(ended: &Ended<'_>, writes: &mut Writes, now: Timestamp) -> Result<Option<PaymentId>> {
    let refund_id: RefundId = new_id();
    let expiry_id: RecordId = new_id();
    let (mut refunded, mut forfeited) = (Vec::new(), Vec::new());
    for l in &ended.vouchers {
        let ending = match decide(&l.facts, now) {
            Fate::Stays => continue,
            Fate::Ends => Ending::default(),
            Fate::Waits => Ending { again_at: Some(again_at(now)), ..Ending::default() },
            Fate::Refunded(_) if ended.payment.is_none() => {
                no_refund_left(l);
                Ending { again_at: Some(again_at(now)), ..Ending::default() }
            }
            Fate::Refunded(uses) => {
                refunded.push((*l, uses.amount));
                let lock = refund_lock(l, refund_id, uses);
                let ending = Ending { refund: lock.quantity(), ..Ending::default() };
                writes.locks.push(lock);
                ending
            }
            Fate::Forfeited(uses) => {
                forfeited.push((*l, uses.amount));
                let forfeit = forfeit(l, expiry_id, uses);
                let ending = Ending { forfeit: forfeit.quantity(), ..Ending::default() };
                writes.forfeits.push(forfeit);
                ending
            }
        };
        writes.endings.insert(l.voucher.id, ending);
    }
    if refunded.is_empty() && forfeited.is_empty() {
        return Ok(None);
    }
    let amount = Money::sum(refunded.iter().map(|(_, amount)| *amount))?;
    let lost = Money::sum(forfeited.iter().map(|(_, amount)| *amount))?;
    let order = ended.order;
    writes.postings.push(posting(ended.place, LedgerEvent::Expiry, order.id, expiry_id.into(), lost));
    let mut payment_id = None;
    if let Some(payment) = ended.payment.filter(|_| !refunded.is_empty()) {
        let reason = "券已过期，未使用的部分自动退款".to_owned();
        writes.refunds.push(Refund::created(
            refund_id,
            order,
            payment,
            amount,
            RefundCause::Expiry,
            reason,
            now,
        ));
        writes.events.push(event(order, "refund_create", amount.yuan_text(), now));
        payment_id = Some(payment.id);
    }
    if !forfeited.is_empty() {
        writes.events.push(event(order, "expire", lost.yuan_text(), now));
    }
    let what = Happened::Expired {
        refunded: by_product(&refunded, &writes.endings),
        refund_fen: amount.as_fen(),
        forfeited: by_product(&forfeited, &writes.endings),
    };
    let subject = if payment_id.is_some() { refund_id.into() } else { expiry_id.into() };
    writes.happened.push(messages::event(order, subject, &what, now));
    Ok(payment_id)
}

/// A person has to look: the money is the customer's, and WeChat takes no more refunds of this payment.
fn no_refund_left(l: &Loaded) {
    metrics::counter!("refunds_stuck_total", "state" => "expiry").increment(1);
    tracing::error!(alarm = "refund_stuck", voucher = %l.voucher.id, "expired uses cannot be refunded through WeChat");
}

fn refund_lock(l: &Loaded, refund_id: RefundId, uses: Uses) -> RefundLock {
    RefundLock {
        merchant_id: l.voucher.merchant_id,
        id: new_id(),
        voucher_id: l.voucher.id,
        refund_id,
        serials: uses.serials,
        amount: uses.amount,
        state: LockState::Active,
    }
}

fn forfeit(l: &Loaded, expiry_id: RecordId, uses: Uses) -> Forfeit {
    Forfeit {
        merchant_id: l.voucher.merchant_id,
        id: new_id(),
        voucher_id: l.voucher.id,
        expiry_id,
        serials: uses.serials,
        amount: uses.amount,
    }
}

/// How many uses of which product.
fn by_product(of: &[(&Loaded, Money)], endings: &BTreeMap<VoucherId, Ending>) -> Vec<(String, i64)> {
    let mut names: BTreeMap<&str, i64> = BTreeMap::new();
    for (l, _) in of {
        let uses = endings.get(&l.voucher.id).map_or(0, |e| e.refund + e.forfeit);
        *names.entry(&l.voucher.product_name).or_insert(0) += uses;
    }
    names.into_iter().map(|(name, uses)| (name.to_owned(), uses)).collect()
}

fn event(order: &Order, name: &'static str, note: String, now: Timestamp) -> orders::NewEvent {
    orders::NewEvent {
        merchant_id: order.merchant_id,
        id: new_id(),
        order_id: order.id,
        event: name,
        from: None,
        to: None,
        actor: Actor::System,
        store_id: Some(order.store_id),
        device: None,
        note: Some(note),
        at: now,
    }
}

async fn write(tx: &Tx, merchant: MerchantScope, writes: Writes, now: Timestamp) -> Result<()> {
    expiry::mark(tx, merchant, &writes.endings).await?;
    refunds::insert_all(tx, &writes.refunds).await?;
    vouchers::insert_locks(tx, &writes.locks).await?;
    expiry::insert_forfeits(tx, &writes.forfeits).await?;
    ledger::post(tx, &writes.postings).await?;
    orders::append_events(tx, writes.events).await?;
    outbox::append(tx, writes.happened).await?;
    if writes.refunds.is_empty() {
        return Ok(());
    }
    let count = writes.refunds.len();
    let first = expiry::reserve_slots(tx, merchant, count, spacing(), now).await?;
    let job = |(refund, run_at): (&Refund, Timestamp)| NewJob {
        id: new_id(),
        merchant_id: refund.merchant_id,
        kind: JobKind::RefundSubmit.as_str(),
        subject_id: refund.id.into(),
        run_at,
    };
    let new: Vec<NewJob> = writes.refunds.iter().zip(slots(first, count)).map(job).collect();
    Ok(jobs::enqueue(tx, &new, now).await?)
}
