//! Backfill 补录: recording a redemption after it happened, and the second person's word on it.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_app::redeem::{Backfilled, Input, RecordBackfill};
use hexiao_core::backfill::{BackfillPolicy, BackfillState};
use hexiao_core::catalog::Capability;
use hexiao_core::id::{BackfillId, RedemptionId, StaffId, StoreId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::redeem::{Attention, MAX_ITEMS};
use hexiao_core::time::Timestamp;
use hexiao_db::backfills::{self, Backfill};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::staff::{InputBody, at_store, refused_error};
use super::views::{ConfirmedView, device};
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{IdempotencyKey, Json, Path, Query, Staff};
use crate::fields::Line;
use crate::router::ApiState;
use crate::views::{At, at, at_opt};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(backfill_redemption))
        .routes(routes!(list_staff_backfills))
        .routes(routes!(withdraw_backfill))
        .routes(routes!(list_merchant_backfills))
        .routes(routes!(approve_backfill))
        .routes(routes!(reject_backfill))
        .routes(routes!(get_backfill_policy, set_backfill_policy))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BackfillItemBody {
    input: InputBody,
    #[schema(minimum = 1)]
    quantity: u32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BackfillBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    device_id: Option<String>,
    /// One voucher; or several in `items`.
    input: Option<InputBody>,
    /// With `input`; 1 when not given.
    #[schema(minimum = 1)]
    quantity: Option<u32>,
    #[schema(max_items = 50)]
    items: Option<Vec<BackfillItemBody>>,
    /// When it happened: up to 72 hours ago (RFC 3339 with zone).
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// Why it was not redeemed then.
    reason: Line<1, 200>,
    /// `https://…` or a path on this server.
    photo_url: Option<Line<1, 500>>,
    /// `just_redeemed`, when the voucher was redeemed here within two minutes of it.
    #[schema(value_type = Option<Vec<String>>)]
    acknowledge: Option<Vec<Attention>>,
}

impl BackfillBody {
    fn inputs(
        input: Option<InputBody>,
        quantity: Option<u32>,
        items: Option<Vec<BackfillItemBody>>,
    ) -> Result<Vec<(Input, u32)>, Refusal> {
        match (input, items) {
            (Some(input), None) => Ok(vec![(input.parse("input")?, quantity.unwrap_or(1))]),
            (None, Some(items)) if items.len() > MAX_ITEMS => {
                Err(Refusal::field("items", format!("最多 {MAX_ITEMS} 张券")))
            }
            (None, Some(items)) => items
                .into_iter()
                .enumerate()
                .map(|(i, item)| Ok((item.input.parse(&format!("items[{i}].input"))?, item.quantity)))
                .collect(),
            (None, None) | (Some(_), Some(_)) => {
                Err(Refusal::field("input", "请提供 input 或 items 其中一项"))
            }
        }
    }
}

#[derive(Serialize, ToSchema)]
struct BackfillItemView {
    #[schema(value_type = String)]
    voucher_id: VoucherId,
    product_name: String,
    code_last4: String,
    quantity: u32,
}

/// A backfill.
#[derive(Serialize, ToSchema)]
struct BackfillView {
    #[schema(value_type = String)]
    id: BackfillId,
    #[schema(value_type = String)]
    store_id: StoreId,
    #[schema(value_type = String)]
    verifier_id: StaffId,
    verifier_name: String,
    /// Recorded (nobody else was needed), Pending, Approved, Rejected or Withdrawn.
    #[schema(value_type = String)]
    state: BackfillState,
    items: Vec<BackfillItemView>,
    quantity: i64,
    amount_fen: i64,
    occurred_at: At,
    reason: String,
    #[schema(required)]
    photo_url: Option<String>,
    created_at: At,
    #[schema(value_type = Option<String>, required)]
    decided_by: Option<StaffId>,
    #[schema(required)]
    decided_at: Option<At>,
    #[schema(required)]
    decision_note: Option<String>,
    #[schema(value_type = Option<String>, required)]
    redemption_id: Option<RedemptionId>,
}

impl From<Backfill> for BackfillView {
    fn from(b: Backfill) -> Self {
        let item = |i: backfills::BackfillItem| BackfillItemView {
            voucher_id: i.voucher_id,
            product_name: i.product_name,
            code_last4: i.code_last4,
            quantity: i.quantity,
        };
        Self {
            id: b.id,
            store_id: b.store_id,
            verifier_id: b.staff_id,
            verifier_name: b.staff_name,
            state: b.state,
            items: b.items.into_iter().map(item).collect(),
            quantity: b.quantity,
            amount_fen: b.amount.as_fen(),
            occurred_at: at(b.occurred_at),
            reason: b.reason,
            photo_url: b.photo_url,
            created_at: at(b.created_at),
            decided_by: b.decided_by,
            decided_at: at_opt(b.decided_at),
            decision_note: b.decision_note,
            redemption_id: b.redemption_id,
        }
    }
}

/// A backfill and what it redeemed.
#[derive(Serialize, ToSchema)]
struct BackfilledView {
    backfill: BackfillView,
    /// Null while it waits for a second person.
    #[schema(required)]
    redemption: Option<ConfirmedView>,
    /// The same request had done it before.
    replayed: bool,
}

impl From<Backfilled> for BackfilledView {
    fn from(done: Backfilled) -> Self {
        Self {
            backfill: done.backfill.into(),
            redemption: done.answer.map(|answer| ConfirmedView::of(answer, done.replayed)),
            replayed: done.replayed,
        }
    }
}

