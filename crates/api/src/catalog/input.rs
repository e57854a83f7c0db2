//! What merchants enter for products and SKUs, and how it becomes the use cases' input.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use hexiao_app::merchant::{Edit, MAX_SKUS, NewProduct, NewSku, ProductPatch, SkuPatch, StockPlan, Terms};
use hexiao_core::catalog::StockMode;
use hexiao_core::expiry::ExpiryPolicy;
use hexiao_core::id::StoreId;
use hexiao_core::money::Money;
use hexiao_core::order::Fulfilment;
use hexiao_core::reason::{FieldError, Reason, Refusal};
use hexiao_core::rule::{Binding, BookingRule, RefundPolicy, StoreSet, UsableWindow, Validity};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::fields::{Line, Paragraphs};

/// A member that must be there and may be null.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(d)
}

/// `{"days":30}` from payment, `{"days":30,"activate_within_days":90}` from the first use, or
/// `{"from":"2026-10-01","to":"2026-10-07"}`, both days included.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidityBody {
    /// From payment, so many days; with `activate_within_days` from the first use.
    #[serde(default)]
    days: Option<u32>,
    /// Days after the payment within which the first use must be.
    #[serde(default)]
    activate_within_days: Option<u32>,
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2026-10-01")]
    from: Option<NaiveDate>,
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2026-10-07")]
    to: Option<NaiveDate>,
}

/// A weekly window. `to` at or before `from` means the next day.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a type that the core reads and writes itself")]
pub(super) struct WindowBody {
    /// 1 = Monday … 7 = Sunday.
    weekdays: Vec<u8>,
    #[schema(example = "11:00")]
    from: String,
    #[schema(example = "14:00")]
    to: String,
}

impl From<&Validity> for ValidityBody {
    fn from(validity: &Validity) -> Self {
        match validity {
            Validity::FromPayment { days } => Self { days: Some(*days), ..Self::default() },
            Validity::FromActivation { days, activate_within_days } => Self {
                days: Some(*days),
                activate_within_days: Some(*activate_within_days),
                ..Self::default()
            },
            Validity::Fixed { from, to } => Self { from: Some(*from), to: Some(*to), ..Self::default() },
        }
    }
}

impl ValidityBody {
    fn parse(&self, path: &str, problems: &mut Vec<FieldError>) -> Validity {
        match (self.days, self.activate_within_days, self.from, self.to) {
            (Some(days), None, None, None) => Validity::FromPayment { days },
            (Some(days), Some(activate_within_days), None, None) => {
                Validity::FromActivation { days, activate_within_days }
            }
            (None, None, Some(from), Some(to)) => Validity::Fixed { from, to },
            _ => {
                let message = "请填写 days（付款后有效天数），或 days 和 activate_within_days（首次使用后有效天数、首次使用期限），或 from 和 to（起止日期）".to_owned();
                problems.push(FieldError { path: format!("{path}validity"), message });
                Validity::default()
            }
        }
    }
}

/// `{"all":true}`, `{"all":true,"except_store_ids":[…]}` or `{"store_ids":[…]}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreScopeBody {
    /// All stores, also those that open later.
    all: Option<bool>,
    /// These, up to 2000.
    #[schema(value_type = Option<Vec<String>>)]
    store_ids: Option<Vec<StoreId>>,
    /// With `all`: all but these, up to 2000.
    #[schema(value_type = Option<Vec<String>>)]
    except_store_ids: Option<Vec<StoreId>>,
}

impl StoreScopeBody {
    fn parse(self, problems: &mut Vec<FieldError>) -> StoreSet {
        let (ids, except) = (self.store_ids.unwrap_or_default(), self.except_store_ids.unwrap_or_default());
        match (self.all.unwrap_or(false), ids.is_empty(), except.is_empty()) {
            (true, true, true) => StoreSet::All,
            (true, true, false) => StoreSet::Except(except),
            (false, _, true) => StoreSet::Only(ids),
            (true, false, _) | (false, _, false) => {
                let message = "请选择全部门店（可列出除外的门店），或列出适用门店".to_owned();
                problems.push(FieldError { path: "store_scope".to_owned(), message });
                StoreSet::All
            }
        }
    }
}

/// The first count of a store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StoreCountBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    quantity: i64,
}

