//! Downloading platform certificates, for merchants that are not (yet) on a WeChat Pay public key.

use super::PayClient;
use super::keys::{NamedKey, Signed, verify_with};
use super::transport::{Answer, Call, parsed, unverifiable};
use crate::crypto::normal_serial;
use crate::error::CallError;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct Listed {
    serial_no: String,
    encrypt_certificate: Sealed,
}

#[derive(Deserialize)]
struct Sealed {
    nonce: String,
    #[serde(default)]
    associated_data: String,
    ciphertext: String,
}

#[derive(Deserialize)]
struct List {
    data: Vec<Listed>,
}

impl PayClient {
    /// Downloads the platform certificates and adds those not yet known; says how many were added.
    ///
    /// The first download knows no certificate, so what came is decrypted first (which the APIv3 key authenticates)
    /// and the answer is then verified with it. Nothing is kept of an answer that fails either. Call it every 12 h
    /// at most; a merchant that has only a public key is refused with `ResourceNotExists`.
    pub async fn fetch_platform_certificates(&self) -> Result<usize, CallError> {
        let call = Call::get("/v3/certificates".to_owned(), self.timeout);
        // Names no key: with a public key named, the answer could not be checked by the certificates it brings.
        let opened = self
            .call_checked(&call, None, |answer| {
                let opened = self.open_certificates(&answer)?;
                let signed = Signed::of(&answer.headers);
                verify_with(&opened, &signed, &answer.body, self.now())
                    .or_else(|_| self.keys.verify(&signed, &answer.body, self.now()))
                    .map_err(|error| unverifiable(error, &answer))?;
                Ok(opened)
            })
            .await?;
        Ok(self.keys.add(opened))
    }

    fn open_certificates(&self, answer: &Answer) -> Result<Vec<Arc<NamedKey>>, CallError> {
        let list: List = parsed(answer)?;
        let open = |listed: &Listed| {
            let sealed = &listed.encrypt_certificate;
            let plain = self.api_v3_key.open(&sealed.nonce, &sealed.associated_data, &sealed.ciphertext)?;
            let key = NamedKey::certificate(&String::from_utf8(plain).ok()?)?;
            (key.name == normal_serial(&listed.serial_no)).then(|| Arc::new(key))
        };
        list.data
            .iter()
            .map(|listed| {
                open(listed).ok_or_else(|| {
                    CallError::unknown("a platform certificate could not be opened", answer.request_id())
                })
            })
            .collect()
    }
}
