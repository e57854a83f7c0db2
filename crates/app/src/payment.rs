//! Paying: the payment sheet, WeChat's callbacks, and asking WeChat when no callback came.

use chrono::Duration;
use data_encoding::HEXLOWER;
use hexiao_core::id::{Id as _, OrderId, PayAccountId, PaymentId};
use hexiao_core::money::Money;
use hexiao_core::order::OrderState;
use hexiao_core::payment::{AnomalyKind, Method, PaidFacts, PaymentState};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::time::Timestamp;
use hexiao_db::idempotency::{self, Claim, Key};
use hexiao_db::merchants::{self, PayAccount};
use hexiao_db::orders::{self, Actor, Order};
use hexiao_db::payments::{self, Anomaly, Payment};
use hexiao_db::{Tx, customers, transact};
use hexiao_wechat::{
    CallError, ErrorCode, NotificationError, NotificationKind, PayClient, Prepay, RequestPayment, TradeState,
    Transaction,
};

use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::jobs::{self, JobKind, Outcome};
use crate::keys::{entropy, new_id};
use crate::settle::{self, Due, Paid, Settled};

/// With less than this left an order is not sent to WeChat any more: WeChat raises shorter deadlines to a minute.
const MIN_TIME_TO_PAY_S: i64 = 60;
/// WeChat's handle lives 2 h; it is renewed before.
const PREPAY_LIFE_S: i64 = 100 * 60;
/// Seconds from one question about a pending payment to the next.
const CHECK_AFTER_S: [i64; 7] = [5, 25, 30, 120, 120, 300, 1200];

pub use hexiao_wechat::NotificationHeaders;
pub use hexiao_wechat::RequestPayment as SheetArguments;

/// What the customer's phone needs to pay.
#[derive(Debug, Clone)]
pub struct PaymentSheet {
    /// The payment; its text is the `out_trade_no`.
    pub payment_id: PaymentId,
    /// The arguments of `wx.requestPayment`.
    pub request_payment: RequestPayment,
}

impl App {
    /// Opens the payment sheet of an unpaid order. Repeating it gives the same payment.
    pub async fn pay_order(
        &self,
        customer: CustomerScope,
        order_id: OrderId,
        key: &str,
    ) -> Result<PaymentSheet> {
        let order =
            orders::of_customer(self.db.reader(), customer, order_id).await?.ok_or(Reason::NotFound)?;
        let merchant = MerchantScope::of_system(order.merchant_id);
        let account = merchants::pay_account(self.db.reader(), merchant).await?;
        let account = account
            .ok_or_else(|| Refusal::with_message(Reason::OrderNotPayable, "商家还没有开通微信支付"))?;
        let payer = customers::get(self.db.reader(), customer).await?.ok_or(Reason::SessionExpired)?;
        let now = self.now();
        let payment: Result<Payment> =
            transact!(self.db, |tx| open_payment(&tx, merchant, order_id, &account, &payer.openid, key, now));
        let payment = payment?;
        self.wake.notify_one();
        // The account it was opened with, not the newest one: its number lives there.
        let account = self.account_of(&payment).await?;
        let client = self.wechat.pay(&account).await?;
        let fresh = payment.prepay_at.is_some_and(|at| now < at.plus(Duration::seconds(PREPAY_LIFE_S)));
        let prepay_id = match payment.prepay_id.clone().filter(|_| fresh) {
            Some(prepay_id) => prepay_id,
            None => self.prepay(merchant, &account, &client, &payment).await?,
        };
        let nonce = HEXLOWER.encode(&entropy::<16>());
        Ok(PaymentSheet {
            payment_id: payment.id,
            request_payment: client.request_payment(&prepay_id, &nonce),
        })
    }

