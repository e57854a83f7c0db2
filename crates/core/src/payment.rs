//! Payments: the stored state and the one judgement over what WeChat says of them.

use crate::money::Money;
use crate::state::{IllegalTransition, text_enum};

text_enum! {
    /// The stored state of a payment.
    pub enum PaymentState {
        /// Our row exists; WeChat has not been asked, or its answer is unknown.
        Created = "Created",
        /// WeChat gave a prepay id.
        Pending = "Pending",
        /// The money came. Absorbing.
        Succeeded = "Succeeded",
        /// Closed at WeChat or never opened there.
        Closed = "Closed",
        /// WeChat refused it for good.
        Failed = "Failed",
    }
}

text_enum! {
    /// How an amount is paid or given back.
    pub enum Method {
        /// Through WeChat Pay.
        Wechat = "wechat",
        /// From a stored-value card.
        StoredValue = "stored_value",
        /// Nothing to pay.
        None = "none",
    }
}

/// What happens to a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentEvent {
    /// WeChat gave a prepay id.
    Prepay,
    /// The money came, however late.
    Succeed,
    /// Closed.
    Close,
    /// Refused for good.
    Fail,
}

impl PaymentEvent {
    /// Every event, for the table of transitions.
    pub const ALL: &'static [PaymentEvent] = &[Self::Prepay, Self::Succeed, Self::Close, Self::Fail];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepay => "prepay",
            Self::Succeed => "succeed",
            Self::Close => "close",
            Self::Fail => "fail",
        }
    }
}

impl PaymentState {
    /// The state after an event. A late success is a fact: it is legal from every state but `Succeeded`.
    pub fn after(self, event: PaymentEvent) -> Result<PaymentState, IllegalTransition> {
        use PaymentEvent as E;
        use PaymentState as S;
        match (event, self) {
            (E::Succeed, S::Created | S::Pending | S::Closed | S::Failed) => Ok(S::Succeeded),
            (E::Prepay, S::Created | S::Pending) => Ok(S::Pending),
            (E::Close, S::Created | S::Pending) => Ok(S::Closed),
            (E::Fail, S::Created | S::Pending) => Ok(S::Failed),
            (E::Succeed, S::Succeeded)
            | (E::Prepay | E::Close | E::Fail, S::Succeeded | S::Closed | S::Failed) => {
                Err(IllegalTransition { state: self.as_str(), event: event.as_str() })
            }
        }
    }
}

text_enum! {
    /// Why a verified message does not count as our payment. Each is a row in `payment_anomalies` and an alarm.
    pub enum AnomalyKind {
        /// Another amount than the order's.
        AmountMismatch = "amount_mismatch",
        /// Another currency than CNY.
        CurrencyMismatch = "currency_mismatch",
        /// Another merchant or mini-program than the payment's account.
        AccountMismatch = "account_mismatch",
        /// No payment of ours has this number.
        UnknownNumber = "unknown_number",
        /// Already settled by another WeChat transaction.
        SecondTransaction = "second_transaction",
        /// WeChat says that it was refunded before we knew that it was paid.
        RefundedElsewhere = "refunded_elsewhere",
        /// A refund message that does not fit our refund.
        RefundMismatch = "refund_mismatch",
    }
}

/// What WeChat says of a payment that succeeded, from a callback, a query or a bill alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidFacts {
    /// Whether the identities in the message are those of the payment's account.
    pub account_matches: bool,
    /// WeChat's own number.
    pub transaction_id: String,
    /// The order's amount (not what the payer really paid after WeChat's own coupons).
    pub total: Money,
    /// `CNY`.
    pub currency: String,
}

/// What our row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFacts {
    /// Its state.
    pub state: PaymentState,
    /// The amount asked.
    pub amount: Money,
    /// WeChat's number, once settled.
    pub transaction_id: Option<String>,
}

/// What to do with a message that says "paid".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleVerdict {
    /// Settle it now.
    Settle,
    /// Already settled by this very transaction.
    AlreadySettled,
    /// Never "paid": record it and raise the alarm.
    Anomaly(AnomalyKind),
}

/// The one judgement behind `settle_payments`.
pub fn judge_settlement(ours: &PaymentFacts, theirs: &PaidFacts) -> SettleVerdict {
    if !theirs.account_matches {
        return SettleVerdict::Anomaly(AnomalyKind::AccountMismatch);
    }
    if theirs.currency != "CNY" {
        return SettleVerdict::Anomaly(AnomalyKind::CurrencyMismatch);
    }
    if theirs.total != ours.amount {
        return SettleVerdict::Anomaly(AnomalyKind::AmountMismatch);
    }
    match ours.state.after(PaymentEvent::Succeed) {
        Ok(_) => SettleVerdict::Settle,
        Err(_) if ours.transaction_id.as_deref() == Some(theirs.transaction_id.as_str()) => {
            SettleVerdict::AlreadySettled
        }
        Err(_) => SettleVerdict::Anomaly(AnomalyKind::SecondTransaction),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_transitions() {
        let mut table = String::new();
        let mut reached = vec![PaymentState::Created];
        for event in PaymentEvent::ALL {
            for state in PaymentState::ALL {
                let after = state.after(*event);
                table.push_str(&format!(
                    "{:<8} {:<10} {}\n",
                    event.as_str(),
                    state.as_str(),
                    after.map_or("-", PaymentState::as_str)
                ));
                reached.extend(after);
            }
        }
        assert!(PaymentState::ALL.iter().all(|s| reached.contains(s)));
        insta::assert_snapshot!(table);
    }

    #[test]
    fn only_what_matches_in_everything_is_paid() {
        let ours = |state, tx: Option<&str>| PaymentFacts {
            state,
            amount: Money::fen(100),
            transaction_id: tx.map(str::to_owned),
        };
        let theirs = PaidFacts {
            account_matches: true,
            transaction_id: "42".into(),
            total: Money::fen(100),
            currency: "CNY".into(),
        };
        assert_eq!(judge_settlement(&ours(PaymentState::Pending, None), &theirs), SettleVerdict::Settle);
        assert_eq!(judge_settlement(&ours(PaymentState::Closed, None), &theirs), SettleVerdict::Settle);
        assert_eq!(
            judge_settlement(&ours(PaymentState::Succeeded, Some("42")), &theirs),
            SettleVerdict::AlreadySettled
        );
        let anomaly = |theirs: &PaidFacts, state| judge_settlement(&ours(state, Some("41")), theirs);
        assert_eq!(
            anomaly(&theirs, PaymentState::Succeeded),
            SettleVerdict::Anomaly(AnomalyKind::SecondTransaction)
        );
        let other = PaidFacts { total: Money::fen(99), ..theirs.clone() };
        assert_eq!(
            anomaly(&other, PaymentState::Pending),
            SettleVerdict::Anomaly(AnomalyKind::AmountMismatch)
        );
        let other = PaidFacts { currency: "USD".into(), ..theirs.clone() };
        assert_eq!(
            anomaly(&other, PaymentState::Pending),
            SettleVerdict::Anomaly(AnomalyKind::CurrencyMismatch)
        );
        let other = PaidFacts { account_matches: false, ..theirs };
        assert_eq!(
            anomaly(&other, PaymentState::Pending),
            SettleVerdict::Anomaly(AnomalyKind::AccountMismatch)
        );
    }
}
