//! The keys WeChat signs with, and the check of a signature against them.

use super::PlatformKey;
use crate::crypto::{self, PlatformPublicKey};
use crate::error::{ConfigError, NotificationError};
use reqwest::header::HeaderMap;
use std::sync::{Arc, PoisonError, RwLock};

/// How far a signature's timestamp may be from now: below this many seconds.
const SIGNATURE_AGE_LIMIT_S: u64 = 300;

const PUBLIC_KEY_PREFIX: &str = "PUB_KEY_ID_";

/// A signature of this form tests whether it is checked; it must fail.
const PROBE_PREFIX: &str = "WECHATPAY/SIGNTEST/";

const SIGNATURE_TYPE: &str = "WECHATPAY2-SHA256-RSA2048";

/// One key and the name WeChat gives it in `Wechatpay-Serial`.
pub(super) struct NamedKey {
    /// A certificate's serial in normal form, or `PUB_KEY_ID_…`.
    pub(super) name: String,
    /// Unix seconds; a public key doesn't expire.
    not_after: Option<i64>,
    pub(super) key: PlatformPublicKey,
}

impl NamedKey {
    /// Reads a platform certificate.
    pub(super) fn certificate(pem: &str) -> Option<Self> {
        let read = crypto::certificate(pem)?;
        Some(Self { name: read.serial, not_after: Some(read.not_after), key: read.key })
    }

    fn is_public_key(&self) -> bool {
        self.not_after.is_none()
    }
}

/// The keys known now; certificates may be added while running.
pub(super) struct PlatformKeys(RwLock<Vec<Arc<NamedKey>>>);

impl PlatformKeys {
    pub(super) fn load(configured: &[PlatformKey]) -> Result<Self, ConfigError> {
        let mut keys = Vec::new();
        for (index, key) in configured.iter().enumerate() {
            let named = match key {
                PlatformKey::Certificate { pem } => NamedKey::certificate(pem),
                PlatformKey::PublicKey { id, pem } => {
                    // The id goes into a header, hence no characters but these.
                    let tail = id.strip_prefix(PUBLIC_KEY_PREFIX).ok_or(ConfigError::PublicKeyId(index))?;
                    if tail.is_empty() || !tail.bytes().all(|b| b.is_ascii_alphanumeric()) {
                        return Err(ConfigError::PublicKeyId(index));
                    }
                    crypto::public_key(pem).map(|key| NamedKey { name: id.clone(), not_after: None, key })
                }
            };
            keys.push(Arc::new(named.ok_or(ConfigError::PlatformKey(index))?));
        }
        Ok(Self(RwLock::new(keys)))
    }

    /// The key to name in `Wechatpay-Serial`, which WeChat then answers with and sensitive fields are encrypted
    /// for: the first public key, else the first certificate still valid (else the first).
    pub(super) fn preferred(&self, now: i64) -> Option<Arc<NamedKey>> {
        let keys = self.snapshot();
        let public = keys.iter().find(|key| key.is_public_key());
        let valid = || keys.iter().find(|key| key.not_after.is_none_or(|end| now < end));
        public.or_else(valid).or_else(|| keys.first()).cloned()
    }

    /// Adds the keys not yet known and says how many those were.
    pub(super) fn add(&self, new: Vec<Arc<NamedKey>>) -> usize {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = keys.len();
        for key in new {
            if !keys.iter().any(|known| known.name == key.name) {
                keys.push(key);
            }
        }
        keys.len() - before
    }

    /// Checks the signature of an answer or a notification against the known keys.
    pub(super) fn verify(&self, signed: &Signed<'_>, body: &[u8], now: i64) -> Result<(), NotificationError> {
        verify_with(&self.snapshot(), signed, body, now)
    }

    fn snapshot(&self) -> Vec<Arc<NamedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The `Wechatpay-*` headers of an answer or a notification.
pub(super) struct Signed<'a> {
    pub(super) timestamp: Option<&'a str>,
    pub(super) nonce: Option<&'a str>,
    pub(super) signature: Option<&'a str>,
    pub(super) serial: Option<&'a str>,
    pub(super) signature_type: Option<&'a str>,
}

impl<'a> Signed<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            timestamp: text("wechatpay-timestamp"),
            nonce: text("wechatpay-nonce"),
            signature: text("wechatpay-signature"),
            serial: text("wechatpay-serial"),
            signature_type: text("wechatpay-signature-type"),
        }
    }
}

/// Checks a signature against exactly these keys.
pub(super) fn verify_with(
    keys: &[Arc<NamedKey>],
    signed: &Signed<'_>,
    body: &[u8],
    now: i64,
) -> Result<(), NotificationError> {
    let signature = signed.signature.ok_or(NotificationError::MissingHeader)?;
    if signature.starts_with(PROBE_PREFIX) {
        return Err(NotificationError::Probe);
    }
    // A missing type means the only one there is.
    if signed.signature_type.is_some_and(|kind| kind != SIGNATURE_TYPE) {
        return Err(NotificationError::BadSignature);
    }
    let timestamp = signed.timestamp.ok_or(NotificationError::MissingHeader)?;
    let nonce = signed.nonce.ok_or(NotificationError::MissingHeader)?;
    let serial = signed.serial.ok_or(NotificationError::MissingHeader)?;
    let seconds: i64 = timestamp.parse().map_err(|_| NotificationError::MissingHeader)?;
    if now.abs_diff(seconds) >= SIGNATURE_AGE_LIMIT_S {
        return Err(NotificationError::Stale);
    }
    let name =
        if serial.starts_with(PUBLIC_KEY_PREFIX) { serial.to_owned() } else { crypto::normal_serial(serial) };
    let named = keys.iter().find(|key| key.name == name).ok_or(NotificationError::UnknownSerial)?;
    let message = crypto::answer_message(timestamp, nonce, body);
    if named.key.verifies(&message, signature) { Ok(()) } else { Err(NotificationError::BadSignature) }
}
