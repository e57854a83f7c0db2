//! Sending one call: sign, choose a host, send, verify, classify.
//!
//! Architecture invariant: a POST is sent again here only if the connection was never made. Everything else is the
//! caller's to repeat, with the same number, because only the caller knows what it has recorded.

use super::PayClient;
use super::keys::{NamedKey, Signed};
use crate::crypto;
use crate::error::{CallError, ErrorCode, NotificationError, masked};
use crate::http;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How often a GET is sent at most while its outcome stays unknown.
const GET_ATTEMPTS_MAX: u32 = 3;

/// Pause before a repetition; the n-th waits n times as long.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the backup host stays the first choice after the primary failed to connect, in seconds.
const BACKUP_PREFERRED_S: i64 = 300;

/// The hosts and which of them to try first.
pub(super) struct Hosts {
    primary: Url,
    backup: Option<Url>,
    /// Unix seconds until which the backup is tried first; 0 for never.
    backup_until: AtomicI64,
}

impl Hosts {
    pub(super) fn new(primary: Url, backup: Option<Url>) -> Self {
        Self { primary, backup, backup_until: AtomicI64::new(0) }
    }

    /// The hosts to try in turn, each twice: a host is left after two failed connections.
    fn in_turn(&self, now: i64) -> Vec<&Url> {
        match &self.backup {
            None => vec![&self.primary; 2],
            Some(backup) if now < self.backup_until.load(Ordering::Relaxed) => {
                vec![backup, backup, &self.primary, &self.primary]
            }
            Some(backup) => vec![&self.primary, &self.primary, backup, backup],
        }
    }

    /// Remembers the host that could be reached.
    fn reached(&self, host: &Url, now: i64) {
        if Some(host) == self.backup.as_ref() {
            if now >= self.backup_until.load(Ordering::Relaxed) {
                self.backup_until.store(now.saturating_add(BACKUP_PREFERRED_S), Ordering::Relaxed);
                tracing::warn!("WeChat Pay: the first host cannot be reached, using the backup host");
            }
        } else {
            self.backup_until.store(0, Ordering::Relaxed);
        }
    }
}

/// One call, its body already the bytes to sign and send.
pub(super) struct Call {
    pub(super) method: Method,
    /// Percent-encoded, from the first `/`.
    pub(super) path_query: String,
    pub(super) body: Vec<u8>,
    pub(super) timeout: Duration,
}

impl Call {
    pub(super) fn get(path_query: String, timeout: Duration) -> Self {
        Self { method: Method::GET, path_query, body: Vec::new(), timeout }
    }

    pub(super) fn post(path_query: String, body: &impl serde::Serialize, timeout: Duration) -> Self {
        let body =
            serde_json::to_vec(body).expect("our requests are structs of strings, integers and booleans");
        Self { method: Method::POST, path_query, body, timeout }
    }
}

/// An answer as it came.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// WeChat's number for the exchange, for support requests.
    pub(super) fn request_id(&self) -> Option<String> {
        let text = self.headers.get("request-id")?.to_str().ok()?;
        Some(text.chars().take(64).collect())
    }
}

impl PayClient {
    /// Sends a call and gives the verified body of a 2xx answer.
    pub(super) async fn call(&self, call: &Call, key: &NamedKey) -> Result<Answer, CallError> {
        self.call_checked(call, Some(key), |answer| {
            match self.keys.verify(&Signed::of(&answer.headers), &answer.body, self.now()) {
                Ok(()) => Ok(answer),
                Err(error) => Err(unverifiable(error, &answer)),
            }
        })
        .await
    }

    /// The key calls name. Without one no answer could be verified, so nothing is sent.
    pub(super) fn answering_key(&self) -> Result<Arc<NamedKey>, CallError> {
        self.keys.preferred(self.now()).ok_or_else(|| CallError::not_sent("no platform key is known yet"))
    }

    /// Sends a call; `check` decides whether a 2xx answer is believed and what is taken from it.
    pub(super) async fn call_checked<T>(
        &self,
        call: &Call,
        key: Option<&NamedKey>,
        check: impl Fn(Answer) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let deadline = Instant::now() + call.timeout;
        let attempts_max = if call.method == Method::GET { GET_ATTEMPTS_MAX } else { 1 };
        let mut attempt = 1;
        loop {
            let result = match self.exchange(call, key, deadline).await {
                Ok(answer) => accepted(answer).and_then(&check),
                Err(error) => Err(error),
            };
            let again = matches!(&result, Err(CallError::Unknown { .. }))
                && attempt < attempts_max
                && Instant::now() + PAUSE * attempt < deadline;
            if !again {
                return result;
            }
            tokio::time::sleep(PAUSE * attempt).await;
            attempt += 1;
        }
    }

