//! Recording what WeChat says of a refund: from the call's own answer, a callback or a question alike.

use std::collections::BTreeMap;

use chrono::Duration;
use hexiao_core::id::{LineId, PayAccountId, RefundId, VoucherId};
use hexiao_core::ledger::LedgerEvent;
use hexiao_core::money::Money;
use hexiao_core::payment::AnomalyKind;
use hexiao_core::reason::Reason;
use hexiao_core::refund::{
    BlockedReason, REFUND_SPACING_S, RefundCause, RefundEvent, RefundState, parse_out_refund_no,
};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::LockState;
use hexiao_db::merchants::PayAccount;
use hexiao_db::orders::{self, Actor};
use hexiao_db::payments::{self, Anomaly};
use hexiao_db::refunds::{self, Refund};
use hexiao_db::vouchers::{self, Change};
use hexiao_db::{Tx, ledger, outbox, stock, transact};
use hexiao_wechat::{NotificationHeaders, NotificationKind, RefundNotice, RefundStatus};

use crate::context::App;
use crate::error::{AppError, Result};
use crate::jobs::{self, JobKind};
use crate::keys::new_id;
use crate::ledger::posting;
use crate::messages::{self, Happened};
use crate::settle::{place_of, raise_alarm};

/// New numbers that are tried by themselves after WeChat gave up on one.
const MAX_ATTEMPTS: i64 = 5;
const FIRST_CHECK_S: i64 = 2;

/// What WeChat said.
#[derive(Debug, Clone)]
pub(super) struct Said {
    event: RefundEvent,
    wechat_refund_id: Option<String>,
    amount: Option<Money>,
    blocked: Option<BlockedReason>,
    text: Option<String>,
}

impl Said {
    pub(super) fn blocked(reason: BlockedReason, text: &str) -> Self {
        let text = Some(text.chars().take(200).collect());
        Self { event: RefundEvent::Block, wechat_refund_id: None, amount: None, blocked: Some(reason), text }
    }

    pub(super) fn from_status(status: &RefundStatus, refund_id: &str, refund_fen: i64) -> Self {
        let event = match status {
            RefundStatus::Success => RefundEvent::Succeed,
            RefundStatus::Closed => RefundEvent::Close,
            RefundStatus::Abnormal => RefundEvent::Abnormal,
            // An unknown status is still under way as far as we know: go on asking.
            RefundStatus::Processing | RefundStatus::Unknown(_) => RefundEvent::Accept,
        };
        let wechat_refund_id = Some(refund_id.to_owned()).filter(|s| !s.is_empty());
        Self { event, wechat_refund_id, amount: Some(Money::fen(refund_fen)), blocked: None, text: None }
    }
}

impl App {
    /// Records what WeChat said of one attempt of a refund. Saying it again changes nothing.
    pub(super) async fn record_refund(
        &self,
        merchant: MerchantScope,
        id: RefundId,
        attempt: i64,
        said: Said,
    ) -> Result<()> {
        let now = self.now();
        let done = transact!(self.db, |tx| async {
            record_in(&tx, merchant, id, attempt, &said, now).await?;
            self.hold_at("refund_record.before_commit").await;
            Ok::<(), AppError>(())
        });
        self.hold_at("refund_record.after_commit").await;
        self.wake.notify_one();
        done
    }

