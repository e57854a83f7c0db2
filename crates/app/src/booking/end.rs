//! Ending bookings, one or many: places and uses are given back, and the customer is told.

use std::collections::BTreeMap;

use hexiao_core::booking::{BookingEvent, BookingState, CancelReason};
use hexiao_core::id::{BookingId, VoucherId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::booking_plans::{self, SlotKey};
use hexiao_db::bookings::{self, Named};
use hexiao_db::orders::Actor;
use hexiao_db::{Tx, expiry, outbox};

use super::{event, slot_text, told};
use crate::error::{AppError, Result};
use crate::messages::Happened;

/// How one booking ends.
pub(super) struct Ending {
    pub(super) named: Named,
    pub(super) event: BookingEvent,
    pub(super) actor: Actor,
    /// Why, in words that its customer may read.
    pub(super) note: Option<String>,
}

impl Ending {
    fn reason(&self) -> Option<CancelReason> {
        match self.event {
            BookingEvent::CancelByCustomer => Some(CancelReason::Customer),
            BookingEvent::CancelByStore => Some(CancelReason::Store),
            BookingEvent::Expire => Some(CancelReason::Timeout),
            BookingEvent::Book
            | BookingEvent::Arrive
            | BookingEvent::Complete
            | BookingEvent::Reschedule
            | BookingEvent::Miss => None,
        }
    }

    /// What the customer is told; nothing of what they did not do themselves or was not confirmed.
    fn happened(&self) -> Option<Happened> {
        let (product_name, store_name) = (self.named.product_name.clone(), self.named.store_name.clone());
        let slot = slot_text(&self.named);
        match self.event {
            BookingEvent::CancelByCustomer => {
                Some(Happened::BookingCancelled { product_name, store_name, slot, reason: None })
            }
            BookingEvent::CancelByStore => Some(Happened::BookingCancelled {
                product_name,
                store_name,
                slot,
                reason: Some(self.note.clone().unwrap_or_default()),
            }),
            BookingEvent::Miss => Some(Happened::BookingMissed { product_name, store_name, slot }),
            BookingEvent::Expire if self.named.booking.state == BookingState::Arrived => {
                Some(Happened::BookingLapsed { product_name, store_name, slot })
            }
            BookingEvent::Expire
            | BookingEvent::Book
            | BookingEvent::Arrive
            | BookingEvent::Complete
            | BookingEvent::Reschedule => None,
        }
    }
}

/// Ends bookings whose vouchers are locked and that were read under those locks.
pub(super) async fn end(tx: &Tx, merchant: MerchantScope, endings: &[Ending], now: Timestamp) -> Result<()> {
    let mut places: BTreeMap<SlotKey, i64> = BTreeMap::new();
    let mut uses: BTreeMap<VoucherId, i64> = BTreeMap::new();
    let (mut ids, mut changes, mut events) = (Vec::<BookingId>::new(), Vec::new(), Vec::new());
    for ending in endings {
        let b = &ending.named.booking;
        let to = b.state.after(ending.event)?;
        if !to.holds_places() {
            *places.entry((b.plan_id, b.slot_start)).or_default() -= i64::from(b.quantity);
        }
        *uses.entry(b.voucher_id).or_default() -= i64::from(b.quantity - b.redeemed);
        ids.push(b.id);
        changes.push(bookings::Change {
            cancelled: ending.reason().map(|reason| (reason, ending.note.clone())),
            ..bookings::Change::to(b, to)
        });
        events.push(event(b, ending.event, ending.actor, ending.note.clone(), now)?);
    }
    give_back(tx, merchant, &places).await?;
    bookings::change_locked(tx, merchant, &uses).await?;
    // What is free again after its voucher's time is over expires as well.
    let freed: Vec<VoucherId> = uses.keys().copied().collect();
    expiry::look_again(tx, merchant, &freed).await?;
    bookings::release_locks(tx, merchant, &ids).await?;
    bookings::change(tx, merchant, &changes, now).await?;
    bookings::append_events(tx, merchant, events).await?;
    let messages = endings.iter().filter_map(|e| Some(told(&e.named, &e.happened()?, now)));
    Ok(outbox::append(tx, messages.collect()).await?)
}

async fn give_back(tx: &Tx, merchant: MerchantScope, places: &BTreeMap<SlotKey, i64>) -> Result<()> {
    let locked = booking_plans::lock(tx, merchant, places.keys().copied()).await?;
    let mut changes = BTreeMap::new();
    for (key, delta) in places {
        let slot = locked.get(key).ok_or_else(|| AppError::Internal("a slot vanished".to_owned()))?;
        changes.insert(*key, (*delta, slot.capacity));
    }
    Ok(booking_plans::change(tx, merchant, &changes).await?)
}
