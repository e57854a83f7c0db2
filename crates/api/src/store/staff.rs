//! The store app's view: my stores, and resting one.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_app::merchant::StoreEdit;
use hexiao_core::id::StoreId;
use hexiao_core::reason::Reason;
use hexiao_core::time::Timestamp;
use hexiao_db::stores::{self, Store, StoreFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::OpeningView;
use crate::cursor::{List, PageQuery};
use crate::error::ApiResult;
use crate::extract::{Json, Query, Staff};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(my_stores)).routes(routes!(my_store, rest_store))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StoreQuery {
    #[param(value_type = String)]
    store_id: StoreId,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RestBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    /// Whether the store is closed for now.
    resting: bool,
}

#[derive(Serialize, ToSchema)]
struct MyStore {
    #[schema(value_type = String)]
    id: StoreId,
    name: String,
    city: String,
    address: String,
    phone: String,
    hours_text: String,
    #[serde(flatten)]
    opening: OpeningView,
    resting: bool,
}

impl MyStore {
    fn of(store: Store, now: Timestamp) -> Self {
        Self {
            hours_text: store.hours.describe(),
            opening: OpeningView::of(&store, now),
            id: store.id,
            name: store.name,
            city: store.city,
            address: store.address,
            phone: store.phone,
            resting: store.resting,
        }
    }
}

/// The stores I work for.
#[utoipa::path(get, path = "/api/v1/staff/stores", tag = "store", params(PageQuery), security(("bearer" = [])),
    responses((status = 200, body = List<MyStore>)))]
async fn my_stores(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<PageQuery>,
) -> ApiResult<JsonBody<List<MyStore>>> {
    let found =
        stores::list(state.app.db.reader(), &staff.scope, &StoreFilter::default(), &query.request()?).await?;
    let now = state.app.now();
    Ok(JsonBody(List::of(found, |store| MyStore::of(store, now))))
}

/// One of my stores.
#[utoipa::path(get, path = "/api/v1/staff/store", tag = "store", params(StoreQuery), security(("bearer" = [])),
    responses((status = 200, body = MyStore)))]
async fn my_store(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<StoreQuery>,
) -> ApiResult<JsonBody<MyStore>> {
    let store =
        stores::get(state.app.db.reader(), &staff.scope, query.store_id).await?.ok_or(Reason::NotFound)?;
    Ok(JsonBody(MyStore::of(store, state.app.now())))
}

/// Lets a store rest, or opens it again.
#[utoipa::path(patch, path = "/api/v1/staff/store", tag = "store", request_body = RestBody, security(("bearer" = [])),
    responses((status = 200, body = MyStore)))]
async fn rest_store(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Json(body): Json<RestBody>,
) -> ApiResult<JsonBody<MyStore>> {
    let edit = StoreEdit { resting: Some(body.resting), ..StoreEdit::default() };
    let store = state.app.edit_store(&staff, body.store_id, edit).await?;
    Ok(JsonBody(MyStore::of(store, state.app.now())))
}