    /// Takes WeChat's notification of a refund.
    pub async fn refund_notified(
        &self,
        account: Option<PayAccountId>,
        headers: &NotificationHeaders,
        body: &[u8],
    ) -> Result<()> {
        let (account, _, kind) = self.open_notification(account, headers, body).await?;
        let NotificationKind::Refund(notice) = kind else { return Ok(()) };
        let named = parse_out_refund_no(&notice.out_refund_no);
        let refund = match named {
            Some((id, _)) => refunds::by_number(self.db.reader(), id).await?,
            None => None,
        };
        let (Some((id, attempt)), Some(refund)) = (named, refund) else {
            self.record_stray_refund(&account, &notice, AnomalyKind::UnknownNumber).await?;
            return Err(Reason::NotificationUnknown.into());
        };
        let fits = refund.merchant_id == account.merchant_id
            && notice.belongs_to(&crate::wechat::identity(&account)?)
            && notice.out_trade_no == refund.payment_id.to_string()
            && notice.refund_fen == refund.amount.as_fen();
        if !fits {
            return self.record_stray_refund(&account, &notice, AnomalyKind::RefundMismatch).await;
        }
        let said = Said::from_status(&notice.status, &notice.refund_id, notice.refund_fen);
        self.record_refund(MerchantScope::of_system(account.merchant_id), id, attempt, said).await
    }

    async fn record_stray_refund(
        &self,
        account: &PayAccount,
        notice: &RefundNotice,
        kind: AnomalyKind,
    ) -> Result<()> {
        let anomaly = stray(
            account.merchant_id,
            account.id,
            kind,
            &notice.out_refund_no,
            &notice.refund_id,
            notice.refund_fen,
        );
        raise_alarm(kind, &anomaly.number);
        let now = self.now();
        transact!(self.db, |tx| async {
            Ok::<_, AppError>(payments::record_anomaly(&tx, &anomaly, now).await?)
        })
    }
}

fn stray(
    merchant_id: hexiao_core::id::MerchantId,
    pay_account_id: PayAccountId,
    kind: AnomalyKind,
    number: &str,
    refund_id: &str,
    refund_fen: i64,
) -> Anomaly {
    Anomaly {
        merchant_id,
        id: new_id(),
        pay_account_id,
        kind,
        number: number.chars().take(64).collect(),
        transaction_id: refund_id.chars().take(64).collect(),
        payment_id: None,
        got: hexiao_db::row::json_text(
            &serde_json::json!({"out_refund_no": number, "refund_fen": refund_fen}),
        ),
    }
}

