//! Consent 同意: nothing of a customer is shown at the counter by their phone or an order's number before they have
//! tapped in their own app; and a tap there takes a refund back that has not been sent, to redeem its uses.

use crate::id::{RefundId, VoucherId};
use crate::reason::{Reason, Refusal};
use crate::redeem::VoucherFacts;
use crate::state::{IllegalTransition, text_enum};
use crate::time::Timestamp;

/// How long a customer can answer, and then how long the verifier can use the answer.
pub const CONSENT_S: i64 = 120;
/// Requests of one member of staff that wait for an answer.
pub const MAX_PENDING: i64 = 5;
/// The window in which requests are counted.
pub const WINDOW_MINUTES: i64 = 10;
/// Requests of one member of staff in the window.
pub const MAX_BY_STAFF: i64 = 20;
/// Requests of one store in the window.
pub const MAX_BY_STORE: i64 = 100;
/// Requests that one customer is shown at once.
pub const MAX_SHOWN: i64 = 20;
/// Vouchers that a lookup lists.
pub const MAX_LISTED: usize = 50;
/// Refunds that one tap takes back.
pub const MAX_WITHDRAWN: usize = 10;

text_enum! {
    /// What a customer is asked for.
    pub enum ConsentKind {
        /// To let a verifier see their vouchers.
        Lookup = "lookup",
        /// To take refunds back and redeem.
        WithdrawRefund = "withdraw_refund",
    }
}

text_enum! {
    /// What became of a request.
    pub enum ConsentState {
        /// Nobody has answered.
        Pending = "Pending",
        /// The customer agreed.
        Approved = "Approved",
        /// The customer refused.
        Denied = "Denied",
        /// Nobody answered in time, or the answer was not used in time. Not stored: time tells.
        Expired = "Expired",
        /// What it was asked for was done.
        Used = "Used",
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentEvent {
    /// The customer taps yes.
    Approve,
    /// The customer taps no.
    Deny,
    /// Its time is over.
    Expire,
    /// It is made use of.
    Use,
}

impl ConsentEvent {
    /// Every event, for the table of transitions.
    pub const ALL: &'static [ConsentEvent] = &[Self::Approve, Self::Deny, Self::Expire, Self::Use];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Expire => "expire",
            Self::Use => "use",
        }
    }
}

impl ConsentState {
    /// The state after an event.
    pub fn after(self, event: ConsentEvent) -> Result<ConsentState, IllegalTransition> {
        use ConsentEvent as E;
        use ConsentState as S;
        match (event, self) {
            (E::Approve, S::Pending) => Ok(S::Approved),
            (E::Deny, S::Pending) => Ok(S::Denied),
            (E::Expire, S::Pending | S::Approved) => Ok(S::Expired),
            (E::Use, S::Approved) => Ok(S::Used),
            (E::Approve | E::Deny, S::Approved | S::Denied | S::Expired | S::Used)
            | (E::Expire, S::Denied | S::Expired | S::Used)
            | (E::Use, S::Pending | S::Denied | S::Expired | S::Used) => {
                Err(IllegalTransition { state: self.as_str(), event: event.as_str() })
            }
        }
    }

    /// The state as it is at an instant: what is stored does not know the time.
    #[must_use]
    pub fn at(self, now: Timestamp, expires_at: Timestamp) -> ConsentState {
        if now < expires_at { self } else { self.after(ConsentEvent::Expire).unwrap_or(self) }
    }
}

/// How much was asked already, counted under the lock of the member of staff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// By the same member of staff, still waiting.
    pub pending: i64,
    /// By the same member of staff in the window.
    pub by_staff: i64,
    /// In the same store in the window.
    pub by_store: i64,
}

/// Whether one more request may be made: whoever wants to find out numbers by trying must not get far.
pub fn check_ask(asked: Asked) -> Result<(), Refusal> {
    let too_many = |text: String| Err(Refusal::with_message(Reason::RateLimited, text));
    if asked.pending >= MAX_PENDING {
        return too_many(format!("您有 {MAX_PENDING} 个请求还在等顾客同意，请稍后再发起"));
    }
    if asked.by_staff >= MAX_BY_STAFF || asked.by_store >= MAX_BY_STORE {
        return too_many(format!("{WINDOW_MINUTES} 分钟内发起的请求太多，请稍后再试，或改用扫码"));
    }
    Ok(())
}

/// Whether the customer may still answer.
pub fn check_tap(seen: ConsentState) -> Result<(), Refusal> {
    match seen {
        ConsentState::Pending => Ok(()),
        ConsentState::Expired => Err(Reason::ConsentExpired.into()),
        ConsentState::Approved | ConsentState::Denied | ConsentState::Used => {
            Err(Refusal::with_message(Reason::IllegalState, "您已经处理过这个请求"))
        }
    }
}

/// Whether the verifier may list what the customer agreed to show. `live`: the answer's time is not over.
pub fn check_lookup(seen: ConsentState, live: bool) -> Result<(), Refusal> {
    match seen {
        ConsentState::Approved => Ok(()),
        // The answer to the first listing may have been lost: the same may be read again for as long as it lives.
        ConsentState::Used if live => Ok(()),
        ConsentState::Pending => Err(Refusal::with_message(Reason::ConsentRequired, "顾客还没有同意")),
        ConsentState::Denied => Err(Reason::ConsentDenied.into()),
        ConsentState::Expired | ConsentState::Used => Err(Reason::ConsentExpired.into()),
    }
}

/// Uses of a voucher that a refund keeps which has not been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// By which refund.
    pub refund_id: RefundId,
    /// Of which voucher.
    pub voucher_id: VoucherId,
    /// How many uses.
    pub quantity: u32,
    /// When it was asked for.
    pub asked_at: Timestamp,
}

