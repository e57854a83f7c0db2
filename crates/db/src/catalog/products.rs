//! Products 商品, the stores that sell them, and categories: as the merchant sees them.

use hexiao_core::catalog::ProductState;
use hexiao_core::id::{ProductId, RecordId, StoreId};
use hexiao_core::money::Money;
use hexiao_core::order::Fulfilment;
use hexiao_core::rule::StoreSet;
use hexiao_core::scope::{MerchantScope, StoreScope, Stores};
use hexiao_core::time::Timestamp;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, DbError, Result, Tx};
use crate::row::{FromRow, Row, json_text};
use crate::sql::{self, for_update, id_set, in_ids};
use crate::{new_row, params};

/// A product without its SKUs.
#[derive(Debug, Clone)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Its name.
    pub name: String,
    /// Redeemed or delivered.
    pub kind: Fulfilment,
    /// Whether it is offered.
    pub state: ProductState,
    /// Its category.
    pub category_id: Option<RecordId>,
    /// Address of its picture; empty = none.
    pub cover: String,
    /// Addresses of further pictures.
    pub images: Vec<String>,
    /// Sanitised before it is written.
    pub description_html: String,
    /// Short words.
    pub tags: Vec<String>,
    /// Shown among the recommended.
    pub recommended: bool,
    /// Sold in all stores but those of `product_stores`, also in those that open later; otherwise only in those.
    pub all_stores: bool,
    /// Units sold.
    pub sold_count: i64,
    /// For optimistic editing.
    pub version: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Last edit.
    pub updated_at: Timestamp,
}

impl FromRow for Product {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            kind: row.get("kind")?,
            state: row.get("state")?,
            category_id: row.get("category_id")?,
            cover: row.get("cover")?,
            images: row.json("images")?,
            description_html: row.get("description_html")?,
            tags: row.json("tags")?,
            recommended: row.get("recommended")?,
            all_stores: row.get("all_stores")?,
            sold_count: row.get("sold_count")?,
            version: row.get("version")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

/// What a list shows of a product's SKUs.
#[derive(Debug, Clone)]
pub struct ProductSummary {
    /// The product.
    pub product_id: ProductId,
    /// Its active SKUs.
    pub active_skus: i64,
    /// The lowest price of them.
    pub from_price: Option<Money>,
}

/// What a merchant looks for.
#[derive(Debug, Clone, Default)]
pub struct ProductFilter {
    /// In this state.
    pub state: Option<ProductState>,
    /// In this category.
    pub category_id: Option<RecordId>,
    /// With these words in its name.
    pub q: Option<String>,
}

/// The pattern of `LIKE … ESCAPE '!'` for a text that contains these words, compared in lower case.
pub(super) fn like(words: &str) -> String {
    let mut out = String::from("%");
    for c in words.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            out.push('!');
        }
        out.push(c);
    }
    out.push('%');
    out
}

/// Adds a product and the stores that sell it.
pub async fn insert(tx: &Tx, merchant: MerchantScope, product: &Product, stores: &StoreSet) -> Result<()> {
    let row = new_row! {
        merchant_id: merchant.merchant_id(), id: product.id, name: &product.name, kind: product.kind,
        state: product.state, category_id: product.category_id, cover: &product.cover,
        images: json_text(&product.images), description_html: &product.description_html,
        tags: json_text(&product.tags), recommended: product.recommended, all_stores: product.all_stores,
        sold_count: 0i64, version: 1i64, created_at: product.created_at, updated_at: product.updated_at,
    };
    sql::insert_one(tx, "products", row).await?;
    set_stores(tx, merchant, product.id, stores).await
}

/// Writes what an edit may change; fails as stale when `product.version` is not the stored one.
pub async fn update(tx: &Tx, merchant: MerchantScope, product: &Product, now: Timestamp) -> Result<()> {
    let text =
        "UPDATE products SET name = $4, category_id = $5, cover = $6, images = $7, description_html = $8,
            tags = $9, recommended = $10, all_stores = $11, version = version + 1, updated_at = $12
        WHERE merchant_id = $1 AND id = $2 AND version = $3";
    let values = params![
        merchant.merchant_id(),
        product.id,
        product.version,
        &product.name,
        product.category_id,
        &product.cover,
        json_text(&product.images),
        &product.description_html,
        json_text(&product.tags),
        product.recommended,
        product.all_stores,
        now,
    ];
    sql::execute_exactly(tx, 1, "product version", text, values).await
}

