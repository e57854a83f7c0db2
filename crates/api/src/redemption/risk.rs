//! The risk screen 风险提示: what looks wrong about redemptions, and what was found.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_core::catalog::Capability;
use hexiao_core::id::{CustomerId, RedemptionId, RiskFlagId, StaffId, StoreId, VoucherId};
use hexiao_core::risk::{RiskKind, RiskState};
use hexiao_core::time::Timestamp;
use hexiao_db::risk::{self, Filter, Flag};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::{List, page_request};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::fields::Line;
use crate::router::ApiState;
use crate::views::{At, at, at_opt};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_risk_flags)).routes(routes!(acknowledge_risk_flag))
}

/// Something that looks wrong.
#[derive(Serialize, ToSchema)]
struct RiskFlagView {
    #[schema(value_type = String)]
    id: RiskFlagId,
    /// self_redemption, undo_loop, after_hours, impossible_travel or lockout.
    #[schema(value_type = String)]
    kind: RiskKind,
    /// Open or Acknowledged.
    #[schema(value_type = String)]
    state: RiskState,
    #[schema(value_type = String)]
    store_id: StoreId,
    /// Who redeemed, undid or typed.
    #[schema(value_type = String)]
    staff_id: StaffId,
    /// With which device, as it claims.
    #[schema(required)]
    device: Option<String>,
    /// Of self_redemption: the customer with the verifier's phone number.
    #[schema(value_type = Option<String>, required)]
    customer_id: Option<CustomerId>,
    /// Of undo_loop: the voucher, if it is about one.
    #[schema(value_type = Option<String>, required)]
    voucher_id: Option<VoucherId>,
    #[schema(value_type = Option<String>, required)]
    redemption_id: Option<RedemptionId>,
    message: String,
    /// What was measured; its fields depend on the kind.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
    /// When it happened.
    created_at: At,
    /// What was found.
    #[schema(required)]
    note: Option<String>,
    #[schema(value_type = Option<String>, required)]
    acknowledged_by: Option<StaffId>,
    #[schema(required)]
    acknowledged_at: Option<At>,
}

impl From<Flag> for RiskFlagView {
    fn from(f: Flag) -> Self {
        Self {
            id: f.id,
            kind: f.kind,
            state: f.state,
            store_id: f.store_id,
            staff_id: f.staff_id,
            device: f.device,
            customer_id: f.customer_id,
            voucher_id: f.voucher_id,
            redemption_id: f.redemption_id,
            message: f.message,
            detail: f.detail,
            created_at: at(f.at),
            note: f.note,
            acknowledged_by: f.acknowledged_by,
            acknowledged_at: at_opt(f.acknowledged_at),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RiskQuery {
    /// self_redemption, undo_loop, after_hours, impossible_travel or lockout.
    #[param(value_type = Option<String>)]
    kind: Option<RiskKind>,
    /// Of one store.
    #[param(value_type = Option<String>)]
    store_id: Option<StoreId>,
    /// Of one member of staff.
    #[param(value_type = Option<String>)]
    staff_id: Option<StaffId>,
    /// Open or Acknowledged.
    #[param(value_type = Option<String>)]
    state: Option<RiskState>,
    /// At or after (RFC 3339 with zone).
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Before.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// What looks wrong in the stores in scope, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/risk-flags", tag = "merchant", security(("bearer" = [])), params(RiskQuery),
    responses((status = 200, body = List<RiskFlagView>)))]
async fn list_risk_flags(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Query(query): Query<RiskQuery>,
) -> ApiResult<JsonBody<List<RiskFlagView>>> {
    by.require(Capability::ReviewRisks)?;
    if let Some(store) = query.store_id {
        by.require_store(store)?;
    }
    let page = page_request(query.cursor.as_deref(), query.limit)?;
    let filter = Filter {
        kind: query.kind,
        store: query.store_id,
        staff: query.staff_id,
        state: query.state,
        from: query.from,
        to: query.to,
    };
    let found = risk::list(state.app.db.reader(), &by.scope, filter, &page).await?;
    Ok(JsonBody(List::of(found, RiskFlagView::from)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AcknowledgeBody {
    /// What was found.
    note: Line<1, 200>,
}

/// Writes what was found about it.
#[utoipa::path(post, path = "/api/v1/merchant/risk-flags/{id}/acknowledge", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    request_body = AcknowledgeBody, responses((status = 200, body = RiskFlagView)))]
async fn acknowledge_risk_flag(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Path(id): Path<RiskFlagId>,
    Json(body): Json<AcknowledgeBody>,
) -> ApiResult<JsonBody<RiskFlagView>> {
    Ok(JsonBody(state.app.acknowledge_risk(&by, id, &body.note.0).await?.into()))
}
