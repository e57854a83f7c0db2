//! Refunds: apply, query, handle an abnormal one.

use super::transport::{Answer, Call, parsed};
use super::wire::{cut, filled, time};
use super::{Account, PayClient};
use crate::error::CallError;
use crate::http::encode;
use chrono::{DateTime, FixedOffset};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest reason in bytes.
const REASON_BYTES_MAX: usize = 80;

/// A refund to apply for. On an unknown outcome repeat it with the same number: another one refunds twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRequest {
    /// Our order number.
    pub out_trade_no: String,
    /// Our refund number: up to 64 of `0-9A-Za-z_-|*@`.
    pub out_refund_no: String,
    /// Shown to the user; cut to 80 bytes.
    pub reason: Option<String>,
    /// Where the refund notification goes: https, no query string.
    pub notify_url: String,
    /// Amount to refund in fen, 1 or more.
    pub refund_fen: i64,
    /// The order's amount in fen.
    pub total_fen: i64,
}

/// Where a refund stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum RefundStatus {
    /// The user has the money.
    Success,
    /// Failed for good: begin again with a new number.
    Closed,
    /// Accepted, under way.
    Processing,
    /// The user's account cannot take it: see [`PayClient::apply_abnormal_refund`].
    Abnormal,
    /// A status not documented.
    Unknown(String),
}

impl From<String> for RefundStatus {
    fn from(text: String) -> Self {
        match text.as_str() {
            "SUCCESS" => Self::Success,
            "CLOSED" => Self::Closed,
            "PROCESSING" => Self::Processing,
            "ABNORMAL" => Self::Abnormal,
            _ => Self::Unknown(text),
        }
    }
}

/// A refund as WeChat has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// WeChat's refund number.
    pub refund_id: String,
    /// Our refund number.
    pub out_refund_no: String,
    /// WeChat's order number.
    pub transaction_id: String,
    /// Our order number.
    pub out_trade_no: String,
    /// Where it stands.
    pub status: RefundStatus,
    /// When it succeeded.
    pub success_time: Option<DateTime<FixedOffset>>,
    /// Refunded in fen, of the order's amount.
    pub refund_fen: i64,
    /// The order's amount in fen.
    pub total_fen: i64,
    /// Where the money went, in words.
    pub user_received_account: Option<String>,
}

/// What a refund notification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundNotice {
    /// Direct mode.
    pub mchid: Option<String>,
    /// Partner mode.
    pub sp_mchid: Option<String>,
    /// Partner mode.
    pub sub_mchid: Option<String>,
    /// Our order number.
    pub out_trade_no: String,
    /// WeChat's order number.
    pub transaction_id: String,
    /// WeChat's refund number.
    pub refund_id: String,
    /// Our refund number.
    pub out_refund_no: String,
    /// How it ended.
    pub status: RefundStatus,
    /// When it succeeded.
    pub success_time: Option<DateTime<FixedOffset>>,
    /// Refunded in fen, of the order's amount.
    pub refund_fen: i64,
    /// The order's amount in fen.
    pub total_fen: i64,
}

impl RefundNotice {
    /// Whether the merchant numbers are the account's (a refund notification carries no appid).
    pub fn belongs_to(&self, account: &Account) -> bool {
        match account {
            Account::Direct { mchid, .. } => self.mchid.as_ref() == Some(mchid),
            Account::Partner { sp_mchid, sub_mchid, .. } => {
                self.sp_mchid.as_ref() == Some(sp_mchid) && self.sub_mchid.as_ref() == Some(sub_mchid)
            }
        }
    }
}

/// How to settle a refund whose status is abnormal.
#[derive(Debug, Clone)]
pub struct AbnormalRefund {
    /// Our refund number.
    pub out_refund_no: String,
    /// Where the money goes instead.
    pub to: AbnormalRefundTo,
}

/// Where an abnormal refund's money goes.
#[derive(Clone)]
pub enum AbnormalRefundTo {
    /// To a bank card of the user's.
    UserBankCard {
        /// WeChat's code of the bank.
        bank_type: String,
        /// The card's number; sent encrypted.
        bank_account: SecretString,
        /// The holder's name; sent encrypted.
        real_name: SecretString,
    },
    /// To the merchant's bank card, who then pays the user.
    MerchantBankCard,
}

impl fmt::Debug for AbnormalRefundTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserBankCard { .. } => "UserBankCard",
            Self::MerchantBankCard => "MerchantBankCard",
        })
    }
}

#[derive(Deserialize)]
struct RefundWire {
    mchid: Option<String>,
    sp_mchid: Option<String>,
    sub_mchid: Option<String>,
    refund_id: String,
    out_refund_no: String,
    transaction_id: String,
    out_trade_no: String,
    // The notification's name for it differs from the query's.
    #[serde(alias = "refund_status")]
    status: RefundStatus,
    #[serde(default, deserialize_with = "time")]
    success_time: Option<DateTime<FixedOffset>>,
    user_received_account: Option<String>,
    amount: AmountRead,
}

