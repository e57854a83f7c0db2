//! What a store does differently from headquarters: a SKU taken off, another price.

use hexiao_core::id::{ProductId, SkuId, StoreId};
use hexiao_core::money::Money;
use hexiao_core::scope::{MerchantScope, StoreScope};
use hexiao_core::time::Timestamp;

use super::products::only;
use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::sql::{self, id_set, in_ids};
use crate::{new_row, params};

/// A store's override for one SKU.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The store.
    pub store_id: StoreId,
    /// The SKU.
    pub sku_id: SkuId,
    /// Whether the store offers it.
    pub listed: bool,
    /// The store's price; none = the SKU's.
    pub price: Option<Money>,
}

impl FromRow for Listing {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            store_id: row.get("store_id")?,
            sku_id: row.get("sku_id")?,
            listed: row.get("listed")?,
            price: row.get("price_fen")?,
        })
    }
}

/// A store that sells a product.
#[derive(Debug, Clone)]
pub struct ListingStore {
    /// The store.
    pub id: StoreId,
    /// Its name.
    pub name: String,
    created_at: Timestamp,
}

impl FromRow for ListingStore {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { id: row.get("id")?, name: row.get("name")?, created_at: row.get("created_at")? })
    }
}

/// The stores in scope that sell a product, newest first.
pub async fn listing_stores(
    c: &impl Conn,
    scope: &StoreScope,
    product_id: ProductId,
    page: &PageRequest,
) -> Result<Page<ListingStore>> {
    let (at, id) = page.bounds();
    let mut values = params![scope.merchant_id(), at, id, page.fetch(), product_id];
    let within = only(scope).map_or(String::new(), |ids| {
        values.push(id_set(ids));
        format!("AND s.id {}", in_ids(c, values.len()))
    });
    let text = format!(
        "SELECT s.id, s.name, s.created_at FROM stores s
         JOIN products p ON p.merchant_id = s.merchant_id AND p.id = $5
         LEFT JOIN product_stores ps
            ON ps.merchant_id = s.merchant_id AND ps.product_id = p.id AND ps.store_id = s.id
         WHERE s.merchant_id = $1 AND (s.created_at < $2 OR (s.created_at = $2 AND s.id < $3))
            AND s.state <> 'Removed' AND (p.all_stores <> (ps.store_id IS NOT NULL)) {within}
         ORDER BY s.created_at DESC, s.id DESC LIMIT $4"
    );
    let items = sql::list::<ListingStore>(c, &text, values).await?;
    Ok(Page::new(items, page, |s| Cursor { at: s.created_at, id: s.id.into() }))
}

/// What some stores do differently with a product's SKUs.
pub async fn listings(
    c: &impl Conn,
    merchant: MerchantScope,
    product_id: ProductId,
    stores: &[StoreId],
) -> Result<Vec<Listing>> {
    let text = format!(
        "SELECT l.* FROM store_listings l JOIN skus k ON k.merchant_id = l.merchant_id AND k.id = l.sku_id
         WHERE l.merchant_id = $1 AND k.product_id = $2 AND l.store_id {} ORDER BY l.store_id, k.sort, k.id",
        in_ids(c, 3)
    );
    let mut values = params![merchant.merchant_id(), product_id];
    values.push(id_set(stores));
    sql::list(c, &text, values).await
}

/// Writes overrides; a store and SKU must not occur twice.
pub async fn upsert_listings(
    tx: &Tx,
    merchant: MerchantScope,
    listings: &[Listing],
    now: Timestamp,
) -> Result<()> {
    let row = |l: &Listing| {
        new_row! {
            merchant_id: merchant.merchant_id(), store_id: l.store_id, sku_id: l.sku_id, listed: l.listed,
            price_fen: l.price, updated_at: now,
        }
    };
    let conflict = "ON CONFLICT (merchant_id, store_id, sku_id)
        DO UPDATE SET listed = excluded.listed, price_fen = excluded.price_fen, updated_at = excluded.updated_at";
    sql::insert_with(tx, "store_listings", listings.iter().map(row).collect(), conflict).await.map(|_| ())
}
