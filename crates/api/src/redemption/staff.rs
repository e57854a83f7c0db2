//! At the counter: prepare, confirm, undo, and the store's records.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hexiao_app::auth::StaffPrincipal;
use hexiao_app::consent::{AskLookup, LookupBy};
use hexiao_app::redeem::{
    Confirm, ConfirmItem, Confirmed, Input, Prepare, Prepared, PreparedVoucher, RefusalView, Refused,
};
use hexiao_app::reverse::{Reverse, ReverseItem};
use hexiao_core::booking::{BookingFacts, BookingState};
use hexiao_core::catalog::Capability;
use hexiao_core::id::{BookingId, ConsentId, OrderId, RedemptionId, StoreId, VoucherId};
use hexiao_core::number::OrderNumber;
use hexiao_core::reason::Refusal;
use hexiao_core::redeem::{Atomicity, Attention, MAX_ITEMS};
use hexiao_core::text::PhoneLast4;
use hexiao_core::voucher::voucher_status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::views::{
    ConfirmAnswer, ConfirmedView, ItemResultView, PreviewView, RedemptionQuery, RedemptionView, device,
    list_view,
};
use crate::consent::ConsentAskedView;
use crate::cursor::List;
use crate::error::{ApiError, ApiResult};
use crate::extract::{IdempotencyKey, Json, Path, Query, Staff};
use crate::fields::Line;
use crate::router::ApiState;
use crate::views::{At, RefusalBody, at};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(prepare_redemption))
        .routes(routes!(confirm_redemption, list_staff_redemptions))
        .routes(routes!(reverse_redemption))
}

/// What was scanned or typed, or what the customer agreed to: exactly one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputBody {
    /// A signed ticket.
    qr: Option<Line<1, 400>>,
    /// Twelve digits; spaces are fine.
    code: Option<Line<1, 40>>,
    /// The last four digits of the customer's phone: nothing is listed before their tap.
    phone_last4: Option<Line<1, 40>>,
    /// The order's number for people: nothing is listed before its customer's tap.
    order_number: Option<Line<1, 64>>,
    /// What the customer agreed to.
    #[schema(value_type = Option<String>)]
    consent_id: Option<ConsentId>,
}

/// What the verifier gave.
enum Given {
    /// Something that shows vouchers.
    Shown(Input),
    /// Something that only lets the customer be asked.
    Lookup(LookupBy),
}

impl InputBody {
    /// Something that can be shown without the customer: a ticket or a code.
    pub(super) fn parse(self, path: &str) -> Result<Input, Refusal> {
        match self.given() {
            Ok(Given::Shown(input @ (Input::Qr(_) | Input::Code(_)))) => Ok(input),
            Ok(Given::Shown(Input::Consent(_)) | Given::Lookup(_)) | Err(_) => {
                Err(Refusal::field(path, "请提供 qr 或 code 其中一项"))
            }
        }
    }

