//! Redemption 核销: whether some uses of a voucher can be redeemed here and now, and which; whether they can be undone.
//!
//! [`decide`] is the only judge. `prepare` calls it to explain, `confirm` calls it again under the lock: no SQL
//! decides a rule. A refusal says where and when the voucher *can* be used.

mod booked;

use std::collections::BTreeSet;

use chrono::Duration;
use serde::{Deserialize, Serialize};

use crate::booking::BookingFacts;
use crate::id::StoreId;
use crate::money::Money;
use crate::order::OrderState;
use crate::reason::{Reason, Refusal};
use crate::refund::uses_worth;
use crate::rule::{Binding, BookingRule, Moment, RedemptionRule};
use crate::state::text_enum;
use crate::time::{BusinessDay, Timestamp};
use crate::voucher::{Counters, LockState, UseState, VoucherState};

pub use booked::BookedPart;
use booked::{bookings_for, check_booking, choose, within_reach};

/// A redemption of the same voucher at the same store within this time needs an explicit acknowledgement:
/// a lost answer and a second scan must not cost a second use.
pub const JUST_REDEEMED_S: i64 = 120;
/// How long a verifier can undo their own redemption.
pub const UNDO_MINUTES: i64 = 10;
/// How often the uses of one voucher may be undone.
pub const MAX_UNDO_CYCLES: i64 = 10;
/// How long a prepared redemption can be confirmed.
pub const PREPARE_TOKEN_S: i64 = 120;
/// Vouchers in one confirm.
pub const MAX_ITEMS: usize = 50;

text_enum! {
    /// What the verifier must have seen before confirming.
    pub enum Attention {
        /// The same voucher was redeemed at this store in the last two minutes.
        JustRedeemed = "just_redeemed",
    }
}

/// What happens to the items of a confirm when one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Atomicity {
    /// All or none.
    All,
    /// Each by itself.
    Each,
}

/// A voucher as read under the lock.
#[derive(Debug, Clone)]
pub struct VoucherFacts {
    /// Its stored state.
    pub state: VoucherState,
    /// Its counters.
    pub counters: Counters,
    /// The state of its order.
    pub order_state: OrderState,
    /// The store chosen at purchase.
    pub chosen_store: StoreId,
    /// The chosen store's name, for refusals.
    pub chosen_store_name: String,
    /// Valid from (included).
    pub valid_from: Timestamp,
    /// Valid to (excluded).
    pub valid_to: Timestamp,
    /// The rule it was bought with.
    pub rule: RedemptionRule,
    /// What its customer paid for all its uses.
    pub amount: Money,
    /// Serials redeemed, locked or refunded.
    pub taken: BTreeSet<u32>,
    /// Its redemptions that stand: when, where.
    pub recent: Vec<RecentUse>,
    /// Its bookings that are not over, and those that were missed; by time.
    pub bookings: Vec<BookingFacts>,
}

impl VoucherFacts {
    /// Until when it is valid by its uses, when its rule counts from the first of them.
    pub fn begun_until(&self) -> Option<Timestamp> {
        self.rule.valid_to_by_use(self.valid_from, self.recent.iter().map(|u| u.at).min())
    }
}

/// A use that stands (not reversed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentUse {
    /// When it was redeemed.
    pub at: Timestamp,
    /// Where.
    pub store_id: StoreId,
}

/// The store in which the verifier stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreFacts {
    /// Which.
    pub store_id: StoreId,
    /// In use and not suspended by the platform.
    pub in_use: bool,
    /// Closed for the time being by its own staff.
    pub resting: bool,
    /// Its zone and where its days end: windows, dates and caps are judged by the clock on its wall.
    pub day: BusinessDay,
}

/// What may be redeemed and what to look at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The serials that would go, lowest first.
    pub serials: Vec<u32>,
    /// What they are worth.
    pub amount: Money,
    /// What the verifier must acknowledge.
    pub attention: Vec<Attention>,
    /// Which of the serials come out of which bookings.
    pub booked: Vec<BookedPart>,
}

