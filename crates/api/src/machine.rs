//! For machines: is it alive, is it ready, what does it measure.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Router};
use hexiao_core::reason::Reason;
use hexiao_db::migrate;
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::ApiResult;
use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// The longest that the database may take to say that it is there. Whoever asks gives up soon after, and waiting for
/// a connection may take ten times as long: a server that is so busy shall get no more requests for the moment.
const READY_WITHIN: Duration = Duration::from_millis(800);

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "machine", responses((status = 200, body = String)))]
async fn healthz() -> &'static str {
    "ok"
}

/// Ready: the database answers soon and has the schema this program knows, and nobody asked the server to stop.
///
/// Asks the reader, so that on SQLite nobody who writes is waited for.
#[utoipa::path(get, path = "/readyz", tag = "machine", responses((status = 200, body = String), (status = 503, body = String)))]
async fn readyz(State(state): State<ApiState>) -> (StatusCode, &'static str) {
    let found = tokio::select! {
        biased;
        () = state.stop.cancelled() => return (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        found = tokio::time::timeout(READY_WITHIN, migrate::check(&state.app.db)) => found,
    };
    match found {
        Ok(Ok(())) => return (StatusCode::OK, "ready"),
        Ok(Err(error)) => tracing::warn!(%error, "not ready"),
        Err(_) => tracing::warn!("not ready: the database does not answer in time"),
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready")
}

/// What a proxy adds to a request, in one way or another.
const FORWARDED: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];

/// Prometheus' text format.
///
/// For this machine only, and not for a proxy on it, which speaks for the whole world: 404 for everybody else, and
/// where metrics have a listener of their own.
#[utoipa::path(get, path = "/metrics", tag = "machine", responses((status = 200, body = String), (status = 404)))]
async fn metrics(
    State(state): State<ApiState>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
) -> ApiResult<String> {
    let here = peer.is_some_and(|Extension(ConnectInfo(peer))| peer.ip().to_canonical().is_loopback());
    let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    if state.metrics_elsewhere || !here || forwarded {
        return Err(Reason::NotFound.into());
    }
    Ok(state.metrics.render())
}

/// Nothing but the metrics, to whoever reaches it: for a listener that the world can't.
pub fn metrics_router(metrics: PrometheusHandle) -> Router {
    let render = move || {
        let metrics = metrics.clone();
        async move { metrics.render() }
    };
    Router::new().route("/metrics", axum::routing::get(render))
}
