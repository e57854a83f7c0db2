//! Customers buy, pay, close and ask for refunds.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_app::order::{OrderLineRequest, PlaceOrder, QuoteRequest};
use hexiao_app::payment::SheetArguments;
use hexiao_app::refund::{CreateRefund, RefundItem};
use hexiao_core::id::{OrderId, PaymentId, SkuId, StoreId, VoucherId};
use hexiao_core::order::{OrderState, OrderTab};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::time::Timestamp;
use hexiao_db::orders::{self, Filter, Order};
use hexiao_db::{merchants, refunds, vouchers};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::views::{OrderSummaryView, OrderView, RefundView, TrailView, order_view, refund_view};
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Customer, IdempotencyKey, Json, Path, Query};
use crate::fields::{Line, Paragraphs};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(preview_order))
        .routes(routes!(place_order, list_orders))
        .routes(routes!(get_order))
        .routes(routes!(get_order_by_payment))
        .routes(routes!(pay_order))
        .routes(routes!(close_order))
        .routes(routes!(ask_for_refund))
        .routes(routes!(get_refund))
        .routes(routes!(withdraw_refund))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LineBody {
    #[schema(value_type = String)]
    sku_id: SkuId,
    #[schema(minimum = 1, maximum = 50)]
    quantity: u32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreviewBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    #[schema(max_items = 50)]
    lines: Vec<LineBody>,
    /// One of the coupons that the preview lists.
    coupon_id: Option<Line<1, 64>>,
    /// Points to spend.
    points: Option<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    #[schema(max_items = 50)]
    lines: Vec<LineBody>,
    /// One of the coupons that the preview lists.
    coupon_id: Option<Line<1, 64>>,
    /// Points to spend.
    points: Option<u32>,
    /// For delivery; what is redeemed in a store needs none.
    address_id: Option<Line<1, 64>>,
    /// A note to the store, up to 200 characters.
    remark: Option<Paragraphs<200>>,
}

#[derive(Serialize, ToSchema)]
struct PreviewLineView {
    #[schema(value_type = String)]
    sku_id: SkuId,
    product_name: String,
    sku_name: String,
    quantity: u32,
    unit_price_fen: i64,
    goods_fen: i64,
    discount_fen: i64,
    pay_fen: i64,
}

#[derive(Serialize, ToSchema)]
struct CouponView {
    id: String,
    applicable: bool,
    why_not: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct PreviewView {
    lines: Vec<PreviewLineView>,
    goods_fen: i64,
    discount_fen: i64,
    pay_fen: i64,
    trail: Vec<TrailView>,
    /// Coupons the customer holds; none exist yet.
    coupons: Vec<CouponView>,
}

/// Customers hold no coupons and no points: what names one names nothing.
fn check_extras(coupon: Option<&Line<1, 64>>, points: Option<u32>) -> ApiResult<()> {
    if coupon.is_some() {
        return Err(Refusal::field("coupon_id", "没有这张优惠券").into());
    }
    if points.is_some_and(|p| p > 0) {
        return Err(Refusal::field("points", "没有可用的积分").into());
    }
    Ok(())
}

fn quote_request(store_id: StoreId, lines: Vec<LineBody>) -> ApiResult<QuoteRequest> {
    if lines.len() > 50 {
        return Err(Refusal::field("lines", "最多 50 行").into());
    }
    let lines =
        lines.into_iter().map(|l| OrderLineRequest { sku_id: l.sku_id, quantity: l.quantity }).collect();
    Ok(QuoteRequest { store_id, lines })
}

/// What an order would cost, and how that comes about.
#[utoipa::path(post, path = "/api/v1/customer/orders/preview", tag = "customer", security(("bearer" = [])), request_body = PreviewBody,
    responses((status = 200, body = PreviewView)))]
async fn preview_order(
    State(state): State<ApiState>,
    _customer: Customer,
    Json(body): Json<PreviewBody>,
) -> ApiResult<JsonBody<PreviewView>> {
    check_extras(body.coupon_id.as_ref(), body.points)?;
    let quoted = state.app.quote_order(&quote_request(body.store_id, body.lines)?).await?;
    let line = |l: hexiao_app::order::QuotedLine| PreviewLineView {
        sku_id: l.sku.sku_id,
        product_name: l.sku.product_name,
        sku_name: l.sku.sku_name,
        quantity: l.quantity,
        unit_price_fen: l.price.unit_price.as_fen(),
        goods_fen: l.price.goods.as_fen(),
        discount_fen: l.price.discount.as_fen(),
        pay_fen: l.price.pay.as_fen(),
    };
    let quote = quoted.quote;
    Ok(JsonBody(PreviewView {
        lines: quoted.lines.into_iter().map(line).collect(),
        goods_fen: quote.goods.as_fen(),
        discount_fen: quote.discount.as_fen(),
        pay_fen: quote.pay.as_fen(),
        trail: quote
            .trail
            .into_iter()
            .map(|t| TrailView { step: t.step.to_string(), text: t.text, amount_fen: t.amount_fen })
            .collect(),
        coupons: Vec::new(),
    }))
}

