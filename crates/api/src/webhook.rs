//! Webhooks of a merchant: where its own systems are told what happens, and the log of what they were told.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_app::webhooks::{NewWebhook, WebhookEdit};
use hexiao_core::catalog::Capability;
use hexiao_core::id::{DeliveryId, EventId, WebhookId};
use hexiao_core::reason::Reason;
use hexiao_core::webhook::{DeliveryState, WebhookEvent, WebhookState};
use hexiao_db::webhooks::{self, Delivery, Filter, Try, Webhook};
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

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(get_webhook, edit_webhook, delete_webhook))
        .routes(routes!(rotate_webhook_secret))
        .routes(routes!(test_webhook))
        .routes(routes!(list_webhook_deliveries))
        .routes(routes!(get_webhook_delivery))
        .routes(routes!(replay_webhook_delivery))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWebhookBody {
    /// What staff call it.
    name: Line<1, 50>,
    /// `https://…`, reachable from the public internet.
    #[schema(value_type = String, example = "https://erp.example.com/hexiao")]
    url: Line<1, 500>,
    /// redemption.created, redemption.reversed, voucher.issued, refund.succeeded.
    #[schema(value_type = Vec<String>, example = json!(["redemption.created"]))]
    events: Vec<WebhookEvent>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WebhookEditBody {
    /// The version that was edited: another one by now refuses the edit.
    version: Option<i64>,
    name: Option<Line<1, 50>>,
    #[schema(value_type = Option<String>, example = "https://erp.example.com/hexiao")]
    url: Option<Line<1, 500>>,
    #[schema(value_type = Option<Vec<String>>, example = json!(["redemption.created"]))]
    events: Option<Vec<WebhookEvent>>,
    /// Switched on again, it hears what happens from then on, and what still waited for it.
    active: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct WebhookView {
    #[schema(value_type = String)]
    id: WebhookId,
    name: String,
    url: String,
    #[schema(value_type = Vec<String>)]
    events: Vec<WebhookEvent>,
    /// active, paused (by staff) or disabled (it failed for days).
    state: &'static str,
    /// Since when no try has succeeded; null while it works.
    #[schema(required)]
    failing_since: Option<At>,
    /// Until when the secret before the present one signs as well.
    #[schema(required)]
    old_secret_until: Option<At>,
    version: i64,
    created_at: At,
    updated_at: At,
}

impl From<Webhook> for WebhookView {
    fn from(w: Webhook) -> Self {
        Self {
            id: w.id,
            name: w.name,
            url: w.url,
            events: w.events,
            state: match w.state {
                WebhookState::Active => "active",
                WebhookState::Paused => "paused",
                WebhookState::Disabled => "disabled",
                WebhookState::Deleted => "deleted",
            },
            failing_since: at_opt(w.failing_since),
            old_secret_until: at_opt(w.old_secret.map(|(_, until)| until)),
            version: w.version,
            created_at: at(w.created_at),
            updated_at: at(w.updated_at),
        }
    }
}

/// A webhook with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
struct SecretView {
    #[serde(flatten)]
    webhook: WebhookView,
    /// `whsec_` and the key in base64: the receiver verifies signatures with it.
    secret: String,
}

impl From<(Webhook, String)> for SecretView {
    fn from((webhook, secret): (Webhook, String)) -> Self {
        Self { webhook: webhook.into(), secret }
    }
}

#[derive(Serialize, ToSchema)]
struct TryView {
    at: At,
    took_ms: u32,
    /// What the receiver answered; null when it did not.
    #[schema(required)]
    status: Option<u16>,
    /// Why there was no answer.
    #[schema(required)]
    error: Option<String>,
    /// How the answer began.
    #[schema(required)]
    excerpt: Option<String>,
}

impl From<Try> for TryView {
    fn from(t: Try) -> Self {
        Self { at: at(t.at), took_ms: t.took_ms, status: t.status, error: t.error, excerpt: t.excerpt }
    }
}

#[derive(Serialize, ToSchema)]
struct DeliveryView {
    #[schema(value_type = String)]
    id: DeliveryId,
    #[schema(value_type = String)]
    webhook_id: WebhookId,
    /// `webhook-id` of every try: a receiver that has seen it is done.
    #[schema(value_type = String)]
    event_id: EventId,
    #[schema(value_type = String)]
    event: WebhookEvent,
    /// pending, delivered, failed (another try follows) or dead.
    state: &'static str,
    tries: i64,
    #[schema(required)]
    next_try_at: Option<At>,
    created_at: At,
    #[schema(required)]
    finished_at: Option<At>,
    /// The last tries, the oldest first.
    log: Vec<TryView>,
    /// What is sent, as a text: the signature is of these bytes.
    body: String,
}

impl From<Delivery> for DeliveryView {
    fn from(d: Delivery) -> Self {
        Self {
            id: d.id,
            webhook_id: d.webhook_id,
            event_id: d.event_id,
            event: d.event,
            state: match d.state {
                DeliveryState::Pending => "pending",
                DeliveryState::Delivered => "delivered",
                DeliveryState::Failed => "failed",
                DeliveryState::Dead => "dead",
            },
            tries: d.tries,
            next_try_at: at_opt(d.next_at),
            created_at: at(d.created_at),
            finished_at: at_opt(d.finished_at),
            log: d.log.into_iter().map(Into::into).collect(),
            body: d.body,
        }
    }
}

/// The merchant's webhooks, newest first.
#[utoipa::path(get, path = "/api/v1/merchant/webhooks", tag = "merchant", security(("bearer" = [])),
    responses((status = 200, body = List<WebhookView>)))]
