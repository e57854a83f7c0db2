//! Orders of a store, for its staff.

use axum::Json as JsonBody;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::merchant::{StaffOrderQuery, staff_orders};
use super::views::OrderSummaryView;
use crate::cursor::List;
use crate::error::ApiResult;
use crate::extract::{Query, Staff};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_staff_orders))
}

/// Orders of the verifier's stores, newest first.
#[utoipa::path(get, path = "/api/v1/staff/orders", tag = "staff", security(("bearer" = [])), params(StaffOrderQuery),
    responses((status = 200, body = List<OrderSummaryView>)))]
async fn list_staff_orders(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(q): Query<StaffOrderQuery>,
) -> ApiResult<JsonBody<List<OrderSummaryView>>> {
    Ok(JsonBody(staff_orders(&state, &staff, q).await?))
}
