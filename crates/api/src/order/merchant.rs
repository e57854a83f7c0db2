//! Headquarters look at orders, refunds, the ledger and anomalies, and decide refunds that are stuck.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_app::refund::AbnormalTarget;
use hexiao_core::catalog::Capability;
use hexiao_core::id::{OrderId, RefundId, StoreId};
use hexiao_core::order::OrderTab;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::refund::RefundState;
use hexiao_core::time::Timestamp;
use hexiao_db::orders::{self, Filter};
use hexiao_db::{ledger, payments, refunds, vouchers};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::refund_views::{StaffRefundView, staff_refund_view};
use super::views::{OrderSummaryView, OrderView, events_view, order_view};
use crate::cursor::{List, PageQuery, page_request};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::fields::Line;
use crate::router::ApiState;
use crate::views::{At, at};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_merchant_orders))
        .routes(routes!(get_merchant_order))
        .routes(routes!(list_merchant_refunds))
        .routes(routes!(get_merchant_refund))
        .routes(routes!(retry_refund))
        .routes(routes!(redirect_refund))
        .routes(routes!(finish_refund))
        .routes(routes!(list_ledger))
        .routes(routes!(ledger_balances))
        .routes(routes!(list_anomalies))
}

/// What lists of orders are narrowed by.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StaffOrderQuery {
    #[param(value_type = Option<String>)]
    store_id: Option<StoreId>,
    /// unpaid, to_redeem, redeemed, refunded, after_sale or closed.
    #[param(value_type = Option<String>)]
    tab: Option<OrderTab>,
    /// The whole order number.
    number: Option<Line<1, 20>>,
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

pub(super) async fn staff_orders(
    state: &ApiState,
    staff: &hexiao_app::auth::StaffPrincipal,
    q: StaffOrderQuery,
) -> ApiResult<List<OrderSummaryView>> {
    staff.require(Capability::ReadOrders)?;
    let page = page_request(q.cursor.as_deref(), q.limit)?;
    let filter =
        Filter { store_id: q.store_id, tab: q.tab, from: q.from, to: q.to, number: q.number.map(|n| n.0) };
    let found = orders::list(state.app.db.reader(), &staff.scope, &filter, &page).await?;
    Ok(List::of(found, OrderSummaryView::from))
}

/// Orders of the stores in scope, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/orders", tag = "merchant", security(("bearer" = [])), params(StaffOrderQuery),
    responses((status = 200, body = List<OrderSummaryView>)))]
async fn list_merchant_orders(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(q): Query<StaffOrderQuery>,
) -> ApiResult<JsonBody<List<OrderSummaryView>>> {
    Ok(JsonBody(staff_orders(&state, &staff, q).await?))
}

/// One order, with what happened to it.
#[utoipa::path(get, path = "/api/v1/merchant/orders/{id}", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = OrderView)))]
async fn get_merchant_order(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<OrderId>,
) -> ApiResult<JsonBody<OrderView>> {
    staff.require(Capability::ReadOrders)?;
    let reader = state.app.db.reader();
    let order = orders::get(reader, &staff.scope, id).await?.ok_or(Reason::NotFound)?;
    let mut view = order_view(reader, order.merchant(), id, state.app.now()).await?;
    view.events = Some(events_view(reader, order.merchant(), id).await?);
    Ok(JsonBody(view))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RefundQuery {
    /// One of the refund states.
    #[param(value_type = Option<String>)]
    state: Option<RefundState>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// Refunds of the stores in scope, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/refunds", tag = "merchant", security(("bearer" = [])), params(RefundQuery),
    responses((status = 200, body = List<StaffRefundView>)))]
async fn list_merchant_refunds(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(q): Query<RefundQuery>,
) -> ApiResult<JsonBody<List<StaffRefundView>>> {
    staff.require(Capability::ReadOrders)?;
    let reader = state.app.db.reader();
    let found =
        refunds::list(reader, &staff.scope, q.state, &page_request(q.cursor.as_deref(), q.limit)?).await?;
    let ids: Vec<RefundId> = found.items.iter().map(|l| l.refund.id).collect();
    let locks = vouchers::locks_of_refunds(reader, staff.merchant(), &ids).await?;
    Ok(JsonBody(List::of(found, |l| staff_refund_view(l, &locks))))
}

async fn refund_of(
    state: &ApiState,
    staff: &hexiao_app::auth::StaffPrincipal,
    id: RefundId,
) -> ApiResult<StaffRefundView> {
    let reader = state.app.db.reader();
    let listed = refunds::get_in_stores(reader, &staff.scope, id).await?.ok_or(Reason::NotFound)?;
    let locks = vouchers::locks_of_refunds(reader, staff.merchant(), &[id]).await?;
    Ok(staff_refund_view(listed, &locks))
}

/// One refund.
#[utoipa::path(get, path = "/api/v1/merchant/refunds/{id}", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = StaffRefundView)))]
async fn get_merchant_refund(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<RefundId>,
) -> ApiResult<JsonBody<StaffRefundView>> {
    staff.require(Capability::ReadOrders)?;
    Ok(JsonBody(refund_of(&state, &staff, id).await?))
}

