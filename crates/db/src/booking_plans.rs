//! What of a store can be booked, and the places of its slots.

use std::collections::{BTreeMap, HashSet};

use hexiao_core::booking::BookingTerms;
use hexiao_core::hours::OpeningHours;
use hexiao_core::id::{BookingPlanId, Id as _, MerchantId, ProductId, StoreId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::slots::SlotPlan;
use hexiao_core::time::Timestamp;
use serde::Serialize;

use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param as _, Row, json_text};
use crate::sql::{JsonType, for_update, id_set, in_ids, json_rows, json_table};
use crate::{new_row, params, sql};

/// A plan of a store.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: BookingPlanId,
    /// Of which store.
    pub store_id: StoreId,
    /// For which product; none = for all that have no plan of their own.
    pub product_id: Option<ProductId>,
    /// Its weekly windows and closed dates.
    pub slots: SlotPlan,
    /// What customers may do until when.
    pub terms: BookingTerms,
    /// Since when it is as it is.
    pub updated_at: Timestamp,
}

impl FromRow for Plan {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            store_id: row.get("store_id")?,
            product_id: row.get("product_id")?,
            slots: row.json("slots")?,
            terms: row.json("terms")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

/// The plans of a store that are in force.
pub async fn of_store(c: &impl Conn, merchant: MerchantScope, store: StoreId) -> Result<Vec<Plan>> {
    let text = "SELECT * FROM booking_plans WHERE merchant_id = $1 AND store_id = $2 AND active
                ORDER BY CASE WHEN product_id IS NULL THEN 0 ELSE 1 END, product_id LIMIT 500";
    sql::list(c, text, params![merchant.merchant_id(), store]).await
}

/// The plan for a product in a store: its own, else the store's.
pub async fn of_product(
    c: &impl Conn,
    merchant: MerchantScope,
    store: StoreId,
    product: ProductId,
) -> Result<Option<Plan>> {
    let text = "SELECT * FROM booking_plans WHERE merchant_id = $1 AND store_id = $2 AND active
                  AND (product_id = $3 OR product_id IS NULL)
                ORDER BY CASE WHEN product_id IS NULL THEN 1 ELSE 0 END LIMIT 1";
    sql::find(c, text, params![merchant.merchant_id(), store, product]).await
}

/// Writes a plan: it replaces what the store had for the same product, whose id it keeps. Lock the store first.
pub async fn put(tx: &Tx, plan: &Plan) -> Result<()> {
    let same = match plan.product_id {
        Some(_) => "product_id = $3",
        None => "product_id IS NULL AND $3 IS NULL",
    };
    let text = format!(
        "UPDATE booking_plans SET slots = $4, terms = $5, active = TRUE, updated_at = $6
         WHERE merchant_id = $1 AND store_id = $2 AND {same}"
    );
    let values = params![
        plan.merchant_id,
        plan.store_id,
        plan.product_id,
        json_text(&plan.slots),
        json_text(&plan.terms),
        plan.updated_at,
    ];
    if sql::execute(tx, &text, values).await? > 0 {
        return Ok(());
    }
    let row = new_row! {
        merchant_id: plan.merchant_id, id: plan.id, store_id: plan.store_id, product_id: plan.product_id,
        slots: json_text(&plan.slots), terms: json_text(&plan.terms), active: true, updated_at: plan.updated_at,
    };
    sql::insert_one(tx, "booking_plans", row).await
}

/// Takes all plans of a store back. The bookings made by them stay.
pub async fn retire(tx: &Tx, merchant: MerchantScope, store: StoreId, now: Timestamp) -> Result<()> {
    let text = "UPDATE booking_plans SET active = FALSE, updated_at = $3 WHERE merchant_id = $1 AND store_id = $2 AND active";
    sql::execute(tx, text, params![merchant.merchant_id(), store, now]).await.map(|_| ())
}

/// Whether a store has a plan for a product at all: one that needs bookings is not offered without.
pub async fn any_for_product(c: &impl Conn, merchant: MerchantScope, product: ProductId) -> Result<bool> {
    let text = "SELECT 1 AS found FROM booking_plans b JOIN products p ON p.merchant_id = b.merchant_id AND p.id = $2
                WHERE b.merchant_id = $1 AND b.active AND (b.product_id = $2 OR b.product_id IS NULL)
                  AND (p.all_stores OR EXISTS (SELECT 1 FROM product_stores ps WHERE ps.merchant_id = b.merchant_id
                         AND ps.product_id = $2 AND ps.store_id = b.store_id)) LIMIT 1";
    Ok(sql::row(c, text, params![merchant.merchant_id(), product]).await?.is_some())
}

/// Which of these products the merchant has.
pub async fn products_known(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[ProductId],
) -> Result<HashSet<ProductId>> {
    let text = format!("SELECT id FROM products WHERE merchant_id = $1 AND id {}", in_ids(c, 2));
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await?;
    rows.iter().map(|r| r.get("id")).collect()
}

/// The opening hours of a store.
pub async fn hours(c: &impl Conn, merchant: MerchantScope, store: StoreId) -> Result<Option<OpeningHours>> {
    let text = "SELECT hours FROM stores WHERE merchant_id = $1 AND id = $2";
    let row = sql::row(c, text, params![merchant.merchant_id(), store]).await?;
    row.map(|r| r.json("hours")).transpose()
}

/// Where places are counted: a plan and the begin of its slot.
pub type SlotKey = (BookingPlanId, Timestamp);

/// The places of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// How many there are.
    pub capacity: u32,
    /// How many are taken.
    pub taken: u32,
}

