//! Notifications: verified over the raw body first, then decrypted, then read.

use super::keys::Signed;
use super::{PayClient, RefundNotice, Transaction};
use crate::error::NotificationError;
use chrono::{DateTime, FixedOffset};
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The `Wechatpay-*` headers of a notification; `None` where one is missing or isn't text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationHeaders {
    /// `Wechatpay-Timestamp`.
    pub timestamp: Option<String>,
    /// `Wechatpay-Nonce`.
    pub nonce: Option<String>,
    /// `Wechatpay-Signature`.
    pub signature: Option<String>,
    /// `Wechatpay-Serial`.
    pub serial: Option<String>,
    /// `Wechatpay-Signature-Type`; may be missing.
    pub signature_type: Option<String>,
}

impl From<&HeaderMap> for NotificationHeaders {
    fn from(headers: &HeaderMap) -> Self {
        let signed = Signed::of(headers);
        Self {
            timestamp: signed.timestamp.map(str::to_owned),
            nonce: signed.nonce.map(str::to_owned),
            signature: signed.signature.map(str::to_owned),
            serial: signed.serial.map(str::to_owned),
            signature_type: signed.signature_type.map(str::to_owned),
        }
    }
}

/// A genuine notification. It may come again, under this id or another: deduplicate by id and by state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// WeChat's id of it, 36 characters at most.
    pub id: String,
    /// `TRANSACTION.SUCCESS`, `REFUND.SUCCESS`, …
    pub event_type: String,
    /// When WeChat made it.
    pub create_time: DateTime<FixedOffset>,
    /// What it says.
    pub kind: NotificationKind,
}

/// What a notification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotificationKind {
    /// An order was paid.
    Payment(Transaction),
    /// A refund ended.
    Refund(RefundNotice),
    /// An event we don't handle; left encrypted.
    Other {
        /// Its type.
        event_type: String,
    },
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    create_time: DateTime<FixedOffset>,
    event_type: String,
    resource: Resource,
}

#[derive(Deserialize)]
struct Resource {
    algorithm: String,
    ciphertext: String,
    #[serde(default)]
    associated_data: Option<String>,
    nonce: String,
}

impl PayClient {
    /// Verifies, decrypts and reads a notification. `body` is the raw body, not one parsed and written again.
    ///
    /// Only says that WeChat sent it: whether it is for this account, this order and this amount is the caller's to
    /// check ([`Transaction::belongs_to`], [`RefundNotice::belongs_to`]).
    pub fn open_notification(
        &self,
        headers: &NotificationHeaders,
        body: &[u8],
    ) -> Result<Notification, NotificationError> {
        let signed = Signed {
            timestamp: headers.timestamp.as_deref(),
            nonce: headers.nonce.as_deref(),
            signature: headers.signature.as_deref(),
            serial: headers.serial.as_deref(),
            signature_type: headers.signature_type.as_deref(),
        };
        self.keys.verify(&signed, body, self.now())?;
        let envelope: Envelope = serde_json::from_slice(body).map_err(|_| NotificationError::BadBody)?;
        let kind = match envelope.event_type.as_str() {
            "TRANSACTION.SUCCESS" => NotificationKind::Payment(self.open_resource(&envelope.resource)?),
            "REFUND.SUCCESS" | "REFUND.ABNORMAL" | "REFUND.CLOSED" => {
                NotificationKind::Refund(self.open_resource(&envelope.resource)?)
            }
            _ => NotificationKind::Other { event_type: envelope.event_type.clone() },
        };
        Ok(Notification {
            id: envelope.id,
            event_type: envelope.event_type,
            create_time: envelope.create_time,
            kind,
        })
    }

    fn open_resource<T: DeserializeOwned>(&self, resource: &Resource) -> Result<T, NotificationError> {
        if resource.algorithm != "AEAD_AES_256_GCM" {
            return Err(NotificationError::BadCipher);
        }
        let associated_data = resource.associated_data.as_deref().unwrap_or_default();
        let plain = self
            .api_v3_key
            .open(&resource.nonce, associated_data, &resource.ciphertext)
            .ok_or(NotificationError::BadCipher)?;
        serde_json::from_slice(&plain).map_err(|_| NotificationError::BadBody)
    }
}