/// Judges redeeming `quantity` uses at a store, now. The order of the checks is the order in which a person
/// wants to hear: what the voucher is, then where, then when, then how many.
pub fn decide(
    v: &VoucherFacts,
    store: StoreFacts,
    now: Timestamp,
    quantity: u32,
) -> Result<Allowed, Refusal> {
    check_state(v)?;
    check_left(v, quantity)?;
    check_place(v, store)?;
    let bookings = bookings_for(v, store, now);
    // Days and hours were judged when the slot was booked: who comes early or stays long is not refused for it.
    check_time(v, store.day, bookings.first().map_or(now, |b| b.slot_start), quantity)?;
    check_booking(v, &bookings, now, quantity)?;
    check_pace(v, store.day, now, quantity)?;
    check_quantity(v, quantity)?;
    let (serials, booked) = choose(v, &bookings, quantity).ok_or_else(|| not_enough(v))?;
    let amount = uses_worth(v.amount, v.counters.total, &serials);
    Ok(Allowed { serials, amount, attention: attention(v, store, now), booked })
}

/// How many uses could be redeemed in one go at a store, ignoring its state, the place and the time; of those that
/// are used at a booked time as many as are booked there and then.
pub fn redeemable(v: &VoucherFacts, store: StoreFacts, now: Timestamp) -> u32 {
    let mut most = within_reach(v, &bookings_for(v, store, now));
    if let Some(cap) = v.rule.daily_cap {
        most = most.min(cap.saturating_sub(used_on_day_of(v, store.day, now)));
    }
    v.rule.max_quantity.map_or(most, |max| most.min(max))
}

/// The least number of uses in one redemption: the rule's, or all that is left when that is less.
pub fn least(v: &VoucherFacts) -> u32 {
    let left = match v.rule.booking {
        BookingRule::None => v.counters.free(),
        BookingRule::Required => v.counters.free() + v.counters.locked_booking,
    };
    v.rule.min_quantity.min(left).max(1)
}

/// When `quantity` uses can be redeemed next, by dates, windows, interval and daily cap, as far as we look ahead.
pub fn next_usable_at(
    v: &VoucherFacts,
    day: BusinessDay,
    now: Timestamp,
    quantity: u32,
) -> Option<Timestamp> {
    let from = now.max(v.valid_from);
    let mut openings = v.rule.openings(from, day).take_while(|open| open.start < v.valid_to);
    openings.find_map(|open| {
        let end = open.end.min(v.valid_to);
        let mut at = from.max(open.start);
        // Each step goes past a use or a day's border; there are few of both in a window.
        for _ in 0..64 {
            let later = after_interval(v, at).max(after_capped_day(v, day, at, quantity));
            if at >= end || later == at {
                break;
            }
            at = later;
        }
        (at < end).then_some(at)
    })
}

/// When the interval from the uses around an instant is over; the instant itself if none is near.
fn after_interval(v: &VoucherFacts, at: Timestamp) -> Timestamp {
    let interval = Duration::minutes(i64::from(v.rule.min_interval_minutes));
    let near = v.recent.iter().filter(|u| apart(u.at, at) < interval);
    near.map(|u| u.at.plus(interval)).max().unwrap_or(at)
}

/// The next day's beginning when the cap of an instant's day is reached; else the instant itself.
fn after_capped_day(v: &VoucherFacts, day: BusinessDay, at: Timestamp, quantity: u32) -> Timestamp {
    match v.rule.daily_cap {
        Some(cap) if used_on_day_of(v, day, at) + quantity > cap => day.next_start(at),
        Some(_) | None => at,
    }
}

fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).abs()
}

/// Whether something of it may be redeemed at a store, now or later, or could be if a refund were taken back.
pub fn open_at(v: &VoucherFacts, store_id: StoreId, now: Timestamp) -> bool {
    let left = v.counters.free() + v.counters.locked_refund + v.counters.locked_booking;
    let place = StoreFacts { store_id, in_use: true, resting: false, day: BusinessDay::default() };
    left > 0 && now < v.valid_to && check_state(v).is_ok() && check_place(v, place).is_ok()
}

