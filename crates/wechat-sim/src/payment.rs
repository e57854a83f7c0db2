//! The customer's side: paying with the parameters of `wx.requestPayment`, or giving up.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    crypto::verify,
    error::SimError,
    journal::{Key, Mutation},
    model::{NotificationKind, TradeState, Transaction},
    sim::Sim,
    views,
    worker::{Announcement, queue},
};

/// A prepay id can be paid with for two hours.
const PREPAY_LIFE: TimeDelta = TimeDelta::hours(2);

/// A customer's payment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayArgs {
    /// The order. May be empty when `request_payment` names the prepay.
    #[serde(default)]
    pub out_trade_no: String,
    /// Who pays; must be the order's payer. `None`: the order's payer.
    #[serde(default)]
    pub openid: Option<String>,
    /// The arguments of `wx.requestPayment` (`timeStamp`, `nonceStr`, `package`, `signType`, `paySign`,
    /// and the calling program's `appId` if the caller wants it compared). `None`: unchecked.
    #[serde(default)]
    pub request_payment: Option<Value>,
}

/// A payment that went through.
#[derive(Clone, Debug, Serialize)]
pub struct PayReceipt {
    /// The order.
    pub out_trade_no: String,
    /// WeChat's number.
    pub transaction_id: String,
    /// When, by the simulator's clock.
    pub success_time: DateTime<Utc>,
}

/// What the mini program hands to `wx.requestPayment`. WeChat's client refuses other types and fields.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestPayment {
    time_stamp: String,
    nonce_str: String,
    package: String,
    sign_type: String,
    pay_sign: String,
    #[serde(default)]
    app_id: Option<String>,
}

/// Pays an order.
pub(crate) fn pay(sim: &Sim, args: &PayArgs) -> Result<PayReceipt, SimError> {
    let now = sim.now();
    let request = args.request_payment.as_ref().map(parse_request).transpose()?;
    let mut store = sim.store();
    let key = match (&request, args.out_trade_no.is_empty()) {
        (Some(request), true) => store.order_by_prepay.get(prepay_id(request)?),
        _ => store.order_by_number.get(&args.out_trade_no),
    };
    let key = key.cloned().ok_or_else(|| SimError::NotFound(format!("order {}", args.out_trade_no)))?;
    let order = store.orders.get(&key).ok_or_else(|| SimError::NotFound(key.number.clone()))?;
    if let Some(request) = &request {
        check_request(sim, order, request, now)?;
    }
    check_payable(order, args.openid.as_deref(), now)?;

    let transaction_id = format!("4200{:013}{:011}", now.timestamp_millis(), store.sequence);
    store.commit(Mutation::OrderPaid {
        key: key.clone(),
        transaction_id: transaction_id.clone(),
        at: now,
    })?;
    if let Some(order) = store.orders.get(&key) {
        let announcement = Announcement {
            kind: NotificationKind::Transaction,
            event_type: "TRANSACTION.SUCCESS",
            mchid: order.mchid.clone(),
            out_trade_no: order.out_trade_no.clone(),
            out_refund_no: None,
            url: order.notify_url.clone(),
            plaintext: views::order_notification(order),
        };
        queue(sim, &mut store, announcement, now)?;
    }
    drop(store);
    sim.wake();
    Ok(PayReceipt { out_trade_no: key.number, transaction_id, success_time: now })
}

/// The customer dismisses the payment: nothing changes, the order stays payable.
pub(crate) fn cancel(sim: &Sim, out_trade_no: &str) -> Result<(), SimError> {
    let store = sim.store();
    let known = store.order_by_number.get(out_trade_no).and_then(|key| store.orders.get(key));
    known.map(|_| ()).ok_or_else(|| SimError::NotFound(format!("order {out_trade_no}")))
}

fn parse_request(request: &Value) -> Result<RequestPayment, SimError> {
    serde_json::from_value(request.clone())
        .map_err(|e| SimError::refused("request_payment_invalid", format!("requestPayment: {e}")))
}

fn prepay_id(request: &RequestPayment) -> Result<&str, SimError> {
    request
        .package
        .strip_prefix("prepay_id=")
        .ok_or_else(|| SimError::refused("package_invalid", "package must be prepay_id=…"))
}

fn check_payable(order: &Transaction, openid: Option<&str>, now: DateTime<Utc>) -> Result<(), SimError> {
    match order.state {
        TradeState::Success | TradeState::Refund => {
            return Err(SimError::refused("order_paid", "the order is paid"));
        }
        TradeState::Closed => return Err(SimError::refused("order_closed", "the order is closed")),
        TradeState::Notpay => {}
    }
    if now >= order.time_expire {
        return Err(SimError::refused("order_expired", "the order's time_expire is over"));
    }
    if openid.is_some() && openid != order.payer.any() {
        return Err(SimError::refused("openid_mismatch", "the order is another customer's"));
    }
    Ok(())
}

fn check_request(
    sim: &Sim,
    order: &Transaction,
    request: &RequestPayment,
    now: DateTime<Utc>,
) -> Result<(), SimError> {
    let prepay_id = prepay_id(request)?;
    let prepay = order
        .prepays
        .iter()
        .find(|prepay| prepay.id == prepay_id)
        .ok_or_else(|| SimError::refused("prepay_mismatch", "the prepay_id is not this order's"))?;
    if now - prepay.at > PREPAY_LIFE {
        return Err(SimError::refused("prepay_expired", "the prepay_id is older than two hours"));
    }
    if request.sign_type != "RSA" {
        return Err(SimError::refused("sign_type_invalid", "signType must be RSA"));
    }
    if request.time_stamp.is_empty() || !request.time_stamp.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SimError::refused("time_stamp_invalid", "timeStamp must be seconds in a string"));
    }
    if request.nonce_str.is_empty() || request.nonce_str.len() > 32 {
        return Err(SimError::refused("nonce_str_invalid", "nonceStr must have 1 to 32 characters"));
    }
    let appid = order.paying_appid();
    if request.app_id.as_deref().is_some_and(|given| given != appid) {
        return Err(SimError::refused("app_id_mismatch", "the order belongs to another mini program"));
    }
    let message = format!("{appid}\n{}\n{}\n{}\n", request.time_stamp, request.nonce_str, request.package);
    let merchant = sim.merchant(&order.mchid).ok_or_else(|| SimError::NotFound(order.mchid.clone()))?;
    if !verify(&merchant.key, message.as_bytes(), &request.pay_sign) {
        return Err(SimError::refused("pay_sign_invalid", "paySign does not verify: 支付验证签名失败"));
    }
    Ok(())
}

impl Sim {
    /// The newest order with a number.
    pub fn transaction(&self, out_trade_no: &str) -> Option<Transaction> {
        let store = self.store();
        let key: &Key = store.order_by_number.get(out_trade_no)?;
        store.orders.get(key).cloned()
    }
}