    /// Sends until a host can be connected to, and reads the answer whatever it is.
    async fn exchange(
        &self,
        call: &Call,
        key: Option<&NamedKey>,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        for (index, host) in self.hosts.in_turn(self.now()).into_iter().enumerate() {
            if index > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CallError::not_sent("no connection in time"));
            }
            match self.request(call, key, host)?.timeout(left).send().await {
                Ok(response) => {
                    self.hosts.reached(host, self.now());
                    return read(response).await;
                }
                Err(error) if error.is_connect() => {}
                Err(error) => return Err(CallError::unknown(http::failure(&error), None)),
            }
        }
        Err(CallError::not_sent("no connection"))
    }

    /// Signs anew for each sending, since a repeated nonce may be refused as a replay.
    fn request(
        &self,
        call: &Call,
        key: Option<&NamedKey>,
        host: &Url,
    ) -> Result<reqwest::RequestBuilder, CallError> {
        let url = host.join(&call.path_query).map_err(|_| CallError::not_sent("the path cannot be sent"))?;
        // Signed is what the URL says after parsing, which is what goes over the wire.
        let path_query = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let (timestamp, nonce) = (self.now(), format!("{:032X}", rand::random::<u128>()));
        let message =
            crypto::request_message(call.method.as_str(), &path_query, timestamp, &nonce, &call.body);
        let authorization = format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{nonce}\",timestamp=\"{timestamp}\",\
             serial_no=\"{}\",signature=\"{}\"",
            self.account.signing_mchid(),
            self.merchant_serial,
            self.merchant_key.sign(&message),
        );
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("Wechatpay-Serial", &key.name);
        }
        if call.method != Method::GET {
            request = request.body(call.body.clone());
        }
        Ok(request)
    }
}

async fn read(response: reqwest::Response) -> Result<Answer, CallError> {
    let mut answer =
        Answer { status: response.status(), headers: response.headers().clone(), body: Vec::new() };
    match http::body(response).await {
        Ok(body) => {
            answer.body = body;
            Ok(answer)
        }
        Err(reason) => Err(CallError::unknown(reason, answer.request_id())),
    }
}

/// Lets a 2xx answer pass; sorts any other into refused and unknown.
fn accepted(answer: Answer) -> Result<Answer, CallError> {
    #[derive(Deserialize)]
    struct ErrorBody {
        code: String,
        #[serde(default)]
        message: String,
    }
    if answer.status.is_success() {
        return Ok(answer);
    }
    let (status, request_id) = (answer.status.as_u16(), answer.request_id());
    let said = serde_json::from_slice::<ErrorBody>(&answer.body).ok();
    let code = match &said {
        Some(body) => ErrorCode::from(body.code.as_str()),
        None if status == 429 => ErrorCode::FrequencyLimited,
        // A page of some gateway's is nobody's refusal.
        None => return Err(CallError::unknown(format!("HTTP {status} without an error code"), request_id)),
    };
    let failing = matches!(code, ErrorCode::SystemError | ErrorCode::BankError);
    if failing || !answer.status.is_client_error() {
        return Err(CallError::unknown(format!("HTTP {status} {code}"), request_id));
    }
    let message = said.map(|body| masked(&body.message)).unwrap_or_default();
    tracing::debug!(status, %code, request_id, "WeChat Pay refused a call");
    Err(CallError::Refused { status, code, message, request_id })
}

/// A 2xx answer whose signature failed: WeChat may well have acted, somebody else may have answered.
pub(super) fn unverifiable(error: NotificationError, answer: &Answer) -> CallError {
    CallError::unknown(format!("answer not verifiable: {error}"), answer.request_id())
}

/// Reads a believed answer's body.
pub(super) fn parsed<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallError> {
    // serde's text may quote a value, hence not part of the reason.
    serde_json::from_slice(&answer.body)
        .map_err(|_| CallError::unknown("the answer is not of the documented form", answer.request_id()))
}
