//! Money: integer fen 分, never a float. Arithmetic is checked; an overflow is an error, not a wrong amount.

use serde::{Deserialize, Serialize};

/// An amount in fen. May be negative only where a sign is meant (a clawback).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(i64);

/// The largest price or order we take: 1,000,000 yuan. Sums of ≤ 50 lines stay far from overflow.
pub const MAX_AMOUNT_FEN: i64 = 100_000_000;

/// An amount left the range that can be exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("amount out of range")]
pub struct AmountOverflow;

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);

    /// From fen.
    pub const fn fen(fen: i64) -> Self {
        Self(fen)
    }

    /// In fen.
    pub const fn as_fen(self) -> i64 {
        self.0
    }

    /// Sum.
    pub fn plus(self, other: Money) -> Result<Money, AmountOverflow> {
        self.0.checked_add(other.0).map(Money).ok_or(AmountOverflow)
    }

    /// Difference.
    pub fn minus(self, other: Money) -> Result<Money, AmountOverflow> {
        self.0.checked_sub(other.0).map(Money).ok_or(AmountOverflow)
    }

    /// Multiple.
    pub fn times(self, n: u32) -> Result<Money, AmountOverflow> {
        self.0.checked_mul(i64::from(n)).map(Money).ok_or(AmountOverflow)
    }

    /// Sum of many.
    pub fn sum(amounts: impl IntoIterator<Item = Money>) -> Result<Money, AmountOverflow> {
        amounts.into_iter().try_fold(Money::ZERO, Money::plus)
    }

    /// For people: `12.80 元`.
    pub fn yuan_text(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let fen = self.0.unsigned_abs();
        format!("{sign}{}.{:02} 元", fen / 100, fen % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_an_error_and_text_is_exact() {
        assert_eq!(Money::fen(i64::MAX).plus(Money::fen(1)), Err(AmountOverflow));
        assert_eq!(Money::fen(i64::MAX).times(2), Err(AmountOverflow));
        assert_eq!(Money::fen(1280).yuan_text(), "12.80 元");
        assert_eq!(Money::fen(-5).yuan_text(), "-0.05 元");
        assert_eq!(Money::sum([Money::fen(1), Money::fen(2)]), Ok(Money::fen(3)));
    }
}
