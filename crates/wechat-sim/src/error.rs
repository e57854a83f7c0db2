//! Two kinds of failure: what the simulator's owner sees (`SimError`) and what WeChat would answer
//! (`ApiError`).

use serde_json::{Value, json};

/// A failure of the simulator itself or of a control call.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A key or certificate cannot be used.
    #[error("key: {0}")]
    Key(String),
    /// The configuration contradicts itself.
    #[error("configuration: {0}")]
    Config(String),
    /// The listener or the journal failed.
    #[error("input/output: {0}")]
    Io(#[from] std::io::Error),
    /// The journal holds something that is not a mutation.
    #[error("journal: {0}")]
    Journal(String),
    /// No such order, refund or notification.
    #[error("not found: {0}")]
    NotFound(String),
    /// The customer's or operator's action is refused, as WeChat would refuse it.
    #[error("{code}: {message}")]
    Refused {
        /// Stable, machine-readable reason.
        code: &'static str,
        /// For people.
        message: String,
    },
}

impl SimError {
    pub(crate) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }
}

/// An answer of the payment APIs other than 2xx. Never signed.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) detail: Option<Value>,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), detail: None }
    }

    /// 400 PARAM_ERROR for one field. `location` is body, query or header.
    pub(crate) fn param(location: &str, field: &str, value: &Value, issue: &str) -> Self {
        Self {
            detail: Some(json!({"location": location, "field": field, "value": value, "issue": issue})),
            ..Self::new(400, "PARAM_ERROR", format!("输入源“/{location}{field}”规则校验失败，{issue}"))
        }
    }

    /// 400 INVALID_REQUEST.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_REQUEST", message)
    }

    /// 404 with the code that the orders use.
    pub(crate) fn no_order() -> Self {
        Self::new(404, "ORDER_NOT_EXIST", "订单不存在")
    }

    pub(crate) fn body(&self) -> Value {
        let mut body = json!({"code": self.code, "message": self.message});
        if let Some(detail) = &self.detail {
            body["detail"] = detail.clone();
        }
        body
    }
}

impl From<SimError> for ApiError {
    fn from(error: SimError) -> Self {
        Self::new(500, "SYSTEM_ERROR", format!("simulator: {error}"))
    }
}
