//! What staff do with refunds that do not go on by themselves: send again, tell WeChat another account, or pay by hand.

use hexiao_core::catalog::Capability;
use hexiao_core::id::RefundId;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::refund::{RefundEvent, RefundState, out_refund_no};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::orders::Actor;
use hexiao_db::refunds::{self, Refund};
use hexiao_db::{Tx, payments, transact};
use hexiao_wechat::{AbnormalRefund, AbnormalRefundTo, CallError};
use secrecy::SecretString;
use serde_json::json;

use super::record::{Said, finish, log_event};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::jobs::{self, JobKind};
use crate::payment::refuse_call;

/// Where WeChat shall send an abnormal refund.
#[derive(Debug, Clone)]
pub enum AbnormalTarget {
    /// To the merchant's own account at WeChat, to be paid by hand.
    Merchant,
    /// To another card of the customer.
    Card {
        /// WeChat's name of the bank.
        bank_type: String,
        /// The card's number.
        account: SecretString,
        /// Whose card.
        name: SecretString,
    },
}

impl App {
    /// Sends a blocked or closed refund again.
    pub async fn retry_refund(&self, staff: &StaffPrincipal, id: RefundId) -> Result<()> {
        self.visible_refund(staff, id).await?;
        let (merchant, now) = (staff.merchant(), self.now());
        let done: Result<()> = transact!(self.db, |tx| async {
            let refund = refunds::lock(&tx, merchant, id).await?.ok_or(Reason::NotFound)?;
            if !matches!(refund.state, RefundState::Blocked | RefundState::Closed) {
                return Err(Reason::RefundNotRetryable.into());
            }
            jobs::enqueue(&tx, merchant, JobKind::RefundSubmit, id.into(), now, now).await?;
            audit(&tx, staff, "refund.retry", id, &json!({"state": refund.state}), now).await
        });
        self.wake.notify_one();
        done
    }

    /// Tells WeChat where else to send an abnormal refund.
    pub async fn redirect_refund(
        &self,
        staff: &StaffPrincipal,
        id: RefundId,
        target: AbnormalTarget,
    ) -> Result<()> {
        self.visible_refund(staff, id).await?;
        let (merchant, now) = (staff.merchant(), self.now());
        let to_merchant = matches!(target, AbnormalTarget::Merchant);
        let begun: Result<Refund> =
            transact!(self.db, |tx| begin_redirect(&tx, staff, merchant, id, to_merchant, now));
        let refund = begun?;
        let payment =
            payments::get(self.db.reader(), merchant, refund.payment_id).await?.ok_or(Reason::NotFound)?;
        let client = self.wechat.pay(&self.account_of(&payment).await?).await?;
        let request = AbnormalRefund {
            out_refund_no: out_refund_no(id, refund.attempt),
            to: match target {
                AbnormalTarget::Merchant => AbnormalRefundTo::MerchantBankCard,
                AbnormalTarget::Card { bank_type, account, name } => {
                    AbnormalRefundTo::UserBankCard { bank_type, bank_account: account, real_name: name }
                }
            },
        };
        let wechat_id = refund.wechat_refund_id.clone().unwrap_or_default();
        match client.apply_abnormal_refund(&wechat_id, &request).await {
            Ok(found) => {
                self.record_refund(
                    merchant,
                    id,
                    refund.attempt,
                    Said::from_status(&found.status, &found.refund_id, found.refund_fen),
                )
                .await
            }
            Err(error @ CallError::Refused { .. }) => {
                let said = Said::from_status(
                    &hexiao_wechat::RefundStatus::Abnormal,
                    &wechat_id,
                    refund.amount.as_fen(),
                );
                self.record_refund(merchant, id, refund.attempt, said).await?;
                Err(refuse_call("abnormal refund", &error))
            }
            // The job that asks about it was enqueued with the intent.
            Err(error) => Err(AppError::Wechat(format!("abnormal refund: {error}"))),
        }
    }

    /// Records that a refund was paid outside WeChat.
    pub async fn finish_refund_manually(
        &self,
        staff: &StaffPrincipal,
        id: RefundId,
        evidence: &str,
    ) -> Result<()> {
        self.visible_refund(staff, id).await?;
        let (merchant, now) = (staff.merchant(), self.now());
        let done = transact!(self.db, |tx| finish_manually(&tx, staff, merchant, id, evidence, now));
        self.wake.notify_one();
        done
    }

    async fn visible_refund(&self, staff: &StaffPrincipal, id: RefundId) -> Result<()> {
        staff.require(Capability::ManageRefunds)?;
        refunds::get_in_stores(self.db.reader(), &staff.scope, id)
            .await?
            .map(|_| ())
            .ok_or_else(|| Reason::NotFound.into())
    }
}

async fn begin_redirect(
    tx: &Tx,
    staff: &StaffPrincipal,
    merchant: MerchantScope,
    id: RefundId,
    to_merchant: bool,
    now: Timestamp,
) -> Result<Refund> {
    let refund = refunds::lock(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
    let state = refund
        .state
        .after(RefundEvent::SubmitAbnormal)
        .map_err(|_| Refusal::new(Reason::RefundNotRetryable))?;
    // The money may have reached the merchant's account: a success would no longer tell whose it is.
    if refund.to_merchant && !to_merchant {
        let message = "款项已转往商户账户，请线下退给顾客后登记";
        return Err(Refusal::with_message(Reason::RefundNotRetryable, message).into());
    }
    payments::lock(tx, merchant, &[refund.payment_id]).await?;
    let allowed = payments::begin_refund(tx, merchant, refund.payment_id, id, false, now, now).await?;
    if !allowed {
        return Err(Refusal::with_message(
            Reason::RefundNotRetryable,
            "同一笔支付有另一笔退款正在处理，请稍后再试",
        )
        .into());
    }
    let next = Refund { state, to_merchant, ..refund.clone() };
    refunds::update(tx, &next, refund.state).await?;
    log_event(
        tx,
        &next,
        RefundEvent::SubmitAbnormal.as_str(),
        Actor::Staff(staff.staff_id),
        String::new(),
        now,
    )
    .await?;
    // After the call itself must have ended: an earlier answer would still be the old "abnormal".
    let check = now.plus(chrono::Duration::seconds(90));
    jobs::enqueue(tx, merchant, JobKind::RefundCheck, id.into(), check, now).await?;
    audit(tx, staff, "refund.redirect", id, &json!({}), now).await?;
    Ok(next)
}

async fn finish_manually(
    tx: &Tx,
    staff: &StaffPrincipal,
    merchant: MerchantScope,
    id: RefundId,
    evidence: &str,
    now: Timestamp,
) -> Result<()> {
    let refund = refunds::lock(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
    let state = refund
        .state
        .after(RefundEvent::FinishManually)
        .map_err(|_| Refusal::new(Reason::RefundNotRetryable))?;
    payments::lock(tx, merchant, &[refund.payment_id]).await?;
    refunds::set_manually_done(tx, &refund, evidence, staff.staff_id).await?;
    let done = Refund { state, ..refund };
    finish(tx, merchant, &done, Actor::Staff(staff.staff_id), now).await?;
    audit(tx, staff, "refund.finish_manually", id, &json!({"evidence": evidence}), now).await
}

async fn audit(
    tx: &Tx,
    staff: &StaffPrincipal,
    action: &str,
    id: RefundId,
    detail: &serde_json::Value,
    now: Timestamp,
) -> Result<()> {
    Ok(hexiao_db::audit::record(
        tx,
        staff.merchant(),
        Some(staff.staff_id),
        action,
        &id.to_string(),
        detail,
        now,
    )
    .await?)
}
