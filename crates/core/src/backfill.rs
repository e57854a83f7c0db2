//! Backfill 补录: recording a redemption that happened while nobody could scan. It is judged at the instant at which it
//! happened, and needs a second person when it is worth more than the merchant lets one person record alone.

use chrono::Duration;

use crate::money::Money;
use crate::reason::{Reason, Refusal};
use crate::redeem::{Allowed, StoreFacts, VoucherFacts, decide};
use crate::state::{IllegalTransition, text_enum};
use crate::time::Timestamp;

/// How far back a redemption may be recorded.
pub const MAX_AGE_HOURS: i64 = 72;
/// The period over which one person's backfills without approval add up.
pub const FREE_WINDOW_HOURS: i64 = 24;
/// Backfills of one store that may wait for approval.
pub const MAX_PENDING: i64 = 200;
/// The highest uses and amount (in fen) that can be set as free of approval.
pub const MAX_FREE: (u32, i64) = (100_000, 10_000_000_000);

text_enum! {
    /// What became of a backfill.
    pub enum BackfillState {
        /// Redeemed at once: nobody else was needed.
        Recorded = "Recorded",
        /// Waits for a second person.
        Pending = "Pending",
        /// A second person agreed, and it was redeemed.
        Approved = "Approved",
        /// A second person did not agree.
        Rejected = "Rejected",
        /// Taken back by who asked.
        Withdrawn = "Withdrawn",
    }
}

text_enum! {
    /// What can happen to one.
    pub enum BackfillEvent {
        /// A second person agrees.
        Approve = "approve",
        /// A second person does not.
        Reject = "reject",
        /// Who asked takes it back.
        Withdraw = "withdraw",
    }
}

impl BackfillState {
    /// The state after an event.
    pub fn after(self, event: BackfillEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Pending, BackfillEvent::Approve) => Ok(Self::Approved),
            (Self::Pending, BackfillEvent::Reject) => Ok(Self::Rejected),
            (Self::Pending, BackfillEvent::Withdraw) => Ok(Self::Withdrawn),
            (
                Self::Recorded | Self::Approved | Self::Rejected | Self::Withdrawn,
                BackfillEvent::Approve | BackfillEvent::Reject | BackfillEvent::Withdraw,
            ) => Err(IllegalTransition { state: self.as_str(), event: event.as_str() }),
        }
    }
}

/// What one person may record alone; more needs a second one. A zero means always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillPolicy {
    /// Uses.
    pub free_uses: u32,
    /// Their worth.
    pub free_amount: Money,
}

impl BackfillPolicy {
    /// Whether so much needs a second person.
    pub fn needs_approval(self, uses: i64, amount: Money) -> bool {
        self.free_uses == 0
            || self.free_amount == Money::ZERO
            || uses > i64::from(self.free_uses)
            || amount > self.free_amount
    }
}

/// Refuses an instant that is in the future or too long ago.
pub fn check_occurred(occurred_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if occurred_at > now {
        return Err(Refusal::field("occurred_at", "核销时间不能晚于现在"));
    }
    if now.since(occurred_at) > Duration::hours(MAX_AGE_HOURS) {
        return Err(Refusal::field("occurred_at", format!("只能补录 {MAX_AGE_HOURS} 小时内的核销")));
    }
    Ok(())
}

