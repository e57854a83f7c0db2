//! Headquarters look at redemptions of all their stores.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_core::catalog::Capability;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::views::{RedemptionQuery, RedemptionView, list_view};
use crate::cursor::List;
use crate::error::ApiResult;
use crate::extract::{Query, Staff};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_merchant_redemptions))
}

/// Redemptions of the stores in scope, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/redemptions", tag = "merchant", security(("bearer" = [])), params(RedemptionQuery),
    responses((status = 200, body = List<RedemptionView>)))]
async fn list_merchant_redemptions(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<RedemptionQuery>,
) -> ApiResult<JsonBody<List<RedemptionView>>> {
    staff.require(Capability::ReadOrders)?;
    Ok(JsonBody(list_view(state.app.db.reader(), &staff.scope, query).await?))
}
