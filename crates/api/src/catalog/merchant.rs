//! Products as their merchant edits them.

use std::collections::HashMap;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_core::catalog::ProductState;
use hexiao_core::id::{ProductId, RecordId, SkuId};
use hexiao_core::money::Money;
use hexiao_core::order::Fulfilment;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_db::catalog::{self, Product, ProductFilter, ProductSummary};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::input::{ProductBody, ProductPatchBody, SkuBody, SkuPatchBody};
use super::may_read;
use super::view::{MerchantProductView, picture};
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::fields::Line;
use crate::router::ApiState;
use crate::views::{At, at};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_merchant_products, create_product))
        .routes(routes!(get_merchant_product, edit_product))
        .routes(routes!(add_sku))
        .routes(routes!(publish_product))
        .routes(routes!(delist_product))
        .routes(routes!(edit_sku))
        .routes(routes!(list_merchant_categories))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProductsQuery {
    /// `Draft`, `Listed` or `Delisted`.
    #[param(value_type = Option<String>)]
    state: Option<ProductState>,
    #[param(value_type = Option<String>)]
    category_id: Option<RecordId>,
    /// Words in the name.
    #[param(inline)]
    q: Option<Line<0, 50>>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// A product in a list.
#[derive(Serialize, ToSchema)]
struct MerchantProductRow {
    #[schema(value_type = String)]
    id: ProductId,
    name: String,
    #[schema(value_type = String, example = "redeem")]
    kind: Fulfilment,
    #[schema(value_type = String, example = "Listed")]
    state: ProductState,
    #[schema(required)]
    cover: Option<String>,
    #[schema(value_type = Option<String>, required)]
    category_id: Option<RecordId>,
    tags: Vec<String>,
    recommended: bool,
    all_stores: bool,
    /// SKUs that are offered.
    active_skus: i64,
    /// The lowest price of them, before stores' own prices.
    #[schema(value_type = Option<i64>, required)]
    from_price_fen: Option<Money>,
    sold_count: i64,
    version: i64,
    created_at: At,
    updated_at: At,
}

#[derive(Serialize, ToSchema)]
struct MerchantCategoryView {
    #[schema(value_type = String)]
    id: RecordId,
    name: String,
}

impl MerchantProductRow {
    fn of(p: Product, summary: Option<&ProductSummary>) -> Self {
        Self {
            id: p.id,
            name: p.name,
            kind: p.kind,
            state: p.state,
            cover: picture(p.cover),
            category_id: p.category_id,
            tags: p.tags,
            recommended: p.recommended,
            all_stores: p.all_stores,
            active_skus: summary.map_or(0, |s| s.active_skus),
            from_price_fen: summary.and_then(|s| s.from_price),
            sold_count: p.sold_count,
            version: p.version,
            created_at: at(p.created_at),
            updated_at: at(p.updated_at),
        }
    }
}

/// The products of the merchant; for a store manager those sold in their stores.
#[utoipa::path(get, path = "/api/v1/merchant/products", tag = "catalog", params(ProductsQuery), security(("bearer" = [])),
    responses((status = 200, body = List<MerchantProductRow>)))]
async fn list_merchant_products(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<ProductsQuery>,
) -> ApiResult<JsonBody<List<MerchantProductRow>>> {
    may_read(&staff)?;
    let page = page_request(query.cursor.as_deref(), query.limit)?;
    let q = query.q.map(|q| q.0).filter(|q| !q.is_empty());
    let filter = ProductFilter { state: query.state, category_id: query.category_id, q };
    let reader = state.app.db.reader();
    let products = catalog::list(reader, &staff.scope, &filter, &page).await?;
    let ids: Vec<ProductId> = products.items.iter().map(|p| p.id).collect();
    let summaries = catalog::summaries(reader, staff.merchant(), &ids).await?;
    let summaries: HashMap<ProductId, ProductSummary> =
        summaries.into_iter().map(|s| (s.product_id, s)).collect();
    Ok(JsonBody(List::of(products, |p| {
        let summary = summaries.get(&p.id);
        MerchantProductRow::of(p, summary)
    })))
}

/// The categories of the merchant.
#[utoipa::path(get, path = "/api/v1/merchant/categories", tag = "catalog", security(("bearer" = [])),
    responses((status = 200, body = List<MerchantCategoryView>)))]