/// Moves a product from the state it was read in to another.
pub async fn set_state(
    tx: &Tx,
    merchant: MerchantScope,
    product: &Product,
    state: ProductState,
    now: Timestamp,
) -> Result<()> {
    let text = "UPDATE products SET state = $4, version = version + 1, updated_at = $5
        WHERE merchant_id = $1 AND id = $2 AND state = $3";
    let values = params![merchant.merchant_id(), product.id, product.state, state, now];
    sql::execute_exactly(tx, 1, "product state", text, values).await
}

/// Replaces the list of stores that sell a product (`all_stores` is the product's own column).
pub async fn set_stores(
    tx: &Tx,
    merchant: MerchantScope,
    product_id: ProductId,
    stores: &StoreSet,
) -> Result<()> {
    let merchant_id = merchant.merchant_id();
    let text = "DELETE FROM product_stores WHERE merchant_id = $1 AND product_id = $2";
    sql::execute(tx, text, params![merchant_id, product_id]).await?;
    let row =
        |store: &StoreId| new_row! { merchant_id: merchant_id, product_id: product_id, store_id: *store };
    sql::insert(tx, "product_stores", stores.named().iter().map(row).collect()).await
}

/// The stores named for a product: those that sell it, or with `all_stores` those that don't.
pub async fn store_ids(
    c: &impl Conn,
    merchant: MerchantScope,
    product_id: ProductId,
) -> Result<Vec<StoreId>> {
    let text = "SELECT store_id FROM product_stores WHERE merchant_id = $1 AND product_id = $2
        ORDER BY store_id LIMIT 5000";
    let rows = sql::rows(c, text, params![merchant.merchant_id(), product_id]).await?;
    rows.iter().map(|r| r.get("store_id")).collect()
}

/// Those of some stores that are the merchant's and not gone.
pub async fn stores_known(c: &impl Conn, merchant: MerchantScope, ids: &[StoreId]) -> Result<Vec<StoreId>> {
    let text = format!(
        "SELECT id FROM stores WHERE merchant_id = $1 AND state <> 'Removed' AND id {} ORDER BY id",
        in_ids(c, 2)
    );
    let mut values = params![merchant.merchant_id()];
    values.push(id_set(ids));
    sql::rows(c, &text, values).await?.iter().map(|r| r.get("id")).collect()
}

/// `AND …`: the product `p` is sold in a store of the scope. Pushes its parameter, if it needs one.
pub(crate) fn sold_within(
    c: &impl Conn,
    stores: Option<&[StoreId]>,
    values: &mut Vec<sea_orm::Value>,
) -> String {
    let Some(ids) = stores else { return String::new() };
    values.push(id_set(ids));
    format!("AND {}", sold_in_one_of(&in_ids(c, values.len()), ids.len()))
}

/// Whether the product `p` is sold in at least one of `n` stores: `product_stores` names those that sell it or, where
/// `all_stores` says that the others do, those that don't.
pub(crate) fn sold_in_one_of(set: &str, n: usize) -> String {
    let named = format!(
        "(SELECT COUNT(*) FROM product_stores ps
          WHERE ps.merchant_id = p.merchant_id AND ps.product_id = p.id AND ps.store_id {set})"
    );
    format!("CASE WHEN p.all_stores THEN {named} < {n} ELSE {named} > 0 END")
}

/// The ids of a scope that does not cover all stores.
pub(crate) fn only(scope: &StoreScope) -> Option<&[StoreId]> {
    match scope.stores() {
        Stores::All => None,
        Stores::Only(ids) => Some(ids),
    }
}

/// A product sold in a store of the scope.
pub async fn get(c: &impl Conn, scope: &StoreScope, id: ProductId) -> Result<Option<Product>> {
    let mut values = params![scope.merchant_id(), id];
    let within = sold_within(c, only(scope), &mut values);
    let text = format!(
        "SELECT p.* FROM products p WHERE p.merchant_id = $1 AND p.id = $2 AND p.state <> 'Removed' {within}"
    );
    sql::find(c, &text, values).await
}