/// Places an order: reserves all lines or none. 409 `out_of_stock` names every short line.
#[utoipa::path(post, path = "/api/v1/customer/orders", tag = "customer", security(("bearer" = [])), request_body = OrderBody,
    params(("Idempotency-Key" = String, Header, description = "1–255 characters")),
    responses((status = 201, body = OrderView), (status = 200, body = OrderView, description = "The same request had placed it before")))]
async fn place_order(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<OrderBody>,
) -> ApiResult<(StatusCode, JsonBody<OrderView>)> {
    check_extras(body.coupon_id.as_ref(), body.points)?;
    if body.address_id.is_some() {
        return Err(Refusal::field("address_id", "到店核销的商品不需要收货地址").into());
    }
    let request = PlaceOrder {
        customer_id: customer.customer_id,
        quote: quote_request(body.store_id, body.lines)?,
        remark: body.remark.map(|r| r.0).unwrap_or_default(),
        key,
    };
    let placed = state.app.place_order(request).await?;
    let view = order_view(state.app.db.reader(), placed.merchant, placed.order_id, state.app.now()).await?;
    Ok((if placed.replayed { StatusCode::OK } else { StatusCode::CREATED }, JsonBody(view)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// unpaid, to_redeem, redeemed, refunded or after_sale.
    #[param(value_type = Option<String>)]
    tab: Option<OrderTab>,
    #[param(value_type = Option<String>)]
    store_id: Option<StoreId>,
    /// Placed at or after (RFC 3339 with zone).
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Placed before.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// The customer's orders, newest first.
#[utoipa::path(get, path = "/api/v1/customer/orders", tag = "customer", security(("bearer" = [])), params(ListQuery),
    responses((status = 200, body = List<OrderSummaryView>)))]
async fn list_orders(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Query(q): Query<ListQuery>,
) -> ApiResult<JsonBody<List<OrderSummaryView>>> {
    let page = page_request(q.cursor.as_deref(), q.limit)?;
    let filter = Filter { store_id: q.store_id, tab: q.tab, from: q.from, to: q.to, number: None };
    let found = orders::list_of_customer(state.app.db.reader(), customer.scope(), &filter, &page).await?;
    Ok(JsonBody(List::of(found, OrderSummaryView::from)))
}

async fn whole(state: &ApiState, order: &Order) -> ApiResult<OrderView> {
    let merchant = order.merchant();
    let mut view = order_view(state.app.db.reader(), merchant, order.id, state.app.now()).await?;
    if order.state == OrderState::Paid {
        let owner = merchants::get(state.app.db.reader(), merchant).await?.ok_or(Reason::NotFound)?;
        view.qr = Some(state.app.show_order(&owner, order.id));
    }
    Ok(view)
}

/// One of the customer's orders.
#[utoipa::path(get, path = "/api/v1/customer/orders/{id}", tag = "customer", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = OrderView)))]
async fn get_order(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<OrderId>,
) -> ApiResult<JsonBody<OrderView>> {
    let order =
        orders::of_customer(state.app.db.reader(), customer.scope(), id).await?.ok_or(Reason::NotFound)?;
    Ok(JsonBody(whole(&state, &order).await?))
}

/// One of the customer's orders by its `out_trade_no`, as WeChat's order entry opens it.
#[utoipa::path(get, path = "/api/v1/customer/orders/by-out-trade-no/{out_trade_no}", tag = "customer", security(("bearer" = [])),
    params(("out_trade_no" = String, Path)), responses((status = 200, body = OrderView)))]
async fn get_order_by_payment(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<PaymentId>,
) -> ApiResult<JsonBody<OrderView>> {
    let order = orders::of_customer_by_payment(state.app.db.reader(), customer.scope(), id)
        .await?
        .ok_or(Reason::NotFound)?;
    Ok(JsonBody(whole(&state, &order).await?))
}

/// The arguments of `wx.requestPayment`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RequestPaymentView {
    time_stamp: String,
    nonce_str: String,
    package: String,
    sign_type: String,
    pay_sign: String,
}

