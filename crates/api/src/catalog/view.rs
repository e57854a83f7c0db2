//! Views that several audiences share: rules in words and numbers, stock.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use hexiao_core::catalog::{ProductState, StockMode};
use hexiao_core::expiry::ExpiryPolicy;
use hexiao_core::id::{ProductId, RecordId, SkuId, StockId, StoreId};
use hexiao_core::money::Money;
use hexiao_core::order::Fulfilment;
use hexiao_core::rule::{Binding, BookingRule, RedemptionRule, RefundPolicy, UsableWindow};
use hexiao_db::catalog::{ProductDetail, Sku};
use hexiao_db::stock_admin::Stock;
use serde::Serialize;
use utoipa::ToSchema;

use super::input::{ValidityBody, WindowBody};
use crate::views::{At, at};

/// When, where and how a voucher is used.
#[derive(Serialize, ToSchema)]
pub(super) struct RuleView {
    /// Uses of one unit.
    uses: u32,
    validity: ValidityBody,
    /// Weekly windows; none = any time.
    #[schema(value_type = Vec<WindowBody>)]
    usable: Vec<UsableWindow>,
    #[schema(value_type = Vec<String>)]
    blackout_dates: Vec<NaiveDate>,
    /// Minutes between two redemptions; 0 = none.
    min_interval_minutes: u32,
    #[schema(required)]
    daily_cap: Option<u32>,
    min_quantity: u32,
    #[schema(required)]
    max_quantity: Option<u32>,
    #[schema(value_type = String, example = "any_in_scope")]
    binding: Binding,
    /// `none`, or `required`: used at a booked time.
    #[schema(value_type = String, example = "none")]
    booking: BookingRule,
    #[schema(value_type = String, example = "any_time")]
    refund: RefundPolicy,
    /// What becomes of uses that nobody used in time.
    #[schema(value_type = String, example = "refund")]
    on_expiry: ExpiryPolicy,
    /// The rule in plain words.
    texts: Vec<String>,
}

impl From<RedemptionRule> for RuleView {
    fn from(rule: RedemptionRule) -> Self {
        Self {
            texts: rule.texts(),
            on_expiry: rule.expiry_policy(),
            uses: rule.uses,
            validity: (&rule.validity).into(),
            usable: rule.usable,
            blackout_dates: rule.blackout_dates,
            min_interval_minutes: rule.min_interval_minutes,
            daily_cap: rule.daily_cap,
            min_quantity: rule.min_quantity,
            max_quantity: rule.max_quantity,
            binding: rule.binding,
            booking: rule.booking,
            refund: rule.refund,
        }
    }
}

/// No address is null, not an empty one.
pub(super) fn picture(address: String) -> Option<String> {
    (!address.is_empty()).then_some(address)
}

/// Which stores sell a product.
#[derive(Serialize, ToSchema)]
struct StoreScopeView {
    /// All stores, also those that open later.
    all: bool,
    /// These, when not all.
    #[schema(value_type = Vec<String>)]
    store_ids: Vec<StoreId>,
    /// With `all`: all but these.
    #[schema(value_type = Vec<String>)]
    except_store_ids: Vec<StoreId>,
}

impl StoreScopeView {
    fn of(all: bool, named: Vec<StoreId>) -> Self {
        if all {
            Self { all, store_ids: Vec::new(), except_store_ids: named }
        } else {
            Self { all, store_ids: named, except_store_ids: Vec::new() }
        }
    }
}

/// A SKU as its merchant sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct MerchantSkuView {
    #[schema(value_type = String)]
    id: SkuId,
    name: String,
    specs: BTreeMap<String, String>,
    #[schema(value_type = i64)]
    price_fen: Money,
    #[schema(value_type = Option<i64>, required)]
    list_price_fen: Option<Money>,
    #[schema(value_type = String, example = "shared")]
    stock_mode: StockMode,
    /// All its stock rows together; null when not counted.
    #[schema(required)]
    stock: Option<CountView>,
    #[schema(required)]
    per_order_limit: Option<u32>,
    #[schema(required)]
    per_customer_limit: Option<u32>,
    return_on_refund: bool,
    active: bool,
    sort: i64,
    version: i64,
    rule: RuleView,
}

