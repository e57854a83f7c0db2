//! Opening hours of a store, and the business day.
//!
//! Hours are written in local time as on the store's door; every question is answered for an instant (`now`) and a
//! zone, both arguments. A span belongs to the day on which it begins: `to` ≤ `from` means the next day, and the night
//! of a Friday goes on until Saturday 02:00 even if Saturday is a holiday. On the day of an exception, the exception
//! replaces the weekly spans.
//!
//! Clock changes: a local time that occurs twice means its first occurrence; one that is skipped means the first
//! instant after the gap. Both keep the order of times, so spans that don't overlap on paper never overlap in UTC.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::text::{TextError, clean_text};

/// Most weekly spans.
pub const MAX_WEEKLY: usize = 50;
/// Most exceptions.
pub const MAX_EXCEPTIONS: usize = 100;
/// Most spans of one exceptional day.
pub const MAX_DAY_SPANS: usize = 10;
/// Most characters of an exception's note.
pub const MAX_NOTE_CHARS: usize = 50;
/// How far ahead an opening or a closing is searched.
pub const SEARCH_DAYS: u16 = 400;

/// Years in which an exception may lie.
pub const EXCEPTION_YEARS: RangeInclusive<i32> = 2000..=2199;

const DAY_MIN: u16 = 24 * 60;
const WEEK_MIN: u32 = 7 * 24 * 60;

/// A time on the clock, `00:00` to `24:00`, in minutes since midnight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClockTime(u16);

impl ClockTime {
    /// From minutes since midnight, at most 1440 (`24:00`).
    #[must_use]
    pub fn from_minutes(minutes: u16) -> Option<Self> {
        (minutes <= DAY_MIN).then_some(Self(minutes))
    }

    /// Reads `HH:MM`.
    #[must_use]
    pub fn parse(input: &str) -> Option<Self> {
        let [h1 @ b'0'..=b'9', h2 @ b'0'..=b'9', b':', m1 @ b'0'..=b'5', m2 @ b'0'..=b'9'] = input.as_bytes()
        else {
            return None;
        };
        let two = |tens: &u8, ones: &u8| u16::from(tens - b'0') * 10 + u16::from(ones - b'0');
        Self::from_minutes(two(h1, h2) * 60 + two(m1, m2))
    }

    /// Minutes since midnight, 0 to 1440.
    #[must_use]
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for ClockTime {
    type Error = &'static str;

    fn try_from(input: String) -> Result<Self, Self::Error> {
        Self::parse(&input).ok_or("时间应写成 09:00 的形式，最晚 24:00")
    }
}

impl From<ClockTime> for String {
    fn from(time: ClockTime) -> Self {
        time.to_string()
    }
}

/// A day of the week, Monday = 1 to Sunday = 7 (ISO 8601).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Weekday(u8);

impl Weekday {
    /// Monday to Sunday.
    pub const ALL: [Self; 7] = [Self(1), Self(2), Self(3), Self(4), Self(5), Self(6), Self(7)];

    /// From 1 (Monday) to 7 (Sunday).
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (1..=7).contains(&number).then_some(Self(number))
    }

    /// The weekday of a date.
    #[must_use]
    pub fn of(date: NaiveDate) -> Self {
        match date.weekday() {
            chrono::Weekday::Mon => Self(1),
            chrono::Weekday::Tue => Self(2),
            chrono::Weekday::Wed => Self(3),
            chrono::Weekday::Thu => Self(4),
            chrono::Weekday::Fri => Self(5),
            chrono::Weekday::Sat => Self(6),
            chrono::Weekday::Sun => Self(7),
        }
    }

    /// 1 (Monday) to 7 (Sunday).
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// `周一` to `周日`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            1 => "周一",
            2 => "周二",
            3 => "周三",
            4 => "周四",
            5 => "周五",
            6 => "周六",
            _ => "周日",
        }
    }
}

impl TryFrom<u8> for Weekday {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("星期应为 1（周一）至 7（周日）")
    }
}

