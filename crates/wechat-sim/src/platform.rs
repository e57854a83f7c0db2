//! WeChat's own keys: the platform certificate's key and the separate "WeChat Pay public key".
//!
//! They are two different RSA keys, as at WeChat, so that a client that picks the wrong one fails here
//! too.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use chrono::{DateTime, Datelike, Utc};
use rcgen::{CertificateParams, DnType, PKCS_RSA_SHA256, SerialNumber, date_time_ymd};

use crate::{
    crypto::{pem_blocks, pem_encode, sign},
    der::certificate_facts,
    error::SimError,
    model::NotifyKey,
};

/// Prefix of the id of a WeChat Pay public key.
const PUBLIC_KEY_ID_PREFIX: &str = "PUB_KEY_ID_";

/// The platform's signing keys. Cheap to clone.
#[derive(Clone)]
pub struct PlatformKeys {
    inner: Arc<Inner>,
}

struct Inner {
    certificate_key: KeyPair,
    certificate_key_der: Vec<u8>,
    certificate_pem: String,
    certificate_serial: String,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
    public_key: KeyPair,
    public_key_der: Vec<u8>,
    public_key_pem: String,
    public_key_id: String,
}

/// The keys in a form to store in files.
#[derive(Clone, Debug)]
pub struct PlatformPem {
    /// Two PKCS#8 blocks: the certificate's key, then the public key's private half.
    pub private_key_pem: String,
    /// The self-signed platform certificate.
    pub certificate_pem: String,
    /// `PUB_KEY_ID_0…`
    pub public_key_id: String,
}

/// Which platform key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SigningKey {
    Certificate,
    PublicKey,
}

impl fmt::Debug for PlatformKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformKeys")
            .field("certificate_serial", &self.inner.certificate_serial)
            .field("public_key_id", &self.inner.public_key_id)
            .finish_non_exhaustive()
    }
}

impl PlatformKeys {
    /// Makes new keys and a five-year self-signed certificate.
    pub fn generate() -> Result<Self, SimError> {
        let certificate_key = new_key()?;
        let certificate_pem = self_signed(&certificate_key)?;
        let public_key = new_key()?;
        let private_key_pem =
            pem_encode(&certificate_key, "PRIVATE KEY") + &pem_encode(&public_key, "PRIVATE KEY");
        let digits: String =
            rand::random::<[u8; 32]>().map(|byte| char::from(b'0' + byte % 10)).iter().collect();
        Self::from_pem(&private_key_pem, &certificate_pem, &format!("{PUBLIC_KEY_ID_PREFIX}0{digits}"))
    }

    /// Reads stored keys. A second PRIVATE KEY block is the WeChat Pay public key's private half; with
    /// one block the same key serves both.
    pub fn from_pem(
        private_key_pem: &str,
        certificate_pem: &str,
        public_key_id: &str,
    ) -> Result<Self, SimError> {
        let mut keys = pem_blocks(private_key_pem, "PRIVATE KEY")?.into_iter();
        let first = keys.next().ok_or_else(|| SimError::Key("no PRIVATE KEY block in the PEM".into()))?;
        let second = keys.next().unwrap_or_else(|| first.clone());
        let certificate = pem_blocks(certificate_pem, "CERTIFICATE")?
            .into_iter()
            .next()
            .ok_or_else(|| SimError::Key("no CERTIFICATE block in the PEM".into()))?;
        let facts = certificate_facts(&certificate)?;
        let certificate_key = parse_key(&first)?;
        if spki(&certificate_key)? != facts.public_key {
            return Err(SimError::Key("the certificate is of another key".into()));
        }
        if !public_key_id.starts_with(PUBLIC_KEY_ID_PREFIX) {
            return Err(SimError::Key(format!("a public key id begins with {PUBLIC_KEY_ID_PREFIX}")));
        }
        let public_key = parse_key(&second)?;
        Ok(Self {
            inner: Arc::new(Inner {
                certificate_key,
                certificate_key_der: first,
                certificate_pem: certificate_pem.to_owned(),
                certificate_serial: facts.serial,
                not_before: facts.not_before,
                not_after: facts.not_after,
                public_key_pem: pem_encode(&spki(&public_key)?, "PUBLIC KEY"),
                public_key,
                public_key_der: second,
                public_key_id: public_key_id.to_owned(),
            }),
        })
    }

    /// The keys in a form that `from_pem` reads.
    pub fn to_pem(&self) -> PlatformPem {
        PlatformPem {
            private_key_pem: pem_encode(&self.inner.certificate_key_der, "PRIVATE KEY")
                + &pem_encode(&self.inner.public_key_der, "PRIVATE KEY"),
            certificate_pem: self.inner.certificate_pem.clone(),
            public_key_id: self.inner.public_key_id.clone(),
        }
    }