/// Judges redeeming `quantity` uses as it was at `occurred_at`. Whether the store rests today says nothing of then;
/// nothing could be redeemed before it was issued.
pub fn decide_backfill(
    v: &VoucherFacts,
    store: StoreFacts,
    issued_at: Timestamp,
    occurred_at: Timestamp,
    quantity: u32,
) -> Result<Allowed, Refusal> {
    if occurred_at < issued_at {
        let message = format!("该券 {} 才发放，不能补录更早的核销", issued_at.local_text(store.day.zone));
        return Err(Refusal::with_message(Reason::NotStarted, message));
    }
    decide(v, StoreFacts { resting: false, ..store }, occurred_at, quantity)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::id::{Id as _, StoreId};
    use crate::order::OrderState;
    use crate::redeem::RecentUse;
    use crate::rule::{Binding, RedemptionRule, RefundPolicy, StoreSet, Validity};
    use crate::time::BusinessDay;
    use crate::voucher::{Counters, VoucherState};

    fn at(text: &str) -> Timestamp {
        Timestamp::from_datetime(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    #[test]
    fn every_state_and_event() {
        let mut table = String::new();
        for state in BackfillState::ALL {
            for event in BackfillEvent::ALL {
                let after = state.after(*event).map_or("-", BackfillState::as_str);
                table.push_str(&format!("{state} + {event} = {after}\n"));
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn three_days_back_and_not_ahead() {
        let now = at("2026-11-23T12:00:00+08:00");
        for (when, fine) in [
            ("2026-11-23T12:00:00+08:00", true),
            ("2026-11-23T12:00:01+08:00", false),
            ("2026-11-20T12:00:00+08:00", true),
            ("2026-11-20T11:59:59+08:00", false),
        ] {
            assert_eq!(check_occurred(at(when), now).is_ok(), fine, "{when}");
        }
    }

    #[test]
    fn what_one_person_may_record_alone() {
        let policy = |uses, fen| BackfillPolicy { free_uses: uses, free_amount: Money::fen(fen) };
        for (policy, uses, fen, needs) in [
            (policy(5, 20_000), 5, 20_000, false),
            (policy(5, 20_000), 6, 0, true),
            (policy(5, 20_000), 1, 20_001, true),
            (policy(0, 20_000), 1, 0, true),
            (policy(5, 0), 1, 0, true),
        ] {
            assert_eq!(policy.needs_approval(uses, Money::fen(fen)), needs, "{policy:?} {uses} {fen}");
        }
    }

    /// Expired by now and the store at rest: neither was so when it happened.
    #[test]
    fn rules_are_judged_when_it_happened() {
        let store_id = StoreId::from_uuid(uuid::Uuid::from_u128(1));
        let day = BusinessDay::default();
        let issued = at("2026-11-20T10:00:00+08:00");
        let mut v = VoucherFacts {
            state: VoucherState::Live,
            counters: Counters { total: 3, ..Counters::default() },
            order_state: OrderState::Paid,
            chosen_store: store_id,
            chosen_store_name: "一店".into(),
            valid_from: at("2026-11-01T00:00:00+08:00"),
            valid_to: at("2026-11-22T00:00:00+08:00"),
            rule: RedemptionRule {
                uses: 3,
                validity: Validity::FromPayment { days: 1 },
                usable: vec![],
                blackout_dates: vec!["2026-11-21".parse().unwrap()],
                min_interval_minutes: 0,
                daily_cap: Some(2),
                min_quantity: 1,
                max_quantity: None,
                stores: StoreSet::All,
                binding: Binding::AnyInScope,
                refund: RefundPolicy::AnyTime,
                on_expiry: None,
                booking: crate::rule::BookingRule::None,
                zone: day.zone,
            },
            amount: Money::fen(300),
            taken: BTreeSet::new(),
            recent: vec![],
            bookings: vec![],
        };
        let store = StoreFacts { store_id, in_use: true, resting: true, day };
        let judge = |v: &VoucherFacts, when: &str, n| {
            decide_backfill(v, store, issued, at(when), n).map(|_| ()).map_err(|r| r.reason)
        };
        assert_eq!(judge(&v, "2026-11-20T09:59:59+08:00", 1), Err(Reason::NotStarted));
        assert_eq!(judge(&v, "2026-11-20T10:00:00+08:00", 2), Ok(()));
        assert_eq!(judge(&v, "2026-11-20T10:00:00+08:00", 3), Err(Reason::DailyCap));
        assert_eq!(judge(&v, "2026-11-21T12:00:00+08:00", 1), Err(Reason::BlackoutDate));
        assert_eq!(judge(&v, "2026-11-22T00:00:00+08:00", 1), Err(Reason::Expired));
        // What was redeemed since counts on its own day, and for what is left.
        v.recent = vec![RecentUse { at: at("2026-11-21T20:00:00+08:00"), store_id }; 2];
        (v.counters.used, v.taken) = (2, BTreeSet::from([1, 2]));
        assert_eq!(judge(&v, "2026-11-20T10:00:00+08:00", 1), Ok(()));
        assert_eq!(judge(&v, "2026-11-20T10:00:00+08:00", 2), Err(Reason::NotEnoughUses));
    }
}
