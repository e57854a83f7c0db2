//! The prepare token: a sealed note of who looked at which vouchers in which store. Nothing is stored for it; its
//! single use is a unique nonce on the redemption that consumes it.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use hexiao_core::id::{MerchantId, StaffId, StoreId, VoucherId};
use hexiao_core::reason::Reason;
use hexiao_core::time::Timestamp;
use hexiao_db::redemptions::Method;
use serde::{Deserialize, Serialize};

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PrepareToken {
    pub(super) merchant_id: MerchantId,
    pub(super) staff_id: StaffId,
    pub(super) store_id: StoreId,
    pub(super) device: Option<String>,
    pub(super) vouchers: Vec<VoucherId>,
    pub(super) method: Method,
    pub(super) expires_s: i64,
    pub(super) nonce: [u8; 16],
}

/// Keeps this use of the sealing key apart from others.
const DOMAIN: &[u8] = b"hexiao-prepare-v1\0";

pub(super) fn seal(key: &hmac::Key, token: &PrepareToken) -> String {
    let body = hexiao_db::row::json_text(token);
    let tag = hmac::sign(key, &message(body.as_bytes()));
    format!("{}.{}", HEXLOWER.encode(body.as_bytes()), HEXLOWER.encode(tag.as_ref()))
}

/// Opens a token; says nothing about its expiry.
pub(super) fn open(key: &hmac::Key, text: &str) -> Result<PrepareToken, Reason> {
    let (body, tag) = text.split_once('.').ok_or(Reason::TokenMismatch)?;
    let decode = |text: &str| HEXLOWER.decode(text.as_bytes()).map_err(|_| Reason::TokenMismatch);
    let (body, tag) = (decode(body)?, decode(tag)?);
    hmac::verify(key, &message(&body), &tag).map_err(|_| Reason::TokenMismatch)?;
    serde_json::from_slice(&body).map_err(|_| Reason::TokenMismatch)
}

pub(super) fn expired(token: &PrepareToken, now: Timestamp) -> bool {
    now.seconds() >= token.expires_s
}

fn message(body: &[u8]) -> Vec<u8> {
    [DOMAIN, body].concat()
}

#[cfg(test)]
mod tests {
    use hexiao_core::id::Id;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_token_opens_only_with_its_key_and_unchanged() {
        let token = PrepareToken {
            merchant_id: MerchantId::from_uuid(Uuid::from_u128(1)),
            staff_id: StaffId::from_uuid(Uuid::from_u128(2)),
            store_id: StoreId::from_uuid(Uuid::from_u128(3)),
            device: None,
            vouchers: vec![VoucherId::from_uuid(Uuid::from_u128(4))],
            method: Method::Qr,
            expires_s: 100,
            nonce: [7; 16],
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let text = seal(&key, &token);
        assert_eq!(open(&key, &text), Ok(token.clone()));
        assert!(!expired(&token, Timestamp::from_micros(99_999_999)));
        assert!(expired(&token, Timestamp::from_micros(100_000_000)));
        let other = hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]);
        assert_eq!(open(&other, &text), Err(Reason::TokenMismatch));
        for bad in ["", ".", "zz.zz", &text[1..], &format!("{text}00"), &text.replacen('7', "8", 1), "券.码"]
        {
            assert_eq!(open(&key, bad), Err(Reason::TokenMismatch), "{bad}");
        }
    }
}
