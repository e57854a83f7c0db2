//! The secrets the use cases need, by id so that they can be rotated, and the randomness they draw.

use std::sync::Arc;

use aws_lc_rs::{hmac, rand as secure};
use hexiao_core::code::{CodeKey, Keyed as _, Keyring, Pepper, VoucherCode};
use hexiao_core::id::Id;
use hexiao_core::ticket::{TicketSigner, TicketVerifiers};
use hexiao_db::key_checks::{self, KeyCheck};
use hexiao_db::transact;
use uuid::Uuid;

use crate::context::App;
use crate::error::{AppError, Result};

/// All secrets of one installation.
pub struct Keys {
    /// Hash voucher codes and phone numbers.
    pub peppers: Keyring<Pepper>,
    /// Encrypt voucher codes and phone numbers at rest.
    pub code_keys: Keyring<CodeKey>,
    /// Signs QR tickets.
    pub ticket_signer: TicketSigner,
    /// Verifies QR tickets, also those of retired keys.
    pub ticket_verifiers: TicketVerifiers,
    /// Signs and verifies access tokens (Ed25519, PKCS#8 DER) and its public half.
    pub access_token_key: AccessTokenKey,
    /// Seals prepared redemptions and page cursors.
    pub seal: hmac::Key,
}

/// The key of access tokens.
pub struct AccessTokenKey {
    /// PKCS#8 DER.
    pub private: jsonwebtoken::EncodingKey,
    /// Raw public key.
    pub public: jsonwebtoken::DecodingKey,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// What the data remembers of the keys that hash and encrypt: the hash of a fixed code, and whether a fixed text
    /// opens.
    fn checks(&self) -> Vec<KeyCheck> {
        let fixed = VoucherCode::from_entropy([0; 16]);
        let peppers = self.peppers.iter().map(|p| KeyCheck {
            kind: "pepper",
            key_id: i64::from(p.id()),
            value: sha256(&p.hash(&fixed).0),
        });
        let sealed = |k: &CodeKey| sha256(&k.seal_text("key-check", [0; 12], b"key-check"));
        let code_keys = self.code_keys.iter().map(|k| KeyCheck {
            kind: "code_key",
            key_id: i64::from(k.id()),
            value: sealed(k),
        });
        peppers.chain(code_keys).collect()
    }
}

impl App {
    /// Refuses to go on with other keys than the data was written with: codes would not be found, and new vouchers
    /// would be unreadable to the other servers.
    pub async fn check_keys(&self) -> Result<()> {
        let checks = self.keys.checks();
        let same: Result<bool> =
            transact!(self.db, |tx| async { Ok::<_, AppError>(key_checks::agree(&tx, &checks).await?) });
        let other = "the keys in the data folder are not those that this database was written with: restore the keys folder";
        if same? { Ok(()) } else { Err(AppError::Internal(other.to_owned())) }
    }
}

/// Shared by all use cases.
pub type SharedKeys = Arc<Keys>;

/// Random bytes from the system's generator.
///
/// # Panics
/// When the system's generator fails.
pub fn entropy<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // The only failure of the system's generator is a broken system; nothing that needs randomness may go on then.
    #[expect(clippy::expect_used, reason = "no randomness, no codes: stopping is the safe answer")]
    secure::fill(&mut bytes).expect("the system's random generator failed");
    bytes
}

/// A new id: UUIDv7, so that keys are ordered by time.
pub fn new_id<T: Id>() -> T {
    T::from_uuid(Uuid::now_v7())
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0u8; 32];
    out.copy_from_slice(digest.as_ref());
    out
}
