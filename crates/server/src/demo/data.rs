//! The demo merchant as plain data: 100 stores in ten cities, 30 products of four trades, staff of each role.
//!
//! Promise: a pure function of its seed. No clock, no IO, no ids, no password: who loads it decides those. Every
//! person, phone number and store is invented; streets and districts are real, so that maps and distances look right.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use hexiao_core::catalog::Role;
use hexiao_core::rule::{BookingRule, RefundPolicy};

mod cities;
mod goods;
mod products;
mod staff;
mod stores;

pub use staff::{
    FINANCE_PHONE, OPERATOR_PHONE, OWNER_PHONE, SHANGHAI_MANAGER_PHONE, SHANGHAI_VERIFIER_PHONE,
};

/// The seed that `hexiao demo` uses unless told otherwise.
pub const DEMO_SEED: u64 = 20_261_001;
/// The password of every demo account unless told otherwise. Production mode refuses demo data altogether.
pub const DEMO_PASSWORD: &str = "hexiao-demo-2026";
/// The demo merchant's name.
pub const DEMO_MERCHANT: &str = "禾悦生活";

/// Everything the demo loads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoData {
    /// The merchant's name.
    pub merchant_name: &'static str,
    /// 100 stores. Other parts refer to them by their index here.
    pub stores: Vec<DemoStore>,
    /// 30 products, in the order of their lists.
    pub products: Vec<DemoProduct>,
    /// Owner, operator, finance, 3 store managers, 10 verifiers.
    pub staff: Vec<DemoStaff>,
}

/// What a store or product is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Trade {
    /// Food and drink.
    #[serde(rename = "餐饮")]
    Dining,
    /// Hair and beauty.
    #[serde(rename = "美容美发")]
    Beauty,
    /// Parents and children.
    #[serde(rename = "亲子")]
    Family,
    /// Shops.
    #[serde(rename = "零售")]
    Retail,
}

impl Trade {
    /// The trade in Chinese, as shown to customers.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Dining => "餐饮",
            Self::Beauty => "美容美发",
            Self::Family => "亲子",
            Self::Retail => "零售",
        }
    }
}

/// A store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoStore {
    /// Unique, at most 60 characters.
    pub name: String,
    /// What it is about.
    pub trade: Trade,
    /// City, without 市.
    pub city: &'static str,
    /// District.
    pub district: &'static str,
    /// The whole address with city and district.
    pub address: String,
    /// GCJ-02, at most 6 decimals.
    pub lat: f64,
    /// GCJ-02, at most 6 decimals.
    pub lng: f64,
    /// A landline with its area code, unique.
    pub phone: String,
    /// Weekly hours, by weekday and time.
    pub hours: Vec<DemoSpan>,
    /// At most 4.
    pub tags: Vec<&'static str>,
    /// One or two sentences.
    pub description: String,
}

/// One span of a store's week, in JSON as the API takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DemoSpan {
    /// 1 = Monday … 7 = Sunday.
    pub weekday: u8,
    /// `HH:MM`.
    pub from: &'static str,
    /// `HH:MM`; at or before `from` means the next day.
    pub to: &'static str,
}

/// A product of the merchant's library; all of them are redeemed in a store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoProduct {
    /// Unique, at most 60 characters.
    pub name: &'static str,
    /// What it is about.
    pub trade: Trade,
    /// A category within the trade, e.g. 咖啡茶饮.
    pub category: &'static str,
    /// Path of the cover image; empty: none, show `cover_color`.
    pub cover: &'static str,
    /// `#RRGGBB` behind the name where there is no image.
    pub cover_color: &'static str,
    /// Headings, paragraphs and lists without attributes.
    pub description_html: String,
    /// At most 4.
    pub tags: &'static [&'static str],
    /// 1–3.
    pub skus: Vec<DemoSku>,
    /// In the list 推荐.
    pub recommended: bool,
    /// In the list 热销.
    pub hot: bool,
    /// In the list 优惠.
    pub deal: bool,
    /// Where it is sold and redeemed.
    pub scope: DemoScope,
}

/// The stores of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DemoScope {
    /// All of the merchant.
    All,
    /// These, as indices into [`DemoData::stores`], ascending.
    Stores(Vec<usize>),
}

/// A SKU with its redemption rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DemoSku {
    /// Unique in its product, at most 60 characters.
    pub name: &'static str,
    /// What it costs.
    pub price_fen: i64,
    /// The struck-through price, above `price_fen`.
    pub list_price_fen: Option<i64>,
    /// Units shared by its stores; `None`: not counted.
    pub stock: Option<i64>,
    /// Uses of one unit.
    pub uses: u32,
    /// Days from payment.
    pub valid_days: u32,
    /// Refunds of unused uses.
    pub refund: RefundPolicy,
    /// When it can be used; empty: any time.
    pub usable: &'static [DemoWindow],
    /// Uses of one voucher on one day.
    pub daily_cap: Option<u32>,
    /// Minutes between two redemptions of one voucher; 0: none.
    pub min_interval_minutes: u32,
    /// Whether it is used at a booked time; its stores offer slots of an hour then.
    pub booking: BookingRule,
    /// Units in one order.
    pub per_order_limit: Option<i64>,
    /// Units of one customer, ever.
    pub per_customer_limit: Option<i64>,
}

/// A weekly window in which a voucher can be used, in JSON as the rule takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DemoWindow {
    /// 1 = Monday … 7 = Sunday.
    pub weekdays: &'static [u8],
    /// `HH:MM`.
    pub from: &'static str,
    /// `HH:MM`; at or before `from` means the next day.
    pub to: &'static str,
}

/// An account of the merchant. All of them have the same password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DemoStaff {
    /// Unique.
    pub name: &'static str,
    /// A mobile number, unique.
    pub phone: String,
    /// What they may do.
    pub role: Role,
    /// Where, as indices into [`DemoData::stores`]; empty for roles that reach every store.
    pub stores: Vec<usize>,
}

/// The demo merchant of a seed.
pub fn demo_data(seed: u64) -> DemoData {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let stores = stores::stores(&mut rng);
    let products = products::products(&stores);
    let staff = staff::staff(&stores);
    DemoData { merchant_name: DEMO_MERCHANT, stores, products, staff }
}

#[cfg(test)]
mod tests;