impl From<Weekday> for u8 {
    fn from(weekday: Weekday) -> Self {
        weekday.0
    }
}

/// One weekly span. `to` ≤ `from` means the next day; `from` = `to` is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The day on which it begins.
    pub weekday: Weekday,
    /// Opening time.
    pub from: ClockTime,
    /// Closing time, exclusive.
    pub to: ClockTime,
}

/// One span of an exceptional day. `to` ≤ `from` means the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaySpan {
    /// Opening time.
    pub from: ClockTime,
    /// Closing time, exclusive.
    pub to: ClockTime,
}

impl DaySpan {
    /// Minutes from midnight of its day; the end is up to two days on.
    fn minutes(self) -> Range<u16> {
        let next_day = if self.to <= self.from { DAY_MIN } else { 0 };
        self.from.0..self.to.0 + next_day
    }
}

impl fmt::Display for DaySpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from.0 == 0 && self.to.0.is_multiple_of(DAY_MIN) {
            f.write_str("24 小时")
        } else if self.to.0 == 0 {
            write!(f, "{}–24:00", self.from)
        } else if self.to <= self.from {
            write!(f, "{}–次日 {}", self.from, self.to)
        } else {
            write!(f, "{}–{}", self.from, self.to)
        }
    }
}

/// A date whose hours differ from the week's: a holiday, or longer hours on an eve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The local date.
    pub date: NaiveDate,
    /// Closed all day: no spans.
    #[serde(default)]
    pub closed: bool,
    /// The hours of that day if not closed.
    #[serde(default)]
    pub spans: Vec<DaySpan>,
    /// Shown to customers, e.g. 国庆节.
    #[serde(default)]
    pub note: String,
}

/// Why hours were refused. `Display` is the text for the person who entered them; [`Self::path`] names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// More than [`MAX_WEEKLY`] weekly spans.
    #[error("每周营业时段最多 50 个")]
    TooManySpans,
    /// More than [`MAX_EXCEPTIONS`] exceptions.
    #[error("特殊日期最多 100 个")]
    TooManyExceptions,
    /// A weekly span begins at 24:00, which is the next day's 00:00.
    #[error("开始时间不能是 24:00")]
    StartsAtMidnight {
        /// Which weekly span.
        span: usize,
    },
    /// Two weekly spans overlap.
    #[error("与另一个营业时段重叠")]
    Overlap {
        /// Which weekly span: the later one in the week.
        span: usize,
    },
    /// Something is wrong with an exception.
    #[error("{problem}")]
    Exception {
        /// Which exception.
        exception: usize,
        /// What is wrong.
        problem: ExceptionProblem,
    },
}

/// What is wrong with an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExceptionProblem {
    /// Another exception has the same date.
    #[error("同一日期只能设置一次")]
    DuplicateDate,
    /// The date is not in [`EXCEPTION_YEARS`].
    #[error("日期不正确")]
    Date,
    /// Closed, yet with hours.
    #[error("休息日不能再填营业时段")]
    ClosedWithSpans,
    /// Open, yet without hours.
    #[error("请填写营业时段或选择休息")]
    OpenWithoutSpans,
    /// More than [`MAX_DAY_SPANS`] spans.
    #[error("一天的营业时段最多 10 个")]
    TooManySpans,
    /// A span begins at 24:00.
    #[error("开始时间不能是 24:00")]
    StartsAtMidnight,
    /// Two spans of the day overlap.
    #[error("营业时段重叠")]
    Overlap,
    /// The note is too long or has hidden characters.
    #[error("备注{0}")]
    Note(TextError),
}

impl HoursError {
    /// The field at fault, relative to the hours: `weekly[2]`, `exceptions[0]`.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::TooManySpans => "weekly".to_owned(),
            Self::TooManyExceptions => "exceptions".to_owned(),
            Self::StartsAtMidnight { span } | Self::Overlap { span } => format!("weekly[{span}]"),
            Self::Exception { exception, .. } => format!("exceptions[{exception}]"),
        }
    }
}

