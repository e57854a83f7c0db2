//! Stores for headquarters, and for store managers narrowed to their own.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use chrono_tz::Tz;
use hexiao_app::merchant::{NewStore, StoreEdit};
use hexiao_core::catalog::ReviewState;
use hexiao_core::hours::{Exception, Span};
use hexiao_core::id::StoreId;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::time::Timestamp;
use hexiao_db::stores::{self, Store, StoreFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    CityName, ExceptionView, HoursView, OpeningView, Picture, SpanView, Words, pictures, tags, typed,
};
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::fields::{Line, Paragraphs, StorePhone};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_stores, create_store)).routes(routes!(get_store, edit_store))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StoresQuery {
    /// Part of the name or address.
    #[param(value_type = Option<String>, max_length = 50)]
    q: Option<Words>,
    /// With or without 市.
    #[param(value_type = Option<String>, max_length = 30)]
    city: Option<CityName>,
    /// Only those that rest, or only those that do not.
    resting: Option<bool>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewStoreBody {
    name: Line<1, 50>,
    /// Taken from the address when not given.
    city: Option<Line<1, 30>>,
    address: Line<1, 200>,
    /// Degrees north, GCJ-02.
    #[schema(minimum = -90, maximum = 90)]
    lat: f64,
    /// Degrees east, GCJ-02.
    #[schema(minimum = -180, maximum = 180)]
    lng: f64,
    phone: StorePhone,
    description: Option<Paragraphs<2000>>,
    /// The weekly spans, at most 50, without overlaps.
    #[schema(value_type = Vec<SpanView>)]
    hours: Vec<Span>,
    /// At most 100.
    #[schema(value_type = Option<Vec<ExceptionView>>)]
    exceptions: Option<Vec<Exception>>,
    /// At most 20.
    photos: Option<Vec<Picture>>,
    /// At most 20.
    tags: Option<Vec<Line<1, 20>>>,
    /// The merchant's when not given.
    #[schema(value_type = Option<String>, example = "Asia/Shanghai")]
    zone: Option<Tz>,
    /// The hour at which a business day ends; the merchant's when not given.
    #[schema(minimum = 0, maximum = 23)]
    cutoff_hour: Option<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StoreEditBody {
    /// The version that was edited: another one by now refuses the edit.
    version: Option<i64>,
    name: Option<Line<1, 50>>,
    city: Option<CityName>,
    address: Option<Line<1, 200>>,
    #[schema(minimum = -90, maximum = 90)]
    lat: Option<f64>,
    #[schema(minimum = -180, maximum = 180)]
    lng: Option<f64>,
    phone: Option<StorePhone>,
    description: Option<Paragraphs<2000>>,
    #[schema(value_type = Option<Vec<SpanView>>)]
    hours: Option<Vec<Span>>,
    #[schema(value_type = Option<Vec<ExceptionView>>)]
    exceptions: Option<Vec<Exception>>,
    photos: Option<Vec<Picture>>,
    tags: Option<Vec<Line<1, 20>>>,
    resting: Option<bool>,
    #[schema(value_type = Option<String>, example = "Asia/Shanghai")]
    zone: Option<Tz>,
    #[schema(minimum = 0, maximum = 23)]
    cutoff_hour: Option<u32>,
}

#[derive(Serialize, ToSchema)]
struct MerchantStore {
    #[schema(value_type = String)]
    id: StoreId,
    name: String,
    #[schema(value_type = String)]
    state: ReviewState,
    city: String,
    address: String,
    lat: f64,
    lng: f64,
    phone: String,
    description: String,
    #[serde(flatten)]
    hours: HoursView,
    #[serde(flatten)]
    opening: OpeningView,
    photos: Vec<String>,
    tags: Vec<String>,
    resting: bool,
    zone: &'static str,
    cutoff_hour: u32,
    version: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl MerchantStore {
    fn of(store: Store, now: Timestamp) -> Self {
        Self {
            hours: HoursView::from(&store.hours),
            opening: OpeningView::of(&store, now),
            id: store.id,
            name: store.name,
            state: store.state,
            city: store.city,
            address: store.address,
            lat: store.place.lat(),
            lng: store.place.lng(),
            phone: store.phone,
            description: store.description,
            photos: store.photos,
            tags: store.tags,
            resting: store.resting,
            zone: store.business_day.zone.name(),
            cutoff_hour: store.business_day.cutoff_hour,
            version: store.version,
            created_at: store.created_at,
        }
    }
}

impl TryFrom<NewStoreBody> for NewStore {
    type Error = Refusal;

    fn try_from(body: NewStoreBody) -> Result<Self, Refusal> {
        Ok(Self {
            name: body.name.0,
            city: body.city.map(|c| c.0),
            address: body.address.0,
            lat: body.lat,
            lng: body.lng,
            phone: body.phone.0,
            description: body.description.map_or_else(String::new, |d| d.0),
            weekly: body.hours,
            exceptions: body.exceptions.unwrap_or_default(),
            photos: pictures(body.photos.unwrap_or_default())?,
            tags: tags(body.tags.unwrap_or_default())?,
            zone: body.zone,
            cutoff_hour: body.cutoff_hour,
        })
    }
}

impl TryFrom<StoreEditBody> for StoreEdit {
    type Error = Refusal;

    fn try_from(body: StoreEditBody) -> Result<Self, Refusal> {
        Ok(Self {
            version: body.version,
            name: body.name.map(|n| n.0),
            city: body.city.map(|c| c.0),
            address: body.address.map(|a| a.0),
            lat: body.lat,
            lng: body.lng,
            phone: body.phone.map(|p| p.0),
            description: body.description.map(|d| d.0),
            weekly: body.hours,
            exceptions: body.exceptions,
            photos: body.photos.map(pictures).transpose()?,
            tags: body.tags.map(tags).transpose()?,
            resting: body.resting,
            zone: body.zone,
            cutoff_hour: body.cutoff_hour,
        })
    }
}

/// The stores of the caller's scope, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/stores", tag = "store", params(StoresQuery), security(("bearer" = [])),
    responses((status = 200, body = List<MerchantStore>)))]
async fn list_stores(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<StoresQuery>,
) -> ApiResult<JsonBody<List<MerchantStore>>> {
    let page = page_request(query.cursor.as_deref(), query.limit)?;
    let filter = StoreFilter { q: typed(query.q), city: typed(query.city), resting: query.resting };
    let found = stores::list(state.app.db.reader(), &staff.scope, &filter, &page).await?;
    let now = state.app.now();
    Ok(JsonBody(List::of(found, |store| MerchantStore::of(store, now))))
}

/// Creates a store.
#[utoipa::path(post, path = "/api/v1/merchant/stores", tag = "store", request_body = NewStoreBody,
    security(("bearer" = [])), responses((status = 201, body = MerchantStore)))]
