//! Bookings decided case by case, and the table of their states.

use std::collections::BTreeSet;

use super::*;
use crate::id::Id;
use crate::order::OrderState;
use crate::redeem::{Allowed, decide, redeemable};
use crate::rule::{Binding, RedemptionRule, RefundPolicy, StoreSet, Validity};
use crate::time::BusinessDay;
use crate::voucher::{Counters, VoucherState};

#[test]
fn table_of_transitions() {
    let mut table = String::new();
    let mut reached = vec![BookingState::Held];
    for event in BookingEvent::ALL {
        for state in BookingState::ALL {
            let after = state.after(*event);
            table.push_str(&format!(
                "{:<20} {:<12} {}\n",
                event.as_str(),
                state.as_str(),
                after.map_or("-", BookingState::as_str)
            ));
            reached.extend(after);
        }
    }
    assert!(BookingState::ALL.iter().all(|s| reached.contains(s)));
    insta::assert_snapshot!(table);
}

#[test]
fn what_ends_by_itself_can_end_and_holds_something() {
    for state in BookingState::ALL {
        let terms = BookingTerms::default();
        let due = due_at(*state, at(TWO), at(THREE), &terms, at(NOON));
        assert_eq!(due.is_some(), state.holds_uses(), "{state}");
        for redeemed in [0, 1] {
            let event = when_due(*state, redeemed);
            assert_eq!(event.is_some(), due.is_some(), "{state}");
            if let Some(event) = event {
                assert!(!state.after(event).unwrap().holds_uses(), "{state}");
            }
        }
    }
}

fn store(n: u128) -> StoreId {
    StoreId::from_uuid(uuid::Uuid::from_u128(n))
}

fn here(n: u128) -> StoreFacts {
    let day = BusinessDay { zone: Tz::Asia__Shanghai, cutoff_hour: 0 };
    StoreFacts { store_id: store(n), in_use: true, resting: false, day }
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_datetime(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc())
}

const NOON: &str = "2026-11-23T12:00:00+08:00";
const TWO: &str = "2026-11-23T14:00:00+08:00";
const THREE: &str = "2026-11-23T15:00:00+08:00";

fn slot() -> Slot {
    Slot { start: at(TWO), end: at(THREE), capacity: 5 }
}

/// Five uses, bookings required.
fn facts() -> VoucherFacts {
    VoucherFacts {
        state: VoucherState::Live,
        counters: Counters { total: 5, ..Counters::default() },
        order_state: OrderState::Paid,
        chosen_store: store(1),
        chosen_store_name: "人民广场店".into(),
        valid_from: at("2026-11-01T00:00:00+08:00"),
        valid_to: at("2026-12-01T00:00:00+08:00"),
        rule: RedemptionRule {
            uses: 5,
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
            zone: chrono_tz::Tz::Asia__Shanghai,
            booking: BookingRule::Required,
            on_expiry: None,
        },
        amount: Money::fen(101),
        taken: BTreeSet::new(),
        recent: vec![],
        bookings: vec![],
    }
}

fn booking(n: u128, state: BookingState, serials: &[u32]) -> BookingFacts {
    BookingFacts {
        id: BookingId::from_uuid(uuid::Uuid::from_u128(n)),
        state,
        store_id: store(1),
        store_name: "人民广场店".into(),
        zone: Tz::Asia__Shanghai,
        slot_start: at(TWO),
        slot_end: at(THREE),
        quantity: 2,
        serials: serials.to_vec(),
        reschedules: 0,
        terms: BookingTerms::default(),
    }
}

/// With two of the uses booked for two o'clock.
fn booked(state: BookingState) -> VoucherFacts {
    let mut v = facts();
    if state.holds_uses() {
        v.counters.locked_booking = 2;
        v.taken = BTreeSet::from([1, 2]);
        v.bookings = vec![booking(1, state, &[1, 2])];
    } else {
        v.bookings = vec![booking(1, state, &[])];
    }
    v
}

fn redeem(v: &VoucherFacts, n: u128, now: &str, quantity: u32) -> Result<Allowed, Refusal> {
    decide(v, here(n), at(now), quantity)
}

fn reason<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Reason {
    result.unwrap_err().reason
}

#[test]
fn a_booking_locks_the_lowest_free_uses() {
    let mut v = facts();
    v.counters.used = 1;
    v.taken = BTreeSet::from([1]);
    let terms = BookingTerms::default();
    let locked = decide_booking(&v, here(1), &slot(), &terms, 2, at(NOON)).unwrap();
    assert_eq!((locked.serials, locked.amount), (vec![2, 3], Money::fen(40)));
}

