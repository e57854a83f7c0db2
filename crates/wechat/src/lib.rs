//! The client of WeChat: Pay APIv3 ([`pay`]) and the mini-program server APIs ([`mini`]).
//!
//! What it promises:
//! - a request body is serialised once; those bytes are what is signed and what is sent;
//! - no 2xx answer and no notification is believed before its signature is verified over the raw bytes;
//! - an outcome that isn't known is said to be unknown ([`CallError::Unknown`]), never a refusal, so that the
//!   caller asks or repeats with the same number instead of charging or refunding twice;
//! - keys, secrets, openids and phone numbers appear in no error message and in no `Debug` output.
//!
//! Architecture invariant: no clock, database or configuration file is read here. Time is injected
//! ([`UnixClock`]), and what a payment means to an order is decided elsewhere.

mod crypto;
mod error;
mod http;
pub mod mini;
pub mod pay;

pub use error::{CallError, ConfigError, ErrorCode, NotificationError};
pub use mini::{MiniClient, MiniConfig, MiniError, PhoneNumber, Session, SubscribeMessage};
pub use pay::{
    AbnormalRefund, AbnormalRefundTo, Account, Notification, NotificationHeaders, NotificationKind,
    PayClient, PayConfig, PlatformKey, Prepay, Refund, RefundNotice, RefundRequest, RefundStatus,
    RequestPayment, TradeState, Transaction,
};

/// Unix seconds now. Injected, so that a test can move time.
pub type UnixClock = std::sync::Arc<dyn Fn() -> i64 + Send + Sync>;
