//! Expiry 过期: what becomes of the uses of a voucher whose time is over.
//!
//! Only free uses expire. What a refund or a booking keeps stays with it; when it comes back, it is judged again.

use chrono::Duration;

use crate::money::Money;
use crate::order::OrderState;
use crate::redeem::VoucherFacts;
use crate::refund::uses_worth;
use crate::rule::{RedemptionRule, RefundPolicy, Validity};
use crate::state::text_enum;
use crate::time::Timestamp;
use crate::voucher::{VoucherState, lowest_free};

text_enum! {
    /// What becomes of uses that nobody used in time.
    pub enum ExpiryPolicy {
        /// 过期自动退: their money goes back by itself.
        Refund = "refund",
        /// 过期作废
        Forfeit = "forfeit",
    }
}

/// What becomes of unused uses where nothing else was agreed: what can be had back at any time goes back by itself.
pub const fn default_expiry_policy(refund: RefundPolicy) -> ExpiryPolicy {
    match refund {
        RefundPolicy::AnyTime => ExpiryPolicy::Refund,
        RefundPolicy::BeforeExpiry | RefundPolicy::None => ExpiryPolicy::Forfeit,
    }
}

impl RedemptionRule {
    /// What becomes of uses that nobody used in time.
    pub fn expiry_policy(&self) -> ExpiryPolicy {
        self.on_expiry.unwrap_or(default_expiry_policy(self.refund))
    }

    /// Whether its end moves when it is first used.
    pub const fn end_moves(&self) -> bool {
        match self.validity {
            Validity::FromActivation { .. } => true,
            Validity::FromPayment { .. } | Validity::Fixed { .. } => false,
        }
    }

    /// Whether any of its uses may ever be refunded: through WeChat, so within a year.
    pub fn may_refund(&self) -> bool {
        self.refund != RefundPolicy::None || self.expiry_policy() == ExpiryPolicy::Refund
    }
}

/// Days after which a voucher is looked at again that cannot be settled now.
pub const AGAIN_DAYS: i64 = 1;
/// Refunds of expired uses that are sent for one merchant in a minute. A customer who asks is not kept waiting by them.
pub const REFUNDS_PER_MINUTE: i64 = 300;

/// What becomes of the free uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its time is not over, or what was decided about it comes first.
    Stays,
    /// Its time is over and nothing is free.
    Ends,
    /// Its order is not in a state in which it could be settled: looked at again later.
    Waits,
    /// The money of these uses goes back.
    Refunded(Uses),
    /// These uses are lost.
    Forfeited(Uses),
}

/// Some uses of a voucher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uses {
    /// Which, ascending.
    pub serials: Vec<u32>,
    /// What they are worth.
    pub amount: Money,
}

/// Judges a voucher under its lock. Uses that cost nothing are forfeited: there is nothing to give back. What has expired
/// stays so, also when its end moved back into the future because its first use was undone.
pub fn decide(v: &VoucherFacts, now: Timestamp) -> Fate {
    match v.state {
        VoucherState::Live | VoucherState::Expired => {}
        VoucherState::PendingIssue
        | VoucherState::Frozen
        | VoucherState::Transferring
        | VoucherState::Transferred => return Fate::Stays,
    }
    if v.state == VoucherState::Live && now < v.valid_to {
        return Fate::Stays;
    }
    let free = v.counters.free();
    if free == 0 {
        return Fate::Ends;
    }
    let serials = lowest_free(v.counters.total, &v.taken, free);
    let (OrderState::Paid, Some(serials)) = (v.order_state, serials) else { return Fate::Waits };
    let amount = uses_worth(v.amount, v.counters.total, &serials);
    let uses = Uses { serials, amount };
    match v.rule.expiry_policy() {
        ExpiryPolicy::Refund if amount > Money::ZERO => Fate::Refunded(uses),
        ExpiryPolicy::Refund | ExpiryPolicy::Forfeit => Fate::Forfeited(uses),
    }
}

/// When a voucher that waits is looked at again.
pub fn again_at(now: Timestamp) -> Timestamp {
    now.plus(Duration::days(AGAIN_DAYS))
}

/// When each of `count` refunds is sent, from the first free moment on: evenly, so that many that expire at midnight
/// don't crowd out those that customers ask for.
pub fn slots(first: Timestamp, count: usize) -> impl Iterator<Item = Timestamp> {
    (0..count).map(move |n| first.plus(spacing() * i32::try_from(n).unwrap_or(i32::MAX)))
}