/// The hours of a store, checked: bounded, no overlaps, one exception a date. The default is never open.
///
/// In JSON `{"weekly":[{"weekday":1,"from":"09:00","to":"21:00"}],"exceptions":[{"date":"2026-10-01","closed":true,
/// "spans":[],"note":"国庆节"}]}`; reading it makes the same checks as [`Self::new`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawHours", into = "RawHours")]
pub struct OpeningHours {
    /// As given, sorted by weekday and time.
    weekly: Vec<Span>,
    /// Spans of each weekday, sorted, Monday first: the index of `weekly`.
    days: [Vec<DaySpan>; 7],
    /// Their spans are sorted.
    exceptions: BTreeMap<NaiveDate, Exception>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHours {
    #[serde(default)]
    weekly: Vec<Span>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

impl TryFrom<RawHours> for OpeningHours {
    type Error = HoursError;

    fn try_from(raw: RawHours) -> Result<Self, HoursError> {
        Self::new(raw.weekly, raw.exceptions)
    }
}

impl From<OpeningHours> for RawHours {
    fn from(hours: OpeningHours) -> Self {
        Self { weekly: hours.weekly, exceptions: hours.exceptions.into_values().collect() }
    }
}

impl OpeningHours {
    /// Checks and sorts the spans and exceptions. Notes are trimmed.
    pub fn new(mut weekly: Vec<Span>, exceptions: Vec<Exception>) -> Result<Self, HoursError> {
        if weekly.len() > MAX_WEEKLY {
            return Err(HoursError::TooManySpans);
        }
        if exceptions.len() > MAX_EXCEPTIONS {
            return Err(HoursError::TooManyExceptions);
        }
        check_weekly(&weekly)?;
        weekly.sort_by_key(|span| (span.weekday, span.from));
        let mut days: [Vec<DaySpan>; 7] = Default::default();
        for span in &weekly {
            days[usize::from(span.weekday.0 - 1)].push(DaySpan { from: span.from, to: span.to });
        }
        let mut by_date = BTreeMap::new();
        for (index, exception) in exceptions.into_iter().enumerate() {
            let at = |problem| HoursError::Exception { exception: index, problem };
            let exception = check_exception(exception).map_err(at)?;
            if by_date.insert(exception.date, exception).is_some() {
                return Err(at(ExceptionProblem::DuplicateDate));
            }
        }
        Ok(Self { weekly, days, exceptions: by_date })
    }

    /// The weekly spans by weekday and time.
    #[must_use]
    pub fn weekly(&self) -> &[Span] {
        &self.weekly
    }

    /// The exceptions by date.
    pub fn exceptions(&self) -> impl Iterator<Item = &Exception> {
        self.exceptions.values()
    }

    /// The spans that begin on this local date.
    #[must_use]
    pub fn spans_on(&self, date: NaiveDate) -> &[DaySpan] {
        match self.exceptions.get(&date) {
            Some(exception) => &exception.spans,
            None => &self.days[usize::from(Weekday::of(date).0 - 1)],
        }
    }

    /// Whether the store is open at `now`.
    #[must_use]
    pub fn is_open(&self, zone: Tz, now: DateTime<Utc>) -> bool {
        self.intervals(zone, now, 1).next().is_some_and(|open| open.start <= now)
    }

    /// When the store next goes from closed to open, strictly after `now`. If it is open now, that is the opening
    /// after the coming closing. `None`: not within [`SEARCH_DAYS`] (never open, or never closed).
    #[must_use]
    pub fn next_open_at(&self, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut until = now;
        for open in self.intervals(zone, now, SEARCH_DAYS) {
            if open.start > until {
                return Some(open.start);
            }
            until = until.max(open.end);
        }
        None
    }

    /// When the store closes, if it is open at `now`: adjoining spans count as one. `None`: closed now, or not
    /// closing within [`SEARCH_DAYS`] (open around the clock).
    #[must_use]
    pub fn closes_at(&self, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut until = now;
        for open in self.intervals(zone, now, SEARCH_DAYS + 4) {
            if open.start > until {
                break;
            }
            until = until.max(open.end);
        }
        // Beyond the horizon there is no telling; the search went on some days so that clock changes don't matter.
        (until > now && until - now <= TimeDelta::days(SEARCH_DAYS.into())).then_some(until)
    }

    /// The weekly hours for people: `周一至周五 09:00–21:00，周六、周日 10:00–22:00`.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.weekly.is_empty() {
            return "暂无营业时间".to_owned();
        }
        let mut groups: Vec<(&[DaySpan], Vec<Weekday>)> = Vec::new();
        for weekday in Weekday::ALL {
            let spans = &self.days[usize::from(weekday.0 - 1)][..];
            match groups.iter_mut().find(|(known, _)| *known == spans) {
                Some((_, weekdays)) => weekdays.push(weekday),
                None => groups.push((spans, vec![weekday])),
            }
        }
        let texts = groups.iter().map(|(spans, weekdays)| {
            let names = weekday_names(weekdays);
            if spans.is_empty() { format!("{names}休息") } else { format!("{names} {}", span_texts(spans)) }
        });
        texts.collect::<Vec<_>>().join("，")
    }

