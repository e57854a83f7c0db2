//! A merchant's system that is told what happens, in the test's own process: it survives the server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

/// How often it was told of an event, by the event's id; and the bodies, which must not change.
type Told = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    told: Told,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let told = Told::default();
        let router = axum::Router::new().fallback(take).with_state(told.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, told }
    }

    /// The events it knows of. A repetition after a crash is the same event with the same body.
    pub fn events(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        for (id, bodies) in told.iter() {
            assert!(bodies.iter().all(|b| b == &bodies[0] && b.contains(id.as_str())), "{bodies:?}");
        }
        told.keys().cloned().collect()
    }
}

async fn take(State(told): State<Told>, headers: HeaderMap, body: String) -> StatusCode {
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    told.lock().unwrap().entry(id).or_default().push(body);
    StatusCode::NO_CONTENT
}
