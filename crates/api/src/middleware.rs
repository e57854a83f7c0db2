//! What wraps every request: an id, a limit, a deadline, a log line, metrics, and a panic turned into an error.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use hexiao_core::reason::Reason;

use crate::address::client_address;
use crate::error::{ApiError, Failure};
use crate::router::ApiState;

const REQUEST_ID: &str = "x-request-id";
/// The longest a request may take. Calls to WeChat have their own, shorter limits.
const DEADLINE: Duration = Duration::from_secs(30);

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request being served.
pub(crate) fn current_request_id() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// The outermost layer.
pub(crate) async fn wrap(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let id = request_id(&request);
    CURRENT.scope(id.clone(), serve(state, request, next, id)).await
}

/// The caller's own id when it is sane, so that one id runs through their logs and ours.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|v| v.to_str().ok());
    let sane = |s: &&str| {
        (8..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    given.filter(sane).map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), str::to_owned)
}

async fn serve(state: ApiState, request: Request, next: Next, id: String) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or("unmatched".to_owned(), |p| p.as_str().to_owned());
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |c| c.0.ip());
    let address = client_address(peer, request.headers(), &state.trusted_proxies);
    let path = request.uri().path();
    let machine = matches!(path, "/healthz" | "/readyz" | "/metrics");
    let mut response =
        if machine || state.limiters.allow(path, token.filter(|t| state.app.knows_token(t)), address) {
            let work = std::panic::AssertUnwindSafe(tokio::time::timeout(DEADLINE, next.run(request)))
                .catch_unwind();
            match work.await {
                Ok(Ok(response)) => response,
                Ok(Err(_)) => ApiError::from(Reason::Timeout).into_response(),
                Err(_) => {
                    tracing::error!(request_id = %id, %route, "panic in a handler");
                    ApiError::from(Reason::Internal).into_response()
                }
            }
        } else {
            ApiError::from(Reason::RateLimited).into_response()
        };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if state.stop.is_cancelled() {
        // The caller's next request goes to a server that stays.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    record(&response, method.as_str(), &route, &id, started.elapsed());
    response
}

fn record(response: &Response, method: &str, route: &str, id: &str, took: Duration) {
    let status = response.status().as_u16();
    let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_seconds", &labels[..2]).record(took.as_secs_f64());
    let millis = took.as_millis();
    match response.extensions().get::<Failure>() {
        Some(Failure { reason, internal: Some(internal) }) => {
            tracing::error!(request_id = %id, %method, %route, status, millis, code = %reason, internal, "request failed");
        }
        Some(Failure { reason, internal: None }) => {
            tracing::info!(request_id = %id, %method, %route, status, millis, code = %reason, "request refused");
        }
        None => tracing::debug!(request_id = %id, %method, %route, status, millis, "request"),
    }
}
