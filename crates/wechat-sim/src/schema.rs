//! Field rules of request bodies, as tables, and the one function that checks a body against them.
//!
//! Unknown fields, nulls, wrong types, missing fields, lengths and alphabets are all refused. Lengths
//! count bytes of UTF-8, as WeChat's own messages do (“字节数 166，大于最大值 127”).

use chrono::DateTime;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// Characters a text may be made of.
#[derive(Clone, Copy)]
pub(crate) enum Alphabet {
    /// Anything.
    Any,
    /// `[0-9A-Za-z_\-|*]`
    TradeNumber,
    /// The same and `@`.
    RefundNumber,
    /// `[0-9]`
    Digits,
}

impl Alphabet {
    fn allows(self, text: &str) -> bool {
        let trade = |c: char| c.is_ascii_alphanumeric() || "_-|*".contains(c);
        match self {
            Self::Any => true,
            Self::TradeNumber => text.chars().all(trade),
            Self::RefundNumber => text.chars().all(|c| trade(c) || c == '@'),
            Self::Digits => text.chars().all(|c| c.is_ascii_digit()),
        }
    }
}

/// What a value must be.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// Text of `min` to `max` bytes.
    Text(usize, usize, Alphabet),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An integer, at least this.
    Integer(i64),
    /// true or false.
    Flag,
    /// RFC 3339 with a zone.
    Time,
    /// An address without query or fragment, at most so many bytes.
    NotifyUrl(usize),
    /// An object of these fields.
    Object(&'static [Field]),
    /// 1 to so many objects of these fields.
    List(usize, &'static [Field]),
}

/// One field of an object.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    name: &'static str,
    required: bool,
    rule: Rule,
}

/// A field that must be there.
const fn must(name: &'static str, rule: Rule) -> Field {
    Field { name, required: true, rule }
}

/// A field that may be left out.
const fn may(name: &'static str, rule: Rule) -> Field {
    Field { name, required: false, rule }
}

const fn text(max: usize) -> Rule {
    Rule::Text(1, max, Alphabet::Any)
}

const fn note(max: usize) -> Rule {
    Rule::Text(0, max, Alphabet::Any)
}

const MCHID: Rule = Rule::Text(8, 10, Alphabet::Digits);
const TRADE_NUMBER: Rule = Rule::Text(6, 32, Alphabet::TradeNumber);
const REFUND_NUMBER: Rule = Rule::Text(1, 64, Alphabet::RefundNumber);
const CNY: Rule = Rule::OneOf(&["CNY"]);

const ORDER_COMMON: &[Field] = &[
    must("description", text(127)),
    must("out_trade_no", TRADE_NUMBER),
    may("time_expire", Rule::Time),
    may("attach", note(128)),
    must("notify_url", Rule::NotifyUrl(255)),
    may("goods_tag", note(32)),
    may("support_fapiao", Rule::Flag),
    must("amount", Rule::Object(&[must("total", Rule::Integer(1)), may("currency", CNY)])),
    may(
        "detail",
        Rule::Object(&[
            may("cost_price", Rule::Integer(0)),
            may("invoice_id", note(32)),
            may(
                "goods_detail",
                Rule::List(
                    6000,
                    &[
                        must("merchant_goods_id", text(32)),
                        may("wechatpay_goods_id", note(32)),
                        may("goods_name", note(256)),
                        must("quantity", Rule::Integer(1)),
                        must("unit_price", Rule::Integer(0)),
                    ],
                ),
            ),
        ]),
    ),
    may(
        "scene_info",
        Rule::Object(&[
            must("payer_client_ip", text(45)),
            may("device_id", note(32)),
            may(
                "store_info",
                Rule::Object(&[
                    must("id", text(32)),
                    may("name", note(256)),
                    may("area_code", note(32)),
                    may("address", note(512)),
                ]),
            ),
        ]),
    ),
    may("settle_info", Rule::Object(&[may("profit_sharing", Rule::Flag)])),
];

/// `POST /v3/pay/transactions/jsapi`
pub(crate) const ORDER_DIRECT: &[&[Field]] = &[
    &[
        must("appid", text(32)),
        must("mchid", MCHID),
        must("payer", Rule::Object(&[must("openid", text(128))])),
    ],
    ORDER_COMMON,
];

/// `POST /v3/pay/partner/transactions/jsapi`
pub(crate) const ORDER_PARTNER: &[&[Field]] = &[
    &[
        must("sp_appid", text(32)),
        must("sp_mchid", MCHID),
        may("sub_appid", text(32)),
        must("sub_mchid", MCHID),
        must("payer", Rule::Object(&[may("sp_openid", text(128)), may("sub_openid", text(128))])),
    ],
    ORDER_COMMON,
];

/// Close, direct.
pub(crate) const CLOSE_DIRECT: &[&[Field]] = &[&[must("mchid", MCHID)]];
/// Close, partner.
pub(crate) const CLOSE_PARTNER: &[&[Field]] = &[&[must("sp_mchid", MCHID), must("sub_mchid", MCHID)]];

const REFUND_COMMON: &[Field] = &[
    may("transaction_id", text(32)),
    may("out_trade_no", TRADE_NUMBER),
    must("out_refund_no", REFUND_NUMBER),
    may("reason", note(80)),
    may("notify_url", Rule::NotifyUrl(256)),
    may("funds_account", Rule::OneOf(&["AVAILABLE"])),
    must(
        "amount",
        Rule::Object(&[
            must("refund", Rule::Integer(1)),
            must("total", Rule::Integer(1)),
            must("currency", CNY),
            may(
                "from",
                Rule::List(
                    2,
                    &[
                        must("account", Rule::OneOf(&["AVAILABLE", "UNAVAILABLE"])),
                        must("amount", Rule::Integer(1)),
                    ],
                ),
            ),
        ]),
    ),
    may(
        "goods_detail",
        Rule::List(
            6000,
            &[
                must("merchant_goods_id", text(32)),
                may("wechatpay_goods_id", note(32)),
                may("goods_name", note(256)),
                must("unit_price", Rule::Integer(0)),
                must("refund_amount", Rule::Integer(1)),
                must("refund_quantity", Rule::Integer(1)),
            ],
        ),
    ),
];

