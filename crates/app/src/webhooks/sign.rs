//! The signature of a webhook, as <https://www.standardwebhooks.com> says it: `v1,` and the HMAC-SHA-256, in base64,
//! of id, timestamp and body with dots between them. While a secret before the present one is still good, both sign.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexiao_core::id::{Id as _, WebhookId};
use hexiao_core::time::Timestamp;
use hexiao_db::webhooks::Webhook;

use crate::error::{AppError, Result};
use crate::keys::{Keys, entropy};

/// Stands before a secret, so that people and scanners of leaked secrets know it.
const PREFIX: &str = "whsec_";

/// A new secret, as it is shown once.
pub(super) fn new_secret() -> String {
    format!("{PREFIX}{}", STANDARD.encode(entropy::<32>()))
}

/// A secret at rest, bound to its webhook.
pub(super) fn seal(keys: &Keys, secret: &str, owner: WebhookId) -> Vec<u8> {
    keys.code_keys.seal_text(secret, entropy(), owner.uuid().as_bytes())
}

/// The keys that sign for a webhook now, the present one first.
pub(super) fn signers(keys: &Keys, webhook: &Webhook, now: Timestamp) -> Result<Vec<hmac::Key>> {
    let old = webhook.old_secret.iter().filter(|(_, until)| now < *until).map(|(sealed, _)| sealed);
    std::iter::once(&webhook.secret)
        .chain(old)
        .map(|sealed| {
            let secret = keys.code_keys.open_text(sealed, webhook.id.uuid().as_bytes())?;
            let bytes = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
            let bytes =
                bytes.ok_or_else(|| AppError::Internal("a webhook's secret is malformed".to_owned()))?;
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        })
        .collect()
}

/// The value of the signature's header.
pub(super) fn signature(signers: &[hmac::Key], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let by = |key: &hmac::Key| format!("v1,{}", STANDARD.encode(hmac::sign(key, signed.as_bytes())));
    signers.iter().map(by).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn signs_as_the_specification_does() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let signed =
            signature(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_are_long_and_their_own() {
        let (one, other) = (new_secret(), new_secret());
        assert!(one != other && one.starts_with(PREFIX) && one.len() == PREFIX.len() + 44);
    }
}
