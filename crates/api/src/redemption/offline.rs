//! What devices redeemed offline 离线核销, and the exception desk 异常处理.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_app::redeem::{OfflineEntry, OfflineResult, UploadOffline};
use hexiao_core::catalog::Capability;
use hexiao_core::id::{DeviceId, ExceptionId, RedemptionId, StaffId, StoreId, VoucherId};
use hexiao_core::offline::{
    ExceptionKind, ExceptionOutcome, ExceptionState, OfflineVerdict, parse_signature,
};
use hexiao_core::reason::Refusal;
use hexiao_core::time::Timestamp;
use hexiao_db::offline::{self, Exception, Filter, Winner};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::staff::at_store;
use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::fields::Line;
use crate::router::ApiState;
use crate::views::{At, at, at_opt};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(upload_offline))
        .routes(routes!(list_exceptions))
        .routes(routes!(resolve_exception))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OfflineEntryBody {
    /// Its number on the device, from 1 without gaps.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    seq: i64,
    /// The signed ticket that was scanned.
    ticket: Line<1, 400>,
    #[schema(minimum = 1, maximum = 1000)]
    quantity: u32,
    /// When, by the device's clock (RFC 3339 with zone).
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// Random.
    nonce: Line<1, 64>,
    /// Ed25519 by the device's key, 128 hexadecimal digits, over these lines joined by `\n`: `hexiao-offline-v1`, device id,
    /// store id, seq, ticket, quantity, occurred_at in milliseconds since 1970, nonce.
    signature: Line<1, 200>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OfflineBatchBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    /// When it is sent, by the device's clock: tells how far that is off.
    #[schema(value_type = String, format = DateTime)]
    sent_at: Timestamp,
    /// By ascending numbers.
    #[schema(min_items = 1, max_items = 100)]
    entries: Vec<OfflineEntryBody>,
}

/// What took the uses.
#[derive(Serialize, ToSchema)]
struct WinnerView {
    /// `redemption`, or why the uses are not free: `refund_pending`, `refunded`, `frozen`, …
    kind: String,
    #[schema(value_type = Option<String>, required)]
    redemption_id: Option<RedemptionId>,
    #[schema(value_type = Option<String>, required)]
    store_id: Option<StoreId>,
    #[schema(required)]
    at: Option<At>,
}

impl From<Winner> for WinnerView {
    fn from(w: Winner) -> Self {
        Self { kind: w.kind, redemption_id: w.redemption_id, store_id: w.store_id, at: at_opt(w.at) }
    }
}

#[derive(Serialize, ToSchema)]
struct OfflineResultView {
    seq: i64,
    /// accepted, accepted_forced (redeemed against a rule), conflict (the uses were taken) or rejected (can never be right).
    #[schema(value_type = String)]
    verdict: OfflineVerdict,
    /// Why it is not simply accepted.
    #[schema(required)]
    reason: Option<String>,
    #[schema(required)]
    message: Option<String>,
    #[schema(value_type = Option<String>, required)]
    redemption_id: Option<RedemptionId>,
    #[schema(required)]
    winner: Option<WinnerView>,
    /// It came before; the verdict is that of then.
    replayed: bool,
}

