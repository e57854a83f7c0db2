//! Refunds: the stored state, and which uses of a voucher a refund takes and what they are worth.

use crate::money::Money;
use crate::split::use_value_fen;
use crate::state::{IllegalTransition, text_enum};

text_enum! {
    /// The stored state of a refund.
    pub enum RefundState {
        /// Asked for; its uses are locked; WeChat has not been asked.
        Created = "Created",
        /// Sent to WeChat, or about to be: its outcome there is not known.
        Submitted = "Submitted",
        /// WeChat took it ("accepted" is not "done").
        Processing = "Processing",
        /// WeChat refused it for a cause that can go away; the same number is sent again then.
        Blocked = "Blocked",
        /// WeChat gave up on this number; the next attempt has a new one.
        Closed = "Closed",
        /// The money could not reach the customer's card.
        Abnormal = "Abnormal",
        /// WeChat was told where else to send the money.
        AbnormalSubmitted = "AbnormalSubmitted",
        /// The money is back.
        Succeeded = "Succeeded",
        /// Taken back by the customer before it was sent.
        Withdrawn = "Withdrawn",
        /// Paid outside WeChat, with evidence and an approver.
        ManuallyDone = "ManuallyDone",
    }
}

text_enum! {
    /// Why a refund is blocked.
    pub enum BlockedReason {
        /// The merchant's balance is short.
        NotEnough = "not_enough",
        /// The customer's account cannot take it.
        Account = "account",
        /// More than 365 days after the payment.
        TooOld = "too_old",
        /// Too many refunds on this payment, or too many requests.
        Quota = "quota",
        /// Anything else WeChat refuses; a person has to look.
        Refused = "refused",
    }
}

text_enum! {
    /// Where a refund comes from.
    pub enum RefundCause {
        /// The customer asked for unused uses.
        Customer = "customer",
        /// The payment came after the order was closed.
        LatePayment = "late_payment",
        /// The voucher expired and its policy refunds.
        Expiry = "expiry",
        /// The group-buy failed.
        GroupFailed = "group_failed",
        /// Decided by review.
        Review = "review",
    }
}

/// What happens to a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundEvent {
    /// It is about to be sent (first time, again after a cause is gone, or under a new number).
    Submit,
    /// WeChat took it.
    Accept,
    /// WeChat refused it for a cause that can go away.
    Block,
    /// The money is back.
    Succeed,
    /// WeChat gave up on this number.
    Close,
    /// The money could not reach the card.
    Abnormal,
    /// WeChat is told where else to send the money.
    SubmitAbnormal,
    /// The customer took it back.
    Withdraw,
    /// Paid outside WeChat.
    FinishManually,
}

impl RefundEvent {
    /// Every event, for the table of transitions.
    pub const ALL: &'static [RefundEvent] = &[
        Self::Submit,
        Self::Accept,
        Self::Block,
        Self::Succeed,
        Self::Close,
        Self::Abnormal,
        Self::SubmitAbnormal,
        Self::Withdraw,
        Self::FinishManually,
    ];

    /// Its name in event rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "refund_submit",
            Self::Accept => "refund_accept",
            Self::Block => "refund_block",
            Self::Succeed => "refund_succeed",
            Self::Close => "refund_close",
            Self::Abnormal => "refund_abnormal",
            Self::SubmitAbnormal => "refund_submit_abnormal",
            Self::Withdraw => "refund_withdraw",
            Self::FinishManually => "refund_finish_manually",
        }
    }
}

impl RefundState {
    /// Whether WeChat may still return the money under the current number: one such refund for each payment.
    pub const fn in_flight(self) -> bool {
        match self {
            Self::Submitted | Self::Processing | Self::AbnormalSubmitted => true,
            Self::Created
            | Self::Blocked
            | Self::Closed
            | Self::Abnormal
            | Self::Succeeded
            | Self::Withdrawn
            | Self::ManuallyDone => false,
        }
    }

