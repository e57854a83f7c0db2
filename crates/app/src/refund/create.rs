//! A customer asks for unused uses back.

use std::collections::BTreeMap;

use chrono::Duration;
use hexiao_core::id::{OrderId, RefundId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::order::OrderState;
use hexiao_core::payment::{Method, PaymentState};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::refund::{MAX_REFUND_NUMBERS, RefundCause, RefundState, uses_worth};
use hexiao_core::rule::RefundPolicy;
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::{LockState, VoucherState, highest_free};
use hexiao_db::idempotency::{self, Claim, Key};
use hexiao_db::orders::{self, Actor, Order};
use hexiao_db::refunds::{self, Refund};
use hexiao_db::vouchers::{self, Change, Loaded, RefundLock};
use hexiao_db::{Tx, merchants, outbox, payments, transact};
use serde::Serialize;

use super::record::complete;
use crate::context::App;
use crate::error::Result;
use crate::idempotency::fingerprint;
use crate::jobs::{self, JobKind};
use crate::keys::new_id;
use crate::messages::{self, Happened};

/// Some unused uses of a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RefundItem {
    /// Which.
    pub voucher_id: VoucherId,
    /// How many uses.
    pub quantity: u32,
}

/// A request for a refund.
#[derive(Debug, Clone)]
pub struct CreateRefund {
    /// By whom.
    pub customer: CustomerScope,
    /// Of which order.
    pub order_id: OrderId,
    /// What; none named = all that is unused.
    pub items: Option<Vec<RefundItem>>,
    /// Why.
    pub reason: String,
    /// Its idempotency key.
    pub key: String,
}

/// A refund that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// Whose books.
    pub merchant: MerchantScope,
    /// The refund.
    pub refund_id: RefundId,
    /// The same request had asked for it before.
    pub replayed: bool,
}

#[derive(Serialize)]
struct Asked<'a> {
    order_id: OrderId,
    items: &'a Option<Vec<RefundItem>>,
}

impl App {
    /// Asks for a refund.
    pub async fn create_refund(&self, request: &CreateRefund) -> Result<Created> {
        let order = orders::of_customer(self.db.reader(), request.customer, request.order_id)
            .await?
            .ok_or(Reason::NotFound)?;
        let merchant = MerchantScope::of_system(order.merchant_id);
        let now = self.now();
        let created = transact!(self.db, |tx| create_in(self, &tx, merchant, request, now));
        self.hold_at("refund.after_commit").await;
        self.wake.notify_one();
        created
    }
}

async fn create_in(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    request: &CreateRefund,
    now: Timestamp,
) -> Result<Created> {
    let key = Key {
        merchant,
        actor_id: request.customer.customer_id().into(),
        key: &request.key,
        operation: "refund.create",
        fingerprint: fingerprint(&Asked { order_id: request.order_id, items: &request.items }),
    };
    match idempotency::claim(tx, &key, now).await? {
        Claim::Conflict => return Err(Reason::IdempotencyConflict.into()),
        Claim::Replay { subject_id, .. } => {
            return Ok(Created {
                merchant,
                refund_id: hexiao_core::id::Id::from_uuid(subject_id),
                replayed: true,
            });
        }
        Claim::New => {}
    }
    let refund_id = create_one(tx, merchant, request, now).await?;
    idempotency::store(tx, &key, refund_id.into(), "{}").await?;
    app.hold_at("refund.before_commit").await;
    Ok(Created { merchant, refund_id, replayed: false })
}

/// Order of locks: payment, order, vouchers.
async fn create_one(
    tx: &Tx,
    merchant: MerchantScope,
    request: &CreateRefund,
    now: Timestamp,
) -> Result<RefundId> {
    let payment = payments::of_order(tx, merchant, request.order_id).await?.ok_or(Reason::NotRefundable)?;
    let payment = payments::lock(tx, merchant, &[payment.id]).await?.pop().ok_or(Reason::NotRefundable)?;
    let order = orders::lock(tx, merchant, &[request.order_id]).await?.pop().ok_or(Reason::NotFound)?;
    if order.state != OrderState::Paid || payment.state != PaymentState::Succeeded {
        return Err(Refusal::with_message(Reason::NotRefundable, "订单没有可退的款项").into());
    }
    if refunds::numbers_of_payment(tx, merchant, payment.id).await? >= MAX_REFUND_NUMBERS {
        return Err(Reason::RefundLimit.into());
    }
    let ids = vouchers::ids_of_order(tx, merchant, order.id).await?;
    let loaded = vouchers::load(tx, merchant, &ids, true).await?;
    let refund_id: RefundId = new_id();
    let locks = choose(request, refund_id, &loaded, now)?;
    let amount = Money::sum(locks.iter().map(|l| l.amount))?;
    let local = amount == Money::ZERO || payment.method == Method::None;
    let mut refund = Refund::created(
        refund_id,
        &order,
        &payment,
        amount,
        RefundCause::Customer,
        request.reason.clone(),
        now,
    );
    if local {
        refund.method = Method::None;
    }
    refunds::insert(tx, &refund).await?;
    vouchers::insert_locks(tx, &locks).await?;
    let change = |l: &RefundLock| (l.voucher_id, Change { locked_refund: l.quantity(), ..Change::default() });
    vouchers::change(tx, merchant, &locks.iter().map(change).collect()).await?;
    announce(tx, &order, &refund, now).await?;
    if local {
        // Nothing goes through WeChat: it is done with its request.
        let sent = Refund { state: RefundState::Submitted, ..refund.clone() };
        refunds::update(tx, &sent, RefundState::Created).await?;
        complete(tx, merchant, sent, now).await?;
    } else {
        let hold = merchants::get(tx, merchant).await?.map_or(0, |m| m.refund_hold_s);
        jobs::enqueue(
            tx,
            merchant,
            JobKind::RefundSubmit,
            refund_id.into(),
            now.plus(Duration::seconds(hold)),
            now,
        )
        .await?;
    }
    Ok(refund_id)
}

