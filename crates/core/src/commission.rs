//! The verifier's commission 提成: what a redeemed use earns its verifier.
//!
//! Promise: a use's commission depends on that use and the rule alone, so that undoing one use takes away exactly what
//! it had brought, whatever was redeemed with it.

use crate::money::Money;
use crate::state::{IllegalTransition, text_enum};

/// Ten thousandths in a whole.
const WHOLE: i64 = 10_000;
/// The most a rule may give of each use's worth: all of it.
pub const MAX_BASIS_POINTS: u32 = 10_000;
/// The most a rule may give for each use, in fen: 1,000 yuan.
pub const MAX_PER_USE_FEN: i64 = 100_000;
/// Rules in force of one merchant: one for all products and one for each that differs.
pub const MAX_RULES: usize = 500;

/// What a rule gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Of the use's worth, in ten thousandths: 250 is 2.5 %.
    pub basis_points: u32,
    /// For each use besides.
    pub per_use: Money,
}

impl Terms {
    /// What a use of this worth earns. The one place where a commission is rounded: the share of each single use, half
    /// a fen upwards.
    pub fn commission(self, worth: Money) -> Money {
        let parts = i128::from(worth.as_fen().max(0)) * i128::from(self.basis_points);
        let share = (2 * parts + i128::from(WHOLE)) / (2 * i128::from(WHOLE));
        // A share of at most the whole fits where the whole did.
        let share = i64::try_from(share).unwrap_or(i64::MAX);
        Money::fen(share.saturating_add(self.per_use.as_fen()))
    }
}

text_enum! {
    /// Where the commission of one use is.
    pub enum CommissionState {
        /// Earned, as long as the use is not undone.
        Pending = "Pending",
        /// The use cannot be undone any more.
        Matured = "Matured",
        /// The use was undone.
        Reversed = "Reversed",
    }
}

text_enum! {
    /// What happens to it.
    pub enum CommissionEvent {
        /// The time for undoing the use is over.
        Mature = "mature",
        /// The use was undone.
        Reverse = "reverse",
    }
}

impl CommissionState {
    /// The state after an event. A use may have been undone just before its time was over, and the news come after:
    /// what was matured can be reversed.
    pub const fn after(self, event: CommissionEvent) -> Result<Self, IllegalTransition> {
        use CommissionEvent as E;
        match (self, event) {
            (Self::Pending, E::Mature) => Ok(Self::Matured),
            (Self::Pending | Self::Matured, E::Reverse) => Ok(Self::Reversed),
            (Self::Matured | Self::Reversed, E::Mature) | (Self::Reversed, E::Reverse) => {
                Err(IllegalTransition { state: self.as_str(), event: event.as_str() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(basis_points: u32, per_use_fen: i64) -> Terms {
        Terms { basis_points, per_use: Money::fen(per_use_fen) }
    }

    #[test]
    fn half_a_fen_is_rounded_up() {
        for (worth, basis_points, per_use, commission) in [
            (0, 10_000, 0, 0),
            (0, 500, 30, 30),
            (100, 500, 0, 5),
            (110, 500, 0, 6),
            (109, 500, 0, 5),
            (90, 500, 0, 5),
            (10, 500, 0, 1),
            (9, 500, 0, 0),
            (333, 250, 20, 28),
            (1, 10_000, 0, 1),
            (1, 5_000, 0, 1),
            (1, 4_999, 0, 0),
            (100_000_000, 10_000, 100_000, 100_100_000),
        ] {
            let got = terms(basis_points, per_use).commission(Money::fen(worth));
            assert_eq!(got.as_fen(), commission, "{worth} at {basis_points} and {per_use}");
        }
    }

    #[test]
    fn table_of_states() {
        let mut table = String::new();
        for state in CommissionState::ALL {
            for event in CommissionEvent::ALL {
                let after = state.after(*event).map_or("–", CommissionState::as_str);
                table.push_str(&format!("{state} {event} → {after}\n"));
            }
        }
        insta::assert_snapshot!(table, @r"
        Pending mature → Matured
        Pending reverse → Reversed
        Matured mature → –
        Matured reverse → Reversed
        Reversed mature → –
        Reversed reverse → –
        ");
    }

    proptest! {
        #[test]
        fn never_more_than_the_rule_says(worth in 0i64..=100_000_000, basis_points in 0u32..=10_000, per_use in 0i64..=100_000) {
            let got = terms(basis_points, per_use).commission(Money::fen(worth)).as_fen();
            let exact = i128::from(worth) * i128::from(basis_points);
            let share = i128::from(got - per_use) * 10_000;
            prop_assert!((share - exact).abs() * 2 <= 10_000);
            prop_assert!(got >= per_use && got - per_use <= worth);
        }
    }
}