/// A product of the merchant, locked.
pub async fn lock(tx: &Tx, merchant: MerchantScope, id: ProductId) -> Result<Option<Product>> {
    let text = format!(
        "SELECT p.* FROM products p WHERE p.merchant_id = $1 AND p.id = $2 AND p.state <> 'Removed'{}",
        for_update(tx, "p")
    );
    sql::find(tx, &text, params![merchant.merchant_id(), id]).await
}

/// Products sold in the stores of the scope, newest first.
pub async fn list(
    c: &impl Conn,
    scope: &StoreScope,
    filter: &ProductFilter,
    page: &PageRequest,
) -> Result<Page<Product>> {
    let (at, id) = page.bounds();
    let pattern = filter.q.as_deref().map(like);
    let mut values =
        params![scope.merchant_id(), at, id, page.fetch(), filter.state, filter.category_id, pattern];
    let within = sold_within(c, only(scope), &mut values);
    let text = format!(
        "SELECT p.* FROM products p
         WHERE p.merchant_id = $1 AND (p.created_at < $2 OR (p.created_at = $2 AND p.id < $3))
            AND p.state <> 'Removed' AND ($5 IS NULL OR p.state = $5) AND ($6 IS NULL OR p.category_id = $6)
            AND ($7 IS NULL OR LOWER(p.name) LIKE $7 ESCAPE '!') {within}
         ORDER BY p.created_at DESC, p.id DESC LIMIT $4"
    );
    let items = sql::list::<Product>(c, &text, values).await?;
    Ok(Page::new(items, page, |p| Cursor { at: p.created_at, id: p.id.into() }))
}

/// What lists show of the SKUs of some products.
pub async fn summaries(
    c: &impl Conn,
    merchant: MerchantScope,
    products: &[ProductId],
) -> Result<Vec<ProductSummary>> {
    let text = format!(
        "SELECT k.product_id, COUNT(*) AS active_skus, MIN(k.price_fen) AS from_price_fen FROM skus k
         WHERE k.merchant_id = $1 AND k.active AND k.product_id {} GROUP BY k.product_id ORDER BY k.product_id",
        in_ids(c, 2)
    );
    let mut values = params![merchant.merchant_id()];
    values.push(id_set(products));
    let summary = |r: &Row| {
        Ok(ProductSummary {
            product_id: r.get("product_id")?,
            active_skus: r.get("active_skus")?,
            from_price: r.get("from_price_fen")?,
        })
    };
    sql::rows(c, &text, values).await?.iter().map(summary).collect()
}

/// A category by its name; adds it when it is new.
pub async fn find_or_insert_category(
    tx: &Tx,
    merchant: MerchantScope,
    id: RecordId,
    name: &str,
) -> Result<RecordId> {
    let merchant_id = merchant.merchant_id();
    let row = new_row! { merchant_id: merchant_id, id: id, name: name, sort: 0i64 };
    sql::insert_with(tx, "categories", vec![row], "ON CONFLICT (merchant_id, name) DO NOTHING").await?;
    let text = "SELECT id FROM categories WHERE merchant_id = $1 AND name = $2";
    let row = sql::row(tx, text, params![merchant_id, name]).await?;
    row.ok_or(DbError::Stale("category just inserted"))?.get("id")
}

/// All categories of the merchant, by their order.
pub async fn category_names(c: &impl Conn, merchant: MerchantScope) -> Result<Vec<(RecordId, String)>> {
    let text = "SELECT id, name FROM categories WHERE merchant_id = $1 ORDER BY sort, name LIMIT 500";
    let rows = sql::rows(c, text, params![merchant.merchant_id()]).await?;
    rows.iter().map(|r| Ok((r.get("id")?, r.get("name")?))).collect()
}

/// The name of a category.
pub async fn category(c: &impl Conn, merchant: MerchantScope, id: RecordId) -> Result<Option<String>> {
    let text = "SELECT name FROM categories WHERE merchant_id = $1 AND id = $2";
    let row = sql::row(c, text, params![merchant.merchant_id(), id]).await?;
    row.map(|r| r.get("name")).transpose()
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn patterns_are_escaped() {
        assert_eq!(like("50%_Off!"), "%50!%!_off!!%");
        assert_eq!(like("拿铁"), "%拿铁%");
    }
}