/// The places of a plan's slots that were ever booked, between two instants.
pub async fn places(
    c: &impl Conn,
    merchant: MerchantScope,
    plan: BookingPlanId,
    (from, to): (Timestamp, Timestamp),
) -> Result<BTreeMap<Timestamp, Places>> {
    let text = "SELECT slot_start, capacity, taken FROM booking_slots
                WHERE merchant_id = $1 AND plan_id = $2 AND slot_start >= $3 AND slot_start < $4";
    let rows = sql::rows(c, text, params![merchant.merchant_id(), plan, from, to]).await?;
    rows.iter()
        .map(|r| Ok((r.get("slot_start")?, Places { capacity: r.get("capacity")?, taken: r.get("taken")? })))
        .collect()
}

/// Makes the row of a slot, if nobody booked it before. Lock it afterwards.
pub async fn open(tx: &Tx, merchant: MerchantScope, (plan, start): SlotKey, capacity: u32) -> Result<()> {
    let row = new_row! {
        merchant_id: merchant.merchant_id(), plan_id: plan, slot_start: start, capacity: capacity, taken: 0i64,
    };
    let conflict = "ON CONFLICT (merchant_id, plan_id, slot_start) DO NOTHING";
    sql::insert_with(tx, "booking_slots", vec![row], conflict).await.map(|_| ())
}

#[derive(Serialize)]
struct KeyRow {
    plan_id: String,
    slot_start: i64,
}

/// Locks slots in the order of their keys. Lock the vouchers first.
pub async fn lock(
    tx: &Tx,
    merchant: MerchantScope,
    keys: impl IntoIterator<Item = SlotKey>,
) -> Result<BTreeMap<SlotKey, Places>> {
    let rows: Vec<KeyRow> = keys
        .into_iter()
        .map(|(plan, start)| KeyRow { plan_id: plan.uuid().simple().to_string(), slot_start: start.micros() })
        .collect();
    if rows.is_empty() {
        return Ok(BTreeMap::new());
    }
    let text = format!(
        "SELECT s.plan_id, s.slot_start, s.capacity, s.taken FROM {} JOIN booking_slots s
         ON s.merchant_id = q.merchant_id AND s.plan_id = q.plan_id AND s.slot_start = q.slot_start
         ORDER BY s.plan_id, s.slot_start{}",
        json_table(tx, 2, "q", &[("plan_id", JsonType::Uuid), ("slot_start", JsonType::Int)]),
        for_update(tx, "s")
    );
    let found = sql::rows(tx, &text, vec![merchant.merchant_id().value(), json_rows(&rows)]).await?;
    found
        .iter()
        .map(|r| {
            let key = (r.get("plan_id")?, r.get("slot_start")?);
            Ok((key, Places { capacity: r.get("capacity")?, taken: r.get("taken")? }))
        })
        .collect()
}

#[derive(Serialize)]
struct PlacesRow {
    plan_id: String,
    slot_start: i64,
    delta: i64,
    capacity: u32,
}

/// Takes places of slots, or gives them back when negative, and sets their capacity. They must be locked. The guard
/// and the CHECK `slot_never_oversold` say the same: there are never more places taken than there are.
pub async fn change(tx: &Tx, merchant: MerchantScope, changes: &BTreeMap<SlotKey, (i64, u32)>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows: Vec<PlacesRow> = changes
        .iter()
        .map(|((plan, start), (delta, capacity))| PlacesRow {
            plan_id: plan.uuid().simple().to_string(),
            slot_start: start.micros(),
            delta: *delta,
            capacity: *capacity,
        })
        .collect();
    let columns = [
        ("plan_id", JsonType::Uuid),
        ("slot_start", JsonType::Int),
        ("delta", JsonType::Int),
        ("capacity", JsonType::Int),
    ];
    let text = format!(
        "UPDATE booking_slots SET taken = booking_slots.taken + q.delta, capacity = q.capacity FROM {}
         WHERE booking_slots.merchant_id = q.merchant_id AND booking_slots.plan_id = q.plan_id
           AND booking_slots.slot_start = q.slot_start
           AND booking_slots.taken + q.delta >= 0 AND booking_slots.taken + q.delta <= q.capacity",
        json_table(tx, 2, "q", &columns)
    );
    let values = vec![merchant.merchant_id().value(), json_rows(&rows)];
    sql::execute_exactly(tx, changes.len(), "places of slots", &text, values).await
}
