//! Which slots there are, and how many places are left.

use chrono::{Days, NaiveDate};
use hexiao_core::booking::is_open;
use hexiao_core::id::{ProductId, StoreId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::redeem::StoreFacts as StorePlace;
use hexiao_core::scope::MerchantScope;
use hexiao_core::slots::Slot;
use hexiao_core::time::Timestamp;
use hexiao_db::booking_plans::{self, Plan};
use hexiao_db::store_facts::{self, StoreFacts};
use hexiao_db::{Conn, stores};

use crate::context::App;
use crate::error::Result;

/// A slot that a customer may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSlot {
    /// When it begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// Its places.
    pub capacity: u32,
    /// Those that are left.
    pub remaining: u32,
}

impl App {
    /// The slots of a store's day that can be booked for a product, full ones too; none where there is no plan.
    pub async fn free_slots(
        &self,
        store_id: StoreId,
        product_id: ProductId,
        date: NaiveDate,
    ) -> Result<Vec<FreeSlot>> {
        let reader = self.db.reader();
        let store = stores::get_for_customer(reader, store_id).await?.ok_or(Reason::NotFound)?;
        let merchant = MerchantScope::of_system(store.merchant_id);
        // Also one that is no longer offered: its vouchers are still out.
        if booking_plans::products_known(reader, merchant, &[product_id]).await?.is_empty() {
            return Err(Reason::NotFound.into());
        }
        let Some(plan) = booking_plans::of_product(reader, merchant, store_id, product_id).await? else {
            return Ok(Vec::new());
        };
        let zone = store.business_day.zone;
        let today = self.now().datetime().with_timezone(&zone).date_naive();
        let furthest = today.checked_add_days(Days::new(u64::from(plan.terms.ahead_days)));
        if date < today.checked_sub_days(Days::new(1)).unwrap_or(today)
            || furthest.is_none_or(|last| date > last)
        {
            return Ok(Vec::new());
        }
        let now = self.now();
        let mut slots = plan.slots.clone().within(&store.hours).slots_on(date, zone);
        slots.retain(|slot| is_open(slot, &plan.terms, now));
        let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return Ok(Vec::new()) };
        let places = booking_plans::places(reader, merchant, plan.id, (first.start, last.end)).await?;
        let free = |slot: Slot| {
            let taken = places.get(&slot.start).map_or(0, |p| p.taken);
            FreeSlot {
                start: slot.start,
                end: slot.end,
                capacity: slot.capacity,
                remaining: slot.capacity.saturating_sub(taken),
            }
        };
        Ok(slots.into_iter().map(free).collect())
    }
}

/// A slot that a customer names, with its store and the plan it is of.
pub(super) struct Chosen {
    pub(super) store: StoreFacts,
    pub(super) plan: Plan,
    pub(super) slot: Slot,
}

impl Chosen {
    /// The store as decisions see it. One that rests today may be booked for another day.
    pub(super) fn place(&self) -> StorePlace {
        StorePlace { resting: false, ..self.store.place() }
    }

    /// The slot's counter.
    pub(super) fn key(&self) -> booking_plans::SlotKey {
        (self.plan.id, self.slot.start)
    }
}

/// Finds the slot that begins at an instant.
pub(super) async fn find(
    c: &impl Conn,
    merchant: MerchantScope,
    store_id: StoreId,
    product_id: ProductId,
    start: Timestamp,
) -> Result<Chosen> {
    let missing = || Refusal::field("store_id", "没有找到这个门店");
    let store = store_facts::get(c, merchant, store_id).await?.ok_or_else(missing)?;
    let hours = booking_plans::hours(c, merchant, store_id).await?.ok_or_else(missing)?;
    let plan = booking_plans::of_product(c, merchant, store_id, product_id).await?;
    let plan = plan.ok_or_else(|| Refusal::with_message(Reason::SlotUnavailable, "该门店暂不接受预约"))?;
    let slots = plan.slots.clone().within(&hours);
    let (_, slot) = slots.slot_at(start, store.business_day.zone).ok_or(Reason::SlotUnavailable)?;
    Ok(Chosen { store, plan, slot })
}
