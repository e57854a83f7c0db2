//! Consent: staff ask for a customer's tap, the customer taps.

mod customer;
mod staff;

use hexiao_app::consent::Asked;
use hexiao_core::id::ConsentId;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::router::ApiState;
use crate::views::{At, at};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(customer::routes()).merge(staff::routes())
}

/// A request that waits for a tap.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConsentRequestView {
    #[schema(value_type = String)]
    id: ConsentId,
    expires_at: At,
}

/// What was asked: the same whether or not there is anybody who could answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConsentAskedView {
    consent_request: ConsentRequestView,
}

impl From<Asked> for ConsentAskedView {
    fn from(asked: Asked) -> Self {
        Self { consent_request: ConsentRequestView { id: asked.id, expires_at: at(asked.expires_at) } }
    }
}