    /// The open intervals in UTC that contain `now` or begin later, by start; not merged, none empty.
    /// They begin on the local dates from the day before yesterday until `days` days from now.
    fn intervals(
        &self,
        zone: Tz,
        now: DateTime<Utc>,
        days: u16,
    ) -> impl Iterator<Item = Range<DateTime<Utc>>> {
        let today = now.with_timezone(&zone).date_naive();
        // A span ends at most a day after its own; a clock change may move that by one more.
        let first = today.checked_sub_days(Days::new(2)).unwrap_or(today);
        let days =
            if self.weekly.is_empty() && self.exceptions.is_empty() { 0 } else { usize::from(days) + 3 };
        first.iter_days().take(days).flat_map(move |date| {
            self.spans_on(date).iter().filter_map(move |span| {
                let minutes = span.minutes();
                let open = local_instant(zone, date, minutes.start)..local_instant(zone, date, minutes.end);
                (!open.is_empty() && open.end > now).then_some(open)
            })
        })
    }
}

/// `周一至周五`, `周六、周日`, `每天`.
fn weekday_names(weekdays: &[Weekday]) -> String {
    if weekdays.len() == 7 {
        return "每天".to_owned();
    }
    let runs = weekdays.chunk_by(|a, b| a.0 + 1 == b.0).map(|run| match run {
        [first, _, .., last] => format!("{}至{}", first.name(), last.name()),
        few => few.iter().map(|weekday| weekday.name()).collect::<Vec<_>>().join("、"),
    });
    runs.collect::<Vec<_>>().join("、")
}

fn span_texts(spans: &[DaySpan]) -> String {
    spans.iter().map(ToString::to_string).collect::<Vec<_>>().join("、")
}

/// Looks for overlaps around the week: Sunday's night reaches into Monday.
fn check_weekly(weekly: &[Span]) -> Result<(), HoursError> {
    let mut ranges = Vec::with_capacity(weekly.len());
    for (index, span) in weekly.iter().enumerate() {
        if span.from.0 == DAY_MIN {
            return Err(HoursError::StartsAtMidnight { span: index });
        }
        let midnight = u32::from(span.weekday.0 - 1) * u32::from(DAY_MIN);
        let minutes = DaySpan { from: span.from, to: span.to }.minutes();
        ranges.push((midnight + u32::from(minutes.start), midnight + u32::from(minutes.end), index));
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        if pair[0].1 > pair[1].0 {
            return Err(HoursError::Overlap { span: pair[1].2 });
        }
    }
    match (ranges.first(), ranges.last()) {
        (Some(first), Some(last)) if last.1 > first.0 + WEEK_MIN => Err(HoursError::Overlap { span: last.2 }),
        _ => Ok(()),
    }
}

