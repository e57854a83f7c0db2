//! What customers find: stores in use of merchants in use, of every merchant; no scope, because they are public.

use std::ops::ControlFlow;

use hexiao_core::geo::LatLng;
use hexiao_core::id::{ProductId, StoreId};

use super::filter::Filter;
use super::{Store, place};
use crate::pool::{Conn, Result};
use crate::row::{FromRow, Param as _, Row};
use crate::sql::{id_set, in_ids};
use crate::{params, sql};

/// How far the search for near stores reaches, step by step; after the last one, everywhere.
const RADII_M: [u32; 4] = [5_000, 20_000, 100_000, 500_000];
/// The most stores one step of a search weighs; the nearest in degrees when there are more.
const MAX_CANDIDATES: i64 = 20_000;
/// The most cities listed.
const MAX_CITIES: i64 = 1_000;

/// What customers narrow stores to.
#[derive(Debug, Clone, Default)]
pub struct PublicFilter {
    /// Part of the name or address.
    pub q: Option<String>,
    /// The city.
    pub city: Option<String>,
    /// Stores that sell this product.
    pub product_id: Option<ProductId>,
}

impl PublicFilter {
    fn conditions(&self, c: &impl Conn, values: Vec<sea_orm::Value>) -> Filter {
        let mut filter = Filter::new(values);
        filter.shown_to_customers();
        if let Some(q) = &self.q {
            filter.contains_text(c, &["s.name", "s.address"], q);
        }
        if let Some(city) = &self.city {
            filter.city(city);
        }
        if let Some(product) = self.product_id {
            filter.sells(product);
        }
        filter
    }
}

/// Where a store stands in a search by distance: nearer first, then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Metres from the point asked.
    pub distance_m: i64,
    /// The store.
    pub id: StoreId,
}

struct Candidate {
    id: StoreId,
    place: LatLng,
}

impl FromRow for Candidate {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { id: row.get("id")?, place: place(row)? })
    }
}

/// A store as any customer sees it.
pub async fn get_for_customer(c: &impl Conn, id: StoreId) -> Result<Option<Store>> {
    let filter = PublicFilter::default().conditions(c, params![id]);
    sql::find(c, &format!("SELECT s.* FROM stores s WHERE s.id = $1 {}", filter.text), filter.values).await
}

/// The next stores by distance after a place in the search, with their distance, and whether there are more.
///
/// The box around the point grows until it holds enough: an index answers it, and most searches end in the first.
pub async fn near(
    c: &impl Conn,
    point: LatLng,
    filter: &PublicFilter,
    after: Option<Place>,
    limit: u32,
) -> Result<(Vec<(Store, Place)>, bool)> {
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let from = after.map_or(0, |a| a.distance_m);
    let mut found = Vec::new();
    for radius_m in RADII_M.into_iter().map(Some).chain([None]) {
        if radius_m.is_some_and(|r| i64::from(r) < from) {
            continue;
        }
        let candidates = candidates(c, point, radius_m, filter).await?;
        if let ControlFlow::Break(places) = pick(&candidates, point, radius_m, after, wanted) {
            found = places;
            break;
        }
    }
    let more = found.len() == wanted;
    found.truncate(wanted - 1);
    Ok((load(c, found).await?, more))
}

async fn candidates(
    c: &impl Conn,
    point: LatLng,
    radius_m: Option<u32>,
    filter: &PublicFilter,
) -> Result<Vec<Candidate>> {
    // A degree of longitude is shorter than one of latitude; only the order of what MAX_CANDIDATES cuts off needs it.
    let shrink = point.lat().to_radians().cos();
    let mut within = filter.conditions(c, params![point.lat(), point.lng(), shrink, MAX_CANDIDATES]);
    if let Some(radius_m) = radius_m {
        let edges = point.bounding_box(radius_m);
        let edges = [edges.min_lat, edges.max_lat, edges.min_lng, edges.max_lng];
        let [south, north, west, east] = edges.map(|edge| within.bind(edge.value()));
        within.and(&format!("s.lat BETWEEN ${south} AND ${north} AND s.lng BETWEEN ${west} AND ${east}"));
    }
    let text = format!(
        "SELECT s.id, s.lat, s.lng FROM stores s WHERE 1 = 1 {}
         ORDER BY (s.lat - $1) * (s.lat - $1) + (s.lng - $2) * $3 * (s.lng - $2) * $3, s.id LIMIT $4",
        within.text
    );
    sql::list(c, &text, within.values).await
}

