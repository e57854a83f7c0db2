//! Between rows and the domain's types: reading columns and binding parameters without losing the type.

use hexiao_core::backfill::BackfillState;
use hexiao_core::booking::{BookingState, CancelReason};
use hexiao_core::catalog::{ProductState, ReviewState, Role, StockMode};
use hexiao_core::commission::CommissionState;
use hexiao_core::consent::{ConsentKind, ConsentState};
use hexiao_core::device::{DevicePlatform, DeviceState};
use hexiao_core::id::{self, Id};
use hexiao_core::job::JobState;
use hexiao_core::money::Money;
use hexiao_core::offline::{ExceptionKind, ExceptionOutcome, ExceptionState, OfflineVerdict};
use hexiao_core::order::{CloseReason, Fulfilment, OrderState};
use hexiao_core::payment::{Method, PaymentState};
use hexiao_core::refund::{BlockedReason, RefundCause, RefundState};
use hexiao_core::risk::{RiskKind, RiskState};
use hexiao_core::stock::ReservationState;
use hexiao_core::time::{BusinessDate, Timestamp};
use hexiao_core::voucher::{LockState, UseState, VoucherState};
use hexiao_core::webhook::{DeliveryState, WebhookEvent, WebhookState};
use sea_orm::{QueryResult, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::pool::{DbError, Result};

/// A row as read.
pub struct Row(pub(crate) QueryResult);

impl Row {
    /// A column in the domain's type.
    pub fn get<T: Column>(&self, name: &str) -> Result<T> {
        T::read(&self.0, name)
    }

    /// A JSON column.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let text: String = self.get(name)?;
        serde_json::from_str(&text).map_err(|e| corrupt(name, e))
    }
}

/// A type that is made of a whole row.
pub trait FromRow: Sized {
    /// Reads it.
    fn from_row(row: &Row) -> Result<Self>;
}

fn corrupt(column: &str, detail: impl std::fmt::Display) -> DbError {
    DbError::Corrupt { column: column.to_owned(), detail: detail.to_string() }
}

