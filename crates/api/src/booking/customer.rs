//! Customers choose a time, confirm, move and cancel it.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::NaiveDate;
use hexiao_app::booking::{BookUses, ConfirmBooking, Done, RescheduleBooking};
use hexiao_core::booking::BookingState;
use hexiao_core::id::{BookingId, ProductId, StoreId, VoucherId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::time::Timestamp;
use hexiao_db::bookings::{self, CustomerFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::views::{BookingEventView, BookingView};
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Customer, IdempotencyKey, Json, Path, Query};
use crate::fields::Paragraphs;
use crate::router::ApiState;
use crate::views::{At, at};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(free_slots))
        .routes(routes!(book, list_bookings))
        .routes(routes!(get_booking))
        .routes(routes!(confirm_booking))
        .routes(routes!(reschedule_booking))
        .routes(routes!(cancel_booking))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SlotQuery {
    #[param(value_type = String)]
    product_id: ProductId,
    /// A local date of the store.
    #[param(value_type = String, example = "2026-11-23")]
    date: NaiveDate,
}

#[derive(Serialize, ToSchema)]
struct SlotView {
    start: At,
    end: At,
    /// Places, in uses.
    capacity: u32,
    /// Those that are left; 0 is full.
    remaining: u32,
}

/// The slots of a store's day that can be booked for a product.
#[utoipa::path(get, path = "/api/v1/customer/stores/{id}/slots", tag = "customer", params(("id" = String, Path), SlotQuery),
    responses((status = 200, body = List<SlotView>)))]
async fn free_slots(
    State(state): State<ApiState>,
    Path(id): Path<StoreId>,
    Query(q): Query<SlotQuery>,
) -> ApiResult<JsonBody<List<SlotView>>> {
    let found = state.app.free_slots(id, q.product_id, q.date).await?;
    let view = |s: hexiao_app::booking::FreeSlot| SlotView {
        start: at(s.start),
        end: at(s.end),
        capacity: s.capacity,
        remaining: s.remaining,
    };
    Ok(JsonBody(List::complete(found.into_iter().map(view).collect())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BookBody {
    #[schema(value_type = String)]
    voucher_id: VoucherId,
    #[schema(value_type = String)]
    store_id: StoreId,
    /// The `start` of one of the store's slots.
    #[schema(value_type = String, example = "2026-11-23T14:00:00+08:00")]
    slot_start: Timestamp,
    /// Uses; 1 when not given.
    #[schema(minimum = 1)]
    quantity: Option<u32>,
    /// A word to the store, up to 200 characters.
    note: Option<Paragraphs<200>>,
    /// Book at once; otherwise the places are held for some minutes, until the booking is confirmed.
    confirm: Option<bool>,
}

async fn answer(state: &ApiState, done: Done) -> ApiResult<BookingView> {
    let found = bookings::of(state.app.db.reader(), done.merchant, &[done.booking_id]).await?.pop();
    Ok(found.ok_or(Reason::NotFound)?.into())
}

/// Books uses of a voucher at a time in a store: `Held` until it is confirmed, or `Booked` at once.
#[utoipa::path(post, path = "/api/v1/customer/bookings", tag = "customer", security(("bearer" = [])), request_body = BookBody,
    params(("Idempotency-Key" = String, Header, description = "1–255 characters")),
    responses((status = 201, body = BookingView), (status = 200, body = BookingView, description = "The same request had booked it before")))]
async fn book(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<BookBody>,
) -> ApiResult<(StatusCode, JsonBody<BookingView>)> {
    let quantity = body.quantity.unwrap_or(1);
    if quantity == 0 {
        return Err(Refusal::field("quantity", "次数至少为 1").into());
    }
    let request = BookUses {
        customer: customer.scope(),
        voucher_id: body.voucher_id,
        store_id: body.store_id,
        slot_start: body.slot_start,
        quantity,
        note: body.note.map(|n| n.0).unwrap_or_default(),
        confirm: body.confirm.unwrap_or(false),
        key,
    };
    let done = state.app.book(&request).await?;
    let status = if done.replayed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, JsonBody(answer(&state, done).await?)))
}

