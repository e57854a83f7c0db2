//! Slots: the pieces of a store's day that can be booked, cut from a weekly plan in the store's zone.
//!
//! A window belongs to the day on which it begins, like opening hours: `to` ≤ `from` means the next day. Its ends are
//! local times, its slots are real minutes long: on the day of a clock change a window has more or fewer of them, and
//! none occurs twice, overlaps another or has no length.

use std::collections::BTreeSet;

use chrono::{Days, Duration, NaiveDate};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::hours::{ClockTime, MAX_EXCEPTIONS, MAX_WEEKLY, OpeningHours, Span, Weekday, span_instants};
use crate::reason::{FieldError, Reason, Refusal};
use crate::time::Timestamp;

/// The shortest slot, in minutes.
pub const MIN_SLOT_MINUTES: u32 = 5;
/// The longest slot, in minutes.
pub const MAX_SLOT_MINUTES: u32 = 24 * 60;
/// The most places of a slot.
pub const MAX_CAPACITY: u32 = 10_000;

/// A weekly window of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotWindow {
    /// The day on which it begins.
    pub weekday: Weekday,
    /// When the first slot begins.
    pub from: ClockTime,
    /// When the last slot has ended; at or before `from` means the next day.
    pub to: ClockTime,
    /// How long a slot is.
    pub slot_minutes: u32,
    /// Places of each slot, in uses.
    pub capacity: u32,
}

/// Which slots a store offers: weekly windows without those of closed dates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotPlan {
    /// The weekly windows.
    pub windows: Vec<SlotWindow>,
    /// Dates on which no window begins.
    #[serde(default)]
    pub closed: BTreeSet<NaiveDate>,
}

/// A piece of a day that can be booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// When it begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// Its places.
    pub capacity: u32,
}

impl SlotPlan {
    /// What is wrong with it, as problems of the fields under `path`.
    pub fn problems(&self, path: &str) -> Vec<FieldError> {
        let mut out = Vec::new();
        let mut wrong = |field: String, message: &str| {
            out.push(FieldError { path: format!("{path}{field}"), message: message.to_owned() });
        };
        if self.windows.len() > MAX_WEEKLY {
            wrong("windows".to_owned(), "每周时段最多 50 个");
            return out;
        }
        if self.closed.len() > MAX_EXCEPTIONS {
            wrong("closed_dates".to_owned(), "不可预约日期最多 100 个");
        }
        for (i, window) in self.windows.iter().enumerate() {
            let length = u32::from(span_minutes(window));
            if !(MIN_SLOT_MINUTES..=MAX_SLOT_MINUTES).contains(&window.slot_minutes) {
                wrong(format!("windows[{i}].slot_minutes"), "应为 5–1440 分钟");
            } else if window.slot_minutes > length {
                wrong(format!("windows[{i}].slot_minutes"), "不能长于所在的时段");
            }
            if window.capacity == 0 || window.capacity > MAX_CAPACITY {
                wrong(format!("windows[{i}].capacity"), "应为 1–10000");
            }
        }
        let span = |w: &SlotWindow| Span { weekday: w.weekday, from: w.from, to: w.to };
        if let Err(error) = OpeningHours::new(self.windows.iter().map(span).collect(), Vec::new()) {
            wrong(error.path().replace("weekly", "windows"), &error.to_string());
        }
        out
    }

    /// The plan of a store with these opening hours: the days on which it is closed as an exception offer nothing.
    #[must_use]
    pub fn within(mut self, hours: &OpeningHours) -> Self {
        self.closed.extend(hours.exceptions().filter(|e| e.closed).map(|e| e.date));
        self
    }

    /// The slots of the windows that begin on a local date, by time.
    pub fn slots_on(&self, date: NaiveDate, zone: Tz) -> Vec<Slot> {
        if self.closed.contains(&date) {
            return Vec::new();
        }
        let weekday = Weekday::of(date);
        let today = self.windows.iter().filter(|w| w.weekday == weekday);
        let mut slots: Vec<Slot> = today.flat_map(|w| cut(w, date, zone)).collect();
        slots.sort_by_key(|slot| slot.start);
        slots
    }