async fn list_webhooks(
    State(state): State<ApiState>,
    Staff(staff): Staff,
) -> ApiResult<JsonBody<List<WebhookView>>> {
    staff.require(Capability::ManageWebhooks)?;
    let all = webhooks::all(state.app.db.reader(), staff.merchant()).await?;
    Ok(JsonBody(List::complete(all.into_iter().map(Into::into).collect())))
}

/// Sets a webhook up. The answer holds its secret, which is never shown again.
#[utoipa::path(post, path = "/api/v1/merchant/webhooks", tag = "merchant", security(("bearer" = [])), request_body = NewWebhookBody,
    responses((status = 201, body = SecretView)))]
async fn create_webhook(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Json(body): Json<NewWebhookBody>,
) -> ApiResult<(StatusCode, JsonBody<SecretView>)> {
    let new = NewWebhook { name: body.name.0, url: body.url.0, events: body.events };
    let made = state.app.create_webhook(&staff, new).await?;
    Ok((StatusCode::CREATED, JsonBody(made.into())))
}

/// One of them.
#[utoipa::path(get, path = "/api/v1/merchant/webhooks/{id}", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = WebhookView)))]
async fn get_webhook(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<WebhookId>,
) -> ApiResult<JsonBody<WebhookView>> {
    staff.require(Capability::ManageWebhooks)?;
    let found = webhooks::get(state.app.db.reader(), staff.merchant(), id).await?;
    Ok(JsonBody(found.ok_or(Reason::NotFound)?.into()))
}

/// Edits a webhook, pauses it, or starts it again.
#[utoipa::path(patch, path = "/api/v1/merchant/webhooks/{id}", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    request_body = WebhookEditBody, responses((status = 200, body = WebhookView)))]
async fn edit_webhook(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<WebhookId>,
    Json(body): Json<WebhookEditBody>,
) -> ApiResult<JsonBody<WebhookView>> {
    let edit = WebhookEdit {
        version: body.version,
        name: body.name.map(|name| name.0),
        url: body.url.map(|url| url.0),
        events: body.events,
        active: body.active,
    };
    Ok(JsonBody(state.app.edit_webhook(&staff, id, edit).await?.into()))
}

