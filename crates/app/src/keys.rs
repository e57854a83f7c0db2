//! The secrets the use cases need, by id so that they can be rotated, and the randomness they draw.

use std::sync::Arc;

use aws_lc_rs::{hmac, rand as secure};
use hexiao_core::code::{CodeKey, Keyring, Pepper};
use hexiao_core::id::Id;
use hexiao_core::ticket::{TicketSigner, TicketVerifiers};
use uuid::Uuid;

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
