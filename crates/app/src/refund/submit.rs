//! Sending refunds to WeChat and asking about them: intent recorded → call → result recorded. An unknown outcome is
//! asked about, then repeated under the same number, never under a new one.

use chrono::Duration;
use hexiao_core::id::RefundId;
use hexiao_core::ledger::LedgerEvent;
use hexiao_core::reason::Reason;
use hexiao_core::refund::{
    BlockedReason, MAX_REFUND_NUMBERS, REFUND_SPACING_S, RefundCause, RefundEvent, RefundState, out_refund_no,
};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::payments::{self, Payment};
use hexiao_db::refunds::{self, Refund};
use hexiao_db::{Tx, ledger, orders, transact};
use hexiao_wechat::{CallError, ErrorCode, PayClient, RefundRequest};

use super::record::{Said, log_event, stuck};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::jobs::Outcome;
use crate::ledger::posting;
use crate::settle::place_of;

/// WeChat refunds within a year of the payment.
const REFUNDABLE_DAYS: i64 = 365;
/// How soon a refund that is blocked for a cause that goes away by itself is tried again.
const BLOCKED_RETRY_S: i64 = 600;
/// Seconds from one question about a refund to the next.
const CHECK_AFTER_S: [i64; 6] = [2, 5, 30, 120, 600, 3600];

enum Next {
    Send(Box<(Refund, Payment, bool)>),
    Wait(Timestamp),
    Nothing,
}

impl App {
    /// The job that sends a refund.
    pub(crate) async fn submit_refund(&self, merchant: MerchantScope, id: RefundId) -> Result<Outcome> {
        let now = self.now();
        let next: Result<Next> = transact!(self.db, |tx| prepare(&tx, merchant, id, now));
        let (refund, payment, asked_before) = match next? {
            Next::Send(ready) => *ready,
            Next::Wait(until) => return Ok(Outcome::Again(until)),
            Next::Nothing => return Ok(Outcome::Done),
        };
        let account = self.account_of(&payment).await?;
        let client = self.wechat.pay(&account).await?;
        let number = out_refund_no(refund.id, refund.attempt);
        if too_old(&payment, now) {
            self.record_refund(
                merchant,
                id,
                refund.attempt,
                Said::blocked(BlockedReason::TooOld, "超过 365 天"),
            )
            .await?;
            return Ok(Outcome::Done);
        }
        if asked_before {
            match client.query_refund(&number).await {
                Ok(found) => return self.record_found(merchant, &refund, &found).await,
                Err(CallError::Refused { code: ErrorCode::ResourceNotExists, .. }) => {}
                Err(error) => return Err(AppError::Wechat(format!("refund query: {error}"))),
            }
        }
        self.send(merchant, &client, &refund, &payment, number).await
    }

    async fn send(
        &self,
        merchant: MerchantScope,
        client: &PayClient,
        refund: &Refund,
        payment: &Payment,
        number: String,
    ) -> Result<Outcome> {
        let account =
            payment.pay_account_id.ok_or_else(|| AppError::Internal("payment without account".to_owned()))?;
        let request = RefundRequest {
            out_trade_no: payment.id.to_string(),
            out_refund_no: number,
            reason: Some(refund.reason.clone()).filter(|r| !r.is_empty()),
            notify_url: self.notify_url("refunds", account),
            refund_fen: refund.amount.as_fen(),
            total_fen: payment.amount.as_fen(),
        };
        self.hold_at("refund_submit.before_call").await;
        let answer = client.refund(&request).await;
        self.hold_at("refund_submit.after_call").await;
        let (said, outcome) = match answer {
            Ok(found) => return self.record_found(merchant, refund, &found).await,
            Err(CallError::Refused { code, message, .. }) => match code {
                ErrorCode::FrequencyLimited => {
                    return Ok(Outcome::Again(self.now().plus(Duration::seconds(REFUND_SPACING_S))));
                }
                ErrorCode::NotEnough => {
                    (Said::blocked(BlockedReason::NotEnough, &message), Some(BLOCKED_RETRY_S))
                }
                ErrorCode::RuleLimit => {
                    (Said::blocked(BlockedReason::Quota, &message), Some(BLOCKED_RETRY_S))
                }
                ErrorCode::UserAccountAbnormal => (Said::blocked(BlockedReason::Account, &message), None),
                _ => (Said::blocked(BlockedReason::Refused, &message), None),
            },
            Err(error) => return Err(AppError::Wechat(format!("refund: {error}"))),
        };
        self.record_refund(merchant, refund.id, refund.attempt, said).await?;
        Ok(outcome.map_or(Outcome::Done, |s| Outcome::Again(self.now().plus(Duration::seconds(s)))))
    }

    /// The job that asks about a refund.
    pub(crate) async fn check_refund(
        &self,
        merchant: MerchantScope,
        id: RefundId,
        runs: i64,
    ) -> Result<Outcome> {
        let refund = refunds::get(self.db.reader(), merchant, id).await?.ok_or(Reason::NotFound)?;
        if !refund.state.in_flight() {
            return Ok(Outcome::Done);
        }
        let payment =
            payments::get(self.db.reader(), merchant, refund.payment_id).await?.ok_or(Reason::NotFound)?;
        let client = self.wechat.pay(&self.account_of(&payment).await?).await?;
        match client.query_refund(&out_refund_no(refund.id, refund.attempt)).await {
            Ok(found) => {
                self.record_found(merchant, &refund, &found).await?;
                let now = refunds::get(self.db.reader(), merchant, id).await?.ok_or(Reason::NotFound)?;
                let step = usize::try_from(runs).unwrap_or(0).min(CHECK_AFTER_S.len() - 1);
                let again = Outcome::Again(self.now().plus(Duration::seconds(CHECK_AFTER_S[step])));
                Ok(if now.state.in_flight() { again } else { Outcome::Done })
            }
            Err(error) => Err(AppError::Wechat(format!("refund query: {error}"))),
        }
    }