/// Between two refunds of one merchant.
pub fn spacing() -> Duration {
    Duration::milliseconds(60_000 / REFUNDS_PER_MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Id as _, StoreId};
    use crate::rule::{Binding, BookingRule, StoreSet};
    use crate::voucher::Counters;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_datetime(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    fn voucher(refund: RefundPolicy) -> VoucherFacts {
        let rule = RedemptionRule {
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
            refund,
            on_expiry: None,
            booking: BookingRule::None,
            zone: chrono_tz::Asia::Shanghai,
        };
        let (valid_from, valid_to) = rule.validity_from(at("2026-11-23T10:00:00+08:00"));
        VoucherFacts {
            state: VoucherState::Live,
            counters: Counters { total: 3, used: 1, ..Counters::default() },
            order_state: OrderState::Paid,
            chosen_store: StoreId::from_uuid(uuid::Uuid::from_u128(1)),
            chosen_store_name: "人民广场店".to_owned(),
            valid_from,
            valid_to,
            rule,
            amount: Money::fen(100),
            taken: [1].into(),
            recent: vec![],
            bookings: vec![],
        }
    }

    #[test]
    fn what_expires_goes_back_where_it_always_could() {
        let after = |refund, on_expiry| {
            RedemptionRule { refund, on_expiry, ..voucher(RefundPolicy::AnyTime).rule }.expiry_policy()
        };
        assert_eq!(after(RefundPolicy::AnyTime, None), ExpiryPolicy::Refund);
        assert_eq!(after(RefundPolicy::BeforeExpiry, None), ExpiryPolicy::Forfeit);
        assert_eq!(after(RefundPolicy::None, None), ExpiryPolicy::Forfeit);
        assert_eq!(after(RefundPolicy::AnyTime, Some(ExpiryPolicy::Forfeit)), ExpiryPolicy::Forfeit);
        assert_eq!(after(RefundPolicy::None, Some(ExpiryPolicy::Refund)), ExpiryPolicy::Refund);
        // A rule that says nothing of it is the text that it was before there was anything to say.
        assert!(!serde_json::to_string(&voucher(RefundPolicy::AnyTime).rule).unwrap().contains("on_expiry"));
        let never =
            RedemptionRule { on_expiry: Some(ExpiryPolicy::Forfeit), ..voucher(RefundPolicy::AnyTime).rule };
        assert_eq!(never.problems("")[0].path, "on_expiry");
        let long = RedemptionRule {
            refund: RefundPolicy::None,
            on_expiry: Some(ExpiryPolicy::Refund),
            validity: Validity::FromPayment { days: 360 },
            ..voucher(RefundPolicy::AnyTime).rule
        };
        assert_eq!(long.problems("").len(), 1);
    }

    const MIDNIGHT: &str = "2026-12-24T00:00:00+08:00";

    #[test]
    fn the_last_day_belongs_to_the_customer() {
        let v = voucher(RefundPolicy::AnyTime);
        assert_eq!(decide(&v, at("2026-12-23T23:59:59.999999+08:00")), Fate::Stays);
        let uses = Uses { serials: vec![2, 3], amount: Money::fen(67) };
        assert_eq!(decide(&v, at(MIDNIGHT)), Fate::Refunded(uses));
    }

    #[test]
    fn policy_decides() {
        let uses = Uses { serials: vec![2, 3], amount: Money::fen(67) };
        for refund in [RefundPolicy::BeforeExpiry, RefundPolicy::None] {
            assert_eq!(decide(&voucher(refund), at(MIDNIGHT)), Fate::Forfeited(uses.clone()));
        }
        let mut agreed = voucher(RefundPolicy::None);
        agreed.rule.on_expiry = Some(ExpiryPolicy::Refund);
        assert_eq!(decide(&agreed, at(MIDNIGHT)), Fate::Refunded(uses));
        let free = VoucherFacts { amount: Money::ZERO, ..voucher(RefundPolicy::AnyTime) };
        let uses = Uses { serials: vec![2, 3], amount: Money::ZERO };
        assert_eq!(decide(&free, at(MIDNIGHT)), Fate::Forfeited(uses));
    }

    #[test]
    fn only_what_is_free_expires() {
        let mut v = voucher(RefundPolicy::AnyTime);
        v.counters.locked_refund = 1;
        v.taken.insert(3);
        let uses = Uses { serials: vec![2], amount: Money::fen(33) };
        assert_eq!(decide(&v, at(MIDNIGHT)), Fate::Refunded(uses.clone()));
        v.counters.locked_booking = 1;
        v.taken.insert(2);
        assert_eq!(decide(&v, at(MIDNIGHT)), Fate::Ends);
        // What comes free again is judged again, wherever its end is by then.
        v.state = VoucherState::Expired;
        v.valid_to = at("2027-01-24T00:00:00+08:00");
        v.counters.locked_booking = 0;
        v.taken.remove(&2);
        assert_eq!(decide(&v, at(MIDNIGHT)), Fate::Refunded(uses));
    }

    #[test]
    fn what_was_decided_comes_first() {
        for state in VoucherState::ALL {
            let v = VoucherFacts { state: *state, ..voucher(RefundPolicy::AnyTime) };
            let stays = !matches!(state, VoucherState::Live | VoucherState::Expired);
            assert_eq!(decide(&v, at(MIDNIGHT)) == Fate::Stays, stays, "{state}");
        }
        for order_state in OrderState::ALL.iter().copied().filter(|s| *s != OrderState::Paid) {
            let v = VoucherFacts { order_state, ..voucher(RefundPolicy::AnyTime) };
            assert_eq!(decide(&v, at(MIDNIGHT)), Fate::Waits, "{order_state}");
        }
    }

    #[test]
    fn refunds_are_spread() {
        let first = at(MIDNIGHT);
        let all: Vec<Timestamp> = slots(first, 301).collect();
        assert_eq!(all[0], first);
        assert_eq!(all[300], first.plus(Duration::minutes(1)));
    }
}
