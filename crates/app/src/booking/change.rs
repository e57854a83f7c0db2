//! Customers move and cancel their bookings; stores note who came, and call bookings off.

use std::collections::BTreeMap;

use hexiao_core::booking::{
    BookingEvent, BookingState, CancelReason, decide_arrival, decide_cancel, decide_reschedule, due_at,
    not_now,
};
use hexiao_core::catalog::Capability;
use hexiao_core::id::{BookingId, StoreId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::slots::check_places;
use hexiao_core::time::Timestamp;
use hexiao_db::bookings::{self, Booking, Named};
use hexiao_db::idempotency::{self, Key};
use hexiao_db::orders::Actor;
use hexiao_db::vouchers::{self, Loaded};
use hexiao_db::{Tx, booking_plans, outbox, transact};
use serde::Serialize;

use super::book::replayed;
use super::end::{Ending, end};
use super::slots::{self, Chosen};
use super::{Done, event, lock, reread, slot_text, told};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::keys::new_id;
use crate::messages::Happened;

/// A request to move a booking.
#[derive(Debug, Clone)]
pub struct RescheduleBooking {
    /// By whom.
    pub customer: CustomerScope,
    /// Which.
    pub booking_id: BookingId,
    /// To which slot.
    pub slot_start: Timestamp,
    /// In which store; none = the same.
    pub store_id: Option<StoreId>,
    /// Its idempotency key.
    pub key: String,
}

#[derive(Serialize)]
struct Asked {
    booking_id: BookingId,
    slot_start: Timestamp,
    store_id: Option<StoreId>,
}

impl App {
    /// Moves a booking to another slot: a new booking begins with its places and uses, and replaces it.
    pub async fn reschedule_booking(&self, request: &RescheduleBooking) -> Result<Done> {
        let found = bookings::of_customer(self.db.reader(), request.customer, request.booking_id)
            .await?
            .ok_or(Reason::NotFound)?;
        let done = transact!(self.db, |tx| reschedule_in(self, &tx, request, &found.booking));
        self.hold_at("booking_reschedule.after_commit").await;
        self.wake.notify_one();
        done
    }

    /// A customer gives a booking up. Doing so again changes nothing.
    pub async fn cancel_booking_of_customer(&self, customer: CustomerScope, id: BookingId) -> Result<()> {
        let found = bookings::of_customer(self.db.reader(), customer, id).await?.ok_or(Reason::NotFound)?;
        let done = transact!(self.db, |tx| cancel_of_customer(self, &tx, &found.booking));
        self.hold_at("booking_end.after_commit").await;
        self.wake.notify_one();
        done
    }

    /// A store calls a booking off. Doing so again changes nothing.
    pub async fn cancel_booking_of_store(
        &self,
        staff: &StaffPrincipal,
        id: BookingId,
        reason: &str,
    ) -> Result<()> {
        staff.require(Capability::ReverseAny)?;
        let found = bookings::in_scope(self.db.reader(), &staff.scope, id).await?.ok_or(Reason::NotFound)?;
        let done = transact!(self.db, |tx| cancel_of_store(self, &tx, staff, &found.booking, reason));
        self.hold_at("booking_end.after_commit").await;
        self.wake.notify_one();
        done
    }

    /// Notes that a customer has arrived. Doing so again changes nothing.
    pub async fn note_arrival(&self, staff: &StaffPrincipal, id: BookingId) -> Result<()> {
        staff.require(Capability::Redeem)?;
        let found = bookings::in_scope(self.db.reader(), &staff.scope, id).await?.ok_or(Reason::NotFound)?;
        transact!(self.db, |tx| arrive_in(self, &tx, staff, &found.booking))
    }
}

/// A booking with its voucher, locked.
async fn lock_whole(tx: &Tx, found: &Booking) -> Result<(Loaded, Named)> {
    let merchant = found.merchant();
    let mut loaded = vouchers::load(tx, merchant, &[found.voucher_id], true).await?;
    let voucher = loaded.remove(&found.voucher_id);
    let voucher = voucher.ok_or_else(|| AppError::Internal("booking without voucher".to_owned()))?;
    Ok((voucher, reread(tx, merchant, found.id).await?))
}

/// Order of locks: key, voucher, slots.
async fn reschedule_in(app: &App, tx: &Tx, request: &RescheduleBooking, found: &Booking) -> Result<Done> {
    let merchant = MerchantScope::of_system(found.merchant_id);
    let asked =
        Asked { booking_id: request.booking_id, slot_start: request.slot_start, store_id: request.store_id };
    let key = Key {
        merchant,
        actor_id: request.customer.customer_id().into(),
        key: &request.key,
        operation: "booking.reschedule",
        fingerprint: fingerprint(&asked),
    };
    if let Some(done) = replayed(&idempotency::claim(tx, &key, app.now()).await?, merchant)? {
        return Ok(done);
    }
    let (voucher, before) = lock_whole(tx, found).await?;
    let now = app.now();
    let b = &before.booking;
    if b.state != BookingState::Booked {
        return Err(not_now(b.state).into());
    }
    let store_id = request.store_id.unwrap_or(b.store_id);
    let chosen = slots::find(tx, merchant, store_id, b.product_id, request.slot_start).await?;
    let terms = chosen.plan.terms;
    decide_reschedule(&voucher.facts, &before.facts(), chosen.place(), &chosen.slot, &terms, now)?;
    move_places(tx, merchant, b, &chosen).await?;
    let booking_id = replace(tx, merchant, &before, &chosen, now).await?;
    idempotency::store(tx, &key, booking_id.into(), "{}").await?;
    app.hold_at("booking_reschedule.before_commit").await;
    Ok(Done { merchant, booking_id, replayed: false })
}

async fn move_places(tx: &Tx, merchant: MerchantScope, b: &Booking, chosen: &Chosen) -> Result<()> {
    let (old, new) = ((b.plan_id, b.slot_start), chosen.key());
    booking_plans::open(tx, merchant, new, chosen.slot.capacity).await?;
    let locked = booking_plans::lock(tx, merchant, [old, new]).await?;
    let (Some(from), Some(to)) = (locked.get(&old), locked.get(&new)) else {
        return Err(AppError::Internal("a slot vanished".to_owned()));
    };
    check_places(to.taken, chosen.slot.capacity, b.quantity)?;
    let places = i64::from(b.quantity);
    let changes = BTreeMap::from([(old, (-places, from.capacity)), (new, (places, chosen.slot.capacity))]);
    Ok(booking_plans::change(tx, merchant, &changes).await?)
}

async fn replace(
    tx: &Tx,
    merchant: MerchantScope,
    before: &Named,
    chosen: &Chosen,
    now: Timestamp,
) -> Result<BookingId> {
    let b = &before.booking;
    let terms = chosen.plan.terms;
    let (start, end) = (chosen.slot.start, chosen.slot.end);
    let next = Booking {
        id: new_id(),
        store_id: chosen.store.id,
        plan_id: chosen.plan.id,
        slot_start: start,
        slot_end: end,
        terms,
        reschedules: b.reschedules + 1,
        due_at: due_at(BookingState::Booked, start, end, &terms, now),
        remind_at: terms.remind_at(start, now),
        created_at: now,
        ..b.clone()
    };
    bookings::insert(tx, &next).await?;
    let to = b.state.after(BookingEvent::Reschedule)?;
    let change = bookings::Change { rescheduled_to: Some(next.id), ..bookings::Change::to(b, to) };
    bookings::change(tx, merchant, &[change], now).await?;
    bookings::hand_on_lock(tx, merchant, b.id, next.id).await?;
    let actor = Actor::Customer(b.customer_id);
    let made = bookings::NewEvent {
        id: new_id(),
        booking_id: next.id,
        event: BookingEvent::Book.as_str(),
        from: None,
        to: Some(next.state),
        actor,
        redemption_id: None,
        note: Some(format!("改自 {}", slot_text(before))),
        at: now,
    };
    let moved = event(b, BookingEvent::Reschedule, actor, None, now)?;
    bookings::append_events(tx, merchant, vec![moved, made]).await?;
    let after = reread(tx, merchant, next.id).await?;
    let what = Happened::BookingMoved {
        product_name: after.product_name.clone(),
        store_name: after.store_name.clone(),
        slot: slot_text(&after),
    };
    outbox::append(tx, vec![told(&after, &what, now)]).await?;
    Ok(next.id)
}

async fn cancel_of_customer(app: &App, tx: &Tx, found: &Booking) -> Result<()> {
    let named = lock(tx, found).await?;
    let now = app.now();
    let b = &named.booking;
    if b.cancel_reason == Some(CancelReason::Customer) {
        return Ok(());
    }
    decide_cancel(&named.facts(), now)?;
    let actor = Actor::Customer(b.customer_id);
    let ending = Ending { event: BookingEvent::CancelByCustomer, actor, note: None, named };
    end(tx, found.merchant(), &[ending], now).await?;
    app.hold_at("booking_end.before_commit").await;
    Ok(())
}

async fn cancel_of_store(
    app: &App,
    tx: &Tx,
    staff: &StaffPrincipal,
    found: &Booking,
    reason: &str,
) -> Result<()> {
    let named = lock(tx, found).await?;
    let now = app.now();
    let b = &named.booking;
    if b.cancel_reason == Some(CancelReason::Store) {
        return Ok(());
    }
    if b.state.after(BookingEvent::CancelByStore).is_err() {
        return Err(not_now(b.state).into());
    }
    if b.redeemed > 0 {
        let message = format!("该预约已核销 {} 次，不能取消；剩余次数会自动释放", b.redeemed);
        return Err(Refusal::with_message(Reason::IllegalState, message).into());
    }
    let actor = Actor::Staff(staff.staff_id);
    let note = Some(reason.to_owned());
    let ending = Ending { event: BookingEvent::CancelByStore, actor, note, named };
    end(tx, found.merchant(), &[ending], now).await?;
    app.hold_at("booking_end.before_commit").await;
    Ok(())
}

async fn arrive_in(app: &App, tx: &Tx, staff: &StaffPrincipal, found: &Booking) -> Result<()> {
    let named = lock(tx, found).await?;
    let now = app.now();
    let b = &named.booking;
    if b.state == BookingState::Arrived {
        return Ok(());
    }
    decide_arrival(&named.facts(), now)?;
    let merchant = found.merchant();
    let to = b.state.after(BookingEvent::Arrive)?;
    let change = bookings::Change {
        due_at: due_at(to, b.slot_start, b.slot_end, &b.terms, now),
        ..bookings::Change::to(b, to)
    };
    bookings::change(tx, merchant, &[change], now).await?;
    let row = event(b, BookingEvent::Arrive, Actor::Staff(staff.staff_id), None, now)?;
    Ok(bookings::append_events(tx, merchant, vec![row]).await?)
}
