//! Risk flags 风险标记: what looks wrong about redemptions that the rules allowed. Nothing is refused for it; a person
//! looks, and says what was found.
//!
//! Promise: each rule depends on its arguments alone, so that the same news, read again, say the same.

use chrono::Duration;
use chrono_tz::Tz;

use crate::geo::LatLng;
use crate::hours::OpeningHours;
use crate::state::text_enum;
use crate::time::Timestamp;

/// The hours over which undoing is counted.
pub const UNDO_HOURS: i64 = 24;
/// Undos of one voucher within them that look like somebody who redeems and takes back.
pub const UNDOS_OF_VOUCHER: usize = 3;
/// Undos by one member of staff within them.
pub const UNDOS_OF_STAFF: usize = 5;
/// How long before opening and after closing redeeming is still in order.
pub const HOURS_GRACE_MINUTES: i64 = 15;
/// Faster than this nobody travels between two stores of a town or a region, in km/h.
pub const MAX_SPEED_KMH: i64 = 120;
/// Stores that are nearer than this are one place, in metres.
pub const SAME_PLACE_M: i64 = 2_000;
/// Seconds after which the place of somebody who stays is noted anew. What is noted is never later than what was, so
/// the time between two places is never taken for shorter than it was.
pub const NOTE_PLACE_S: i64 = 60;

text_enum! {
    /// What looks wrong.
    pub enum RiskKind {
        /// Somebody redeemed a voucher of a customer with their own phone number.
        SelfRedemption = "self_redemption",
        /// A voucher was undone again and again, or a member of staff undoes a lot.
        UndoLoop = "undo_loop",
        /// The store was closed by its hours.
        AfterHours = "after_hours",
        /// One member of staff redeemed in two stores that are too far from each other.
        ImpossibleTravel = "impossible_travel",
        /// Too many wrong codes were typed.
        Lockout = "lockout",
    }
}

text_enum! {
    /// Whether somebody has looked.
    pub enum RiskState {
        /// Not yet.
        Open = "Open",
        /// Somebody has, and says what was found.
        Acknowledged = "Acknowledged",
    }
}

/// How often was undone within the hours up to an instant, if that is too often.
pub fn undo_loop(undos: &[Timestamp], at: Timestamp, too_many: usize) -> Option<usize> {
    let since = at.minus(Duration::hours(UNDO_HOURS));
    let count = undos.iter().filter(|t| **t > since && **t <= at).count();
    (count >= too_many).then_some(count)
}

/// Whether a store was closed at an instant and is so for the time of grace around it. A store without hours has said
/// nothing.
pub fn after_hours(hours: &OpeningHours, zone: Tz, at: Timestamp) -> bool {
    let grace = Duration::minutes(HOURS_GRACE_MINUTES);
    let silent = hours.weekly().is_empty() && hours.exceptions().next().is_none();
    let around = [at, at.minus(grace), at.plus(grace)];
    !silent && around.iter().all(|t| !hours.is_open(zone, t.datetime()))
}

/// Somebody, somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Where.
    pub place: LatLng,
    /// When.
    pub at: Timestamp,
}

/// A way that nobody can have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Travel {
    /// How far.
    pub metres: i64,
    /// In what time.
    pub seconds: i64,
}

/// The way between two places, if it is too far for the time.
pub fn impossible_travel(from: Seen, to: Seen) -> Option<Travel> {
    let metres = from.place.distance_m(to.place);
    let seconds = to.at.since(from.at).num_seconds();
    // Kilometres an hour are thousand metres in 3600 seconds.
    let possible = seconds.saturating_mul(MAX_SPEED_KMH) * 5 / 18;
    (seconds >= 0 && metres >= SAME_PLACE_M && metres > possible).then_some(Travel { metres, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hours::{ClockTime, Span, Weekday};

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((1_790_000_000 + seconds) * 1_000_000)
    }

    #[test]
    fn undos_are_counted_within_a_day() {
        for (undos, too_many, expected) in [
            (vec![], UNDOS_OF_VOUCHER, None),
            (vec![at(0), at(-60)], UNDOS_OF_VOUCHER, None),
            (vec![at(0), at(-60), at(-120)], UNDOS_OF_VOUCHER, Some(3)),
            (vec![at(0), at(-60), at(1 - DAY)], UNDOS_OF_VOUCHER, Some(3)),
            (vec![at(0), at(-60), at(-DAY)], UNDOS_OF_VOUCHER, None),
            // What came later is for the news of it.
            (vec![at(0), at(-60), at(1)], UNDOS_OF_VOUCHER, None),
            (vec![at(0), at(-1), at(-2), at(-3)], UNDOS_OF_STAFF, None),
            (vec![at(0), at(-1), at(-2), at(-3), at(-4)], UNDOS_OF_STAFF, Some(5)),
        ] {
            assert_eq!(undo_loop(&undos, at(0), too_many), expected, "{undos:?}");
        }
    }

    #[test]
    fn closed_is_what_the_hours_say() {
        let clock = |text: &str| ClockTime::parse(text).unwrap();
        let span = |weekday| Span { weekday, from: clock("09:00"), to: clock("21:00") };
        let hours = OpeningHours::new(Weekday::ALL.map(span).to_vec(), vec![]).unwrap();
        let zone = chrono_tz::Asia::Shanghai;
        for (local, expected) in [
            ("2026-11-24T08:30:00+08:00", true),
            ("2026-11-24T08:46:00+08:00", false),
            ("2026-11-24T09:00:00+08:00", false),
            ("2026-11-24T15:00:00+08:00", false),
            ("2026-11-24T21:10:00+08:00", false),
            ("2026-11-24T21:20:00+08:00", true),
            ("2026-11-24T03:00:00+08:00", true),
        ] {
            let at = chrono::DateTime::parse_from_rfc3339(local).unwrap().to_utc();
            assert_eq!(after_hours(&hours, zone, Timestamp::from_datetime(at)), expected, "{local}");
        }
        let silent = OpeningHours::new(vec![], vec![]).unwrap();
        assert!(!after_hours(&silent, zone, at(0)));
    }

    #[test]
    fn nobody_is_in_two_places() {
        let here = LatLng::new(31.2304, 121.4737).unwrap();
        // A hundredth of a degree north is 1112 m.
        let north = |hundredths: f64| LatLng::new(31.2304 + hundredths / 100.0, 121.4737).unwrap();
        for (place, seconds, expected) in [
            (here, 0, false),
            (north(1.0), 0, false),
            (north(1.7), 0, false),
            (north(1.9), 1, true),
            (north(30.0), 900, true),
            (north(30.0), 1000, true),
            (north(30.0), 1001, false),
            (north(30.0), 7200, false),
            // News out of order say nothing.
            (north(30.0), -1, false),
        ] {
            let found = impossible_travel(Seen { place: here, at: at(0) }, Seen { place, at: at(seconds) });
            assert_eq!(found.is_some(), expected, "{place:?} {seconds} {found:?}");
        }
    }
}