async fn list_merchant_categories(
    State(state): State<ApiState>,
    Staff(staff): Staff,
) -> ApiResult<JsonBody<List<MerchantCategoryView>>> {
    may_read(&staff)?;
    let categories = catalog::category_names(state.app.db.reader(), staff.merchant()).await?;
    let view = |(id, name)| MerchantCategoryView { id, name };
    Ok(JsonBody(List::complete(categories.into_iter().map(view).collect())))
}

/// Creates a product with its SKUs. It is offered after `publish`.
#[utoipa::path(post, path = "/api/v1/merchant/products", tag = "catalog", request_body = ProductBody, security(("bearer" = [])),
    responses((status = 201, body = MerchantProductView)))]
async fn create_product(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Json(body): Json<ProductBody>,
) -> ApiResult<(StatusCode, JsonBody<MerchantProductView>)> {
    let product = state.app.create_product(&staff, body.into_product()?).await?;
    Ok((StatusCode::CREATED, JsonBody(product.into())))
}

/// One product with all that belongs to it.
#[utoipa::path(get, path = "/api/v1/merchant/products/{id}", tag = "catalog", security(("bearer" = [])),
    params(("id" = String, Path, description = "Product")), responses((status = 200, body = MerchantProductView)))]
async fn get_merchant_product(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<ProductId>,
) -> ApiResult<JsonBody<MerchantProductView>> {
    may_read(&staff)?;
    let detail = catalog::detail(state.app.db.reader(), &staff.scope, id).await?;
    let missing = || Refusal::with_message(Reason::NotFound, "没有找到这个商品");
    Ok(JsonBody(detail.ok_or_else(missing)?.into()))
}

/// Edits a product.
#[utoipa::path(patch, path = "/api/v1/merchant/products/{id}", tag = "catalog", request_body = ProductPatchBody,
    security(("bearer" = [])), params(("id" = String, Path, description = "Product")),
    responses((status = 200, body = MerchantProductView)))]
async fn edit_product(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<ProductId>,
    Json(body): Json<ProductPatchBody>,
) -> ApiResult<JsonBody<MerchantProductView>> {
    Ok(JsonBody(state.app.edit_product(&staff, id, body.into_patch()?).await?.into()))
}

/// Adds a SKU to a product.
#[utoipa::path(post, path = "/api/v1/merchant/products/{id}/skus", tag = "catalog", request_body = SkuBody,
    security(("bearer" = [])), params(("id" = String, Path, description = "Product")),
    responses((status = 201, body = MerchantProductView)))]
async fn add_sku(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<ProductId>,
    Json(body): Json<SkuBody>,
) -> ApiResult<(StatusCode, JsonBody<MerchantProductView>)> {
    let product = state.app.add_sku(&staff, id, body.into_sku()?).await?;
    Ok((StatusCode::CREATED, JsonBody(product.into())))
}

/// Offers a product (上架), if nothing is missing. Repeating it changes nothing.
#[utoipa::path(post, path = "/api/v1/merchant/products/{id}/publish", tag = "catalog", security(("bearer" = [])),
    params(("id" = String, Path, description = "Product")), responses((status = 200, body = MerchantProductView)))]
async fn publish_product(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<ProductId>,
) -> ApiResult<JsonBody<MerchantProductView>> {
    Ok(JsonBody(state.app.publish_product(&staff, id).await?.into()))
}

/// Takes a product back (下架). Vouchers that were sold stay good. Repeating it changes nothing.
#[utoipa::path(post, path = "/api/v1/merchant/products/{id}/delist", tag = "catalog", security(("bearer" = [])),
    params(("id" = String, Path, description = "Product")), responses((status = 200, body = MerchantProductView)))]
async fn delist_product(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<ProductId>,
) -> ApiResult<JsonBody<MerchantProductView>> {
    Ok(JsonBody(state.app.delist_product(&staff, id).await?.into()))
}

/// Edits a SKU: price, limits, rule. Vouchers that were sold keep the rule they were sold with.
#[utoipa::path(patch, path = "/api/v1/merchant/skus/{id}", tag = "catalog", request_body = SkuPatchBody,
    security(("bearer" = [])), params(("id" = String, Path, description = "SKU")),
    responses((status = 200, body = MerchantProductView)))]
async fn edit_sku(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<SkuId>,
    Json(body): Json<SkuPatchBody>,
) -> ApiResult<JsonBody<MerchantProductView>> {
    Ok(JsonBody(state.app.edit_sku(&staff, id, body.into_patch()?).await?.into()))
}
