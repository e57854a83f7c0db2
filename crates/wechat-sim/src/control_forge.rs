//! Notifications an attacker or a faulty WeChat could send. A receiver must refuse or ignore each.

use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    delivery::{Letter, Outgoing, send},
    error::SimError,
    model::{Delivery, NotificationKind, TradeState, Transaction},
    platform::SigningKey,
    sim::{Merchant, Sim},
    views,
    worker::notification_id,
};

/// Age of an `old_timestamp` forgery that names none: WeChat's limit is 300 s.
const DEFAULT_AGE_S: i64 = 301;

/// What is wrong with a forged notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgeryKind {
    /// Nothing but a SIGNTEST signature.
    Probe,
    /// The body was changed after it was signed.
    Tampered,
    /// `Wechatpay-Serial` names a key that does not exist.
    WrongSerial,
    /// Signed `age_s` seconds ago (301 by default).
    OldTimestamp,
    /// Properly signed, another amount (`amount`; one fen less by default).
    WrongAmount,
    /// Properly signed, another merchant (`mchid`).
    OtherMerchant,
    /// Properly signed, a number that no order has.
    UnknownOrder,
    /// Properly signed, sealed with another APIv3 key.
    WrongKey,
}

/// A notification to forge after the likeness of an order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forgery {
    /// What is wrong with it.
    pub kind: ForgeryKind,
    /// The order it imitates; paid or not.
    pub out_trade_no: String,
    /// Receiver; the order's by default.
    #[serde(default)]
    pub notify_url: Option<String>,
    /// For `other_merchant`: `1999999999` by default.
    #[serde(default)]
    pub mchid: Option<String>,
    /// For `wrong_amount`, in fen.
    #[serde(default)]
    pub amount: Option<i64>,
    /// For `old_timestamp`, in seconds; negative is in the future.
    #[serde(default)]
    pub age_s: Option<i64>,
}

impl Forgery {
    /// One of a kind, with defaults.
    pub fn new(kind: ForgeryKind, out_trade_no: &str) -> Self {
        let out_trade_no = out_trade_no.to_owned();
        Self { kind, out_trade_no, notify_url: None, mchid: None, amount: None, age_s: None }
    }

    pub(crate) fn probe(out_trade_no: &str) -> Self {
        Self::new(ForgeryKind::Probe, out_trade_no)
    }
}

/// Sends it and tells what the receiver answered.
pub(crate) async fn forge(sim: &Sim, forgery: &Forgery) -> Result<Delivery, SimError> {
    let order = sim
        .transaction(&forgery.out_trade_no)
        .ok_or_else(|| SimError::NotFound(format!("order {}", forgery.out_trade_no)))?;
    let merchant =
        sim.merchant(&order.mchid).ok_or_else(|| SimError::NotFound(format!("merchant {}", order.mchid)))?;
    let outgoing = compose(sim, forgery, order, merchant)?;
    Ok(send(sim, outgoing).await)
}

/// The order as it would look had it just been paid.
fn as_if_paid(sim: &Sim, mut order: Transaction) -> Transaction {
    let now = sim.now();
    order.state = TradeState::Success;
    order.paid_at.get_or_insert(now);
    order.transaction_id.get_or_insert_with(|| format!("4299{:024}", now.timestamp_micros()));
    order
}

fn compose(
    sim: &Sim,
    forgery: &Forgery,
    order: Transaction,
    merchant: &Merchant,
) -> Result<Outgoing, SimError> {
    let order = as_if_paid(sim, order);
    let mut plaintext = views::order_notification(&order);
    match forgery.kind {
        ForgeryKind::WrongAmount => {
            let amount = json!(forgery.amount.unwrap_or(order.total - 1));
            plaintext["amount"]["total"] = amount.clone();
            plaintext["amount"]["payer_total"] = amount;
        }
        ForgeryKind::OtherMerchant => {
            let field = if order.sub_mchid.is_some() { "sp_mchid" } else { "mchid" };
            plaintext[field] = json!(forgery.mchid.as_deref().unwrap_or("1999999999"));
        }
        ForgeryKind::UnknownOrder => {
            let number = format!("FORGED{}", Utc::now().timestamp_micros());
            plaintext["out_trade_no"] = Value::from(number);
        }
        ForgeryKind::Probe
        | ForgeryKind::Tampered
        | ForgeryKind::WrongSerial
        | ForgeryKind::OldTimestamp
        | ForgeryKind::WrongKey => {}
    }
    let age_s = match forgery.kind {
        ForgeryKind::OldTimestamp => forgery.age_s.unwrap_or(DEFAULT_AGE_S),
        _ => 0,
    };
    let wrong_key = "x".repeat(32);
    let now = sim.now();
    let letter = Letter {
        id: &notification_id(now, sim.next_turn() | 0x8000_0000_0000),
        kind: NotificationKind::Transaction,
        event_type: "TRANSACTION.SUCCESS",
        created_at: now,
        plaintext: &plaintext,
        api_v3_key: match forgery.kind {
            ForgeryKind::WrongKey => &wrong_key,
            _ => &merchant.config.api_v3_key,
        },
    };
    let key = sim.store().notify_key.signing_key(sim.next_turn());
    let url = forgery.notify_url.as_deref().unwrap_or(&order.notify_url);
    let mut outgoing = letter.seal(sim, url, key, now.timestamp() - age_s)?;
    match forgery.kind {
        ForgeryKind::Tampered => outgoing.tamper(),
        ForgeryKind::Probe => outgoing = outgoing.into_probe(),
        // Of the form the key has, so that the receiver cannot tell by the looks.
        ForgeryKind::WrongSerial if key == SigningKey::Certificate => outgoing.serial = "7".repeat(40),
        ForgeryKind::WrongSerial => outgoing.serial = format!("PUB_KEY_ID_0{}", "7".repeat(32)),
        ForgeryKind::OldTimestamp
        | ForgeryKind::WrongAmount
        | ForgeryKind::OtherMerchant
        | ForgeryKind::UnknownOrder
        | ForgeryKind::WrongKey => {}
    }
    Ok(outgoing)
}
