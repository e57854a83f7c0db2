//! Products: creating them, offering them (上架) and taking them back (下架).

use chrono::Duration;
use hexiao_core::catalog::{Capability, ProductState};
use hexiao_core::id::{ProductId, RecordId, SkuId};
use hexiao_core::order::Fulfilment;
use hexiao_core::reason::{FieldError, Reason, Refusal};
use hexiao_core::rule::{BookingRule, MAX_REFUNDABLE_DAYS, StoreSet, Validity};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::catalog::{self, Product, ProductDetail, Sku};
use hexiao_db::stock_admin::{self, Change, NewStock};
use hexiao_db::{Tx, audit, booking_plans, merchants, transact};
use serde_json::json;

use super::product_checks::{media_problems, problem, refuse_if, sanitise, sku_problems, stock_problems};
use super::product_input::{MAX_SKUS, MAX_STORES, NewProduct, NewSku, StockPlan, rule_id, sorted};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::new_id;

impl App {
    /// Creates a product with its SKUs and their first stock, not offered yet.
    pub async fn create_product(&self, staff: &StaffPrincipal, mut new: NewProduct) -> Result<ProductDetail> {
        staff.require(Capability::ManageProducts)?;
        new.stores = sorted(new.stores);
        new.description_html = sanitise(&new.description_html)?;
        let mut problems = media_problems(&new.cover, &new.images, &new.tags);
        if new.skus.is_empty() || new.skus.len() > MAX_SKUS {
            problems.push(problem("skus", "规格应为 1–50 个"));
        }
        refuse_if(Reason::InvalidField, problems)?;
        let now = self.now();
        transact!(self.db, |tx| create(&tx, staff, &new, now))
    }

    /// Adds a SKU to a product.
    pub async fn add_sku(
        &self,
        staff: &StaffPrincipal,
        product_id: ProductId,
        new: NewSku,
    ) -> Result<ProductDetail> {
        staff.require(Capability::ManageProducts)?;
        let now = self.now();
        transact!(self.db, |tx| add_sku(&tx, staff, product_id, &new, now))
    }

    /// Offers a product. One that is offered already stays so.
    pub async fn publish_product(&self, staff: &StaffPrincipal, id: ProductId) -> Result<ProductDetail> {
        staff.require(Capability::ManageProducts)?;
        let now = self.now();
        transact!(self.db, |tx| publish(&tx, staff, id, now))
    }

    /// Takes a product back. Vouchers that were sold stay good.
    pub async fn delist_product(&self, staff: &StaffPrincipal, id: ProductId) -> Result<ProductDetail> {
        staff.require(Capability::ManageProducts)?;
        let now = self.now();
        transact!(self.db, |tx| delist(&tx, staff, id, now))
    }
}