/// A SKU to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SkuBody {
    name: Line<1, 50>,
    /// What makes it different, like `{"规格":"双人"}`.
    #[serde(default)]
    specs: BTreeMap<String, String>,
    #[schema(minimum = 0, maximum = 100_000_000)]
    price_fen: i64,
    /// The price struck out.
    list_price_fen: Option<i64>,
    /// The first count of the stock that all stores share.
    stock: Option<i64>,
    /// `own`, `shared` or `unlimited`; without it `shared` when `stock` is given, else `unlimited`.
    #[schema(value_type = Option<String>)]
    stock_mode: Option<StockMode>,
    /// With `own`: the first count of each store.
    stock_by_store: Option<Vec<StoreCountBody>>,
    /// Uses of one unit; 1 when not given.
    uses: Option<u32>,
    /// 30 days from payment when not given.
    validity: Option<ValidityBody>,
    #[serde(default)]
    #[schema(value_type = Vec<WindowBody>)]
    usable: Vec<UsableWindow>,
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    blackout_dates: Vec<NaiveDate>,
    min_interval_minutes: Option<u32>,
    daily_cap: Option<u32>,
    min_quantity: Option<u32>,
    /// The most uses in one redemption.
    max_quantity: Option<u32>,
    /// `any_time` when not given.
    #[schema(value_type = Option<String>)]
    refund: Option<RefundPolicy>,
    /// What becomes of uses that nobody used in time: `refund` or `forfeit`; without it `refund` when `refund` is
    /// `any_time`, else `forfeit`.
    #[schema(value_type = Option<String>)]
    on_expiry: Option<ExpiryPolicy>,
    /// `chosen_store` with own stock, else `any_in_scope`, when not given.
    #[schema(value_type = Option<String>)]
    binding: Option<Binding>,
    /// `none` when not given, or `required`: used at a booked time only.
    #[schema(value_type = Option<String>)]
    booking: Option<BookingRule>,
    per_order_limit: Option<u32>,
    /// Counts from when it is set. Units that are refunded still count; those of an order that is closed unpaid do not.
    per_customer_limit: Option<u32>,
    /// True when not given.
    return_on_refund: Option<bool>,
}

fn trimmed(specs: BTreeMap<String, String>) -> BTreeMap<String, String> {
    specs.into_iter().map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())).collect()
}

impl SkuBody {
    fn plan(&mut self, path: &str, problems: &mut Vec<FieldError>) -> StockPlan {
        let default = if self.stock.is_some() { StockMode::Shared } else { StockMode::Unlimited };
        let mut wrong = |field: &str, text: &str| {
            problems.push(FieldError { path: format!("{path}{field}"), message: text.to_owned() });
        };
        match (self.stock_mode.unwrap_or(default), self.stock, self.stock_by_store.take()) {
            (StockMode::Unlimited, None, None) => StockPlan::Unlimited,
            (StockMode::Shared, Some(n), None) => StockPlan::Shared(n),
            (StockMode::Own, None, rows) => StockPlan::Own(
                rows.unwrap_or_default().into_iter().map(|r| (r.store_id, r.quantity)).collect(),
            ),
            (StockMode::Shared, None, None) => {
                wrong("stock", "必填");
                StockPlan::Shared(0)
            }
            (StockMode::Own, Some(_), _) => {
                wrong("stock", "各店独立库存请填 stock_by_store");
                StockPlan::Unlimited
            }
            (StockMode::Unlimited, Some(_), _) => {
                wrong("stock", "不限库存的规格不能填库存");
                StockPlan::Unlimited
            }
            (StockMode::Shared | StockMode::Unlimited, _, Some(_)) => {
                wrong("stock_by_store", "只用于各店独立库存（stock_mode: own）");
                StockPlan::Unlimited
            }
        }
    }

    fn parse(mut self, path: &str, problems: &mut Vec<FieldError>) -> NewSku {
        let stock = self.plan(path, problems);
        let validity = self.validity.map_or_else(Validity::default, |v| v.parse(path, problems));
        NewSku {
            name: self.name.0,
            specs: trimmed(self.specs),
            price: Money::fen(self.price_fen),
            list_price: self.list_price_fen.map(Money::fen),
            terms: Terms {
                uses: self.uses.unwrap_or(1),
                validity,
                usable: self.usable,
                blackout_dates: self.blackout_dates,
                min_interval_minutes: self.min_interval_minutes.unwrap_or(0),
                daily_cap: self.daily_cap,
                min_quantity: self.min_quantity.unwrap_or(1),
                max_quantity: self.max_quantity,
                refund: self.refund.unwrap_or(RefundPolicy::AnyTime),
                on_expiry: self.on_expiry,
                binding: self.binding,
                booking: self.booking.unwrap_or(BookingRule::None),
            },
            stock,
            per_order_limit: self.per_order_limit,
            per_customer_limit: self.per_customer_limit,
            return_on_refund: self.return_on_refund.unwrap_or(true),
        }
    }

