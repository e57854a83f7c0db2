//! The requests of redemptions and of customers, and what their answers must be.

use std::ops::Range;
use std::sync::Arc;

use anyhow::bail;
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::client::{Body, Phase, Requests};
use super::server::{Seed, Tokens};
use crate::signals;

/// A measurement with failures measures something else.
pub fn complete<T>(name: &str, phase: Phase<T>) -> anyhow::Result<Phase<T>> {
    if signals::interrupted() {
        bail!("interrupted");
    }
    if phase.failed > 0 {
        bail!(
            "{} of the {name} requests failed, for example:\n  {}",
            phase.failed,
            phase.failures.join("\n  ")
        );
    }
    if phase.answers.is_empty() {
        bail!("no {name} request was sent: more --vouchers, or fewer --rounds");
    }
    Ok(phase)
}

/// What a verifier holds between the scan and the tap.
#[derive(Clone)]
pub struct Token {
    /// Position of the voucher in the seed.
    pub voucher: usize,
    pub token: String,
}

/// A new pair for all staff and customers: an access token lives 15 minutes.
pub struct Refreshes {
    pub seed: Arc<Seed>,
}

impl Requests for Refreshes {
    type Answer = Tokens;

    fn count(&self) -> usize {
        self.seed.staff.len() + self.seed.customers.len()
    }

    fn make(&self, index: usize) -> anyhow::Result<Request<Body>> {
        let staff = self.seed.staff.len();
        let tokens =
            if index < staff { &self.seed.staff[index].tokens } else { &self.seed.customers[index - staff] };
        let Tokens { access_token, refresh_token } = tokens;
        post("/api/v1/auth/refresh", access_token, None, &json!({ "refresh_token": refresh_token }))
    }

    fn read(&self, _index: usize, status: StatusCode, body: &[u8]) -> anyhow::Result<Tokens> {
        refuse_unless(status, StatusCode::OK, body)?;
        Ok(serde_json::from_slice(body)?)
    }
}

pub struct Prepares {
    pub seed: Arc<Seed>,
    pub range: Range<usize>,
}

impl Requests for Prepares {
    type Answer = Token;

    fn count(&self) -> usize {
        self.range.len()
    }

    fn make(&self, index: usize) -> anyhow::Result<Request<Body>> {
        let voucher = &self.seed.vouchers[self.range.start + index];
        let staff = &self.seed.staff[voucher.staff];
        let body = json!({ "store_id": staff.store_id, "input": { "qr": voucher.qr } });
        post("/api/v1/staff/redemptions/prepare", &staff.tokens.access_token, None, &body)
    }

    fn read(&self, index: usize, status: StatusCode, body: &[u8]) -> anyhow::Result<Token> {
        #[derive(Deserialize)]
        struct Answer {
            prepare_token: String,
        }
        refuse_unless(status, StatusCode::OK, body)?;
        let answer: Answer = serde_json::from_slice(body)?;
        Ok(Token { voucher: self.range.start + index, token: answer.prepare_token })
    }
}

pub struct Confirms {
    pub seed: Arc<Seed>,
    pub tokens: Vec<Token>,
}

impl Requests for Confirms {
    type Answer = ();

    fn count(&self) -> usize {
        self.tokens.len()
    }

    fn make(&self, index: usize) -> anyhow::Result<Request<Body>> {
        let Token { voucher, token } = &self.tokens[index];
        let voucher = &self.seed.vouchers[*voucher];
        let staff = &self.seed.staff[voucher.staff];
        let body = json!({
            "store_id": staff.store_id,
            "prepare_token": token,
            "items": [{ "voucher_id": voucher.voucher_id, "quantity": 1 }],
            "atomicity": "all",
        });
        // Each voucher is redeemed once, so its id makes a key.
        post("/api/v1/staff/redemptions", &staff.tokens.access_token, Some(&voucher.voucher_id), &body)
    }

    fn read(&self, _index: usize, status: StatusCode, body: &[u8]) -> anyhow::Result<()> {
        refuse_unless(status, StatusCode::CREATED, body)
    }
}

pub fn post(
    path: &str,
    token: &str,
    key: Option<&str>,
    body: &serde_json::Value,
) -> anyhow::Result<Request<Body>> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    Ok(request.body(Body::from(serde_json::to_vec(body)?))?)
}

/// Reads with a customer's token, or with none.
pub fn get(path: &str, token: Option<&str>) -> anyhow::Result<Request<Body>> {
    let mut request = Request::builder().method(Method::GET).uri(path).header("host", "127.0.0.1");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    Ok(request.body(Body::default())?)
}

pub fn refuse_unless(status: StatusCode, expected: StatusCode, body: &[u8]) -> anyhow::Result<()> {
    if status != expected {
        bail!("{status}: {}", String::from_utf8_lossy(body));
    }
    Ok(())
}