async fn create(tx: &Tx, staff: &StaffPrincipal, new: &NewProduct, now: Timestamp) -> Result<ProductDetail> {
    let merchant = staff.merchant();
    check_stores(tx, merchant, &new.stores).await?;
    let category_id = match &new.category {
        Some(name) => Some(catalog::find_or_insert_category(tx, merchant, new_id::<RecordId>(), name).await?),
        None => None,
    };
    let product = Product {
        id: new_id(),
        name: new.name.clone(),
        kind: new.kind,
        state: ProductState::Draft,
        category_id,
        cover: new.cover.clone(),
        images: new.images.clone(),
        description_html: new.description_html.clone(),
        tags: new.tags.clone(),
        recommended: new.recommended,
        all_stores: new.stores.open_ended(),
        sold_count: 0,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    catalog::insert(tx, merchant, &product, &new.stores).await?;
    let skus: Vec<(String, &NewSku)> =
        new.skus.iter().enumerate().map(|(i, sku)| (format!("skus[{i}]."), sku)).collect();
    insert_skus(tx, staff, &product, &new.stores, &skus, 0, now).await?;
    let detail = json!({ "name": product.name, "kind": product.kind, "skus": new.skus.len() });
    let subject = product.id.to_string();
    audit::record(tx, merchant, Some(staff.staff_id), "product.create", &subject, &detail, now).await?;
    reload(tx, staff, product.id).await
}

/// Refuses stores that are not the merchant's. Another merchant's store reads the same as none.
pub(super) async fn check_stores(tx: &Tx, merchant: MerchantScope, stores: &StoreSet) -> Result<()> {
    let (ids, path) = match stores {
        StoreSet::All => return Ok(()),
        StoreSet::Only(ids) => (ids, "store_scope.store_ids"),
        StoreSet::Except(ids) => (ids, "store_scope.except_store_ids"),
    };
    if ids.is_empty() || ids.len() > MAX_STORES {
        return Err(Refusal::field(path, "应列出 1–2000 家门店").into());
    }
    let known = catalog::stores_known(tx, merchant, ids).await?;
    let unknown = ids.iter().filter(|id| !known.contains(id)).take(20);
    let fields = unknown.map(|id| problem(path, format!("没有找到门店 {id}"))).collect();
    Ok(refuse_if(Reason::InvalidField, fields)?)
}

/// Writes SKUs with their rules and first stock. `skus` come with the path of their fields.
async fn insert_skus(
    tx: &Tx,
    staff: &StaffPrincipal,
    product: &Product,
    stores: &StoreSet,
    skus: &[(String, &NewSku)],
    first: usize,
    now: Timestamp,
) -> Result<Vec<SkuId>> {
    let merchant = staff.merchant();
    let zone = zone_of(tx, merchant).await?;
    let (mut rows, mut stocks, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (path, new)) in skus.iter().enumerate() {
        let rule = new.terms.clone().rule(stores.clone(), new.stock.mode(), zone);
        let sku = Sku {
            id: new_id(),
            product_id: product.id,
            name: new.name.clone(),
            specs: new.specs.clone(),
            price: new.price,
            list_price: new.list_price,
            rule_id: rule_id(&rule),
            rule,
            stock_mode: new.stock.mode(),
            return_on_refund: new.return_on_refund,
            per_order_limit: new.per_order_limit,
            per_customer_limit: new.per_customer_limit,
            active: true,
            sort: i64::try_from(first + i).unwrap_or(i64::MAX),
            version: 1,
            on_hand: 0,
            reserved: 0,
        };
        problems.extend(sku_problems(path, &sku));
        problems.extend(stock_problems(path, &new.stock, stores));
        problems.extend(unknown_counts(tx, merchant, path, &new.stock).await?);
        stocks.extend(first_counts(sku.id, &new.stock));
        rows.push(sku);
    }
    refuse_if(Reason::InvalidField, problems)?;
    for sku in &rows {
        catalog::put_rule(tx, merchant, sku.rule_id, &sku.rule, now).await?;
    }
    catalog::insert_skus(tx, merchant, &rows).await?;
    let change = Change { staff_id: Some(staff.staff_id), reason: "初始库存", at: now };
    stock_admin::insert(tx, merchant, &stocks, change).await?;
    Ok(rows.into_iter().map(|sku| sku.id).collect())
}

fn first_counts(sku_id: SkuId, plan: &StockPlan) -> Vec<NewStock> {
    let row = |store_id, on_hand| NewStock { id: new_id(), sku_id, store_id, on_hand, low_at: None };
    match plan {
        StockPlan::Unlimited => Vec::new(),
        StockPlan::Shared(on_hand) => vec![row(None, *on_hand)],
        StockPlan::Own(rows) => {
            rows.iter().map(|(store_id, on_hand)| row(Some(*store_id), *on_hand)).collect()
        }
    }
}

/// Counts for stores that are not the merchant's, where the product is sold in all of them.
async fn unknown_counts(
    tx: &Tx,
    merchant: MerchantScope,
    path: &str,
    plan: &StockPlan,
) -> Result<Vec<FieldError>> {
    let StockPlan::Own(rows) = plan else { return Ok(Vec::new()) };
    let ids: Vec<_> = rows.iter().map(|(id, _)| *id).collect();
    let known = catalog::stores_known(tx, merchant, &ids).await?;
    let unknown = ids.iter().enumerate().filter(|(_, id)| !known.contains(id)).take(20);
    Ok(unknown
        .map(|(i, _)| problem(format!("{path}stock_by_store[{i}].store_id"), "没有找到这个门店"))
        .collect())
}

pub(super) async fn zone_of(tx: &Tx, merchant: MerchantScope) -> Result<chrono_tz::Tz> {
    let merchant = merchants::get(tx, merchant).await?;
    Ok(merchant
        .ok_or_else(|| AppError::Internal("a session without its merchant".to_owned()))?
        .business_day
        .zone)
}

async fn add_sku(
    tx: &Tx,
    staff: &StaffPrincipal,
    product_id: ProductId,
    new: &NewSku,
    now: Timestamp,
) -> Result<ProductDetail> {
    let before = lock(tx, staff, product_id).await?;
    if before.skus.len() >= MAX_SKUS {
        return Err(Refusal::with_message(Reason::IllegalState, "一个商品最多 50 个规格").into());
    }
    let skus = [(String::new(), new)];
    let first = before.skus.len();
    let ids = insert_skus(tx, staff, &before.product, &before.stores(), &skus, first, now).await?;
    let detail = json!({ "product_id": product_id, "name": new.name, "price_fen": new.price });
    let subject = ids.first().map_or_else(String::new, SkuId::to_string);
    audit::record(tx, staff.merchant(), Some(staff.staff_id), "sku.create", &subject, &detail, now).await?;
    let after = reload(tx, staff, product_id).await?;
    for sku in after.skus.iter().filter(|sku| ids.contains(&sku.id)) {
        stay_in_time(&after.product, sku, now)?;
    }
    Ok(after)
}

/// The whole product, locked: who edits a product or its SKUs does so alone.
pub(super) async fn lock(tx: &Tx, staff: &StaffPrincipal, id: ProductId) -> Result<ProductDetail> {
    catalog::lock(tx, staff.merchant(), id).await?.ok_or_else(not_found)?;
    reload(tx, staff, id).await
}

pub(super) async fn reload(tx: &Tx, staff: &StaffPrincipal, id: ProductId) -> Result<ProductDetail> {
    catalog::detail(tx, &staff.scope, id).await?.ok_or_else(|| not_found().into())
}

pub(super) fn not_found() -> Refusal {
    Refusal::with_message(Reason::NotFound, "没有找到这个商品")
}

async fn publish(tx: &Tx, staff: &StaffPrincipal, id: ProductId, now: Timestamp) -> Result<ProductDetail> {
    let detail = lock(tx, staff, id).await?;
    match detail.product.state {
        ProductState::Listed => return Ok(detail),
        ProductState::Removed => return Err(not_found().into()),
        ProductState::Draft | ProductState::Delisted => {}
    }
    match detail.product.kind {
        Fulfilment::Redeem => {}
        Fulfilment::Delivery => {
            return Err(Refusal::with_message(Reason::IllegalState, "目前只能上架到店核销商品").into());
        }
    }
    let mut problems = incomplete(tx, staff.merchant(), &detail).await?;
    for (i, sku) in detail.skus.iter().enumerate() {
        problems.extend(out_of_time(&format!("skus[{i}]."), sku, now));
    }
    refuse_if(Reason::PublishIncomplete, problems)?;
    set_state(tx, staff, &detail.product, ProductState::Listed, "product.publish", now).await
}

async fn delist(tx: &Tx, staff: &StaffPrincipal, id: ProductId, now: Timestamp) -> Result<ProductDetail> {
    let detail = lock(tx, staff, id).await?;
    match detail.product.state {
        ProductState::Delisted => Ok(detail),
        ProductState::Removed => Err(not_found().into()),
        ProductState::Draft => Err(Refusal::with_message(Reason::IllegalState, "商品还没有上架").into()),
        ProductState::Listed => {
            set_state(tx, staff, &detail.product, ProductState::Delisted, "product.delist", now).await
        }
    }
}

async fn set_state(
    tx: &Tx,
    staff: &StaffPrincipal,
    product: &Product,
    state: ProductState,
    action: &str,
    now: Timestamp,
) -> Result<ProductDetail> {
    let merchant = staff.merchant();
    catalog::set_state(tx, merchant, product, state, now).await?;
    let (subject, detail) = (product.id.to_string(), json!({ "state": [product.state, state] }));
    audit::record(tx, merchant, Some(staff.staff_id), action, &subject, &detail, now).await?;
    reload(tx, staff, product.id).await
}

/// What a product that is offered must have, and an edit must not take away.
pub(super) async fn incomplete(
    tx: &Tx,
    merchant: MerchantScope,
    detail: &ProductDetail,
) -> Result<Vec<FieldError>> {
    let mut out = Vec::new();
    if detail.product.name.is_empty() {
        out.push(problem("name", "请填写商品名称"));
    }
    if !detail.skus.iter().any(|sku| sku.active) {
        out.push(problem("skus", "至少要有一个启用的规格"));
    }
    let (_, stores) = catalog::eligible_stores(tx, merchant, detail.product.id, None).await?;
    if stores == 0 {
        out.push(problem("store_scope", "至少要有一家可用的适用门店"));
    }
    let booked = |sku: &Sku| sku.active && sku.rule.booking == BookingRule::Required;
    if let Some(i) = detail.skus.iter().position(booked)
        && !booking_plans::any_for_product(tx, merchant, detail.product.id).await?
    {
        out.push(problem(format!("skus[{i}].booking"), "请先为至少一家适用门店设置预约时段"));
    }
    Ok(out)
}

/// Fixed dates that are over, or too far away for a refund through WeChat, as a problem of the fields under `path`.
fn out_of_time(path: &str, sku: &Sku, now: Timestamp) -> Option<FieldError> {
    let Validity::Fixed { .. } = sku.rule.validity else { return None };
    if !sku.active {
        return None;
    }
    let (_, to) = sku.rule.validity_from(now);
    let latest = now.plus(Duration::days(i64::from(MAX_REFUNDABLE_DAYS)));
    let message = if to <= now {
        "有效期已经结束"
    } else if sku.rule.may_refund() && to > latest {
        "可退款的商品有效期最长 350 天（微信只支持一年内退款）"
    } else {
        return None;
    };
    Some(problem(format!("{path}validity.to"), message))
}

/// Refuses dates of a SKU of an offered product that publishing it would refuse. Asked when a SKU comes or its dates
/// change: what was fine then only comes nearer, and one that is over must not keep its product from being edited.
pub(super) fn stay_in_time(product: &Product, sku: &Sku, now: Timestamp) -> Result<(), Refusal> {
    match product.state {
        ProductState::Listed => {
            refuse_if(Reason::InvalidField, out_of_time("", sku, now).into_iter().collect())
        }
        ProductState::Draft | ProductState::Delisted | ProductState::Removed => Ok(()),
    }
}