    /// The SKU, alone in its request.
    pub(super) fn into_sku(self) -> Result<NewSku, Refusal> {
        let mut problems = Vec::new();
        let sku = self.parse("", &mut problems);
        refuse_if(problems)?;
        Ok(sku)
    }
}

fn refuse_if(fields: Vec<FieldError>) -> Result<(), Refusal> {
    if fields.is_empty() { Ok(()) } else { Err(Refusal { fields, ..Refusal::new(Reason::InvalidField) }) }
}

fn lines<const MIN: usize, const MAX: usize>(lines: Vec<Line<MIN, MAX>>) -> Vec<String> {
    lines.into_iter().map(|line| line.0).collect()
}

/// A product to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductBody {
    name: Line<1, 60>,
    /// `redeem` (used in a store) or `delivery`.
    #[schema(value_type = String, example = "redeem")]
    kind: Fulfilment,
    /// 1–50.
    skus: Vec<SkuBody>,
    store_scope: StoreScopeBody,
    /// By its name; a new one is created.
    category: Option<Line<1, 20>>,
    /// `https://…` or a path on this server.
    cover: Option<Line<0, 500>>,
    /// Up to 20.
    #[serde(default)]
    images: Vec<Line<1, 500>>,
    /// Simple formatting, lists, tables and pictures are kept; anything else is removed.
    description_html: Option<Paragraphs<20_000>>,
    /// Up to 10.
    #[serde(default)]
    tags: Vec<Line<1, 20>>,
    #[serde(default)]
    recommended: bool,
}

impl ProductBody {
    pub(super) fn into_product(self) -> Result<NewProduct, Refusal> {
        let mut problems = Vec::new();
        if self.skus.len() > MAX_SKUS {
            return Err(Refusal::field("skus", "规格应为 1–50 个"));
        }
        let stores = self.store_scope.parse(&mut problems);
        let parse = |(i, sku): (usize, SkuBody)| sku.parse(&format!("skus[{i}]."), &mut problems);
        let skus: Vec<NewSku> = self.skus.into_iter().enumerate().map(parse).collect();
        refuse_if(problems)?;
        Ok(NewProduct {
            name: self.name.0,
            kind: self.kind,
            category: self.category.map(|c| c.0),
            cover: self.cover.map_or_else(String::new, |c| c.0),
            images: lines(self.images),
            description_html: self.description_html.map_or_else(String::new, |d| d.0),
            tags: lines(self.tags),
            recommended: self.recommended,
            stores,
            skus,
        })
    }
}

/// An edit of a product: what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductPatchBody {
    /// The version that was edited: another one is answered with 409 `stale`.
    version: Option<i64>,
    name: Option<Line<1, 60>>,
    /// By its name; null = none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    category: Edit<Line<1, 20>>,
    /// Empty or null = none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    cover: Edit<Line<0, 500>>,
    images: Option<Vec<Line<1, 500>>>,
    description_html: Option<Paragraphs<20_000>>,
    tags: Option<Vec<Line<1, 20>>>,
    recommended: Option<bool>,
    store_scope: Option<StoreScopeBody>,
}

impl ProductPatchBody {
    pub(super) fn into_patch(self) -> Result<ProductPatch, Refusal> {
        let mut problems = Vec::new();
        let stores = self.store_scope.map(|s| s.parse(&mut problems));
        refuse_if(problems)?;
        Ok(ProductPatch {
            version: self.version,
            name: self.name.map(|n| n.0),
            category: self.category.map(|c| c.0),
            cover: match self.cover {
                Edit::Keep => None,
                Edit::Clear => Some(String::new()),
                Edit::Set(cover) => Some(cover.0),
            },
            images: self.images.map(lines),
            description_html: self.description_html.map(|d| d.0),
            tags: self.tags.map(lines),
            recommended: self.recommended,
            stores,
        })
    }
}

/// An edit of a SKU: what is absent stays. Where its stock is counted cannot change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SkuPatchBody {
    /// The version that was edited: another one is answered with 409 `stale`.
    version: Option<i64>,
    name: Option<Line<1, 50>>,
    specs: Option<BTreeMap<String, String>>,
    price_fen: Option<i64>,
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    list_price_fen: Edit<i64>,
    /// Whether it is offered.
    active: Option<bool>,
    /// Its place among the SKUs.
    sort: Option<i64>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    per_order_limit: Edit<u32>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    per_customer_limit: Edit<u32>,
    return_on_refund: Option<bool>,
    uses: Option<u32>,
    validity: Option<ValidityBody>,
    #[schema(value_type = Option<Vec<WindowBody>>)]
    usable: Option<Vec<UsableWindow>>,
    #[schema(value_type = Option<Vec<String>>)]
    blackout_dates: Option<Vec<NaiveDate>>,
    min_interval_minutes: Option<u32>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    daily_cap: Edit<u32>,
    min_quantity: Option<u32>,
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    max_quantity: Edit<u32>,
    #[schema(value_type = Option<String>)]
    refund: Option<RefundPolicy>,
    /// `refund` or `forfeit`; null for what the refund policy suggests.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    on_expiry: Edit<ExpiryPolicy>,
    #[schema(value_type = Option<String>)]
    binding: Option<Binding>,
    /// `none` or `required`.
    #[schema(value_type = Option<String>)]
    booking: Option<BookingRule>,
}

