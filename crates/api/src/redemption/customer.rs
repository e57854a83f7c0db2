//! A customer's vouchers: code and QR to show, uses left, where and until when.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_core::id::{MerchantId, OrderId, ProductId, StoreId, VoucherId};
use hexiao_core::reason::Reason;
use hexiao_core::rule::{Binding, RedemptionRule, StoreSet};
use hexiao_core::voucher::voucher_status;
use hexiao_db::vouchers::{self, CustomerFilter, Voucher};
use hexiao_db::{catalog, merchants, store_facts};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Customer, Path, Query};
use crate::router::ApiState;
use crate::views::{At, at};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_vouchers)).routes(routes!(get_voucher))
}

#[derive(Serialize, ToSchema)]
struct VoucherUseView {
    serial: u32,
    store_name: String,
    at: At,
    reversed: bool,
}

#[derive(Serialize, ToSchema)]
struct VoucherSummaryView {
    #[schema(value_type = String)]
    id: VoucherId,
    #[schema(value_type = String)]
    merchant_id: MerchantId,
    #[schema(value_type = String)]
    order_id: OrderId,
    #[schema(value_type = String)]
    product_id: ProductId,
    #[schema(value_type = String)]
    store_id: StoreId,
    product_name: String,
    sku_name: String,
    code_last4: String,
    /// usable, refunding, used, refunded, expired, pending, frozen, transferring or transferred.
    state: String,
    total: u32,
    used: u32,
    locked: u32,
    refunded: u32,
    /// Not used in time, and not refunded.
    forfeited: u32,
    /// Uses that can still be redeemed or refunded.
    remaining: u32,
    valid_from: At,
    valid_to: At,
}

#[derive(Serialize, ToSchema)]
struct VoucherView {
    #[serde(flatten)]
    summary: VoucherSummaryView,
    /// Twelve digits.
    #[schema(example = "123456789012")]
    code: String,
    /// The same, 4-4-4.
    code_display: String,
    /// The signed ticket, for a QR code; a screenshot works.
    #[schema(example = "HX1…")]
    qr: String,
    stores_text: String,
    rule_text: Vec<String>,
    uses: Vec<VoucherUseView>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum StateFilter {
    Usable,
    Used,
    Expired,
    Refunded,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct VoucherQuery {
    /// usable, used, expired or refunded.
    #[param(value_type = Option<String>)]
    state: Option<StateFilter>,
    #[param(value_type = Option<String>)]
    order_id: Option<OrderId>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

fn summary(v: &Voucher, now: hexiao_core::time::Timestamp) -> VoucherSummaryView {
    VoucherSummaryView {
        id: v.id,
        merchant_id: v.merchant_id,
        order_id: v.order_id,
        product_id: v.product_id,
        store_id: v.store_id,
        product_name: v.product_name.clone(),
        sku_name: v.sku_name.clone(),
        code_last4: v.code_last4.clone(),
        state: voucher_status(v.state, v.counters, now >= v.valid_to).to_string(),
        total: v.counters.total,
        used: v.counters.used,
        locked: v.counters.locked_refund + v.counters.locked_booking,
        refunded: v.counters.refunded,
        forfeited: v.counters.forfeited,
        remaining: v.counters.free(),
        valid_from: at(v.valid_from),
        valid_to: at(v.valid_to),
    }
}

/// The customer's vouchers, newest first.
#[utoipa::path(get, path = "/api/v1/customer/vouchers", tag = "customer", security(("bearer" = [])), params(VoucherQuery),
    responses((status = 200, body = List<VoucherSummaryView>)))]
async fn list_vouchers(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Query(q): Query<VoucherQuery>,
) -> ApiResult<JsonBody<List<VoucherSummaryView>>> {
    let page = page_request(q.cursor.as_deref(), q.limit)?;
    let filter = q.state.map(|s| match s {
        StateFilter::Usable => CustomerFilter::Usable,
        StateFilter::Used => CustomerFilter::Used,
        StateFilter::Expired => CustomerFilter::Expired,
        StateFilter::Refunded => CustomerFilter::Refunded,
    });
    let now = state.app.now();
    let found =
        vouchers::list_of_customer(state.app.db.reader(), customer.scope(), filter, q.order_id, now, &page)
            .await?;
    Ok(JsonBody(List::of(found, |v| summary(&v, now))))
}

/// One of the customer's vouchers, with its code and QR.
#[utoipa::path(get, path = "/api/v1/customer/vouchers/{id}", tag = "customer", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = VoucherView)))]
async fn get_voucher(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<VoucherId>,
) -> ApiResult<JsonBody<VoucherView>> {
    let reader = state.app.db.reader();
    let voucher = vouchers::of_customer(reader, customer.scope(), id).await?.ok_or(Reason::NotFound)?;
    let merchant = voucher.merchant();
    let owner = merchants::get(reader, merchant).await?.ok_or(Reason::NotFound)?;
    let rules = catalog::rules(reader, merchant, [voucher.rule_id]).await?;
    let rule = rules.get(&voucher.rule_id).ok_or(Reason::Internal)?;
    let shown = state.app.show_voucher(&owner, &voucher, rule)?;
    let store = store_facts::get(reader, merchant, voucher.store_id).await?.ok_or(Reason::Internal)?;
    let uses = vouchers::uses(reader, merchant, id).await?;
    let view = |u: vouchers::UseRow| VoucherUseView {
        serial: u.serial,
        store_name: u.store_name,
        at: at(u.at),
        reversed: u.reversed,
    };
    Ok(JsonBody(VoucherView {
        summary: summary(&voucher, state.app.now()),
        code: shown.code,
        code_display: shown.code_display,
        qr: shown.qr,
        stores_text: stores_text(rule, &store.name),
        rule_text: rule.texts(),
        uses: uses.into_iter().map(view).collect(),
    }))
}

fn stores_text(rule: &RedemptionRule, chosen: &str) -> String {
    match (rule.binding, &rule.stores) {
        (Binding::ChosenStore, _) => format!("限「{chosen}」使用"),
        (Binding::AnyInScope, StoreSet::All) => "全部门店通用".to_owned(),
        (Binding::AnyInScope, StoreSet::Only(ids)) => format!("{} 家门店通用", ids.len()),
        (Binding::AnyInScope, StoreSet::Except(ids)) => format!("除 {} 家门店外通用", ids.len()),
    }
}
