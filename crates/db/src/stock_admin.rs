//! Stock as the merchant counts and corrects it. Orders take from it in their own module.
//!
//! **Invariant:** `stocks.on_hand` is the sum of its `stock_entries`: every change of the one writes the other in the
//! same transaction.

use hexiao_core::id::{Id as _, ProductId, RecordId, SkuId, StaffId, StockId, StoreId};
use hexiao_core::scope::{MerchantScope, StoreScope};
use hexiao_core::stock::{StockEntryKind, StockFacts};
use hexiao_core::time::Timestamp;
use uuid::Uuid;

use crate::catalog::{only, sold_in_one_of};
use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::sql::{self, for_update, id_set, in_ids};
use crate::{new_row, params};

/// A stock row to add.
#[derive(Debug, Clone)]
pub struct NewStock {
    /// Its id.
    pub id: StockId,
    /// Of which SKU.
    pub sku_id: SkuId,
    /// Of which store; none = shared by all of them.
    pub store_id: Option<StoreId>,
    /// Units counted.
    pub on_hand: i64,
    /// Warn at this many; none = when nothing is left.
    pub low_at: Option<i64>,
}

/// A stock row with the names around it.
#[derive(Debug, Clone)]
pub struct Stock {
    /// Its id.
    pub id: StockId,
    /// The product.
    pub product_id: ProductId,
    /// Its name.
    pub product_name: String,
    /// The SKU.
    pub sku_id: SkuId,
    /// Its name.
    pub sku_name: String,
    /// The store; none = shared.
    pub store_id: Option<StoreId>,
    /// Its name.
    pub store_name: Option<String>,
    /// Units.
    pub facts: StockFacts,
    /// Warn at this many.
    pub low_at: Option<i64>,
}

impl Stock {
    /// Few units are left, or none.
    pub fn low(&self) -> bool {
        self.facts.available() <= self.low_at.unwrap_or(0)
    }
}

impl FromRow for Stock {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            product_id: row.get("product_id")?,
            product_name: row.get("product_name")?,
            sku_id: row.get("sku_id")?,
            sku_name: row.get("sku_name")?,
            store_id: row.get("store_id")?,
            store_name: row.get("store_name")?,
            facts: StockFacts { on_hand: row.get("on_hand")?, reserved: row.get("reserved")? },
            low_at: row.get("low_at")?,
        })
    }
}

/// Who changes stock, and why.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Who.
    pub staff_id: Option<StaffId>,
    /// Why.
    pub reason: &'a str,
    /// When.
    pub at: Timestamp,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct StockFilter {
    /// What this store sells from: its own rows and the shared rows of its products.
    pub store_id: Option<StoreId>,
    /// Of this product.
    pub product_id: Option<ProductId>,
    /// Only where few are left.
    pub low_only: bool,
}

/// Adds stock rows, each with its first entry. A second row for the same SKU and store violates `stocks_of_store` or
/// `stocks_shared`.
pub async fn insert(tx: &Tx, merchant: MerchantScope, stocks: &[NewStock], change: Change<'_>) -> Result<()> {
    let merchant_id = merchant.merchant_id();
    let row = |s: &NewStock| {
        new_row! {
            merchant_id: merchant_id, id: s.id, sku_id: s.sku_id, store_id: s.store_id, on_hand: s.on_hand,
            reserved: 0i64, low_at: s.low_at,
        }
    };
    sql::insert(tx, "stocks", stocks.iter().map(row).collect()).await?;
    let entries = stocks.iter().map(|s| (s.id, s.on_hand));
    insert_entries(tx, merchant, StockEntryKind::Initial, entries, change).await
}

async fn insert_entries(
    tx: &Tx,
    merchant: MerchantScope,
    kind: StockEntryKind,
    entries: impl Iterator<Item = (StockId, i64)>,
    change: Change<'_>,
) -> Result<()> {
    let row = |(stock_id, delta): (StockId, i64)| {
        let id = RecordId::from_uuid(Uuid::now_v7());
        new_row! {
            merchant_id: merchant.merchant_id(), id: id, stock_id: stock_id, kind: kind.as_str(), delta: delta,
            staff_id: change.staff_id, reason: change.reason, at: change.at,
        }
    };
    sql::insert(tx, "stock_entries", entries.map(row).collect()).await
}