#[test]
fn bookings_that_are_refused() {
    let with = |change: fn(&mut VoucherFacts)| {
        let mut v = facts();
        change(&mut v);
        v
    };
    let judge = |v: &VoucherFacts, quantity, now: &str| {
        reason(decide_booking(v, here(1), &slot(), &BookingTerms::default(), quantity, at(now)))
    };
    let cases: Vec<(VoucherFacts, u32, &str, Reason)> = vec![
        (with(|v| v.order_state = OrderState::Refunding), 1, NOON, Reason::RefundPending),
        (with(|v| v.state = VoucherState::Frozen), 1, NOON, Reason::Frozen),
        (with(|v| v.rule.booking = BookingRule::None), 1, NOON, Reason::NotBookable),
        (with(|v| v.counters.used = 5), 1, NOON, Reason::UsedUp),
        (with(|v| v.counters.locked_booking = 5), 1, NOON, Reason::Locked),
        (with(|v| v.counters.locked_refund = 5), 1, NOON, Reason::RefundPending),
        (facts(), 0, NOON, Reason::NotEnoughUses),
        (facts(), 6, NOON, Reason::NotEnoughUses),
        (with(|v| v.rule.min_quantity = 2), 1, NOON, Reason::MinQuantity),
        (with(|v| v.rule.max_quantity = Some(1)), 2, NOON, Reason::MaxQuantity),
        (with(|v| v.rule.daily_cap = Some(1)), 2, NOON, Reason::DailyCap),
        (with(|v| v.rule.stores = StoreSet::Only(vec![store(2)])), 1, NOON, Reason::WrongStore),
        (facts(), 1, TWO, Reason::SlotUnavailable),
        (facts(), 1, "2026-10-01T12:00:00+08:00", Reason::SlotUnavailable),
        (with(|v| v.valid_to = at(TWO)), 1, NOON, Reason::SlotUnavailable),
        (with(|v| v.valid_from = at(THREE)), 1, NOON, Reason::NotStarted),
        (
            with(|v| v.rule.blackout_dates = vec!["2026-11-23".parse().unwrap()]),
            1,
            NOON,
            Reason::BlackoutDate,
        ),
    ];
    for (v, quantity, now, expected) in cases {
        assert_eq!(judge(&v, quantity, now), expected);
    }
    let early = BookingTerms { lead_minutes: 121, ..BookingTerms::default() };
    assert_eq!(
        reason(decide_booking(&facts(), here(1), &slot(), &early, 1, at(NOON))),
        Reason::SlotUnavailable
    );
}

#[test]
fn a_booked_use_is_redeemed_there_and_then() {
    let v = booked(BookingState::Booked);
    let now = "2026-11-23T13:30:00+08:00";
    let allowed = redeem(&v, 1, now, 2).unwrap();
    assert_eq!(allowed.serials, [1, 2]);
    assert_eq!((allowed.booked[0].serials.as_slice(), allowed.booked[0].rest.len()), ([1, 2].as_slice(), 0));
    assert_eq!(redeemable(&v, here(1), at(now)), 2);
    let one = redeem(&v, 1, now, 1).unwrap();
    assert_eq!(
        (one.booked[0].serials.as_slice(), one.booked[0].rest.as_slice()),
        ([1].as_slice(), [2].as_slice())
    );
    assert_eq!(reason(redeem(&v, 1, now, 3)), Reason::NotEnoughUses);
    assert_eq!(redeemable(&v, here(2), at(now)), 0);
}

#[test]
fn without_the_booking_for_here_and_now_it_is_refused_and_says_why() {
    assert_eq!(reason(redeem(&facts(), 1, NOON, 1)), Reason::BookingRequired);
    let v = booked(BookingState::Booked);
    let early = redeem(&v, 1, "2026-11-23T13:29:59+08:00", 1).unwrap_err();
    assert_eq!(early.reason, Reason::BookingMismatch);
    assert_eq!(early.message, "预约的是「人民广场店」2026-11-23 14:00–15:00，2026-11-23 13:30 起可核销");
    let late = redeem(&v, 1, "2026-11-23T15:30:00+08:00", 1).unwrap_err();
    assert_eq!((late.reason, late.message.contains("15:30 已过")), (Reason::BookingMismatch, true));
    let elsewhere = redeem(&v, 2, TWO, 1).unwrap_err();
    assert_eq!(elsewhere.reason, Reason::BookingMismatch);
    assert_eq!(elsewhere.message, "预约的是「人民广场店」2026-11-23 14:00–15:00");
    assert_eq!(reason(redeem(&booked(BookingState::Held), 1, TWO, 1)), Reason::BookingRequired);
}

#[test]
fn who_has_arrived_may_stay_longer_and_who_is_late_is_still_served() {
    let next_day = "2026-11-24T14:59:59+08:00";
    assert!(redeem(&booked(BookingState::Arrived), 1, next_day, 2).is_ok());
    assert_eq!(
        reason(redeem(&booked(BookingState::Arrived), 1, "2026-11-24T15:00:00+08:00", 2)),
        Reason::BookingMismatch
    );
    let missed = booked(BookingState::NoShow);
    let allowed = redeem(&missed, 1, "2026-11-23T15:29:59+08:00", 2).unwrap();
    assert_eq!((allowed.serials, allowed.booked[0].state), (vec![1, 2], BookingState::NoShow));
    assert_eq!(reason(redeem(&missed, 1, "2026-11-23T15:29:59+08:00", 3)), Reason::NotEnoughUses);
    assert_eq!(reason(redeem(&missed, 1, "2026-11-23T15:30:00+08:00", 1)), Reason::BookingRequired);
    let mut gone = missed;
    gone.counters.locked_refund = 4;
    gone.taken = BTreeSet::from([2, 3, 4, 5]);
    assert_eq!(redeem(&gone, 1, TWO, 1).unwrap().serials, [1]);
    assert_eq!(reason(redeem(&gone, 1, TWO, 2)), Reason::NotEnoughUses);
}