/// Confirms a booking that is held.
#[utoipa::path(post, path = "/api/v1/customer/bookings/{id}/confirm", tag = "customer", security(("bearer" = [])),
    params(("id" = String, Path), ("Idempotency-Key" = String, Header, description = "1–255 characters")),
    responses((status = 200, body = BookingView)))]
async fn confirm_booking(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(booking_id): Path<BookingId>,
    IdempotencyKey(key): IdempotencyKey,
) -> ApiResult<JsonBody<BookingView>> {
    let request = ConfirmBooking { customer: customer.scope(), booking_id, key };
    let done = state.app.confirm_booking(&request).await?;
    Ok(JsonBody(answer(&state, done).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RescheduleBody {
    /// The `start` of another slot.
    #[schema(value_type = String, example = "2026-11-23T15:00:00+08:00")]
    slot_start: Timestamp,
    /// Another store; the same when not given.
    #[schema(value_type = Option<String>)]
    store_id: Option<StoreId>,
}

/// Moves a booking to another slot. The answer is the booking that replaces it.
#[utoipa::path(post, path = "/api/v1/customer/bookings/{id}/reschedule", tag = "customer", security(("bearer" = [])), request_body = RescheduleBody,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header, description = "1–255 characters")),
    responses((status = 201, body = BookingView), (status = 200, body = BookingView, description = "The same request had moved it before")))]
async fn reschedule_booking(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(booking_id): Path<BookingId>,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<RescheduleBody>,
) -> ApiResult<(StatusCode, JsonBody<BookingView>)> {
    let request = RescheduleBooking {
        customer: customer.scope(),
        booking_id,
        slot_start: body.slot_start,
        store_id: body.store_id,
        key,
    };
    let done = state.app.reschedule_booking(&request).await?;
    let status = if done.replayed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, JsonBody(answer(&state, done).await?)))
}

#[derive(Serialize, ToSchema)]
struct BookingDetailView {
    #[serde(flatten)]
    booking: BookingView,
    history: Vec<BookingEventView>,
}

async fn whole(
    state: &ApiState,
    customer: hexiao_core::scope::CustomerScope,
    id: BookingId,
) -> ApiResult<BookingDetailView> {
    let reader = state.app.db.reader();
    let found = bookings::of_customer(reader, customer, id).await?.ok_or(Reason::NotFound)?;
    let history = bookings::events(reader, found.booking.merchant(), id).await?;
    Ok(BookingDetailView {
        booking: found.into(),
        history: history.into_iter().map(BookingEventView::from).collect(),
    })
}

/// Gives a booking up: its places and uses are free again.
#[utoipa::path(post, path = "/api/v1/customer/bookings/{id}/cancel", tag = "customer", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = BookingDetailView)))]
async fn cancel_booking(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<BookingId>,
) -> ApiResult<JsonBody<BookingDetailView>> {
    state.app.cancel_booking_of_customer(customer.scope(), id).await?;
    Ok(JsonBody(whole(&state, customer.scope(), id).await?))
}

/// One of the customer's bookings.
#[utoipa::path(get, path = "/api/v1/customer/bookings/{id}", tag = "customer", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = BookingDetailView)))]
async fn get_booking(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<BookingId>,
) -> ApiResult<JsonBody<BookingDetailView>> {
    Ok(JsonBody(whole(&state, customer.scope(), id).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BookingQuery {
    /// Held, Booked, Arrived, Completed, Cancelled, NoShow or Rescheduled.
    #[param(value_type = Option<String>)]
    state: Option<BookingState>,
    #[param(value_type = Option<String>)]
    voucher_id: Option<VoucherId>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// The customer's bookings, newest first.
#[utoipa::path(get, path = "/api/v1/customer/bookings", tag = "customer", security(("bearer" = [])), params(BookingQuery),
    responses((status = 200, body = List<BookingView>)))]
async fn list_bookings(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Query(q): Query<BookingQuery>,
) -> ApiResult<JsonBody<List<BookingView>>> {
    let page = page_request(q.cursor.as_deref(), q.limit)?;
    let filter = CustomerFilter { voucher_id: q.voucher_id, state: q.state };
    let found = bookings::list_of_customer(state.app.db.reader(), customer.scope(), filter, &page).await?;
    Ok(JsonBody(List::of(found, BookingView::from)))
}