async fn announce(tx: &Tx, order: &Order, refund: &Refund, now: Timestamp) -> Result<()> {
    let event = orders::NewEvent {
        merchant_id: order.merchant_id,
        id: new_id(),
        order_id: order.id,
        event: "refund_create",
        from: None,
        to: None,
        actor: Actor::Customer(order.customer_id),
        store_id: Some(order.store_id),
        device: None,
        note: Some(refund.amount.yuan_text()),
        at: now,
    };
    orders::append_events(tx, vec![event]).await?;
    let what = Happened::RefundCreated { amount_fen: refund.amount.as_fen() };
    Ok(outbox::append(tx, vec![messages::event(order, refund.id.into(), &what, now)]).await?)
}

/// The uses to lock: of each voucher the highest that are free.
fn choose(
    request: &CreateRefund,
    refund_id: RefundId,
    loaded: &BTreeMap<VoucherId, Loaded>,
    now: Timestamp,
) -> Result<Vec<RefundLock>> {
    let mut locks = Vec::new();
    match &request.items {
        None => {
            for l in loaded.values() {
                let free = l.facts.counters.free();
                if free > 0 && refundable(l, now).is_ok() {
                    locks.push(lock(l, refund_id, free)?);
                }
            }
        }
        Some(items) => {
            for (i, item) in items.iter().enumerate() {
                if item.quantity == 0 || items[..i].iter().any(|other| other.voucher_id == item.voucher_id) {
                    return Err(Refusal::field(format!("items[{i}]"), "每张券一项，次数至少为 1").into());
                }
                let l = loaded
                    .get(&item.voucher_id)
                    .ok_or_else(|| Refusal::field(format!("items[{i}].voucher_id"), "订单里没有这张券"))?;
                refundable(l, now)?;
                locks.push(lock(l, refund_id, item.quantity)?);
            }
        }
    }
    if locks.is_empty() && loaded.values().any(|l| l.facts.counters.locked_booking > 0) {
        return Err(booked_first().into());
    }
    if locks.is_empty() { Err(Reason::NotRefundable.into()) } else { Ok(locks) }
}

/// A refund takes free uses only.
fn booked_first() -> Refusal {
    Refusal::with_message(Reason::Locked, "剩余次数已被预约占用，请先取消预约再退款")
}

/// Whether the rule lets the customer ask for unused uses now.
fn refundable(l: &Loaded, now: Timestamp) -> Result<(), Refusal> {
    match l.facts.state {
        VoucherState::Live | VoucherState::Expired => {}
        VoucherState::Frozen => return Err(Reason::Frozen.into()),
        VoucherState::Transferring => return Err(Reason::Transferring.into()),
        VoucherState::Transferred => return Err(Reason::Transferred.into()),
        VoucherState::PendingIssue => return Err(Reason::GroupPending.into()),
    }
    match l.facts.rule.refund {
        RefundPolicy::AnyTime => Ok(()),
        RefundPolicy::BeforeExpiry if now < l.facts.valid_to => Ok(()),
        RefundPolicy::BeforeExpiry => {
            Err(Refusal::with_message(Reason::NotRefundable, "该券已过期，按购买时的规则不可退款"))
        }
        RefundPolicy::None => Err(Refusal::with_message(Reason::NotRefundable, "该商品购买时已注明不可退款")),
    }
}

fn lock(l: &Loaded, refund_id: RefundId, quantity: u32) -> Result<RefundLock> {
    let counters = l.facts.counters;
    let serials = (quantity <= counters.free())
        .then(|| highest_free(counters.total, &l.facts.taken, quantity))
        .flatten();
    let serials = serials.ok_or_else(|| {
        if counters.locked_booking > 0 {
            return booked_first();
        }
        Refusal::with_message(
            Reason::NotRefundable,
            format!("「{}」可退 {} 次", l.voucher.product_name, counters.free()),
        )
    })?;
    let amount = uses_worth(l.voucher.amount, counters.total, &serials);
    Ok(RefundLock {
        merchant_id: l.voucher.merchant_id,
        id: new_id(),
        voucher_id: l.voucher.id,
        refund_id,
        serials,
        amount,
        state: LockState::Active,
    })
}
