//! The cryptography of APIv3 and nothing else: messages to sign, RSA, AES-256-GCM, PEM.
//!
//! Pinned by vectors that the openssl command line made (`tests/vectors`), so that this code and a server written
//! beside it cannot agree on a mistake.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::pem::Pem;

/// What a request's signature covers: five lines, each ended by a line feed, the last too.
pub(crate) fn request_message(
    method: &str,
    path_query: &str,
    timestamp: i64,
    nonce: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut message = format!("{method}\n{path_query}\n{timestamp}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    message
}

/// What the signature of an answer or a notification covers. The timestamp is the header's text, untouched.
pub(crate) fn answer_message(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut message = format!("{timestamp}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    message
}

/// What `paySign` covers; `package` is `prepay_id=…`.
pub(crate) fn payment_message(appid: &str, timestamp: &str, nonce: &str, package: &str) -> Vec<u8> {
    format!("{appid}\n{timestamp}\n{nonce}\n{package}\n").into_bytes()
}

/// The merchant's key, which signs requests and `paySign`.
pub(crate) struct MerchantKey(KeyPair);

impl MerchantKey {
    /// Reads PKCS#8 PEM. `None` also when the key cannot sign, so that [`Self::sign`] needs no error.
    pub(crate) fn from_pem(pem: &SecretString) -> Option<Self> {
        let der = pem_contents(pem.expose_secret(), "PRIVATE KEY")?;
        let pair = KeyPair::from_pkcs8(&der).ok()?;
        sign(&pair, b"trial").map(|_| Self(pair))
    }

    /// Base64 of the PKCS#1 v1.5 SHA-256 signature.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        sign(&self.0, message)
            .expect("from_pem signed with this key, and the message plays no part in failing")
    }
}

fn sign(pair: &KeyPair, message: &[u8]) -> Option<String> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
    Some(BASE64.encode(signature))
}

/// One public key of WeChat's: verifies answers and encrypts sensitive fields.
pub(crate) struct PlatformPublicKey {
    verifying: ParsedPublicKey,
    spki_der: Vec<u8>,
}

impl PlatformPublicKey {
    /// Reads a SubjectPublicKeyInfo; RSA of 2048 bits or more.
    pub(crate) fn from_spki(spki_der: &[u8]) -> Option<Self> {
        PublicEncryptingKey::from_der(spki_der).ok()?;
        let verifying = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki_der).ok()?;
        Some(Self { verifying, spki_der: spki_der.to_vec() })
    }

    /// Whether `signature` (base64) is this key's over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        BASE64.decode(signature).is_ok_and(|raw| self.verifying.verify_sig(message, &raw).is_ok())
    }

    /// Base64 of the OAEP (SHA-1) encryption of a sensitive field; `None` if it is too long (over 214 bytes).
    pub(crate) fn encrypt(&self, plain: &str) -> Option<String> {
        let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&self.spki_der).ok()?).ok()?;
        let mut cipher = vec![0; key.ciphertext_size()];
        let cipher = key.encrypt(&OAEP_SHA1_MGF1SHA1, plain.as_bytes(), &mut cipher, None).ok()?;
        Some(BASE64.encode(cipher))
    }
}

/// The APIv3 key, which opens notifications and downloaded certificates.
pub(crate) struct ApiV3Key(LessSafeKey);

impl ApiV3Key {
    pub(crate) fn new(key: &SecretString) -> Option<Self> {
        let key = key.expose_secret();
        if !key.is_ascii() {
            return None;
        }
        // UnboundKey refuses any length but 32.
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).ok()?)))
    }

    /// Opens AES-256-GCM; the last 16 bytes of the ciphertext are the tag.
    pub(crate) fn open(&self, nonce: &str, associated_data: &str, ciphertext: &str) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).ok()?;
        let mut data = BASE64.decode(ciphertext).ok()?;
        let plain_len =
            self.0.open_in_place(nonce, Aad::from(associated_data.as_bytes()), &mut data).ok()?.len();
        data.truncate(plain_len);
        Some(data)
    }
}

/// What is needed of a platform certificate.
pub(crate) struct Certificate {
    /// Upper-case hexadecimal, see [`normal_serial`].
    pub(crate) serial: String,
    /// Unix seconds.
    pub(crate) not_after: i64,
    pub(crate) key: PlatformPublicKey,
}

/// Reads an X.509 certificate in PEM.
pub(crate) fn certificate(pem: &str) -> Option<Certificate> {
    let der = pem_contents(pem, "CERTIFICATE")?;
    let (_, x509) = x509_parser::parse_x509_certificate(&der).ok()?;
    Some(Certificate {
        // Printed as "AB:CD:…".
        serial: normal_serial(&x509.raw_serial_as_string().replace(':', "")),
        not_after: x509.validity().not_after.timestamp(),
        key: PlatformPublicKey::from_spki(x509.public_key().raw)?,
    })
}

/// Reads a public key in PEM (`BEGIN PUBLIC KEY`).
pub(crate) fn public_key(pem: &str) -> Option<PlatformPublicKey> {
    PlatformPublicKey::from_spki(&pem_contents(pem, "PUBLIC KEY")?)
}

/// A certificate serial in the form serials are compared in: DER may prefix a zero byte and printers may drop
/// leading zeros, so they don't count.
pub(crate) fn normal_serial(hex: &str) -> String {
    hex.trim().trim_start_matches('0').to_ascii_uppercase()
}

fn pem_contents(pem: &str, label: &str) -> Option<Vec<u8>> {
    let (block, _) = Pem::read(std::io::Cursor::new(pem.as_bytes())).ok()?;
    (block.label == label).then_some(block.contents)
}

#[cfg(test)]
#[path = "crypto_tests.rs"]
mod tests;
