//! Bookings 预约: the state of one, and whether a place may be taken, moved or given back.
//!
//! A booking holds places of a slot and locks uses of a voucher. Redeeming in the booked store and time consumes the
//! lock; cancelling, expiring and missing it set the uses free. What a redemption makes of bookings is decided in
//! [`crate::redeem`], which slots there are in [`crate::slots`].

use chrono::Duration;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::id::{BookingId, StoreId};
use crate::money::Money;
use crate::reason::{FieldError, Reason, Refusal};
use crate::redeem::{StoreFacts, VoucherFacts, check_place, check_state, nothing_left};
use crate::refund::uses_worth;
use crate::rule::BookingRule;
use crate::slots::Slot;
use crate::state::{IllegalTransition, text_enum};
use crate::time::Timestamp;
use crate::voucher::lowest_free;

/// How long after its slot an arrival waits for its redemption, before it is ended: services overrun.
pub const ARRIVAL_HOURS: i64 = 24;

text_enum! {
    /// The stored state of a booking.
    pub enum BookingState {
        /// Its places are kept for some minutes, until the customer confirms.
        Held = "Held",
        /// Confirmed.
        Booked = "Booked",
        /// The customer is there; also when some of its uses were redeemed and some not yet.
        Arrived = "Arrived",
        /// Redeemed.
        Completed = "Completed",
        /// Given up by the customer or the store, or ended by time.
        Cancelled = "Cancelled",
        /// Nobody came.
        NoShow = "NoShow",
        /// Another booking took its place.
        Rescheduled = "Rescheduled",
    }
}

text_enum! {
    /// By whom a booking was cancelled.
    pub enum CancelReason {
        /// Its customer.
        Customer = "customer",
        /// The store.
        Store = "store",
        /// Nobody: a hold was not confirmed, or an arrival not redeemed, in time.
        Timeout = "timeout",
    }
}

/// What happens to a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookingEvent {
    /// The customer confirms.
    Book,
    /// The customer is there.
    Arrive,
    /// The last of its uses is redeemed.
    Complete,
    /// The customer gives it up.
    CancelByCustomer,
    /// The store calls it off.
    CancelByStore,
    /// Its time is over without a confirmation, or without a redemption after the arrival.
    Expire,
    /// It is moved: another booking begins.
    Reschedule,
    /// Nobody came.
    Miss,
}

impl BookingEvent {
    /// Every event, for the table of transitions.
    pub const ALL: &'static [BookingEvent] = &[
        Self::Book,
        Self::Arrive,
        Self::Complete,
        Self::CancelByCustomer,
        Self::CancelByStore,
        Self::Expire,
        Self::Reschedule,
        Self::Miss,
    ];

    /// Its name in event rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Arrive => "arrive",
            Self::Complete => "complete",
            Self::CancelByCustomer => "cancel_by_customer",
            Self::CancelByStore => "cancel_by_store",
            Self::Expire => "expire",
            Self::Reschedule => "reschedule",
            Self::Miss => "miss",
        }
    }
}

impl BookingState {
    /// Whether its places of the slot are taken. One that was missed keeps them: its slot has begun.
    pub const fn holds_places(self) -> bool {
        match self {
            Self::Held | Self::Booked | Self::Arrived | Self::Completed | Self::NoShow => true,
            Self::Cancelled | Self::Rescheduled => false,
        }
    }

    /// Whether uses of its voucher are locked for it.
    pub const fn holds_uses(self) -> bool {
        match self {
            Self::Held | Self::Booked | Self::Arrived => true,
            Self::Completed | Self::Cancelled | Self::NoShow | Self::Rescheduled => false,
        }
    }