    async fn record_found(
        &self,
        merchant: MerchantScope,
        refund: &Refund,
        found: &hexiao_wechat::Refund,
    ) -> Result<Outcome> {
        let said = Said::from_status(&found.status, &found.refund_id, found.refund_fen);
        self.record_refund(merchant, refund.id, refund.attempt, said).await?;
        let after = refunds::get(self.db.reader(), merchant, refund.id).await?.ok_or(Reason::NotFound)?;
        // What WeChat said did not fit: a person was alarmed, and meanwhile we go on asking.
        let unmoved = after.state == RefundState::Submitted;
        Ok(if unmoved { Outcome::Again(self.now().plus(Duration::hours(1))) } else { Outcome::Done })
    }
}

fn too_old(payment: &Payment, now: Timestamp) -> bool {
    payment.paid_at.is_some_and(|at| now.since(at) > Duration::days(REFUNDABLE_DAYS))
}

/// Moves a refund to `Submitted` before anything is sent: one in flight for each payment, a minute apart. Whether
/// it may have been sent before (a crash, a lost answer) tells whether to ask first. Order of locks: refund, payment.
async fn prepare(tx: &Tx, merchant: MerchantScope, id: RefundId, now: Timestamp) -> Result<Next> {
    let refund = refunds::lock(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
    let payment = payments::lock(tx, merchant, &[refund.payment_id]).await?.pop().ok_or(Reason::NotFound)?;
    match refund.state {
        RefundState::Submitted => return Ok(Next::Send(Box::new((refund, payment, true)))),
        RefundState::Created | RefundState::Blocked | RefundState::Closed => {}
        RefundState::Processing
        | RefundState::Abnormal
        | RefundState::AbnormalSubmitted
        | RefundState::Succeeded
        | RefundState::Withdrawn
        | RefundState::ManuallyDone => return Ok(Next::Nothing),
    }
    let spacing = Duration::seconds(REFUND_SPACING_S);
    if refund.state == RefundState::Closed
        && refunds::numbers_of_payment(tx, merchant, payment.id).await? >= MAX_REFUND_NUMBERS
    {
        return no_number_left(tx, &refund, now).await;
    }
    let new_number = refund.submitted_at.is_none() || refund.state == RefundState::Closed;
    if !payments::begin_refund(tx, merchant, payment.id, refund.id, new_number, now.minus(spacing), now)
        .await?
    {
        let free_at = payment.last_refund_at.map_or(now, |at| at.plus(spacing));
        // The one in flight may take days: look again now and then.
        let pause = Duration::seconds(if payment.refund_in_flight.is_some() { 15 } else { 2 });
        return Ok(Next::Wait(free_at.max(now.plus(pause))));
    }
    let from = refund.state;
    let next = Refund {
        state: from.after(RefundEvent::Submit)?,
        blocked_reason: None,
        attempt: if from == RefundState::Closed { refund.attempt + 1 } else { refund.attempt },
        submitted_at: refund.submitted_at.or(Some(now)),
        booked: true,
        ..refund.clone()
    };
    refunds::update(tx, &next, from).await?;
    log_event(
        tx,
        &next,
        RefundEvent::Submit.as_str(),
        orders::Actor::System,
        out_refund_no(next.id, next.attempt),
        now,
    )
    .await?;
    if !refund.booked {
        book(tx, merchant, &next, now).await?;
    }
    Ok(Next::Send(Box::new((next, payment, from == RefundState::Blocked))))
}

/// WeChat gave up on the last number that it lets this payment have: we refuse the next one in its place, so that a
/// person can pay by hand.
async fn no_number_left(tx: &Tx, refund: &Refund, now: Timestamp) -> Result<Next> {
    let next = Refund {
        state: refund.state.after(RefundEvent::Submit)?.after(RefundEvent::Block)?,
        blocked_reason: Some(BlockedReason::Quota),
        error: Some("这笔支付在微信的退款次数已用完，请线下退给顾客后登记".to_owned()),
        ..refund.clone()
    };
    refunds::update(tx, &next, refund.state).await?;
    let note = next.error.clone().unwrap_or_default();
    log_event(tx, &next, RefundEvent::Block.as_str(), orders::Actor::System, note, now).await?;
    stuck(tx, &next, now).await?;
    Ok(Next::Nothing)
}

/// The money leaves the liability (or the suspense of a late payment) when the refund is first sent.
async fn book(tx: &Tx, merchant: MerchantScope, refund: &Refund, now: Timestamp) -> Result<()> {
    let order = orders::lock(tx, merchant, &[refund.order_id]).await?.pop().ok_or(Reason::NotFound)?;
    let place = place_of(tx, merchant, &order, now).await?;
    let event = match refund.cause {
        RefundCause::LatePayment => LedgerEvent::LateRefundSubmitted,
        RefundCause::Customer | RefundCause::Expiry | RefundCause::GroupFailed | RefundCause::Review => {
            LedgerEvent::RefundSubmitted
        }
    };
    Ok(ledger::post(tx, &[posting(place, event, refund.order_id, refund.id.into(), refund.amount)]).await?)
}
