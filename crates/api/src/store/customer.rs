//! Finding stores: near a point, or by city and name. Public: nobody has to sign in to look around.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_core::geo::{GeoError, LatLng};
use hexiao_core::id::{Id as _, MerchantId, ProductId, StoreId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::time::Timestamp;
use hexiao_db::stores::{self, Place, PublicFilter, Store};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{CityName, HoursView, OpeningView, Words, typed};
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Path, Query};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(find_stores))
        .routes(routes!(store_for_customer))
        .routes(routes!(store_cities))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StoresQuery {
    /// Degrees north, GCJ-02; with `lng`, stores come nearest first.
    #[param(minimum = -90, maximum = 90)]
    lat: Option<f64>,
    /// Degrees east, GCJ-02.
    #[param(minimum = -180, maximum = 180)]
    lng: Option<f64>,
    /// With or without 市.
    #[param(value_type = Option<String>, max_length = 30)]
    city: Option<CityName>,
    /// Part of the name or address.
    #[param(value_type = Option<String>, max_length = 50)]
    q: Option<Words>,
    /// Only stores that sell this product.
    #[param(value_type = Option<String>)]
    product_id: Option<ProductId>,
    /// Where the page begins: `next_cursor` of the page before, with the same other parameters.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
struct StoreItem {
    #[schema(value_type = String)]
    id: StoreId,
    #[schema(value_type = String)]
    merchant_id: MerchantId,
    name: String,
    address: String,
    city: String,
    lat: f64,
    lng: f64,
    /// Metres from the point asked; null without one.
    #[schema(required)]
    distance_m: Option<i64>,
    #[serde(flatten)]
    opening: OpeningView,
    /// Closed for now by its staff, whatever its hours say.
    resting: bool,
    phone: String,
    photos: Vec<String>,
    tags: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct StoreDetail {
    #[serde(flatten)]
    item: StoreItem,
    #[serde(flatten)]
    hours: HoursView,
    description: String,
    /// Of five; null until customers have rated it.
    #[schema(required)]
    rating: Option<f64>,
}

#[derive(Serialize, ToSchema)]
struct CityView {
    city: String,
    /// How many stores.
    stores: i64,
}

impl StoreItem {
    fn of(store: Store, distance_m: Option<i64>, now: Timestamp) -> Self {
        Self {
            opening: OpeningView::of(&store, now),
            id: store.id,
            merchant_id: store.merchant_id,
            name: store.name,
            address: store.address,
            city: store.city,
            lat: store.place.lat(),
            lng: store.place.lng(),
            distance_m,
            resting: store.resting,
            phone: store.phone,
            photos: store.photos,
            tags: store.tags,
        }
    }
}

/// Stores near a point, or by city and name.
#[utoipa::path(get, path = "/api/v1/customer/stores", tag = "store", params(StoresQuery),
    responses((status = 200, body = List<StoreItem>)))]
async fn find_stores(
    State(state): State<ApiState>,
    Query(query): Query<StoresQuery>,
) -> ApiResult<JsonBody<List<StoreItem>>> {
    let (reader, now) = (state.app.db.reader(), state.app.now());
    let point = point(query.lat, query.lng)?;
    let limit = page_request(None, query.limit)?.limit;
    let filter = PublicFilter { q: typed(query.q), city: typed(query.city), product_id: query.product_id };
    let cursor = query.cursor.as_deref();
    let page = if let Some(point) = point {
        let (found, more) =
            stores::near(reader, point, &filter, cursor.map(parse_place).transpose()?, limit).await?;
        let next_cursor = found.last().filter(|_| more).map(|(_, place)| format_place(place));
        List {
            items: found.into_iter().map(|(s, p)| StoreItem::of(s, Some(p.distance_m), now)).collect(),
            next_cursor,
        }
    } else {
        let (found, more) =
            stores::by_name(reader, &filter, cursor.map(parse_id).transpose()?, limit).await?;
        let next_cursor = found.last().filter(|_| more).map(|s| s.id.to_string());
        List { items: found.into_iter().map(|s| StoreItem::of(s, None, now)).collect(), next_cursor }
    };
    Ok(JsonBody(page))
}

fn point(lat: Option<f64>, lng: Option<f64>) -> Result<Option<LatLng>, Refusal> {
    match (lat, lng) {
        (None, None) => Ok(None),
        (Some(lat), Some(lng)) => LatLng::new(lat, lng).map(Some).map_err(|e| match e {
            GeoError::Latitude => Refusal::field("lat", e.to_string()),
            GeoError::Longitude => Refusal::field("lng", e.to_string()),
        }),
        (Some(_), None) => Err(Refusal::field("lng", "经度和纬度应一起给出")),
        (None, Some(_)) => Err(Refusal::field("lat", "经度和纬度应一起给出")),
    }
}

fn format_place(place: &Place) -> String {
    format!("{:x}.{}", place.distance_m, place.id)
}

fn parse_place(text: &str) -> Result<Place, Reason> {
    let (distance, id) = text.split_once('.').ok_or(Reason::InvalidCursor)?;
    let distance_m = i64::from_str_radix(distance, 16).map_err(|_| Reason::InvalidCursor)?;
    Ok(Place { distance_m, id: parse_id(id)? })
}

fn parse_id(text: &str) -> Result<StoreId, Reason> {
    StoreId::parse(text).map_err(|_| Reason::InvalidCursor)
}

/// One store.
#[utoipa::path(get, path = "/api/v1/customer/stores/{id}", tag = "store", params(("id" = String, Path)),
    responses((status = 200, body = StoreDetail)))]
async fn store_for_customer(
    State(state): State<ApiState>,
    Path(id): Path<StoreId>,
) -> ApiResult<JsonBody<StoreDetail>> {
    let store = stores::get_for_customer(state.app.db.reader(), id).await?.ok_or(Reason::NotFound)?;
    Ok(JsonBody(StoreDetail {
        hours: HoursView::from(&store.hours),
        description: store.description.clone(),
        item: StoreItem::of(store, None, state.app.now()),
        rating: None,
    }))
}

/// The cities that have stores, most stores first.
#[utoipa::path(get, path = "/api/v1/customer/cities", tag = "store", responses((status = 200, body = List<CityView>)))]
async fn store_cities(State(state): State<ApiState>) -> ApiResult<JsonBody<List<CityView>>> {
    let cities = stores::cities(state.app.db.reader()).await?;
    Ok(JsonBody(List::complete(cities.into_iter().map(|(city, stores)| CityView { city, stores }).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_garbage_is_refused() {
        let place = Place { distance_m: 12_345, id: StoreId::from_uuid(uuid::Uuid::from_u128(7)) };
        assert_eq!(parse_place(&format_place(&place)).unwrap(), place);
        for bad in [
            "",
            ".",
            "3039",
            "3039.",
            "zz.str_00000000000000000000000007",
            "1.ord_00000000000000000000000007",
        ] {
            assert!(parse_place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_point_has_both_coordinates() {
        let path = |refusal: Refusal| refusal.fields[0].path.clone();
        assert_eq!(point(None, None).unwrap(), None);
        assert!(point(Some(31.2), Some(121.5)).unwrap().is_some());
        assert_eq!(path(point(Some(31.2), None).unwrap_err()), "lng");
        assert_eq!(path(point(None, Some(121.5)).unwrap_err()), "lat");
        assert_eq!(path(point(Some(121.5), Some(31.2)).unwrap_err()), "lat");
    }
}
