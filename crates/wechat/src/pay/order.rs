//! Orders: prepay, the mini program's payment parameters, query, close.

use super::transport::{Call, parsed};
use super::wire::{beijing, cut, filled, time};
use super::{Account, PayClient};
use crate::crypto;
use crate::error::CallError;
use crate::http::encode;
use chrono::{DateTime, FixedOffset, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest description in bytes.
const DESCRIPTION_BYTES_MAX: usize = 127;

/// An order to create. The same number with the same parameters gives a fresh prepay id of the same order.
#[derive(Clone, PartialEq, Eq)]
pub struct Prepay {
    /// What is bought, as the user's bill shows it; cut to 127 bytes.
    pub description: String,
    /// Our number: 6 to 32 of `0-9A-Za-z_-|*`, never used again.
    pub out_trade_no: String,
    /// Echoed in queries and notifications; 128 bytes at most.
    pub attach: Option<String>,
    /// Where the payment notification goes: https, no query string.
    pub notify_url: String,
    /// Until when the order may be paid. WeChat doesn't close it then.
    pub time_expire: DateTime<Utc>,
    /// Amount in fen, 1 or more.
    pub total_fen: i64,
    /// The payer's openid under the paying mini program's appid.
    pub payer_openid: String,
    /// Freezes the money for profit sharing.
    pub profit_sharing: bool,
}

impl fmt::Debug for Prepay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepay")
            .field("out_trade_no", &self.out_trade_no)
            .field("total_fen", &self.total_fen)
            .field("time_expire", &self.time_expire)
            .finish_non_exhaustive()
    }
}

/// What `wx.requestPayment` takes. Its result proves nothing: query the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestPayment {
    /// Unix seconds, as a string.
    pub time_stamp: String,
    /// 32 characters at most.
    pub nonce_str: String,
    /// `prepay_id=…`.
    pub package: String,
    /// `RSA`.
    pub sign_type: String,
    /// Base64.
    pub pay_sign: String,
}

/// The state of an order at WeChat.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum TradeState {
    /// Paid.
    Success,
    /// Paid, and some refund was requested: the refund query has the details.
    Refund,
    /// Not paid (yet); failed attempts leave it so.
    NotPay,
    /// Closed: can be neither paid nor refunded.
    Closed,
    /// Revoked (payment codes only).
    Revoked,
    /// The user is paying (payment codes only): pending.
    UserPaying,
    /// The payment failed (payment codes only).
    PayError,
    /// A state not documented.
    Unknown(String),
}

impl From<String> for TradeState {
    fn from(text: String) -> Self {
        match text.as_str() {
            "SUCCESS" => Self::Success,
            "REFUND" => Self::Refund,
            "NOTPAY" => Self::NotPay,
            "CLOSED" => Self::Closed,
            "REVOKED" => Self::Revoked,
            "USERPAYING" => Self::UserPaying,
            "PAYERROR" => Self::PayError,
            _ => Self::Unknown(text),
        }
    }
}

/// An order as WeChat has it, from a query or a payment notification.
///
/// Before it is believed to be ours: [`Self::belongs_to`], the number, and `total_fen` against the local order.
#[derive(Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Direct mode.
    pub appid: Option<String>,
    /// Direct mode.
    pub mchid: Option<String>,
    /// Partner mode.
    pub sp_appid: Option<String>,
    /// Partner mode.
    pub sp_mchid: Option<String>,
    /// Partner mode, if one was given.
    pub sub_appid: Option<String>,
    /// Partner mode.
    pub sub_mchid: Option<String>,
    /// Our number.
    pub out_trade_no: String,
    /// WeChat's number, once paid.
    pub transaction_id: Option<String>,
    /// Where it stands.
    pub trade_state: TradeState,
    /// The state in words.
    pub trade_state_desc: String,
    /// When it was paid.
    pub success_time: Option<DateTime<FixedOffset>>,
    /// The order's amount in fen: the one to compare.
    pub total_fen: Option<i64>,
    /// What the user paid in fen, less than the total if WeChat's vouchers were used.
    pub payer_total_fen: Option<i64>,
    /// `CNY`.
    pub currency: Option<String>,
    /// The payer, under the sub-merchant's appid if there is one.
    pub payer_openid: Option<String>,
    /// What the order was created with.
    pub attach: Option<String>,
    /// The bank, as a code of WeChat's.
    pub bank_type: Option<String>,
}