/// Records a redemption that happened before. 201 when it is redeemed, 202 when it waits for a second person.
#[utoipa::path(post, path = "/api/v1/staff/redemptions/backfill", tag = "staff", security(("bearer" = [])), request_body = BackfillBody,
    params(("Idempotency-Key" = String, Header, description = "1–255 characters")),
    responses((status = 201, body = BackfilledView), (status = 202, body = BackfilledView, description = "It waits for a second person"),
        (status = 200, body = BackfilledView, description = "The same request had done it before")))]
async fn backfill_redemption(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<BackfillBody>,
) -> ApiResult<(StatusCode, JsonBody<BackfilledView>)> {
    at_store(&staff, body.store_id)?;
    let device = state.app.device_of(&staff, device(body.device_id)?).await?;
    let request = RecordBackfill {
        staff,
        store_id: body.store_id,
        items: BackfillBody::inputs(body.input, body.quantity, body.items)?,
        occurred_at: body.occurred_at,
        reason: body.reason.0,
        photo_url: body.photo_url.map(|url| url.0),
        device,
        acknowledge: body.acknowledge.unwrap_or_default(),
        key,
    };
    let done = state.app.backfill_redemption(&request).await?.map_err(refused_error)?;
    let status = match (done.replayed, &done.answer) {
        (true, _) => StatusCode::OK,
        (false, Some(_)) => StatusCode::CREATED,
        (false, None) => StatusCode::ACCEPTED,
    };
    Ok((status, JsonBody(done.into())))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BackfillQuery {
    /// Recorded, Pending, Approved, Rejected or Withdrawn.
    #[param(value_type = Option<String>)]
    state: Option<BackfillState>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

async fn list(
    state: &ApiState,
    staff: &hexiao_app::auth::StaffPrincipal,
    query: &BackfillQuery,
) -> ApiResult<JsonBody<List<BackfillView>>> {
    staff.require(Capability::ReadOrders)?;
    let page = page_request(query.cursor.as_deref(), query.limit)?;
    let found = backfills::list(state.app.db.reader(), &staff.scope, query.state, &page).await?;
    Ok(JsonBody(List::of(found, BackfillView::from)))
}

/// Backfills of the verifier's stores, newest first.
#[utoipa::path(get, path = "/api/v1/staff/backfills", tag = "staff", security(("bearer" = [])), params(BackfillQuery),
    responses((status = 200, body = List<BackfillView>)))]
async fn list_staff_backfills(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<BackfillQuery>,
) -> ApiResult<JsonBody<List<BackfillView>>> {
    list(&state, &staff, &query).await
}

/// Backfills of the stores in scope, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/backfills", tag = "merchant", security(("bearer" = [])), params(BackfillQuery),
    responses((status = 200, body = List<BackfillView>)))]
async fn list_merchant_backfills(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(query): Query<BackfillQuery>,
) -> ApiResult<JsonBody<List<BackfillView>>> {
    list(&state, &staff, &query).await
}

/// Takes an own backfill back that waits.
#[utoipa::path(post, path = "/api/v1/staff/backfills/{id}/withdraw", tag = "staff", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = BackfillView)))]
async fn withdraw_backfill(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<BackfillId>,
) -> ApiResult<JsonBody<BackfillView>> {
    Ok(JsonBody(state.app.withdraw_backfill(&staff, id).await?.into()))
}

/// Approves somebody else's backfill: it is judged again, as of when it happened, and redeemed.
#[utoipa::path(post, path = "/api/v1/merchant/backfills/{id}/approve", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = BackfilledView)))]
async fn approve_backfill(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<BackfillId>,
) -> ApiResult<JsonBody<BackfilledView>> {
    let done = state.app.approve_backfill(&staff, id).await?.map_err(refused_error)?;
    Ok(JsonBody(done.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RejectBody {
    /// Why.
    reason: Line<1, 200>,
}

/// Rejects somebody else's backfill.
#[utoipa::path(post, path = "/api/v1/merchant/backfills/{id}/reject", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    request_body = RejectBody, responses((status = 200, body = BackfillView)))]
async fn reject_backfill(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<BackfillId>,
    Json(body): Json<RejectBody>,
) -> ApiResult<JsonBody<BackfillView>> {
    Ok(JsonBody(state.app.reject_backfill(&staff, id, &body.reason.0).await?.into()))
}

/// What one person may record alone within 24 hours; a zero means nothing.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BackfillPolicyBody {
    #[schema(maximum = 100_000)]
    free_uses: u32,
    #[schema(minimum = 0)]
    free_amount_fen: i64,
}

/// What one person may record alone.
#[utoipa::path(get, path = "/api/v1/merchant/backfill-policy", tag = "merchant", security(("bearer" = [])),
    responses((status = 200, body = BackfillPolicyBody)))]
async fn get_backfill_policy(
    State(state): State<ApiState>,
    Staff(staff): Staff,
) -> ApiResult<JsonBody<BackfillPolicyBody>> {
    staff.require(Capability::ReadOrders)?;
    let found = backfills::policy(state.app.db.reader(), staff.merchant()).await?.ok_or(Reason::NotFound)?;
    Ok(JsonBody(BackfillPolicyBody {
        free_uses: found.free_uses,
        free_amount_fen: found.free_amount.as_fen(),
    }))
}

/// Sets it; only headquarters.
#[utoipa::path(put, path = "/api/v1/merchant/backfill-policy", tag = "merchant", security(("bearer" = [])), request_body = BackfillPolicyBody,
    responses((status = 200, body = BackfillPolicyBody)))]
async fn set_backfill_policy(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Json(body): Json<BackfillPolicyBody>,
) -> ApiResult<JsonBody<BackfillPolicyBody>> {
    let policy = BackfillPolicy { free_uses: body.free_uses, free_amount: Money::fen(body.free_amount_fen) };
    state.app.set_backfill_policy(&staff, policy).await?;
    Ok(JsonBody(body))
}
