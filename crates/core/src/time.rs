//! Instants and business dates. An instant is UTC microseconds since the epoch, in Rust and in both databases,
//! so that what was written compares equal to what is read back.

use std::fmt;

use chrono::{DateTime, Duration, NaiveDate, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, truncated to microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The smallest and largest instants we take: years 1970 to 9999.
    pub const MAX_MICROS: i64 = 253_402_300_799_999_999;

    /// From microseconds since the epoch, kept within years 1970–9999.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(0, Self::MAX_MICROS))
    }

    /// From chrono, dropping what is below a microsecond.
    pub fn from_datetime(at: DateTime<Utc>) -> Self {
        Self::from_micros(at.timestamp_micros())
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0 / 1_000_000
    }

    /// As chrono.
    pub fn datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// Later by that much (saturating).
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(duration.num_microseconds().unwrap_or(i64::MAX)))
    }

    /// Earlier by that much (saturating).
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(duration.num_microseconds().unwrap_or(i64::MAX)))
    }

    /// How long after `earlier`.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::microseconds(self.0.saturating_sub(earlier.0))
    }

    /// For people, in their zone: `2026-11-23 18:30`.
    pub fn local_text(self, zone: Tz) -> String {
        self.datetime().with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string()
    }

    /// The clock alone: `18:30`.
    pub fn local_clock(self, zone: Tz) -> String {
        self.datetime().with_timezone(&zone).format("%H:%M").to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.datetime().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// RFC 3339 with a zone; a time without one is refused.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let at = DateTime::parse_from_rfc3339(&text).map_err(|_| {
            serde::de::Error::custom("expected a time with its zone, like 2026-11-23T18:30:00+08:00")
        })?;
        Ok(Self::from_datetime(at.with_timezone(&Utc)))
    }
}

/// The day on which an event counts for a store, by its zone and cut-off hour. Written when the event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BusinessDate(pub NaiveDate);

impl fmt::Display for BusinessDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d"))
    }
}

/// The zone a store or merchant lives in and the hour at which its business day ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusinessDay {
    /// IANA zone; `Asia/Shanghai` unless a store says otherwise.
    pub zone: Tz,
    /// 0–23: events before this hour count for the day before.
    pub cutoff_hour: u32,
}

impl Default for BusinessDay {
    fn default() -> Self {
        Self { zone: Tz::Asia__Shanghai, cutoff_hour: 0 }
    }
}

impl BusinessDay {
    /// The business date of an instant.
    pub fn date(self, at: Timestamp) -> BusinessDate {
        BusinessDate(crate::hours::business_date(at.datetime(), self.zone, self.cutoff_hour))
    }

    /// When a business day begins.
    pub fn start_of(self, date: NaiveDate) -> Timestamp {
        Timestamp::from_datetime(crate::hours::business_day_start(date, self.zone, self.cutoff_hour))
    }

    /// The first cut-off after an instant: where the next business day begins.
    pub fn next_start(self, at: Timestamp) -> Timestamp {
        Timestamp::from_datetime(crate::hours::next_cutoff(at.datetime(), self.zone, self.cutoff_hour))
    }

    /// When revenue of a redemption at `at` is earned: the next cut-off, and 24 hours.
    pub fn matures_at(self, at: Timestamp) -> Timestamp {
        self.next_start(at).plus(Duration::hours(24))
    }
}
