//! Which of WeChat's operations a request is for.

use axum::http::{Method, Uri};
use serde_json::Value;

use crate::error::ApiError;

/// An operation of the payment APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayOp {
    OrderCreate,
    OrderQueryByNumber,
    OrderQueryById,
    OrderClose,
    RefundCreate,
    RefundQuery,
    RefundAbnormal,
    Certificates,
}

/// An operation of the mini-program APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MiniOp {
    Jscode2Session,
    StableToken,
    PhoneNumber,
    SubscribeSend,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Pay(PayOp),
    Mini(MiniOp),
}

impl Op {
    /// The name fault rules match with `kind`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Pay(PayOp::OrderCreate) => "order_create",
            Self::Pay(PayOp::OrderQueryByNumber | PayOp::OrderQueryById) => "order_query",
            Self::Pay(PayOp::OrderClose) => "order_close",
            Self::Pay(PayOp::RefundCreate) => "refund_create",
            Self::Pay(PayOp::RefundQuery) => "refund_query",
            Self::Pay(PayOp::RefundAbnormal) => "refund_abnormal",
            Self::Pay(PayOp::Certificates) => "certificates",
            Self::Mini(MiniOp::Jscode2Session) => "jscode2session",
            Self::Mini(MiniOp::StableToken) => "stable_token",
            Self::Mini(MiniOp::PhoneNumber) => "phone_number",
            Self::Mini(MiniOp::SubscribeSend) => "subscribe_send",
        }
    }
}

/// A request, taken apart.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) op: Op,
    /// Partner path of the orders.
    pub(crate) partner: bool,
    /// The number in the path, decoded.
    pub(crate) number: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) is_post: bool,
}

impl Call {
    /// `None`: no such operation at WeChat.
    pub(crate) fn parse(method: &Method, uri: &Uri) -> Option<Self> {
        let segments: Vec<String> =
            uri.path().split('/').skip(1).map(percent_decode).collect::<Option<_>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let is_post = *method == Method::POST;
        if !is_post && *method != Method::GET {
            return None;
        }
        let (op, partner, number) = match (is_post, segments.as_slice()) {
            // Wrong methods of the mini-program APIs have their own error code, so both get through.
            (_, ["sns", "jscode2session"]) => (Op::Mini(MiniOp::Jscode2Session), false, ""),
            (_, ["cgi-bin", "stable_token"]) => (Op::Mini(MiniOp::StableToken), false, ""),
            (_, ["wxa", "business", "getuserphonenumber"]) => (Op::Mini(MiniOp::PhoneNumber), false, ""),
            (_, ["cgi-bin", "message", "subscribe", "send"]) => (Op::Mini(MiniOp::SubscribeSend), false, ""),
            (false, ["v3", "certificates"]) => (Op::Pay(PayOp::Certificates), false, ""),
            (_, ["v3", "pay", "partner", "transactions", rest @ ..]) => {
                let (op, number) = order_op(is_post, rest)?;
                (Op::Pay(op), true, number)
            }
            (_, ["v3", "pay", "transactions", rest @ ..]) => {
                let (op, number) = order_op(is_post, rest)?;
                (Op::Pay(op), false, number)
            }
            (true, ["v3", "refund", "domestic", "refunds"]) => (Op::Pay(PayOp::RefundCreate), false, ""),
            (false, ["v3", "refund", "domestic", "refunds", number]) => {
                (Op::Pay(PayOp::RefundQuery), false, *number)
            }
            (true, ["v3", "refund", "domestic", "refunds", id, "apply-abnormal-refund"]) => {
                (Op::Pay(PayOp::RefundAbnormal), false, *id)
            }
            _ => return None,
        };
        let query = parse_query(uri.query().unwrap_or_default())?;
        Some(Self { op, partner, number: number.to_owned(), query, is_post })
    }

    /// A query parameter, the first of its name.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Demands exactly these query parameters with these values (`None`: any, returned by `param`).
    pub(crate) fn expect_query(&self, wanted: &[(&str, Option<&str>)]) -> Result<(), ApiError> {
        for (name, value) in wanted {
            let found = self.param(name).ok_or_else(|| {
                ApiError::param("query", &format!("/{name}"), &Value::Null, "此字段为必填项")
            })?;
            if value.is_some_and(|value| value != found) {
                let found = Value::from(found);
                return Err(ApiError::param(
                    "query",
                    &format!("/{name}"),
                    &found,
                    "与认证头中的商户号不一致",
                ));
            }
        }
        match self.query.iter().find(|(name, _)| !wanted.iter().any(|(known, _)| known == name)) {
            Some((name, value)) => {
                Err(ApiError::param("query", &format!("/{name}"), &Value::from(value.as_str()), "未知参数"))
            }
            None => Ok(()),
        }
    }
}

fn order_op<'a>(is_post: bool, rest: &[&'a str]) -> Option<(PayOp, &'a str)> {
    match (is_post, rest) {
        (true, ["jsapi"]) => Some((PayOp::OrderCreate, "")),
        (false, ["out-trade-no", number]) => Some((PayOp::OrderQueryByNumber, number)),
        (false, ["id", id]) => Some((PayOp::OrderQueryById, id)),
        (true, ["out-trade-no", number, "close"]) => Some((PayOp::OrderClose, number)),
        _ => None,
    }
}

fn parse_query(query: &str) -> Option<Vec<(String, String)>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decode(name)?, percent_decode(&value.replace('+', " "))?))
        })
        .collect()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, uri: &str) -> Option<Call> {
        Call::parse(method, &uri.parse().unwrap())
    }

    #[test]
    fn decodes_the_number_in_the_path() {
        let call = parse(&Method::GET, "/v3/pay/transactions/out-trade-no/A%7CB?mchid=1&x=a+b").unwrap();
        assert_eq!((call.op, call.number.as_str()), (Op::Pay(PayOp::OrderQueryByNumber), "A|B"));
        assert_eq!(call.param("x"), Some("a b"));
        assert!(parse(&Method::GET, "/v3/pay/transactions/out-trade-no/A%7").is_none());
    }

    #[test]
    fn methods_and_unknown_paths() {
        assert!(parse(&Method::GET, "/v3/pay/transactions/jsapi").is_none());
        assert!(parse(&Method::PUT, "/sns/jscode2session").is_none());
        assert!(parse(&Method::POST, "/v3/pay/transactions/native").is_none());
        let close = parse(&Method::POST, "/v3/pay/partner/transactions/out-trade-no/N/close").unwrap();
        assert!(close.partner && close.op == Op::Pay(PayOp::OrderClose));
    }
}
