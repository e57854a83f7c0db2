//! An order as its customer, the store and headquarters see it.

use hexiao_core::id::{
    CustomerId, LineId, MerchantId, OrderId, PaymentId, ProductId, RefundId, SkuId, StoreId, VoucherId,
};
use hexiao_core::order::{Units, state_text};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::voucher_status;
use hexiao_db::Conn;
use hexiao_db::orders::{self, Line, Summary};
use hexiao_db::payments::{self, Payment};
use hexiao_db::refunds::{self, Refund};
use hexiao_db::vouchers::{self, Voucher};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiResult;
use crate::views::{At, at, at_opt};

/// An order in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderSummaryView {
    #[schema(value_type = String)]
    pub id: OrderId,
    #[schema(value_type = String)]
    pub merchant_id: MerchantId,
    #[schema(value_type = String)]
    pub store_id: StoreId,
    pub store_name: String,
    /// For people: `YYMMDD` and ten digits.
    pub number: String,
    /// `PendingPayment`, `Grouping`, `Paid`, `Refunding` or `Closed`.
    pub state: String,
    /// In words.
    pub state_text: String,
    /// The customer's tab: unpaid, to_redeem, redeemed, refunded, after_sale, closed.
    pub tab: String,
    /// fulfilling, partly_fulfilled or completed.
    pub fulfilment: String,
    /// none, partial or full.
    pub refunded: String,
    #[schema(required)]
    pub close_reason: Option<String>,
    pub goods_fen: i64,
    pub discount_fen: i64,
    pub pay_fen: i64,
    pub units: UnitsView,
    pub created_at: At,
    pub expires_at: At,
    #[schema(required)]
    pub paid_at: Option<At>,
    #[schema(required)]
    pub closed_at: Option<At>,
}

/// Where the uses of an order are.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnitsView {
    pub total: i64,
    pub used: i64,
    pub locked_refund: i64,
    pub refunded: i64,
    /// Not used in time, and not refunded.
    pub forfeited: i64,
    pub open: i64,
}

/// A line.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineView {
    #[schema(value_type = String)]
    pub id: LineId,
    #[schema(value_type = String)]
    pub product_id: ProductId,
    #[schema(value_type = String)]
    pub sku_id: SkuId,
    pub product_name: String,
    pub sku_name: String,
    pub quantity: u32,
    /// Uses of one unit.
    pub uses: u32,
    pub unit_price_fen: i64,
    pub goods_fen: i64,
    pub discount_fen: i64,
    pub pay_fen: i64,
}

/// A voucher of the order, without its code.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderVoucherView {
    #[schema(value_type = String)]
    pub id: VoucherId,
    pub product_name: String,
    pub sku_name: String,
    pub code_last4: String,
    pub state: String,
    pub total: u32,
    pub used: u32,
    pub locked: u32,
    pub refunded: u32,
    pub forfeited: u32,
    pub valid_to: At,
}

/// A refund.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefundView {
    #[schema(value_type = String)]
    pub id: RefundId,
    /// Created, Submitted, Processing, Blocked, Closed, Abnormal, AbnormalSubmitted, Succeeded, Withdrawn, ManuallyDone.
    pub state: String,
    /// In words.
    pub state_text: String,
    pub cause: String,
    pub reason: String,
    pub amount_fen: i64,
    pub items: Vec<RefundItemView>,
    pub created_at: At,
    #[schema(required)]
    pub succeeded_at: Option<At>,
}

/// What a refund takes of a voucher.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefundItemView {
    #[schema(value_type = String)]
    pub voucher_id: VoucherId,
    pub quantity: i64,
    pub serials: Vec<u32>,
    pub amount_fen: i64,
}

/// The payment.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentView {
    #[schema(value_type = String)]
    pub id: PaymentId,
    pub out_trade_no: String,
    pub state: String,
    pub method: String,
    pub amount_fen: i64,
    #[schema(required)]
    pub transaction_id: Option<String>,
    #[schema(required)]
    pub paid_at: Option<At>,
}

/// One step of the price.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrailView {
    pub step: String,
    pub text: String,
    pub amount_fen: i64,
}

/// Something that happened to the order.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderEventView {
    pub event: String,
    pub actor: String,
    #[schema(required)]
    pub note: Option<String>,
    pub at: At,
}

/// A whole order.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderView {
    #[serde(flatten)]
    pub summary: OrderSummaryView,
    #[schema(value_type = String)]
    pub customer_id: CustomerId,
    pub remark: String,
    pub trail: Vec<TrailView>,
    pub lines: Vec<LineView>,
    pub vouchers: Vec<OrderVoucherView>,
    pub refunds: Vec<RefundView>,
    #[schema(required)]
    pub payment: Option<PaymentView>,
    /// The order's signed QR: lists all its vouchers at the counter. For its customer only, once it is paid.
    #[schema(required)]
    pub qr: Option<String>,
    /// For staff only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<OrderEventView>>,
}

impl From<&Units> for UnitsView {
    fn from(u: &Units) -> Self {
        Self {
            total: u.total,
            used: u.used,
            locked_refund: u.locked_refund,
            refunded: u.refunded,
            forfeited: u.forfeited,
            open: u.open(),
        }
    }
}

