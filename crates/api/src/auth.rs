//! Signing in and out.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_app::auth::{Principal, StaffPrincipal, StaffSignIn, Tokens};
use hexiao_core::catalog::Role;
use hexiao_core::id::{CustomerId, MerchantId, StaffId, StoreId};
use hexiao_core::reason::Reason;
use hexiao_core::scope::CustomerScope;
use hexiao_db::customers::Customer as CustomerRow;
use hexiao_db::{customers, staff as staff_db};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ApiResult};
use crate::extract::{AnyPrincipal, Json};
use crate::fields::{Line, Mobile};
use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(sign_in_customer))
        .routes(routes!(sign_in_staff))
        .routes(routes!(refresh))
        .routes(routes!(sign_out))
        .routes(routes!(me))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CustomerSignInBody {
    /// From `wx.login`.
    code: Line<1, 200>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StaffSignInBody {
    phone: Mobile,
    password: Line<1, 200>,
    /// The second factor, for accounts that have one. No account has one yet: it is ignored.
    #[expect(dead_code, reason = "part of the fixed contract; published clients may send it")]
    totp: Option<Line<0, 10>>,
    #[schema(value_type = Option<String>)]
    merchant_id: Option<MerchantId>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefreshBody {
    refresh_token: Line<1, 200>,
}

#[derive(Serialize, ToSchema)]
struct TokensView {
    access_token: String,
    refresh_token: String,
    /// Seconds.
    expires_in: i64,
}

#[derive(Serialize, ToSchema)]
struct CustomerView {
    #[schema(value_type = String)]
    id: CustomerId,
    nickname: String,
    #[schema(required)]
    phone_masked: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct CustomerSession {
    #[serde(flatten)]
    tokens: TokensView,
    customer: CustomerView,
}

#[derive(Serialize, ToSchema)]
struct StaffStoreView {
    #[schema(value_type = String)]
    id: StoreId,
    name: String,
    #[schema(value_type = String)]
    role: Role,
}

#[derive(Serialize, ToSchema)]
struct StaffView {
    #[schema(value_type = String)]
    id: StaffId,
    name: String,
    #[schema(value_type = String)]
    merchant_id: MerchantId,
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
    /// The stores they work for; empty for headquarters, who reach all.
    stores: Vec<StaffStoreView>,
}

#[derive(Serialize, ToSchema)]
struct StaffSession {
    #[serde(flatten)]
    tokens: TokensView,
    staff: StaffView,
}

#[derive(Serialize, ToSchema)]
#[serde(tag = "audience", rename_all = "snake_case")]
enum MeView {
    Customer { customer: CustomerView },
    Staff { staff: StaffView },
}

impl From<Tokens> for TokensView {
    fn from(t: Tokens) -> Self {
        Self { access_token: t.access_token, refresh_token: t.refresh_token, expires_in: t.expires_in }
    }
}

impl From<CustomerRow> for CustomerView {
    fn from(c: CustomerRow) -> Self {
        Self { id: c.id, nickname: c.nickname, phone_masked: c.phone_masked }
    }
}

/// A customer signs in with WeChat.
#[utoipa::path(post, path = "/api/v1/auth/customer", tag = "auth", request_body = CustomerSignInBody,
    responses((status = 201, body = CustomerSession)))]
async fn sign_in_customer(
    State(state): State<ApiState>,
    Json(body): Json<CustomerSignInBody>,
) -> ApiResult<(StatusCode, JsonBody<CustomerSession>)> {
    let (customer, tokens) = state.app.sign_in_customer(&body.code.0).await?;
    Ok((StatusCode::CREATED, JsonBody(CustomerSession { tokens: tokens.into(), customer: customer.into() })))
}

/// A member of staff signs in with phone and password.
#[utoipa::path(post, path = "/api/v1/auth/staff", tag = "auth", request_body = StaffSignInBody,
    responses((status = 201, body = StaffSession)))]
async fn sign_in_staff(
    State(state): State<ApiState>,
    Json(body): Json<StaffSignInBody>,
) -> ApiResult<(StatusCode, JsonBody<StaffSession>)> {
    let request =
        StaffSignIn { phone: body.phone.0, password: body.password.0, merchant_id: body.merchant_id };
    match state.app.sign_in_staff(request).await? {
        Ok((_, tokens)) => {
            let principal = state.app.authenticate(&tokens.access_token).await?;
            let Principal::Staff(staff) = &*principal else { return Err(Reason::Internal.into()) };
            let staff = staff_view(&state, staff).await?;
            Ok((StatusCode::CREATED, JsonBody(StaffSession { tokens: tokens.into(), staff })))
        }
        Err(choose) => {
            let list: Vec<_> =
                choose.merchants.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
            Err(ApiError::from(Reason::ChooseMerchant).with("merchants", list.into()))
        }
    }
}

async fn staff_view(state: &ApiState, staff: &StaffPrincipal) -> ApiResult<StaffView> {
    let stores = staff_db::stores_of(state.app.db.reader(), staff.merchant(), &[staff.staff_id]).await?;
    let stores = stores
        .into_iter()
        .map(|s| StaffStoreView { id: s.store_id, name: s.store_name, role: staff.role })
        .collect();
    Ok(StaffView {
        id: staff.staff_id,
        name: staff.name.to_string(),
        merchant_id: staff.merchant_id,
        roles: vec![staff.role],
        stores,
    })
}

/// Exchanges a refresh token; each works once.
#[utoipa::path(post, path = "/api/v1/auth/refresh", tag = "auth", request_body = RefreshBody, responses((status = 200, body = TokensView)))]
async fn refresh(
    State(state): State<ApiState>,
    Json(body): Json<RefreshBody>,
) -> ApiResult<JsonBody<TokensView>> {
    Ok(JsonBody(state.app.refresh(&body.refresh_token.0).await?.into()))
}

/// Signs out.
#[utoipa::path(delete, path = "/api/v1/auth/session", tag = "auth", security(("bearer" = [])), responses((status = 204)))]
async fn sign_out(
    State(state): State<ApiState>,
    AnyPrincipal(principal): AnyPrincipal,
) -> ApiResult<StatusCode> {
    let session = match &*principal {
        Principal::Customer(c) => c.session_id,
        Principal::Staff(s) => s.session_id,
    };
    state.app.sign_out(session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who am I.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth", security(("bearer" = [])), responses((status = 200, body = MeView)))]
async fn me(
    State(state): State<ApiState>,
    AnyPrincipal(principal): AnyPrincipal,
) -> ApiResult<JsonBody<MeView>> {
    Ok(JsonBody(match &*principal {
        Principal::Customer(c) => {
            let scope: CustomerScope = c.scope();
            let customer =
                customers::get(state.app.db.reader(), scope).await?.ok_or(Reason::SessionExpired)?;
            MeView::Customer { customer: customer.into() }
        }
        Principal::Staff(s) => MeView::Staff { staff: staff_view(&state, s).await? },
    }))
}
