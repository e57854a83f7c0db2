//! For machines: is it alive, is it ready, what does it measure.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use hexiao_db::migrate;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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

/// Ready: the database answers soon and has the schema this program knows. Asks the reader, so that on SQLite nobody
/// who writes is waited for.
#[utoipa::path(get, path = "/readyz", tag = "machine", responses((status = 200, body = String), (status = 503, body = String)))]
async fn readyz(State(state): State<ApiState>) -> (StatusCode, &'static str) {
    match tokio::time::timeout(READY_WITHIN, migrate::check(&state.app.db)).await {
        Ok(Ok(())) => return (StatusCode::OK, "ready"),
        Ok(Err(error)) => tracing::warn!(%error, "not ready"),
        Err(_) => tracing::warn!("not ready: the database does not answer in time"),
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready")
}

/// Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "machine", responses((status = 200, body = String)))]
async fn metrics(State(state): State<ApiState>) -> String {
    state.metrics.render()
}
