//! Stock as a merchant counts and corrects it.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_app::auth::StaffPrincipal;
use hexiao_app::merchant::{NewCount, StockChange};
use hexiao_core::catalog::Capability;
use hexiao_core::id::{ProductId, SkuId, StockId, StoreId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_db::catalog;
use hexiao_db::page::{Page, PageRequest};
use hexiao_db::stock_admin::{self, Stock, StockFilter};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::input::present;
use super::view::StockView;
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::fields::Line;
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_stock, create_stock))
        .routes(routes!(edit_stock))
        .routes(routes!(adjust_stock))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StockQuery {
    /// What this store sells from: its own rows and the shared rows of its products.
    #[param(value_type = Option<String>)]
    store_id: Option<StoreId>,
    #[param(value_type = Option<String>)]
    product_id: Option<ProductId>,
    /// True: only where few are left.
    low: Option<bool>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewStockBody {
    #[schema(value_type = String)]
    sku_id: SkuId,
    /// Required for stock that each store counts for itself.
    #[schema(value_type = Option<String>)]
    store_id: Option<StoreId>,
    quantity: i64,
    low_at: Option<i64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StockPatchBody {
    /// Warn at this many; null = when nothing is left.
    #[serde(deserialize_with = "present")]
    #[schema(required)]
    low_at: Option<i64>,
}

/// One of `delta` and `counted`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AdjustBody {
    /// More or fewer units.
    delta: Option<i64>,
    /// What was counted, units reserved for orders included.
    counted: Option<i64>,
    reason: Line<1, 100>,
}

/// A page of stock rows. A store that is not the caller's does not exist.
pub(super) async fn page_of(
    state: &ApiState,
    staff: &StaffPrincipal,
    filter: StockFilter,
    page: &PageRequest,
) -> ApiResult<Page<Stock>> {
    let reader = state.app.db.reader();
    if let Some(store_id) = filter.store_id {
        staff.require_store(store_id)?;
        if catalog::stores_known(reader, staff.merchant(), &[store_id]).await?.is_empty() {
            return Err(Refusal::with_message(Reason::NotFound, "没有找到这个门店").into());
        }
    }
    Ok(stock_admin::list(reader, &staff.scope, &filter, page).await?)
}

/// Stock of the merchant; for a store manager what their stores sell from.
#[utoipa::path(get, path = "/api/v1/merchant/stock", tag = "stock", params(StockQuery), security(("bearer" = [])),
    responses((status = 200, body = List<StockView>)))]
async fn list_stock(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<StockQuery>,
) -> ApiResult<JsonBody<List<StockView>>> {
    staff.require(Capability::ManageStock)?;
    let page = page_request(query.cursor.as_deref(), query.limit)?;
    let filter = StockFilter {
        store_id: query.store_id,
        product_id: query.product_id,
        low_only: query.low.unwrap_or(false),
    };
    Ok(JsonBody(List::of(page_of(&state, &staff, filter, &page).await?, StockView::from)))
}

/// Counts a SKU for the first time in a store.
#[utoipa::path(post, path = "/api/v1/merchant/stock", tag = "stock", request_body = NewStockBody, security(("bearer" = [])),
    responses((status = 201, body = StockView)))]
async fn create_stock(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Json(body): Json<NewStockBody>,
) -> ApiResult<(StatusCode, JsonBody<StockView>)> {
    let new = NewCount {
        sku_id: body.sku_id,
        store_id: body.store_id,
        quantity: body.quantity,
        low_at: body.low_at,
    };
    let stock = state.app.create_stock(&staff, new).await?;
    Ok((StatusCode::CREATED, JsonBody(stock.into())))
}

/// Sets when a stock row counts as low.
#[utoipa::path(patch, path = "/api/v1/merchant/stock/{id}", tag = "stock", request_body = StockPatchBody,
    security(("bearer" = [])), params(("id" = String, Path, description = "Stock row")),
    responses((status = 200, body = StockView)))]
async fn edit_stock(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<StockId>,
    Json(body): Json<StockPatchBody>,
) -> ApiResult<JsonBody<StockView>> {
    Ok(JsonBody(state.app.set_stock_low_at(&staff, id, body.low_at).await?.into()))
}

/// Corrects a stock row. Units reserved for orders cannot be taken away.
#[utoipa::path(post, path = "/api/v1/merchant/stock/{id}/adjust", tag = "stock", request_body = AdjustBody,
    security(("bearer" = [])), params(("id" = String, Path, description = "Stock row")),
    responses((status = 200, body = StockView)))]
async fn adjust_stock(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<StockId>,
    Json(body): Json<AdjustBody>,
) -> ApiResult<JsonBody<StockView>> {
    let change = match (body.delta, body.counted) {
        (Some(delta), None) => StockChange::Delta(delta),
        (None, Some(counted)) => StockChange::Counted(counted),
        (None, None) => {
            return Err(Refusal::field("delta", "请填写 delta（增减）或 counted（盘点数）").into());
        }
        (Some(_), Some(_)) => return Err(Refusal::field("counted", "delta 和 counted 只能填一个").into()),
    };
    Ok(JsonBody(state.app.adjust_stock(&staff, id, change, &body.reason.0).await?.into()))
}
