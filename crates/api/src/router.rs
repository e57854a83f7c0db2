//! All routes, their OpenAPI document, and what wraps them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse as _;
use hexiao_app::App;
use hexiao_core::reason::Reason;
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_scalar::{Scalar, Servable as _};

use crate::error::ApiError;
use crate::limits::{Limiters, Limits};
use crate::{
    agreement, auth, booking, catalog, commission, consent, device, document, job, machine, message,
    middleware, notify, order, redemption, store, user, webhook,
};

/// The largest body we take. Pictures have their own limit when they come.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// What an installation sets for its HTTP side.
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// How much one caller may ask.
    pub limits: Limits,
    /// The proxies in front of us whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Metrics have a listener of their own (see [`metrics_router`](crate::metrics_router)): not here.
    pub metrics_elsewhere: bool,
    /// Cancelled when the server is to stop: from then on it is not ready, and each answer is its connection's last.
    pub stop: CancellationToken,
}

/// What handlers share. Each layer and handler has its own copy, so it is one pointer.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

impl std::ops::Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What there is once for all requests.
pub struct Shared {
    /// The use cases.
    pub app: App,
    pub(crate) limiters: Limiters,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) metrics_elsewhere: bool,
    pub(crate) stop: CancellationToken,
}

fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(document::head())
        .merge(auth::routes())
        .merge(catalog::routes())
        .merge(store::routes())
        .merge(order::routes())
        .merge(redemption::routes())
        .merge(booking::routes())
        .merge(consent::routes())
        .merge(user::routes())
        .merge(device::routes())
        .merge(agreement::routes())
        .merge(message::routes())
        .merge(job::routes())
        .merge(webhook::routes())
        .merge(commission::routes())
        .merge(notify::routes())
        .merge(machine::routes())
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    document::with_refusals(routes().split_for_parts().1)
}

/// The whole API.
pub fn router(app: App, settings: HttpSettings, metrics: PrometheusHandle) -> Router {
    let state = ApiState(Arc::new(Shared {
        app,
        limiters: Limiters::new(settings.limits),
        trusted_proxies: settings.trusted_proxies,
        metrics,
        metrics_elsewhere: settings.metrics_elsewhere,
        stop: settings.stop,
    }));
    let (router, _) = routes().split_for_parts();
    let document = openapi();
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
