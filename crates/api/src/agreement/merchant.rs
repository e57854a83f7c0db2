//! The texts as their merchant's owner edits them.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_core::catalog::Capability;
use hexiao_core::reason::Reason;
use hexiao_db::agreements;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AgreementView, Kind};
use crate::error::ApiResult;
use crate::extract::{Json, Staff};
use crate::fields::Paragraphs;
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_own_agreement, publish_agreement))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AgreementBody {
    /// The version that was edited: another one by now refuses the edit.
    version: Option<i64>,
    /// Plain text, not empty.
    body: Paragraphs<50_000>,
}

/// One of the merchant's texts: `user_agreement`, `privacy_policy`, `redemption_rules` or `after_sales_policy`.
#[utoipa::path(get, path = "/api/v1/merchant/agreements/{kind}", tag = "agreement", security(("bearer" = [])),
    params(("kind" = String, Path, description = "Which text")), responses((status = 200, body = AgreementView)))]
async fn get_own_agreement(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Kind(kind): Kind,
) -> ApiResult<JsonBody<AgreementView>> {
    staff.require(Capability::ManageAgreements)?;
    let found = agreements::get(state.app.db.reader(), staff.merchant_id, kind).await?;
    Ok(JsonBody(found.ok_or(Reason::NotFound)?.into()))
}

/// Puts another text in force, as a new version. The same text again changes nothing.
#[utoipa::path(put, path = "/api/v1/merchant/agreements/{kind}", tag = "agreement", request_body = AgreementBody,
    security(("bearer" = [])), params(("kind" = String, Path, description = "Which text")),
    responses((status = 200, body = AgreementView)))]
async fn publish_agreement(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Kind(kind): Kind,
    Json(edit): Json<AgreementBody>,
) -> ApiResult<JsonBody<AgreementView>> {
    let published = state.app.publish_agreement(&staff, kind, edit.version, &edit.body.0).await?;
    Ok(JsonBody(published.into()))
}
