//! The texts as customers read them, before they sign in too.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::{HeaderName, header};
use hexiao_core::id::MerchantId;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_db::agreements;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AgreementHeading, AgreementView, OfMerchant};
use crate::error::ApiResult;
use crate::extract::Path;
use crate::router::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_agreements)).routes(routes!(get_agreement))
}

/// The same for everybody, and an edit may be seen a minute late.
const CACHED: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "public, max-age=60")];

/// A merchant's texts.
#[derive(Serialize, ToSchema)]
struct AgreementList {
    items: Vec<AgreementHeading>,
}

fn missing() -> Refusal {
    Refusal::with_message(Reason::NotFound, "没有找到这份协议")
}

/// What a merchant's customers agree to: the titles and versions of its texts.
#[utoipa::path(get, path = "/api/v1/customer/merchants/{merchant_id}/agreements", tag = "agreement",
    params(("merchant_id" = String, Path, description = "Merchant")),
    responses((status = 200, body = AgreementList)))]
async fn list_agreements(
    State(state): State<ApiState>,
    Path(merchant_id): Path<MerchantId>,
) -> ApiResult<([(HeaderName, &'static str); 1], JsonBody<AgreementList>)> {
    let found = agreements::list(state.app.db.reader(), merchant_id).await?;
    if found.is_empty() {
        return Err(missing().into());
    }
    Ok((CACHED, JsonBody(AgreementList { items: found.into_iter().map(AgreementHeading::from).collect() })))
}

/// One of these texts: `user_agreement`, `privacy_policy`, `redemption_rules` or `after_sales_policy`.
#[utoipa::path(get, path = "/api/v1/customer/merchants/{merchant_id}/agreements/{kind}", tag = "agreement",
    params(("merchant_id" = String, Path, description = "Merchant"), ("kind" = String, Path, description = "Which text")),
    responses((status = 200, body = AgreementView)))]
async fn get_agreement(
    State(state): State<ApiState>,
    OfMerchant(merchant_id, kind): OfMerchant,
) -> ApiResult<([(HeaderName, &'static str); 1], JsonBody<AgreementView>)> {
    let found = agreements::get(state.app.db.reader(), merchant_id, kind).await?.ok_or_else(missing)?;
    Ok((CACHED, JsonBody(found.into())))
}
