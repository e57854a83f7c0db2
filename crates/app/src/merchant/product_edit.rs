//! Editing products and SKUs, and what single stores do differently.

use std::collections::{HashMap, HashSet};

use hexiao_core::catalog::{Capability, ProductState};
use hexiao_core::id::{ProductId, RecordId, SkuId, StoreId};
use hexiao_core::money::MAX_AMOUNT_FEN;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::rule::StoreSet;
use hexiao_core::time::Timestamp;
use hexiao_db::catalog::{self, Listing, ProductDetail, Sku};
use hexiao_db::{Tx, audit, transact};
use serde_json::{Value, json};

use super::product_checks::{media_problems, problem, refuse_if, sanitise, sku_problems};
use super::product_input::{Edit, MAX_STORES, ProductPatch, SkuPatch, rule_id, sorted};
use super::products::{check_stores, incomplete, lock, reload, stay_in_time};
use super::{changes, check_version};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::Result;
use crate::keys::new_id;

impl App {
    /// Edits a product. Other stores make other rules for its SKUs; vouchers that were sold keep theirs.
    pub async fn edit_product(
        &self,
        staff: &StaffPrincipal,
        id: ProductId,
        mut patch: ProductPatch,
    ) -> Result<ProductDetail> {
        staff.require(Capability::ManageProducts)?;
        patch.description_html = patch.description_html.as_deref().map(sanitise).transpose()?;
        patch.stores = patch.stores.map(sorted);
        let now = self.now();
        transact!(self.db, |tx| edit_product(&tx, staff, id, &patch, now))
    }

    /// Edits a SKU. Another rule applies to what is sold from now on.
    pub async fn edit_sku(
        &self,
        staff: &StaffPrincipal,
        id: SkuId,
        patch: SkuPatch,
    ) -> Result<ProductDetail> {
        staff.require(Capability::ManageProducts)?;
        let now = self.now();
        transact!(self.db, |tx| edit_sku(&tx, staff, id, &patch, now))
    }

    /// Sets what stores do differently with the SKUs of a product. Pairs that are not named stay.
    pub async fn set_listings(
        &self,
        staff: &StaffPrincipal,
        id: ProductId,
        listings: &[Listing],
    ) -> Result<()> {
        staff.require(Capability::ManageProducts)?;
        let now = self.now();
        transact!(self.db, |tx| set_listings(&tx, staff, id, listings, now))
    }
}

async fn edit_product(
    tx: &Tx,
    staff: &StaffPrincipal,
    id: ProductId,
    patch: &ProductPatch,
    now: Timestamp,
) -> Result<ProductDetail> {
    let merchant = staff.merchant();
    let before = lock(tx, staff, id).await?;
    check_version(patch.version, before.product.version)?;
    let mut product = before.product.clone();
    match &patch.category {
        Edit::Keep => {}
        Edit::Clear => product.category_id = None,
        Edit::Set(name) => {
            let id: RecordId = new_id();
            product.category_id = Some(catalog::find_or_insert_category(tx, merchant, id, name).await?);
        }
    }
    product.name = patch.name.clone().unwrap_or(product.name);
    product.cover = patch.cover.clone().unwrap_or(product.cover);
    product.images = patch.images.clone().unwrap_or(product.images);
    product.description_html = patch.description_html.clone().unwrap_or(product.description_html);
    product.tags = patch.tags.clone().unwrap_or(product.tags);
    product.recommended = patch.recommended.unwrap_or(product.recommended);
    refuse_if(Reason::InvalidField, media_problems(&product.cover, &product.images, &product.tags))?;
    if let Some(stores) = &patch.stores {
        check_stores(tx, merchant, stores).await?;
        product.all_stores = stores.open_ended();
        catalog::set_stores(tx, merchant, id, stores).await?;
        set_rule_stores(tx, staff, &before.skus, stores, now).await?;
    }
    catalog::update(tx, merchant, &product, now).await?;
    let after = stay_complete(tx, staff, id).await?;
    let detail = changes(&product_facts(&before), &product_facts(&after));
    record(tx, staff, "product.update", &id.to_string(), &detail.into(), now).await?;
    Ok(after)
}

/// The product after an edit. One that is offered must still have what that takes.
async fn stay_complete(tx: &Tx, staff: &StaffPrincipal, id: ProductId) -> Result<ProductDetail> {
    let after = reload(tx, staff, id).await?;
    if after.product.state == ProductState::Listed {
        let fields = incomplete(tx, staff.merchant(), &after).await?;
        if !fields.is_empty() {
            let refusal =
                Refusal::with_message(Reason::PublishIncomplete, "上架中的商品不能缺少这些内容，请先下架");
            return Err(Refusal { fields, ..refusal }.into());
        }
    }
    Ok(after)
}

async fn set_rule_stores(
    tx: &Tx,
    staff: &StaffPrincipal,
    skus: &[Sku],
    stores: &StoreSet,
    now: Timestamp,
) -> Result<()> {
    for sku in skus {
        let mut sku = sku.clone();
        sku.rule.stores = stores.clone();
        write_sku(tx, staff, sku, now).await?;
    }
    Ok(())
}

