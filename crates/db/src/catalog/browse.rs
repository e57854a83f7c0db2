//! What customers see: listed products of a store, their offers, a product with its stock.
//!
//! Customers belong to no merchant: they name a store or a product by its id, and what is not offered does not exist.

use hexiao_core::catalog::StockMode;
use hexiao_core::id::{ProductId, RecordId, SkuId, StoreId};
use hexiao_core::money::Money;
use hexiao_core::rule::RedemptionRule;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use std::collections::BTreeMap;

use super::products::{Product, like};
use crate::page::{Cursor, Page, PageRequest};
use crate::params;
use crate::pool::{Conn, Result};
use crate::row::{FromRow, Param, Row};
use crate::sql::{self, id_set, in_ids};

/// The lists of a store's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// Everything, newest first.
    All,
    /// 推荐
    Recommended,
    /// 热销: most sold first.
    Hot,
    /// 优惠: cheaper than the price struck out.
    Deals,
}

/// What a customer looks for.
#[derive(Debug, Clone)]
pub struct ListFilter {
    /// Which list.
    pub kind: ListKind,
    /// In this category.
    pub category_id: Option<RecordId>,
    /// With these words in its name.
    pub q: Option<String>,
}

/// A product and whose it is.
#[derive(Debug, Clone)]
pub struct PublicProduct {
    /// Whose.
    pub merchant: MerchantScope,
    /// The product.
    pub product: Product,
}

impl FromRow for PublicProduct {
    fn from_row(row: &Row) -> Result<Self> {
        let merchant = MerchantScope::of_row(row.get("merchant_id")?);
        Ok(Self { merchant, product: Product::from_row(row)? })
    }
}

/// A SKU as it is offered, in one store or, without a store, in general.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The SKU.
    pub sku_id: SkuId,
    /// Its product.
    pub product_id: ProductId,
    /// Its name.
    pub name: String,
    /// What makes it different.
    pub specs: BTreeMap<String, String>,
    /// The store's price or the SKU's.
    pub price: Money,
    /// The price struck out.
    pub list_price: Option<Money>,
    /// The rule in force.
    pub rule: RedemptionRule,
    /// Where the stock is counted.
    pub stock_mode: StockMode,
    /// Units that can be sold: here or, without a store, anywhere. Means nothing when not counted.
    pub available: i64,
    /// The most units in one order.
    pub per_order_limit: Option<u32>,
    /// The most units of one customer.
    pub per_customer_limit: Option<u32>,
}

impl Offer {
    /// Counted and nothing left.
    pub fn sold_out(&self) -> bool {
        match self.stock_mode {
            StockMode::Own | StockMode::Shared => self.available <= 0,
            StockMode::Unlimited => false,
        }
    }

    /// The price struck out, if it is one.
    pub fn struck_out(&self) -> Option<Money> {
        self.list_price.filter(|list| *list > self.price)
    }
}

impl FromRow for Offer {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            sku_id: row.get("id")?,
            product_id: row.get("product_id")?,
            name: row.get("name")?,
            specs: row.json("specs")?,
            price: row.get("offer_fen")?,
            list_price: row.get("list_price_fen")?,
            rule: row.json("rule_body")?,
            stock_mode: row.get("stock_mode")?,
            available: row.get("available")?,
            per_order_limit: row.get("per_order_limit")?,
            per_customer_limit: row.get("per_customer_limit")?,
        })
    }
}

/// The merchant of a store in use.
pub async fn merchant_of_store(c: &impl Conn, store_id: StoreId) -> Result<Option<MerchantScope>> {
    let text =
        "SELECT merchant_id FROM stores WHERE id = $1 AND state IN ('Approved', 'Warned', 'Rectified')";
    let row = sql::row(c, text, params![store_id]).await?;
    row.map(|r| Ok(MerchantScope::of_row(r.get("merchant_id")?))).transpose()
}

/// A page of the products a store offers. `hot` is ordered by units sold, so its cursor carries that number.
pub async fn public_products(
    c: &impl Conn,
    merchant: MerchantScope,
    store_id: StoreId,
    filter: &ListFilter,
    page: &PageRequest,
) -> Result<Page<Product>> {
    let (at, id) = page.bounds();
    let pattern = filter.q.as_deref().map(like);
    let values = params![merchant.merchant_id(), at, id, page.fetch(), store_id, filter.category_id, pattern];
    let key = match filter.kind {
        ListKind::Hot => "p.sold_count",
        ListKind::All | ListKind::Recommended | ListKind::Deals => "p.created_at",
    };
    let flag = if filter.kind == ListKind::Recommended { "AND p.recommended" } else { "" };
    let cheaper = match filter.kind {
        ListKind::Deals => "AND k.list_price_fen > COALESCE(l.price_fen, k.price_fen)",
        ListKind::All | ListKind::Recommended | ListKind::Hot => "",
    };
    let text = format!(
        "SELECT p.* FROM products p
         LEFT JOIN product_stores ps
            ON ps.merchant_id = p.merchant_id AND ps.product_id = p.id AND ps.store_id = $5
         WHERE p.merchant_id = $1 AND p.state = 'Listed' AND ({key} < $2 OR ({key} = $2 AND p.id < $3))
            AND (p.all_stores <> (ps.store_id IS NOT NULL)) AND ($6 IS NULL OR p.category_id = $6)
            AND ($7 IS NULL OR LOWER(p.name) LIKE $7 ESCAPE '!') {flag}
            AND EXISTS (SELECT 1 FROM skus k
                LEFT JOIN store_listings l
                    ON l.merchant_id = k.merchant_id AND l.store_id = $5 AND l.sku_id = k.id
                WHERE k.merchant_id = p.merchant_id AND k.product_id = p.id AND k.active
                    AND (l.listed IS NULL OR l.listed) {cheaper})
         ORDER BY {key} DESC, p.id DESC LIMIT $4"
    );
    let items = sql::list::<Product>(c, &text, values).await?;
    let cursor = |p: &Product| match filter.kind {
        ListKind::Hot => Cursor { at: Timestamp::from_micros(p.sold_count), id: p.id.into() },
        ListKind::All | ListKind::Recommended | ListKind::Deals => {
            Cursor { at: p.created_at, id: p.id.into() }
        }
    };
    Ok(Page::new(items, page, cursor))
}

