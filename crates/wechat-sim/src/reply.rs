//! Answers of the payment APIs: signed when 2xx, plain otherwise.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};

use crate::{
    crypto::nonce,
    delivery::PROBE_PREFIX,
    error::{ApiError, SimError},
    faults::FaultAction,
    platform::SigningKey,
    sim::Sim,
};

const SIGNATURE_TYPE: HeaderValue = HeaderValue::from_static("WECHATPAY2-SHA256-RSA2048");

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

impl Success {
    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self { status: StatusCode::OK, body: value.to_string().into_bytes() }
    }

    pub(crate) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: Vec::new() }
    }
}

fn base(status: StatusCode, error_number: u32, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
    // WeChat's numeric error code follows the last dash.
    if let Ok(id) = HeaderValue::from_str(&format!("{}-{error_number}", nonce(24))) {
        headers.insert("Request-ID", id);
    }
    headers.insert("Wechatpay-Signature-Type", SIGNATURE_TYPE);
    response
}

/// Signs an answer. Some faults spoil it here, after or in the signature.
pub(crate) fn success(
    sim: &Sim,
    key: SigningKey,
    answer: Success,
    fault: Option<&FaultAction>,
) -> Result<Response<Body>, SimError> {
    let timestamp = sim.now().timestamp();
    let response_nonce = nonce(32);
    let mut signature = sim.platform().sign_lines(key, timestamp, &response_nonce, &answer.body)?;
    let mut body = answer.body;
    match fault {
        Some(FaultAction::ResponseProbe {}) => signature = format!("{PROBE_PREFIX}{signature}"),
        // A trailing blank keeps the JSON valid: only verification can tell.
        Some(FaultAction::ResponseTamper {}) if answer.status != StatusCode::NO_CONTENT => body.push(b' '),
        // An empty body cannot be changed, so the signature is.
        Some(FaultAction::ResponseTamper {}) => signature = signature.chars().rev().collect(),
        _ => {}
    }
    let mut response = base(answer.status, 0, body);
    let values = [
        ("Wechatpay-Timestamp", timestamp.to_string()),
        ("Wechatpay-Nonce", response_nonce),
        ("Wechatpay-Signature", signature),
        ("Wechatpay-Serial", sim.platform().serial_of(key).to_owned()),
    ];
    for (name, value) in values {
        let value = HeaderValue::from_str(&value)
            .map_err(|_| SimError::Config(format!("{name} cannot be a header")))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// An error: not signed.
pub(crate) fn error(error: &ApiError) -> Response<Body> {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    base(status, 268_435_456 + u32::from(error.status), error.body().to_string().into_bytes())
}
