//! What one verifier may redeem on one day, when headquarters set a limit.

use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::reason::{Reason, Refusal};

/// The most uses a day that can be set as a limit.
pub const MAX_USES_A_DAY: u32 = 100_000;
/// The highest amount a day that can be set as a limit, in fen.
pub const MAX_AMOUNT_A_DAY_FEN: i64 = 10_000_000_000;

/// A verifier's own limits; `None` = any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifierLimit {
    /// Uses on one business day.
    pub uses_a_day: Option<u32>,
    /// Their worth on one business day.
    pub amount_a_day: Option<Money>,
}

impl VerifierLimit {
    /// Whether there is anything to check.
    pub const fn is_set(self) -> bool {
        self.uses_a_day.is_some() || self.amount_a_day.is_some()
    }
}

/// What a verifier redeemed on a business day, without what was undone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Uses.
    pub uses: i64,
    /// Their worth.
    pub amount: Money,
}

impl Spent {
    /// With one more redemption.
    #[must_use]
    pub const fn plus(self, uses: i64, amount: Money) -> Self {
        Self { uses: self.uses + uses, amount: Money::fen(self.amount.as_fen() + amount.as_fen()) }
    }
}

/// Refuses a redemption that would go beyond the limit.
pub fn check_limit(limit: VerifierLimit, spent: Spent, uses: i64, amount: Money) -> Result<(), Refusal> {
    let after = spent.plus(uses, amount);
    if let Some(most) = limit.uses_a_day.filter(|most| after.uses > i64::from(*most)) {
        let message = format!("您每天最多核销 {most} 次，今天已核销 {} 次", spent.uses);
        return Err(Refusal::with_message(Reason::LimitExceeded, message));
    }
    if let Some(most) = limit.amount_a_day.filter(|most| after.amount > *most) {
        let message = format!("您每天最多核销 {}，今天已核销 {}", most.yuan_text(), spent.amount.yuan_text());
        return Err(Refusal::with_message(Reason::LimitExceeded, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_and_amount_up_to_the_limit_and_no_further() {
        let limit =
            |uses_a_day, fen: Option<i64>| VerifierLimit { uses_a_day, amount_a_day: fen.map(Money::fen) };
        let spent = Spent { uses: 3, amount: Money::fen(300) };
        let cases = [
            (limit(None, None), 1_000, 1_000_000, None),
            (limit(Some(5), None), 2, 9_999, None),
            (limit(Some(5), None), 3, 0, Some("您每天最多核销 5 次，今天已核销 3 次")),
            (limit(None, Some(500)), 99, 200, None),
            (limit(None, Some(500)), 1, 201, Some("您每天最多核销 5.00 元，今天已核销 3.00 元")),
            (limit(Some(9), Some(500)), 1, 201, Some("您每天最多核销 5.00 元，今天已核销 3.00 元")),
            (limit(Some(0), None), 1, 0, Some("您每天最多核销 0 次，今天已核销 3 次")),
            // A limit that was lowered below what is done already.
            (limit(Some(2), None), 1, 0, Some("您每天最多核销 2 次，今天已核销 3 次")),
        ];
        for (limit, uses, fen, expected) in cases {
            let refusal = check_limit(limit, spent, uses, Money::fen(fen)).err();
            assert_eq!(refusal.as_ref().map(|r| r.message.as_str()), expected, "{limit:?}");
            assert!(refusal.is_none_or(|r| r.reason == Reason::LimitExceeded));
        }
    }
}