    /// The platform certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.inner.certificate_pem
    }

    /// Its serial: 40 upper-case hexadecimal digits.
    pub fn certificate_serial(&self) -> &str {
        &self.inner.certificate_serial
    }

    /// The id of the WeChat Pay public key, `PUB_KEY_ID_0…`.
    pub fn public_key_id(&self) -> &str {
        &self.inner.public_key_id
    }

    /// The WeChat Pay public key, SPKI in PEM.
    pub fn public_key_pem(&self) -> &str {
        &self.inner.public_key_pem
    }

    /// The certificate's validity, both ends included.
    pub(crate) fn validity(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        (self.inner.not_before, self.inner.not_after)
    }

    /// What `Wechatpay-Serial` says for a key.
    pub(crate) fn serial_of(&self, key: SigningKey) -> &str {
        match key {
            SigningKey::Certificate => &self.inner.certificate_serial,
            SigningKey::PublicKey => &self.inner.public_key_id,
        }
    }

    /// The key a `Wechatpay-Serial` names, if it is ours.
    pub(crate) fn key_of(&self, serial: &str) -> Option<SigningKey> {
        [SigningKey::Certificate, SigningKey::PublicKey]
            .into_iter()
            .find(|key| self.serial_of(*key) == serial)
    }

    /// Signs the three lines of an answer or a notification.
    pub(crate) fn sign_lines(
        &self,
        key: SigningKey,
        timestamp: i64,
        nonce: &str,
        body: &[u8],
    ) -> Result<String, SimError> {
        let mut message = format!("{timestamp}\n{nonce}\n").into_bytes();
        message.extend_from_slice(body);
        message.push(b'\n');
        let pair = match key {
            SigningKey::Certificate => &self.inner.certificate_key,
            SigningKey::PublicKey => &self.inner.public_key,
        };
        sign(pair, &message)
    }
}

impl NotifyKey {
    /// The key for the `sequence`-th notification.
    pub(crate) fn signing_key(self, sequence: u64) -> SigningKey {
        match self {
            Self::Certificate => SigningKey::Certificate,
            Self::Mixed if sequence.is_multiple_of(2) => SigningKey::Certificate,
            Self::PublicKey | Self::Mixed => SigningKey::PublicKey,
        }
    }
}

fn new_key() -> Result<Vec<u8>, SimError> {
    let failed = |_| SimError::Key("cannot make an RSA key".into());
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    Ok(key.as_der().map_err(failed)?.as_ref().to_vec())
}

fn parse_key(pkcs8: &[u8]) -> Result<KeyPair, SimError> {
    KeyPair::from_pkcs8(pkcs8).map_err(|e| SimError::Key(format!("not an RSA private key in PKCS#8: {e}")))
}

fn spki(key: &KeyPair) -> Result<Vec<u8>, SimError> {
    let der = key.public_key().as_der().map_err(|_| SimError::Key("cannot write the public key".into()))?;
    Ok(der.as_ref().to_vec())
}

fn self_signed(pkcs8: &[u8]) -> Result<String, SimError> {
    let failed = |e: rcgen::Error| SimError::Key(format!("cannot make the platform certificate: {e}"));
    let pem = pem_encode(pkcs8, "PRIVATE KEY");
    let key = rcgen::KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256).map_err(failed)?;
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "WeChat Pay simulator");
    let mut serial: [u8; 20] = rand::random();
    // Exactly twenty bytes on the wire: neither a sign byte before them nor a zero that DER drops.
    serial[0] = (serial[0] & 0x7F) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let year = Utc::now().year();
    params.not_before = date_time_ymd(year, 1, 1);
    params.not_after = date_time_ymd(year + 5, 12, 31);
    Ok(params.self_signed(&key).map_err(failed)?.pem().replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{public_key, verify};

    fn fixed() -> PlatformKeys {
        let keys = concat!(
            include_str!("../tests/vectors/platform_private.pem"),
            include_str!("../tests/vectors/platform_second_private.pem")
        );
        let certificate = include_str!("../tests/vectors/platform_cert.pem");
        PlatformKeys::from_pem(keys, certificate, "PUB_KEY_ID_01").unwrap()
    }

    #[test]
    fn signs_answers_as_openssl_does() {
        let v: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/vectors.json")).unwrap();
        let (timestamp, nonce) = (v["timestamp"].as_i64().unwrap(), v["nonce"].as_str().unwrap());
        let body = v["response"]["body"].as_str().unwrap().as_bytes();
        let keys = fixed();
        let sign = |key, body| keys.sign_lines(key, timestamp, nonce, body).unwrap();
        assert_eq!(sign(SigningKey::Certificate, body), v["response"]["signature"]);
        assert_eq!(sign(SigningKey::PublicKey, body), v["response"]["signature_second"]);
        assert_eq!(sign(SigningKey::Certificate, b""), v["response"]["signature_204"]);
    }

    #[test]
    fn generated_keys_survive_storage() {
        let keys = PlatformKeys::generate().unwrap();
        let serial = keys.certificate_serial();
        assert_eq!(serial.len(), 40);
        assert!(serial.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)), "{serial}");
        assert!(keys.public_key_id().starts_with("PUB_KEY_ID_0"));
        let (from, until) = keys.validity();
        assert!(from < Utc::now() && until > Utc::now());

        let stored = keys.to_pem();
        let again =
            PlatformKeys::from_pem(&stored.private_key_pem, &stored.certificate_pem, &stored.public_key_id)
                .unwrap();
        assert_eq!(again.certificate_serial(), serial);
        let signature = again.sign_lines(SigningKey::PublicKey, 1, "n", b"b").unwrap();
        let public = public_key(keys.public_key_pem()).unwrap();
        assert!(verify(&public, b"1\nn\nb\n", &signature));
        let by_certificate = again.sign_lines(SigningKey::Certificate, 1, "n", b"b").unwrap();
        assert!(!verify(&public, b"1\nn\nb\n", &by_certificate), "the two keys must differ");
    }

    #[test]
    fn refuses_keys_that_do_not_belong_together() {
        let certificate = include_str!("../tests/vectors/platform_cert.pem");
        let other = include_str!("../tests/vectors/platform_second_private.pem");
        assert!(PlatformKeys::from_pem(other, certificate, "PUB_KEY_ID_01").is_err());
        let right = include_str!("../tests/vectors/platform_private.pem");
        assert!(PlatformKeys::from_pem(right, certificate, "KEY_1").is_err());
        assert!(PlatformKeys::from_pem("", certificate, "PUB_KEY_ID_01").is_err());
    }
}
