//! The store's bookings: who comes today, who has arrived, who is called off.

use axum::Json as JsonBody;
use axum::extract::State;
use chrono::NaiveDate;
use hexiao_core::booking::BookingState;
use hexiao_core::catalog::Capability;
use hexiao_core::hours::business_day_start;
use hexiao_core::id::{BookingId, StoreId};
use hexiao_core::reason::Reason;
use hexiao_core::scope::StoreScope;
use hexiao_core::time::Timestamp;
use hexiao_db::{bookings, stores};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::views::{BookingEventView, StoreBookingView};
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::fields::Line;
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_store_bookings))
        .routes(routes!(get_store_booking))
        .routes(routes!(note_arrival))
        .routes(routes!(call_off_booking))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StoreBookingQuery {
    #[param(value_type = String)]
    store_id: StoreId,
    /// A business day of the store; today when not given.
    #[param(value_type = Option<String>, example = "2026-11-23")]
    date: Option<NaiveDate>,
    /// Held, Booked, Arrived, Completed, Cancelled, NoShow or Rescheduled.
    #[param(value_type = Option<String>)]
    state: Option<BookingState>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// The bookings of a store's day, first to last.
#[utoipa::path(get, path = "/api/v1/staff/bookings", tag = "staff", security(("bearer" = [])), params(StoreBookingQuery),
    responses((status = 200, body = List<StoreBookingView>)))]
async fn list_store_bookings(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(q): Query<StoreBookingQuery>,
) -> ApiResult<JsonBody<List<StoreBookingView>>> {
    staff.require(Capability::ReadOrders)?;
    let page = page_request(q.cursor.as_deref(), q.limit)?;
    let reader = state.app.db.reader();
    let store = stores::get(reader, &staff.scope, q.store_id).await?.ok_or(Reason::NotFound)?;
    let day = store.business_day;
    let date = q.date.unwrap_or_else(|| day.date(state.app.now()).0);
    let start = |date| Timestamp::from_datetime(business_day_start(date, day.zone, day.cutoff_hour));
    let range = (start(date), start(date.succ_opt().unwrap_or(date)));
    let found = bookings::list_of_store(reader, staff.merchant(), q.store_id, range, q.state, &page).await?;
    Ok(JsonBody(List::of(found, StoreBookingView::from)))
}

#[derive(Serialize, ToSchema)]
struct StoreBookingDetailView {
    #[serde(flatten)]
    booking: StoreBookingView,
    history: Vec<BookingEventView>,
}

async fn whole(state: &ApiState, scope: &StoreScope, id: BookingId) -> ApiResult<StoreBookingDetailView> {
    let reader = state.app.db.reader();
    let found = bookings::in_scope(reader, scope, id).await?.ok_or(Reason::NotFound)?;
    let history = bookings::events(reader, scope.merchant(), id).await?;
    Ok(StoreBookingDetailView {
        booking: found.into(),
        history: history.into_iter().map(BookingEventView::from).collect(),
    })
}

/// One booking, with its history.
#[utoipa::path(get, path = "/api/v1/staff/bookings/{id}", tag = "staff", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = StoreBookingDetailView)))]
async fn get_store_booking(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<BookingId>,
) -> ApiResult<JsonBody<StoreBookingDetailView>> {
    staff.require(Capability::ReadOrders)?;
    Ok(JsonBody(whole(&state, &staff.scope, id).await?))
}

/// Notes that the customer has arrived. Its redemption may then wait until the service is over.
#[utoipa::path(post, path = "/api/v1/staff/bookings/{id}/arrive", tag = "staff", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = StoreBookingDetailView)))]
async fn note_arrival(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<BookingId>,
) -> ApiResult<JsonBody<StoreBookingDetailView>> {
    state.app.note_arrival(&staff, id).await?;
    Ok(JsonBody(whole(&state, &staff.scope, id).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CallOffBody {
    /// The customer reads it.
    reason: Line<1, 100>,
}

/// Calls a booking off. The customer is told why, and may book again.
#[utoipa::path(post, path = "/api/v1/staff/bookings/{id}/cancel", tag = "staff", security(("bearer" = [])), request_body = CallOffBody,
    params(("id" = String, Path)), responses((status = 200, body = StoreBookingDetailView)))]
async fn call_off_booking(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<BookingId>,
    Json(body): Json<CallOffBody>,
) -> ApiResult<JsonBody<StoreBookingDetailView>> {
    state.app.cancel_booking_of_store(&staff, id, &body.reason.0).await?;
    Ok(JsonBody(whole(&state, &staff.scope, id).await?))
}