    async fn prepay(
        &self,
        merchant: MerchantScope,
        account: &PayAccount,
        client: &PayClient,
        payment: &Payment,
    ) -> Result<String> {
        let request = Prepay {
            description: payment.description.clone(),
            out_trade_no: payment.id.to_string(),
            attach: Some(payment.merchant_id.to_string()),
            notify_url: self.notify_url("payments", account.id),
            time_expire: payment.expires_at.datetime(),
            total_fen: payment.amount.as_fen(),
            payer_openid: payment.openid.clone().unwrap_or_default(),
            profit_sharing: false,
        };
        self.hold_at("prepay.before_call").await;
        let answer = client.prepay(&request).await;
        self.hold_at("prepay.after_call").await;
        match answer {
            Ok(prepay_id) => {
                let now = self.now();
                let waits: Result<bool> = transact!(self.db, |tx| async {
                    Ok::<_, AppError>(payments::set_prepay(&tx, merchant, payment.id, &prepay_id, now).await?)
                });
                if waits? {
                    return Ok(prepay_id);
                }
                // Its order was closed (or paid) while we asked: nobody may pay it any more.
                self.close_at_wechat(merchant, client, payment).await?;
                Err(Reason::OrderNotPayable.into())
            }
            Err(CallError::Refused { code: ErrorCode::OrderPaid, .. }) => {
                self.check_payment(merchant, payment.id, 1).await?;
                Err(Reason::OrderPaid.into())
            }
            Err(CallError::Refused { code: ErrorCode::OrderClosed, .. }) => {
                Err(Reason::OrderNotPayable.into())
            }
            Err(error) => Err(refuse_call("prepay", &error)),
        }
    }

    pub(crate) fn notify_url(&self, kind: &str, account: PayAccountId) -> String {
        format!("{}/api/v1/notify/wechat/{kind}/{account}", self.settings.public_url)
    }

    /// Asks WeChat about a payment that is not settled, and closes it there when its order is closed.
    pub(crate) async fn check_payment(
        &self,
        merchant: MerchantScope,
        id: PaymentId,
        runs: i64,
    ) -> Result<Outcome> {
        let reader = self.db.reader();
        let payment = payments::get(reader, merchant, id).await?.ok_or(Reason::NotFound)?;
        if !matches!(payment.state, PaymentState::Created | PaymentState::Pending) {
            return Ok(Outcome::Done);
        }
        let account = self.account_of(&payment).await?;
        let client = self.wechat.pay(&account).await?;
        let over = self.orders_closed(merchant, id).await?;
        match client.query(&payment.id.to_string()).await {
            // Returned at WeChat before we knew that it was paid: nothing may be issued for it.
            Ok(found) if found.trade_state == TradeState::Refund => {
                self.record_stray(&account, &found, AnomalyKind::RefundedElsewhere, Some(id)).await?;
                self.record_closed(merchant, id).await
            }
            Ok(found) if found.trade_state == TradeState::Success => {
                self.settle_transaction(merchant, &account, &client, &found).await?;
                Ok(Outcome::Done)
            }
            Ok(found) if matches!(found.trade_state, TradeState::Closed | TradeState::Revoked) => {
                self.record_closed(merchant, id).await
            }
            Ok(_) if over => self.close_at_wechat(merchant, &client, &payment).await,
            // Never reached WeChat: there is nothing to close, and closing an unknown number would burn it.
            Err(CallError::Refused { code: ErrorCode::OrderNotExist, .. }) if over => {
                self.record_closed(merchant, id).await
            }
            Ok(_) | Err(CallError::Refused { code: ErrorCode::OrderNotExist, .. }) => {
                Ok(Outcome::Again(self.next_check(runs)))
            }
            Err(error) => Err(AppError::Wechat(format!("query: {error}"))),
        }
    }

    /// Asks WeChat about a payment at once, as the job would a little later.
    pub async fn settle_now(&self, merchant: MerchantScope, id: PaymentId) -> Result<()> {
        self.check_payment(merchant, id, 1).await.map(|_| ())
    }

    fn next_check(&self, runs: i64) -> Timestamp {
        let step = usize::try_from(runs).unwrap_or(0).min(CHECK_AFTER_S.len() - 1);
        self.now().plus(Duration::seconds(CHECK_AFTER_S[step]))
    }