#[derive(Serialize, ToSchema)]
struct PayView {
    #[schema(value_type = String)]
    payment_id: PaymentId,
    out_trade_no: String,
    #[schema(value_type = RequestPaymentView)]
    request_payment: SheetArguments,
}

/// Opens the payment sheet. Its result on the phone is no proof: read the order.
#[utoipa::path(post, path = "/api/v1/customer/orders/{id}/pay", tag = "customer", security(("bearer" = [])), params(("id" = String, Path),
    ("Idempotency-Key" = String, Header, description = "1–255 characters")), responses((status = 200, body = PayView)))]
async fn pay_order(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<OrderId>,
    IdempotencyKey(key): IdempotencyKey,
) -> ApiResult<JsonBody<PayView>> {
    let sheet = state.app.pay_order(customer.scope(), id, &key).await?;
    Ok(JsonBody(PayView {
        payment_id: sheet.payment_id,
        out_trade_no: sheet.payment_id.to_string(),
        request_payment: sheet.request_payment,
    }))
}

/// Closes an unpaid order.
#[utoipa::path(post, path = "/api/v1/customer/orders/{id}/close", tag = "customer", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = OrderView)))]
async fn close_order(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<OrderId>,
) -> ApiResult<JsonBody<OrderView>> {
    state.app.close_order_of_customer(customer.scope(), id).await?;
    let order =
        orders::of_customer(state.app.db.reader(), customer.scope(), id).await?.ok_or(Reason::NotFound)?;
    Ok(JsonBody(whole(&state, &order).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundItemBody {
    #[schema(value_type = String)]
    voucher_id: VoucherId,
    #[schema(minimum = 1)]
    quantity: u32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    /// What; without it all that is unused.
    items: Option<Vec<RefundItemBody>>,
    reason: Line<1, 80>,
}

/// Asks for unused uses back.
#[utoipa::path(post, path = "/api/v1/customer/orders/{id}/refunds", tag = "customer", security(("bearer" = [])), request_body = RefundBody,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header, description = "1–255 characters")),
    responses((status = 201, body = RefundView), (status = 200, body = RefundView, description = "The same request had asked for it before")))]
async fn ask_for_refund(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(order_id): Path<OrderId>,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<RefundBody>,
) -> ApiResult<(StatusCode, JsonBody<RefundView>)> {
    if body.items.as_ref().is_some_and(|items| items.is_empty() || items.len() > 50) {
        return Err(Refusal::field("items", "应为 1–50 项；不填则退全部未使用的次数").into());
    }
    let items = body.items.map(|items| {
        items.into_iter().map(|i| RefundItem { voucher_id: i.voucher_id, quantity: i.quantity }).collect()
    });
    let request = CreateRefund { customer: customer.scope(), order_id, items, reason: body.reason.0, key };
    let created = state.app.create_refund(&request).await?;
    let reader = state.app.db.reader();
    let found = refunds::get(reader, created.merchant, created.refund_id).await?.ok_or(Reason::NotFound)?;
    let locks = vouchers::locks_of_refunds(reader, created.merchant, &[found.id]).await?;
    let status = if created.replayed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, JsonBody(refund_view(found, &locks))))
}

/// One of the customer's refunds.
#[utoipa::path(get, path = "/api/v1/customer/refunds/{id}", tag = "customer", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = RefundView)))]
async fn get_refund(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<hexiao_core::id::RefundId>,
) -> ApiResult<JsonBody<RefundView>> {
    let reader = state.app.db.reader();
    let found = refunds::of_customer(reader, customer.scope(), id).await?.ok_or(Reason::NotFound)?;
    let locks = vouchers::locks_of_refunds(reader, found.merchant(), &[id]).await?;
    Ok(JsonBody(refund_view(found, &locks)))
}

/// Takes a refund back that has not been sent: its uses can be redeemed again.
#[utoipa::path(post, path = "/api/v1/customer/refunds/{id}/withdraw", tag = "customer", security(("bearer" = [])),
    params(("id" = String, Path), ("Idempotency-Key" = String, Header, description = "1–255 characters")),
    responses((status = 200, body = RefundView)))]
async fn withdraw_refund(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<hexiao_core::id::RefundId>,
    IdempotencyKey(key): IdempotencyKey,
) -> ApiResult<JsonBody<RefundView>> {
    state.app.withdraw_refund(customer.scope(), id, &key).await?;
    let reader = state.app.db.reader();
    let found = refunds::of_customer(reader, customer.scope(), id).await?.ok_or(Reason::NotFound)?;
    let locks = vouchers::locks_of_refunds(reader, found.merchant(), &[id]).await?;
    Ok(JsonBody(refund_view(found, &locks)))
}