    /// Whether it is over.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Withdrawn | Self::ManuallyDone)
    }

    /// Whether its uses are locked and its money is neither with the customer nor free again.
    pub const fn holds_uses(self) -> bool {
        !self.is_final()
    }

    /// What a person reads.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Created => "已申请",
            Self::Submitted | Self::Processing | Self::AbnormalSubmitted => "退款处理中",
            Self::Blocked => "等待商家处理",
            Self::Closed => "退款未成功，将重新发起",
            Self::Abnormal => "退款异常，商家处理中",
            Self::Succeeded => "已退款",
            Self::Withdrawn => "已撤回",
            Self::ManuallyDone => "已线下退款",
        }
    }

    /// The state after an event. WeChat's messages may overtake each other, so a final answer is
    /// accepted straight from `Submitted`, and a success also after we had read "closed" or "abnormal".
    pub fn after(self, event: RefundEvent) -> Result<RefundState, IllegalTransition> {
        use RefundEvent as E;
        use RefundState as S;
        match (event, self) {
            (E::Submit, S::Created | S::Blocked | S::Closed) => Ok(S::Submitted),
            (E::Accept, S::Submitted | S::AbnormalSubmitted) => Ok(S::Processing),
            (E::Block, S::Submitted) => Ok(S::Blocked),
            (
                E::Succeed,
                S::Submitted | S::Processing | S::Abnormal | S::AbnormalSubmitted | S::Blocked | S::Closed,
            ) => Ok(S::Succeeded),
            (E::Close, S::Submitted | S::Processing | S::AbnormalSubmitted) => Ok(S::Closed),
            (E::Abnormal, S::Submitted | S::Processing | S::AbnormalSubmitted) => Ok(S::Abnormal),
            (E::SubmitAbnormal, S::Abnormal) => Ok(S::AbnormalSubmitted),
            (E::Withdraw, S::Created) => Ok(S::Withdrawn),
            (E::FinishManually, S::Abnormal | S::Blocked) => Ok(S::ManuallyDone),
            (
                E::Submit,
                S::Submitted
                | S::Processing
                | S::Abnormal
                | S::AbnormalSubmitted
                | S::Succeeded
                | S::Withdrawn
                | S::ManuallyDone,
            )
            | (
                E::Accept,
                S::Created
                | S::Processing
                | S::Blocked
                | S::Closed
                | S::Abnormal
                | S::Succeeded
                | S::Withdrawn
                | S::ManuallyDone,
            )
            | (
                E::Block,
                S::Created
                | S::Processing
                | S::Blocked
                | S::Closed
                | S::Abnormal
                | S::AbnormalSubmitted
                | S::Succeeded
                | S::Withdrawn
                | S::ManuallyDone,
            )
            | (E::Succeed, S::Created | S::Succeeded | S::Withdrawn | S::ManuallyDone)
            | (
                E::Close | E::Abnormal,
                S::Created
                | S::Blocked
                | S::Closed
                | S::Abnormal
                | S::Succeeded
                | S::Withdrawn
                | S::ManuallyDone,
            )
            | (
                E::SubmitAbnormal,
                S::Created
                | S::Submitted
                | S::Processing
                | S::Blocked
                | S::Closed
                | S::AbnormalSubmitted
                | S::Succeeded
                | S::Withdrawn
                | S::ManuallyDone,
            )
            | (
                E::Withdraw,
                S::Submitted
                | S::Processing
                | S::Blocked
                | S::Closed
                | S::Abnormal
                | S::AbnormalSubmitted
                | S::Succeeded
                | S::Withdrawn
                | S::ManuallyDone,
            )
            | (
                E::FinishManually,
                S::Created
                | S::Submitted
                | S::Processing
                | S::Closed
                | S::AbnormalSubmitted
                | S::Succeeded
                | S::Withdrawn
                | S::ManuallyDone,
            ) => Err(IllegalTransition { state: self.as_str(), event: event.as_str() }),
        }
    }
}

/// Refunds of one payment may not be more than this (WeChat's rule). WeChat counts numbers: one that it gave up on too.
pub const MAX_REFUND_NUMBERS: i64 = 50;
/// Seconds between two refunds of one payment (WeChat's rule).
pub const REFUND_SPACING_S: i64 = 60;

/// The number a refund has at WeChat in its n-th attempt: the first is the id itself.
pub fn out_refund_no(id: crate::id::RefundId, attempt: i64) -> String {
    if attempt <= 1 { id.to_string() } else { format!("{id}-{attempt}") }
}

/// The refund and attempt that a number names.
pub fn parse_out_refund_no(number: &str) -> Option<(crate::id::RefundId, i64)> {
    use crate::id::Id;
    match number.split_once('-') {
        None => crate::id::RefundId::parse(number).ok().map(|id| (id, 1)),
        Some((id, attempt)) => {
            let attempt: i64 = attempt.parse().ok().filter(|n| *n >= 2)?;
            crate::id::RefundId::parse(id).ok().map(|id| (id, attempt))
        }
    }
}

/// What some uses of a voucher are worth: the sum over their serials, exact by construction.
pub fn uses_worth(voucher_total: Money, uses: u32, serials: &[u32]) -> Money {
    Money::fen(serials.iter().map(|s| use_value_fen(voucher_total.as_fen(), uses, *s)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    #[test]
    fn table_of_transitions() {
        let mut table = String::new();
        let mut reached = vec![RefundState::Created];
        for event in RefundEvent::ALL {
            for state in RefundState::ALL {
                let after = state.after(*event);
                table.push_str(&format!(
                    "{:<24} {:<18} {}\n",
                    event.as_str(),
                    state.as_str(),
                    after.map_or("-", RefundState::as_str)
                ));
                reached.extend(after);
            }
        }
        assert!(RefundState::ALL.iter().all(|s| reached.contains(s)));
        insta::assert_snapshot!(table);
    }

    #[test]
    fn numbers_round_trip() {
        let id = crate::id::RefundId::from_uuid(uuid::Uuid::from_u128(7));
        for attempt in [1, 2, 17] {
            assert_eq!(parse_out_refund_no(&out_refund_no(id, attempt)), Some((id, attempt)));
        }
        assert_eq!(parse_out_refund_no(&format!("{id}-1")), None);
        assert_eq!(parse_out_refund_no("ord_00000000000000000000000007"), None);
        assert!(out_refund_no(id, 99_999).len() <= 64);
    }

    #[test]
    fn worth_of_all_uses_is_the_whole() {
        assert_eq!(uses_worth(Money::fen(100), 3, &[1, 2, 3]), Money::fen(100));
        assert_eq!(uses_worth(Money::fen(100), 3, &[3]), Money::fen(34));
    }
}
