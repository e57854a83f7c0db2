//! Order numbers for people: `YYMMDD` (the day at the merchant) and 10 digits.
//!
//! A number is read out on the phone and printed on slips. It is no secret and redeems nothing by itself; the digits
//! are random so that it doesn't tell how many orders a merchant has. Uniqueness is the database's promise (unique in
//! the merchant): on a collision the caller draws again.

use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::text::digit_value;

/// Digits of an order number.
pub const ORDER_NUMBER_LEN: usize = 16;
/// 10^10: the numbers of one day.
const DAY_SPACE: u128 = 10_000_000_000;
/// Typed input longer than this is refused unread.
const MAX_TYPED_CHARS: usize = 64;

/// Not an order number. `Display` is the text for the person who typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("订单号应为 16 位数字")]
pub struct OrderNumberError;

/// An order number: 16 digits, `YYMMDD` and 10 more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderNumber(String);

impl OrderNumber {
    /// A number for an order placed at `now`, dated in the merchant's zone, from 128 random bits
    /// (`entropy mod 10^10`; the bias is below 10⁻²⁸).
    #[must_use]
    pub fn new(now: DateTime<Utc>, zone: Tz, entropy: [u8; 16]) -> Self {
        let date = now.with_timezone(&zone).date_naive();
        let tail = u128::from_be_bytes(entropy) % DAY_SPACE;
        Self(format!("{:02}{:02}{:02}{tail:010}", date.year().rem_euclid(100), date.month(), date.day()))
    }

    /// Reads a number as people type it: spaces, hyphens and full-width digits are allowed.
    pub fn parse(input: &str) -> Result<Self, OrderNumberError> {
        if input.chars().count() > MAX_TYPED_CHARS {
            return Err(OrderNumberError);
        }
        let digits = input
            .chars()
            .filter(|&c| !c.is_whitespace() && c != '-')
            .map(|c| digit_value(c).map(|value| char::from(b'0' + value)))
            .collect::<Option<String>>()
            .ok_or(OrderNumberError)?;
        if digits.len() == ORDER_NUMBER_LEN { Ok(Self(digits)) } else { Err(OrderNumberError) }
    }

    /// The 16 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for OrderNumber {
    type Error = OrderNumberError;

    fn try_from(input: String) -> Result<Self, OrderNumberError> {
        Self::parse(&input)
    }
}

impl From<OrderNumber> for String {
    fn from(number: OrderNumber) -> Self {
        number.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    #[test]
    fn dated_in_the_merchants_zone() {
        let now = Utc.with_ymd_and_hms(2026, 12, 31, 16, 0, 0).unwrap();
        let entropy = (7 * DAY_SPACE + 42).to_be_bytes();
        assert_eq!(OrderNumber::new(now, chrono_tz::Asia::Shanghai, entropy).as_str(), "2701010000000042");
        assert_eq!(OrderNumber::new(now, Tz::UTC, entropy).as_str(), "2612310000000042");
    }

    #[test]
    fn typed_forms() {
        for typed in ["2701010000000042", " 270101 0000-000042 ", "２７０１０１００００００００４２"]
        {
            assert_eq!(OrderNumber::parse(typed).unwrap().to_string(), "2701010000000042");
        }
        for wrong in ["", "270101000000004", "27010100000000422", "27010100000000x2", &"1 ".repeat(33)] {
            assert_eq!(OrderNumber::parse(wrong), Err(OrderNumberError), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_number_reads_back(entropy: [u8; 16], seconds in 0_i64..4_000_000_000) {
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            let number = OrderNumber::new(now, chrono_tz::Asia::Shanghai, entropy);
            prop_assert_eq!(number.as_str().len(), ORDER_NUMBER_LEN);
            prop_assert_eq!(OrderNumber::parse(number.as_str()), Ok(number));
        }
    }
}