/// Stores the rule under the id of its content and the SKU with it.
async fn write_sku(tx: &Tx, staff: &StaffPrincipal, mut sku: Sku, now: Timestamp) -> Result<()> {
    let merchant = staff.merchant();
    sku.rule_id = rule_id(&sku.rule);
    catalog::put_rule(tx, merchant, sku.rule_id, &sku.rule, now).await?;
    Ok(catalog::update_sku(tx, merchant, &sku).await?)
}

async fn edit_sku(
    tx: &Tx,
    staff: &StaffPrincipal,
    id: SkuId,
    patch: &SkuPatch,
    now: Timestamp,
) -> Result<ProductDetail> {
    let merchant = staff.merchant();
    let missing = || Refusal::with_message(Reason::NotFound, "没有找到这个规格");
    let product_id = catalog::product_of_sku(tx, merchant, id).await?.ok_or_else(missing)?;
    let product = lock(tx, staff, product_id).await?.product;
    let before = catalog::lock_sku(tx, merchant, id).await?.ok_or_else(missing)?;
    check_version(patch.version, before.version)?;
    let mut sku = before.clone();
    patch.clone().apply(&mut sku);
    refuse_if(Reason::InvalidField, sku_problems("", &sku))?;
    if (&sku.rule.validity, sku.rule.may_refund(), sku.active)
        != (&before.rule.validity, before.rule.may_refund(), before.active)
    {
        stay_in_time(&product, &sku, now)?;
    }
    let detail = changes(&sku_facts(&before), &sku_facts(&sku));
    write_sku(tx, staff, sku, now).await?;
    record(tx, staff, "sku.update", &id.to_string(), &detail.into(), now).await?;
    stay_complete(tx, staff, product_id).await
}

async fn set_listings(
    tx: &Tx,
    staff: &StaffPrincipal,
    id: ProductId,
    listings: &[Listing],
    now: Timestamp,
) -> Result<()> {
    let merchant = staff.merchant();
    let product = lock(tx, staff, id).await?;
    let ids: Vec<StoreId> = listings.iter().map(|l| l.store_id).collect();
    let known: HashSet<StoreId> = catalog::stores_known(tx, merchant, &ids).await?.into_iter().collect();
    let stores = product.stores();
    let skus: HashSet<SkuId> = product.skus.iter().map(|sku| sku.id).collect();
    let (mut problems, mut seen) = (Vec::new(), HashMap::new());
    if listings.is_empty() || listings.len() > MAX_STORES {
        problems.push(problem("items", "每次应为 1–2000 项"));
    }
    for (i, listing) in listings.iter().enumerate().take(MAX_STORES) {
        if !known.contains(&listing.store_id) || !stores.contains(listing.store_id) {
            problems.push(problem(format!("items[{i}].store_id"), "不在适用门店中"));
        }
        if !skus.contains(&listing.sku_id) {
            problems.push(problem(format!("items[{i}].sku_id"), "不是这个商品的规格"));
        }
        if listing.price.is_some_and(|price| !(0..=MAX_AMOUNT_FEN).contains(&price.as_fen())) {
            problems.push(problem(format!("items[{i}].price_fen"), "价格应为 0–1000000 元"));
        }
        if let Some(first) = seen.insert((listing.store_id, listing.sku_id), i) {
            problems.push(problem(format!("items[{i}]"), format!("与第 {} 项重复", first + 1)));
        }
    }
    problems.truncate(50);
    refuse_if(Reason::InvalidField, problems)?;
    catalog::upsert_listings(tx, merchant, listings, now).await?;
    let facts = listings.iter().map(|l| json!([l.store_id, l.sku_id, l.listed, l.price])).collect();
    record(tx, staff, "listings.update", &id.to_string(), &Value::Array(facts), now).await
}

async fn record(
    tx: &Tx,
    staff: &StaffPrincipal,
    action: &str,
    subject: &str,
    detail: &Value,
    now: Timestamp,
) -> Result<()> {
    Ok(audit::record(tx, staff.merchant(), Some(staff.staff_id), action, subject, detail, now).await?)
}

/// What the audit log compares. The rich text is long: only that it changed is kept.
fn product_facts(detail: &ProductDetail) -> Value {
    let p = &detail.product;
    json!({
        "name": p.name, "category": detail.category, "cover": p.cover, "images": p.images, "tags": p.tags,
        "description_chars": p.description_html.chars().count(), "recommended": p.recommended,
        "all_stores": p.all_stores, "store_ids": detail.store_ids,
    })
}

fn sku_facts(sku: &Sku) -> Value {
    json!({
        "name": sku.name, "specs": sku.specs, "price_fen": sku.price, "list_price_fen": sku.list_price,
        "rule_id": rule_id(&sku.rule), "return_on_refund": sku.return_on_refund, "sort": sku.sort,
        "per_order_limit": sku.per_order_limit, "per_customer_limit": sku.per_customer_limit, "active": sku.active,
    })
}