/// Sends a blocked or closed refund again.
#[utoipa::path(post, path = "/api/v1/merchant/refunds/{id}/retry", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = StaffRefundView)))]
async fn retry_refund(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<RefundId>,
) -> ApiResult<JsonBody<StaffRefundView>> {
    state.app.retry_refund(&staff, id).await?;
    Ok(JsonBody(refund_of(&state, &staff, id).await?))
}

/// Another card of the customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CardBody {
    /// WeChat's name of the bank, like `ICBC_DEBIT`.
    bank_type: Line<1, 32>,
    bank_account: Line<8, 32>,
    real_name: Line<1, 40>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RedirectBody {
    /// Without it the money goes to the merchant's own account, to be paid by hand.
    card: Option<CardBody>,
}

/// Tells WeChat where else to send an abnormal refund.
#[utoipa::path(post, path = "/api/v1/merchant/refunds/{id}/redirect", tag = "merchant", security(("bearer" = [])), request_body = RedirectBody,
    params(("id" = String, Path)), responses((status = 200, body = StaffRefundView)))]
async fn redirect_refund(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<RefundId>,
    Json(body): Json<RedirectBody>,
) -> ApiResult<JsonBody<StaffRefundView>> {
    let target = match body.card {
        None => AbnormalTarget::Merchant,
        Some(card) => {
            if !card.bank_type.0.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
                return Err(Refusal::field("card.bank_type", "应为大写字母和下划线，如 ICBC_DEBIT").into());
            }
            AbnormalTarget::Card {
                bank_type: card.bank_type.0,
                account: card.bank_account.0.into(),
                name: card.real_name.0.into(),
            }
        }
    };
    state.app.redirect_refund(&staff, id, target).await?;
    Ok(JsonBody(refund_of(&state, &staff, id).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FinishBody {
    /// What proves that the customer has the money.
    evidence: Line<4, 500>,
}

/// Records that a refund was paid outside WeChat.
#[utoipa::path(post, path = "/api/v1/merchant/refunds/{id}/finish", tag = "merchant", security(("bearer" = [])), request_body = FinishBody,
    params(("id" = String, Path)), responses((status = 200, body = StaffRefundView)))]
async fn finish_refund(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<RefundId>,
    Json(body): Json<FinishBody>,
) -> ApiResult<JsonBody<StaffRefundView>> {
    state.app.finish_refund_manually(&staff, id, &body.evidence.0).await?;
    Ok(JsonBody(refund_of(&state, &staff, id).await?))
}

#[derive(Serialize, ToSchema)]
struct TransferView {
    id: String,
    event: String,
    debit: String,
    credit: String,
    amount_fen: i64,
    #[schema(value_type = String)]
    order_id: OrderId,
    #[schema(value_type = String)]
    store_id: StoreId,
    business_date: String,
    at: At,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LedgerQuery {
    #[param(value_type = Option<String>)]
    order_id: Option<OrderId>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// The ledger's transfers, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/ledger", tag = "merchant", security(("bearer" = [])), params(LedgerQuery),
    responses((status = 200, body = List<TransferView>)))]
async fn list_ledger(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(q): Query<LedgerQuery>,
) -> ApiResult<JsonBody<List<TransferView>>> {
    staff.require(Capability::ReadLedger)?;
    let page = page_request(q.cursor.as_deref(), q.limit)?;
    let found = ledger::list(state.app.db.reader(), staff.merchant(), q.order_id, &page).await?;
    Ok(JsonBody(List::of(found, |t| TransferView {
        id: t.id.to_string(),
        event: t.event,
        debit: t.debit,
        credit: t.credit,
        amount_fen: t.amount.as_fen(),
        order_id: t.order_id,
        store_id: t.store_id,
        business_date: t.business_date,
        at: at(t.at),
    })))
}

#[derive(Serialize, ToSchema)]
struct BalanceView {
    account: String,
    /// Debits minus credits.
    balance_fen: i64,
}

/// The balance of each account.
#[utoipa::path(get, path = "/api/v1/merchant/ledger/balances", tag = "merchant", security(("bearer" = [])),
    responses((status = 200, body = List<BalanceView>)))]
async fn ledger_balances(
    State(state): State<ApiState>,
    Staff(staff): Staff,
) -> ApiResult<JsonBody<List<BalanceView>>> {
    staff.require(Capability::ReadLedger)?;
    let found = ledger::balances(state.app.db.reader(), staff.merchant()).await?;
    Ok(JsonBody(List::complete(
        found.into_iter().map(|(account, balance_fen)| BalanceView { account, balance_fen }).collect(),
    )))
}

#[derive(Serialize, ToSchema)]
struct AnomalyView {
    id: String,
    kind: String,
    number: String,
    transaction_id: String,
    got: String,
    seen: i64,
    first_at: At,
}

/// Verified messages from WeChat that do not match our books, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/payment-anomalies", tag = "merchant", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = List<AnomalyView>)))]
async fn list_anomalies(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(page): Query<PageQuery>,
) -> ApiResult<JsonBody<List<AnomalyView>>> {
    staff.require(Capability::ReadLedger)?;
    let found = payments::anomalies(state.app.db.reader(), staff.merchant(), &page.request()?).await?;
    Ok(JsonBody(List::of(found, |a| AnomalyView {
        id: a.id.to_string(),
        kind: a.kind,
        number: a.number,
        transaction_id: a.transaction_id,
        got: a.got,
        seen: a.seen,
        first_at: at(a.first_at),
    })))
}