impl Transaction {
    /// Whether appids and merchant numbers are the account's.
    pub fn belongs_to(&self, account: &Account) -> bool {
        match account {
            Account::Direct { appid, mchid } => {
                self.appid.as_ref() == Some(appid) && self.mchid.as_ref() == Some(mchid)
            }
            Account::Partner { sp_appid, sp_mchid, sub_appid, sub_mchid } => {
                self.sp_appid.as_ref() == Some(sp_appid)
                    && self.sp_mchid.as_ref() == Some(sp_mchid)
                    && self.sub_mchid.as_ref() == Some(sub_mchid)
                    && (sub_appid.is_none() || self.sub_appid == *sub_appid)
            }
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("out_trade_no", &self.out_trade_no)
            .field("transaction_id", &self.transaction_id)
            .field("trade_state", &self.trade_state)
            .field("total_fen", &self.total_fen)
            .field("payer_total_fen", &self.payer_total_fen)
            .field("success_time", &self.success_time)
            .finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for Transaction {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wire = TransactionWire::deserialize(from)?;
        Ok(Self {
            appid: wire.appid,
            mchid: wire.mchid,
            sp_appid: wire.sp_appid,
            sp_mchid: wire.sp_mchid,
            sub_appid: wire.sub_appid,
            sub_mchid: wire.sub_mchid,
            out_trade_no: wire.out_trade_no,
            transaction_id: wire.transaction_id,
            trade_state: wire.trade_state,
            trade_state_desc: wire.trade_state_desc.unwrap_or_default(),
            success_time: wire.success_time,
            total_fen: wire.amount.as_ref().and_then(|amount| amount.total),
            payer_total_fen: wire.amount.as_ref().and_then(|amount| amount.payer_total),
            currency: wire.amount.and_then(|amount| amount.currency),
            payer_openid: wire.payer.and_then(|payer| payer.openid.or(payer.sub_openid).or(payer.sp_openid)),
            attach: wire.attach,
            bank_type: wire.bank_type,
        })
    }
}

#[derive(Deserialize)]
struct TransactionWire {
    appid: Option<String>,
    mchid: Option<String>,
    sp_appid: Option<String>,
    sp_mchid: Option<String>,
    sub_appid: Option<String>,
    sub_mchid: Option<String>,
    out_trade_no: String,
    transaction_id: Option<String>,
    trade_state: TradeState,
    trade_state_desc: Option<String>,
    #[serde(default, deserialize_with = "time")]
    success_time: Option<DateTime<FixedOffset>>,
    amount: Option<AmountRead>,
    payer: Option<PayerRead>,
    attach: Option<String>,
    bank_type: Option<String>,
}

#[derive(Deserialize)]
struct AmountRead {
    total: Option<i64>,
    payer_total: Option<i64>,
    currency: Option<String>,
}

#[derive(Deserialize)]
struct PayerRead {
    openid: Option<String>,
    sp_openid: Option<String>,
    sub_openid: Option<String>,
}

/// The order's body on the wire. Absent fields are omitted: WeChat refuses null.
#[derive(Serialize)]
struct PrepayWire<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    description: &'a str,
    out_trade_no: &'a str,
    time_expire: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attach: Option<&'a str>,
    notify_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    settle_info: Option<SettleInfo>,
    amount: Amount,
    payer: Payer<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Identity<'a> {
    Direct {
        appid: &'a str,
        mchid: &'a str,
    },
    Partner {
        sp_appid: &'a str,
        sp_mchid: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        sub_appid: Option<&'a str>,
        sub_mchid: &'a str,
    },
}

/// The merchant numbers alone, for the body of a close.
#[derive(Serialize)]
#[serde(untagged)]
enum Merchant<'a> {
    Direct { mchid: &'a str },
    Partner { sp_mchid: &'a str, sub_mchid: &'a str },
}

#[derive(Serialize)]
struct SettleInfo {
    profit_sharing: bool,
}

#[derive(Serialize)]
struct Amount {
    total: i64,
    currency: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Payer<'a> {
    Openid(&'a str),
    SpOpenid(&'a str),
    SubOpenid(&'a str),
}

#[derive(Deserialize)]
struct PrepayAnswer {
    prepay_id: String,
}

impl PayClient {
    /// Creates the order, or repeats its creation, and gives the prepay id, which lives 2 hours.
    pub async fn prepay(&self, prepay: &Prepay) -> Result<String, CallError> {
        let (path, identity, payer) = match &self.account {
            Account::Direct { appid, mchid } => (
                "/v3/pay/transactions/jsapi",
                Identity::Direct { appid, mchid },
                Payer::Openid(&prepay.payer_openid),
            ),
            Account::Partner { sp_appid, sp_mchid, sub_appid, sub_mchid } => {
                let sub_appid = sub_appid.as_deref();
                let payer = match sub_appid {
                    Some(_) => Payer::SubOpenid(&prepay.payer_openid),
                    None => Payer::SpOpenid(&prepay.payer_openid),
                };
                let identity = Identity::Partner { sp_appid, sp_mchid, sub_appid, sub_mchid };
                ("/v3/pay/partner/transactions/jsapi", identity, payer)
            }
        };
        let wire = PrepayWire {
            identity,
            description: cut(&prepay.description, DESCRIPTION_BYTES_MAX),
            out_trade_no: &prepay.out_trade_no,
            time_expire: beijing(prepay.time_expire),
            attach: filled(prepay.attach.as_deref()),
            notify_url: &prepay.notify_url,
            settle_info: prepay.profit_sharing.then_some(SettleInfo { profit_sharing: true }),
            amount: Amount { total: prepay.total_fen, currency: "CNY" },
            payer,
        };
        let call = Call::post(path.to_owned(), &wire, self.timeout);
        let answer = self.call(&call, &*self.answering_key()?).await?;
        parsed::<PrepayAnswer>(&answer).map(|body| body.prepay_id)
    }

    /// Signs what the mini program passes to `wx.requestPayment`. `nonce` is fresh and 32 characters at most.
    pub fn request_payment(&self, prepay_id: &str, nonce: &str) -> RequestPayment {
        let time_stamp = self.now().to_string();
        let package = format!("prepay_id={prepay_id}");
        let message = crypto::payment_message(self.account.paying_appid(), &time_stamp, nonce, &package);
        RequestPayment {
            time_stamp,
            nonce_str: nonce.to_owned(),
            package,
            sign_type: "RSA".to_owned(),
            pay_sign: self.merchant_key.sign(&message),
        }
    }

    /// Asks for an order by our number.
    pub async fn query(&self, out_trade_no: &str) -> Result<Transaction, CallError> {
        let number = encode(out_trade_no);
        let path_query = match &self.account {
            Account::Direct { mchid, .. } => {
                format!("/v3/pay/transactions/out-trade-no/{number}?mchid={mchid}")
            }
            Account::Partner { sp_mchid, sub_mchid, .. } => format!(
                "/v3/pay/partner/transactions/out-trade-no/{number}?sp_mchid={sp_mchid}&sub_mchid={sub_mchid}"
            ),
        };
        let answer = self.call(&Call::get(path_query, self.timeout), &*self.answering_key()?).await?;
        let transaction: Transaction = parsed(&answer)?;
        if transaction.out_trade_no != out_trade_no {
            return Err(CallError::unknown("the answer is about another order", answer.request_id()));
        }
        Ok(transaction)
    }

    /// Closes an order that isn't paid; may be repeated. Only for a number that received a prepay id: closing one
    /// WeChat has never seen succeeds and burns it. `OrderPaid` means: query, and accept the payment.
    pub async fn close(&self, out_trade_no: &str) -> Result<(), CallError> {
        let number = encode(out_trade_no);
        let (path, wire) = match &self.account {
            Account::Direct { mchid, .. } => {
                (format!("/v3/pay/transactions/out-trade-no/{number}/close"), Merchant::Direct { mchid })
            }
            Account::Partner { sp_mchid, sub_mchid, .. } => (
                format!("/v3/pay/partner/transactions/out-trade-no/{number}/close"),
                Merchant::Partner { sp_mchid, sub_mchid },
            ),
        };
        self.call(&Call::post(path, &wire, self.timeout), &*self.answering_key()?).await.map(|_| ())
    }
}
