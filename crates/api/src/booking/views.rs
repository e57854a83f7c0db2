//! Bookings as customers and staff see them.

use hexiao_core::booking::{BookingState, CancelReason};
use hexiao_core::id::{BookingId, MerchantId, OrderId, ProductId, StoreId, VoucherId};
use hexiao_db::bookings::{EventRow, Named};
use serde::Serialize;
use utoipa::ToSchema;

use crate::views::{At, at, at_opt};

/// A booking.
#[derive(Debug, Serialize, ToSchema)]
pub struct BookingView {
    #[schema(value_type = String)]
    pub id: BookingId,
    #[schema(value_type = String)]
    pub merchant_id: MerchantId,
    #[schema(value_type = String)]
    pub voucher_id: VoucherId,
    #[schema(value_type = String)]
    pub order_id: OrderId,
    #[schema(value_type = String)]
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    #[schema(value_type = String)]
    pub store_id: StoreId,
    pub store_name: String,
    pub slot_start: At,
    pub slot_end: At,
    /// Uses.
    pub quantity: u32,
    /// Those that were redeemed.
    pub redeemed: u32,
    /// Held, Booked, Arrived, Completed, Cancelled, NoShow or Rescheduled.
    #[schema(value_type = String)]
    pub state: BookingState,
    /// The same in words.
    pub state_text: String,
    /// Until when a hold waits for its confirmation.
    #[schema(required)]
    pub hold_until: Option<At>,
    /// Until when the customer may cancel or move it.
    pub change_until: At,
    /// How often it can still be moved.
    pub reschedules_left: u32,
    /// From when it can be redeemed.
    pub redeem_from: At,
    /// Until when it can be redeemed.
    pub redeem_to: At,
    /// customer, store or timeout.
    #[schema(value_type = Option<String>, required)]
    pub cancel_reason: Option<CancelReason>,
    #[schema(required)]
    pub cancel_note: Option<String>,
    /// The booking that replaced it.
    #[schema(value_type = Option<String>, required)]
    pub rescheduled_to: Option<BookingId>,
    /// What the customer wrote to the store.
    pub note: String,
    pub created_at: At,
}

impl From<Named> for BookingView {
    fn from(n: Named) -> Self {
        let (from, to) = n.facts().window();
        let b = n.booking;
        let change = chrono::Duration::minutes(i64::from(b.terms.change_minutes));
        Self {
            id: b.id,
            merchant_id: b.merchant_id,
            voucher_id: b.voucher_id,
            order_id: b.order_id,
            product_id: b.product_id,
            product_name: n.product_name,
            sku_name: n.sku_name,
            store_id: b.store_id,
            store_name: n.store_name,
            slot_start: at(b.slot_start),
            slot_end: at(b.slot_end),
            quantity: b.quantity,
            redeemed: b.redeemed,
            state: b.state,
            state_text: b.state.text().to_owned(),
            hold_until: at_opt(b.due_at.filter(|_| b.state == BookingState::Held)),
            change_until: at(b.slot_start.minus(change)),
            reschedules_left: b.terms.max_reschedules.saturating_sub(b.reschedules),
            redeem_from: at(from),
            redeem_to: at(to),
            cancel_reason: b.cancel_reason,
            cancel_note: b.cancel_note,
            rescheduled_to: b.rescheduled_to,
            note: b.note,
            created_at: at(b.created_at),
        }
    }
}

/// A booking as the store sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoreBookingView {
    #[serde(flatten)]
    pub booking: BookingView,
    pub nickname: String,
    #[schema(required)]
    pub phone_masked: Option<String>,
    pub code_last4: String,
}

impl From<Named> for StoreBookingView {
    fn from(n: Named) -> Self {
        Self {
            nickname: n.nickname.clone(),
            phone_masked: n.phone_masked.clone(),
            code_last4: n.code_last4.clone(),
            booking: n.into(),
        }
    }
}

/// Something that happened to a booking.
#[derive(Debug, Serialize, ToSchema)]
pub struct BookingEventView {
    pub event: String,
    /// The state it came to; null when it stayed.
    #[schema(value_type = Option<String>, required)]
    pub to: Option<BookingState>,
    /// customer, staff or system.
    pub actor: String,
    #[schema(required)]
    pub note: Option<String>,
    pub at: At,
}

impl From<EventRow> for BookingEventView {
    fn from(e: EventRow) -> Self {
        Self { event: e.event, to: e.to, actor: e.actor, note: e.note, at: at(e.at) }
    }
}
