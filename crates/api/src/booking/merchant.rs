//! What of a store can be booked, for its manager and headquarters.

use std::collections::BTreeSet;

use axum::Json as JsonBody;
use axum::extract::State;
use chrono::NaiveDate;
use hexiao_app::merchant::NewBookingPlan;
use hexiao_core::booking::BookingTerms;
use hexiao_core::hours::{ClockTime, Weekday};
use hexiao_core::id::{BookingPlanId, ProductId, StoreId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::slots::{SlotPlan, SlotWindow};
use hexiao_db::booking_plans::{self, Plan};
use hexiao_db::stores;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::List;
use crate::error::ApiResult;
use crate::extract::{Json, Path, Staff};
use crate::router::ApiState;
use crate::views::{At, at};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_booking_plans, set_booking_plans))
}

/// A weekly window of slots. `to` at or before `from` means the next day.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SlotWindowBody {
    /// 1 = Monday … 7 = Sunday.
    #[schema(value_type = u8, minimum = 1, maximum = 7)]
    weekday: Weekday,
    #[schema(value_type = String, example = "10:00")]
    from: ClockTime,
    #[schema(value_type = String, example = "20:00")]
    to: ClockTime,
    /// How long a slot is.
    #[schema(minimum = 5, maximum = 1440)]
    slot_minutes: u32,
    /// Places of each slot, in uses.
    #[schema(minimum = 1, maximum = 10000)]
    capacity: u32,
}

/// Until when customers may do what. What is not given has its usual value.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of a type that the core reads and writes itself")]
struct BookingTermsBody {
    /// Days ahead that can be booked; 30.
    ahead_days: Option<u32>,
    /// Minutes before a slot at which booking it ends; 0.
    lead_minutes: Option<u32>,
    /// Minutes for which places are held without a confirmation; 10.
    hold_minutes: Option<u32>,
    /// Minutes before a slot until which the customer may cancel or move it; 120.
    change_minutes: Option<u32>,
    /// How often a booking may be moved; 2.
    max_reschedules: Option<u32>,
    /// Minutes after the slot's begin at which nobody has come; 30.
    no_show_minutes: Option<u32>,
    /// Minutes before the slot from which it can be redeemed; 30.
    early_minutes: Option<u32>,
    /// Minutes after the slot until which it can be redeemed; 30.
    late_minutes: Option<u32>,
    /// Minutes before the slot at which the customer is reminded; 120, and 0 means never.
    reminder_minutes: Option<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BookingPlanBody {
    /// For this product; without it for all that have no plan of their own.
    #[schema(value_type = Option<String>)]
    product_id: Option<ProductId>,
    #[schema(max_items = 50)]
    windows: Vec<SlotWindowBody>,
    /// Dates on which no window begins.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 100)]
    closed_dates: Vec<NaiveDate>,
    #[serde(default)]
    #[schema(value_type = BookingTermsBody)]
    terms: BookingTerms,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BookingPlansBody {
    #[schema(max_items = 100)]
    items: Vec<BookingPlanBody>,
}

#[derive(Serialize, ToSchema)]
struct BookingPlanView {
    #[schema(value_type = String)]
    id: BookingPlanId,
    #[schema(value_type = Option<String>, required)]
    product_id: Option<ProductId>,
    windows: Vec<SlotWindowBody>,
    #[schema(value_type = Vec<String>)]
    closed_dates: Vec<NaiveDate>,
    #[schema(value_type = BookingTermsBody)]
    terms: BookingTerms,
    updated_at: At,
}

impl From<Plan> for BookingPlanView {
    fn from(plan: Plan) -> Self {
        let window = |w: SlotWindow| SlotWindowBody {
            weekday: w.weekday,
            from: w.from,
            to: w.to,
            slot_minutes: w.slot_minutes,
            capacity: w.capacity,
        };
        Self {
            id: plan.id,
            product_id: plan.product_id,
            windows: plan.slots.windows.into_iter().map(window).collect(),
            closed_dates: plan.slots.closed.into_iter().collect(),
            terms: plan.terms,
            updated_at: at(plan.updated_at),
        }
    }
}

impl From<BookingPlanBody> for NewBookingPlan {
    fn from(body: BookingPlanBody) -> Self {
        let window = |w: SlotWindowBody| SlotWindow {
            weekday: w.weekday,
            from: w.from,
            to: w.to,
            slot_minutes: w.slot_minutes,
            capacity: w.capacity,
        };
        let closed: BTreeSet<NaiveDate> = body.closed_dates.into_iter().collect();
        let slots = SlotPlan { windows: body.windows.into_iter().map(window).collect(), closed };
        Self { product_id: body.product_id, slots, terms: body.terms }
    }
}

/// The booking plans of a store.
#[utoipa::path(get, path = "/api/v1/merchant/stores/{id}/booking-plans", tag = "store", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = List<BookingPlanView>)))]
async fn get_booking_plans(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<StoreId>,
) -> ApiResult<JsonBody<List<BookingPlanView>>> {
    let reader = state.app.db.reader();
    stores::get(reader, &staff.scope, id).await?.ok_or(Reason::NotFound)?;
    let found = booking_plans::of_store(reader, staff.merchant(), id).await?;
    Ok(JsonBody(List::complete(found.into_iter().map(BookingPlanView::from).collect())))
}

/// Replaces the booking plans of a store. Bookings that were made stay as they are.
#[utoipa::path(put, path = "/api/v1/merchant/stores/{id}/booking-plans", tag = "store", security(("bearer" = [])), request_body = BookingPlansBody,
    params(("id" = String, Path)), responses((status = 200, body = List<BookingPlanView>)))]
async fn set_booking_plans(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<StoreId>,
    Json(body): Json<BookingPlansBody>,
) -> ApiResult<JsonBody<List<BookingPlanView>>> {
    if body.items.len() > hexiao_app::merchant::MAX_BOOKING_PLANS {
        return Err(Refusal::field("items", "最多 100 项").into());
    }
    let plans: Vec<NewBookingPlan> = body.items.into_iter().map(NewBookingPlan::from).collect();
    let found = state.app.set_booking_plans(&staff, id, &plans).await?;
    Ok(JsonBody(List::complete(found.into_iter().map(BookingPlanView::from).collect())))
}