impl SkuPatchBody {
    pub(super) fn into_patch(self) -> Result<SkuPatch, Refusal> {
        let mut problems = Vec::new();
        let validity = self.validity.map(|v| v.parse("", &mut problems));
        refuse_if(problems)?;
        Ok(SkuPatch {
            version: self.version,
            name: self.name.map(|n| n.0),
            specs: self.specs.map(trimmed),
            price: self.price_fen.map(Money::fen),
            list_price: self.list_price_fen.map(Money::fen),
            active: self.active,
            sort: self.sort,
            per_order_limit: self.per_order_limit,
            per_customer_limit: self.per_customer_limit,
            return_on_refund: self.return_on_refund,
            uses: self.uses,
            validity,
            usable: self.usable,
            blackout_dates: self.blackout_dates,
            min_interval_minutes: self.min_interval_minutes,
            daily_cap: self.daily_cap,
            min_quantity: self.min_quantity,
            max_quantity: self.max_quantity,
            refund: self.refund,
            on_expiry: self.on_expiry,
            binding: self.binding,
            booking: self.booking,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(json: &str) -> Result<NewSku, Vec<String>> {
        let body: SkuBody = serde_json::from_str(json).unwrap();
        body.into_sku().map_err(|r| r.fields.into_iter().map(|f| f.path).collect())
    }

    #[test]
    fn stock_means_shared_and_nothing_means_unlimited() {
        let stock = |json: &str| sku(json).map(|s| s.stock);
        assert_eq!(stock(r#"{"name":"a","price_fen":1,"stock":5}"#), Ok(StockPlan::Shared(5)));
        assert_eq!(stock(r#"{"name":"a","price_fen":1}"#), Ok(StockPlan::Unlimited));
        assert_eq!(stock(r#"{"name":"a","price_fen":1,"stock_mode":"own"}"#), Ok(StockPlan::Own(vec![])));
        let wrong = |json: &str| stock(json).unwrap_err();
        assert_eq!(wrong(r#"{"name":"a","price_fen":1,"stock_mode":"shared"}"#), ["stock"]);
        assert_eq!(wrong(r#"{"name":"a","price_fen":1,"stock_mode":"own","stock":1}"#), ["stock"]);
        assert_eq!(wrong(r#"{"name":"a","price_fen":1,"stock_mode":"unlimited","stock":1}"#), ["stock"]);
        assert_eq!(wrong(r#"{"name":"a","price_fen":1,"stock":1,"stock_by_store":[]}"#), ["stock_by_store"]);
    }

    #[test]
    fn validity_is_one_of_three() {
        let with = |validity: &str| sku(&format!(r#"{{"name":"a","price_fen":1,"validity":{validity}}}"#));
        assert_eq!(
            with(r#"{"days":7,"from":null}"#).unwrap().terms.validity,
            Validity::FromPayment { days: 7 }
        );
        assert_eq!(
            with(r#"{"days":7,"activate_within_days":30}"#).unwrap().terms.validity,
            Validity::FromActivation { days: 7, activate_within_days: 30 }
        );
        assert!(with(r#"{"from":"2026-10-01","to":"2026-10-07"}"#).is_ok());
        for bad in [
            "{}",
            r#"{"activate_within_days":7}"#,
            r#"{"from":"2026-10-01"}"#,
            r#"{"days":7,"from":"2026-10-01","to":"2026-10-07"}"#,
        ] {
            assert_eq!(with(bad).unwrap_err(), ["validity"], "{bad}");
        }
    }

    #[test]
    fn absent_null_and_value_differ() {
        let patch = |json: &str| serde_json::from_str::<SkuPatchBody>(json).unwrap().into_patch().unwrap();
        assert_eq!(patch("{}").list_price, Edit::Keep);
        assert_eq!(patch(r#"{"list_price_fen":null}"#).list_price, Edit::Clear);
        assert_eq!(patch(r#"{"list_price_fen":5}"#).list_price, Edit::Set(Money::fen(5)));
        assert!(serde_json::from_str::<SkuPatchBody>(r#"{"stock_mode":"own"}"#).is_err());
    }
}
