//! Reminders 到期提醒: 7, 3 and 1 days before a voucher's time is over, and never at night.
//!
//! A moment that lies before the purchase is none: who buys for two days is reminded once, one day before.

use chrono::{Duration, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;

use crate::id::{Id as _, OrderId};
use crate::time::Timestamp;

/// Days before the end at which the customer is reminded.
pub const DAYS_BEFORE: [i64; 3] = [7, 3, 1];
/// Messages are sent from this hour on,
pub const FROM_HOUR: u32 = 9;
/// and before this one.
pub const TO_HOUR: u32 = 21;
/// What falls due in the night is sent within this time after [`FROM_HOUR`], each order at its own moment.
const SPREAD_S: u128 = 3600;

/// The hours in which an order's customer may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    zone: Tz,
    from: NaiveTime,
}

impl Hours {
    /// Those of an order at a store in this zone.
    pub fn of(order: OrderId, zone: Tz) -> Self {
        let spread = u32::try_from(order.uuid().as_u128() % SPREAD_S).unwrap_or(0);
        let from = NaiveTime::from_num_seconds_from_midnight_opt(FROM_HOUR * 3600 + spread, 0);
        Self { zone, from: from.unwrap_or(NaiveTime::MIN) }
    }

    /// The first moment from `at` on at which a message may be sent.
    pub fn next(self, at: Timestamp) -> Timestamp {
        let local = at.datetime().with_timezone(&self.zone).naive_local();
        let until = NaiveTime::from_num_seconds_from_midnight_opt(TO_HOUR * 3600, 0);
        if local.time() < self.from {
            self.open(local.date(), at)
        } else if until.is_some_and(|until| local.time() >= until) {
            self.open(local.date() + Duration::days(1), at)
        } else {
            at
        }
    }

    /// When they begin on a day; `at` where clocks skip that moment.
    fn open(self, day: NaiveDate, at: Timestamp) -> Timestamp {
        let local = self.zone.from_local_datetime(&day.and_time(self.from)).earliest();
        local.map_or(at, |open| Timestamp::from_datetime(open.to_utc()))
    }
}

/// When the customer is reminded next of a voucher that is valid to `valid_to`, if they are: the first of its moments
/// that lie after `after`, moved into the hours.
pub fn next(valid_to: Timestamp, after: Timestamp, hours: Hours) -> Option<Timestamp> {
    let ahead = moments(valid_to).filter(|moment| *moment > after);
    ahead.map(|moment| hours.next(moment)).filter(|at| *at < valid_to).min()
}

/// When to look next at a voucher whose end may move to another day by its first use: on the next day at the latest,
/// for as long as it is live.
pub fn next_look(valid_to: Timestamp, end_moves: bool, after: Timestamp, hours: Hours) -> Option<Timestamp> {
    let tomorrow = end_moves.then(|| hours.next(after.plus(Duration::days(1))));
    next(valid_to, after, hours).into_iter().chain(tomorrow).min()
}

/// Whether one of its moments has come after `after`, and its time is not over yet.
pub fn has_come(valid_to: Timestamp, after: Timestamp, now: Timestamp) -> bool {
    now < valid_to && moments(valid_to).any(|moment| after < moment && moment <= now)
}

fn moments(valid_to: Timestamp) -> impl Iterator<Item = Timestamp> {
    DAYS_BEFORE.into_iter().map(move |days| valid_to.minus(Duration::days(days)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_datetime(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    fn hours(order: u128) -> Hours {
        Hours::of(OrderId::from_uuid(uuid::Uuid::from_u128(order)), Tz::Asia__Shanghai)
    }

    const END: &str = "2026-12-24T00:00:00+08:00";

    /// Every moment, one after the other.
    fn all(valid_to: &str, bought: &str, order: u128) -> Vec<Timestamp> {
        let mut found = Vec::new();
        let mut after = at(bought);
        while let Some(moment) = next(at(valid_to), after, hours(order)) {
            found.push(moment);
            after = moment;
        }
        found
    }

    #[test]
    fn seven_three_and_one_day_before_in_the_morning() {
        let expected =
            ["2026-12-17T09:00:00+08:00", "2026-12-21T09:00:00+08:00", "2026-12-23T09:00:00+08:00"];
        assert_eq!(all(END, "2026-11-23T10:00:00+08:00", 0), expected.map(at));
    }

    #[test]
    fn moments_before_the_purchase_are_none() {
        assert_eq!(all(END, "2026-12-20T10:00:00+08:00", 0).len(), 2);
        assert_eq!(all(END, "2026-12-22T10:00:00+08:00", 0).len(), 1);
        assert_eq!(all(END, "2026-12-23T00:00:00+08:00", 0), []);
    }

    #[test]
    fn nobody_is_written_to_at_night() {
        let next = |text: &str| hours(0).next(at(text));
        assert_eq!(next("2026-12-17T08:59:59+08:00"), at("2026-12-17T09:00:00+08:00"));
        assert_eq!(next("2026-12-17T20:59:59+08:00"), at("2026-12-17T20:59:59+08:00"));
        assert_eq!(next("2026-12-17T21:00:00+08:00"), at("2026-12-18T09:00:00+08:00"));
        // Another order has another minute.
        assert_eq!(hours(90).next(at("2026-12-17T09:00:10+08:00")), at("2026-12-17T09:01:30+08:00"));
        // In the store's own zone.
        let tokyo = Hours::of(OrderId::from_uuid(uuid::Uuid::nil()), Tz::Asia__Tokyo);
        assert_eq!(tokyo.next(at("2026-12-17T08:30:00+08:00")), at("2026-12-17T08:30:00+08:00"));
    }

    #[test]
    fn a_moment_comes_once() {
        let bought = at("2026-11-23T10:00:00+08:00");
        let morning = at("2026-12-17T09:00:00+08:00");
        assert!(!has_come(at(END), bought, at("2026-12-16T23:59:59+08:00")));
        assert!(has_come(at(END), bought, morning));
        assert!(!has_come(at(END), morning, at("2026-12-20T23:59:59+08:00")));
        assert!(has_come(at(END), morning, at("2026-12-21T09:00:00+08:00")));
        assert!(!has_come(at(END), bought, at(END)), "its time is over");
    }

    #[test]
    fn an_end_that_moves_is_looked_at_every_day() {
        let (noon, end) = (at("2026-11-23T12:00:00+08:00"), at(END));
        assert_eq!(next_look(end, false, noon, hours(0)), Some(at("2026-12-17T09:00:00+08:00")));
        assert_eq!(next_look(end, true, noon, hours(0)), Some(at("2026-11-24T12:00:00+08:00")));
        assert_eq!(
            next_look(end, true, at("2026-12-16T12:00:00+08:00"), hours(0)),
            Some(at("2026-12-17T09:00:00+08:00"))
        );
        assert_eq!(
            next_look(end, true, at("2026-12-23T22:00:00+08:00"), hours(0)),
            Some(at("2026-12-25T09:00:00+08:00"))
        );
    }

    #[test]
    fn a_moment_that_would_come_too_late_is_none() {
        // Valid to 8 o'clock: one day before is the morning, the night before the end is quiet.
        assert_eq!(
            all("2026-12-24T08:00:00+08:00", "2026-12-23T05:00:00+08:00", 0),
            [at("2026-12-23T09:00:00+08:00")]
        );
        assert_eq!(all("2026-12-24T08:30:00+08:00", "2026-12-23T08:00:00+08:00", 0).len(), 1);
    }
}