/// A value that is also a type of the domain; written as JSON text.
pub fn json_text<T: Serialize>(value: &T) -> String {
    // Our own types have string keys and no failing Serialize: this cannot fail.
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// A type that one column holds.
pub trait Column: Sized {
    /// Reads it.
    fn read(row: &QueryResult, name: &str) -> Result<Self>;
}

/// A type that can be bound as a parameter.
pub trait Param {
    /// Its value.
    fn value(&self) -> Value;
}

macro_rules! plain {
    ($($t:ty => $variant:ident),*) => {$(
        impl Column for $t {
            fn read(row: &QueryResult, name: &str) -> Result<Self> { Ok(row.try_get("", name)?) }
        }
        impl Column for Option<$t> {
            fn read(row: &QueryResult, name: &str) -> Result<Self> { Ok(row.try_get("", name)?) }
        }
        impl Param for $t {
            fn value(&self) -> Value { self.clone().into() }
        }
        impl Param for Option<$t> {
            fn value(&self) -> Value { self.clone().into() }
        }
    )*};
}
plain!(i64 => BigInt, f64 => Double, bool => Bool, String => String, Vec<u8> => Bytes, Uuid => Uuid);

impl Param for &str {
    fn value(&self) -> Value {
        (*self).into()
    }
}

impl Param for Option<&str> {
    fn value(&self) -> Value {
        self.map(str::to_owned).into()
    }
}

impl Param for &String {
    fn value(&self) -> Value {
        self.as_str().into()
    }
}

impl Param for &[u8] {
    fn value(&self) -> Value {
        self.to_vec().into()
    }
}

impl<const N: usize> Param for [u8; N] {
    fn value(&self) -> Value {
        self.to_vec().into()
    }
}

impl Param for u32 {
    fn value(&self) -> Value {
        i64::from(*self).into()
    }
}

impl Param for Option<u32> {
    fn value(&self) -> Value {
        self.map(i64::from).into()
    }
}

impl Column for u32 {
    fn read(row: &QueryResult, name: &str) -> Result<Self> {
        u32::try_from(i64::read(row, name)?).map_err(|e| corrupt(name, e))
    }
}

impl Column for Option<u32> {
    fn read(row: &QueryResult, name: &str) -> Result<Self> {
        Option::<i64>::read(row, name)?.map(|n| u32::try_from(n).map_err(|e| corrupt(name, e))).transpose()
    }
}

/// Types stored as another plain type, both ways.
macro_rules! stored_as {
    ($plain:ty; $($t:ty: |$r:ident| $from:expr, |$w:ident| $to:expr;)*) => {$(
        impl Column for $t {
            fn read(row: &QueryResult, name: &str) -> Result<Self> {
                let $r = <$plain>::read(row, name)?;
                Ok($from)
            }
        }
        impl Column for Option<$t> {
            fn read(row: &QueryResult, name: &str) -> Result<Self> {
                Ok(Option::<$plain>::read(row, name)?.map(|$r| $from))
            }
        }
        impl Param for $t {
            fn value(&self) -> Value { let $w = *self; $to.into() }
        }
        impl Param for Option<$t> {
            fn value(&self) -> Value { self.map(|$w| $to).into() }
        }
    )*};
}
stored_as! { i64;
    Timestamp: |n| Timestamp::from_micros(n), |t| t.micros();
    Money: |n| Money::fen(n), |m| m.as_fen();
}

macro_rules! ids {
    ($($t:ident),*) => { stored_as! { Uuid; $(id::$t: |u| id::$t::from_uuid(u), |i| i.uuid();)* } };
}
ids!(
    MerchantId,
    StoreId,
    StaffId,
    DeviceId,
    ExceptionId,
    CustomerId,
    SessionId,
    ProductId,
    SkuId,
    StockId,
    CheckoutId,
    OrderId,
    LineId,
    PaymentId,
    PayAccountId,
    RefundId,
    VoucherId,
    LockId,
    BookingId,
    BookingPlanId,
    RedemptionId,
    BackfillId,
    UseId,
    ConsentId,
    MessageId,
    JobId,
    WebhookId,
    DeliveryId,
    EventId,
    CommissionRuleId,
    RiskFlagId,
    RecordId
);

macro_rules! texts {
    ($($t:ty),*) => {$(
        impl Column for $t {
            fn read(row: &QueryResult, name: &str) -> Result<Self> {
                let text = String::read(row, name)?;
                <$t>::from_text(&text).ok_or_else(|| corrupt(name, text))
            }
        }
        impl Column for Option<$t> {
            fn read(row: &QueryResult, name: &str) -> Result<Self> {
                let Some(text) = Option::<String>::read(row, name)? else { return Ok(None) };
                <$t>::from_text(&text).map(Some).ok_or_else(|| corrupt(name, text))
            }
        }
        impl Param for $t {
            fn value(&self) -> Value { self.as_str().into() }
        }
        impl Param for Option<$t> {
            fn value(&self) -> Value { self.map(|s| s.as_str().to_owned()).into() }
        }
    )*};
}
texts!(
    OrderState,
    CloseReason,
    Fulfilment,
    PaymentState,
    Method,
    RefundState,
    BlockedReason,
    RefundCause,
    VoucherState,
    LockState,
    BookingState,
    CancelReason,
    UseState,
    ReservationState,
    BackfillState,
    DevicePlatform,
    DeviceState,
    ExceptionKind,
    ExceptionOutcome,
    ExceptionState,
    OfflineVerdict,
    ReviewState,
    ProductState,
    Role,
    StockMode,
    JobState,
    WebhookEvent,
    WebhookState,
    DeliveryState,
    CommissionState,
    ConsentKind,
    ConsentState,
    RiskKind,
    RiskState
);

impl Param for BusinessDate {
    fn value(&self) -> Value {
        self.to_string().into()
    }
}

impl Column for BusinessDate {
    fn read(row: &QueryResult, name: &str) -> Result<Self> {
        let text = String::read(row, name)?;
        text.parse().map(BusinessDate).map_err(|e| corrupt(name, e))
    }
}

impl Column for chrono_tz::Tz {
    fn read(row: &QueryResult, name: &str) -> Result<Self> {
        let text = String::read(row, name)?;
        text.parse().map_err(|e| corrupt(name, e))
    }
}

/// Makes a list of parameters: `params![scope.merchant_id(), id, now]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::row::Param::value(&$value)),*] };
}
