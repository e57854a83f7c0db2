//! What a customer tells us of themselves: their phone number, in WeChat's words.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::ApiResult;
use crate::extract::{Customer, Json};
use crate::fields::Line;
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(bind_phone, unbind_phone))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PhoneBody {
    /// From the `getPhoneNumber` button; good for five minutes, once.
    code: Line<1, 200>,
}

#[derive(Serialize, ToSchema)]
struct PhoneView {
    #[schema(example = "138****1234")]
    phone_masked: String,
}

/// Binds the phone number that the customer allowed WeChat to tell; it takes the place of an earlier one.
#[utoipa::path(post, path = "/api/v1/customer/phone", tag = "customer", security(("bearer" = [])), request_body = PhoneBody,
    responses((status = 200, body = PhoneView)))]
async fn bind_phone(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Json(body): Json<PhoneBody>,
) -> ApiResult<JsonBody<PhoneView>> {
    let phone_masked = state.app.bind_phone(customer.scope(), &body.code.0).await?;
    Ok(JsonBody(PhoneView { phone_masked }))
}

/// Forgets the phone number.
#[utoipa::path(delete, path = "/api/v1/customer/phone", tag = "customer", security(("bearer" = [])), responses((status = 204)))]
async fn unbind_phone(State(state): State<ApiState>, Customer(customer): Customer) -> ApiResult<StatusCode> {
    state.app.unbind_phone(customer.scope()).await?;
    Ok(StatusCode::NO_CONTENT)
}