/// Order of locks: refund, payment, order, vouchers, stocks.
async fn record_in(
    tx: &Tx,
    merchant: MerchantScope,
    id: RefundId,
    attempt: i64,
    said: &Said,
    now: Timestamp,
) -> Result<()> {
    let refund = refunds::lock(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
    let payment = payments::lock(tx, merchant, &[refund.payment_id]).await?.pop().ok_or(Reason::NotFound)?;
    let wrong_amount = said.amount.is_some_and(|a| a != refund.amount);
    // The money came twice: under an earlier number, or after somebody paid by hand.
    let paid_otherwise = attempt != refund.attempt
        || matches!(refund.state, RefundState::ManuallyDone | RefundState::Withdrawn);
    let other_attempt = paid_otherwise && said.event == RefundEvent::Succeed && !refund.to_merchant;
    if wrong_amount || other_attempt {
        // The customer may have been paid twice, or not what was asked: a person has to look.
        let account =
            payment.pay_account_id.ok_or_else(|| AppError::Internal("payment without account".to_owned()))?;
        let number = hexiao_core::refund::out_refund_no(id, attempt);
        let fen = said.amount.map_or(0, Money::as_fen);
        let anomaly = stray(merchant.merchant_id(), account, AnomalyKind::RefundMismatch, &number, "", fen);
        payments::record_anomaly(tx, &anomaly, now).await?;
        raise_alarm(AnomalyKind::RefundMismatch, &number);
        return Ok(());
    }
    // Old news of an earlier number, or what we know already.
    if attempt != refund.attempt {
        return Ok(());
    }
    // A success that was meant for the merchant's own account is not the customer's: it waits to be paid by hand.
    let event = if refund.to_merchant && said.event == RefundEvent::Succeed {
        RefundEvent::Abnormal
    } else {
        said.event
    };
    let Ok(state) = refund.state.after(event) else { return Ok(()) };
    let next = Refund {
        state,
        blocked_reason: said.blocked,
        wechat_refund_id: said.wechat_refund_id.clone().or(refund.wechat_refund_id.clone()),
        error: said
            .text
            .clone()
            .or_else(|| (state == RefundState::Abnormal).then(|| abnormal_text(&refund).to_owned())),
        ..refund.clone()
    };
    if state != RefundState::Succeeded {
        log_event(tx, &next, event.as_str(), Actor::Wechat, next.error.clone().unwrap_or_default(), now)
            .await?;
    }
    match state {
        RefundState::Succeeded => complete(tx, merchant, Refund { state: refund.state, ..next }, now).await,
        RefundState::Processing => {
            refunds::update(tx, &next, refund.state).await?;
            jobs::enqueue(
                tx,
                merchant,
                JobKind::RefundCheck,
                id.into(),
                now.plus(Duration::seconds(FIRST_CHECK_S)),
                now,
            )
            .await
        }
        RefundState::Closed => {
            refunds::update(tx, &next, refund.state).await?;
            payments::end_refund(tx, merchant, refund.payment_id, id).await?;
            if refund.attempt < MAX_ATTEMPTS {
                let again = now.plus(Duration::seconds(REFUND_SPACING_S));
                return jobs::enqueue(tx, merchant, JobKind::RefundSubmit, id.into(), again, now).await;
            }
            stuck(tx, &next, now).await
        }
        RefundState::Blocked | RefundState::Abnormal => {
            refunds::update(tx, &next, refund.state).await?;
            payments::end_refund(tx, merchant, refund.payment_id, id).await?;
            // Told once: a refund that is tried again every few minutes would tell it every few minutes.
            if refund.error.is_none() || state != RefundState::Blocked {
                stuck(tx, &next, now).await
            } else {
                Ok(())
            }
        }
        RefundState::Created
        | RefundState::Submitted
        | RefundState::AbnormalSubmitted
        | RefundState::Withdrawn
        | RefundState::ManuallyDone => {
            Err(AppError::Internal(format!("WeChat cannot move a refund to {state}")))
        }
    }
}

fn abnormal_text(refund: &Refund) -> &'static str {
    if refund.to_merchant {
        "款项已退到商户账户，请线下退给顾客后登记"
    } else {
        "款项无法退到顾客的账户"
    }
}

/// It does not go on by itself: an alarm for the merchant and a word to the customer.
pub(super) async fn stuck(tx: &Tx, refund: &Refund, now: Timestamp) -> Result<()> {
    metrics::counter!("refunds_stuck_total", "state" => refund.state.as_str()).increment(1);
    tracing::error!(alarm = "refund_stuck", refund = %refund.id, state = %refund.state, "a refund needs a person");
    let what = Happened::RefundStuck { amount_fen: refund.amount.as_fen() };
    let event = messages::event_for(
        refund.merchant_id,
        refund.customer_id,
        refund.order_id,
        refund.id.into(),
        &what,
        now,
    );
    Ok(outbox::append(tx, vec![event]).await?)
}

/// The money is back: the locked uses are refunded, the books say so, whole unused units return to the stock.
/// `refund.state` is still the one it is stored in.
pub(super) async fn complete(tx: &Tx, merchant: MerchantScope, refund: Refund, now: Timestamp) -> Result<()> {
    let from = refund.state;
    let done = Refund {
        state: from.after(RefundEvent::Succeed)?,
        blocked_reason: None,
        succeeded_at: Some(now),
        ..refund
    };
    refunds::update(tx, &done, from).await?;
    finish(tx, merchant, &done, Actor::Wechat, now).await
}