impl From<Summary> for OrderSummaryView {
    fn from(s: Summary) -> Self {
        let (o, u) = (s.order, s.units);
        Self {
            id: o.id,
            merchant_id: o.merchant_id,
            store_id: o.store_id,
            store_name: s.store_name,
            number: o.number,
            state: o.state.to_string(),
            state_text: state_text(o.state, u).to_owned(),
            tab: u.tab(o.state).to_string(),
            fulfilment: u.fulfilment().to_string(),
            refunded: u.refunded_state().to_string(),
            close_reason: o.close_reason.map(|r| r.to_string()),
            goods_fen: o.goods.as_fen(),
            discount_fen: o.discount.as_fen(),
            pay_fen: o.pay.as_fen(),
            units: (&u).into(),
            created_at: at(o.created_at),
            expires_at: at(o.expires_at),
            paid_at: at_opt(o.paid_at),
            closed_at: at_opt(o.closed_at),
        }
    }
}

impl From<Line> for LineView {
    fn from(l: Line) -> Self {
        Self {
            id: l.id,
            product_id: l.product_id,
            sku_id: l.sku_id,
            product_name: l.product_name,
            sku_name: l.sku_name,
            quantity: l.quantity,
            uses: l.uses,
            unit_price_fen: l.unit_price.as_fen(),
            goods_fen: l.goods.as_fen(),
            discount_fen: l.discount.as_fen(),
            pay_fen: l.pay.as_fen(),
        }
    }
}

impl From<Payment> for PaymentView {
    fn from(p: Payment) -> Self {
        Self {
            id: p.id,
            out_trade_no: p.id.to_string(),
            state: p.state.to_string(),
            method: p.method.to_string(),
            amount_fen: p.amount.as_fen(),
            transaction_id: p.transaction_id,
            paid_at: at_opt(p.paid_at),
        }
    }
}

fn voucher_view(v: Voucher, now: Timestamp) -> OrderVoucherView {
    OrderVoucherView {
        id: v.id,
        state: voucher_status(v.state, v.counters, now >= v.valid_to).to_string(),
        product_name: v.product_name,
        sku_name: v.sku_name,
        code_last4: v.code_last4,
        total: v.counters.total,
        used: v.counters.used,
        locked: v.counters.locked_refund + v.counters.locked_booking,
        refunded: v.counters.refunded,
        forfeited: v.counters.forfeited,
        valid_to: at(v.valid_to),
    }
}

pub(super) fn refund_view(r: Refund, locks: &[vouchers::RefundLock]) -> RefundView {
    let item = |l: &vouchers::RefundLock| RefundItemView {
        voucher_id: l.voucher_id,
        quantity: l.quantity(),
        serials: l.serials.clone(),
        amount_fen: l.amount.as_fen(),
    };
    RefundView {
        id: r.id,
        state: r.state.to_string(),
        state_text: r.state.text().to_owned(),
        cause: r.cause.to_string(),
        reason: r.reason,
        amount_fen: r.amount.as_fen(),
        items: locks.iter().filter(|l| l.refund_id == r.id).map(item).collect(),
        created_at: at(r.created_at),
        succeeded_at: at_opt(r.succeeded_at),
    }
}

/// Reads a whole order. The caller has checked that it may be seen.
pub(super) async fn order_view(
    c: &impl Conn,
    merchant: MerchantScope,
    id: OrderId,
    now: Timestamp,
) -> ApiResult<OrderView> {
    let summary = orders::summary(c, merchant, id).await?.ok_or(hexiao_core::reason::Reason::NotFound)?;
    let lines = orders::lines(c, merchant, &[id]).await?;
    let vouchers = vouchers::of_order(c, merchant, id).await?;
    let refunds = refunds::of_orders(c, merchant, &[id]).await?;
    let locks =
        vouchers::locks_of_refunds(c, merchant, &refunds.iter().map(|r| r.id).collect::<Vec<_>>()).await?;
    let payment = payments::of_order(c, merchant, id).await?;
    let order = &summary.order;
    let trail = order.trail.iter().map(|t| TrailView {
        step: t.step.to_string(),
        text: t.text.clone(),
        amount_fen: t.amount_fen,
    });
    Ok(OrderView {
        customer_id: order.customer_id,
        remark: order.remark.clone(),
        trail: trail.collect(),
        lines: lines.into_iter().map(LineView::from).collect(),
        vouchers: vouchers.into_iter().map(|v| voucher_view(v, now)).collect(),
        refunds: refunds.into_iter().map(|r| refund_view(r, &locks)).collect(),
        payment: payment.map(PaymentView::from),
        qr: None,
        events: None,
        summary: summary.into(),
    })
}

/// The events of an order, for staff.
pub(super) async fn events_view(
    c: &impl Conn,
    merchant: MerchantScope,
    id: OrderId,
) -> ApiResult<Vec<OrderEventView>> {
    let events = orders::events(c, merchant, id).await?;
    Ok(events
        .into_iter()
        .map(|e| OrderEventView { event: e.event, actor: e.actor, note: e.note, at: at(e.at) })
        .collect())
}
