//! The verifier asks for a refund to be taken back, and looks whether the customer has tapped.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_app::redeem::{AskWithdrawal, ConfirmItem};
use hexiao_core::catalog::Capability;
use hexiao_core::consent::{ConsentKind, ConsentState};
use hexiao_core::id::{ConsentId, StoreId, VoucherId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ConsentAskedView;
use crate::error::ApiResult;
use crate::extract::{IdempotencyKey, Json, Path, Staff};
use crate::fields::Line;
use crate::redemption::ConfirmedView;
use crate::router::ApiState;
use crate::views::{At, at};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_consent)).routes(routes!(ask_withdrawal))
}

#[derive(Serialize, ToSchema)]
struct StaffConsentView {
    #[schema(value_type = String)]
    id: ConsentId,
    /// lookup or withdraw_refund.
    #[schema(value_type = String)]
    kind: ConsentKind,
    /// Pending, Approved, Denied, Expired or Used.
    #[schema(value_type = String)]
    state: ConsentState,
    #[schema(value_type = String)]
    store_id: StoreId,
    /// Until when it can be answered, or its answer used.
    expires_at: At,
    /// What the customer's tap redeemed, where it took refunds back.
    #[schema(required)]
    redemption: Option<ConfirmedView>,
}

/// Whether the customer has tapped. Only the verifier who asked can list what was agreed to.
#[utoipa::path(get, path = "/api/v1/staff/consent-requests/{id}", tag = "staff", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = StaffConsentView)))]
async fn get_consent(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<ConsentId>,
) -> ApiResult<JsonBody<StaffConsentView>> {
    staff.require(Capability::Redeem)?;
    let (found, seen, answer) = state.app.consent_in_stores(&staff, id).await?;
    Ok(JsonBody(StaffConsentView {
        id: found.id,
        kind: found.kind,
        state: seen,
        store_id: found.store_id,
        expires_at: at(found.expires_at),
        redemption: answer.map(|a| ConfirmedView::of(a, false)),
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WithdrawalItemBody {
    #[schema(value_type = String)]
    voucher_id: VoucherId,
    #[schema(minimum = 1)]
    quantity: u32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WithdrawalBody {
    #[schema(value_type = String)]
    store_id: StoreId,
    prepare_token: Line<1, 8000>,
    #[schema(max_items = 50)]
    items: Vec<WithdrawalItemBody>,
}

/// Asks the customer to take refunds back that have not been sent, and to have their uses redeemed by the same tap.
#[utoipa::path(post, path = "/api/v1/staff/redemptions/withdraw-requests", tag = "staff", security(("bearer" = [])), request_body = WithdrawalBody,
    params(("Idempotency-Key" = String, Header, description = "1–255 characters")), responses((status = 202, body = ConsentAskedView)))]
async fn ask_withdrawal(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<WithdrawalBody>,
) -> ApiResult<(StatusCode, JsonBody<ConsentAskedView>)> {
    staff.require(Capability::Redeem)?;
    staff.require_store(body.store_id)?;
    let items = body.items.into_iter();
    let items = items.map(|i| ConfirmItem { voucher_id: i.voucher_id, quantity: i.quantity }).collect();
    let prepare_token = body.prepare_token.0;
    let request = AskWithdrawal { staff, store_id: body.store_id, prepare_token, items, key };
    let asked = state.app.ask_withdrawal(&request).await?;
    Ok((StatusCode::ACCEPTED, JsonBody(asked.into())))
}
