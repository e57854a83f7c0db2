//! Opening hours at the edges of days, nights and zones.

use super::*;
use chrono_tz::{America, Asia, Australia, Europe, Pacific};
use proptest::prelude::*;
use serde_json::json;

fn time(text: &str) -> ClockTime {
    ClockTime::parse(text).unwrap()
}

fn span(weekday: u8, from: &str, to: &str) -> Span {
    Span { weekday: Weekday::new(weekday).unwrap(), from: time(from), to: time(to) }
}

fn every_day(from: &str, to: &str) -> Vec<Span> {
    (1..=7).map(|weekday| span(weekday, from, to)).collect()
}

fn hours(weekly: Vec<Span>) -> OpeningHours {
    OpeningHours::new(weekly, vec![]).unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn closed_on(day: &str) -> Exception {
    Exception { date: date(day), closed: true, spans: vec![], note: String::new() }
}

fn open_on(day: &str, spans: &[(&str, &str)]) -> Exception {
    let spans = spans.iter().map(|(from, to)| DaySpan { from: time(from), to: time(to) }).collect();
    Exception { date: date(day), closed: false, spans, note: String::new() }
}

/// An instant with its offset: `2026-10-01T09:00+08:00`.
fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%z").unwrap().to_utc()
}

#[test]
fn clock_times() {
    for (text, minutes) in [("00:00", 0), ("09:05", 545), ("23:59", 1439), ("24:00", 1440)] {
        assert_eq!(ClockTime::parse(text).unwrap().minutes(), minutes);
        assert_eq!(ClockTime::parse(text).unwrap().to_string(), text);
    }
    for wrong in ["", "9:00", "24:01", "25:00", "09:60", "09-00", "09:00:00", "０9:00", "+9:00"] {
        assert_eq!(ClockTime::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn json_is_the_api_form() {
    let body = json!({
        "weekly": [{"weekday": 1, "from": "09:00", "to": "21:00"}],
        "exceptions": [
            {"date": "2026-10-01", "closed": true, "spans": [], "note": "国庆节"},
            {"date": "2026-12-31", "closed": false, "spans": [{"from": "18:00", "to": "02:00"}], "note": ""},
        ],
    });
    let hours: OpeningHours = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(serde_json::to_value(&hours).unwrap(), body);
    let short = json!({"exceptions": [{"date": "2026-10-01", "closed": true}]});
    assert_eq!(serde_json::from_value::<OpeningHours>(short).unwrap().exceptions().count(), 1);
    for wrong in [
        json!({"weekly": [{"weekday": 0, "from": "09:00", "to": "21:00"}]}),
        json!({"weekly": [{"weekday": 8, "from": "09:00", "to": "21:00"}]}),
        json!({"weekly": [{"weekday": 1, "from": "9:00", "to": "21:00"}]}),
        json!({"weekly": [{"weekday": 1, "from": "24:00", "to": "21:00"}]}),
        json!({"weekly": [{"weekday": 1, "from": "09:00", "to": "21:00", "extra": 1}]}),
        json!({"weekly": [], "extra": 1}),
        json!({"exceptions": [{"date": "2026-02-30", "closed": true}]}),
        json!({"exceptions": [{"date": "2026-10-01", "closed": true, "extra": 1}]}),
    ] {
        assert!(serde_json::from_value::<OpeningHours>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn overlaps_are_refused_around_the_week() {
    let refused = |weekly: Vec<Span>| OpeningHours::new(weekly, vec![]).map_err(|error| error.path());
    for weekly in [
        vec![span(1, "09:00", "12:00"), span(1, "11:59", "14:00")],
        vec![span(1, "09:00", "12:00"), span(1, "09:00", "12:00")],
        vec![span(1, "18:00", "02:00"), span(2, "01:00", "03:00")],
        vec![span(7, "08:00", "08:00"), span(1, "07:00", "09:00")],
    ] {
        assert!(refused(weekly.clone()).is_err(), "{weekly:?}");
    }
    assert_eq!(refused(vec![span(2, "01:00", "03:00"), span(1, "18:00", "02:00")]), Err("weekly[0]".into()));
    assert_eq!(refused(vec![span(1, "07:00", "09:00"), span(7, "18:00", "07:01")]), Err("weekly[1]".into()));
    for weekly in [
        vec![span(1, "09:00", "12:00"), span(1, "12:00", "14:00")],
        vec![span(7, "18:00", "07:00"), span(1, "07:00", "09:00")],
        every_day("06:00", "06:00"),
        every_day("00:00", "24:00"),
    ] {
        assert!(refused(weekly.clone()).is_ok(), "{weekly:?}");
    }
}

#[test]
fn bounds_and_bad_exceptions_are_refused() {
    let minutes = |n: u16| ClockTime::from_minutes(n).unwrap();
    let many = |count: u16| {
        (0..count).map(|n| Span { weekday: Weekday::ALL[0], from: minutes(n), to: minutes(n + 1) }).collect()
    };
    assert!(OpeningHours::new(many(50), vec![]).is_ok());
    assert_eq!(OpeningHours::new(many(51), vec![]), Err(HoursError::TooManySpans));
    let days = |count: u64| {
        let day = |n| Exception { date: date("2026-01-01") + Days::new(n), ..closed_on("2026-01-01") };
        (0..count).map(day).collect::<Vec<_>>()
    };
    assert!(OpeningHours::new(vec![], days(100)).is_ok());
    assert_eq!(OpeningHours::new(vec![], days(101)), Err(HoursError::TooManyExceptions));

    let note = |note: &str| Exception { note: note.into(), ..closed_on("2026-01-01") };
    let closed_with_spans = Exception { closed: true, ..open_on("2026-01-01", &[("09:00", "10:00")]) };
    for (exception, expected) in [
        (closed_on("1999-12-31"), ExceptionProblem::Date),
        (closed_with_spans, ExceptionProblem::ClosedWithSpans),
        (open_on("2026-01-01", &[]), ExceptionProblem::OpenWithoutSpans),
        (open_on("2026-01-01", &[("09:00", "09:30"); 11]), ExceptionProblem::TooManySpans),
        (open_on("2026-01-01", &[("24:00", "09:30")]), ExceptionProblem::StartsAtMidnight),
        (open_on("2026-01-01", &[("11:00", "13:00"), ("09:00", "11:01")]), ExceptionProblem::Overlap),
        (note("\u{202E}"), ExceptionProblem::Note(TextError::Bidi { at: 1 })),
    ] {
        let error = OpeningHours::new(vec![], vec![closed_on("2026-05-01"), exception]).unwrap_err();
        assert_eq!(error, HoursError::Exception { exception: 1, problem: expected });
        assert_eq!(error.path(), "exceptions[1]");
    }
    let twice = OpeningHours::new(vec![], vec![closed_on("2026-05-01"), closed_on("2026-05-01")]);
    let problem = ExceptionProblem::DuplicateDate;
    assert_eq!(twice, Err(HoursError::Exception { exception: 1, problem }));
    assert_eq!(
        OpeningHours::new(vec![], vec![note(" 元旦 ")]).unwrap().exceptions().next().unwrap().note,
        "元旦"
    );
}

#[test]
fn open_from_the_first_instant_until_before_the_last() {
    let hours = hours(vec![span(1, "09:00", "12:00"), span(1, "14:00", "21:00")]);
    let zone = Asia::Shanghai; // 2026-11-23 is a Monday.
    for (now, open, next, closes) in [
        ("2026-11-23T08:59+08:00", false, "2026-11-23T09:00+08:00", None),
        ("2026-11-23T09:00+08:00", true, "2026-11-23T14:00+08:00", Some("2026-11-23T12:00+08:00")),
        ("2026-11-23T11:59+08:00", true, "2026-11-23T14:00+08:00", Some("2026-11-23T12:00+08:00")),
        ("2026-11-23T12:00+08:00", false, "2026-11-23T14:00+08:00", None),
        ("2026-11-23T20:59+08:00", true, "2026-11-30T09:00+08:00", Some("2026-11-23T21:00+08:00")),
        ("2026-11-23T21:00+08:00", false, "2026-11-30T09:00+08:00", None),
    ] {
        let now = at(now);
        assert_eq!(hours.is_open(zone, now), open, "{now}");
        assert_eq!(hours.next_open_at(zone, now), Some(at(next)), "{now}");
        assert_eq!(hours.closes_at(zone, now), closes.map(at), "{now}");
    }
}

#[test]
fn nights_belong_to_the_day_they_begin() {
    let friday_night = vec![span(5, "18:00", "02:00")];
    let hours = OpeningHours::new(friday_night, vec![closed_on("2026-11-28")]).unwrap();
    let zone = Asia::Shanghai;
    assert!(hours.is_open(zone, at("2026-11-28T01:59+08:00")), "Saturday is closed, Friday's night goes on");
    assert!(!hours.is_open(zone, at("2026-11-28T02:00+08:00")));
    assert_eq!(hours.closes_at(zone, at("2026-11-27T18:00+08:00")), Some(at("2026-11-28T02:00+08:00")));
    let hours = OpeningHours::new(vec![span(5, "18:00", "02:00")], vec![closed_on("2026-11-27")]).unwrap();
    assert!(!hours.is_open(zone, at("2026-11-28T01:59+08:00")), "Friday is closed, with its night");
    assert_eq!(hours.next_open_at(zone, at("2026-11-27T18:00+08:00")), Some(at("2026-12-04T18:00+08:00")));
}

#[test]
fn adjoining_spans_are_one_opening() {
    let zone = Asia::Shanghai;
    let night = hours(vec![span(1, "18:00", "24:00"), span(2, "00:00", "03:00")]);
    assert_eq!(night.closes_at(zone, at("2026-11-23T18:00+08:00")), Some(at("2026-11-24T03:00+08:00")));
    assert_eq!(night.next_open_at(zone, at("2026-11-23T18:00+08:00")), Some(at("2026-11-30T18:00+08:00")));

    let always = hours(every_day("00:00", "24:00"));
    let now = at("2026-11-23T18:00+08:00");
    assert!(always.is_open(zone, now));
    assert_eq!((always.closes_at(zone, now), always.next_open_at(zone, now)), (None, None));
    let holiday = OpeningHours::new(every_day("00:00", "24:00"), vec![closed_on("2027-02-06")]).unwrap();
    assert_eq!(holiday.closes_at(zone, now), Some(at("2027-02-06T00:00+08:00")));
    assert_eq!(holiday.next_open_at(zone, now), Some(at("2027-02-07T00:00+08:00")));
}

#[test]
fn search_is_bounded() {
    let zone = Asia::Shanghai;
    let now = at("2026-11-23T18:00+08:00");
    assert_eq!(OpeningHours::default().next_open_at(zone, now), None);
    let only = |day| OpeningHours::new(vec![], vec![open_on(day, &[("09:00", "10:00")])]).unwrap();
    assert_eq!(only("2027-12-28").next_open_at(zone, now), Some(at("2027-12-28T09:00+08:00")));
    assert_eq!(only("2027-12-29").next_open_at(zone, now), None, "401 days ahead");
    let today = only("2026-11-23");
    assert_eq!(today.closes_at(zone, at("2026-11-23T09:30+08:00")), Some(at("2026-11-23T10:00+08:00")));
    assert_eq!(today.next_open_at(zone, now), None);
}

#[test]
fn clock_changes() {
    let zone = America::New_York;
    // 2026-03-08: 02:00 EST becomes 03:00 EDT. 2026-11-01: 02:00 EDT becomes 01:00 EST. Both Sundays.
    let night = hours(vec![span(6, "22:00", "02:30")]);
    assert_eq!(night.closes_at(zone, at("2026-03-07T23:00-0500")), Some(at("2026-03-08T03:00-0400")));
    let skipped = hours(vec![span(7, "02:00", "03:00")]);
    assert_eq!(skipped.next_open_at(zone, at("2026-03-07T23:00-0500")), Some(at("2026-03-15T02:00-0400")));
    let twice = hours(vec![span(7, "01:00", "02:00")]);
    assert_eq!(twice.next_open_at(zone, at("2026-10-31T23:00-0400")), Some(at("2026-11-01T01:00-0400")));
    assert_eq!(twice.closes_at(zone, at("2026-11-01T01:30-0400")), Some(at("2026-11-01T02:00-0500")));
    assert!(twice.is_open(zone, at("2026-11-01T01:30-0500")), "the hour that is there twice is open twice");
    // Samoa left out Friday, 30 December 2011.
    let friday = hours(vec![span(5, "09:00", "17:00")]);
    let next = friday.next_open_at(Pacific::Apia, at("2011-12-29T12:00-1000"));
    assert_eq!(next, Some(at("2012-01-06T09:00+1400")));
}

#[test]
fn descriptions() {
    let week = |from, to, weekdays: std::ops::RangeInclusive<u8>| weekdays.map(move |n| span(n, from, to));
    for (weekly, text) in [
        (vec![], "暂无营业时间"),
        (every_day("09:00", "21:00"), "每天 09:00–21:00"),
        (every_day("00:00", "24:00"), "每天 24 小时"),
        (every_day("00:00", "00:00"), "每天 24 小时"),
        (every_day("18:00", "02:00"), "每天 18:00–次日 02:00"),
        (every_day("18:00", "00:00"), "每天 18:00–24:00"),
        (
            week("09:00", "21:00", 1..=5).chain(week("10:00", "22:00", 6..=7)).collect(),
            "周一至周五 09:00–21:00，周六、周日 10:00–22:00",
        ),
        (
            week("14:00", "21:00", 2..=7).chain(week("09:00", "12:00", 2..=7)).collect(),
            "周一休息，周二至周日 09:00–12:00、14:00–21:00",
        ),
        (
            week("09:00", "18:00", 1..=1).chain(week("09:00", "18:00", 3..=5)).collect(),
            "周一、周三至周五 09:00–18:00，周二、周六、周日休息",
        ),
    ] {
        assert_eq!(hours(weekly).describe(), text);
    }
}

#[test]
fn business_day_turns_at_the_cutoff() {
    let zone = Asia::Shanghai;
    for (now, cutoff, day, next) in [
        ("2026-12-31T23:59+08:00", 0, "2026-12-31", "2027-01-01T00:00+08:00"),
        ("2027-01-01T00:00+08:00", 0, "2027-01-01", "2027-01-02T00:00+08:00"),
        ("2027-01-01T03:59+08:00", 4, "2026-12-31", "2027-01-01T04:00+08:00"),
        ("2027-01-01T04:00+08:00", 4, "2027-01-01", "2027-01-02T04:00+08:00"),
    ] {
        assert_eq!(business_date(at(now), zone, cutoff), date(day), "{now}");
        assert_eq!(next_cutoff(at(now), zone, cutoff), at(next), "{now}");
    }
    let utc_plus_13 = business_date(at("2026-12-31T12:00+00:00"), Pacific::Auckland, 0);
    assert_eq!(utc_plus_13, date("2027-01-01"));
}

/// Newfoundland once put clocks back at 00:01, to 23:01 of the day before: the business day doesn't return.
#[test]
fn business_day_never_steps_back() {
    let zone = America::St_Johns;
    assert_eq!(business_date(at("2010-11-07T00:00-0230"), zone, 0), date("2010-11-07"));
    assert_eq!(business_date(at("2010-11-06T23:30-0330"), zone, 0), date("2010-11-07"));
}

const ZONES: [Tz; 6] = [
    Asia::Shanghai,
    America::New_York,
    America::St_Johns,
    Europe::Berlin,
    Australia::Lord_Howe,
    Pacific::Apia,
];

fn any_zone() -> impl Strategy<Value = Tz> {
    prop::sample::select(ZONES.to_vec())
}

/// Minutes of 2009 to 2029.
fn any_now() -> impl Strategy<Value = DateTime<Utc>> {
    (20_500_000_i64..31_500_000).prop_map(|minute| DateTime::from_timestamp(minute * 60, 0).unwrap())
}

/// Accepted hours: those of the drawn spans that don't overlap earlier ones.
fn any_hours() -> impl Strategy<Value = OpeningHours> {
    let quarter = |n: u16| ClockTime::from_minutes(n * 15).unwrap();
    prop::collection::vec((1_u8..=7, 0_u16..96, 0_u16..=96), 0..12).prop_map(move |drawn| {
        let mut weekly = Vec::new();
        for (weekday, from, to) in drawn {
            weekly.push(Span { weekday: Weekday(weekday), from: quarter(from), to: quarter(to) });
            if OpeningHours::new(weekly.clone(), vec![]).is_err() {
                weekly.pop();
            }
        }
        OpeningHours::new(weekly, vec![]).unwrap()
    })
}

proptest! {
    #[test]
    fn hours_read_back_from_json(hours in any_hours()) {
        let text = serde_json::to_string(&hours).unwrap();
        prop_assert_eq!(serde_json::from_str::<OpeningHours>(&text).unwrap(), hours);
    }

    /// Where clocks don't change, open means: the wall clock is in a span of today or of last night.
    #[test]
    fn open_agrees_with_the_wall_clock(hours in any_hours(), now in any_now()) {
        let local = now.with_timezone(&Asia::Shanghai).naive_local();
        let minute = u16::try_from((local - local.date().and_time(NaiveTime::MIN)).num_minutes()).unwrap();
        let today = Weekday::of(local.date());
        let yesterday = Weekday::of(local.date().pred_opt().unwrap());
        let expected = hours.weekly().iter().any(|span| {
            let (from, to, overnight) = (span.from.minutes(), span.to.minutes(), span.to <= span.from);
            (span.weekday == today && minute >= from && (overnight || minute < to))
                || (span.weekday == yesterday && overnight && minute < to)
        });
        prop_assert_eq!(hours.is_open(Asia::Shanghai, now), expected);
    }

    #[test]
    fn next_opening_and_closing_are_the_first(
        hours in any_hours(), zone in any_zone(), now in any_now(), fractions in prop::array::uniform10(0.0..1.0),
    ) {
        let open = |instant| hours.is_open(zone, instant);
        let moment = TimeDelta::microseconds(1);
        let between = |end: DateTime<Utc>| {
            let seconds = f64::from(i32::try_from((end - now).num_seconds()).unwrap());
            fractions.map(|fraction| now + TimeDelta::from_std(std::time::Duration::from_secs_f64(seconds * fraction)).unwrap())
        };
        let closes = hours.closes_at(zone, now);
        if let Some(closes) = closes {
            prop_assert!(open(now) && !open(closes) && open(closes - moment));
            prop_assert!(between(closes).into_iter().all(open));
        } else if open(now) {
            prop_assert_eq!(hours.next_open_at(zone, now), None);
        }
        if let Some(next) = hours.next_open_at(zone, now) {
            prop_assert!(next > now && open(next) && !open(next - moment));
            let from = closes.unwrap_or(now);
            prop_assert!(between(next).into_iter().filter(|&instant| instant >= from).all(|instant| !open(instant)));
        } else {
            prop_assert!(hours.weekly().is_empty() || open(now));
        }
    }

    #[test]
    fn business_days_follow_each_other(zone in any_zone(), now in any_now(), cutoff in 0_u32..24) {
        let today = business_date(now, zone, cutoff);
        let next = next_cutoff(now, zone, cutoff);
        let moment = TimeDelta::microseconds(1);
        prop_assert!(business_day_start(today, zone, cutoff) <= now && now < next);
        prop_assert_eq!(business_date(next - moment, zone, cutoff), today);
        prop_assert!(business_date(next, zone, cutoff) > today);
        prop_assert!(next - now <= TimeDelta::hours(26));
    }
}
