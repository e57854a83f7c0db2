//! What an order needs to know of SKUs at a store, in one query.

use hexiao_core::catalog::{ProductState, StockMode};
use hexiao_core::id::{MerchantId, ProductId, SkuId, StockId, StoreId};
use hexiao_core::money::Money;
use hexiao_core::order::Fulfilment;
use hexiao_core::rule::RedemptionRule;

use crate::pool::{Conn, Result};
use crate::row::{FromRow, Param, Row};
use crate::sql::{self, id_set, in_ids};

/// A SKU as one store sells it.
#[derive(Debug, Clone)]
pub struct SellableSku {
    /// Whose: the store's merchant.
    pub merchant_id: MerchantId,
    /// The SKU.
    pub sku_id: SkuId,
    /// Its name.
    pub sku_name: String,
    /// Its product.
    pub product_id: ProductId,
    /// The product's name.
    pub product_name: String,
    /// Redeemed or delivered.
    pub kind: Fulfilment,
    /// Whether the product is offered at all.
    pub product_state: ProductState,
    /// The SKU's price.
    pub price: Money,
    /// The store's price for it, if it has one.
    pub store_price: Option<Money>,
    /// Offered here: product listed, SKU active, sold in this store, and the store did not take it off.
    pub listed: bool,
    /// The rule in force.
    pub rule_id: i64,
    /// That rule; its binding says which stores redeem the voucher.
    pub rule: RedemptionRule,
    /// Uses of one unit.
    pub uses: u32,
    /// Where the stock is counted.
    pub stock_mode: StockMode,
    /// The stock row: this store's own or the shared one; none when not counted or not set up (then it is sold out).
    pub stock_id: Option<StockId>,
    /// Units in that row, reserved ones included; 0 without a row.
    pub on_hand: i64,
    /// Units of them held for unpaid orders.
    pub reserved: i64,
    /// The most units in one order.
    pub per_order_limit: Option<u32>,
    /// The most units of one customer.
    pub per_customer_limit: Option<u32>,
    /// Whether the refund of a whole unused voucher returns its unit to the stock.
    pub return_on_refund: bool,
}

impl FromRow for SellableSku {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            sku_id: row.get("id")?,
            sku_name: row.get("name")?,
            product_id: row.get("product_id")?,
            product_name: row.get("product_name")?,
            kind: row.get("kind")?,
            product_state: row.get("product_state")?,
            price: row.get("price_fen")?,
            store_price: row.get("store_price_fen")?,
            listed: row.get("listed")?,
            rule_id: row.get("rule_id")?,
            rule: row.json("rule_body")?,
            uses: row.get("uses")?,
            stock_mode: row.get("stock_mode")?,
            stock_id: row.get("stock_id")?,
            on_hand: row.get("on_hand")?,
            reserved: row.get("reserved")?,
            per_order_limit: row.get("per_order_limit")?,
            per_customer_limit: row.get("per_customer_limit")?,
            return_on_refund: row.get("return_on_refund")?,
        })
    }
}

/// SKUs as a store sells them, by id. Ids of other merchants' SKUs, and a store that is not in use, give nothing.
/// A customer names the store, so there is no merchant's scope: the store decides the merchant.
pub async fn sellable(c: &impl Conn, store_id: StoreId, sku_ids: &[SkuId]) -> Result<Vec<SellableSku>> {
    let text = format!(
        "SELECT k.*, p.name AS product_name, p.kind, p.state AS product_state, l.price_fen AS store_price_fen,
            (p.state = 'Listed' AND k.active AND (p.all_stores <> (ps.store_id IS NOT NULL))
                AND (l.listed IS NULL OR l.listed)) AS listed,
            r.body AS rule_body, COALESCE(o.id, h.id) AS stock_id,
            COALESCE(o.on_hand, h.on_hand, 0) AS on_hand, COALESCE(o.reserved, h.reserved, 0) AS reserved
         FROM stores s
         JOIN skus k ON k.merchant_id = s.merchant_id
         JOIN products p ON p.merchant_id = k.merchant_id AND p.id = k.product_id
         JOIN redemption_rules r ON r.merchant_id = k.merchant_id AND r.id = k.rule_id
         LEFT JOIN product_stores ps
            ON ps.merchant_id = p.merchant_id AND ps.product_id = p.id AND ps.store_id = s.id
         LEFT JOIN store_listings l ON l.merchant_id = k.merchant_id AND l.store_id = s.id AND l.sku_id = k.id
         LEFT JOIN stocks o
            ON o.merchant_id = k.merchant_id AND o.sku_id = k.id AND o.store_id = s.id AND k.stock_mode = 'own'
         LEFT JOIN stocks h
            ON h.merchant_id = k.merchant_id AND h.sku_id = k.id AND h.store_id IS NULL AND k.stock_mode = 'shared'
         WHERE s.id = $1 AND s.state IN ('Approved', 'Warned', 'Rectified') AND k.id {}
         ORDER BY k.id",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![store_id.value(), id_set(sku_ids)]).await
}
