//! What single stores do differently with a product: a SKU taken off, another price.

use std::collections::HashMap;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_core::id::{ProductId, SkuId, StoreId};
use hexiao_core::money::Money;
use hexiao_core::reason::Reason;
use hexiao_db::catalog::{self, Listing};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::input::present;
use super::may_read;
use crate::cursor::{List, PageQuery};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_listings, set_listings))
}

/// A store and what it does differently.
#[derive(Serialize, ToSchema)]
struct StoreListings {
    #[schema(value_type = String)]
    store_id: StoreId,
    store_name: String,
    /// SKUs without an entry are offered at their own price.
    overrides: Vec<ListingView>,
}

#[derive(Serialize, ToSchema)]
struct ListingView {
    #[schema(value_type = String)]
    sku_id: SkuId,
    listed: bool,
    /// Null = the SKU's price.
    #[schema(value_type = Option<i64>, required)]
    price_fen: Option<Money>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ListingsBody {
    /// 1–2000. Stores and SKUs that are not named stay as they are.
    items: Vec<ListingBody>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ListingBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    #[schema(value_type = String)]
    sku_id: SkuId,
    listed: bool,
    /// Null = the SKU's price.
    #[serde(deserialize_with = "present")]
    #[schema(required)]
    price_fen: Option<i64>,
}

/// The stores that sell a product, each with what it does differently.
#[utoipa::path(get, path = "/api/v1/merchant/products/{id}/listings", tag = "catalog", security(("bearer" = [])),
    params(("id" = String, Path, description = "Product"), PageQuery), responses((status = 200, body = List<StoreListings>)))]
async fn list_listings(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<ProductId>,
    Query(query): Query<PageQuery>,
) -> ApiResult<JsonBody<List<StoreListings>>> {
    may_read(&staff)?;
    let page = query.request()?;
    let reader = state.app.db.reader();
    catalog::get(reader, &staff.scope, id).await?.ok_or(Reason::NotFound)?;
    let stores = catalog::listing_stores(reader, &staff.scope, id, &page).await?;
    let ids: Vec<StoreId> = stores.items.iter().map(|s| s.id).collect();
    let mut overrides: HashMap<StoreId, Vec<ListingView>> = HashMap::new();
    for l in catalog::listings(reader, staff.merchant(), id, &ids).await? {
        let view = ListingView { sku_id: l.sku_id, listed: l.listed, price_fen: l.price };
        overrides.entry(l.store_id).or_default().push(view);
    }
    Ok(JsonBody(List::of(stores, |store| StoreListings {
        overrides: overrides.remove(&store.id).unwrap_or_default(),
        store_id: store.id,
        store_name: store.name,
    })))
}

/// Sets what stores do differently.
#[utoipa::path(put, path = "/api/v1/merchant/products/{id}/listings", tag = "catalog", request_body = ListingsBody,
    security(("bearer" = [])), params(("id" = String, Path, description = "Product")), responses((status = 204)))]
async fn set_listings(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<ProductId>,
    Json(body): Json<ListingsBody>,
) -> ApiResult<StatusCode> {
    let listing = |l: ListingBody| Listing {
        store_id: l.store_id,
        sku_id: l.sku_id,
        listed: l.listed,
        price: l.price_fen.map(Money::fen),
    };
    let listings: Vec<Listing> = body.items.into_iter().map(listing).collect();
    state.app.set_listings(&staff, id, &listings).await?;
    Ok(StatusCode::NO_CONTENT)
}
