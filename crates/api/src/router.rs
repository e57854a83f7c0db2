//! All routes, their OpenAPI document, and what wraps them.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse as _;
use hexiao_app::App;
use hexiao_core::reason::Reason;
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_scalar::{Scalar, Servable as _};

use crate::error::ApiError;
use crate::limits::{Limiters, Limits};
use crate::{agreement, auth, catalog, machine, message, middleware, notify, order, redemption, store, user};

/// The largest body we take. Pictures have their own limit when they come.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// What handlers share.
#[derive(Clone)]
pub struct ApiState {
    /// The use cases.
    pub app: App,
    pub(crate) limiters: Limiters,
    pub(crate) metrics: PrometheusHandle,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hexiao API",
        description = "Buy online, redeem in store, across many stores. Money is integer fen; times are RFC 3339 with their zone; ids are TypeIDs; unknown fields are refused. Errors carry a code of the closed set in docs/ERRORS.md."
    ),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(auth::routes())
        .merge(catalog::routes())
        .merge(store::routes())
        .merge(order::routes())
        .merge(redemption::routes())
        .merge(user::routes())
        .merge(agreement::routes())
        .merge(message::routes())
        .merge(notify::routes())
        .merge(machine::routes())
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

/// The whole API.
pub fn router(app: App, limits: Limits, metrics: PrometheusHandle) -> Router {
    let state = ApiState { app, limiters: Limiters::new(limits), metrics };
    let (router, document) = routes().split_for_parts();
    let limiters = state.limiters.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(std::time::Duration::from_mins(1));
        loop {
            every.tick().await;
            limiters.forget_idle();
        }
    });
    let json = serde_json::to_string(&document).unwrap_or_default();
    let serve_document = move || {
        let json = json.clone();
        async move { ([(axum::http::header::CONTENT_TYPE, "application/json")], json) }
    };
    router
        .route("/api/openapi.json", axum::routing::get(serve_document))
        .merge(Scalar::with_url("/api/docs", document))
        .fallback(|| async { ApiError::from(Reason::NotFound).into_response() })
        .method_not_allowed_fallback(|| async { ApiError::from(Reason::MethodNotAllowed).into_response() })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(state.clone(), middleware::wrap))
        .with_state(state)
}
