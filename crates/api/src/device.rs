//! Devices of the staff: registered by who redeems with them, listed and revoked by who manages them.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_app::device::NewDevice;
use hexiao_core::catalog::Capability;
use hexiao_core::device::{DevicePlatform, DeviceState, parse_public_key};
use hexiao_core::id::{DeviceId, StaffId};
use hexiao_core::reason::Refusal;
use hexiao_db::devices::{self, Device, Filter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::{List, PageQuery, page_request};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::fields::Line;
use crate::router::ApiState;
use crate::views::{At, at, at_opt};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(register_device, list_own_devices))
        .routes(routes!(give_up_device))
        .routes(routes!(list_devices))
        .routes(routes!(rename_device))
        .routes(routes!(revoke_device))
}

/// A device.
#[derive(Serialize, ToSchema)]
struct DeviceView {
    #[schema(value_type = String)]
    id: DeviceId,
    #[schema(value_type = String)]
    staff_id: StaffId,
    staff_name: String,
    name: String,
    /// ios, android, harmony, desktop or other.
    #[schema(value_type = String)]
    platform: DevicePlatform,
    /// Active or Revoked.
    #[schema(value_type = String)]
    state: DeviceState,
    created_at: At,
    /// When it was last signed in or continued its session: to within a quarter of an hour.
    seen_at: At,
    #[schema(required)]
    revoked_at: Option<At>,
    #[schema(value_type = Option<String>, required)]
    revoked_by: Option<StaffId>,
}

impl From<Device> for DeviceView {
    fn from(d: Device) -> Self {
        Self {
            id: d.id,
            staff_id: d.staff_id,
            staff_name: d.staff_name,
            name: d.name,
            platform: d.platform,
            state: d.state,
            created_at: at(d.created_at),
            seen_at: at(d.seen_at),
            revoked_at: at_opt(d.revoked_at),
            revoked_by: d.revoked_by,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDeviceBody {
    /// What its user calls it.
    name: Line<1, 40>,
    /// ios, android, harmony, desktop or other.
    #[schema(value_type = String)]
    platform: DevicePlatform,
    /// Its Ed25519 public key: 64 hexadecimal digits. The private key never leaves the device.
    public_key: Line<1, 100>,
}

/// Registers the device that this session is used on: 201 when it is new, 200 when its key is known.
#[utoipa::path(post, path = "/api/v1/staff/devices", tag = "staff", security(("bearer" = [])), request_body = NewDeviceBody,
    responses((status = 201, body = DeviceView), (status = 200, body = DeviceView, description = "It was registered before")))]
async fn register_device(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Json(body): Json<NewDeviceBody>,
) -> ApiResult<(StatusCode, JsonBody<DeviceView>)> {
    let public_key = parse_public_key(&body.public_key.0)
        .ok_or_else(|| Refusal::field("public_key", "应为 64 位十六进制的 Ed25519 公钥"))?;
    let new = NewDevice { name: body.name.0, platform: body.platform, public_key };
    let (device, is_new) = state.app.register_device(&by, &new).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, JsonBody(device.into())))
}

/// The own devices, newest first.
#[utoipa::path(get, path = "/api/v1/staff/devices", tag = "staff", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = List<DeviceView>)))]
async fn list_own_devices(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Query(query): Query<PageQuery>,
) -> ApiResult<JsonBody<List<DeviceView>>> {
    let filter = Filter { staff: Some(by.staff_id), state: None };
    let found = devices::list(state.app.db.reader(), &by.scope, filter, &query.request()?).await?;
    Ok(JsonBody(List::of(found, DeviceView::from)))
}

/// Gives up the device that this session is used on: its key is never accepted again, its other sessions end.
#[utoipa::path(delete, path = "/api/v1/staff/devices/current", tag = "staff", security(("bearer" = [])),
    responses((status = 204, description = "Done")))]
async fn give_up_device(State(state): State<ApiState>, Staff(by): Staff) -> ApiResult<StatusCode> {
    state.app.give_up_device(&by).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeviceQuery {
    /// Of one member of staff.
    #[param(value_type = Option<String>)]
    staff_id: Option<StaffId>,
    /// Active or Revoked.
    #[param(value_type = Option<String>)]
    state: Option<DeviceState>,
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// Devices of the staff in scope, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/devices", tag = "merchant", security(("bearer" = [])), params(DeviceQuery),
    responses((status = 200, body = List<DeviceView>)))]
async fn list_devices(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Query(query): Query<DeviceQuery>,
) -> ApiResult<JsonBody<List<DeviceView>>> {
    by.require(Capability::ManageStaff)?;
    let page = page_request(query.cursor.as_deref(), query.limit)?;
    let filter = Filter { staff: query.staff_id, state: query.state };
    let found = devices::list(state.app.db.reader(), &by.scope, filter, &page).await?;
    Ok(JsonBody(List::of(found, DeviceView::from)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeviceEditBody {
    name: Line<1, 40>,
}

/// Gives a device another name.
#[utoipa::path(patch, path = "/api/v1/merchant/devices/{id}", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    request_body = DeviceEditBody, responses((status = 200, body = DeviceView)))]
async fn rename_device(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Path(id): Path<DeviceId>,
    Json(body): Json<DeviceEditBody>,
) -> ApiResult<JsonBody<DeviceView>> {
    Ok(JsonBody(state.app.rename_device(&by, id, &body.name.0).await?.into()))
}

/// Revokes a device for good and ends its sessions: at once here, within a second on other servers.
#[utoipa::path(post, path = "/api/v1/merchant/devices/{id}/revoke", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = DeviceView)))]
async fn revoke_device(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Path(id): Path<DeviceId>,
) -> ApiResult<JsonBody<DeviceView>> {
    Ok(JsonBody(state.app.revoke_device(&by, id).await?.into()))
}