    /// What a person reads.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Held => "待确认",
            Self::Booked => "已预约",
            Self::Arrived => "已到店",
            Self::Completed => "已完成",
            Self::Cancelled => "已取消",
            Self::NoShow => "未到店",
            Self::Rescheduled => "已改约",
        }
    }

    /// The state after an event.
    pub fn after(self, event: BookingEvent) -> Result<BookingState, IllegalTransition> {
        use BookingEvent as E;
        use BookingState as S;
        match (event, self) {
            (E::Book, S::Held) => Ok(S::Booked),
            (E::Arrive, S::Booked) => Ok(S::Arrived),
            // Who comes late after all is still served.
            (E::Complete, S::Booked | S::Arrived | S::NoShow) => Ok(S::Completed),
            (E::CancelByCustomer, S::Held | S::Booked)
            | (E::CancelByStore, S::Held | S::Booked | S::Arrived)
            | (E::Expire, S::Held | S::Arrived) => Ok(S::Cancelled),
            (E::Reschedule, S::Booked) => Ok(S::Rescheduled),
            (E::Miss, S::Booked) => Ok(S::NoShow),
            (E::Book, S::Booked | S::Arrived | S::Completed | S::Cancelled | S::NoShow | S::Rescheduled)
            | (
                E::Arrive | E::Reschedule | E::Miss,
                S::Held | S::Arrived | S::Completed | S::Cancelled | S::NoShow | S::Rescheduled,
            )
            | (E::Complete, S::Held | S::Completed | S::Cancelled | S::Rescheduled)
            | (E::CancelByCustomer, S::Arrived | S::Completed | S::Cancelled | S::NoShow | S::Rescheduled)
            | (E::CancelByStore, S::Completed | S::Cancelled | S::NoShow | S::Rescheduled)
            | (E::Expire, S::Booked | S::Completed | S::Cancelled | S::NoShow | S::Rescheduled) => {
                Err(IllegalTransition { state: self.as_str(), event: event.as_str() })
            }
        }
    }
}

/// What a store lets its customers do with a booking, and until when. A booking keeps the terms it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BookingTerms {
    /// Days ahead that can be booked.
    pub ahead_days: u32,
    /// Minutes before a slot at which booking it ends.
    pub lead_minutes: u32,
    /// Minutes for which places are kept without a confirmation.
    pub hold_minutes: u32,
    /// Minutes before a slot until which the customer may cancel or move it.
    pub change_minutes: u32,
    /// How often a booking may be moved.
    pub max_reschedules: u32,
    /// Minutes after the slot's begin at which nobody has come.
    pub no_show_minutes: u32,
    /// Minutes before the slot from which it can be redeemed.
    pub early_minutes: u32,
    /// Minutes after the slot until which it can be redeemed.
    pub late_minutes: u32,
    /// Minutes before the slot at which the customer is reminded; 0 = never.
    pub reminder_minutes: u32,
}

impl Default for BookingTerms {
    fn default() -> Self {
        Self {
            ahead_days: 30,
            lead_minutes: 0,
            hold_minutes: 10,
            change_minutes: 120,
            max_reschedules: 2,
            no_show_minutes: 30,
            early_minutes: 30,
            late_minutes: 30,
            reminder_minutes: 120,
        }
    }
}

impl BookingTerms {
    /// What is out of range, as problems of the fields under `path`.
    pub fn problems(&self, path: &str) -> Vec<FieldError> {
        const DAY: u32 = 24 * 60;
        let checks = [
            ("ahead_days", self.ahead_days, 1, 180, "应为 1–180 天"),
            ("lead_minutes", self.lead_minutes, 0, 30 * DAY, "应为 0–43200 分钟"),
            ("hold_minutes", self.hold_minutes, 1, 60, "应为 1–60 分钟"),
            ("change_minutes", self.change_minutes, 0, 30 * DAY, "应为 0–43200 分钟"),
            ("max_reschedules", self.max_reschedules, 0, 10, "应为 0–10 次"),
            ("no_show_minutes", self.no_show_minutes, 5, DAY, "应为 5–1440 分钟"),
            ("early_minutes", self.early_minutes, 0, DAY, "应为 0–1440 分钟"),
            ("late_minutes", self.late_minutes, 0, DAY, "应为 0–1440 分钟"),
            ("reminder_minutes", self.reminder_minutes, 0, 7 * DAY, "应为 0–10080 分钟"),
        ];
        checks
            .into_iter()
            .filter(|(_, value, least, most, _)| !(least..=most).contains(&value))
            .map(|(field, _, _, _, message)| FieldError {
                path: format!("{path}{field}"),
                message: message.to_owned(),
            })
            .collect()
    }

    /// When the customer is reminded of a slot; never when that is over.
    pub fn remind_at(&self, slot_start: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let at = slot_start.minus(minutes(self.reminder_minutes));
        (self.reminder_minutes > 0 && at > now).then_some(at)
    }

    /// Until when places of a slot are kept without a confirmation.
    pub fn hold_until(&self, slot_start: Timestamp, now: Timestamp) -> Timestamp {
        now.plus(minutes(self.hold_minutes)).min(slot_start)
    }
}

fn minutes(n: u32) -> Duration {
    Duration::minutes(i64::from(n))
}