async fn create_store(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Json(body): Json<NewStoreBody>,
) -> ApiResult<(StatusCode, JsonBody<MerchantStore>)> {
    let store = state.app.create_store(&staff, body.try_into()?).await?;
    Ok((StatusCode::CREATED, JsonBody(MerchantStore::of(store, state.app.now()))))
}

/// One store.
#[utoipa::path(get, path = "/api/v1/merchant/stores/{id}", tag = "store", params(("id" = String, Path)),
    security(("bearer" = [])), responses((status = 200, body = MerchantStore)))]
async fn get_store(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<StoreId>,
) -> ApiResult<JsonBody<MerchantStore>> {
    let store = stores::get(state.app.db.reader(), &staff.scope, id).await?.ok_or(Reason::NotFound)?;
    Ok(JsonBody(MerchantStore::of(store, state.app.now())))
}

/// Edits a store: what is not given stays.
#[utoipa::path(patch, path = "/api/v1/merchant/stores/{id}", tag = "store", params(("id" = String, Path)),
    request_body = StoreEditBody, security(("bearer" = [])), responses((status = 200, body = MerchantStore)))]
async fn edit_store(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<StoreId>,
    Json(body): Json<StoreEditBody>,
) -> ApiResult<JsonBody<MerchantStore>> {
    let store = state.app.edit_store(&staff, id, body.try_into()?).await?;
    Ok(JsonBody(MerchantStore::of(store, state.app.now())))
}
