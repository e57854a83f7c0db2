//! One person's HTTP client: a base address, a token, answers with their status.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::{Method, header};
use serde_json::Value;

use super::json;

/// No call of the walk takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// A call and what came back.
pub(super) struct Answer {
    call: String,
    status: u16,
    body: Value,
}

/// Why a call was refused.
pub(super) struct Refused {
    pub code: String,
    pub message: String,
}

impl Client {
    pub(super) fn new(base: &str) -> anyhow::Result<Self> {
        // No proxy: the server is on this machine or in its network, and a proxy would not find it.
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .user_agent(concat!("hexiao-walk/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { http, base: base.to_owned(), token: None })
    }

    /// Who calls from now on.
    pub(super) fn sign_in(&mut self, access_token: &str) {
        self.token = Some(access_token.to_owned());
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, Some(body), None).await
    }

    /// A call without a body.
    pub(super) async fn post_empty(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, None, None).await
    }

    /// A call with an `Idempotency-Key`.
    pub(super) async fn post_keyed(
        &self,
        path: &str,
        key: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, body, Some(key)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let call = format!("{method} {path}");
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let unreachable = || format!("{call} 没有应答：{} 在运行吗？", self.base);
        let response = request.send().await.with_context(unreachable)?;
        let status = response.status().as_u16();
        let text = response.text().await.with_context(unreachable)?;
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Ok(Answer { call, status, body })
    }
}

impl Answer {
    /// The body of an answer with one of these statuses.
    pub(super) fn expect(self, statuses: &[u16]) -> anyhow::Result<Value> {
        if statuses.contains(&self.status) {
            return Ok(self.body);
        }
        let expected: Vec<String> = statuses.iter().map(u16::to_string).collect();
        Err(anyhow!("{}：应为 HTTP {}，实际 {}", self.call, expected.join(" 或 "), self.in_words()))
    }

    /// Whether the call was refused: 4xx with a code. 5xx is a fault, never a refusal.
    pub(super) fn is_refused(&self) -> bool {
        (400..500).contains(&self.status)
    }

    /// Why the call was refused; an error when it wasn't.
    pub(super) fn refused(self) -> anyhow::Result<Refused> {
        if !self.is_refused() {
            bail!("{}：应被拒绝（HTTP 4xx），实际 {}", self.call, self.in_words());
        }
        let read =
            |pointer| json::text(&self.body, pointer).map(str::to_owned).with_context(|| self.call.clone());
        Ok(Refused { code: read("/error/code")?, message: read("/error/message")? })
    }

    fn in_words(&self) -> String {
        format!("{} {}", self.status, json::short(&self.body))
    }
}