/// The fewest refunds, the latest first, whose uses make up for what the vouchers lack; nothing when they cannot. A
/// refund is taken back as a whole: its amount has one number.
pub fn refunds_to_withdraw(lacking: &[(VoucherId, u32)], held: &[Held]) -> Option<Vec<RefundId>> {
    let mut chosen: Vec<RefundId> = Vec::new();
    for (voucher_id, lacks) in lacking {
        let mut of_voucher: Vec<&Held> = held.iter().filter(|h| h.voucher_id == *voucher_id).collect();
        of_voucher.sort_by_key(|h| (std::cmp::Reverse(h.asked_at), std::cmp::Reverse(h.refund_id)));
        let already = |h: &&&Held| chosen.contains(&h.refund_id);
        let mut freed: u32 = of_voucher.iter().filter(already).map(|h| h.quantity).sum();
        for h in of_voucher {
            if freed >= *lacks {
                break;
            }
            if !chosen.contains(&h.refund_id) {
                chosen.push(h.refund_id);
                freed += h.quantity;
            }
        }
        if freed < *lacks {
            return None;
        }
    }
    chosen.sort_unstable();
    (chosen.len() <= MAX_WITHDRAWN).then_some(chosen)
}

/// Gives back what a refund kept: it was taken back before it was sent.
pub fn release_refunded(v: &mut VoucherFacts, serials: &[u32]) {
    let n = u32::try_from(serials.len()).unwrap_or(u32::MAX);
    v.counters.locked_refund = v.counters.locked_refund.saturating_sub(n);
    for serial in serials {
        v.taken.remove(serial);
    }
}

/// What a verifier is told of uses that a refund keeps: what can be done, or that it is too late.
pub fn refund_pending(can_withdraw: bool) -> Refusal {
    let text = if can_withdraw {
        "剩余次数正在退款，退款还没有提交给微信"
    } else {
        "钱已在退回途中，不能再核销"
    };
    Refusal::with_message(Reason::RefundPending, text)
}

/// What to do next about a refund that has not been sent.
pub const WITHDRAW_NEXT_ACTION: &str = "可请顾客在小程序里点一下同意：撤回退款并核销";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_micros(s * 1_000_000)
    }

    #[test]
    fn every_state_and_event() {
        let mut table = String::new();
        for state in ConsentState::ALL {
            for event in ConsentEvent::ALL {
                let after = state.after(*event).map_or("-", ConsentState::as_str);
                table.push_str(&format!("{state} {} {after}\n", event.as_str()));
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn time_ends_what_waits_and_nothing_else() {
        use ConsentState as S;
        for (state, late) in [
            (S::Pending, S::Expired),
            (S::Approved, S::Expired),
            (S::Denied, S::Denied),
            (S::Used, S::Used),
            (S::Expired, S::Expired),
        ] {
            assert_eq!((state.at(at(9), at(10)), state.at(at(10), at(10))), (state, late));
        }
    }

    #[test]
    fn trying_numbers_does_not_get_far() {
        let asked = |pending, by_staff, by_store| check_ask(Asked { pending, by_staff, by_store }).is_ok();
        assert!(asked(0, 0, 0) && asked(4, 19, 99));
        assert!(!asked(5, 5, 5) && !asked(0, 20, 20) && !asked(0, 0, 100));
    }

    #[test]
    fn who_may_go_on() {
        use ConsentState as S;
        let reason = |r: Result<(), Refusal>| r.err().map(|r| r.reason);
        for (state, tap, list) in [
            (S::Pending, None, Some(Reason::ConsentRequired)),
            (S::Approved, Some(Reason::IllegalState), None),
            (S::Denied, Some(Reason::IllegalState), Some(Reason::ConsentDenied)),
            (S::Expired, Some(Reason::ConsentExpired), Some(Reason::ConsentExpired)),
            (S::Used, Some(Reason::IllegalState), None),
        ] {
            assert_eq!((reason(check_tap(state)), reason(check_lookup(state, true))), (tap, list), "{state}");
        }
        assert_eq!(reason(check_lookup(S::Used, false)), Some(Reason::ConsentExpired));
    }

    #[test]
    fn the_latest_refunds_that_are_enough() {
        let refund = |n: u128| RefundId::from_uuid(uuid::Uuid::from_u128(n));
        let voucher = |n: u128| VoucherId::from_uuid(uuid::Uuid::from_u128(n));
        let held = |r, v, quantity| Held {
            refund_id: refund(r),
            voucher_id: voucher(v),
            quantity,
            asked_at: at(i64::try_from(r).unwrap()),
        };
        let all = [held(1, 1, 2), held(2, 1, 1), held(2, 2, 1), held(3, 2, 4)];
        let choose = |lacking: &[(u128, u32)]| {
            let lacking: Vec<_> = lacking.iter().map(|(v, n)| (voucher(*v), *n)).collect();
            refunds_to_withdraw(&lacking, &all)
        };
        assert_eq!(choose(&[(1, 1)]), Some(vec![refund(2)]));
        assert_eq!(choose(&[(1, 2)]), Some(vec![refund(1), refund(2)]));
        assert_eq!(choose(&[(1, 1), (2, 1)]), Some(vec![refund(2)]), "one refund keeps uses of both");
        assert_eq!(choose(&[(2, 4)]), Some(vec![refund(3)]));
        assert_eq!(choose(&[(1, 4)]), None);
        assert_eq!(choose(&[(1, 0)]), Some(vec![]), "nothing lacks");
    }
}
