//! What an order would cost. The preview and the order itself call the same function.

use std::collections::BTreeMap;

use hexiao_core::id::{SkuId, StoreId};
use hexiao_core::order::Fulfilment;
use hexiao_core::price::{PriceLine, Quote, quote};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::stock::{StockFacts, Wanted, check_available};
use hexiao_core::time::Timestamp;
use hexiao_db::Conn;
use hexiao_db::catalog::SellableSku;
use hexiao_db::store_facts::{self, StoreFacts};
use serde::Serialize;

use crate::context::App;
use crate::error::Result;

/// WeChat refunds a payment at most 50 times, so an order has at most 50 units.
pub(crate) const MAX_UNITS: u32 = 50;

/// A line that is asked for.
#[derive(Debug, Clone, Serialize)]
pub struct OrderLineRequest {
    /// What.
    pub sku_id: SkuId,
    /// Units.
    pub quantity: u32,
}

/// What is to be quoted.
#[derive(Debug, Clone, Serialize)]
pub struct QuoteRequest {
    /// Where.
    pub store_id: StoreId,
    /// What.
    pub lines: Vec<OrderLineRequest>,
}

/// A line with its price.
#[derive(Debug, Clone)]
pub struct QuotedLine {
    /// What is sold.
    pub sku: SellableSku,
    /// Units.
    pub quantity: u32,
    /// The priced line.
    pub price: hexiao_core::price::PricedLine,
}

/// A whole quote.
#[derive(Debug, Clone)]
pub struct Quoted {
    /// The store.
    pub store: StoreFacts,
    /// The lines, as asked.
    pub lines: Vec<QuotedLine>,
    /// The sums and the trail.
    pub quote: Quote,
}

impl App {
    /// Quotes an order without placing it; refuses what an order would refuse, short stock too.
    pub async fn quote_order(&self, request: &QuoteRequest) -> Result<Quoted> {
        let quoted = quote_in(self.db.reader(), request, self.now()).await?;
        let mut index = BTreeMap::new();
        let mut stocks = Vec::new();
        let wanted = wanted(&quoted.lines, &mut |id, facts| {
            *index.entry(id).or_insert_with(|| {
                stocks.push(facts);
                stocks.len() - 1
            })
        });
        check_available(&wanted, &stocks)?;
        Ok(quoted)
    }
}

/// Each line's wish for units; `place_of` gives a stock row its index.
pub(super) fn wanted(
    lines: &[QuotedLine],
    place_of: &mut impl FnMut(hexiao_core::id::StockId, StockFacts) -> usize,
) -> Vec<Wanted> {
    let wish = |(line, quoted): (usize, &QuotedLine)| {
        let facts = StockFacts { on_hand: quoted.sku.on_hand, reserved: quoted.sku.reserved };
        Wanted {
            line,
            name: quoted.sku.product_name.clone(),
            stock: quoted.sku.stock_id.map(|id| place_of(id, facts)),
            quantity: i64::from(quoted.quantity),
        }
    };
    lines.iter().enumerate().map(wish).collect()
}

/// Reads what is sold, checks what does not depend on stock, and prices it.
pub(super) async fn quote_in(c: &impl Conn, request: &QuoteRequest, now: Timestamp) -> Result<Quoted> {
    check_shape(request)?;
    let store = store_facts::for_customer(c, request.store_id).await?;
    let store = store.ok_or_else(|| Refusal::with_message(Reason::NotFound, "没有找到这个门店"))?;
    if !store.in_use {
        return Err(Reason::StoreSuspended.into());
    }
    let ids: Vec<SkuId> = request.lines.iter().map(|l| l.sku_id).collect();
    let sellable = hexiao_db::catalog::sellable(c, request.store_id, &ids).await?;
    let by_id: BTreeMap<SkuId, SellableSku> = sellable.into_iter().map(|s| (s.sku_id, s)).collect();
    check_offered(request, &by_id, now)?;
    let skus: Vec<SellableSku> = request.lines.iter().filter_map(|l| by_id.get(&l.sku_id).cloned()).collect();
    let priced: Vec<PriceLine> = skus
        .iter()
        .zip(&request.lines)
        .map(|(sku, line)| PriceLine {
            sku_price: sku.price,
            store_price: sku.store_price,
            quantity: line.quantity,
        })
        .collect();
    let quote = quote(&priced)?;
    let line = |((sku, line), price): ((SellableSku, &OrderLineRequest), &hexiao_core::price::PricedLine)| {
        QuotedLine { sku, quantity: line.quantity, price: price.clone() }
    };
    let lines = skus.into_iter().zip(&request.lines).zip(&quote.lines).map(line).collect();
    Ok(Quoted { store, lines, quote })
}

fn check_shape(request: &QuoteRequest) -> Result<(), Refusal> {
    if request.lines.is_empty() {
        return Err(Refusal::field("lines", "请至少选择一件商品"));
    }
    for (i, line) in request.lines.iter().enumerate() {
        if line.quantity == 0 {
            return Err(Refusal::field(format!("lines[{i}].quantity"), "数量至少为 1"));
        }
        if request.lines[..i].iter().any(|l| l.sku_id == line.sku_id) {
            return Err(Refusal::field(format!("lines[{i}].sku_id"), "同一规格请合并为一行"));
        }
    }
    let units = request.lines.iter().fold(0u32, |sum, l| sum.saturating_add(l.quantity));
    if units > MAX_UNITS { Err(Reason::TooManyUnits.into()) } else { Ok(()) }
}

fn check_offered(
    request: &QuoteRequest,
    skus: &BTreeMap<SkuId, SellableSku>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let mut not_listed = Refusal::new(Reason::NotListed);
    let mut limits = Refusal::new(Reason::PurchaseLimit);
    for (i, line) in request.lines.iter().enumerate() {
        match skus.get(&line.sku_id) {
            // What could not be used any more after its payment is not sold.
            Some(sku)
                if sku.listed && sku.kind == Fulfilment::Redeem && sku.rule.validity_from(now).1 > now =>
            {
                let limit = sku.per_order_limit.into_iter().chain(sku.per_customer_limit).min();
                if let Some(limit) = limit.filter(|l| line.quantity > *l) {
                    let text = format!("「{}」每人限购 {limit} 份", sku.product_name);
                    limits = limits.and_field(format!("lines[{i}].quantity"), text);
                }
            }
            Some(sku) => {
                not_listed = not_listed
                    .and_field(format!("lines[{i}].sku_id"), format!("「{}」本店暂不出售", sku.product_name));
            }
            None => not_listed = not_listed.and_field(format!("lines[{i}].sku_id"), "没有找到这个商品"),
        }
    }
    if !not_listed.fields.is_empty() {
        return Err(not_listed);
    }
    if limits.fields.is_empty() { Ok(()) } else { Err(limits) }
}