/// A listed product, by its id alone.
pub async fn public_product(c: &impl Conn, id: ProductId) -> Result<Option<PublicProduct>> {
    sql::find(c, "SELECT * FROM products WHERE id = $1 AND state = 'Listed'", params![id]).await
}

/// The offers of some products: in one store with its prices, stock and what it took off, or in general.
/// Ordered as their product orders them. Does not look at whether the store sells the product.
pub async fn offers(
    c: &impl Conn,
    merchant: MerchantScope,
    store_id: Option<StoreId>,
    products: &[ProductId],
) -> Result<Vec<Offer>> {
    let mut values = vec![merchant.merchant_id().value(), id_set(products)];
    let (price, join, own) = match store_id {
        Some(store_id) => {
            values.push(store_id.value());
            (
                "COALESCE(l.price_fen, k.price_fen)",
                "LEFT JOIN store_listings l
                    ON l.merchant_id = k.merchant_id AND l.sku_id = k.id AND l.store_id = $3",
                "st.store_id = $3",
            )
        }
        None => ("k.price_fen", "", "st.store_id IS NOT NULL"),
    };
    let listed = if store_id.is_some() { "AND (l.listed IS NULL OR l.listed)" } else { "" };
    let text = format!(
        "SELECT k.*, {price} AS offer_fen, r.body AS rule_body,
            CASE k.stock_mode
                WHEN 'own' THEN (SELECT CAST(COALESCE(SUM(st.on_hand - st.reserved), 0) AS BIGINT) FROM stocks st
                    WHERE st.merchant_id = k.merchant_id AND st.sku_id = k.id AND {own})
                WHEN 'shared' THEN (SELECT CAST(COALESCE(SUM(st.on_hand - st.reserved), 0) AS BIGINT) FROM stocks st
                    WHERE st.merchant_id = k.merchant_id AND st.sku_id = k.id AND st.store_id IS NULL)
                ELSE 0 END AS available
         FROM skus k
         JOIN redemption_rules r ON r.merchant_id = k.merchant_id AND r.id = k.rule_id
         {join}
         WHERE k.merchant_id = $1 AND k.product_id {} AND k.active {listed}
         ORDER BY k.product_id, k.sort, k.id",
        in_ids(c, 2)
    );
    sql::list(c, &text, values).await
}

/// Whether a product is sold in a store, and how many stores sell it.
pub async fn eligible_stores(
    c: &impl Conn,
    merchant: MerchantScope,
    product_id: ProductId,
    store_id: Option<StoreId>,
) -> Result<(bool, i64)> {
    let text = "SELECT COUNT(*) AS n, COUNT(CASE WHEN s.id = $3 THEN 1 END) AS here FROM stores s
        JOIN products p ON p.merchant_id = s.merchant_id AND p.id = $2
        LEFT JOIN product_stores ps
            ON ps.merchant_id = s.merchant_id AND ps.product_id = p.id AND ps.store_id = s.id
        WHERE s.merchant_id = $1 AND s.state IN ('Approved', 'Warned', 'Rectified')
            AND (p.all_stores <> (ps.store_id IS NOT NULL))";
    let row = sql::row(c, text, params![merchant.merchant_id(), product_id, store_id]).await?;
    row.map_or(Ok((false, 0)), |r| Ok((r.get::<i64>("here")? > 0, r.get("n")?)))
}

/// The categories in which a store offers something, with how many products.
pub async fn categories_of_store(
    c: &impl Conn,
    merchant: MerchantScope,
    store_id: StoreId,
) -> Result<Vec<(RecordId, String, i64)>> {
    let text = "SELECT g.id, g.name, COUNT(*) AS products FROM categories g
        JOIN products p ON p.merchant_id = g.merchant_id AND p.category_id = g.id AND p.state = 'Listed'
        LEFT JOIN product_stores ps
            ON ps.merchant_id = p.merchant_id AND ps.product_id = p.id AND ps.store_id = $2
        WHERE g.merchant_id = $1 AND (p.all_stores <> (ps.store_id IS NOT NULL))
            AND EXISTS (SELECT 1 FROM skus k
                LEFT JOIN store_listings l
                    ON l.merchant_id = k.merchant_id AND l.store_id = $2 AND l.sku_id = k.id
                WHERE k.merchant_id = p.merchant_id AND k.product_id = p.id AND k.active
                    AND (l.listed IS NULL OR l.listed))
        GROUP BY g.id, g.name, g.sort ORDER BY g.sort, g.name LIMIT 500";
    let rows = sql::rows(c, text, params![merchant.merchant_id(), store_id]).await?;
    rows.iter().map(|r| Ok((r.get("id")?, r.get("name")?, r.get("products")?))).collect()
}