/// What follows when the customer has the money, through WeChat or outside it.
pub(super) async fn finish(
    tx: &Tx,
    merchant: MerchantScope,
    refund: &Refund,
    by: Actor,
    now: Timestamp,
) -> Result<()> {
    payments::end_refund(tx, merchant, refund.payment_id, refund.id).await?;
    let order = orders::lock(tx, merchant, &[refund.order_id]).await?.pop().ok_or(Reason::NotFound)?;
    if refund.cause != RefundCause::LatePayment {
        consume_locks(tx, merchant, refund, now).await?;
    }
    let place = place_of(tx, merchant, &order, now).await?;
    let by_hand = refund.state == RefundState::ManuallyDone;
    let event = if by_hand { LedgerEvent::RefundPaidManually } else { LedgerEvent::RefundSucceeded };
    ledger::post(tx, &[posting(place, event, order.id, refund.id.into(), refund.amount)]).await?;
    let name = if by_hand { "refund_finish_manually" } else { "refund_succeed" };
    log_event(tx, refund, name, by, refund.amount.yuan_text(), now).await?;
    let amount_fen = refund.amount.as_fen();
    let what = if by_hand {
        Happened::RefundPaidByHand { amount_fen }
    } else {
        Happened::RefundSucceeded { amount_fen }
    };
    Ok(outbox::append(tx, vec![messages::event(&order, refund.id.into(), &what, now)]).await?)
}

/// Every move of a refund leaves an event on its order.
pub(super) async fn log_event(
    tx: &Tx,
    refund: &Refund,
    event: &'static str,
    by: Actor,
    note: String,
    now: Timestamp,
) -> Result<()> {
    let row = orders::NewEvent {
        merchant_id: refund.merchant_id,
        id: new_id(),
        order_id: refund.order_id,
        event,
        from: None,
        to: None,
        actor: by,
        store_id: None,
        device: None,
        note: Some(note),
        at: now,
    };
    Ok(orders::append_events(tx, vec![row]).await?)
}

async fn consume_locks(tx: &Tx, merchant: MerchantScope, refund: &Refund, now: Timestamp) -> Result<()> {
    let locks = vouchers::locks_of_refunds(tx, merchant, &[refund.id]).await?;
    let ids: Vec<VoucherId> = locks.iter().map(|l| l.voucher_id).collect();
    let before = vouchers::load(tx, merchant, &ids, true).await?;
    let change = |l: &vouchers::RefundLock| {
        (l.voucher_id, Change { locked_refund: -l.quantity(), refunded: l.quantity(), ..Change::default() })
    };
    vouchers::change(tx, merchant, &locks.iter().map(change).collect()).await?;
    vouchers::end_locks(tx, merchant, refund.id, locks.len(), LockState::Consumed).await?;
    return_units(tx, merchant, refund, &locks, &before, now).await
}

/// A voucher that was never used and is now refunded as a whole gives its unit back, where the SKU says so.
async fn return_units(
    tx: &Tx,
    merchant: MerchantScope,
    refund: &Refund,
    locks: &[vouchers::RefundLock],
    before: &BTreeMap<VoucherId, vouchers::Loaded>,
    now: Timestamp,
) -> Result<()> {
    let lines = orders::lines(tx, merchant, &[refund.order_id]).await?;
    let returning: Vec<LineId> = lines.iter().filter(|l| l.return_on_refund).map(|l| l.id).collect();
    let stocks = stock::stock_of_lines(tx, merchant, &returning).await?;
    let mut returns = Vec::new();
    for lock in locks {
        let Some(loaded) = before.get(&lock.voucher_id) else { continue };
        let c = loaded.voucher.counters;
        let whole = c.used == 0 && i64::from(c.refunded) + lock.quantity() == i64::from(c.total);
        if let Some(stock_id) = stocks.get(&loaded.voucher.line_id).filter(|_| whole) {
            let (order_id, voucher_id) = (refund.order_id, lock.voucher_id);
            returns.push(stock::Return { entry_id: new_id(), stock_id: *stock_id, order_id, voucher_id });
        }
    }
    Ok(stock::give_back(tx, merchant, &returns, now).await?)
}
