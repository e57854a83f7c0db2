//! How the merchant as a whole works.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_app::merchant::SettingsEdit;
use hexiao_core::catalog::Capability;
use hexiao_core::money::Money;
use hexiao_core::reason::Reason;
use hexiao_db::merchants::{self, Merchant};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::ApiResult;
use crate::extract::{Json, Staff};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_settings, edit_settings))
}

#[derive(Serialize, ToSchema)]
struct SettingsView {
    name: String,
    /// Seconds a one-tap refund waits before it is sent to WeChat; until then the customer can take it back.
    refund_hold_s: i64,
    /// Whether only registered devices may redeem.
    require_device: bool,
    /// Uses that one device may redeem offline within 24 hours of what nobody booked; more are redeemed, but on the
    /// exception desk.
    offline_uses: u32,
    /// Their worth.
    offline_amount_fen: i64,
}

impl From<Merchant> for SettingsView {
    fn from(m: Merchant) -> Self {
        Self {
            name: m.name,
            refund_hold_s: m.refund_hold_s,
            require_device: m.require_device,
            offline_uses: m.offline.uses,
            offline_amount_fen: m.offline.amount.as_fen(),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingsBody {
    /// 0 sends refunds at once.
    #[schema(minimum = 0, maximum = 3600)]
    refund_hold_s: Option<i64>,
    /// Only registered devices may redeem. Takes effect within a second.
    require_device: Option<bool>,
    #[schema(maximum = 10_000)]
    offline_uses: Option<u32>,
    #[schema(minimum = 0)]
    offline_amount_fen: Option<i64>,
}

/// The merchant's settings.
#[utoipa::path(get, path = "/api/v1/merchant/settings", tag = "merchant", security(("bearer" = [])),
    responses((status = 200, body = SettingsView)))]
async fn get_settings(State(state): State<ApiState>, Staff(by): Staff) -> ApiResult<JsonBody<SettingsView>> {
    by.require(Capability::ManageSettings)?;
    let found = merchants::get(state.app.db.reader(), by.merchant()).await?.ok_or(Reason::NotFound)?;
    Ok(JsonBody(found.into()))
}

/// Changes the merchant's settings; what is not named stays.
#[utoipa::path(patch, path = "/api/v1/merchant/settings", tag = "merchant", security(("bearer" = [])), request_body = SettingsBody,
    responses((status = 200, body = SettingsView)))]
async fn edit_settings(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Json(body): Json<SettingsBody>,
) -> ApiResult<JsonBody<SettingsView>> {
    let edit = SettingsEdit {
        refund_hold_s: body.refund_hold_s,
        require_device: body.require_device,
        offline_uses: body.offline_uses,
        offline_amount: body.offline_amount_fen.map(Money::fen),
    };
    Ok(JsonBody(state.app.edit_settings(&by, edit).await?.into()))
}
