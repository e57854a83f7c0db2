//! WeChat's callbacks. The status is the answer: 200 stored, 4xx not verifiable, 5xx send it again.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::HeaderMap;
use hexiao_app::payment::NotificationHeaders as Headers;
use hexiao_core::id::PayAccountId;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::ApiResult;
use crate::extract::{Path, RawBody};
use crate::router::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(payment_notified))
        .routes(routes!(only_payment_notified))
        .routes(routes!(refund_notified))
        .routes(routes!(only_refund_notified))
}

/// What WeChat likes to read; the status alone counts.
#[derive(Serialize, ToSchema)]
struct Acknowledged {
    code: &'static str,
}

const SUCCESS: JsonBody<Acknowledged> = JsonBody(Acknowledged { code: "SUCCESS" });

/// A payment, for the account in the address.
#[utoipa::path(post, path = "/api/v1/notify/wechat/payments/{pay_account_id}", tag = "notify", params(("pay_account_id" = String, Path)),
    responses((status = 200, body = Acknowledged)))]
async fn payment_notified(
    State(state): State<ApiState>,
    Path(account): Path<PayAccountId>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<JsonBody<Acknowledged>> {
    state.app.payment_notified(Some(account), &Headers::from(&headers), &body).await?;
    Ok(SUCCESS)
}

/// A payment, for the only account.
#[utoipa::path(post, path = "/api/v1/notify/wechat/payments", tag = "notify",
    responses((status = 200, body = Acknowledged), (status = 404, body = crate::ErrorBody, description = "There is not exactly one pay account")))]
async fn only_payment_notified(
    State(state): State<ApiState>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<JsonBody<Acknowledged>> {
    state.app.payment_notified(None, &Headers::from(&headers), &body).await?;
    Ok(SUCCESS)
}

/// A refund, for the account in the address.
#[utoipa::path(post, path = "/api/v1/notify/wechat/refunds/{pay_account_id}", tag = "notify", params(("pay_account_id" = String, Path)),
    responses((status = 200, body = Acknowledged)))]
async fn refund_notified(
    State(state): State<ApiState>,
    Path(account): Path<PayAccountId>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<JsonBody<Acknowledged>> {
    state.app.refund_notified(Some(account), &Headers::from(&headers), &body).await?;
    Ok(SUCCESS)
}

/// A refund, for the only account.
#[utoipa::path(post, path = "/api/v1/notify/wechat/refunds", tag = "notify",
    responses((status = 200, body = Acknowledged), (status = 404, body = crate::ErrorBody, description = "There is not exactly one pay account")))]
async fn only_refund_notified(
    State(state): State<ApiState>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<JsonBody<Acknowledged>> {
    state.app.refund_notified(None, &Headers::from(&headers), &body).await?;
    Ok(SUCCESS)
}