#[test]
fn bookings_are_used_up_in_the_order_of_their_times() {
    let mut v = booked(BookingState::Booked);
    v.counters.locked_booking = 3;
    v.taken.insert(4);
    let later = BookingFacts {
        slot_start: at("2026-11-23T14:20:00+08:00"),
        ..booking(2, BookingState::Booked, &[4])
    };
    v.bookings.push(later);
    let allowed = redeem(&v, 1, TWO, 3).unwrap();
    assert_eq!(allowed.serials, [1, 2, 4]);
    assert_eq!(allowed.booked.len(), 2);
    assert_eq!(redeemable(&v, here(1), at(TWO)), 3);
}

#[test]
fn days_and_hours_are_those_of_the_slot() {
    let mut v = booked(BookingState::Booked);
    v.valid_to = at("2026-11-23T14:30:00+08:00");
    assert!(redeem(&v, 1, "2026-11-23T14:45:00+08:00", 1).is_ok());
    v.state = VoucherState::Expired;
    assert!(redeem(&v, 1, "2026-11-23T14:45:00+08:00", 1).is_ok());
    v.bookings.clear();
    assert_eq!(reason(redeem(&v, 1, "2026-11-23T14:45:00+08:00", 1)), Reason::Expired);
}

#[test]
fn customers_change_their_minds_in_time() {
    let v = booked(BookingState::Booked);
    let b = &v.bookings[0];
    let late = "2026-11-23T12:00:01+08:00";
    assert!(decide_cancel(b, at(NOON)).is_ok());
    assert_eq!(reason(decide_cancel(b, at(late))), Reason::BookingTooLate);
    assert!(decide_cancel(&booking(1, BookingState::Held, &[1]), at(late)).is_ok());
    for state in [BookingState::Arrived, BookingState::Completed, BookingState::NoShow] {
        assert_eq!(reason(decide_cancel(&booking(1, state, &[]), at(NOON))), Reason::IllegalState);
    }
    let to = Slot { start: at(THREE), end: at("2026-11-23T16:00:00+08:00"), capacity: 5 };
    let move_to = |b: &BookingFacts, slot: &Slot, now: &str| {
        decide_reschedule(&v, b, here(1), slot, &BookingTerms::default(), at(now))
    };
    assert!(move_to(b, &to, NOON).is_ok());
    assert_eq!(reason(move_to(b, &slot(), NOON)), Reason::InvalidField);
    assert_eq!(reason(move_to(b, &to, late)), Reason::BookingTooLate);
    let often = BookingFacts { reschedules: 2, ..b.clone() };
    assert_eq!(reason(move_to(&often, &to, NOON)), Reason::RescheduleLimit);
    assert_eq!(reason(move_to(&booking(1, BookingState::Held, &[1]), &to, NOON)), Reason::IllegalState);
}

#[test]
fn arrivals_are_not_noted_too_early() {
    let v = booked(BookingState::Booked);
    let b = &v.bookings[0];
    assert_eq!(reason(decide_arrival(b, at(NOON))), Reason::BookingMismatch);
    assert!(decide_arrival(b, at("2026-11-23T13:30:00+08:00")).is_ok());
    assert_eq!(reason(decide_arrival(&booking(1, BookingState::Held, &[1]), at(TWO))), Reason::IllegalState);
}

#[test]
fn terms_have_bounds() {
    assert!(BookingTerms::default().problems("").is_empty());
    let odd = BookingTerms { ahead_days: 0, hold_minutes: 61, no_show_minutes: 4, ..BookingTerms::default() };
    let paths: Vec<_> = odd.problems("terms.").into_iter().map(|p| p.path).collect();
    assert_eq!(paths, ["terms.ahead_days", "terms.hold_minutes", "terms.no_show_minutes"]);
    let some: BookingTerms = serde_json::from_str(r#"{"change_minutes":60}"#).unwrap();
    assert_eq!(some, BookingTerms { change_minutes: 60, ..BookingTerms::default() });
    assert!(serde_json::from_str::<BookingTerms>(r#"{"x":1}"#).is_err());
}

#[test]
fn holds_end_before_their_slot_and_reminders_come_before_it() {
    let terms = BookingTerms::default();
    assert_eq!(terms.hold_until(at(TWO), at(NOON)), at("2026-11-23T12:10:00+08:00"));
    assert_eq!(terms.hold_until(at(TWO), at("2026-11-23T13:55:00+08:00")), at(TWO));
    assert_eq!(terms.remind_at(at(THREE), at(NOON)), Some(at("2026-11-23T13:00:00+08:00")));
    assert_eq!(terms.remind_at(at(TWO), at(NOON)), None);
}