#[derive(Deserialize)]
struct AmountRead {
    refund: i64,
    total: i64,
}

impl<'de> Deserialize<'de> for RefundNotice {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wire = RefundWire::deserialize(from)?;
        Ok(Self {
            mchid: wire.mchid,
            sp_mchid: wire.sp_mchid,
            sub_mchid: wire.sub_mchid,
            out_trade_no: wire.out_trade_no,
            transaction_id: wire.transaction_id,
            refund_id: wire.refund_id,
            out_refund_no: wire.out_refund_no,
            status: wire.status,
            success_time: wire.success_time,
            refund_fen: wire.amount.refund,
            total_fen: wire.amount.total,
        })
    }
}

/// The refund's body on the wire.
#[derive(Serialize)]
struct ApplyWire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_mchid: Option<&'a str>,
    out_trade_no: &'a str,
    out_refund_no: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    notify_url: &'a str,
    amount: Amount,
}

#[derive(Serialize)]
struct Amount {
    refund: i64,
    total: i64,
    currency: &'static str,
}

#[derive(Serialize)]
struct AbnormalWire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_mchid: Option<&'a str>,
    out_refund_no: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bank_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bank_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    real_name: Option<String>,
}

impl PayClient {
    /// Applies for a refund. Success means accepted: the status is usually still processing.
    pub async fn refund(&self, request: &RefundRequest) -> Result<Refund, CallError> {
        let wire = ApplyWire {
            sub_mchid: self.sub_mchid(),
            out_trade_no: &request.out_trade_no,
            out_refund_no: &request.out_refund_no,
            reason: filled(request.reason.as_deref()).map(|reason| cut(reason, REASON_BYTES_MAX)),
            notify_url: &request.notify_url,
            amount: Amount { refund: request.refund_fen, total: request.total_fen, currency: "CNY" },
        };
        let call = Call::post("/v3/refund/domestic/refunds".to_owned(), &wire, self.refund_timeout);
        let answer = self.call(&call, &*self.answering_key()?).await?;
        refund_read(&answer, &request.out_refund_no)
    }

    /// Asks for a refund by our number.
    pub async fn query_refund(&self, out_refund_no: &str) -> Result<Refund, CallError> {
        let mut path_query = format!("/v3/refund/domestic/refunds/{}", encode(out_refund_no));
        if let Some(sub_mchid) = self.sub_mchid() {
            path_query.push_str("?sub_mchid=");
            path_query.push_str(sub_mchid);
        }
        let answer = self.call(&Call::get(path_query, self.timeout), &*self.answering_key()?).await?;
        refund_read(&answer, out_refund_no)
    }

    /// Settles a refund whose status is abnormal, by WeChat's refund number.
    pub async fn apply_abnormal_refund(
        &self,
        refund_id: &str,
        request: &AbnormalRefund,
    ) -> Result<Refund, CallError> {
        // The key the fields are encrypted for must be the key the call names.
        let key = self.answering_key()?;
        let sealed = |plain: &SecretString| {
            let too_long = || CallError::not_sent("a sensitive field is too long to encrypt");
            key.key.encrypt(plain.expose_secret()).ok_or_else(too_long)
        };
        let mut wire = AbnormalWire {
            sub_mchid: self.sub_mchid(),
            out_refund_no: &request.out_refund_no,
            kind: "MERCHANT_BANK_CARD",
            bank_type: None,
            bank_account: None,
            real_name: None,
        };
        if let AbnormalRefundTo::UserBankCard { bank_type, bank_account, real_name } = &request.to {
            wire.kind = "USER_BANK_CARD";
            wire.bank_type = Some(bank_type);
            wire.bank_account = Some(sealed(bank_account)?);
            wire.real_name = Some(sealed(real_name)?);
        }
        let path = format!("/v3/refund/domestic/refunds/{}/apply-abnormal-refund", encode(refund_id));
        let answer = self.call(&Call::post(path, &wire, self.refund_timeout), &key).await?;
        refund_read(&answer, &request.out_refund_no)
    }

    fn sub_mchid(&self) -> Option<&str> {
        match &self.account {
            Account::Direct { .. } => None,
            Account::Partner { sub_mchid, .. } => Some(sub_mchid),
        }
    }
}

fn refund_read(answer: &Answer, out_refund_no: &str) -> Result<Refund, CallError> {
    let wire: RefundWire = parsed(answer)?;
    if wire.out_refund_no != out_refund_no {
        return Err(CallError::unknown("the answer is about another refund", answer.request_id()));
    }
    Ok(Refund {
        refund_id: wire.refund_id,
        out_refund_no: wire.out_refund_no,
        transaction_id: wire.transaction_id,
        out_trade_no: wire.out_trade_no,
        status: wire.status,
        success_time: wire.success_time,
        refund_fen: wire.amount.refund,
        total_fen: wire.amount.total,
        user_received_account: wire.user_received_account,
    })
}
