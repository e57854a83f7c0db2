//! Redemption 核销: whether some uses of a voucher can be redeemed here and now, and which; whether they can be undone.
//!
//! [`decide`] is the only judge. `prepare` calls it to explain, `confirm` calls it again under the lock: no SQL
//! decides a rule. A refusal says where and when the voucher *can* be used.

use std::collections::BTreeSet;

use chrono::Duration;
use serde::{Deserialize, Serialize};

use crate::id::StoreId;
use crate::money::Money;
use crate::order::OrderState;
use crate::reason::{Reason, Refusal};
use crate::refund::uses_worth;
use crate::rule::{Binding, Moment, RedemptionRule};
use crate::state::text_enum;
use crate::time::{BusinessDay, Timestamp};
use crate::voucher::{Counters, LockState, UseState, VoucherState, lowest_free};

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
    check_time(v, store.day, now, quantity)?;
    check_pace(v, store.day, now, quantity)?;
    check_quantity(v, quantity)?;
    let serials = lowest_free(v.counters.total, &v.taken, quantity).ok_or_else(|| not_enough(v))?;
    let amount = uses_worth(v.amount, v.counters.total, &serials);
    Ok(Allowed { serials, amount, attention: attention(v, store, now) })
}

/// How many uses could be redeemed in one go, ignoring place and time.
pub fn redeemable(v: &VoucherFacts, day: BusinessDay, now: Timestamp) -> u32 {
    let mut most = v.counters.free();
    if let Some(cap) = v.rule.daily_cap {
        most = most.min(cap.saturating_sub(used_on_day_of(v, day, now)));
    }
    v.rule.max_quantity.map_or(most, |max| most.min(max))
}

/// The least number of uses in one redemption: the rule's, or all that is left when that is less.
pub fn least(v: &VoucherFacts) -> u32 {
    v.rule.min_quantity.min(v.counters.free()).max(1)
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

fn check_state(v: &VoucherFacts) -> Result<(), Refusal> {
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
        VoucherState::Expired => Err(expired(v)),
        VoucherState::Live => Ok(()),
    }
}