    async fn close_at_wechat(
        &self,
        merchant: MerchantScope,
        client: &PayClient,
        payment: &Payment,
    ) -> Result<Outcome> {
        match client.close(&payment.id.to_string()).await {
            Ok(()) | Err(CallError::Refused { code: ErrorCode::OrderClosed, .. }) => {
                self.record_closed(merchant, payment.id).await
            }
            // Paid in the last moment: ask again, and the late payment is refunded.
            Err(CallError::Refused { code: ErrorCode::OrderPaid, .. }) => {
                Ok(Outcome::Again(self.now().plus(Duration::seconds(1))))
            }
            Err(error) => Err(AppError::Wechat(format!("close: {error}"))),
        }
    }

    async fn record_closed(&self, merchant: MerchantScope, id: PaymentId) -> Result<Outcome> {
        let done: Result<()> = transact!(self.db, |tx| async {
            Ok::<_, AppError>(payments::set_closed(&tx, merchant, id).await?)
        });
        done.map(|()| Outcome::Done)
    }

    async fn orders_closed(&self, merchant: MerchantScope, payment: PaymentId) -> Result<bool> {
        let ids: Vec<OrderId> = payments::orders_of(self.db.reader(), merchant, &[payment])
            .await?
            .into_iter()
            .map(|o| o.1)
            .collect();
        for id in ids {
            let order = orders::summary(self.db.reader(), merchant, id).await?;
            if order.is_some_and(|s| s.order.state == OrderState::PendingPayment) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) async fn account_of(&self, payment: &Payment) -> Result<PayAccount> {
        let id =
            payment.pay_account_id.ok_or_else(|| AppError::Internal("payment without account".to_owned()))?;
        let account = merchants::pay_account_of_callback(self.db.reader(), id).await?;
        account.ok_or_else(|| AppError::Internal("pay account vanished".to_owned()))
    }

    async fn settle_transaction(
        &self,
        merchant: MerchantScope,
        account: &PayAccount,
        client: &PayClient,
        found: &Transaction,
    ) -> Result<Settled> {
        let settled = self.in_batch(merchant, paid_facts(account, client, found, self.now())?).await?;
        if let Settled::Paid | Settled::Late = settled {
            let late = if settled == Settled::Late { "yes" } else { "no" };
            metrics::counter!("payments_settled_total", "late" => late).increment(1);
        }
        Ok(settled)
    }

    /// Takes WeChat's notification of a payment: verified and decrypted, then settled, recorded as an anomaly, or
    /// sent back to be sent again. `account` is the one in the callback's address.
    pub async fn payment_notified(
        &self,
        account: Option<PayAccountId>,
        headers: &NotificationHeaders,
        body: &[u8],
    ) -> Result<()> {
        let (account, client, kind) = self.open_notification(account, headers, body).await?;
        let NotificationKind::Payment(transaction) = kind else { return Ok(()) };
        if transaction.trade_state != TradeState::Success {
            return Ok(());
        }
        let payment = match PaymentId::parse(&transaction.out_trade_no) {
            Ok(id) => payments::by_out_trade_no(self.db.reader(), id).await?,
            Err(_) => None,
        };
        let Some(payment) = payment else { return self.unknown_number(&account, &transaction).await };
        if payment.merchant_id != account.merchant_id || payment.pay_account_id != Some(account.id) {
            // Another account's number: record it where the message belongs, and never believe it.
            return self.foreign_number(&account, &transaction, &payment).await;
        }
        let merchant = MerchantScope::of_system(account.merchant_id);
        self.settle_transaction(merchant, &account, &client, &transaction).await.map(|_| ())
    }

    /// Verifies and opens a notification with the keys of the account it is addressed to.
    pub(crate) async fn open_notification(
        &self,
        account: Option<PayAccountId>,
        headers: &NotificationHeaders,
        body: &[u8],
    ) -> Result<(PayAccount, std::sync::Arc<PayClient>, NotificationKind)> {
        let account = match account {
            Some(id) => merchants::pay_account_of_callback(self.db.reader(), id).await?,
            None => merchants::only_pay_account(self.db.reader()).await?,
        };
        let account = account.ok_or(Reason::NotFound)?;
        let client = self.wechat.pay(&account).await?;
        let mut opened = client.open_notification(headers, body);
        if matches!(opened, Err(NotificationError::UnknownSerial)) && self.wechat.may_refresh(account.id) {
            // WeChat rotates its certificates: fetch the new ones, at most once a minute.
            match client.fetch_platform_certificates().await {
                Ok(added) => tracing::info!(account = %account.id, added, "platform certificates fetched"),
                Err(error) => {
                    tracing::warn!(account = %account.id, %error, "cannot fetch platform certificates");
                }
            }
            opened = client.open_notification(headers, body);
        }
        match opened {
            Ok(notification) => Ok((account, client, notification.kind)),
            Err(error) => {
                metrics::counter!("notifications_unverified_total").increment(1);
                tracing::warn!(account = %account.id, %error, "a notification could not be verified");
                Err(Reason::NotificationUnverified.into())
            }
        }
    }

    async fn unknown_number(&self, account: &PayAccount, transaction: &Transaction) -> Result<()> {
        self.record_stray(account, transaction, AnomalyKind::UnknownNumber, None).await?;
        // Perhaps our own row is not committed yet: WeChat sends it again.
        Err(Reason::NotificationUnknown.into())
    }

    async fn foreign_number(
        &self,
        account: &PayAccount,
        transaction: &Transaction,
        payment: &Payment,
    ) -> Result<()> {
        let ours = payment.merchant_id == account.merchant_id;
        self.record_stray(account, transaction, AnomalyKind::AccountMismatch, ours.then_some(payment.id))
            .await
    }

    async fn record_stray(
        &self,
        account: &PayAccount,
        transaction: &Transaction,
        kind: AnomalyKind,
        payment: Option<PaymentId>,
    ) -> Result<()> {
        let anomaly = Anomaly {
            merchant_id: account.merchant_id,
            id: new_id(),
            pay_account_id: account.id,
            kind,
            number: transaction.out_trade_no.chars().take(64).collect(),
            transaction_id: transaction.transaction_id.clone().unwrap_or_default(),
            payment_id: payment,
            got: evidence(transaction),
        };
        settle::raise_alarm(kind, &anomaly.number);
        let now = self.now();
        transact!(self.db, |tx| async {
            Ok::<_, AppError>(payments::record_anomaly(&tx, &anomaly, now).await?)
        })
    }
}

/// Locks the order, refuses what cannot be paid, and finds or makes its payment with the job that will ask about it.
async fn open_payment(
    tx: &Tx,
    merchant: MerchantScope,
    order_id: OrderId,
    account: &PayAccount,
    openid: &str,
    key: &str,
    now: Timestamp,
) -> Result<Payment> {
    let order = orders::lock(tx, merchant, &[order_id]).await?.pop().ok_or(Reason::NotFound)?;
    let key = Key {
        merchant,
        actor_id: order.customer_id.into(),
        key,
        operation: "order.pay",
        fingerprint: fingerprint(&order_id),
    };
    if idempotency::claim(tx, &key, now).await? == Claim::Conflict {
        return Err(Reason::IdempotencyConflict.into());
    }
    check_payable(&order, now)?;
    idempotency::store(tx, &key, order_id.into(), "{}").await?;
    if let Some(payment) = payments::of_order(tx, merchant, order_id).await? {
        return match payment.state {
            PaymentState::Created | PaymentState::Pending => Ok(payment),
            PaymentState::Succeeded => Err(Reason::OrderPaid.into()),
            PaymentState::Closed | PaymentState::Failed => Err(Reason::OrderNotPayable.into()),
        };
    }
    let payment = Payment {
        pay_account_id: Some(account.id),
        method: Method::Wechat,
        openid: Some(openid.to_owned()),
        description: description(tx, merchant, &order).await?,
        ..blank_payment(&order, PaymentState::Created, now)
    };
    payments::insert(tx, &payment, &[(order.id, order.pay)]).await?;
    let first_check = now.plus(Duration::seconds(CHECK_AFTER_S[0]));
    jobs::enqueue(tx, merchant, JobKind::PaymentCheck, payment.id.into(), first_check, now).await?;
    Ok(payment)
}

fn check_payable(order: &Order, now: Timestamp) -> Result<(), Reason> {
    match order.state {
        OrderState::PendingPayment if now.plus(Duration::seconds(MIN_TIME_TO_PAY_S)) > order.expires_at => {
            Err(Reason::OrderExpired)
        }
        OrderState::PendingPayment => Ok(()),
        OrderState::Paid | OrderState::Grouping => Err(Reason::OrderPaid),
        OrderState::Refunding | OrderState::Closed => Err(Reason::OrderNotPayable),
    }
}

async fn description(tx: &Tx, merchant: MerchantScope, order: &Order) -> Result<String> {
    let lines = orders::lines(tx, merchant, &[order.id]).await?;
    let first = lines.first().map_or("到店商品", |l| l.product_name.as_str());
    Ok(if lines.len() > 1 { format!("{first} 等 {} 件", lines.len()) } else { first.to_owned() })
}

fn blank_payment(order: &Order, state: PaymentState, now: Timestamp) -> Payment {
    Payment {
        merchant_id: order.merchant_id,
        id: new_id(),
        checkout_id: order.checkout_id,
        customer_id: order.customer_id,
        pay_account_id: None,
        method: Method::None,
        state,
        amount: order.pay,
        openid: None,
        description: String::new(),
        prepay_id: None,
        prepay_at: None,
        transaction_id: None,
        expires_at: order.expires_at,
        paid_at: None,
        late: false,
        refund_in_flight: None,
        last_refund_at: None,
        refund_count: 0,
        created_at: now,
    }
}

/// An order of 0 fen has nothing to pay: it is settled when it is placed, with the method `none`.
pub(crate) async fn settle_free_orders(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    free: &[&Order],
    now: Timestamp,
) -> Result<()> {
    let mut dues = Vec::with_capacity(free.len());
    for order in free {
        let payment = Payment { paid_at: Some(now), ..blank_payment(order, PaymentState::Succeeded, now) };
        payments::insert(tx, &payment, &[(order.id, order.pay)]).await?;
        let actor = Actor::Customer(order.customer_id);
        dues.push(Due { order, payment_id: payment.id, amount: Money::ZERO, actor });
    }
    settle::pay_orders(app, tx, merchant, &dues, now).await
}

fn paid_facts(account: &PayAccount, client: &PayClient, found: &Transaction, now: Timestamp) -> Result<Paid> {
    let payment_id =
        PaymentId::parse(&found.out_trade_no).map_err(|_| AppError::Internal("not our number".to_owned()))?;
    let paid_at = found.success_time.map_or(now, |t| Timestamp::from_datetime(t.to_utc()));
    Ok(Paid {
        payment_id,
        facts: PaidFacts {
            account_matches: found.belongs_to(&crate::wechat::identity(account)?)
                && found.belongs_to(client.account()),
            transaction_id: found.transaction_id.clone().unwrap_or_default(),
            total: Money::fen(found.total_fen.unwrap_or(-1)),
            currency: found.currency.clone().unwrap_or_else(|| "CNY".to_owned()),
        },
        payer_total: Money::fen(found.payer_total_fen.or(found.total_fen).unwrap_or(0)),
        paid_at,
        evidence: evidence(found),
    })
}

/// What to keep of a message that does not match; no openid.
fn evidence(found: &Transaction) -> String {
    hexiao_db::row::json_text(&serde_json::json!({
        "mchid": found.mchid, "sp_mchid": found.sp_mchid, "sub_mchid": found.sub_mchid, "appid": found.appid, "sp_appid": found.sp_appid,
        "out_trade_no": found.out_trade_no, "transaction_id": found.transaction_id,
        "total_fen": found.total_fen, "currency": found.currency,
    }))
}

/// A call that WeChat refused for a cause the customer cannot mend, or whose outcome is unknown.
pub(crate) fn refuse_call(what: &str, error: &CallError) -> AppError {
    match error {
        CallError::Refused { code, .. } => {
            tracing::error!(alarm = "wechat_refused", what, ?code, %error, "WeChat refused a request");
            Reason::WechatRefused.into()
        }
        CallError::Unknown { .. } | CallError::NotSent { .. } => AppError::Wechat(format!("{what}: {error}")),
    }
}