/// A booking as decisions see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingFacts {
    /// Which.
    pub id: BookingId,
    /// Its state.
    pub state: BookingState,
    /// Where.
    pub store_id: StoreId,
    /// The store's name, for refusals.
    pub store_name: String,
    /// The store's zone, for the same.
    pub zone: Tz,
    /// When it begins.
    pub slot_start: Timestamp,
    /// When it ends.
    pub slot_end: Timestamp,
    /// How many uses were booked.
    pub quantity: u32,
    /// The uses that are still locked for it.
    pub serials: Vec<u32>,
    /// How often it was moved.
    pub reschedules: u32,
    /// The terms it was made with.
    pub terms: BookingTerms,
}

impl BookingFacts {
    /// From when (included) to when (excluded) it can be redeemed.
    pub fn window(&self) -> (Timestamp, Timestamp) {
        let from = self.slot_start.minus(minutes(self.terms.early_minutes));
        let to = match self.state {
            BookingState::Arrived => self.slot_end.plus(Duration::hours(ARRIVAL_HOURS)),
            BookingState::Held
            | BookingState::Booked
            | BookingState::Completed
            | BookingState::Cancelled
            | BookingState::NoShow
            | BookingState::Rescheduled => self.slot_end.plus(minutes(self.terms.late_minutes)),
        };
        (from, to)
    }

    /// Whether it can be redeemed at a store, now.
    pub fn redeemable_at(&self, store_id: StoreId, now: Timestamp) -> bool {
        let live = match self.state {
            BookingState::Booked | BookingState::Arrived | BookingState::NoShow => true,
            BookingState::Held
            | BookingState::Completed
            | BookingState::Cancelled
            | BookingState::Rescheduled => false,
        };
        let (from, to) = self.window();
        live && self.store_id == store_id && (from..to).contains(&now)
    }

    /// When the system ends it if nobody does anything; never when it is over.
    pub fn due_at(&self, hold_until: Timestamp) -> Option<Timestamp> {
        due_at(self.state, self.slot_start, self.slot_end, &self.terms, hold_until)
    }
}

/// When the system ends a booking if nobody does anything; never when it is over.
pub fn due_at(
    state: BookingState,
    slot_start: Timestamp,
    slot_end: Timestamp,
    terms: &BookingTerms,
    hold_until: Timestamp,
) -> Option<Timestamp> {
    match state {
        BookingState::Held => Some(hold_until),
        BookingState::Booked => Some(slot_start.plus(minutes(terms.no_show_minutes))),
        BookingState::Arrived => Some(slot_end.plus(Duration::hours(ARRIVAL_HOURS))),
        BookingState::Completed
        | BookingState::Cancelled
        | BookingState::NoShow
        | BookingState::Rescheduled => None,
    }
}

/// What the system does with a booking whose time has come.
pub const fn when_due(state: BookingState, redeemed: u32) -> Option<BookingEvent> {
    match state {
        BookingState::Held => Some(BookingEvent::Expire),
        BookingState::Booked => Some(BookingEvent::Miss),
        // Some of the party came, and nobody else will.
        BookingState::Arrived if redeemed > 0 => Some(BookingEvent::Complete),
        BookingState::Arrived => Some(BookingEvent::Expire),
        BookingState::Completed
        | BookingState::Cancelled
        | BookingState::NoShow
        | BookingState::Rescheduled => None,
    }
}

/// The uses that a booking locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Which, lowest first.
    pub serials: Vec<u32>,
    /// What they are worth.
    pub amount: Money,
}

/// Judges booking `quantity` uses of a voucher. Whether the slot has places left is asked of the slot.
pub fn decide_booking(
    v: &VoucherFacts,
    store: StoreFacts,
    slot: &Slot,
    terms: &BookingTerms,
    quantity: u32,
    now: Timestamp,
) -> Result<Locked, Refusal> {
    check_state(v)?;
    match v.rule.booking {
        BookingRule::None => return Err(Reason::NotBookable.into()),
        BookingRule::Required => {}
    }
    let free = v.counters.free();
    if free == 0 {
        return Err(nothing_left(v));
    }
    if quantity == 0 || quantity > free {
        return Err(Refusal::with_message(
            Reason::NotEnoughUses,
            format!("还能预约 {free} 次，不够本次预约"),
        ));
    }
    let least = v.rule.min_quantity.min(free);
    if quantity < least {
        return Err(Refusal::with_message(Reason::MinQuantity, format!("每次至少预约 {least} 次")));
    }
    if let Some(most) = v.rule.max_quantity.filter(|most| quantity > *most) {
        return Err(Refusal::with_message(Reason::MaxQuantity, format!("每次最多预约 {most} 次")));
    }
    if let Some(cap) = v.rule.daily_cap.filter(|cap| quantity > *cap) {
        return Err(Refusal::with_message(Reason::DailyCap, format!("每天最多使用 {cap} 次")));
    }
    check_slot(v, store, slot, terms, quantity, now)?;
    let serials = lowest_free(v.counters.total, &v.taken, quantity).ok_or(Reason::NotEnoughUses)?;
    let amount = uses_worth(v.amount, v.counters.total, &serials);
    Ok(Locked { serials, amount })
}

