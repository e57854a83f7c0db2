//! A merchant's system that is told what happens: it takes requests on this host, answers as it is told to, and checks
//! signatures with libraries that the server does not use.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexiao_testkit::{Client, wait_until};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::steps::text;

pub(crate) const WEBHOOKS: &str = "/api/v1/merchant/webhooks";
pub(crate) const DELIVERIES: &str = "/api/v1/merchant/webhook-deliveries";
pub(crate) const ALL_EVENTS: [&str; 4] =
    ["redemption.created", "redemption.reversed", "voucher.issued", "refund.succeeded"];

/// What was received.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The event's id, the same in header and body.
    pub(crate) fn id(&self) -> &str {
        assert_eq!(self.header("webhook-id"), text(&self.body["id"]));
        text(&self.body["id"])
    }

    pub(crate) fn kind(&self) -> &str {
        text(&self.body["type"])
    }

    /// Whether one of the signatures is this secret's.
    pub(crate) fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let (id, at) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        mac.update(format!("{id}.{at}.{}", self.text).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|given| given == expected)
    }

    pub(crate) fn signatures(&self) -> usize {
        self.header("webhook-signature").split(' ').count()
    }
}

/// How the next request is answered.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Status(u16),
    /// Elsewhere.
    Redirect(String),
    /// Says this much.
    Long(usize),
    /// Never.
    Hang,
}

#[derive(Default)]
struct Inner {
    received: Vec<Received>,
    next: VecDeque<Act>,
    then: Option<Act>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let inner: Arc<Mutex<Inner>> = Arc::default();
        let router = axum::Router::new().fallback(take).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inner }
    }

    /// Answers the next requests so, and those after them with 204.
    pub(crate) fn answers(&self, acts: impl IntoIterator<Item = Act>) {
        self.inner.lock().unwrap().next.extend(acts);
    }

    /// Answers all requests so for which nothing else was said.
    pub(crate) fn always(&self, act: Option<Act>) {
        self.inner.lock().unwrap().then = act;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.inner.lock().unwrap().received.clone()
    }

    /// Waits for so many requests; all of them.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_until(&format!("{count} requests"), async || self.received().len() >= count).await;
        self.received()
    }

    /// Sets a webhook up that leads here; it and its secret.
    pub(crate) async fn webhook(&self, owner: &Client, events: &[&str]) -> (String, String) {
        let body = json!({"name": "ERP", "url": self.url, "events": events});
        let made = owner.post(WEBHOOKS, body).await.expect(201);
        (text(&made["id"]).to_owned(), text(&made["secret"]).to_owned())
    }
}

async fn take(State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap, body: Bytes) -> Response {
    let act = {
        let mut inner = inner.lock().unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        inner.received.push(Received { headers, text, body });
        inner.next.pop_front().or_else(|| inner.then.clone())
    };
    match act {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(Act::Status(status)) => {
            (StatusCode::from_u16(status).unwrap(), "<b>维护中</b>\u{7}").into_response()
        }
        Some(Act::Redirect(to)) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Some(Act::Long(bytes)) => "x".repeat(bytes).into_response(),
        Some(Act::Hang) => {
            tokio::time::sleep(Duration::from_mins(5)).await;
            StatusCode::OK.into_response()
        }
    }
}

/// Waits until a delivery is in a state; the delivery.
pub(crate) async fn delivery_in(owner: &Client, id: &str, state: &str) -> Value {
    let path = format!("{DELIVERIES}/{id}");
    wait_until(&format!("the delivery is {state}"), async || owner.get(&path).await.body["state"] == state)
        .await;
    owner.get(&path).await.expect(200)
}