/// The next places in order; `Continue` when a larger radius may hold nearer ones than those missing.
fn pick(
    candidates: &[Candidate],
    point: LatLng,
    radius_m: Option<u32>,
    after: Option<Place>,
    wanted: usize,
) -> ControlFlow<Vec<Place>> {
    let placed = candidates.iter().map(|s| Place { distance_m: point.distance_m(s.place), id: s.id });
    // The corners of the box are farther than the radius: stores outside the box may be nearer than those there.
    let inside = placed.filter(|place| radius_m.is_none_or(|r| place.distance_m <= i64::from(r)));
    let mut found: Vec<Place> = inside.filter(|place| after.is_none_or(|a| *place > a)).collect();
    if radius_m.is_some() && found.len() < wanted {
        return ControlFlow::Continue(());
    }
    found.sort_unstable();
    found.truncate(wanted);
    ControlFlow::Break(found)
}

async fn load(c: &impl Conn, found: Vec<Place>) -> Result<Vec<(Store, Place)>> {
    let ids: Vec<StoreId> = found.iter().map(|place| place.id).collect();
    let text = format!("SELECT s.* FROM stores s WHERE s.id {}", in_ids(c, 1));
    let mut stores: Vec<Store> = sql::list(c, &text, vec![id_set(&ids)]).await?;
    let take = |place: Place| {
        let index = stores.iter().position(|store| store.id == place.id)?;
        Some((stores.swap_remove(index), place))
    };
    Ok(found.into_iter().filter_map(take).collect())
}

/// The next stores by city and name after a store of the list, and whether there are more: for customers who do not
/// tell where they are.
pub async fn by_name(
    c: &impl Conn,
    filter: &PublicFilter,
    after: Option<StoreId>,
    limit: u32,
) -> Result<(Vec<Store>, bool)> {
    let mut within = filter.conditions(c, params![i64::from(limit) + 1]);
    if let Some(after) = after {
        let n = within.bind(after.value());
        within.and(&format!(
            "(s.city, s.name, s.id) > (SELECT a.city, a.name, a.id FROM stores a WHERE a.id = ${n})"
        ));
    }
    let text = format!(
        "SELECT s.* FROM stores s WHERE 1 = 1 {} ORDER BY s.city, s.name, s.id LIMIT $1",
        within.text
    );
    let mut items: Vec<Store> = sql::list(c, &text, within.values).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    Ok((items, more))
}

/// The cities that have stores, with how many, most first.
pub async fn cities(c: &impl Conn) -> Result<Vec<(String, i64)>> {
    let filter = PublicFilter::default().conditions(c, params![MAX_CITIES]);
    let text = format!(
        "SELECT s.city, COUNT(*) AS stores FROM stores s WHERE s.city <> '' {}
         GROUP BY s.city ORDER BY COUNT(*) DESC, s.city LIMIT $1",
        filter.text
    );
    let rows = sql::rows(c, &text, filter.values).await?;
    rows.iter().map(|r| Ok((r.get("city")?, r.get("stores")?))).collect()
}

#[cfg(test)]
mod tests {
    use hexiao_core::id::Id as _;
    use uuid::Uuid;

    use super::*;

    fn candidate(n: u128, lng: f64) -> Candidate {
        Candidate { id: id(n), place: LatLng::new(0.0, lng).unwrap() }
    }

    fn id(n: u128) -> StoreId {
        StoreId::from_uuid(Uuid::from_u128(n))
    }

    fn ids(found: ControlFlow<Vec<Place>>) -> Option<Vec<u128>> {
        match found {
            ControlFlow::Break(found) => Some(found.into_iter().map(|p| p.id.uuid().as_u128()).collect()),
            ControlFlow::Continue(()) => None,
        }
    }

    /// A thousandth of a degree is 111 m at the equator.
    #[test]
    fn nearest_first_then_by_id_and_on_from_a_place() {
        let point = LatLng::new(0.0, 0.0).unwrap();
        let stores = [candidate(4, 0.002), candidate(3, 0.001), candidate(2, -0.001), candidate(1, 0.003)];
        assert_eq!(ids(pick(&stores, point, Some(5_000), None, 4)), Some(vec![2, 3, 4, 1]));
        assert_eq!(ids(pick(&stores, point, Some(5_000), None, 3)), Some(vec![2, 3, 4]));
        let after = Place { distance_m: 111, id: id(2) };
        assert_eq!(ids(pick(&stores, point, None, Some(after), 9)), Some(vec![3, 4, 1]));
        let last = Place { distance_m: 334, id: id(1) };
        assert_eq!(ids(pick(&stores, point, None, Some(last), 9)), Some(vec![]));
    }

    #[test]
    fn the_radius_grows_until_there_are_enough() {
        let point = LatLng::new(0.0, 0.0).unwrap();
        let stores = [candidate(1, 0.001), candidate(2, 0.1)];
        assert_eq!(ids(pick(&stores, point, Some(5_000), None, 1)), Some(vec![1]));
        assert_eq!(ids(pick(&stores, point, Some(5_000), None, 2)), None, "the second is 11 km away");
        assert_eq!(ids(pick(&stores, point, Some(20_000), None, 2)), Some(vec![1, 2]));
    }
}
