//! Requests as they are on the wire, for malformed ones, and what every answer of the API promises.

use hexiao_core::reason::Reason;
use hexiao_testkit::TestApp;
use reqwest::Method;
use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
    /// Null when the text is no JSON.
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// The first field that is named.
    pub(crate) fn field(&self) -> &str {
        self.body["error"]["fields"][0]["path"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

/// Sends bytes as they are.
pub(crate) struct Wire {
    http: reqwest::Client,
    base: String,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) token: Option<&'a str>,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: Method, path: impl Into<String>, token: Option<&'a str>) -> Self {
        Self { method, path: path.into(), token, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(path: impl Into<String>, token: Option<&'a str>) -> Self {
        Self::new(Method::GET, path, token)
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub(crate) fn raw(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// A key that no other request has.
    pub(crate) fn fresh_key(self) -> Self {
        self.header("idempotency-key", uuid::Uuid::now_v7().to_string())
    }
}

impl Wire {
    pub(crate) fn new(app: &TestApp) -> Self {
        let timeout = std::time::Duration::from_secs(40);
        let http = reqwest::Client::builder().no_proxy().timeout(timeout).build().unwrap();
        Self { http, base: app.url.clone() }
    }

    pub(crate) async fn send(&self, request: Request<'_>) -> Reply {
        let url = format!("{}{}", self.base, request.path);
        let mut builder = self.http.request(request.method, url);
        if let Some(token) = request.token {
            builder = builder.bearer_auth(token);
        }
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let response = builder.body(request.body).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status, headers, text, body }
    }
}

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4E00}'..='\u{9FFF}').contains(&c))
}

/// A refusal as promised: 4xx, a code of the closed set with its own status, Chinese texts, the request's id.
#[track_caller]
pub(crate) fn assert_refusal(reply: &Reply, context: &str) {
    let error = &reply.body["error"];
    assert!((400..500).contains(&reply.status), "{context}: {} {}", reply.status, reply.text);
    let reason = Reason::from_code(reply.code());
    assert_eq!(reason.map(Reason::status), Some(reply.status), "{context}: {}", reply.text);
    for text in ["message", "next_action"] {
        assert!(error[text].as_str().is_some_and(is_chinese), "{context}: {}", reply.text);
    }
    assert!(error["retryable"].is_boolean(), "{context}: {}", reply.text);
    let id = error["request_id"].as_str().unwrap_or_default();
    assert!(!id.is_empty() && id == reply.header("x-request-id"), "{context}: {}", reply.text);
    for field in error["fields"].as_array().into_iter().flatten() {
        let (path, message) = (field["path"].as_str(), field["message"].as_str());
        assert!(path.is_some_and(|p| !p.is_empty()), "{context}: {}", reply.text);
        assert!(message.is_some_and(is_chinese), "{context}: {}", reply.text);
    }
}

/// Times carry their zone and money is whole fen, everywhere in an answer.
#[track_caller]
pub(crate) fn assert_shape(value: &Value, context: &str) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let is_time = key == "at"
                    || key.ends_with("_at")
                    || key.ends_with("_until")
                    || matches!(key.as_str(), "valid_from" | "valid_to");
                if is_time && !key.starts_with("low_") && !member.is_null() {
                    let text = member.as_str().unwrap_or_default();
                    let parsed = chrono::DateTime::parse_from_rfc3339(text);
                    assert!(parsed.is_ok(), "{context}: {key} = {member}");
                }
                if key.ends_with("_fen") {
                    assert!(member.is_null() || member.is_i64(), "{context}: {key} = {member}");
                }
                let unitless = key.ends_with("amount") || key.ends_with("price");
                assert!(!unitless, "{context}: {key} is money without a unit in its name");
                assert_shape(member, context);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| assert_shape(item, context)),
        Value::String(text) => {
            let zoneless = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f");
            assert!(zoneless.is_err(), "{context}: {text} has no zone");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