/// Refund, direct.
pub(crate) const REFUND_DIRECT: &[&[Field]] = &[REFUND_COMMON];
/// Refund, partner.
pub(crate) const REFUND_PARTNER: &[&[Field]] = &[&[must("sub_mchid", MCHID)], REFUND_COMMON];

const ABNORMAL_COMMON: &[Field] = &[
    must("out_refund_no", REFUND_NUMBER),
    must("type", Rule::OneOf(&["USER_BANK_CARD", "MERCHANT_BANK_CARD"])),
    may("bank_type", note(16)),
    may("bank_account", note(1024)),
    may("real_name", note(1024)),
];

/// Abnormal refund, direct.
pub(crate) const ABNORMAL_DIRECT: &[&[Field]] = &[ABNORMAL_COMMON];
/// Abnormal refund, partner.
pub(crate) const ABNORMAL_PARTNER: &[&[Field]] = &[&[must("sub_mchid", MCHID)], ABNORMAL_COMMON];

/// Checks a body; the first fault found in the order of the table is the answer.
pub(crate) fn check(body: &Value, tables: &[&[Field]]) -> Result<(), ApiError> {
    let object =
        body.as_object().ok_or_else(|| ApiError::param("body", "", &Value::Null, "请求体必须是JSON对象"))?;
    check_object(object, tables, "")
}

fn check_object(object: &Map<String, Value>, tables: &[&[Field]], at: &str) -> Result<(), ApiError> {
    for field in tables.iter().copied().flatten() {
        let path = format!("{at}/{}", field.name);
        match object.get(field.name) {
            Some(value) => check_value(value, field.rule, &path)?,
            None if field.required => {
                return Err(ApiError::param("body", &path, &Value::Null, "此字段为必填项"));
            }
            None => {}
        }
    }
    let known = |name: &str| tables.iter().copied().flatten().any(|field| field.name == name);
    match object.iter().find(|(name, _)| !known(name)) {
        Some((name, value)) => Err(ApiError::param("body", &format!("{at}/{name}"), value, "未知字段")),
        None => Ok(()),
    }
}

fn check_value(value: &Value, rule: Rule, path: &str) -> Result<(), ApiError> {
    let fail = |issue: &str| Err(ApiError::param("body", path, value, issue));
    match (rule, value) {
        (Rule::Text(min, max, alphabet), Value::String(text)) => {
            if text.len() < min {
                fail(&format!("字节数 {}，小于最小值 {min}", text.len()))
            } else if text.len() > max {
                fail(&format!("字节数 {}，大于最大值 {max}", text.len()))
            } else if !alphabet.allows(text) {
                fail("含有不允许的字符")
            } else {
                Ok(())
            }
        }
        (Rule::OneOf(words), Value::String(text)) => {
            if words.contains(&text.as_str()) {
                Ok(())
            } else {
                fail(&format!("只能是 {words:?}"))
            }
        }
        (Rule::Integer(min), Value::Number(number)) => match number.as_i64() {
            Some(integer) if integer >= min => Ok(()),
            Some(_) => fail(&format!("小于最小值 {min}")),
            None => fail("必须是整数"),
        },
        (Rule::Flag, Value::Bool(_)) => Ok(()),
        (Rule::Time, Value::String(text)) => {
            if DateTime::parse_from_rfc3339(text).is_ok() {
                Ok(())
            } else {
                fail("必须是RFC3339时间")
            }
        }
        (Rule::NotifyUrl(max), Value::String(text)) => {
            if text.len() > max {
                fail(&format!("字节数 {}，大于最大值 {max}", text.len()))
            } else if is_notify_url(text) {
                Ok(())
            } else {
                fail("必须是不带参数的https地址")
            }
        }
        (Rule::Object(fields), Value::Object(object)) => check_object(object, &[fields], path),
        (Rule::List(max, fields), Value::Array(items)) => {
            if items.is_empty() || items.len() > max {
                return fail(&format!("个数必须是 1 到 {max}"));
            }
            items.iter().enumerate().try_for_each(|(index, item)| {
                check_value(item, Rule::Object(fields), &format!("{path}/{index}"))
            })
        }
        _ => fail("类型错误"),
    }
}

/// WeChat wants https and no query. Here http is let through for machines that cannot be public: IP
/// addresses and names without a dot.
fn is_notify_url(text: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(text) else { return false };
    let host = url.host_str().unwrap_or_default();
    let local = !host.contains('.') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let scheme_ok = url.scheme() == "https" || (url.scheme() == "http" && local);
    scheme_ok && !host.is_empty() && !text.contains(['?', '#'])
}

#[cfg(test)]
mod tests {
    use super::is_notify_url;

    #[test]
    fn notify_urls() {
        for good in
            ["https://a.example.com/x", "http://127.0.0.1:80/x", "http://server:1/x", "http://[::1]:1/"]
        {
            assert!(is_notify_url(good), "{good}");
        }
        for bad in
            ["http://a.example.com/x", "https://a.example.com/?a=1", "https://a.b/#x", "ftp://x/", "x", ""]
        {
            assert!(!is_notify_url(bad), "{bad}");
        }
    }
}