    /// The slot that begins at an instant, and the date it belongs to.
    pub fn slot_at(&self, start: Timestamp, zone: Tz) -> Option<(NaiveDate, Slot)> {
        let today = start.datetime().with_timezone(&zone).date_naive();
        // A window ends at most a day after its own; a clock change may move that by one more.
        let dates = (0..=2).filter_map(|back| today.checked_sub_days(Days::new(back)));
        let at = |date: NaiveDate| {
            self.slots_on(date, zone).into_iter().find(|slot| slot.start == start).map(|slot| (date, slot))
        };
        dates.into_iter().find_map(at)
    }
}

/// Judges taking places of a slot of which some are taken.
pub fn check_places(taken: u32, capacity: u32, wanted: u32) -> Result<(), Refusal> {
    let left = capacity.saturating_sub(taken);
    if wanted <= left {
        return Ok(());
    }
    Err(match left {
        0 => Reason::SlotFull.into(),
        n => Refusal::with_message(Reason::SlotFull, format!("该时段只剩 {n} 个名额")),
    })
}

fn span_minutes(window: &SlotWindow) -> u16 {
    const DAY: u16 = 24 * 60;
    let (from, to) = (window.from.minutes(), window.to.minutes());
    if to > from { to - from } else { to + DAY - from.min(DAY) }
}

