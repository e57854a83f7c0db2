//! Customers book: places are held for some minutes and then confirmed, or booked at once.

use std::collections::BTreeMap;

use hexiao_core::booking::{BookingEvent, BookingState, decide_booking, due_at};
use hexiao_core::id::{BookingId, StoreId, VoucherId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::slots::check_places;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::LockState;
use hexiao_db::bookings::{self, Booking, BookingLock, Named};
use hexiao_db::idempotency::{self, Claim, Key};
use hexiao_db::orders::Actor;
use hexiao_db::{Tx, booking_plans, outbox, transact, vouchers};
use serde::Serialize;

use super::slots::{self, Chosen};
use super::{Done, event, lock, slot_text, told};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::keys::new_id;
use crate::messages::Happened;

/// A request for a booking.
#[derive(Debug, Clone)]
pub struct BookUses {
    /// By whom.
    pub customer: CustomerScope,
    /// Of which voucher.
    pub voucher_id: VoucherId,
    /// Where.
    pub store_id: StoreId,
    /// When the slot begins.
    pub slot_start: Timestamp,
    /// How many uses.
    pub quantity: u32,
    /// A word to the store.
    pub note: String,
    /// Without holding it first.
    pub confirm: bool,
    /// Its idempotency key.
    pub key: String,
}

#[derive(Serialize)]
struct Asked {
    voucher_id: VoucherId,
    store_id: StoreId,
    slot_start: Timestamp,
    quantity: u32,
    confirm: bool,
}

/// A request to confirm what is held.
#[derive(Debug, Clone)]
pub struct ConfirmBooking {
    /// By whom.
    pub customer: CustomerScope,
    /// Which.
    pub booking_id: BookingId,
    /// Its idempotency key.
    pub key: String,
}

impl App {
    /// Takes places of a slot and locks uses for them: held, or booked at once.
    pub async fn book(&self, request: &BookUses) -> Result<Done> {
        let missing = || Refusal::field("voucher_id", "没有找到这张券");
        let voucher = vouchers::of_customer(self.db.reader(), request.customer, request.voucher_id).await?;
        let merchant = MerchantScope::of_system(voucher.ok_or_else(missing)?.merchant_id);
        let done = transact!(self.db, |tx| book_in(self, &tx, merchant, request));
        self.hold_at("booking.after_commit").await;
        self.wake.notify_one();
        done
    }

    /// Confirms what is held.
    pub async fn confirm_booking(&self, request: &ConfirmBooking) -> Result<Done> {
        let found = bookings::of_customer(self.db.reader(), request.customer, request.booking_id)
            .await?
            .ok_or(Reason::NotFound)?;
        let done = transact!(self.db, |tx| confirm_in(self, &tx, request, &found.booking));
        self.hold_at("booking_confirm.after_commit").await;
        self.wake.notify_one();
        done
    }
}

/// The booking that the same request made before, if it did.
pub(super) fn replayed(claim: &Claim, merchant: MerchantScope) -> Result<Option<Done>> {
    match claim {
        Claim::Conflict => Err(Reason::IdempotencyConflict.into()),
        Claim::Replay { subject_id, .. } => {
            let booking_id = hexiao_core::id::Id::from_uuid(*subject_id);
            Ok(Some(Done { merchant, booking_id, replayed: true }))
        }
        Claim::New => Ok(None),
    }
}

/// Order of locks: key, voucher, slot.
async fn book_in(app: &App, tx: &Tx, merchant: MerchantScope, request: &BookUses) -> Result<Done> {
    let asked = Asked {
        voucher_id: request.voucher_id,
        store_id: request.store_id,
        slot_start: request.slot_start,
        quantity: request.quantity,
        confirm: request.confirm,
    };
    let key = Key {
        merchant,
        actor_id: request.customer.customer_id().into(),
        key: &request.key,
        operation: "booking.create",
        fingerprint: fingerprint(&asked),
    };
    if let Some(done) = replayed(&idempotency::claim(tx, &key, app.now()).await?, merchant)? {
        return Ok(done);
    }
    let booking_id = take(app, tx, merchant, request).await?;
    idempotency::store(tx, &key, booking_id.into(), "{}").await?;
    app.hold_at("booking.before_commit").await;
    Ok(Done { merchant, booking_id, replayed: false })
}

async fn take(app: &App, tx: &Tx, merchant: MerchantScope, request: &BookUses) -> Result<BookingId> {
    let mut loaded = vouchers::load(tx, merchant, &[request.voucher_id], true).await?;
    let missing = || Refusal::field("voucher_id", "没有找到这张券");
    let loaded = loaded.remove(&request.voucher_id).ok_or_else(missing)?;
    // It may have been given away since it was looked for.
    if loaded.voucher.customer_id != request.customer.customer_id() {
        return Err(missing().into());
    }
    // Read under the lock.
    let now = app.now();
    let voucher = &loaded.voucher;
    let chosen = slots::find(tx, merchant, request.store_id, voucher.product_id, request.slot_start).await?;
    let terms = chosen.plan.terms;
    let locked = decide_booking(&loaded.facts, chosen.place(), &chosen.slot, &terms, request.quantity, now)?;
    take_places(tx, merchant, &chosen, request.quantity).await?;
    let state = if request.confirm { BookingState::Booked } else { BookingState::Held };
    let (start, end) = (chosen.slot.start, chosen.slot.end);
    let booking = Booking {
        merchant_id: merchant.merchant_id(),
        id: new_id(),
        customer_id: voucher.customer_id,
        voucher_id: voucher.id,
        order_id: voucher.order_id,
        product_id: voucher.product_id,
        store_id: chosen.store.id,
        plan_id: chosen.plan.id,
        slot_start: start,
        slot_end: end,
        quantity: request.quantity,
        redeemed: 0,
        state,
        cancel_reason: None,
        cancel_note: None,
        note: request.note.clone(),
        terms,
        reschedules: 0,
        rescheduled_to: None,
        due_at: due_at(state, start, end, &terms, terms.hold_until(start, now)),
        remind_at: terms.remind_at(start, now).filter(|_| request.confirm),
        created_at: now,
    };
    bookings::insert(tx, &booking).await?;
    let lock = BookingLock {
        voucher_id: voucher.id,
        booking_id: booking.id,
        serials: locked.serials,
        amount: locked.amount,
        state: LockState::Active,
    };
    bookings::insert_lock(tx, merchant, new_id(), &lock).await?;
    let change = BTreeMap::from([(voucher.id, i64::from(request.quantity))]);
    bookings::change_locked(tx, merchant, &change).await?;
    let made = bookings::NewEvent {
        id: new_id(),
        booking_id: booking.id,
        event: if request.confirm { BookingEvent::Book.as_str() } else { "hold" },
        from: None,
        to: Some(state),
        actor: Actor::Customer(booking.customer_id),
        redemption_id: None,
        note: None,
        at: now,
    };
    bookings::append_events(tx, merchant, vec![made]).await?;
    if request.confirm {
        let named = super::reread(tx, merchant, booking.id).await?;
        announce(tx, &named, now).await?;
    }
    Ok(booking.id)
}

/// Takes places of a slot while they last.
async fn take_places(tx: &Tx, merchant: MerchantScope, chosen: &Chosen, quantity: u32) -> Result<()> {
    let key = chosen.key();
    booking_plans::open(tx, merchant, key, chosen.slot.capacity).await?;
    let locked = booking_plans::lock(tx, merchant, [key]).await?;
    let places = locked.get(&key).ok_or_else(|| AppError::Internal("a slot vanished".to_owned()))?;
    check_places(places.taken, chosen.slot.capacity, quantity)?;
    let change = BTreeMap::from([(key, (i64::from(quantity), chosen.slot.capacity))]);
    Ok(booking_plans::change(tx, merchant, &change).await?)
}

async fn announce(tx: &Tx, named: &Named, now: Timestamp) -> Result<()> {
    let what = Happened::Booked {
        product_name: named.product_name.clone(),
        store_name: named.store_name.clone(),
        slot: slot_text(named),
        quantity: i64::from(named.booking.quantity),
    };
    Ok(outbox::append(tx, vec![told(named, &what, now)]).await?)
}

async fn confirm_in(app: &App, tx: &Tx, request: &ConfirmBooking, found: &Booking) -> Result<Done> {
    let merchant = MerchantScope::of_system(found.merchant_id);
    let key = Key {
        merchant,
        actor_id: request.customer.customer_id().into(),
        key: &request.key,
        operation: "booking.confirm",
        fingerprint: fingerprint(&request.booking_id),
    };
    if let Some(done) = replayed(&idempotency::claim(tx, &key, app.now()).await?, merchant)? {
        return Ok(done);
    }
    let named = lock(tx, found).await?;
    let now = app.now();
    let b = &named.booking;
    match b.state {
        BookingState::Held if b.due_at.is_none_or(|due| now >= due) => return Err(Reason::HoldExpired.into()),
        BookingState::Cancelled if b.cancel_reason == Some(hexiao_core::booking::CancelReason::Timeout) => {
            return Err(Reason::HoldExpired.into());
        }
        // It is what was asked for.
        BookingState::Booked => {}
        BookingState::Held => {
            let to = b.state.after(BookingEvent::Book)?;
            let change = bookings::Change {
                due_at: due_at(to, b.slot_start, b.slot_end, &b.terms, now),
                remind_at: b.terms.remind_at(b.slot_start, now),
                ..bookings::Change::to(b, to)
            };
            bookings::change(tx, merchant, &[change], now).await?;
            let row = event(b, BookingEvent::Book, Actor::Customer(b.customer_id), None, now)?;
            bookings::append_events(tx, merchant, vec![row]).await?;
            announce(tx, &named, now).await?;
        }
        BookingState::Arrived
        | BookingState::Completed
        | BookingState::Cancelled
        | BookingState::NoShow
        | BookingState::Rescheduled => return Err(hexiao_core::booking::not_now(b.state).into()),
    }
    idempotency::store(tx, &key, b.id.into(), "{}").await?;
    app.hold_at("booking_confirm.before_commit").await;
    Ok(Done { merchant, booking_id: b.id, replayed: false })
}