/// Units.
#[derive(Serialize, ToSchema)]
struct CountView {
    /// Reserved ones included.
    on_hand: i64,
    /// Held for unpaid orders.
    reserved: i64,
    /// Can be sold.
    available: i64,
}

/// A product as its merchant sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct MerchantProductView {
    #[schema(value_type = String)]
    id: ProductId,
    name: String,
    #[schema(value_type = String, example = "redeem")]
    kind: Fulfilment,
    #[schema(value_type = String, example = "Listed")]
    state: ProductState,
    #[schema(value_type = Option<String>, required)]
    category_id: Option<RecordId>,
    #[schema(required)]
    category: Option<String>,
    #[schema(required)]
    cover: Option<String>,
    images: Vec<String>,
    description_html: String,
    tags: Vec<String>,
    recommended: bool,
    store_scope: StoreScopeView,
    sold_count: i64,
    version: i64,
    created_at: At,
    updated_at: At,
    skus: Vec<MerchantSkuView>,
}

impl From<Sku> for MerchantSkuView {
    fn from(s: Sku) -> Self {
        let counted = match s.stock_mode {
            StockMode::Own | StockMode::Shared => true,
            StockMode::Unlimited => false,
        };
        let stock = CountView { on_hand: s.on_hand, reserved: s.reserved, available: s.on_hand - s.reserved };
        Self {
            id: s.id,
            name: s.name,
            specs: s.specs,
            price_fen: s.price,
            list_price_fen: s.list_price,
            stock_mode: s.stock_mode,
            stock: counted.then_some(stock),
            per_order_limit: s.per_order_limit,
            per_customer_limit: s.per_customer_limit,
            return_on_refund: s.return_on_refund,
            active: s.active,
            sort: s.sort,
            version: s.version,
            rule: s.rule.into(),
        }
    }
}

impl From<ProductDetail> for MerchantProductView {
    fn from(detail: ProductDetail) -> Self {
        let p = detail.product;
        Self {
            id: p.id,
            name: p.name,
            kind: p.kind,
            state: p.state,
            category_id: p.category_id,
            category: detail.category,
            cover: picture(p.cover),
            images: p.images,
            description_html: p.description_html,
            tags: p.tags,
            recommended: p.recommended,
            store_scope: StoreScopeView::of(p.all_stores, detail.store_ids),
            sold_count: p.sold_count,
            version: p.version,
            created_at: at(p.created_at),
            updated_at: at(p.updated_at),
            skus: detail.skus.into_iter().map(Into::into).collect(),
        }
    }
}

/// A stock row.
#[derive(Serialize, ToSchema)]
pub(super) struct StockView {
    #[schema(value_type = String)]
    id: StockId,
    #[schema(value_type = String)]
    product_id: ProductId,
    product_name: String,
    #[schema(value_type = String)]
    sku_id: SkuId,
    sku_name: String,
    /// Null: shared by the product's stores.
    #[schema(value_type = Option<String>, required)]
    store_id: Option<StoreId>,
    #[schema(required)]
    store_name: Option<String>,
    /// Units, reserved ones included.
    on_hand: i64,
    /// Held for unpaid orders.
    reserved: i64,
    /// Can be sold.
    available: i64,
    /// Warn at this many; null = when nothing is left.
    #[schema(required)]
    low_at: Option<i64>,
    /// Few are left, or none.
    low: bool,
}

impl From<Stock> for StockView {
    fn from(s: Stock) -> Self {
        Self {
            low: s.low(),
            id: s.id,
            product_id: s.product_id,
            product_name: s.product_name,
            sku_id: s.sku_id,
            sku_name: s.sku_name,
            store_id: s.store_id,
            store_name: s.store_name,
            on_hand: s.facts.on_hand,
            reserved: s.facts.reserved,
            available: s.facts.available(),
            low_at: s.low_at,
        }
    }
}