fn cut(window: &SlotWindow, date: NaiveDate, zone: Tz) -> impl Iterator<Item = Slot> {
    let span = span_instants(zone, date, window.from, window.to);
    let end = Timestamp::from_datetime(span.end);
    // A plan without a length would never end; `problems` refuses it.
    let length = Duration::minutes(i64::from(window.slot_minutes.max(MIN_SLOT_MINUTES)));
    let capacity = window.capacity;
    let first = Timestamp::from_datetime(span.start);
    std::iter::successors(Some(first), move |start| Some(start.plus(length)))
        .map(move |start| Slot { start, end: start.plus(length), capacity })
        .take_while(move |slot| slot.end <= end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_datetime(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    fn window(weekday: u8, from: &str, to: &str, slot_minutes: u32) -> SlotWindow {
        SlotWindow {
            weekday: Weekday::new(weekday).unwrap(),
            from: ClockTime::parse(from).unwrap(),
            to: ClockTime::parse(to).unwrap(),
            slot_minutes,
            capacity: 3,
        }
    }

    fn plan(windows: Vec<SlotWindow>) -> SlotPlan {
        SlotPlan { windows, closed: BTreeSet::new() }
    }

    fn starts(plan: &SlotPlan, date: &str, zone: Tz) -> Vec<String> {
        let slots = plan.slots_on(date.parse().unwrap(), zone);
        slots.iter().map(|s| s.start.local_text(zone)[11..].to_owned()).collect()
    }

    const SHANGHAI: Tz = Tz::Asia__Shanghai;

    #[test]
    fn whole_slots_only() {
        // 2026-11-23 is a Monday.
        let plan = plan(vec![window(1, "14:00", "16:00", 45), window(1, "09:00", "10:00", 30)]);
        assert_eq!(starts(&plan, "2026-11-23", SHANGHAI), ["09:00", "09:30", "14:00", "14:45"]);
        assert!(starts(&plan, "2026-11-24", SHANGHAI).is_empty());
        let closed = SlotPlan { closed: BTreeSet::from(["2026-11-23".parse().unwrap()]), ..plan };
        assert!(starts(&closed, "2026-11-23", SHANGHAI).is_empty());
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let plan = plan(vec![window(5, "22:00", "02:00", 60), window(1, "23:00", "24:00", 60)]);
        assert_eq!(starts(&plan, "2026-11-27", SHANGHAI), ["22:00", "23:00", "00:00", "01:00"]);
        assert_eq!(starts(&plan, "2026-11-23", SHANGHAI), ["23:00"]);
        let (date, slot) = plan.slot_at(at("2026-11-28T01:00:00+08:00"), SHANGHAI).unwrap();
        assert_eq!((date, slot.end), ("2026-11-27".parse().unwrap(), at("2026-11-28T02:00:00+08:00")));
        assert_eq!(plan.slot_at(at("2026-11-28T01:30:00+08:00"), SHANGHAI), None);
        assert_eq!(plan.slot_at(at("2026-11-28T02:00:00+08:00"), SHANGHAI), None);
    }

    #[test]
    fn clock_changes_make_more_or_fewer_slots_and_never_two_at_once() {
        let zone = Tz::Europe__Berlin;
        let plan = plan((1..=7).map(|day| window(day, "01:00", "05:00", 60)).collect());
        // 2026-03-29: 02:00 → 03:00. 2026-10-25: 03:00 → 02:00.
        assert_eq!(starts(&plan, "2026-03-28", zone), ["01:00", "02:00", "03:00", "04:00"]);
        assert_eq!(starts(&plan, "2026-03-29", zone), ["01:00", "03:00", "04:00"]);
        assert_eq!(starts(&plan, "2026-10-25", zone), ["01:00", "02:00", "02:00", "03:00", "04:00"]);
        for date in ["2026-03-29", "2026-10-25"] {
            let slots = plan.slots_on(date.parse().unwrap(), zone);
            assert!(slots.windows(2).all(|pair| pair[0].end == pair[1].start), "{slots:?}");
            for slot in slots {
                assert_eq!(slot.end.since(slot.start), Duration::hours(1));
                assert_eq!(plan.slot_at(slot.start, zone).unwrap().1, slot);
            }
        }
        // The whole window falls into the gap.
        let gap = SlotPlan { windows: vec![window(7, "02:00", "03:00", 30)], ..SlotPlan::default() };
        assert!(starts(&gap, "2026-03-29", zone).is_empty());
    }

    #[test]
    fn holidays_of_the_store_offer_nothing_and_places_run_out() {
        let hours = r#"{"exceptions":[{"date":"2026-11-23","closed":true},
            {"date":"2026-11-30","spans":[{"from":"10:00","to":"12:00"}]}]}"#;
        let plan = plan(vec![window(1, "09:00", "10:00", 60)]).within(&serde_json::from_str(hours).unwrap());
        assert!(starts(&plan, "2026-11-23", SHANGHAI).is_empty());
        assert_eq!(starts(&plan, "2026-11-30", SHANGHAI), ["09:00"]);
        assert!(check_places(3, 5, 2).is_ok());
        for (taken, wanted, words) in [(5, 1, "约满"), (4, 2, "只剩 1 个"), (7, 1, "约满")] {
            let refusal = check_places(taken, 5, wanted).unwrap_err();
            assert_eq!((refusal.reason, refusal.message.contains(words)), (Reason::SlotFull, true));
        }
    }

    #[test]
    fn problems_name_their_fields() {
        let paths = |windows: Vec<SlotWindow>| -> Vec<String> {
            plan(windows).problems("").into_iter().map(|p| p.path).collect()
        };
        assert!(paths(vec![window(1, "09:00", "09:00", 1440)]).is_empty());
        assert!(paths(vec![window(1, "22:00", "02:00", 240)]).is_empty());
        assert_eq!(paths(vec![window(1, "09:00", "10:00", 61)]), ["windows[0].slot_minutes"]);
        assert_eq!(paths(vec![window(1, "09:00", "10:00", 4)]), ["windows[0].slot_minutes"]);
        assert_eq!(
            paths(vec![window(1, "09:00", "12:00", 30), window(1, "11:00", "13:00", 30)]),
            ["windows[1]"]
        );
        assert_eq!(
            paths(vec![SlotWindow { capacity: 0, ..window(1, "09:00", "12:00", 30) }]),
            ["windows[0].capacity"]
        );
        assert_eq!(paths(vec![window(1, "24:00", "01:00", 30)]), ["windows[0]"]);
    }
}
