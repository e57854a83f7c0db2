//! The four cryptographic operations of APIv3: sign, verify, seal (AES-256-GCM) and draw a nonce.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest,
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{self, ParsedPublicKey, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::error::SimError;

/// Reads the DER bytes of every PEM block with this label.
pub(crate) fn pem_blocks(pem: &str, label: &str) -> Result<Vec<Vec<u8>>, SimError> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let mut blocks = Vec::new();
    for part in pem.split(&begin).skip(1) {
        let (inside, _) = part
            .split_once(&end)
            .ok_or_else(|| SimError::Key(format!("a {label} block in PEM has no end")))?;
        let base64: String = inside.split_whitespace().collect();
        let der = STANDARD
            .decode(base64)
            .map_err(|e| SimError::Key(format!("a {label} block in PEM is not base64: {e}")))?;
        blocks.push(der);
    }
    Ok(blocks)
}

/// Writes DER as PEM.
pub(crate) fn pem_encode(der: &[u8], label: &str) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem + &format!("-----END {label}-----\n")
}

/// RSA PKCS#1 v1.5 over SHA-256, in base64.
pub(crate) fn sign(key: &KeyPair, message: &[u8]) -> Result<String, SimError> {
    let mut bytes = vec![0; key.public_modulus_len()];
    key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut bytes)
        .map_err(|_| SimError::Key("the platform key cannot sign".into()))?;
    Ok(STANDARD.encode(bytes))
}

/// A public key (SPKI in PEM) ready to verify with.
pub(crate) fn public_key(pem: &str) -> Result<ParsedPublicKey, SimError> {
    let der = pem_blocks(pem, "PUBLIC KEY")?
        .into_iter()
        .next()
        .ok_or_else(|| SimError::Key("no PUBLIC KEY block in the PEM".into()))?;
    UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, der)
        .parse()
        .map_err(|e| SimError::Key(format!("not an RSA public key of 2048 bits or more: {e}")))
}

/// Whether `signature_base64` is the key's signature of `message`.
pub(crate) fn verify(key: &ParsedPublicKey, message: &[u8], signature_base64: &str) -> bool {
    STANDARD.decode(signature_base64).is_ok_and(|bytes| key.verify_sig(message, &bytes).is_ok())
}

/// AES-256-GCM: ciphertext with its 16-byte tag at the end, in base64.
pub(crate) fn seal(key: &str, nonce: &str, aad: &str, plaintext: &[u8]) -> Result<String, SimError> {
    let bad = |what: &str| SimError::Key(format!("{what} does not fit AES-256-GCM"));
    let key = UnboundKey::new(&AES_256_GCM, key.as_bytes()).map_err(|_| bad("the APIv3 key"))?;
    let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).map_err(|_| bad("the nonce"))?;
    let mut buffer = plaintext.to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(nonce, Aad::from(aad.as_bytes()), &mut buffer)
        .map_err(|_| bad("the plaintext"))?;
    Ok(STANDARD.encode(buffer))
}

/// SHA-256 of the parts, each preceded by its length so that parts cannot run into each other.
pub(crate) fn hash(parts: &[&str]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().to_vec()
}

/// A fresh nonce of letters and digits.
pub(crate) fn nonce(length: usize) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    (0..length).map(|_| char::from(LETTERS[usize::from(rand::random::<u8>() % 32)])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../tests/vectors/vectors.json")).unwrap()
    }

    fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
        value.pointer(pointer).and_then(Value::as_str).unwrap()
    }

    #[test]
    fn verifies_what_openssl_signed_and_nothing_else() {
        let v = vectors();
        let key = public_key(include_str!("../tests/vectors/merchant_public.pem")).unwrap();
        let message = format!(
            "POST\n{}\n{}\n{}\n{}\n",
            text(&v, "/post/url"),
            v["timestamp"],
            text(&v, "/nonce"),
            text(&v, "/post/body")
        );
        assert!(verify(&key, message.as_bytes(), text(&v, "/post/signature")));
        assert!(!verify(&key, message.trim_end().as_bytes(), text(&v, "/post/signature")));
        assert!(!verify(&key, message.as_bytes(), text(&v, "/get/signature")));
        assert!(!verify(&key, message.as_bytes(), "not base64"));
    }

    #[test]
    fn verifies_the_pay_sign_openssl_made() {
        let v = vectors();
        let key = public_key(include_str!("../tests/vectors/merchant_public.pem")).unwrap();
        let (app_id, package) = (text(&v, "/pay_sign/app_id"), text(&v, "/pay_sign/package"));
        let message = format!("{app_id}\n{}\n{}\n{package}\n", v["timestamp"], text(&v, "/nonce"));
        assert!(verify(&key, message.as_bytes(), text(&v, "/pay_sign/signature")));
    }

    #[test]
    fn seals_as_python_does() {
        for vector in vectors()["gcm"].as_array().unwrap() {
            let sealed = seal(
                text(vector, "/key"),
                text(vector, "/nonce"),
                text(vector, "/associated_data"),
                text(vector, "/plaintext").as_bytes(),
            );
            assert_eq!(sealed.unwrap(), text(vector, "/ciphertext"));
        }
        assert!(seal("short", "fdasfjihihih", "", b"x").is_err());
    }

    #[test]
    fn pem_round_trip() {
        let pem = include_str!("../tests/vectors/platform_cert.pem");
        let der = pem_blocks(pem, "CERTIFICATE").unwrap();
        assert_eq!(pem_encode(&der[0], "CERTIFICATE"), pem);
        assert!(pem_blocks("-----BEGIN CERTIFICATE-----\nAAAA", "CERTIFICATE").is_err());
    }

    #[test]
    fn hash_keeps_parts_apart() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }
}
