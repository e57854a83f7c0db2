//! Stock as the staff of a store look it up.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_core::catalog::Capability;
use hexiao_core::id::StoreId;
use hexiao_db::stock_admin::StockFilter;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::stock::page_of;
use super::view::StockView;
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Query, Staff};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_store_stock))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StoreStockQuery {
    #[param(value_type = String)]
    store_id: StoreId,
    /// True: only where few are left.
    low: Option<bool>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// What a store sells from: its own stock and what it shares with others.
#[utoipa::path(get, path = "/api/v1/staff/stock", tag = "stock", params(StoreStockQuery), security(("bearer" = [])),
    responses((status = 200, body = List<StockView>)))]
async fn list_store_stock(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<StoreStockQuery>,
) -> ApiResult<JsonBody<List<StockView>>> {
    staff.require(Capability::Redeem)?;
    let page = page_request(query.cursor.as_deref(), query.limit)?;
    let filter = StockFilter {
        store_id: Some(query.store_id),
        product_id: None,
        low_only: query.low.unwrap_or(false),
    };
    Ok(JsonBody(List::of(page_of(&state, &staff, filter, &page).await?, StockView::from)))
}
