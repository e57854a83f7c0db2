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
use crate::rule::{Binding, RedemptionRule};
use crate::state::text_enum;
use crate::time::Timestamp;
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
    check_time(v, now)?;
    check_pace(v, now, quantity)?;
    if quantity < v.rule.min_quantity {
        return Err(Refusal::with_message(
            Reason::MinQuantity,
            format!("每次至少核销 {} 次", v.rule.min_quantity),
        ));
    }
    let serials = lowest_free(v.counters.total, &v.taken, quantity).ok_or_else(|| not_enough(v))?;
    let amount = uses_worth(v.amount, v.counters.total, &serials);
    Ok(Allowed { serials, amount, attention: attention(v, store, now) })
}

/// How many uses could be redeemed in one go, ignoring place and time.
pub fn redeemable(v: &VoucherFacts, now: Timestamp) -> u32 {
    let free = v.counters.free();
    match v.rule.daily_cap {
        Some(cap) => free.min(cap.saturating_sub(used_on_day_of(v, now))),
        None => free,
    }
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
        return Err(Reason::StoreClosed.into());
    }
    let bound_elsewhere = v.rule.binding == Binding::ChosenStore && store.store_id != v.chosen_store;
    if bound_elsewhere || !v.rule.stores.contains(store.store_id) {
        let message = format!("该券不能在本店使用，可到「{}」使用", v.chosen_store_name);
        return Err(Refusal::with_message(Reason::WrongStore, message));
    }
    Ok(())
}

fn check_time(v: &VoucherFacts, now: Timestamp) -> Result<(), Refusal> {
    let zone = v.rule.zone;
    if now < v.valid_from {
        let message = format!("{} 起可用", v.valid_from.local_text(zone));
        return Err(Refusal::with_message(Reason::NotStarted, message));
    }
    if now >= v.valid_to {
        return Err(expired(v));
    }
    if v.rule.blacked_out(now) {
        return Err(Refusal::with_message(
            Reason::BlackoutDate,
            format!("今天不可用，可用时间：{}", v.rule.usable_text()),
        ));
    }
    if !v.rule.usable_at(now) {
        return Err(Refusal::with_message(
            Reason::OutsideHours,
            format!("可用时间：{}", v.rule.usable_text()),
        ));
    }
    Ok(())
}

fn expired(v: &VoucherFacts) -> Refusal {
    let last = v.valid_to.minus(Duration::seconds(1)).local_text(v.rule.zone);
    Refusal::with_message(Reason::Expired, format!("该券已于 {last} 过期"))
}

fn check_pace(v: &VoucherFacts, now: Timestamp, quantity: u32) -> Result<(), Refusal> {
    let interval = Duration::minutes(i64::from(v.rule.min_interval_minutes));
    // Without an interval a redemption that another node just stamped "later" must not refuse this one.
    if v.rule.min_interval_minutes > 0
        && let Some(last) = v.recent.iter().map(|u| u.at).max()
        && now < last.plus(interval)
    {
        let message = format!("{} 后可再次使用", last.plus(interval).local_text(v.rule.zone));
        return Err(Refusal::with_message(Reason::TooSoon, message));
    }
    if let Some(cap) = v.rule.daily_cap {
        let used = used_on_day_of(v, now);
        if used + quantity > cap {
            return Err(Refusal::with_message(
                Reason::DailyCap,
                format!("每天最多 {cap} 次，今天已用 {used} 次"),
            ));
        }
    }
    Ok(())
}

fn used_on_day_of(v: &VoucherFacts, now: Timestamp) -> u32 {
    let day = |at: Timestamp| at.datetime().with_timezone(&v.rule.zone).date_naive();
    u32::try_from(v.recent.iter().filter(|u| day(u.at) == day(now)).count()).unwrap_or(u32::MAX)
}

fn attention(v: &VoucherFacts, store: StoreFacts, now: Timestamp) -> Vec<Attention> {
    let just =
        |u: &RecentUse| u.store_id == store.store_id && now.since(u.at) < Duration::seconds(JUST_REDEEMED_S);
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
                stores: StoreSet::All,
                binding: Binding::AnyInScope,
                refund: RefundPolicy::AnyTime,
                zone: chrono_tz::Tz::Asia__Shanghai,
            },
            amount: Money::fen(100),
            taken: BTreeSet::new(),
            recent: vec![],
        }
    }

    fn judge(v: &VoucherFacts, n: u128, now: &str, quantity: u32) -> Result<Allowed, Reason> {
        decide(v, StoreFacts { store_id: store(n), in_use: true }, at(now), quantity).map_err(|r| r.reason)
    }

    const NOON: &str = "2026-11-23T12:00:00+08:00";

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
        let closed = decide(&facts(), StoreFacts { store_id: store(1), in_use: false }, at(NOON), 1);
        assert_eq!(closed.unwrap_err().reason, Reason::StoreClosed);
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
        let refusal =
            decide(&v, StoreFacts { store_id: store(1), in_use: true }, at("2026-11-23T14:00:00+08:00"), 1)
                .unwrap_err();
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
        assert_eq!(redeemable(&v, at(NOON)), 1);
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