/// Changes the units on hand by `delta`. The caller locked the row and knows that what is reserved remains; the guard
/// and the constraint `stock_never_below_zero` see to it as well.
pub async fn adjust(
    tx: &Tx,
    merchant: MerchantScope,
    id: StockId,
    delta: i64,
    change: Change<'_>,
) -> Result<()> {
    let text = "UPDATE stocks SET on_hand = on_hand + $3
        WHERE merchant_id = $1 AND id = $2 AND on_hand + $3 >= reserved";
    let values = params![merchant.merchant_id(), id, delta];
    sql::execute_exactly(tx, 1, "stock on hand", text, values).await?;
    insert_entries(tx, merchant, StockEntryKind::Adjust, std::iter::once((id, delta)), change).await
}

/// Sets when a stock row counts as low.
pub async fn set_low_at(tx: &Tx, merchant: MerchantScope, id: StockId, low_at: Option<i64>) -> Result<()> {
    let text = "UPDATE stocks SET low_at = $3 WHERE merchant_id = $1 AND id = $2";
    sql::execute_exactly(tx, 1, "stock", text, params![merchant.merchant_id(), id, low_at]).await
}

const COLUMNS: &str =
    "st.*, k.name AS sku_name, p.id AS product_id, p.name AS product_name, s.name AS store_name
    FROM stocks st
    JOIN skus k ON k.merchant_id = st.merchant_id AND k.id = st.sku_id
    JOIN products p ON p.merchant_id = k.merchant_id AND p.id = k.product_id
    LEFT JOIN stores s ON s.merchant_id = st.merchant_id AND s.id = st.store_id";

/// `AND …`: rows of these stores, and the shared rows of what they sell.
fn within(c: &impl Conn, stores: Option<&[StoreId]>, values: &mut Vec<sea_orm::Value>) -> String {
    let Some(ids) = stores else { return String::new() };
    values.push(id_set(ids));
    let set = in_ids(c, values.len());
    format!("AND (st.store_id {set} OR (st.store_id IS NULL AND {}))", sold_in_one_of(&set, ids.len()))
}

/// A stock row that the stores in scope sell from.
pub async fn get(c: &impl Conn, scope: &StoreScope, id: StockId) -> Result<Option<Stock>> {
    let mut values = params![scope.merchant_id(), id];
    let within = within(c, only(scope), &mut values);
    let text = format!("SELECT {COLUMNS} WHERE st.merchant_id = $1 AND st.id = $2 {within}");
    sql::find(c, &text, values).await
}

/// The same, locked.
pub async fn lock(tx: &Tx, scope: &StoreScope, id: StockId) -> Result<Option<Stock>> {
    let mut values = params![scope.merchant_id(), id];
    let within = within(tx, only(scope), &mut values);
    let lock = for_update(tx, "st");
    let text = format!("SELECT {COLUMNS} WHERE st.merchant_id = $1 AND st.id = $2 {within}{lock}");
    sql::find(tx, &text, values).await
}

/// Stock rows that the stores in scope sell from, newest first. A store outside the scope has none.
pub async fn list(
    c: &impl Conn,
    scope: &StoreScope,
    filter: &StockFilter,
    page: &PageRequest,
) -> Result<Page<Stock>> {
    let one = filter.store_id.map(|id| [id]);
    let stores = match &one {
        Some(one) if scope.contains(one[0]) => Some(&one[..]),
        Some(_) => Some(&[][..]),
        None => only(scope),
    };
    let (_, after) = page.bounds();
    let mut values = params![scope.merchant_id(), after, page.fetch(), filter.product_id];
    let within = within(c, stores, &mut values);
    let low = if filter.low_only { "AND st.on_hand - st.reserved <= COALESCE(st.low_at, 0)" } else { "" };
    let text = format!(
        "SELECT {COLUMNS} WHERE st.merchant_id = $1 AND st.id < $2 AND p.state <> 'Removed'
            AND ($4 IS NULL OR p.id = $4) {low} {within} ORDER BY st.id DESC LIMIT $3"
    );
    let items = sql::list::<Stock>(c, &text, values).await?;
    // Ids are in the order of creation: the id alone is the key.
    Ok(Page::new(items, page, |s| Cursor { at: Timestamp::from_micros(0), id: s.id.into() }))
}

/// Whether a SKU has its row for a store (or its shared row).
pub async fn exists(
    c: &impl Conn,
    merchant: MerchantScope,
    sku_id: SkuId,
    store_id: Option<StoreId>,
) -> Result<bool> {
    let text = match store_id {
        Some(_) => "SELECT id FROM stocks WHERE merchant_id = $1 AND sku_id = $2 AND store_id = $3",
        None => {
            "SELECT id FROM stocks WHERE merchant_id = $1 AND sku_id = $2 AND store_id IS NULL AND $3 IS NULL"
        }
    };
    Ok(sql::row(c, text, params![merchant.merchant_id(), sku_id, store_id]).await?.is_some())
}
