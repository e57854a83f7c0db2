//! What a redemption makes of bookings: the uses that it takes are no longer kept, and a booking whose last use went
//! is complete. Nothing is written, and nothing is asked, where no voucher was booked.

use std::collections::BTreeMap;

use hexiao_core::booking::{BookingEvent, BookingState, due_at};
use hexiao_core::id::{RedemptionId, VoucherId};
use hexiao_core::redeem::BookedPart;
use hexiao_core::refund::uses_worth;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::LockState;
use hexiao_db::Tx;
use hexiao_db::bookings::{self, BookingLock, Change};
use hexiao_db::orders::Actor;
use hexiao_db::vouchers::Loaded;

use super::writes::Act;
use crate::error::Result;
use crate::keys::new_id;

/// What is decided and not yet written. In the order of the requests of a batch: a booking may be redeemed in parts.
#[derive(Default)]
pub(super) struct Booked {
    rounds: Vec<Round>,
    at: Option<Timestamp>,
}

/// What one redemption takes of one voucher's bookings.
#[derive(Default)]
struct Round {
    changes: Vec<Change>,
    locks: Vec<BookingLock>,
    uses: BTreeMap<VoucherId, i64>,
    events: Vec<bookings::NewEvent>,
}

impl Booked {
    /// Notes what is taken out of bookings, and changes them in memory for the next request of the batch.
    pub(super) fn consume(
        &mut self,
        act: &Act<'_>,
        redemption: RedemptionId,
        parts: &[BookedPart],
        loaded: &mut Loaded,
    ) {
        if parts.is_empty() {
            return;
        }
        self.at = Some(act.now);
        let mut round = Round::default();
        for part in parts {
            round.part(act, redemption, part, loaded);
        }
        self.rounds.push(round);
    }

    pub(super) async fn write(self, tx: &Tx, merchant: MerchantScope) -> Result<()> {
        let Some(now) = self.at else { return Ok(()) };
        for round in self.rounds {
            bookings::change_locked(tx, merchant, &round.uses).await?;
            bookings::consume_locks(tx, merchant, &round.locks).await?;
            bookings::change(tx, merchant, &round.changes, now).await?;
            bookings::append_events(tx, merchant, round.events).await?;
        }
        Ok(())
    }
}

impl Round {
    fn part(&mut self, act: &Act<'_>, redemption: RedemptionId, part: &BookedPart, loaded: &mut Loaded) {
        let voucher_id = loaded.voucher.id;
        let Some(booking) = loaded.facts.bookings.iter_mut().find(|b| b.id == part.booking_id) else {
            return;
        };
        let redeemed = u32::try_from(part.serials.len()).unwrap_or(u32::MAX);
        // A missed booking is over with its first redemption: it keeps nothing for a second one.
        let whole = part.rest.is_empty() || part.state == BookingState::NoShow;
        let (event, to) = match (whole, part.state) {
            (true, _) => (BookingEvent::Complete.as_str(), BookingState::Completed),
            (false, BookingState::Booked) => (BookingEvent::Arrive.as_str(), BookingState::Arrived),
            (false, state) => ("redeem", state),
        };
        if part.state.holds_uses() {
            let serials = if whole { &part.serials } else { &part.rest };
            self.locks.push(BookingLock {
                voucher_id,
                booking_id: part.booking_id,
                serials: serials.clone(),
                amount: uses_worth(loaded.voucher.amount, loaded.voucher.counters.total, serials),
                state: if whole { LockState::Consumed } else { LockState::Active },
            });
            *self.uses.entry(voucher_id).or_default() -= i64::from(redeemed);
            loaded.facts.counters.locked_booking -= redeemed;
        }
        self.changes.push(Change {
            id: part.booking_id,
            from: part.state,
            to,
            cancelled: None,
            rescheduled_to: None,
            redeemed,
            due_at: due_at(to, booking.slot_start, booking.slot_end, &booking.terms, act.now),
            remind_at: None,
        });
        self.events.push(bookings::NewEvent {
            id: new_id(),
            booking_id: part.booking_id,
            event,
            from: Some(part.state),
            to: Some(to),
            actor: Actor::Staff(act.staff.staff_id),
            redemption_id: Some(redemption),
            note: None,
            at: act.now,
        });
        booking.state = to;
        booking.serials.clone_from(&part.rest);
        if whole {
            loaded.facts.bookings.retain(|b| b.id != part.booking_id);
        }
    }
}
