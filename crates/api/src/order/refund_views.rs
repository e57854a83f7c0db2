//! Refunds as headquarters see them, with what WeChat said.

use hexiao_core::id::{OrderId, PaymentId, StoreId};
use hexiao_db::refunds::Listed;
use hexiao_db::vouchers::RefundLock;
use serde::Serialize;
use utoipa::ToSchema;

use super::views::{RefundView, refund_view};

/// A refund for staff.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffRefundView {
    #[serde(flatten)]
    pub refund: RefundView,
    #[schema(value_type = String)]
    pub order_id: OrderId,
    pub order_number: String,
    #[schema(value_type = String)]
    pub store_id: StoreId,
    #[schema(value_type = String)]
    pub payment_id: PaymentId,
    pub attempt: i64,
    #[schema(required)]
    pub blocked_reason: Option<String>,
    #[schema(required)]
    pub wechat_refund_id: Option<String>,
    /// What WeChat said last.
    #[schema(required)]
    pub error: Option<String>,
}

pub(super) fn staff_refund_view(listed: Listed, locks: &[RefundLock]) -> StaffRefundView {
    let r = listed.refund;
    StaffRefundView {
        order_id: r.order_id,
        order_number: listed.order_number,
        store_id: listed.store_id,
        payment_id: r.payment_id,
        attempt: r.attempt,
        blocked_reason: r.blocked_reason.map(|b| b.to_string()),
        wechat_refund_id: r.wechat_refund_id.clone(),
        error: r.error.clone(),
        refund: refund_view(r, locks),
    }
}