pub(crate) fn check_state(v: &VoucherFacts) -> Result<(), Refusal> {
    match v.order_state {
        OrderState::PendingPayment | OrderState::Closed => return Err(Reason::Unpaid.into()),
        OrderState::Grouping => return Err(Reason::GroupPending.into()),
        OrderState::Refunding => return Err(Reason::RefundPending.into()),
        OrderState::Paid => {}
    }
    match v.state {
        VoucherState::PendingIssue => Err(Reason::GroupPending.into()),
        VoucherState::Frozen => Err(Reason::Frozen.into()),
        VoucherState::Transferring => Err(Reason::Transferring.into()),
        VoucherState::Transferred => Err(Reason::Transferred.into()),
        // Expiry leaves what is booked.
        VoucherState::Expired if v.counters.locked_booking == 0 => Err(expired(v)),
        VoucherState::Expired | VoucherState::Live => Ok(()),
    }
}

fn check_left(v: &VoucherFacts, quantity: u32) -> Result<(), Refusal> {
    let c = v.counters;
    let free = c.free();
    if quantity > 0 && quantity <= free {
        return Ok(());
    }
    if v.rule.booking == BookingRule::Required && (free > 0 || c.locked_booking > 0) {
        // How many are left is asked of the bookings.
        return Ok(());
    }
    Err(if free > 0 { not_enough(v) } else { nothing_left(v) })
}

/// Why no use is free.
pub(crate) fn nothing_left(v: &VoucherFacts) -> Refusal {
    let c = v.counters;
    if c.locked_refund > 0 {
        Reason::RefundPending
    } else if c.locked_booking > 0 {
        Reason::Locked
    } else if c.used > 0 {
        Reason::UsedUp
    } else if c.refunded > 0 {
        Reason::Refunded
    } else {
        Reason::Expired
    }
    .into()
}

fn not_enough(v: &VoucherFacts) -> Refusal {
    Refusal::with_message(Reason::NotEnoughUses, format!("剩余 {} 次，不够本次核销", v.counters.free()))
}

pub(crate) fn check_place(v: &VoucherFacts, store: StoreFacts) -> Result<(), Refusal> {
    if !store.in_use {
        return Err(Refusal::with_message(Reason::StoreClosed, "门店已停用，不能核销"));
    }
    if store.resting {
        return Err(Reason::StoreClosed.into());
    }
    let bound_elsewhere = v.rule.binding == Binding::ChosenStore && store.store_id != v.chosen_store;
    if bound_elsewhere || !v.rule.stores.contains(store.store_id) {
        return Err(match v.rule.binding {
            Binding::AnyInScope => Reason::WrongStore.into(),
            Binding::ChosenStore => {
                let message = format!("该券限「{}」使用，不能在本店使用", v.chosen_store_name);
                Refusal::with_message(Reason::WrongStore, message)
            }
        });
    }
    Ok(())
}

pub(crate) fn check_time(
    v: &VoucherFacts,
    day: BusinessDay,
    now: Timestamp,
    quantity: u32,
) -> Result<(), Refusal> {
    let refuse = |reason: Reason, message: String| Err(with_next(reason, message, v, day, now, quantity));
    if now < v.valid_from {
        let message = format!("{} 起可用", v.valid_from.local_text(day.zone));
        return refuse(Reason::NotStarted, message);
    }
    if now >= v.valid_to {
        return Err(expired(v));
    }
    match v.rule.moment(now, day) {
        Moment::Usable => Ok(()),
        Moment::BlackedOut => {
            let today = now.datetime().with_timezone(&day.zone).format("%m-%d");
            refuse(Reason::BlackoutDate, format!("今天（{today}）不可用，可用时间：{}", v.rule.usable_text()))
        }
        Moment::OutsideHours => refuse(Reason::OutsideHours, format!("可用时间：{}", v.rule.usable_text())),
    }
}

/// A refusal because of the time, with when the voucher can be used next.
fn with_next(
    reason: Reason,
    message: String,
    v: &VoucherFacts,
    day: BusinessDay,
    now: Timestamp,
    quantity: u32,
) -> Refusal {
    let next_usable_at = next_usable_at(v, day, now, quantity);
    let next = match next_usable_at {
        Some(at) => format!("；最早 {} 可用", at.local_text(day.zone)),
        None => "；有效期内没有可用时间，请联系商家".to_owned(),
    };
    Refusal { next_usable_at, ..Refusal::with_message(reason, message + &next) }
}

