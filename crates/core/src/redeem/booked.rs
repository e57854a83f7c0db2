//! Redeeming at a booked time: which bookings count here and now, how many uses that gives, and which serials.

use super::{StoreFacts, VoucherFacts};
use crate::booking::{self, BookingFacts, BookingState};
use crate::id::BookingId;
use crate::reason::{Reason, Refusal};
use crate::rule::BookingRule;
use crate::time::Timestamp;
use crate::voucher::lowest_free;

/// What a redemption takes out of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedPart {
    /// Which booking.
    pub booking_id: BookingId,
    /// Its state.
    pub state: BookingState,
    /// The serials.
    pub serials: Vec<u32>,
    /// What stays locked for it.
    pub rest: Vec<u32>,
}

/// The bookings that can be redeemed at a store, now; by time.
pub(super) fn bookings_for(v: &VoucherFacts, store: StoreFacts, now: Timestamp) -> Vec<&BookingFacts> {
    v.bookings.iter().filter(|b| b.redeemable_at(store.store_id, now)).collect()
}

/// The uses that can be redeemed with these bookings: their own, those of bookings that were missed as far as they are
/// still free, and the other free ones if none has to be booked.
pub(super) fn within_reach(v: &VoucherFacts, bookings: &[&BookingFacts]) -> u32 {
    let sum = |of: &dyn Fn(&BookingFacts) -> u32| bookings.iter().map(|b| of(b)).fold(0, u32::saturating_add);
    let locked = sum(&|b| u32::try_from(b.serials.len()).unwrap_or(u32::MAX));
    let free = v.counters.free();
    match v.rule.booking {
        BookingRule::None => free.saturating_add(locked),
        BookingRule::Required => {
            let missed = sum(&|b| if b.state == BookingState::NoShow { b.quantity } else { 0 });
            locked.saturating_add(missed.min(free))
        }
    }
}

pub(super) fn check_booking(
    v: &VoucherFacts,
    bookings: &[&BookingFacts],
    now: Timestamp,
    quantity: u32,
) -> Result<(), Refusal> {
    match v.rule.booking {
        BookingRule::None => return Ok(()),
        BookingRule::Required => {}
    }
    let most = within_reach(v, bookings);
    if most > 0 && quantity > 0 && quantity <= most {
        return Ok(());
    }
    if most > 0 {
        let message = format!("预约了 {most} 次，不够本次核销");
        return Err(Refusal::with_message(Reason::NotEnoughUses, message));
    }
    let kept = |b: &&BookingFacts| matches!(b.state, BookingState::Booked | BookingState::Arrived);
    // The next one, or the last that is over.
    let next = v.bookings.iter().filter(kept).find(|b| now < b.window().1);
    if let Some(b) = next.or_else(|| v.bookings.iter().rfind(kept)) {
        return Err(booking::mismatch(b, now));
    }
    if v.bookings.iter().any(|b| b.state == BookingState::Held) {
        let message = "预约还没有确认，请顾客先在小程序里确认预约";
        return Err(Refusal::with_message(Reason::BookingRequired, message));
    }
    Err(Reason::BookingRequired.into())
}

/// The serials to redeem: of the bookings first, in the order of their times.
pub(super) fn choose(
    v: &VoucherFacts,
    bookings: &[&BookingFacts],
    quantity: u32,
) -> Option<(Vec<u32>, Vec<BookedPart>)> {
    let wanted = usize::try_from(quantity).ok()?;
    let (mut serials, mut parts, mut taken) = (Vec::new(), Vec::new(), v.taken.clone());
    for b in bookings {
        let left = wanted - serials.len();
        let available = match b.state {
            // Its uses are free again; who comes late takes some of those.
            BookingState::NoShow => {
                let most = b.quantity.min(u32::try_from(left).unwrap_or(u32::MAX));
                let free = (1..=v.counters.total).filter(|s| !taken.contains(s)).count();
                lowest_free(v.counters.total, &taken, most.min(u32::try_from(free).unwrap_or(u32::MAX)))?
            }
            BookingState::Held
            | BookingState::Booked
            | BookingState::Arrived
            | BookingState::Completed
            | BookingState::Cancelled
            | BookingState::Rescheduled => b.serials.clone(),
        };
        let (mine, rest) = available.split_at(left.min(available.len()));
        if mine.is_empty() {
            continue;
        }
        taken.extend(mine);
        serials.extend(mine);
        parts.push(BookedPart {
            booking_id: b.id,
            state: b.state,
            serials: mine.to_vec(),
            rest: rest.to_vec(),
        });
    }
    let left = u32::try_from(wanted - serials.len()).ok()?;
    if left > 0 {
        match v.rule.booking {
            BookingRule::None => serials.extend(lowest_free(v.counters.total, &taken, left)?),
            BookingRule::Required => return None,
        }
    }
    serials.sort_unstable();
    Some((serials, parts))
}
