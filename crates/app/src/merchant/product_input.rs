//! What is entered for a product, and how it becomes rows.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;
use hexiao_core::catalog::StockMode;
use hexiao_core::expiry::{ExpiryPolicy, default_expiry_policy};
use hexiao_core::id::StoreId;
use hexiao_core::money::Money;
use hexiao_core::order::Fulfilment;
use hexiao_core::rule::{
    Binding, BookingRule, RedemptionRule, RefundPolicy, StoreSet, UsableWindow, Validity,
};
use hexiao_db::catalog::Sku;
use serde::{Deserialize, Deserializer};

use crate::keys::sha256;

/// The most SKUs of a product.
pub const MAX_SKUS: usize = 50;
/// The most stores named by a product or by one edit of overrides.
pub const MAX_STORES: usize = 2_000;
/// The most units of one stock row.
pub const MAX_STOCK: i64 = 10_000_000;

/// When, where and how the vouchers of a SKU are used: a rule without what its product and merchant add.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Uses of one unit.
    pub uses: u32,
    /// When.
    pub validity: Validity,
    /// Weekly windows; none = any time.
    pub usable: Vec<UsableWindow>,
    /// Days on which it cannot be used.
    pub blackout_dates: Vec<NaiveDate>,
    /// Minutes between two redemptions; 0 = none.
    pub min_interval_minutes: u32,
    /// Uses on one day.
    pub daily_cap: Option<u32>,
    /// The least number of uses in one redemption.
    pub min_quantity: u32,
    /// The most uses in one redemption, or any.
    pub max_quantity: Option<u32>,
    /// Refunds.
    pub refund: RefundPolicy,
    /// What becomes of unused uses at the end; by default what the refund policy suggests.
    pub on_expiry: Option<ExpiryPolicy>,
    /// Which stores; by default the chosen one where each store has its own stock, else any.
    pub binding: Option<Binding>,
    /// Whether they are used at a booked time.
    pub booking: BookingRule,
}

/// The first count of a SKU's stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockPlan {
    /// Not counted.
    Unlimited,
    /// One row for all stores.
    Shared(i64),
    /// One row for each of these stores; others are sold out until they are counted.
    Own(Vec<(StoreId, i64)>),
}

impl StockPlan {
    /// Its mode.
    pub fn mode(&self) -> StockMode {
        match self {
            Self::Unlimited => StockMode::Unlimited,
            Self::Shared(_) => StockMode::Shared,
            Self::Own(_) => StockMode::Own,
        }
    }
}

/// A SKU to create.
#[derive(Debug, Clone)]
pub struct NewSku {
    /// Its name.
    pub name: String,
    /// What makes it different.
    pub specs: BTreeMap<String, String>,
    /// Its price.
    pub price: Money,
    /// The price struck out.
    pub list_price: Option<Money>,
    /// How its vouchers are used.
    pub terms: Terms,
    /// Its first count.
    pub stock: StockPlan,
    /// The most units in one order.
    pub per_order_limit: Option<u32>,
    /// The most units of one customer.
    pub per_customer_limit: Option<u32>,
    /// Whether the refund of a whole unused voucher returns its unit to the stock.
    pub return_on_refund: bool,
}

/// A product to create.
#[derive(Debug, Clone)]
pub struct NewProduct {
    /// Its name.
    pub name: String,
    /// Redeemed or delivered.
    pub kind: Fulfilment,
    /// The name of its category; a new one is created.
    pub category: Option<String>,
    /// Address of its picture; empty = none.
    pub cover: String,
    /// Further pictures.
    pub images: Vec<String>,
    /// Rich text, not sanitised yet.
    pub description_html: String,
    /// Short words.
    pub tags: Vec<String>,
    /// Shown among the recommended.
    pub recommended: bool,
    /// The stores that sell it.
    pub stores: StoreSet,
    /// What is sold.
    pub skus: Vec<NewSku>,
}

/// An edit of what may be absent. In JSON a member that is not there keeps, null clears, a value sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// It stays.
    #[default]
    Keep,
    /// None from now on.
    Clear,
    /// This from now on.
    Set(T),
}