fn expired(v: &VoucherFacts) -> Refusal {
    let last = v.valid_to.minus(Duration::seconds(1)).local_text(v.rule.zone);
    Refusal::with_message(Reason::Expired, format!("该券已于 {last} 过期"))
}

fn check_pace(v: &VoucherFacts, day: BusinessDay, now: Timestamp, quantity: u32) -> Result<(), Refusal> {
    let refuse = |reason: Reason, message: String| Err(with_next(reason, message, v, day, now, quantity));
    // Without an interval a redemption that another node just stamped "later" must not refuse this one.
    let interval = v.rule.min_interval_minutes;
    if interval > 0 && after_interval(v, now) > now {
        return refuse(Reason::TooSoon, format!("两次使用至少间隔 {interval} 分钟"));
    }
    if let Some(cap) = v.rule.daily_cap {
        let used = used_on_day_of(v, day, now);
        if used + quantity > cap {
            return refuse(Reason::DailyCap, format!("每天最多 {cap} 次，今天已用 {used} 次"));
        }
    }
    Ok(())
}

fn check_quantity(v: &VoucherFacts, quantity: u32) -> Result<(), Refusal> {
    let least = least(v);
    if quantity < least {
        return Err(Refusal::with_message(Reason::MinQuantity, format!("每次至少核销 {least} 次")));
    }
    match v.rule.max_quantity {
        Some(most) if quantity > most => {
            Err(Refusal::with_message(Reason::MaxQuantity, format!("每次最多核销 {most} 次")))
        }
        Some(_) | None => Ok(()),
    }
}

fn used_on_day_of(v: &VoucherFacts, day: BusinessDay, now: Timestamp) -> u32 {
    let today = day.date(now);
    u32::try_from(v.recent.iter().filter(|u| day.date(u.at) == today).count()).unwrap_or(u32::MAX)
}

fn attention(v: &VoucherFacts, store: StoreFacts, now: Timestamp) -> Vec<Attention> {
    let just =
        |u: &RecentUse| u.store_id == store.store_id && apart(now, u.at) < Duration::seconds(JUST_REDEEMED_S);
    if v.recent.iter().any(just) { vec![Attention::JustRedeemed] } else { Vec::new() }
}

/// Refuses when the verifier has not acknowledged what asks for attention.
pub fn check_acknowledged(allowed: &Allowed, acknowledged: &[Attention]) -> Result<(), Refusal> {
    if allowed.attention.iter().all(|a| acknowledged.contains(a)) {
        Ok(())
    } else {
        Err(Refusal::with_message(Reason::AcknowledgeRequired, "该券刚刚在本店核销过，确认要再次核销吗？"))
    }
}

/// A use as read under the lock, for undoing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UseFacts {
    /// Its state.
    pub state: UseState,
    /// When its revenue is earned.
    pub matures_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Whether the one who undoes it is the verifier who redeemed it.
    pub own: bool,
}

/// Judges undoing one use: the verifier for ten minutes, a manager until it matures.
pub fn decide_reversal(
    u: &UseFacts,
    undo_cycles: i64,
    may_reverse_any: bool,
    now: Timestamp,
) -> Result<(), Refusal> {
    match u.state {
        UseState::Reversed => return Err(Reason::AlreadyReversed.into()),
        UseState::Matured | UseState::Settled | UseState::ClawedBack => {
            return Err(Reason::UndoSettled.into());
        }
        UseState::Done => {}
    }
    if now >= u.matures_at {
        return Err(Reason::UndoSettled.into());
    }
    if undo_cycles >= MAX_UNDO_CYCLES {
        return Err(Reason::UndoCyclesExceeded.into());
    }
    if may_reverse_any {
        return Ok(());
    }
    if !u.own {
        return Err(Refusal::with_message(Reason::Forbidden, "只能撤销自己的核销，其他人的请店长处理"));
    }
    if now >= u.recorded_at.plus(Duration::minutes(UNDO_MINUTES)) {
        return Err(Reason::UndoWindowPassed.into());
    }
    Ok(())
}

/// Whether a lock's serials are taken.
pub const fn lock_takes(state: LockState) -> bool {
    match state {
        LockState::Active | LockState::Consumed => true,
        LockState::Released => false,
    }
}

#[cfg(test)]
mod tests;