/// Deletes a webhook; what waited for it is not sent.
#[utoipa::path(delete, path = "/api/v1/merchant/webhooks/{id}", tag = "merchant", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 204)))]
async fn delete_webhook(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<WebhookId>,
) -> ApiResult<StatusCode> {
    state.app.delete_webhook(&staff, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a webhook a new secret, shown this once. For a day the one before signs as well.
#[utoipa::path(post, path = "/api/v1/merchant/webhooks/{id}/rotate-secret", tag = "merchant", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 200, body = SecretView)))]
async fn rotate_webhook_secret(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<WebhookId>,
) -> ApiResult<JsonBody<SecretView>> {
    Ok(JsonBody(state.app.rotate_webhook_secret(&staff, id).await?.into()))
}

/// Sends a `ping`; how it went is in the delivery that is answered, a moment later.
#[utoipa::path(post, path = "/api/v1/merchant/webhooks/{id}/test", tag = "merchant", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 202, body = DeliveryView)))]
async fn test_webhook(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<WebhookId>,
) -> ApiResult<(StatusCode, JsonBody<DeliveryView>)> {
    let delivery = state.app.test_webhook(&staff, id).await?;
    Ok((StatusCode::ACCEPTED, JsonBody(delivery.into())))
}

/// The states that the log can be narrowed to.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LogState {
    Pending,
    Delivered,
    Failed,
    Dead,
}

impl From<LogState> for DeliveryState {
    fn from(state: LogState) -> Self {
        match state {
            LogState::Pending => Self::Pending,
            LogState::Delivered => Self::Delivered,
            LogState::Failed => Self::Failed,
            LogState::Dead => Self::Dead,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveryQuery {
    #[param(value_type = Option<String>)]
    webhook_id: Option<WebhookId>,
    /// pending, delivered, failed or dead.
    #[param(value_type = Option<String>)]
    state: Option<LogState>,
    /// redemption.created, redemption.reversed, voucher.issued, refund.succeeded or ping.
    #[param(value_type = Option<String>)]
    event: Option<WebhookEvent>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows, 1–100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// What was sent to webhooks or waits for it, newest first. Kept for 30 days after it was over.
#[utoipa::path(get, path = "/api/v1/merchant/webhook-deliveries", tag = "merchant", security(("bearer" = [])), params(DeliveryQuery),
    responses((status = 200, body = List<DeliveryView>)))]
async fn list_webhook_deliveries(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Query(q): Query<DeliveryQuery>,
) -> ApiResult<JsonBody<List<DeliveryView>>> {
    staff.require(Capability::ManageWebhooks)?;
    let page = page_request(q.cursor.as_deref(), q.limit)?;
    let filter = Filter { webhook_id: q.webhook_id, state: q.state.map(Into::into), event: q.event };
    let found = webhooks::deliveries(state.app.db.reader(), staff.merchant(), &filter, &page).await?;
    Ok(JsonBody(List::of(found, DeliveryView::from)))
}

/// One of them.
#[utoipa::path(get, path = "/api/v1/merchant/webhook-deliveries/{id}", tag = "merchant", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 200, body = DeliveryView)))]
async fn get_webhook_delivery(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<DeliveryId>,
) -> ApiResult<JsonBody<DeliveryView>> {
    staff.require(Capability::ManageWebhooks)?;
    let found = webhooks::delivery(state.app.db.reader(), staff.merchant(), id).await?;
    Ok(JsonBody(found.ok_or(Reason::NotFound)?.into()))
}

/// Sends it again at once, with the same id and body. 409 while it is being sent or its webhook is stopped.
#[utoipa::path(post, path = "/api/v1/merchant/webhook-deliveries/{id}/replay", tag = "merchant", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 202, body = DeliveryView)))]
async fn replay_webhook_delivery(
    State(state): State<ApiState>,
    Staff(staff): Staff,
    Path(id): Path<DeliveryId>,
) -> ApiResult<(StatusCode, JsonBody<DeliveryView>)> {
    let delivery = state.app.replay_webhook(&staff, id).await?;
    Ok((StatusCode::ACCEPTED, JsonBody(delivery.into())))
}
