//! Builds a notification as WeChat does (fresh nonce, fresh ciphertext, fresh signature) and sends it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    clock::wire_time,
    crypto::{nonce, seal},
    error::SimError,
    model::{Delivery, NotificationKind, NotificationRecord},
    platform::SigningKey,
    sim::Sim,
};

/// Begins the signature of WeChat's probes; whoever verifies refuses it.
pub(crate) const PROBE_PREFIX: &str = "WECHATPAY/SIGNTEST/";

/// A notification before it is sealed.
pub(crate) struct Letter<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: NotificationKind,
    pub(crate) event_type: &'a str,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) plaintext: &'a Value,
    pub(crate) api_v3_key: &'a str,
}

/// A notification ready to go.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) url: String,
    pub(crate) body: Vec<u8>,
    pub(crate) timestamp: i64,
    pub(crate) nonce: String,
    pub(crate) signature: String,
    pub(crate) serial: String,
}

impl Letter<'_> {
    /// Seals and signs.
    pub(crate) fn seal(
        &self,
        sim: &Sim,
        url: &str,
        key: SigningKey,
        timestamp: i64,
    ) -> Result<Outgoing, SimError> {
        let resource_nonce = nonce(12);
        let original_type = self.kind.wire();
        let plaintext = self.plaintext.to_string();
        let ciphertext = seal(self.api_v3_key, &resource_nonce, original_type, plaintext.as_bytes())?;
        let body = json!({
            "id": self.id,
            "create_time": wire_time(self.created_at),
            "resource_type": "encrypt-resource",
            "event_type": self.event_type,
            "summary": summary(self.event_type),
            "resource": {
                "original_type": original_type,
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": ciphertext,
                "associated_data": original_type,
                "nonce": resource_nonce,
            },
        })
        .to_string()
        .into_bytes();
        let nonce = nonce(32);
        let signature = sim.platform().sign_lines(key, timestamp, &nonce, &body)?;
        let serial = sim.platform().serial_of(key).to_owned();
        Ok(Outgoing { url: url.to_owned(), body, timestamp, nonce, signature, serial })
    }
}

fn summary(event_type: &str) -> &'static str {
    match event_type {
        "REFUND.SUCCESS" => "退款成功",
        "REFUND.ABNORMAL" => "退款异常",
        "REFUND.CLOSED" => "退款关闭",
        _ => "支付成功",
    }
}

impl Outgoing {
    /// Changes one character of the ciphertext, which leaves the JSON and the base64 well-formed.
    pub(crate) fn tamper(&mut self) {
        const MARK: &[u8] = b"\"ciphertext\":\"";
        let start = self.body.windows(MARK.len()).position(|window| window == MARK);
        if let Some(byte) = start.and_then(|start| self.body.get_mut(start + MARK.len())) {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
    }

    /// Turns it into a probe.
    pub(crate) fn into_probe(mut self) -> Self {
        self.signature = format!("{PROBE_PREFIX}{}", self.signature);
        self
    }
}

/// One attempt's notification from its record.
pub(crate) fn from_record(sim: &Sim, record: &NotificationRecord) -> Result<Outgoing, SimError> {
    let merchant = sim
        .merchant(&record.mchid)
        .ok_or_else(|| SimError::NotFound(format!("merchant {}", record.mchid)))?;
    let letter = Letter {
        id: &record.id,
        kind: record.kind,
        event_type: &record.event_type,
        created_at: record.created_at,
        plaintext: &record.plaintext,
        api_v3_key: &merchant.config.api_v3_key,
    };
    let key = sim.store().notify_key.signing_key(sim.next_turn());
    letter.seal(sim, &record.url, key, sim.now().timestamp())
}

/// Sends; never fails, the outcome says what happened.
pub(crate) async fn send(sim: &Sim, outgoing: Outgoing) -> Delivery {
    let request = sim
        .http()
        .post(&outgoing.url)
        .header("Content-Type", "application/json")
        .header("Accept", "*/*")
        .header("User-Agent", "Mozilla/4.0")
        .header("Wechatpay-Timestamp", outgoing.timestamp.to_string())
        .header("Wechatpay-Nonce", outgoing.nonce)
        .header("Wechatpay-Signature", outgoing.signature)
        .header("Wechatpay-Serial", outgoing.serial)
        .header("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048")
        .header("Request-ID", format!("{}-0", nonce(16)))
        .body(outgoing.body);
    match request.send().await {
        Ok(response) => Delivery { http_status: Some(response.status().as_u16()), error: None },
        Err(error) if error.is_timeout() => Delivery { http_status: None, error: Some("timeout".into()) },
        Err(error) => Delivery { http_status: None, error: Some(error.to_string()) },
    }
}

/// A SIGNTEST probe for an order. Its contents are those of a payment, so a receiver that believes it
/// does harm and is found out.
pub(crate) async fn probe(sim: &Sim, out_trade_no: &str) -> Result<Delivery, SimError> {
    let forgery = crate::control_forge::Forgery::probe(out_trade_no);
    crate::control_forge::forge(sim, &forgery).await
}
