//! Bookings 预约: customers take places of a slot for uses of a voucher, confirm, move and give them back; stores note
//! who came; what nobody does is done when its time has come. What a redemption makes of bookings is written with it
//! (`crate::redeem`).
//!
//! Order of locks: vouchers, slots; bookings are changed by who holds the lock of their voucher.

mod book;
mod change;
mod due;
mod end;
mod slots;

use hexiao_core::booking::BookingEvent;
use hexiao_core::id::{BookingId, RedemptionId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::bookings::{self, Booking, Named};
use hexiao_db::orders::Actor;
use hexiao_db::{Tx, outbox};

use crate::error::{AppError, Result};
use crate::keys::new_id;
use crate::messages::{self, Happened};

pub use book::{BookUses, ConfirmBooking};
pub use change::RescheduleBooking;
pub use slots::FreeSlot;

/// A booking that was made or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Whose books.
    pub merchant: MerchantScope,
    /// The booking.
    pub booking_id: BookingId,
    /// The same request had done it before.
    pub replayed: bool,
}

/// Locks a booking's voucher and reads the booking again.
async fn lock(tx: &Tx, found: &Booking) -> Result<Named> {
    let merchant = found.merchant();
    bookings::lock_vouchers(tx, merchant, &[found.voucher_id]).await?;
    reread(tx, merchant, found.id).await
}

async fn reread(tx: &Tx, merchant: MerchantScope, id: BookingId) -> Result<Named> {
    let named = bookings::of(tx, merchant, &[id]).await?.pop();
    named.ok_or_else(|| AppError::Internal("a booking vanished".to_owned()))
}

/// What an event row says of a transition.
fn event(
    booking: &Booking,
    event: BookingEvent,
    actor: Actor,
    note: Option<String>,
    at: Timestamp,
) -> Result<bookings::NewEvent> {
    Ok(bookings::NewEvent {
        id: new_id(),
        booking_id: booking.id,
        event: event.as_str(),
        from: Some(booking.state),
        to: Some(booking.state.after(event)?),
        actor,
        redemption_id: None,
        note,
        at,
    })
}

/// Notes that a redemption of bookings was undone. Their uses are free, and no longer booked.
pub(crate) async fn note_undone(
    tx: &Tx,
    merchant: MerchantScope,
    redemption: RedemptionId,
    (actor, reason): (Actor, &str),
    now: Timestamp,
) -> Result<()> {
    let ids = bookings::of_redemption(tx, merchant, redemption).await?;
    let row = |id: BookingId| bookings::NewEvent {
        id: new_id(),
        booking_id: id,
        event: "undo",
        from: None,
        to: None,
        actor,
        redemption_id: Some(redemption),
        note: Some(reason.to_owned()),
        at: now,
    };
    Ok(bookings::append_events(tx, merchant, ids.into_iter().map(row).collect()).await?)
}

/// What the customer is told about a booking.
fn told(named: &Named, what: &Happened, now: Timestamp) -> outbox::NewEvent {
    let b = &named.booking;
    messages::event_for(b.merchant_id, b.customer_id, b.order_id, b.id.into(), what, now)
}

/// The time of a slot as the customer reads it.
fn slot_text(named: &Named) -> String {
    let b = &named.booking;
    format!("{}–{}", b.slot_start.local_text(named.zone), b.slot_end.local_clock(named.zone))
}
