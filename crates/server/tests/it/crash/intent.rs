//! Requests that must happen exactly once, however often they are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hexiao_testkit::{Answer, Client};
use reqwest::Method;
use serde_json::{Value, json};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    Order,
    Pay,
    Close,
    Confirm,
    Reverse,
    Refund,
    Book,
    ConfirmBooking,
    Reschedule,
    CancelBooking,
    Withdraw,
    Tap,
    Backfill,
    Approve,
    Device,
    Offline,
}

/// A request, with the key under which it is repeated.
#[derive(Debug, Clone)]
pub struct Intent {
    pub what: What,
    pub who: Client,
    pub path: String,
    key: Option<String>,
    body: Value,
}

/// A request that was sent once.
#[derive(Debug, Clone)]
pub struct Sent {
    pub intent: Intent,
    /// What was acknowledged; nothing when the connection broke or the server could not tell.
    pub acknowledged: Option<Value>,
}

/// How many requests wait for their answer.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    pub fn now(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Intent {
    pub fn new(what: What, who: &Client, path: String, body: Value) -> Self {
        let unkeyed =
            [What::Close, What::Tap, What::CancelBooking, What::Approve, What::Device, What::Offline];
        let key = !unkeyed.contains(&what);
        let key = key.then(|| uuid::Uuid::now_v7().to_string());
        Self { what, who: who.clone(), path, key, body }
    }

    async fn try_send(&self) -> reqwest::Result<Answer> {
        self.who.try_send(Method::POST, &self.path, Some(self.body.clone()), self.key.as_deref()).await
    }

    /// Sends it once, whatever becomes of it. A refusal by the rules is a fault of the test.
    pub async fn send(&self, in_flight: &InFlight) -> Sent {
        in_flight.0.fetch_add(1, Ordering::SeqCst);
        let answer = self.try_send().await;
        in_flight.0.fetch_sub(1, Ordering::SeqCst);
        let acknowledged = match answer {
            Ok(answer) if answer.status < 300 => Some(answer.body),
            Ok(answer) if answer.status >= 500 || answer.status == 429 => None,
            Ok(answer) => panic!("{:?} {}: {} {}", self.what, self.path, answer.status, answer.body),
            Err(_) => None,
        };
        Sent { intent: self.clone(), acknowledged }
    }

    /// Sends it to a server that works; it must succeed.
    pub async fn repeat(&self) -> Answer {
        let answer = self.try_send().await.unwrap();
        assert!(answer.status < 300, "{:?} {}: {} {}", self.what, self.path, answer.status, answer.body);
        answer
    }

    /// The part of an answer that is the same each time.
    pub fn identity(&self, answer: &Value) -> Value {
        let pick = |names: &[&str]| names.iter().map(|name| answer[name].clone()).collect();
        match self.what {
            What::Order => pick(&["id", "number", "pay_fen", "lines"]),
            What::Pay => pick(&["payment_id", "out_trade_no"]),
            What::Close => pick(&["id", "state", "close_reason"]),
            What::Confirm => pick(&["id", "results", "undo_until"]),
            What::Reverse => pick(&["id", "items", "at"]),
            What::Refund => pick(&["id", "amount_fen", "items", "created_at"]),
            What::Book | What::ConfirmBooking | What::Reschedule | What::CancelBooking => {
                pick(&["id", "state", "slot_start", "quantity", "created_at"])
            }
            What::Withdraw => pick(&["id", "amount_fen", "items", "state"]),
            What::Tap => pick(&["id", "state", "redemption"]),
            What::Offline => {
                let result = &answer["results"][0];
                json!([result["verdict"], result["redemption_id"]])
            }
            What::Device => pick(&["id", "name", "state", "created_at", "revoked_at"]),
            What::Backfill | What::Approve => {
                json!([answer["backfill"]["id"], answer["redemption"]["id"], answer["redemption"]["results"]])
            }
        }
    }
}

impl Sent {
    /// Repeats the request: what was acknowledged is answered again; what was not is done now or was done, and
    /// repeating it once more shows that it was done once.
    pub async fn prove_exactly_once(&self) -> Value {
        let intent = &self.intent;
        let known = match &self.acknowledged {
            Some(body) => body.clone(),
            None => intent.repeat().await.body,
        };
        let again = intent.repeat().await;
        let replayed = match intent.what {
            What::Order | What::Refund | What::Book | What::Reschedule => again.status == 200,
            What::Confirm => again.status == 200 && again.body["replayed"] == json!(true),
            What::Offline => again.body["results"][0]["replayed"] == json!(true),
            What::Reverse | What::Backfill | What::Approve => again.body["replayed"] == json!(true),
            What::Pay
            | What::Close
            | What::Withdraw
            | What::Tap
            | What::ConfirmBooking
            | What::CancelBooking
            | What::Device => true,
        };
        let (what, path) = (intent.what, &intent.path);
        assert!(replayed, "{what:?} {path} was done again: {}, known as {known}", again.body);
        assert_eq!(intent.identity(&known), intent.identity(&again.body), "{what:?} {path} changed");
        again.body
    }
}
