//! The records the simulator keeps: orders, refunds, notifications. Amounts are fen.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// State of an order (`trade_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TradeState {
    /// Created, not paid.
    Notpay,
    /// Paid.
    Success,
    /// Paid, and a refund was accepted.
    Refund,
    /// Closed: neither payable nor refundable.
    Closed,
}

impl TradeState {
    pub(crate) fn wire(self) -> (&'static str, &'static str) {
        match self {
            Self::Notpay => ("NOTPAY", "订单未支付"),
            Self::Success => ("SUCCESS", "支付成功"),
            Self::Refund => ("REFUND", "订单发生过退款，退款详情请查询退款单"),
            Self::Closed => ("CLOSED", "订单已关闭"),
        }
    }

    pub(crate) fn is_paid(self) -> bool {
        match self {
            Self::Success | Self::Refund => true,
            Self::Notpay | Self::Closed => false,
        }
    }
}

/// Who pays, as the order named them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    /// Direct merchant: openid under the order's appid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// Partner: openid under the provider's appid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sp_openid: Option<String>,
    /// Partner: openid under the sub-merchant's appid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_openid: Option<String>,
}

impl Payer {
    /// The one openid the order was made with.
    pub fn any(&self) -> Option<&str> {
        self.openid.as_deref().or(self.sub_openid.as_deref()).or(self.sp_openid.as_deref())
    }
}

/// A `prepay_id` handed out for an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepay {
    /// `wx…`, 36 characters.
    pub id: String,
    /// Issued at; usable for two hours.
    pub at: DateTime<Utc>,
}

/// An order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transaction {
    /// Merchant (provider in partner mode) whose number space `out_trade_no` lives in.
    pub mchid: String,
    /// Its appid.
    pub appid: String,
    /// Partner mode: the sub-merchant.
    pub sub_mchid: Option<String>,
    /// Partner mode: the sub-merchant's appid, if the order named one.
    pub sub_appid: Option<String>,
    /// The merchant's number.
    pub out_trade_no: String,
    /// WeChat's number, once paid.
    pub transaction_id: Option<String>,
    /// State.
    pub state: TradeState,
    /// A number that was closed without ever having been created.
    pub burned: bool,
    /// Amount in fen.
    pub total: i64,
    /// Echoed in the query and the notification.
    pub attach: Option<String>,
    /// Where the payment is announced.
    pub notify_url: String,
    /// Who pays.
    pub payer: Payer,
    /// The first request without `time_expire`: later calls must equal it.
    pub request: Value,
    /// Created at.
    pub created_at: DateTime<Utc>,
    /// No payment after this.
    pub time_expire: DateTime<Utc>,
    /// Paid at.
    pub paid_at: Option<DateTime<Utc>>,
    /// The newest prepay ids, oldest first.
    pub prepays: Vec<Prepay>,
    /// Numbers of its refunds in the order of acceptance.
    pub refunds: Vec<String>,
}

impl Transaction {
    /// The mini program the customer pays in.
    pub fn paying_appid(&self) -> &str {
        self.sub_appid.as_deref().unwrap_or(&self.appid)
    }
}

/// Status of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefundStatus {
    /// Accepted, not finished.
    Processing,
    /// Money returned.
    Success,
    /// Failed, to be handled by the merchant.
    Abnormal,
    /// Failed definitively; needs a new number.
    Closed,
}

impl RefundStatus {
    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Success => "SUCCESS",
            Self::Abnormal => "ABNORMAL",
            Self::Closed => "CLOSED",
        }
    }
}

/// How a refund is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundOutcome {
    /// Money returned.
    Success,
    /// Cannot be returned the way it came.
    Abnormal,
    /// Failed definitively.
    Closed,
}

impl RefundOutcome {
    pub(crate) fn status(self) -> RefundStatus {
        match self {
            Self::Success => RefundStatus::Success,
            Self::Abnormal => RefundStatus::Abnormal,
            Self::Closed => RefundStatus::Closed,
        }
    }
}

/// A refund.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refund {
    /// Merchant (provider in partner mode).
    pub mchid: String,
    /// The merchant's refund number.
    pub out_refund_no: String,
    /// WeChat's refund number.
    pub refund_id: String,
    /// The order refunded.
    pub out_trade_no: String,
    /// WeChat's number of that order.
    pub transaction_id: String,
    /// Fen returned.
    pub amount: i64,
    /// Fen of the order.
    pub total: i64,
    /// Where the end is announced, if anywhere.
    pub notify_url: Option<String>,
    /// Status.
    pub status: RefundStatus,
    /// The request: a repeated call must equal it.
    pub request: Value,
    /// Accepted at.
    pub created_at: DateTime<Utc>,
    /// While PROCESSING: when it becomes SUCCESS by itself.
    pub due_at: DateTime<Utc>,
    /// SUCCESS at.
    pub success_at: Option<DateTime<Utc>>,
}

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// A payment.
    Transaction,
    /// The end of a refund.
    Refund,
}

impl NotificationKind {
    /// `original_type` and `associated_data`, and the name that fault rules match.
    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Refund => "refund",
        }
    }
}

/// Where a notification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    /// Will be sent (again).
    Pending,
    /// The receiver answered 200 or 204.
    Delivered,
    /// The retry table is exhausted.
    GaveUp,
}

/// How one sending ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Status of the answer, if there was one.
    pub http_status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
}

impl Delivery {
    /// WeChat goes by the status alone, and only these two are a success.
    pub fn accepted(&self) -> bool {
        matches!(self.http_status, Some(200 | 204))
    }
}

/// One sending of a notification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Sent at.
    pub at: DateTime<Utc>,
    /// `scheduled`, `duplicate`, `dropped`, `tampered`, `probe` or `resend`.
    pub note: String,
    /// How it ended.
    pub delivery: Delivery,
}

/// A notification and its sendings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NotificationRecord {
    /// Position in the order of creation.
    pub sequence: u64,
    /// The `id` in the body, the same in every retry.
    pub id: String,
    /// What it is about.
    pub kind: NotificationKind,
    /// `TRANSACTION.SUCCESS`, `REFUND.SUCCESS`, …
    pub event_type: String,
    /// Whose APIv3 key seals it.
    pub mchid: String,
    /// The order.
    pub out_trade_no: String,
    /// The refund, for a refund's.
    pub out_refund_no: Option<String>,
    /// Receiver.
    pub url: String,
    /// The resource before sealing.
    pub plaintext: Value,
    /// Created at.
    pub created_at: DateTime<Utc>,
    /// Where it stands.
    pub state: NotificationState,
    /// Sendings by the retry table so far, lost ones included.
    pub tries: usize,
    /// Next sending by the retry table.
    pub next_at: Option<DateTime<Utc>>,
    /// Every sending, the newest last.
    pub attempts: Vec<Attempt>,
}

/// Which platform key signs notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyKey {
    /// The platform certificate's.
    #[default]
    Certificate,
    /// The WeChat Pay public key's.
    PublicKey,
    /// The two in turn, as during a merchant's switch.
    Mixed,
}
