//! The `Authorization` of a payment call: who calls, and is it really them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    crypto::verify,
    error::ApiError,
    sim::{Merchant, Sim},
};

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048 ";
const FIELDS: [&str; 5] = ["mchid", "nonce_str", "timestamp", "serial_no", "signature"];
/// How far a caller's clock may be off.
const MAX_SKEW_S: u64 = 300;
const MAX_NONCE: usize = 32;
/// How much of the message a refusal quotes.
const QUOTED_CHARS: usize = 120;

/// The parts of a request that are signed.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    /// Path and query exactly as they came over the wire.
    pub(crate) url: &'a str,
    pub(crate) body: &'a [u8],
}

/// Finds the merchant behind a request, or refuses with 401 SIGN_ERROR.
pub(crate) fn authenticate<'a>(
    sim: &'a Sim,
    authorization: Option<&str>,
    signed: &Signed<'_>,
    now: DateTime<Utc>,
) -> Result<&'a Merchant, ApiError> {
    let header = authorization.ok_or_else(|| refuse("authorization", "Http头缺少Authorization"))?;
    let fields = parse(header)?;
    let merchant = sim.merchant(fields["mchid"]).ok_or_else(|| refuse("mchid", "商户号不存在"))?;
    if merchant.config.serial != fields["serial_no"] {
        return Err(refuse("serial_no", "商户证书序列号有误"));
    }
    let nonce = fields["nonce_str"];
    if nonce.is_empty() || nonce.len() > MAX_NONCE {
        return Err(refuse("nonce_str", "随机串长度必须是1到32"));
    }
    let timestamp: i64 = fields["timestamp"].parse().map_err(|_| refuse("timestamp", "时间戳必须是秒数"))?;
    if now.timestamp().abs_diff(timestamp) > MAX_SKEW_S {
        return Err(refuse("timestamp", "时间戳与服务器时间相差超过5分钟"));
    }
    let mut message =
        format!("{}\n{}\n{}\n{nonce}\n", signed.method, signed.url, fields["timestamp"]).into_bytes();
    message.extend_from_slice(signed.body);
    message.push(b'\n');
    if !verify(&merchant.key, &message, fields["signature"]) {
        return Err(wrong_signature(signed, &message));
    }
    Ok(merchant)
}

/// Five quoted fields in any order, each once.
fn parse(header: &str) -> Result<HashMap<&str, &str>, ApiError> {
    let bad = || refuse("authorization", "Authorization格式错误");
    let rest = header.strip_prefix(SCHEME).ok_or_else(bad)?;
    let mut fields = HashMap::new();
    for part in rest.split(',') {
        let (name, quoted) = part.trim().split_once('=').ok_or_else(bad)?;
        let value = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')).ok_or_else(bad)?;
        if !FIELDS.contains(&name) || fields.insert(name, value).is_some() {
            return Err(bad());
        }
    }
    if fields.len() == FIELDS.len() { Ok(fields) } else { Err(bad()) }
}

fn refuse(field: &str, issue: &str) -> ApiError {
    ApiError {
        detail: Some(json!({"field": field, "location": "authorization", "issue": issue})),
        ..ApiError::new(401, "SIGN_ERROR", issue)
    }
}

fn wrong_signature(signed: &Signed<'_>, message: &[u8]) -> ApiError {
    let text = String::from_utf8_lossy(message);
    let quoted: String = text.chars().take(QUOTED_CHARS).collect();
    let detail: Value = json!({
        "field": "signature",
        "location": "authorization",
        "detail": {"issue": "sign not match"},
        "sign_information": {
            "method": signed.method,
            "url": signed.url,
            "sign_message_length": message.len(),
            "truncated_sign_message": quoted,
        },
    });
    ApiError {
        detail: Some(detail),
        ..ApiError::new(401, "SIGN_ERROR", "签名错误，请检查后再试：用密钥验证签名失败")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_forms() {
        let full = r#"WECHATPAY2-SHA256-RSA2048 signature="a==",mchid="1", nonce_str="n",timestamp="1",serial_no="S""#;
        assert_eq!(parse(full).unwrap()["signature"], "a==");
        for bad in [
            &full.replace("RSA2048", "RSA4096"),
            &full.replace(r#",serial_no="S""#, ""),
            &full.replace("serial_no", "mchid"),
            &full.replace(r#""S""#, "S"),
            &format!(r#"{full},extra="1""#),
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