fn check_exception(mut exception: Exception) -> Result<Exception, ExceptionProblem> {
    if !EXCEPTION_YEARS.contains(&exception.date.year()) {
        return Err(ExceptionProblem::Date);
    }
    let spans = &mut exception.spans;
    match (exception.closed, spans.len()) {
        (true, 1..) => return Err(ExceptionProblem::ClosedWithSpans),
        (false, 0) => return Err(ExceptionProblem::OpenWithoutSpans),
        (false, count) if count > MAX_DAY_SPANS => return Err(ExceptionProblem::TooManySpans),
        (true, 0) | (false, _) => {}
    }
    if spans.iter().any(|span| span.from.0 == DAY_MIN) {
        return Err(ExceptionProblem::StartsAtMidnight);
    }
    spans.sort_unstable();
    if spans.windows(2).any(|pair| pair[0].minutes().end > pair[1].minutes().start) {
        return Err(ExceptionProblem::Overlap);
    }
    exception.note = clean_text(&exception.note, 0, MAX_NOTE_CHARS).map_err(ExceptionProblem::Note)?;
    Ok(exception)
}

/// The instant of a local time, `minutes` after midnight on the clock (not elapsed). Never decreases when its
/// arguments grow: see the module's text on clock changes.
pub(crate) fn local_instant(zone: Tz, date: NaiveDate, minutes: u16) -> DateTime<Utc> {
    let mut local = date.and_time(NaiveTime::MIN) + TimeDelta::minutes(minutes.into());
    // The longest gap ever was a whole day (Samoa left out 30 December 2011).
    for _ in 0..=2 * DAY_MIN {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => return instant.to_utc(),
            LocalResult::None => local += TimeDelta::minutes(1),
        }
    }
    local.and_utc()
}

/// The instants between which a span that begins on `date` lies; `to` ≤ `from` means the next day.
pub(crate) fn span_instants(
    zone: Tz,
    date: NaiveDate,
    from: ClockTime,
    to: ClockTime,
) -> Range<DateTime<Utc>> {
    let minutes = DaySpan { from, to }.minutes();
    local_instant(zone, date, minutes.start)..local_instant(zone, date, minutes.end)
}

/// The instant at which the business day `date` begins: `cutoff_hour` o'clock in the store's zone.
/// Hours above 23 count as 23.
#[must_use]
pub fn business_day_start(date: NaiveDate, zone: Tz, cutoff_hour: u32) -> DateTime<Utc> {
    let hour = u16::try_from(cutoff_hour.min(23)).unwrap_or(23);
    local_instant(zone, date, hour * 60)
}

/// The business day that `now` belongs to: the last one that has begun. With a cut-off at 4, the night until
/// 04:00 belongs to the day before.
#[must_use]
pub fn business_date(now: DateTime<Utc>, zone: Tz, cutoff_hour: u32) -> NaiveDate {
    // Judged by instants rather than by the local hour, so the date never steps back when clocks do.
    let today = now.with_timezone(&zone).date_naive();
    let begun = |date: &NaiveDate| business_day_start(*date, zone, cutoff_hour) <= now;
    let candidates = [today.succ_opt(), Some(today), today.pred_opt()];
    candidates.into_iter().flatten().find(begun).unwrap_or(today)
}

/// The first cut-off after `now`: where the next business day begins.
#[must_use]
pub fn next_cutoff(now: DateTime<Utc>, zone: Tz, cutoff_hour: u32) -> DateTime<Utc> {
    let mut date = business_date(now, zone, cutoff_hour);
    // More than one step only where a whole day was left out.
    for _ in 0..3 {
        let Some(next) = date.succ_opt() else { break };
        date = next;
        let start = business_day_start(date, zone, cutoff_hour);
        if start > now {
            return start;
        }
    }
    now
}

#[cfg(test)]
mod tests;
