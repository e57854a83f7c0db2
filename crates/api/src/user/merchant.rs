//! Accounts of staff. A password goes in and never comes out; a phone number comes out masked.

use std::collections::HashMap;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_app::merchant::{Edit, NewStaff, StaffAccount, StaffEdit};
use hexiao_core::catalog::{Capability, Role};
use hexiao_core::id::{StaffId, StoreId};
use hexiao_core::limit::VerifierLimit;
use hexiao_core::money::Money;
use hexiao_core::reason::Reason;
use hexiao_core::scope::StoreScope;
use hexiao_core::time::Timestamp;
use hexiao_db::staff::{self as staff_db, Staff as StaffRow, StaffStore};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::{List, PageQuery};
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Staff};
use crate::fields::{Line, Mobile};
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_staff, create_staff)).routes(routes!(get_staff, edit_staff))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewStaffBody {
    name: Line<1, 30>,
    phone: Mobile,
    /// 8–72 characters with letters and digits.
    password: Line<1, 200>,
    #[schema(value_type = String, example = "verifier")]
    role: Role,
    /// At least one for a verifier or store manager.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required = false)]
    store_ids: Vec<StoreId>,
    /// The most uses they may redeem on one business day; only headquarters set it.
    daily_uses_limit: Option<u32>,
    /// The same in money.
    daily_amount_limit_fen: Option<i64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StaffEditBody {
    /// The version that was edited: another one by now refuses the edit.
    version: Option<i64>,
    name: Option<Line<1, 30>>,
    #[schema(value_type = Option<String>, example = "verifier")]
    role: Option<Role>,
    #[schema(value_type = Option<Vec<String>>)]
    store_ids: Option<Vec<StoreId>>,
    active: Option<bool>,
    /// A new password; it also ends the lock after wrong ones.
    password: Option<Line<1, 200>>,
    /// The most uses they may redeem on one business day, counted from when it is set; null = any. Only headquarters
    /// set it.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    daily_uses_limit: Edit<u32>,
    /// The same in money.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    daily_amount_limit_fen: Edit<i64>,
}

#[derive(Serialize, ToSchema)]
struct AccountStore {
    #[schema(value_type = String)]
    id: StoreId,
    name: String,
}

#[derive(Serialize, ToSchema)]
struct AccountView {
    #[schema(value_type = String)]
    id: StaffId,
    name: String,
    #[schema(value_type = String, example = "verifier")]
    role: Role,
    #[schema(example = "138****0001")]
    phone_masked: String,
    active: bool,
    #[schema(required)]
    daily_uses_limit: Option<u32>,
    #[schema(required)]
    daily_amount_limit_fen: Option<i64>,
    /// Those of the caller's scope.
    stores: Vec<AccountStore>,
    /// No sign-in before this after too many wrong passwords.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    locked_until: Option<Timestamp>,
    version: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl AccountView {
    fn of(staff: StaffRow, stores: Vec<StaffStore>, now: Timestamp) -> Self {
        Self {
            id: staff.id,
            name: staff.name,
            role: staff.role,
            phone_masked: staff.phone_masked,
            active: staff.active,
            daily_uses_limit: staff.limit.uses_a_day,
            daily_amount_limit_fen: staff.limit.amount_a_day.map(Money::as_fen),
            stores: stores.into_iter().map(|s| AccountStore { id: s.store_id, name: s.store_name }).collect(),
            locked_until: staff.locked_until.filter(|until| now < *until),
            version: staff.version,
            created_at: staff.created_at,
        }
    }
}

/// The staff of the caller's scope, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/staff", tag = "user", params(PageQuery), security(("bearer" = [])),
    responses((status = 200, body = List<AccountView>)))]
async fn list_staff(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Query(query): Query<PageQuery>,
) -> ApiResult<JsonBody<List<AccountView>>> {
    by.require(Capability::ManageStaff)?;
    let page = staff_db::list(state.app.db.reader(), &by.scope, &query.request()?).await?;
    let ids: Vec<StaffId> = page.items.iter().map(|s| s.id).collect();
    let mut stores = stores_within(&state, &by.scope, &ids).await?;
    let now = state.app.now();
    Ok(JsonBody(List::of(page, |staff| {
        let stores = stores.remove(&staff.id).unwrap_or_default();
        AccountView::of(staff, stores, now)
    })))
}

async fn stores_within(
    state: &ApiState,
    scope: &StoreScope,
    ids: &[StaffId],
) -> ApiResult<HashMap<StaffId, Vec<StaffStore>>> {
    let mut stores: HashMap<StaffId, Vec<StaffStore>> = HashMap::new();
    for store in staff_db::stores_of(state.app.db.reader(), scope.merchant(), ids).await? {
        if scope.contains(store.store_id) {
            stores.entry(store.staff_id).or_default().push(store);
        }
    }
    Ok(stores)
}

/// Creates an account.
#[utoipa::path(post, path = "/api/v1/merchant/staff", tag = "user", request_body = NewStaffBody,
    security(("bearer" = [])), responses((status = 201, body = AccountView)))]
async fn create_staff(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Json(body): Json<NewStaffBody>,
) -> ApiResult<(StatusCode, JsonBody<AccountView>)> {
    let new = NewStaff {
        name: body.name.0,
        phone: body.phone.0,
        password: body.password.0,
        role: body.role,
        store_ids: body.store_ids,
        limit: VerifierLimit {
            uses_a_day: body.daily_uses_limit,
            amount_a_day: body.daily_amount_limit_fen.map(Money::fen),
        },
    };
    let StaffAccount { staff, stores } = state.app.create_staff(&by, new).await?;
    Ok((StatusCode::CREATED, JsonBody(AccountView::of(staff, stores, state.app.now()))))
}

/// One account.
#[utoipa::path(get, path = "/api/v1/merchant/staff/{id}", tag = "user", params(("id" = String, Path)),
    security(("bearer" = [])), responses((status = 200, body = AccountView)))]
async fn get_staff(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Path(id): Path<StaffId>,
) -> ApiResult<JsonBody<AccountView>> {
    by.require(Capability::ManageStaff)?;
    let staff = staff_db::get_in(state.app.db.reader(), &by.scope, id).await?.ok_or(Reason::NotFound)?;
    let stores = stores_within(&state, &by.scope, &[id]).await?.remove(&id).unwrap_or_default();
    Ok(JsonBody(AccountView::of(staff, stores, state.app.now())))
}

/// Edits an account, closes it, or gives it a new password. What changes its rights ends its sessions.
#[utoipa::path(patch, path = "/api/v1/merchant/staff/{id}", tag = "user", params(("id" = String, Path)),
    request_body = StaffEditBody, security(("bearer" = [])), responses((status = 200, body = AccountView)))]
async fn edit_staff(
    State(state): State<ApiState>,
    Staff(by): Staff,
    Path(id): Path<StaffId>,
    Json(body): Json<StaffEditBody>,
) -> ApiResult<JsonBody<AccountView>> {
    let edit = StaffEdit {
        version: body.version,
        name: body.name.map(|n| n.0),
        role: body.role,
        store_ids: body.store_ids,
        active: body.active,
        password: body.password.map(|p| p.0),
        uses_a_day: body.daily_uses_limit,
        amount_a_day: body.daily_amount_limit_fen.map(Money::fen),
    };
    let StaffAccount { staff, stores } = state.app.edit_staff(&by, id, edit).await?;
    Ok(JsonBody(AccountView::of(staff, stores, state.app.now())))
}
