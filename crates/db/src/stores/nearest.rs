//! The nearest store at which a voucher can be used, for somebody who came to the wrong one.

use hexiao_core::geo::LatLng;
use hexiao_core::id::StoreId;
use hexiao_core::rule::StoreSet;
use hexiao_core::scope::MerchantScope;

use super::Store;
use super::filter::{Filter, in_use_states};
use crate::pool::{Conn, Result};
use crate::row::Param as _;
use crate::sql::{id_set, in_ids};
use crate::{params, sql};

/// How far the search reaches, step by step; the last one goes around the Earth.
const RADII_M: [u32; 4] = [5_000, 50_000, 500_000, 21_000_000];
/// The most stores that one step weighs.
const MAX_CANDIDATES: i64 = 20_000;

/// A store of the merchant, whoever asks.
pub async fn get_of_merchant(c: &impl Conn, merchant: MerchantScope, id: StoreId) -> Result<Option<Store>> {
    let text = "SELECT * FROM stores WHERE merchant_id = $1 AND id = $2";
    sql::find(c, text, params![merchant.merchant_id(), id]).await
}

/// The nearest of some stores that redeems now as far as its state goes, other than the one that asks, with its
/// distance in metres. Its hours are the caller's to look at.
pub async fn nearest(
    c: &impl Conn,
    merchant: MerchantScope,
    from: &Store,
    among: &StoreSet,
) -> Result<Option<(Store, i64)>> {
    for radius_m in RADII_M {
        let edges = from.place.bounding_box(radius_m);
        let mut filter = Filter::new(vec![merchant.merchant_id().value(), from.id.value()]);
        let edges = [edges.min_lat, edges.max_lat, edges.min_lng, edges.max_lng];
        let [south, north, west, east] = edges.map(|edge| filter.bind(edge.value()));
        filter.and(&format!("s.lat BETWEEN ${south} AND ${north} AND s.lng BETWEEN ${west} AND ${east}"));
        match among {
            StoreSet::All => {}
            StoreSet::Only(ids) => {
                let n = filter.bind(id_set(ids));
                filter.and(&format!("s.id {}", in_ids(c, n)));
            }
            StoreSet::Except(ids) => {
                let n = filter.bind(id_set(ids));
                filter.and(&format!("NOT (s.id {})", in_ids(c, n)));
            }
        }
        let limit = filter.bind(MAX_CANDIDATES.value());
        let text = format!(
            "SELECT s.id, s.lat, s.lng FROM stores s WHERE s.merchant_id = $1 AND s.id <> $2
             AND s.state IN ({}) AND NOT s.resting {} LIMIT ${limit}",
            in_use_states(),
            filter.text
        );
        let mut best: Option<(i64, StoreId)> = None;
        for row in sql::rows(c, &text, filter.values).await? {
            let place: LatLng = super::place(&row)?;
            let candidate = (from.place.distance_m(place), row.get("id")?);
            best = best.filter(|known| *known <= candidate).or(Some(candidate));
        }
        // The corners of the box are farther than its radius: outside it there may be a nearer one.
        if let Some((distance_m, id)) = best.filter(|(distance, _)| *distance <= i64::from(radius_m)) {
            return Ok(get_of_merchant(c, merchant, id).await?.map(|store| (store, distance_m)));
        }
    }
    Ok(None)
}