    fn given(self) -> Result<Given, Refusal> {
        let phone = |text: Line<1, 40>| {
            let last4 = PhoneLast4::parse(&text.0);
            last4.map(LookupBy::Phone).map_err(|e| Refusal::field("input.phone_last4", e.to_string()))
        };
        let order = |text: Line<1, 64>| {
            let number = OrderNumber::parse(&text.0);
            number.map(LookupBy::Order).map_err(|e| Refusal::field("input.order_number", e.to_string()))
        };
        let mut given = [
            self.qr.map(|qr| Ok(Given::Shown(Input::Qr(qr.0)))),
            self.code.map(|code| Ok(Given::Shown(Input::Code(code.0)))),
            self.consent_id.map(|id| Ok(Given::Shown(Input::Consent(id)))),
            self.phone_last4.map(|text| phone(text).map(Given::Lookup)),
            self.order_number.map(|text| order(text).map(Given::Lookup)),
        ]
        .into_iter()
        .flatten();
        match (given.next(), given.next()) {
            (Some(one), None) => one,
            _ => Err(Refusal::field(
                "input",
                "请提供 qr、code、phone_last4、order_number、consent_id 其中一项",
            )),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PrepareBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    device_id: Option<String>,
    input: InputBody,
}

#[derive(Serialize, ToSchema)]
struct PreparedCustomerView {
    nickname: String,
    #[schema(required)]
    phone_masked: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct PreparedVoucherView {
    #[schema(value_type = String)]
    voucher_id: VoucherId,
    #[schema(value_type = String)]
    order_id: OrderId,
    product_name: String,
    sku_name: String,
    code_last4: String,
    state: String,
    total: u32,
    used: u32,
    locked: u32,
    /// Uses that can be redeemed now.
    redeemable: u32,
    min_quantity: u32,
    max_quantity: u32,
    valid_from: At,
    valid_to: At,
    /// What must be acknowledged when confirming.
    #[schema(value_type = Vec<String>)]
    attention: Vec<Attention>,
    refusals: Vec<RefusalBody>,
    /// Uses that refunds keep which the customer can take back now, by a tap.
    withdrawable: u32,
    /// Its bookings that are not over, and those that were missed; by time.
    bookings: Vec<PreparedBookingView>,
}

/// A booking of a voucher, as the verifier sees it.
#[derive(Serialize, ToSchema)]
struct PreparedBookingView {
    #[schema(value_type = String)]
    id: BookingId,
    /// Held, Booked, Arrived or NoShow.
    #[schema(value_type = String)]
    state: BookingState,
    #[schema(value_type = String)]
    store_id: StoreId,
    store_name: String,
    slot_start: At,
    slot_end: At,
    quantity: u32,
    /// Uses that are still kept for it.
    locked: usize,
    redeem_from: At,
    redeem_to: At,
}

impl From<BookingFacts> for PreparedBookingView {
    fn from(b: BookingFacts) -> Self {
        let (from, to) = b.window();
        Self {
            id: b.id,
            state: b.state,
            store_id: b.store_id,
            store_name: b.store_name,
            slot_start: at(b.slot_start),
            slot_end: at(b.slot_end),
            quantity: b.quantity,
            locked: b.serials.len(),
            redeem_from: at(from),
            redeem_to: at(to),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct PreparedView {
    prepare_token: String,
    expires_at: At,
    customer: PreparedCustomerView,
    vouchers: Vec<PreparedVoucherView>,
}

fn voucher_view(v: PreparedVoucher, now: hexiao_core::time::Timestamp) -> PreparedVoucherView {
    let row = v.loaded.voucher;
    PreparedVoucherView {
        voucher_id: row.id,
        order_id: row.order_id,
        state: voucher_status(row.state, row.counters, now >= row.valid_to).to_string(),
        product_name: row.product_name,
        sku_name: row.sku_name,
        code_last4: row.code_last4,
        total: row.counters.total,
        used: row.counters.used,
        locked: row.counters.locked_refund + row.counters.locked_booking,
        redeemable: v.redeemable,
        min_quantity: hexiao_core::redeem::least(&v.loaded.facts),
        max_quantity: v.redeemable,
        valid_from: at(row.valid_from),
        valid_to: at(row.valid_to),
        attention: v.attention,
        refusals: v.refusals.into_iter().map(RefusalBody::from).collect(),
        withdrawable: v.withdrawable,
        bookings: v.loaded.facts.bookings.into_iter().map(PreparedBookingView::from).collect(),
    }
}

fn prepared_view(p: Prepared, now: hexiao_core::time::Timestamp) -> PreparedView {
    PreparedView {
        prepare_token: p.prepare_token,
        expires_at: at(p.expires_at),
        customer: PreparedCustomerView {
            nickname: p.customer.nickname,
            phone_masked: p.customer.phone_masked,
        },
        vouchers: p.vouchers.into_iter().map(|v| voucher_view(v, now)).collect(),
    }
}

/// Someone who may redeem, at a store of theirs.
pub(super) fn at_store(staff: &StaffPrincipal, store_id: StoreId) -> Result<(), Refusal> {
    staff.require(Capability::Redeem)?;
    staff.require_store(store_id)?;
    staff.require_device()
}

/// Looks at what was scanned or typed; changes no voucher. By a phone's last digits or an order's number the customer is
/// asked first, and what is answered then does not tell whether there is one.
#[utoipa::path(post, path = "/api/v1/staff/redemptions/prepare", tag = "staff", security(("bearer" = [])), request_body = PrepareBody,
    responses((status = 200, body = PreparedView), (status = 202, body = ConsentAskedView)))]
async fn prepare_redemption(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Json(body): Json<PrepareBody>,
) -> ApiResult<Response> {
    at_store(&staff, body.store_id)?;
    let store_id = body.store_id;
    let device = state.app.device_of(&staff, device(body.device_id)?).await?;
    match body.input.given()? {
        Given::Shown(input) => {
            let request = Prepare { staff, store_id, device, input };
            let prepared = state.app.prepare_redemption(&request).await?;
            Ok(JsonBody(prepared_view(prepared, state.app.now())).into_response())
        }
        Given::Lookup(by) => {
            let asked = state.app.ask_lookup(&AskLookup { staff, store_id, device, by }).await?;
            Ok((StatusCode::ACCEPTED, JsonBody(ConsentAskedView::from(asked))).into_response())
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmItemBody {
    #[schema(value_type = String)]
    voucher_id: VoucherId,
    #[schema(minimum = 1)]
    quantity: u32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    prepare_token: Line<1, 8000>,
    #[schema(max_items = 50)]
    items: Vec<ConfirmItemBody>,
    /// `all` or none, or `each` by itself; `all` when not given.
    #[schema(value_type = Option<String>)]
    atomicity: Option<Atomicity>,
    /// `just_redeemed`, when prepare asked for attention.
    #[schema(value_type = Option<Vec<String>>)]
    acknowledge: Option<Vec<Attention>>,
    /// Judges everything and answers 200 with what would come; writes nothing, and consumes neither key nor token.
    #[serde(default)]
    dry_run: bool,
}

/// Redeems. 409 with the reason when everything is refused; the results say why, item by item.
#[utoipa::path(post, path = "/api/v1/staff/redemptions", tag = "staff", security(("bearer" = [])), request_body = ConfirmBody,
    params(("Idempotency-Key" = String, Header, description = "1–255 characters")),
    responses((status = 201, body = ConfirmedView), (status = 200, body = ConfirmAnswer, description = "The same request had done it before, or a dry run")))]
async fn confirm_redemption(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<ConfirmBody>,
) -> ApiResult<(StatusCode, JsonBody<ConfirmAnswer>)> {
    at_store(&staff, body.store_id)?;
    if body.items.len() > MAX_ITEMS {
        return Err(Refusal::field("items", format!("最多 {MAX_ITEMS} 张券")).into());
    }
    let request = Confirm {
        staff,
        store_id: body.store_id,
        prepare_token: body.prepare_token.0,
        items: body
            .items
            .into_iter()
            .map(|i| ConfirmItem { voucher_id: i.voucher_id, quantity: i.quantity })
            .collect(),
        atomicity: body.atomicity.unwrap_or(Atomicity::All),
        acknowledge: body.acknowledge.unwrap_or_default(),
        key,
    };
    if body.dry_run {
        let preview = preview(state.app.preview_redemption(request).await?);
        return Ok((StatusCode::OK, JsonBody(ConfirmAnswer::Preview(preview))));
    }
    match state.app.confirm_redemption(request).await? {
        Ok(done) => {
            let status = if done.replayed { StatusCode::OK } else { StatusCode::CREATED };
            let done = ConfirmedView::of(done.answer, done.replayed);
            Ok((status, JsonBody(ConfirmAnswer::Done(done))))
        }
        Err(refused) => Err(refused_error(refused)),
    }
}

fn preview(verdict: Result<Confirmed, Refused>) -> PreviewView {
    let (results, refusal) = match verdict {
        Ok(done) => (done.answer.results, None),
        Err(refused) => {
            let view = RefusalView::from(&refused.refusal);
            (refused.results, Some(RefusalBody::from(view)))
        }
    };
    PreviewView {
        dry_run: true,
        would_redeem: refusal.is_none(),
        results: results.into_iter().map(Into::into).collect(),
        refusal,
    }
}

/// The error of a redemption that was refused, with what became of its items.
pub(super) fn refused_error(refused: Refused) -> ApiError {
    let results: Vec<ItemResultView> = refused.results.into_iter().map(Into::into).collect();
    ApiError::from(refused.refusal).with("results", serde_json::to_value(results).unwrap_or_default())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReverseItemBody {
    #[schema(value_type = String)]
    voucher_id: VoucherId,
    serials: Vec<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReverseBody {
    reason: Line<1, 200>,
    /// Which uses; without it all that stand.
    items: Option<Vec<ReverseItemBody>>,
}

#[derive(Serialize, ToSchema)]
struct ReversedItemView {
    #[schema(value_type = String)]
    voucher_id: VoucherId,
    serials: Vec<u32>,
}

#[derive(Serialize, ToSchema)]
struct ReversedView {
    #[schema(value_type = String)]
    id: RedemptionId,
    items: Vec<ReversedItemView>,
    at: At,
    replayed: bool,
}

/// Undoes a redemption or some of its uses.
#[utoipa::path(post, path = "/api/v1/staff/redemptions/{id}/reverse", tag = "staff", security(("bearer" = [])), request_body = ReverseBody,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header, description = "1–255 characters")),
    responses((status = 200, body = ReversedView)))]
async fn reverse_redemption(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(redemption_id): Path<RedemptionId>,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<ReverseBody>,
) -> ApiResult<JsonBody<ReversedView>> {
    staff.require(Capability::Redeem)?;
    let too_many = |items: &Vec<ReverseItemBody>| {
        items.len() > MAX_ITEMS || items.iter().any(|i| i.serials.len() > 1000)
    };
    if body.items.as_ref().is_some_and(too_many) {
        return Err(Refusal::field("items", "项目太多").into());
    }
    let items = body.items.map(|items| {
        items.into_iter().map(|i| ReverseItem { voucher_id: i.voucher_id, serials: i.serials }).collect()
    });
    let request = Reverse { staff, redemption_id, items, reason: body.reason.0, key };
    let (done, replayed) = state.app.reverse_redemption(&request).await?;
    let items = done
        .items
        .into_iter()
        .map(|i| ReversedItemView { voucher_id: i.voucher_id, serials: i.serials })
        .collect();
    Ok(JsonBody(ReversedView { id: done.redemption_id, items, at: at(done.at), replayed }))
}

/// Redemptions of the verifier's stores, newest first.
#[utoipa::path(get, path = "/api/v1/staff/redemptions", tag = "staff", security(("bearer" = [])), params(RedemptionQuery),
    responses((status = 200, body = List<RedemptionView>)))]
async fn list_staff_redemptions(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<RedemptionQuery>,
) -> ApiResult<JsonBody<List<RedemptionView>>> {
    staff.require(Capability::ReadOrders)?;
    Ok(JsonBody(list_view(state.app.db.reader(), &staff.scope, query).await?))
}
