//! SKUs 规格: what is bought, for how much, under which rule.

use hexiao_core::catalog::StockMode;
use hexiao_core::id::{ProductId, SkuId};
use hexiao_core::money::Money;
use hexiao_core::rule::RedemptionRule;
use hexiao_core::scope::MerchantScope;
use std::collections::BTreeMap;

use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row, json_text};
use crate::sql::{self, for_update};
use crate::{new_row, params};

/// A SKU with its rule and what its stock rows add up to.
#[derive(Debug, Clone)]
pub struct Sku {
    /// Its id.
    pub id: SkuId,
    /// Its product.
    pub product_id: ProductId,
    /// Its name.
    pub name: String,
    /// What makes it different: `{"颜色":"红"}`.
    pub specs: BTreeMap<String, String>,
    /// Its price, unless a store has its own.
    pub price: Money,
    /// The price that is shown struck out.
    pub list_price: Option<Money>,
    /// The rule in force.
    pub rule_id: i64,
    /// That rule.
    pub rule: RedemptionRule,
    /// Where the stock is counted.
    pub stock_mode: StockMode,
    /// Whether the refund of a whole unused voucher returns its unit to the stock.
    pub return_on_refund: bool,
    /// The most units in one order.
    pub per_order_limit: Option<u32>,
    /// The most units of one customer.
    pub per_customer_limit: Option<u32>,
    /// Whether it is offered.
    pub active: bool,
    /// Its place among the product's SKUs.
    pub sort: i64,
    /// For optimistic editing.
    pub version: i64,
    /// Units in all its stock rows, reserved ones included.
    pub on_hand: i64,
    /// Units held for unpaid orders.
    pub reserved: i64,
}

impl FromRow for Sku {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            product_id: row.get("product_id")?,
            name: row.get("name")?,
            specs: row.json("specs")?,
            price: row.get("price_fen")?,
            list_price: row.get("list_price_fen")?,
            rule_id: row.get("rule_id")?,
            rule: row.json("rule_body")?,
            stock_mode: row.get("stock_mode")?,
            return_on_refund: row.get("return_on_refund")?,
            per_order_limit: row.get("per_order_limit")?,
            per_customer_limit: row.get("per_customer_limit")?,
            active: row.get("active")?,
            sort: row.get("sort")?,
            version: row.get("version")?,
            on_hand: row.get("on_hand")?,
            reserved: row.get("reserved")?,
        })
    }
}

const COLUMNS: &str = "k.*, r.body AS rule_body,
    (SELECT CAST(COALESCE(SUM(st.on_hand), 0) AS BIGINT) FROM stocks st
        WHERE st.merchant_id = k.merchant_id AND st.sku_id = k.id) AS on_hand,
    (SELECT CAST(COALESCE(SUM(st.reserved), 0) AS BIGINT) FROM stocks st
        WHERE st.merchant_id = k.merchant_id AND st.sku_id = k.id) AS reserved
    FROM skus k JOIN redemption_rules r ON r.merchant_id = k.merchant_id AND r.id = k.rule_id";

/// Adds SKUs. Their rules are stored already.
pub async fn insert_skus(tx: &Tx, merchant: MerchantScope, skus: &[Sku]) -> Result<()> {
    let row = |sku: &Sku| {
        new_row! {
            merchant_id: merchant.merchant_id(), id: sku.id, product_id: sku.product_id, name: &sku.name,
            specs: json_text(&sku.specs), price_fen: sku.price, list_price_fen: sku.list_price, rule_id: sku.rule_id,
            uses: sku.rule.uses, stock_mode: sku.stock_mode, return_on_refund: sku.return_on_refund,
            per_order_limit: sku.per_order_limit, per_customer_limit: sku.per_customer_limit, active: sku.active,
            sort: sku.sort, version: 1i64,
        }
    };
    sql::insert(tx, "skus", skus.iter().map(row).collect()).await
}

/// Writes what an edit may change; fails as stale when `sku.version` is not the stored one.
pub async fn update_sku(tx: &Tx, merchant: MerchantScope, sku: &Sku) -> Result<()> {
    let text =
        "UPDATE skus SET name = $4, specs = $5, price_fen = $6, list_price_fen = $7, rule_id = $8, uses = $9,
            return_on_refund = $10, per_order_limit = $11, per_customer_limit = $12, active = $13, sort = $14,
            version = version + 1
        WHERE merchant_id = $1 AND id = $2 AND version = $3";
    let values = params![
        merchant.merchant_id(),
        sku.id,
        sku.version,
        &sku.name,
        json_text(&sku.specs),
        sku.price,
        sku.list_price,
        sku.rule_id,
        sku.rule.uses,
        sku.return_on_refund,
        sku.per_order_limit,
        sku.per_customer_limit,
        sku.active,
        sku.sort,
    ];
    sql::execute_exactly(tx, 1, "sku version", text, values).await
}

/// The SKUs of a product in their order.
pub async fn of_product(c: &impl Conn, merchant: MerchantScope, product_id: ProductId) -> Result<Vec<Sku>> {
    let text = format!(
        "SELECT {COLUMNS} WHERE k.merchant_id = $1 AND k.product_id = $2 ORDER BY k.sort, k.id LIMIT 200"
    );
    sql::list(c, &text, params![merchant.merchant_id(), product_id]).await
}

/// A SKU, locked. Lock its product first: that is the order everybody keeps.
pub async fn lock_sku(tx: &Tx, merchant: MerchantScope, id: SkuId) -> Result<Option<Sku>> {
    let text = format!("SELECT {COLUMNS} WHERE k.merchant_id = $1 AND k.id = $2{}", for_update(tx, "k"));
    sql::find(tx, &text, params![merchant.merchant_id(), id]).await
}

/// The product of a SKU.
pub async fn product_of_sku(c: &impl Conn, merchant: MerchantScope, id: SkuId) -> Result<Option<ProductId>> {
    let text = "SELECT product_id FROM skus WHERE merchant_id = $1 AND id = $2";
    let row = sql::row(c, text, params![merchant.merchant_id(), id]).await?;
    row.map(|r| r.get("product_id")).transpose()
}