impl From<OfflineResult> for OfflineResultView {
    fn from(r: OfflineResult) -> Self {
        Self {
            seq: r.seq,
            verdict: r.verdict,
            reason: r.reason,
            message: r.message,
            redemption_id: r.redemption_id,
            winner: r.winner.map(WinnerView::from),
            replayed: r.replayed,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct MissingView {
    from: i64,
    to: i64,
}

#[derive(Serialize, ToSchema)]
struct OfflineBatchView {
    results: Vec<OfflineResultView>,
    /// The number that was expected first.
    expected_seq: i64,
    /// The number that is expected next.
    next_seq: i64,
    /// Numbers that were skipped. They may still be sent.
    missing: Vec<MissingView>,
}

/// Takes what the session's registered device redeemed offline: a verdict for each entry. Sent again, it answers the same.
#[utoipa::path(post, path = "/api/v1/staff/redemptions/offline-batch", tag = "staff", security(("bearer" = [])), request_body = OfflineBatchBody,
    responses((status = 200, body = OfflineBatchView)))]
async fn upload_offline(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Json(body): Json<OfflineBatchBody>,
) -> ApiResult<JsonBody<OfflineBatchView>> {
    at_store(&staff, body.store_id)?;
    let entry = |(n, e): (usize, OfflineEntryBody)| {
        Ok(OfflineEntry {
            seq: e.seq,
            ticket: e.ticket.0,
            quantity: e.quantity,
            occurred_at: e.occurred_at,
            nonce: e.nonce.0,
            signature: parse_signature(&e.signature.0).ok_or_else(|| {
                Refusal::field(format!("entries[{n}].signature"), "应为 128 位十六进制的 Ed25519 签名")
            })?,
        })
    };
    let entries = body.entries.into_iter().enumerate().map(entry).collect::<Result<_, Refusal>>()?;
    let request = UploadOffline { staff, store_id: body.store_id, sent_at: body.sent_at, entries };
    let done = state.app.upload_offline(&request).await?;
    Ok(JsonBody(OfflineBatchView {
        results: done.results.into_iter().map(OfflineResultView::from).collect(),
        expected_seq: done.expected_seq,
        next_seq: done.next_seq,
        missing: done.missing.into_iter().map(|(from, to)| MissingView { from, to }).collect(),
    }))
}

/// Something a person has to look at.
#[derive(Serialize, ToSchema)]
struct ExceptionView {
    #[schema(value_type = String)]
    id: ExceptionId,
    /// offline_forced, offline_conflict, offline_rejected, offline_gap or offline_altered.
    #[schema(value_type = String)]
    kind: ExceptionKind,
    /// Open or Resolved.
    #[schema(value_type = String)]
    state: ExceptionState,
    #[schema(value_type = String)]
    store_id: StoreId,
    #[schema(value_type = String)]
    staff_id: StaffId,
    #[schema(value_type = String)]
    device_id: DeviceId,
    /// The entry, or the first that is missing.
    seq: i64,
    /// The last that is missing.
    #[schema(required)]
    to_seq: Option<i64>,
    #[schema(value_type = Option<String>, required)]
    voucher_id: Option<VoucherId>,
    #[schema(value_type = Option<String>, required)]
    redemption_id: Option<RedemptionId>,
    #[schema(required)]
    reason: Option<String>,
    message: String,
    created_at: At,
    /// fine, settled, corrected or written_off.
    #[schema(value_type = Option<String>, required)]
    outcome: Option<ExceptionOutcome>,
    #[schema(required)]
    note: Option<String>,
    #[schema(value_type = Option<String>, required)]
    resolved_by: Option<StaffId>,
    #[schema(required)]
    resolved_at: Option<At>,
}

impl From<Exception> for ExceptionView {
    fn from(e: Exception) -> Self {
        Self {
            id: e.id,
            kind: e.kind,
            state: e.state,
            store_id: e.store_id,
            staff_id: e.staff_id,
            device_id: e.device_id,
            seq: e.seq,
            to_seq: e.to_seq,
            voucher_id: e.voucher_id,
            redemption_id: e.redemption_id,
            reason: e.reason,
            message: e.message,
            created_at: at(e.created_at),
            outcome: e.outcome,
            note: e.note,
            resolved_by: e.resolved_by,
            resolved_at: at_opt(e.resolved_at),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExceptionQuery {
    /// Of one store.
    #[param(value_type = Option<String>)]
    store_id: Option<StoreId>,
    /// offline_forced, offline_conflict, offline_rejected, offline_gap or offline_altered.
    #[param(value_type = Option<String>)]
    kind: Option<ExceptionKind>,
    /// Open or Resolved.
    #[param(value_type = Option<String>)]
    state: Option<ExceptionState>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// What waits for a person in the stores in scope, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/exceptions", tag = "merchant", security(("bearer" = [])), params(ExceptionQuery),
    responses((status = 200, body = List<ExceptionView>)))]
async fn list_exceptions(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Query(query): Query<ExceptionQuery>,
) -> ApiResult<JsonBody<List<ExceptionView>>> {
    by.require(Capability::ReadOrders)?;
    if let Some(store) = query.store_id {
        by.require_store(store)?;
    }
    let page = page_request(query.cursor.as_deref(), query.limit)?;
    let filter = Filter { store: query.store_id, kind: query.kind, state: query.state };
    let found = offline::exceptions(state.app.db.reader(), &by.scope, filter, &page).await?;
    Ok(JsonBody(List::of(found, ExceptionView::from)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResolveBody {
    /// fine (nothing to do), settled (with the customer), corrected (recorded in another way) or written_off.
    #[schema(value_type = String)]
    outcome: ExceptionOutcome,
    /// What was done.
    note: Line<1, 200>,
}

/// Writes what was done about it.
#[utoipa::path(post, path = "/api/v1/merchant/exceptions/{id}/resolve", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    request_body = ResolveBody, responses((status = 200, body = ExceptionView)))]
async fn resolve_exception(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Path(id): Path<ExceptionId>,
    Json(body): Json<ResolveBody>,
) -> ApiResult<JsonBody<ExceptionView>> {
    Ok(JsonBody(state.app.resolve_exception(&by, id, body.outcome, &body.note.0).await?.into()))
}
