//! For machines: is it alive, is it ready, what does it measure.

use axum::extract::State;
use axum::http::StatusCode;
use hexiao_db::migrate;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "machine", responses((status = 200, body = String)))]
async fn healthz() -> &'static str {
    "ok"
}

/// Ready: the database answers and has the schema this program knows.
#[utoipa::path(get, path = "/readyz", tag = "machine", responses((status = 200, body = String), (status = 503, body = String)))]
async fn readyz(State(state): State<ApiState>) -> (StatusCode, &'static str) {
    match migrate::check(&state.app.db).await {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        }
    }
}

/// Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "machine", responses((status = 200, body = String)))]
async fn metrics(State(state): State<ApiState>) -> String {
    state.metrics.render()
}
