//! Redemptions decided case by case.

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
            booking: BookingRule::None,
        },
        amount: Money::fen(100),
        taken: BTreeSet::new(),
        recent: vec![],
        bookings: vec![],
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
    assert_eq!(redeemable(&v, place(1), at(NOON)), 1);
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
    assert_eq!(redeemable(&v, place(1), at(NOON)), 3);
    // What is left over can be used up, however little it is.
    (v.counters.used, v.taken) = (6, (1..=6).collect());
    assert_eq!((least(&v), redeemable(&v, place(1), at(NOON))), (1, 1));
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
    let judge =
        |u: UseFacts, cycles, any, now: &str| decide_reversal(&u, cycles, any, at(now)).map_err(|r| r.reason);
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
    assert_eq!(judge(UseFacts { state: UseState::Settled, ..done }, 0, true, NOON), Err(Reason::UndoSettled));
}