fn check_left(v: &VoucherFacts, quantity: u32) -> Result<(), Refusal> {
    let c = v.counters;
    let free = c.free();
    if quantity > 0 && quantity <= free {
        return Ok(());
    }
    if free > 0 {
        return Err(not_enough(v));
    }
    Err(if c.locked_refund > 0 {
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
    .into())
}

fn not_enough(v: &VoucherFacts) -> Refusal {
    Refusal::with_message(Reason::NotEnoughUses, format!("剩余 {} 次，不够本次核销", v.counters.free()))
}

fn check_place(v: &VoucherFacts, store: StoreFacts) -> Result<(), Refusal> {
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

fn check_time(v: &VoucherFacts, day: BusinessDay, now: Timestamp, quantity: u32) -> Result<(), Refusal> {
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
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::rule::{RefundPolicy, StoreSet, UsableWindow, Validity};

    fn store(n: u128) -> StoreId {
        StoreId::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_datetime(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    fn facts() -> VoucherFacts {
        VoucherFacts {
            state: VoucherState::Live,
            counters: Counters { total: 3, ..Counters::default() },
            order_state: OrderState::Paid,
            chosen_store: store(1),
            chosen_store_name: "人民广场店".into(),
            valid_from: at("2026-11-01T00:00:00+08:00"),
            valid_to: at("2026-12-01T00:00:00+08:00"),
            rule: RedemptionRule {
                uses: 3,
                validity: Validity::FromPayment { days: 30 },
                usable: vec![],
                blackout_dates: vec![],
                min_interval_minutes: 0,
                daily_cap: None,
                min_quantity: 1,
                max_quantity: None,
                stores: StoreSet::All,
                binding: Binding::AnyInScope,
                refund: RefundPolicy::AnyTime,
                on_expiry: None,
                zone: chrono_tz::Tz::Asia__Shanghai,
            },
            amount: Money::fen(100),
            taken: BTreeSet::new(),
            recent: vec![],
        }
    }

    const DAY: BusinessDay = BusinessDay { zone: chrono_tz::Tz::Asia__Shanghai, cutoff_hour: 0 };

    fn place(n: u128) -> StoreFacts {
        StoreFacts { store_id: store(n), in_use: true, resting: false, day: DAY }
    }

    fn judge(v: &VoucherFacts, n: u128, now: &str, quantity: u32) -> Result<Allowed, Reason> {
        decide(v, place(n), at(now), quantity).map_err(|r| r.reason)
    }

    const NOON: &str = "2026-11-23T12:00:00+08:00";

    #[test]
    fn open_where_something_could_be_redeemed() {
        let open = |change: fn(&mut VoucherFacts), n, now| {
            let mut v = facts();
            change(&mut v);
            open_at(&v, store(n), at(now))
        };
        assert!(open(|_| (), 1, NOON) && open(|v| v.counters.locked_refund = 3, 1, NOON));
        assert!(open(|_| (), 1, "2026-10-01T00:00:00+08:00"), "not yet, but later");
        assert!(!open(|v| v.counters.used = 3, 1, NOON));
        assert!(!open(|v| v.state = VoucherState::Frozen, 1, NOON));
        assert!(!open(|v| v.rule.binding = Binding::ChosenStore, 2, NOON));
        assert!(!open(|_| (), 1, "2026-12-01T00:00:00+08:00"));
    }

    #[test]
    fn what_a_refund_kept_can_be_redeemed_when_it_is_taken_back() {
        let mut v = facts();
        v.counters.locked_refund = 2;
        v.taken = BTreeSet::from([2, 3]);
        assert_eq!(judge(&v, 1, NOON, 2).unwrap_err(), Reason::NotEnoughUses);
        crate::consent::release_refunded(&mut v, &[2, 3]);
        assert_eq!(judge(&v, 1, NOON, 3).unwrap().serials, [1, 2, 3]);
    }

    #[test]
    fn takes_the_lowest_serials_and_their_exact_worth() {
        let mut v = facts();
        v.counters.used = 1;
        v.taken = BTreeSet::from([1]);
        let allowed = judge(&v, 1, NOON, 2).unwrap();
        assert_eq!(allowed.serials, [2, 3]);
        assert_eq!(allowed.amount, Money::fen(67));
    }

    #[test]
    fn refusals_in_the_order_people_want_to_hear() {
        let with = |change: fn(&mut VoucherFacts)| {
            let mut v = facts();
            change(&mut v);
            v
        };
        let cases: Vec<(VoucherFacts, u128, &str, u32, Reason)> = vec![
            (with(|v| v.order_state = OrderState::PendingPayment), 1, NOON, 1, Reason::Unpaid),
            (with(|v| v.order_state = OrderState::Grouping), 1, NOON, 1, Reason::GroupPending),
            (with(|v| v.state = VoucherState::Frozen), 1, NOON, 1, Reason::Frozen),
            (with(|v| v.state = VoucherState::Transferring), 1, NOON, 1, Reason::Transferring),
            (with(|v| v.state = VoucherState::Transferred), 1, NOON, 1, Reason::Transferred),
            (with(|v| v.state = VoucherState::Expired), 1, NOON, 1, Reason::Expired),
            (with(|v| v.counters.used = 3), 2, NOON, 1, Reason::UsedUp),
            (with(|v| v.counters.refunded = 3), 1, NOON, 1, Reason::Refunded),
            (with(|v| v.counters.locked_refund = 3), 1, NOON, 1, Reason::RefundPending),
            (with(|v| v.counters.locked_booking = 3), 1, NOON, 1, Reason::Locked),
            (with(|v| v.counters.locked_refund = 2), 1, NOON, 2, Reason::NotEnoughUses),
            (facts(), 1, NOON, 4, Reason::NotEnoughUses),
            (facts(), 1, NOON, 0, Reason::NotEnoughUses),
            (with(|v| v.rule.stores = StoreSet::Only(vec![store(1)])), 2, NOON, 1, Reason::WrongStore),
            (with(|v| v.rule.binding = Binding::ChosenStore), 2, NOON, 1, Reason::WrongStore),
            (facts(), 1, "2026-10-31T23:59:59+08:00", 1, Reason::NotStarted),
            (facts(), 1, "2026-12-01T00:00:00+08:00", 1, Reason::Expired),
            (
                with(|v| v.rule.blackout_dates = vec!["2026-11-23".parse().unwrap()]),
                1,
                NOON,
                1,
                Reason::BlackoutDate,
            ),
            (with(|v| v.rule.min_quantity = 2), 1, NOON, 1, Reason::MinQuantity),
        ];
        for (v, n, now, quantity, reason) in cases {
            assert_eq!(judge(&v, n, now, quantity).unwrap_err(), reason);
        }
        for closed in [StoreFacts { in_use: false, ..place(1) }, StoreFacts { resting: true, ..place(1) }] {
            let refusal = decide(&facts(), closed, at(NOON), 1).unwrap_err();
            assert_eq!(refusal.reason, Reason::StoreClosed);
        }
    }

    #[test]
    fn hours_interval_and_daily_cap() {
        let mut v = facts();
        v.rule.usable = vec![UsableWindow {
            weekdays: vec![1, 2, 3, 4, 5],
            from: chrono::NaiveTime::from_hms_opt(11, 0, 0).unwrap(),
            to: chrono::NaiveTime::from_hms_opt(14, 0, 0).unwrap(),
        }];
        assert!(judge(&v, 1, NOON, 1).is_ok());
        let refusal = decide(&v, place(1), at("2026-11-23T14:00:00+08:00"), 1).unwrap_err();
        assert_eq!(refusal.reason, Reason::OutsideHours);
        assert!(refusal.message.contains("周一至周五 11:00–14:00"), "{}", refusal.message);

        let mut v = facts();
        v.recent = vec![RecentUse { at: at("2026-11-23T11:30:00+08:00"), store_id: store(2) }];
        v.rule.min_interval_minutes = 60;
        assert_eq!(judge(&v, 1, NOON, 1).unwrap_err(), Reason::TooSoon);
        v.rule.min_interval_minutes = 30;
        assert!(judge(&v, 1, NOON, 1).is_ok());
        v.rule.daily_cap = Some(2);
        assert_eq!(judge(&v, 1, NOON, 2).unwrap_err(), Reason::DailyCap);
        assert!(judge(&v, 1, "2026-11-24T00:00:00+08:00", 2).is_ok());
        assert_eq!(redeemable(&v, DAY, at(NOON)), 1);
    }

    #[test]
    fn so_many_at_once() {
        let mut v = facts();
        v.counters.total = 7;
        (v.rule.min_quantity, v.rule.max_quantity) = (2, Some(3));
        for (quantity, expected) in [
            (1, Err(Reason::MinQuantity)),
            (2, Ok(())),
            (3, Ok(())),
            (4, Err(Reason::MaxQuantity)),
            (8, Err(Reason::NotEnoughUses)),
        ] {
            assert_eq!(judge(&v, 1, NOON, quantity).map(|_| ()), expected, "{quantity}");
        }
        assert_eq!(redeemable(&v, DAY, at(NOON)), 3);
        // What is left over can be used up, however little it is.
        (v.counters.used, v.taken) = (6, (1..=6).collect());
        assert_eq!((least(&v), redeemable(&v, DAY, at(NOON))), (1, 1));
        assert!(judge(&v, 1, NOON, 1).is_ok());
    }

    #[test]
    fn when_it_can_be_used_next() {
        let lunch = |weekdays: &[u8]| UsableWindow {
            weekdays: weekdays.to_vec(),
            from: chrono::NaiveTime::from_hms_opt(11, 0, 0).unwrap(),
            to: chrono::NaiveTime::from_hms_opt(14, 0, 0).unwrap(),
        };
        let with = |change: &dyn Fn(&mut VoucherFacts)| {
            let mut v = facts();
            change(&mut v);
            v
        };
        let used = |text: &str| RecentUse { at: at(text), store_id: store(9) };
        let tokyo = BusinessDay { zone: chrono_tz::Tz::Asia__Tokyo, cutoff_hour: 0 };
        let weekdays = with(&|v| v.rule.usable = vec![lunch(&[1, 2, 3, 4, 5])]);
        let capped = with(&|v| {
            v.rule.daily_cap = Some(1);
            v.recent = vec![used("2026-11-23T09:00:00+08:00")];
        });
        let paced = with(&|v| {
            v.rule.min_interval_minutes = 90;
            v.recent = vec![used("2026-11-23T11:30:00+08:00"), used("2026-11-23T13:20:00+08:00")];
        });
        let cases: Vec<(&VoucherFacts, BusinessDay, &str, Option<&str>)> = vec![
            (&weekdays, DAY, "2026-11-23T10:59:59+08:00", Some("2026-11-23T11:00:00+08:00")),
            (&weekdays, DAY, "2026-11-23T13:59:59+08:00", Some("2026-11-23T13:59:59+08:00")),
            (&weekdays, DAY, "2026-11-23T14:00:00+08:00", Some("2026-11-24T11:00:00+08:00")),
            (&weekdays, DAY, "2026-11-27T14:00:00+08:00", Some("2026-11-30T11:00:00+08:00")),
            // Its last lunch is over, though it is valid until midnight.
            (&weekdays, DAY, "2026-11-30T14:00:00+08:00", None),
            (&weekdays, DAY, "2026-10-01T00:00:00+08:00", Some("2026-11-02T11:00:00+08:00")),
            (&weekdays, tokyo, "2026-11-23T13:00:00+08:00", Some("2026-11-24T10:00:00+08:00")),
            (&capped, DAY, NOON, Some("2026-11-24T00:00:00+08:00")),
            // 09:00 in Shanghai is the same day in Tokyo, whose next one begins an hour earlier.
            (&capped, tokyo, NOON, Some("2026-11-23T23:00:00+08:00")),
            // After the first use and before the second there is not enough room for both intervals.
            (&paced, DAY, NOON, Some("2026-11-23T14:50:00+08:00")),
            (&paced, DAY, "2026-11-23T10:00:00+08:00", Some("2026-11-23T10:00:00+08:00")),
        ];
        for (v, day, now, expected) in cases {
            assert_eq!(next_usable_at(v, day, at(now), 1), expected.map(at), "{now} {day:?}");
        }
        let refusal = decide(&weekdays, place(1), at("2026-11-27T14:00:00+08:00"), 1).unwrap_err();
        assert_eq!(refusal.next_usable_at, Some(at("2026-11-30T11:00:00+08:00")));
        assert!(refusal.message.ends_with("；最早 2026-11-30 11:00 可用"), "{}", refusal.message);
        let refusal = decide(&weekdays, place(1), at("2026-11-30T14:00:00+08:00"), 1).unwrap_err();
        assert!(refusal.message.contains("没有可用时间"), "{}", refusal.message);
        let refusal = decide(&paced, place(1), at(NOON), 1).unwrap_err();
        assert_eq!(
            (refusal.reason, refusal.next_usable_at),
            (Reason::TooSoon, Some(at("2026-11-23T14:50:00+08:00")))
        );
    }

    #[test]
    fn a_use_that_is_recorded_late_is_judged_among_its_neighbours() {
        let mut v = facts();
        v.rule.min_interval_minutes = 60;
        v.recent = vec![RecentUse { at: at("2026-11-23T15:00:00+08:00"), store_id: store(1) }];
        for (when, expected) in [
            ("2026-11-23T14:00:00+08:00", Ok(())),
            ("2026-11-23T14:00:01+08:00", Err(Reason::TooSoon)),
            ("2026-11-23T15:59:59+08:00", Err(Reason::TooSoon)),
            ("2026-11-23T16:00:00+08:00", Ok(())),
        ] {
            assert_eq!(judge(&v, 1, when, 1).map(|_| ()), expected, "{when}");
        }
        v.rule.min_interval_minutes = 0;
        let earlier = |when| judge(&v, 1, when, 1).unwrap().attention;
        assert!(earlier("2026-11-23T14:57:59+08:00").is_empty());
        assert_eq!(earlier("2026-11-23T14:58:01+08:00"), [Attention::JustRedeemed]);
    }

    #[test]
    fn a_second_scan_at_once_must_be_acknowledged() {
        let mut v = facts();
        v.recent = vec![RecentUse { at: at("2026-11-23T11:59:00+08:00"), store_id: store(1) }];
        let here = judge(&v, 1, NOON, 1).unwrap();
        assert_eq!(here.attention, [Attention::JustRedeemed]);
        assert_eq!(check_acknowledged(&here, &[]).unwrap_err().reason, Reason::AcknowledgeRequired);
        assert!(check_acknowledged(&here, &[Attention::JustRedeemed]).is_ok());
        assert!(judge(&v, 2, NOON, 1).unwrap().attention.is_empty());
        assert!(judge(&v, 1, "2026-11-23T12:01:00+08:00", 1).unwrap().attention.is_empty());
    }

    #[test]
    fn undo_by_role_and_window() {
        let done = UseFacts {
            state: UseState::Done,
            matures_at: at("2026-11-25T00:00:00+08:00"),
            recorded_at: at(NOON),
            own: true,
        };
        let judge = |u: UseFacts, cycles, any, now: &str| {
            decide_reversal(&u, cycles, any, at(now)).map_err(|r| r.reason)
        };
        assert_eq!(judge(done, 0, false, "2026-11-23T12:09:59+08:00"), Ok(()));
        assert_eq!(judge(done, 0, false, "2026-11-23T12:10:00+08:00"), Err(Reason::UndoWindowPassed));
        assert_eq!(judge(done, 0, true, "2026-11-24T23:59:59+08:00"), Ok(()));
        assert_eq!(judge(done, 0, true, "2026-11-25T00:00:00+08:00"), Err(Reason::UndoSettled));
        assert_eq!(judge(UseFacts { own: false, ..done }, 0, false, NOON), Err(Reason::Forbidden));
        assert_eq!(judge(done, 10, true, NOON), Err(Reason::UndoCyclesExceeded));
        assert_eq!(
            judge(UseFacts { state: UseState::Reversed, ..done }, 0, true, NOON),
            Err(Reason::AlreadyReversed)
        );
        assert_eq!(
            judge(UseFacts { state: UseState::Settled, ..done }, 0, true, NOON),
            Err(Reason::UndoSettled)
        );
    }
}
