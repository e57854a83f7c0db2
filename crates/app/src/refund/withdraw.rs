//! A customer takes a refund back before it is sent. The job that would send it finds it withdrawn and does nothing.

use hexiao_core::id::RefundId;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::refund::{RefundCause, RefundEvent, RefundState};
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::LockState;
use hexiao_db::idempotency::{self, Claim, Key};
use hexiao_db::orders::{self, Actor};
use hexiao_db::refunds::{self, Refund};
use hexiao_db::vouchers::{self, Change, RefundLock};
use hexiao_db::{Tx, outbox, payments, transact};

use super::record::log_event;
use crate::context::App;
use crate::error::Result;
use crate::idempotency::fingerprint;
use crate::messages::{self, Happened};

impl App {
    /// Takes a refund back. Whether the same request had done it before.
    pub async fn withdraw_refund(
        &self,
        customer: CustomerScope,
        id: RefundId,
        key: &str,
    ) -> Result<(MerchantScope, bool)> {
        let refund = refunds::of_customer(self.db.reader(), customer, id).await?.ok_or(Reason::NotFound)?;
        let merchant = MerchantScope::of_system(refund.merchant_id);
        let now = self.now();
        let done: Result<bool> =
            transact!(self.db, |tx| withdraw_in(self, &tx, merchant, customer, id, key, now));
        self.hold_at("withdraw.after_commit").await;
        self.wake.notify_one();
        Ok((merchant, done?))
    }
}

async fn withdraw_in(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    customer: CustomerScope,
    id: RefundId,
    key: &str,
    now: Timestamp,
) -> Result<bool> {
    let key = Key {
        merchant,
        actor_id: customer.customer_id().into(),
        key,
        operation: "refund.withdraw",
        fingerprint: fingerprint(&id),
    };
    match idempotency::claim(tx, &key, now).await? {
        Claim::Conflict => return Err(Reason::IdempotencyConflict.into()),
        Claim::Replay { .. } => return Ok(true),
        Claim::New => {}
    }
    let refund = refunds::lock(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
    check(&refund)?;
    payments::lock(tx, merchant, &[refund.payment_id]).await?;
    orders::lock(tx, merchant, &[refund.order_id]).await?;
    let locks = vouchers::locks_of_refunds(tx, merchant, &[id]).await?;
    let ids: Vec<_> = locks.iter().map(|l| l.voucher_id).collect();
    vouchers::load(tx, merchant, &ids, true).await?;
    write(tx, merchant, &refund, &locks, now).await?;
    idempotency::store(tx, &key, id.into(), "{}").await?;
    app.hold_at("withdraw.before_commit").await;
    Ok(false)
}

/// Only what its customer asked for, and only before it is sent.
fn check(refund: &Refund) -> Result<(), Refusal> {
    let say = |text| Err(Refusal::with_message(Reason::IllegalState, text));
    match refund.state {
        RefundState::Created if refund.cause == RefundCause::Customer => Ok(()),
        RefundState::Created => say("这笔退款不是您申请的，不能撤回"),
        RefundState::Withdrawn => say("这笔退款已经撤回"),
        RefundState::Succeeded | RefundState::ManuallyDone => say("这笔退款已经退回，不能撤回"),
        RefundState::Submitted
        | RefundState::Processing
        | RefundState::Blocked
        | RefundState::Closed
        | RefundState::Abnormal
        | RefundState::AbnormalSubmitted => say("钱已在退回途中，不能撤回"),
    }
}

/// Writes it: the refund, its locks and the counters behind them. The books know nothing of a refund that was not sent.
/// The caller holds the locks of the refund, its payment and order, and of the vouchers.
pub(crate) async fn write(
    tx: &Tx,
    merchant: MerchantScope,
    refund: &Refund,
    locks: &[RefundLock],
    now: Timestamp,
) -> Result<()> {
    let next = Refund { state: refund.state.after(RefundEvent::Withdraw)?, ..refund.clone() };
    refunds::update(tx, &next, refund.state).await?;
    let change =
        |l: &RefundLock| (l.voucher_id, Change { locked_refund: -l.quantity(), ..Change::default() });
    vouchers::change(tx, merchant, &locks.iter().map(change).collect()).await?;
    vouchers::end_locks(tx, merchant, refund.id, locks.len(), LockState::Released).await?;
    let event = RefundEvent::Withdraw.as_str();
    log_event(tx, &next, event, Actor::Customer(refund.customer_id), refund.amount.yuan_text(), now).await?;
    let what = Happened::RefundWithdrawn { amount_fen: refund.amount.as_fen() };
    let row = messages::event_for(
        refund.merchant_id,
        refund.customer_id,
        refund.order_id,
        refund.id.into(),
        &what,
        now,
    );
    Ok(outbox::append(tx, vec![row]).await?)
}
