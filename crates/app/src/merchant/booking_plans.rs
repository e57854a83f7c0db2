//! What of a store can be booked.

use std::collections::HashSet;

use hexiao_core::booking::BookingTerms;
use hexiao_core::catalog::Capability;
use hexiao_core::id::{ProductId, StoreId};
use hexiao_core::reason::{FieldError, Reason, Refusal};
use hexiao_core::slots::SlotPlan;
use hexiao_core::time::Timestamp;
use hexiao_db::booking_plans::{self, Plan};
use hexiao_db::{Tx, audit, stores, transact};
use serde_json::{Value, json};

use super::product_checks::{problem, refuse_if};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::Result;
use crate::keys::new_id;

/// The most plans of a store.
pub const MAX_BOOKING_PLANS: usize = 100;

/// A plan to put in force.
#[derive(Debug, Clone)]
pub struct NewBookingPlan {
    /// For which product; none = for all that have no plan of their own.
    pub product_id: Option<ProductId>,
    /// Its weekly windows and closed dates.
    pub slots: SlotPlan,
    /// What customers may do until when.
    pub terms: BookingTerms,
}

impl App {
    /// Replaces the booking plans of a store. Bookings that were made stay as they are.
    pub async fn set_booking_plans(
        &self,
        staff: &StaffPrincipal,
        store_id: StoreId,
        plans: &[NewBookingPlan],
    ) -> Result<Vec<Plan>> {
        staff.require(Capability::ManageStore)?;
        refuse_if(Reason::InvalidField, problems(plans))?;
        let now = self.now();
        transact!(self.db, |tx| set(&tx, staff, store_id, plans, now))
    }
}

fn problems(plans: &[NewBookingPlan]) -> Vec<FieldError> {
    if plans.len() > MAX_BOOKING_PLANS {
        return vec![problem("items", format!("最多 {MAX_BOOKING_PLANS} 项"))];
    }
    let (mut out, mut seen) = (Vec::new(), HashSet::new());
    for (i, plan) in plans.iter().enumerate() {
        let path = format!("items[{i}].");
        out.extend(plan.slots.problems(&path));
        out.extend(plan.terms.problems(&format!("{path}terms.")));
        if !seen.insert(plan.product_id) {
            out.push(problem(format!("{path}product_id"), "同一商品只能设置一次"));
        }
    }
    out.truncate(50);
    out
}

async fn set(
    tx: &Tx,
    staff: &StaffPrincipal,
    store_id: StoreId,
    plans: &[NewBookingPlan],
    now: Timestamp,
) -> Result<Vec<Plan>> {
    let merchant = staff.merchant();
    let missing = || Refusal::with_message(Reason::NotFound, "没有找到这个门店");
    // The store is the lock under which its plans are written.
    stores::lock(tx, &staff.scope, store_id).await?.ok_or_else(missing)?;
    let named: Vec<ProductId> = plans.iter().filter_map(|p| p.product_id).collect();
    let known = booking_plans::products_known(tx, merchant, &named).await?;
    let unknown = |(i, plan): (usize, &NewBookingPlan)| {
        let missing = plan.product_id.is_some_and(|id| !known.contains(&id));
        missing.then(|| problem(format!("items[{i}].product_id"), "没有找到这个商品"))
    };
    refuse_if(Reason::InvalidField, plans.iter().enumerate().filter_map(unknown).collect())?;
    let before = booking_plans::of_store(tx, merchant, store_id).await?;
    booking_plans::retire(tx, merchant, store_id, now).await?;
    for plan in plans {
        let row = Plan {
            merchant_id: merchant.merchant_id(),
            id: new_id(),
            store_id,
            product_id: plan.product_id,
            slots: plan.slots.clone(),
            terms: plan.terms,
            updated_at: now,
        };
        booking_plans::put(tx, &row).await?;
    }
    let after = booking_plans::of_store(tx, merchant, store_id).await?;
    let detail = json!({ "plans": [facts(&before), facts(&after)] });
    let subject = store_id.to_string();
    audit::record(tx, merchant, Some(staff.staff_id), "booking_plans.update", &subject, &detail, now).await?;
    Ok(after)
}

/// What the audit log keeps of plans.
fn facts(plans: &[Plan]) -> Vec<Value> {
    let fact = |p: &Plan| json!({ "product_id": p.product_id, "slots": p.slots, "terms": p.terms });
    plans.iter().map(fact).collect()
}