/// Judges moving a booking to another slot. Its uses stay locked.
pub fn decide_reschedule(
    v: &VoucherFacts,
    b: &BookingFacts,
    store: StoreFacts,
    slot: &Slot,
    terms: &BookingTerms,
    now: Timestamp,
) -> Result<(), Refusal> {
    check_state(v)?;
    if b.state.after(BookingEvent::Reschedule).is_err() {
        return Err(not_now(b.state));
    }
    check_change(b, now)?;
    if b.reschedules >= b.terms.max_reschedules {
        let message = format!("最多改约 {} 次，如需更改请联系门店", b.terms.max_reschedules);
        return Err(Refusal::with_message(Reason::RescheduleLimit, message));
    }
    if slot.start == b.slot_start && store.store_id == b.store_id {
        return Err(Refusal::field("slot_start", "与原来的时段相同"));
    }
    check_slot(v, store, slot, terms, b.quantity, now)
}

/// Judges a customer's cancellation. What is only held can be given back at any time.
pub fn decide_cancel(b: &BookingFacts, now: Timestamp) -> Result<(), Refusal> {
    if b.state.after(BookingEvent::CancelByCustomer).is_err() {
        return Err(not_now(b.state));
    }
    match b.state {
        BookingState::Held => Ok(()),
        _ => check_change(b, now),
    }
}

/// Judges noting an arrival.
pub fn decide_arrival(b: &BookingFacts, now: Timestamp) -> Result<(), Refusal> {
    if b.state.after(BookingEvent::Arrive).is_err() {
        return Err(not_now(b.state));
    }
    let (from, _) = b.window();
    if now < from {
        return Err(mismatch(b, now));
    }
    Ok(())
}

/// What does not apply in a state, in words.
pub fn not_now(state: BookingState) -> Refusal {
    Refusal::with_message(Reason::IllegalState, format!("该预约{}，不能这样操作", state.text()))
}

fn check_change(b: &BookingFacts, now: Timestamp) -> Result<(), Refusal> {
    let until = b.slot_start.minus(minutes(b.terms.change_minutes));
    if now <= until {
        return Ok(());
    }
    let message = format!("已过可取消和改约的时间（{}），请联系门店", until.local_text(b.zone));
    Err(Refusal::with_message(Reason::BookingTooLate, message))
}

/// The slot itself: where, how soon, how far ahead, and whether the voucher will be valid then.
fn check_slot(
    v: &VoucherFacts,
    store: StoreFacts,
    slot: &Slot,
    terms: &BookingTerms,
    quantity: u32,
    now: Timestamp,
) -> Result<(), Refusal> {
    check_place(v, store)?;
    if !is_open(slot, terms, now) {
        let message = format!(
            "该时段现在不能预约：须提前 {} 分钟，最早可约 {} 天内",
            terms.lead_minutes, terms.ahead_days
        );
        return Err(Refusal::with_message(Reason::SlotUnavailable, message));
    }
    if slot.start >= v.valid_to {
        let last = v.valid_to.minus(Duration::seconds(1)).local_text(store.day.zone);
        return Err(Refusal::with_message(
            Reason::SlotUnavailable,
            format!("该券有效期至 {last}，请选择更早的时段"),
        ));
    }
    crate::redeem::check_time(v, store.day, slot.start, quantity)
}

/// Whether a slot can be booked now, as far as time goes.
pub fn is_open(slot: &Slot, terms: &BookingTerms, now: Timestamp) -> bool {
    let latest = now.plus(Duration::days(i64::from(terms.ahead_days)));
    slot.start > now && slot.start >= now.plus(minutes(terms.lead_minutes)) && slot.start <= latest
}

/// The booking does not fit the place or the time; says which would.
pub fn mismatch(b: &BookingFacts, now: Timestamp) -> Refusal {
    let zone = b.zone;
    let (from, to) = b.window();
    let slot =
        format!("「{}」{}–{}", b.store_name, b.slot_start.local_text(zone), b.slot_end.local_clock(zone));
    let when = if now < from {
        format!("，{} 起可核销", from.local_text(zone))
    } else if now >= to {
        format!("，{} 已过核销时间", to.local_text(zone))
    } else {
        String::new()
    };
    Refusal::with_message(Reason::BookingMismatch, format!("预约的是{slot}{when}"))
}

#[cfg(test)]
mod tests;
