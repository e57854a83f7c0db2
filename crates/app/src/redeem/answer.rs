//! What a redemption answers: voucher by voucher, with the reason of each refusal.

use hexiao_core::consent::{WITHDRAW_NEXT_ACTION, refund_pending};
use hexiao_core::id::{RedemptionId, VoucherId};
use hexiao_core::reason::{Fault, Reason, Refusal};
use hexiao_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::nearest::NearestStore;
use crate::error::Result;

/// What a confirm answers, and answers again when it is repeated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The redemption.
    pub id: RedemptionId,
    /// Item by item.
    pub results: Vec<ItemResult>,
    /// Until when the verifier can undo it.
    pub undo_until: Timestamp,
}

/// What became of one item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ItemResult {
    /// Which voucher.
    pub voucher_id: VoucherId,
    /// `redeemed` or `refused`.
    pub result: String,
    /// How many uses.
    pub quantity: u32,
    /// Which.
    pub serials: Vec<u32>,
    /// How many are left to redeem.
    pub remaining: u32,
    /// Why not.
    pub refusal: Option<RefusalView>,
}

/// A refusal as staff see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefusalView {
    /// The closed code.
    pub code: Reason,
    /// What happened.
    pub message: String,
    /// `customer`, `staff` or `system`.
    pub fault: String,
    /// What to do next.
    pub next_action: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// When the voucher can be used next, where that is what is wrong.
    #[serde(default)]
    pub next_usable_at: Option<Timestamp>,
    /// The nearest store at which it can be used, where that is what is wrong.
    #[serde(default)]
    pub nearest_store: Option<NearestStore>,
    /// The refund in the way was not sent: the customer can take it back by a tap.
    #[serde(default)]
    pub can_withdraw: bool,
}

impl RefusalView {
    /// Of uses that a refund keeps: one that was not sent is no end.
    pub(super) fn refund_pending(can_withdraw: bool) -> Self {
        let view = Self::from(&refund_pending(can_withdraw));
        if can_withdraw {
            Self { next_action: WITHDRAW_NEXT_ACTION.to_owned(), can_withdraw, ..view }
        } else {
            view
        }
    }

    /// What was refused, for the log of attempts.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal::with_message(self.code, self.message.clone())
    }
}

impl From<&Refusal> for RefusalView {
    fn from(refusal: &Refusal) -> Self {
        let fault = match refusal.reason.fault() {
            Fault::Customer => "customer",
            Fault::Staff => "staff",
            Fault::System => "system",
        };
        Self {
            code: refusal.reason,
            message: refusal.message.clone(),
            fault: fault.to_owned(),
            next_action: refusal.reason.next_action().to_owned(),
            retryable: refusal.reason.retryable(),
            next_usable_at: refusal.next_usable_at,
            nearest_store: None,
            can_withdraw: false,
        }
    }
}

/// A confirm that redeemed something, now or before.
#[derive(Debug, Clone)]
pub struct Confirmed {
    /// The answer.
    pub answer: Answer,
    /// It was done before.
    pub replayed: bool,
}

/// A confirm that redeemed nothing.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The first reason.
    pub refusal: Refusal,
    /// Item by item, where the items were looked at.
    pub results: Vec<ItemResult>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, results: Vec::new() }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason).into()
    }
}

/// Redeemed or not.
pub(super) type Verdict = Result<Confirmed, Refused>;
