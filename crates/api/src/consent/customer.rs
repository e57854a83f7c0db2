//! The customer sees who asks for what, and taps yes or no.

use axum::Json as JsonBody;
use axum::extract::State;
use hexiao_app::consent::{Shown, Tapped};
use hexiao_core::consent::{ConsentKind, ConsentState};
use hexiao_core::id::{ConsentId, StoreId, VoucherId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::List;
use crate::error::ApiResult;
use crate::extract::{Customer, Path};
use crate::redemption::ConfirmedView;
use crate::router::ApiState;
use crate::views::{At, at};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_consents))
        .routes(routes!(approve_consent))
        .routes(routes!(deny_consent))
}

#[derive(Serialize, ToSchema)]
struct ConsentItemView {
    #[schema(value_type = String)]
    voucher_id: VoucherId,
    product_name: String,
    quantity: u32,
}

#[derive(Serialize, ToSchema)]
struct CustomerConsentView {
    #[schema(value_type = String)]
    id: ConsentId,
    /// lookup: to let the verifier see your vouchers; withdraw_refund: to take a refund back and redeem.
    #[schema(value_type = String)]
    kind: ConsentKind,
    merchant_name: String,
    #[schema(value_type = String)]
    store_id: StoreId,
    store_name: String,
    verifier_name: String,
    /// What a lookup was asked by, if it was an order's number.
    #[schema(required)]
    order_number: Option<String>,
    /// What would be redeemed.
    items: Vec<ConsentItemView>,
    /// What the refunds that would be taken back come to; 0 for a lookup.
    withdrawn_fen: i64,
    created_at: At,
    expires_at: At,
}

impl From<Shown> for CustomerConsentView {
    fn from(shown: Shown) -> Self {
        let item =
            |(voucher_id, product_name, quantity)| ConsentItemView { voucher_id, product_name, quantity };
        Self {
            id: shown.consent.id,
            kind: shown.consent.kind,
            merchant_name: shown.merchant_name,
            store_id: shown.consent.store_id,
            store_name: shown.store_name,
            verifier_name: shown.verifier_name,
            order_number: shown.consent.order_number,
            items: shown.items.into_iter().map(item).collect(),
            withdrawn_fen: shown.withdrawn.as_fen(),
            created_at: at(shown.consent.created_at),
            expires_at: at(shown.consent.expires_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct TappedView {
    #[schema(value_type = String)]
    id: ConsentId,
    /// Approved, Denied, Expired or Used.
    #[schema(value_type = String)]
    state: ConsentState,
    expires_at: At,
    /// What was redeemed by the tap.
    #[schema(required)]
    redemption: Option<ConfirmedView>,
}

impl TappedView {
    fn of(id: ConsentId, tapped: Tapped) -> Self {
        Self {
            id,
            state: tapped.state,
            expires_at: at(tapped.expires_at),
            redemption: tapped.redeemed.map(|a| ConfirmedView::of(a, false)),
        }
    }
}

/// What waits for the customer's tap; at most 20 of each kind. Ask every few seconds while the customer is at the counter.
#[utoipa::path(get, path = "/api/v1/customer/consent-requests", tag = "customer", security(("bearer" = [])),
    responses((status = 200, body = List<CustomerConsentView>)))]
async fn list_consents(
    State(state): State<ApiState>,
    Customer(customer): Customer,
) -> ApiResult<JsonBody<List<CustomerConsentView>>> {
    let shown = state.app.consents_for(customer.scope()).await?;
    let items = shown.into_iter().map(Into::into).collect();
    Ok(JsonBody(List { items, next_cursor: None }))
}

/// Says yes. A request to take a refund back is carried out by it: the refund is withdrawn and the uses are redeemed.
/// Saying it again is answered with the same.
#[utoipa::path(post, path = "/api/v1/customer/consent-requests/{id}/approve", tag = "customer", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = TappedView)))]
async fn approve_consent(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<ConsentId>,
) -> ApiResult<JsonBody<TappedView>> {
    Ok(JsonBody(TappedView::of(id, state.app.approve_consent(customer.scope(), id).await?)))
}

/// Says no.
#[utoipa::path(post, path = "/api/v1/customer/consent-requests/{id}/deny", tag = "customer", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = TappedView)))]
async fn deny_consent(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Path(id): Path<ConsentId>,
) -> ApiResult<JsonBody<TappedView>> {
    Ok(JsonBody(TappedView::of(id, state.app.deny_consent(customer.scope(), id).await?)))
}