impl<T> Edit<T> {
    /// The same with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Edit<U> {
        match self {
            Self::Keep => Edit::Keep,
            Self::Clear => Edit::Clear,
            Self::Set(value) => Edit::Set(f(value)),
        }
    }

    /// Does it.
    pub(super) fn apply(self, target: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *target = None,
            Self::Set(value) => *target = Some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Edit<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(d)?.map_or(Self::Clear, Self::Set))
    }
}

/// An edit of a product: what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct ProductPatch {
    /// The version that was edited; without it the last writer wins.
    pub version: Option<i64>,
    /// Its name.
    pub name: Option<String>,
    /// The name of its category, or none.
    pub category: Edit<String>,
    /// Address of its picture.
    pub cover: Option<String>,
    /// Further pictures.
    pub images: Option<Vec<String>>,
    /// Rich text, not sanitised yet.
    pub description_html: Option<String>,
    /// Short words.
    pub tags: Option<Vec<String>>,
    /// Shown among the recommended.
    pub recommended: Option<bool>,
    /// The stores that sell it.
    pub stores: Option<StoreSet>,
}

/// An edit of a SKU: what is `None` stays. Vouchers that were sold keep the rule they were sold with.
#[derive(Debug, Clone, Default)]
pub struct SkuPatch {
    /// The version that was edited; without it the last writer wins.
    pub version: Option<i64>,
    /// Its name.
    pub name: Option<String>,
    /// What makes it different.
    pub specs: Option<BTreeMap<String, String>>,
    /// Its price.
    pub price: Option<Money>,
    /// The price struck out, or none.
    pub list_price: Edit<Money>,
    /// Whether it is offered.
    pub active: Option<bool>,
    /// Its place.
    pub sort: Option<i64>,
    /// The most units in one order, or any.
    pub per_order_limit: Edit<u32>,
    /// The most units of one customer, or any.
    pub per_customer_limit: Edit<u32>,
    /// Whether a refund returns the unit to the stock.
    pub return_on_refund: Option<bool>,
    /// Uses of one unit.
    pub uses: Option<u32>,
    /// When.
    pub validity: Option<Validity>,
    /// Weekly windows.
    pub usable: Option<Vec<UsableWindow>>,
    /// Days on which it cannot be used.
    pub blackout_dates: Option<Vec<NaiveDate>>,
    /// Minutes between two redemptions.
    pub min_interval_minutes: Option<u32>,
    /// Uses on one day, or any.
    pub daily_cap: Edit<u32>,
    /// The least number of uses in one redemption.
    pub min_quantity: Option<u32>,
    /// The most uses in one redemption, or any.
    pub max_quantity: Edit<u32>,
    /// Refunds.
    pub refund: Option<RefundPolicy>,
    /// What becomes of unused uses at the end, or what the refund policy suggests.
    pub on_expiry: Edit<ExpiryPolicy>,
    /// Which stores.
    pub binding: Option<Binding>,
    /// Whether they are used at a booked time.
    pub booking: Option<BookingRule>,
}

impl SkuPatch {
    /// Applies it to a SKU as it is stored.
    pub(super) fn apply(self, sku: &mut Sku) {
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        set(&mut sku.name, self.name);
        set(&mut sku.specs, self.specs);
        set(&mut sku.price, self.price);
        self.list_price.apply(&mut sku.list_price);
        set(&mut sku.active, self.active);
        set(&mut sku.sort, self.sort);
        self.per_order_limit.apply(&mut sku.per_order_limit);
        self.per_customer_limit.apply(&mut sku.per_customer_limit);
        set(&mut sku.return_on_refund, self.return_on_refund);
        let rule = &mut sku.rule;
        set(&mut rule.uses, self.uses);
        set(&mut rule.validity, self.validity);
        set(&mut rule.usable, self.usable);
        set(&mut rule.blackout_dates, self.blackout_dates);
        set(&mut rule.min_interval_minutes, self.min_interval_minutes);
        self.daily_cap.apply(&mut rule.daily_cap);
        set(&mut rule.min_quantity, self.min_quantity);
        self.max_quantity.apply(&mut rule.max_quantity);
        set(&mut rule.refund, self.refund);
        self.on_expiry.apply(&mut rule.on_expiry);
        set(&mut rule.binding, self.binding);
        set(&mut rule.booking, self.booking);
        canonical(rule);
    }
}

