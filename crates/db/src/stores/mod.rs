//! Stores: what staff write and read within their scope. What customers find is in `public`.

mod filter;
mod nearest;
mod public;

use hexiao_core::catalog::ReviewState;
use hexiao_core::geo::LatLng;
use hexiao_core::hours::OpeningHours;
use hexiao_core::id::{MerchantId, StoreId};
use hexiao_core::scope::{MerchantScope, StoreScope, Stores};
use hexiao_core::time::{BusinessDay, Timestamp};

use crate::merchants::business_day;
use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, DbError, Result, Tx};
use crate::row::{FromRow, Param as _, Row, json_text};
use crate::sql::{for_update, id_set, in_ids};
use crate::{new_row, params, sql};
use filter::Filter;

pub use nearest::{get_of_merchant, nearest};
pub use public::{Place, PublicFilter, by_name, cities, get_for_customer, near};

/// A store.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: StoreId,
    /// Its name.
    pub name: String,
    /// Review and life.
    pub state: ReviewState,
    /// Where customers look for it by hand; empty when nobody said and the address does not tell.
    pub city: String,
    /// Street and number.
    pub address: String,
    /// Where it is, GCJ-02.
    pub place: LatLng,
    /// What customers call, in the canonical form of [`hexiao_core::text::StorePhone`].
    pub phone: String,
    /// What customers read about it.
    pub description: String,
    /// When it is open.
    pub hours: OpeningHours,
    /// Addresses of its pictures.
    pub photos: Vec<String>,
    /// What it is known for.
    pub tags: Vec<String>,
    /// Closed for now by its staff, whatever the hours say.
    pub resting: bool,
    /// Zone and cut-off hour.
    pub business_day: BusinessDay,
    /// For optimistic editing.
    pub version: i64,
    /// Since when.
    pub created_at: Timestamp,
}

impl FromRow for Store {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            name: row.get("name")?,
            state: row.get("state")?,
            city: row.get("city")?,
            address: row.get("address")?,
            place: place(row)?,
            phone: row.get("phone")?,
            description: row.get("description")?,
            hours: row.json("hours")?,
            photos: row.json("photos")?,
            tags: row.json("tags")?,
            resting: row.get("resting")?,
            business_day: business_day(row)?,
            version: row.get("version")?,
            created_at: row.get("created_at")?,
        })
    }
}

fn place(row: &Row) -> Result<LatLng> {
    LatLng::new(row.get("lat")?, row.get("lng")?)
        .map_err(|e| DbError::Corrupt { column: "lat, lng".to_owned(), detail: e.to_string() })
}

/// Adds a store.
pub async fn insert(tx: &Tx, store: &Store) -> Result<()> {
    let row = new_row! {
        merchant_id: store.merchant_id, id: store.id, name: &store.name, state: store.state, city: &store.city,
        address: &store.address, lat: store.place.lat(), lng: store.place.lng(), phone: &store.phone,
        description: &store.description, hours: json_text(&store.hours), photos: json_text(&store.photos),
        tags: json_text(&store.tags), resting: store.resting, zone: store.business_day.zone.name(),
        cutoff_hour: store.business_day.cutoff_hour, version: 1i64, created_at: store.created_at,
        updated_at: store.created_at,
    };
    sql::insert_one(tx, "stores", row).await
}

/// Writes what an edit may change; fails as stale when `store.version` is not the stored one.
pub async fn update(tx: &Tx, store: &Store, now: Timestamp) -> Result<()> {
    let text = "UPDATE stores SET name = $4, city = $5, address = $6, lat = $7, lng = $8, phone = $9,
                description = $10, hours = $11, photos = $12, tags = $13, resting = $14, zone = $15,
                cutoff_hour = $16, version = version + 1, updated_at = $17
                WHERE merchant_id = $1 AND id = $2 AND version = $3";
    let values = params![
        store.merchant_id,
        store.id,
        store.version,
        &store.name,
        &store.city,
        &store.address,
        store.place.lat(),
        store.place.lng(),
        &store.phone,
        &store.description,
        json_text(&store.hours),
        json_text(&store.photos),
        json_text(&store.tags),
        store.resting,
        store.business_day.zone.name(),
        store.business_day.cutoff_hour,
        now,
    ];
    sql::execute_exactly(tx, 1, "store version", text, values).await
}

/// A store of the scope.
pub async fn get(c: &impl Conn, scope: &StoreScope, id: StoreId) -> Result<Option<Store>> {
    find(c, scope, id, "").await
}

/// The same, locked.
pub async fn lock(tx: &Tx, scope: &StoreScope, id: StoreId) -> Result<Option<Store>> {
    find(tx, scope, id, &for_update(tx, "s")).await
}

async fn find(c: &impl Conn, scope: &StoreScope, id: StoreId, suffix: &str) -> Result<Option<Store>> {
    if !scope.contains(id) {
        return Ok(None);
    }
    let text = format!("SELECT * FROM stores s WHERE merchant_id = $1 AND id = $2{suffix}");
    sql::find(c, &text, params![scope.merchant_id(), id]).await
}

/// What a list of stores for staff is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct StoreFilter {
    /// Part of the name or address.
    pub q: Option<String>,
    /// The city.
    pub city: Option<String>,
    /// Only those that rest, or only those that do not.
    pub resting: Option<bool>,
}

/// The stores of the scope, newest first.
pub async fn list(
    c: &impl Conn,
    scope: &StoreScope,
    filter: &StoreFilter,
    page: &PageRequest,
) -> Result<Page<Store>> {
    let (at, id) = page.bounds();
    let mut within = Filter::new(params![scope.merchant_id(), at, id, page.fetch()]);
    if let Stores::Only(ids) = scope.stores() {
        let n = within.bind(id_set(ids));
        within.and(&format!("s.id {}", in_ids(c, n)));
    }
    if let Some(q) = &filter.q {
        within.contains_text(c, &["s.name", "s.address"], q);
    }
    if let Some(city) = &filter.city {
        within.city(city);
    }
    if let Some(resting) = filter.resting {
        let n = within.bind(resting.value());
        within.and(&format!("s.resting = ${n}"));
    }
    let text = format!(
        "SELECT s.* FROM stores s
         WHERE s.merchant_id = $1 AND (s.created_at < $2 OR (s.created_at = $2 AND s.id < $3)) {}
         ORDER BY s.created_at DESC, s.id DESC LIMIT $4",
        within.text
    );
    let items = sql::list::<Store>(c, &text, within.values).await?;
    Ok(Page::new(items, page, |s| Cursor { at: s.created_at, id: s.id.into() }))
}

/// The names of some stores of the merchant; ids it does not have are left out.
pub async fn names(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[StoreId],
) -> Result<Vec<(StoreId, String)>> {
    let text = format!(
        "SELECT id, name FROM stores WHERE merchant_id = $1 AND id {} ORDER BY name, id",
        in_ids(c, 2)
    );
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await?;
    rows.iter().map(|r| Ok((r.get("id")?, r.get("name")?))).collect()
}