impl Terms {
    /// The whole rule.
    pub(super) fn rule(self, stores: StoreSet, mode: StockMode, zone: Tz) -> RedemptionRule {
        let default = match mode {
            StockMode::Own => Binding::ChosenStore,
            StockMode::Shared | StockMode::Unlimited => Binding::AnyInScope,
        };
        let mut rule = RedemptionRule {
            uses: self.uses,
            validity: self.validity,
            usable: self.usable,
            blackout_dates: self.blackout_dates,
            min_interval_minutes: self.min_interval_minutes,
            daily_cap: self.daily_cap,
            min_quantity: self.min_quantity,
            max_quantity: self.max_quantity,
            stores,
            binding: self.binding.unwrap_or(default),
            refund: self.refund,
            on_expiry: self.on_expiry,
            zone,
            booking: self.booking,
        };
        canonical(&mut rule);
        rule
    }
}

/// Rules that mean the same have the same text, and so the same id.
fn canonical(rule: &mut RedemptionRule) {
    rule.blackout_dates.sort_unstable();
    rule.blackout_dates.dedup();
    // What goes without saying is not said.
    if rule.on_expiry == Some(default_expiry_policy(rule.refund)) {
        rule.on_expiry = None;
    }
    for window in &mut rule.usable {
        window.weekdays.sort_unstable();
        window.weekdays.dedup();
    }
}

/// The id a rule has by its content: the first eight bytes of the SHA-256 of its JSON.
pub fn rule_id(rule: &RedemptionRule) -> i64 {
    // Our own type has string keys and no failing Serialize: this cannot fail.
    let json = serde_json::to_vec(rule).unwrap_or_default();
    let mut first = [0u8; 8];
    first.copy_from_slice(&sha256(&json)[..8]);
    i64::from_be_bytes(first)
}

/// Sorted and without repetitions, so that the same stores make the same rule.
pub(super) fn sorted(stores: StoreSet) -> StoreSet {
    let sorted = |mut ids: Vec<StoreId>| {
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    match stores {
        StoreSet::All => StoreSet::All,
        StoreSet::Only(ids) => StoreSet::Only(sorted(ids)),
        StoreSet::Except(ids) => StoreSet::Except(sorted(ids)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            uses: 1,
            validity: Validity::default(),
            usable: Vec::new(),
            blackout_dates: Vec::new(),
            min_interval_minutes: 0,
            daily_cap: None,
            min_quantity: 1,
            max_quantity: None,
            refund: RefundPolicy::AnyTime,
            on_expiry: None,
            binding: None,
            booking: BookingRule::None,
        }
    }

    #[test]
    fn rules_are_addressed_by_what_they_say() {
        let days = |days: &[&str]| -> Vec<NaiveDate> { days.iter().map(|d| d.parse().unwrap()).collect() };
        let rule = |terms: Terms| terms.rule(StoreSet::All, StockMode::Shared, Tz::Asia__Shanghai);
        let one =
            rule(Terms { blackout_dates: days(&["2026-10-02", "2026-10-01", "2026-10-01"]), ..terms() });
        let same = rule(Terms { blackout_dates: days(&["2026-10-01", "2026-10-02"]), ..terms() });
        assert_eq!(rule_id(&one), rule_id(&same));
        assert_ne!(rule_id(&one), rule_id(&rule(terms())));
        let said = |on_expiry| rule_id(&rule(Terms { on_expiry: Some(on_expiry), ..terms() }));
        assert_eq!(said(ExpiryPolicy::Refund), rule_id(&rule(terms())));
        assert_ne!(said(ExpiryPolicy::Forfeit), rule_id(&rule(terms())));
    }

    #[test]
    fn own_stock_binds_to_the_chosen_store_unless_said_otherwise() {
        let rule = |terms: Terms, mode| terms.rule(StoreSet::All, mode, Tz::Asia__Shanghai).binding;
        assert_eq!(rule(terms(), StockMode::Own), Binding::ChosenStore);
        assert_eq!(rule(terms(), StockMode::Shared), Binding::AnyInScope);
        assert_eq!(rule(terms(), StockMode::Unlimited), Binding::AnyInScope);
        let any = Terms { binding: Some(Binding::AnyInScope), ..terms() };
        assert_eq!(rule(any, StockMode::Own), Binding::AnyInScope);
    }
}
