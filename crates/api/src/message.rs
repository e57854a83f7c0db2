//! A customer's inbox.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use hexiao_core::id::{MessageId, OrderId};
use hexiao_core::time::Timestamp;
use hexiao_db::messages::{self, Message};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cursor::{List, PageQuery};
use crate::error::ApiResult;
use crate::extract::{Customer, Json, Query};
use crate::router::ApiState;
use crate::views::{At, at};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_messages)).routes(routes!(read_messages))
}

#[derive(Serialize, ToSchema)]
struct MessageView {
    #[schema(value_type = String)]
    id: MessageId,
    topic: String,
    title: String,
    body: String,
    #[schema(value_type = Option<String>, required)]
    order_id: Option<OrderId>,
    read: bool,
    at: At,
}

impl From<Message> for MessageView {
    fn from(m: Message) -> Self {
        Self {
            id: m.id,
            topic: m.topic,
            title: m.title,
            body: m.body,
            order_id: m.order_id,
            read: m.read_at.is_some(),
            at: at(m.at),
        }
    }
}

/// The customer's messages, newest first.
#[utoipa::path(get, path = "/api/v1/customer/messages", tag = "customer", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = List<MessageView>)))]
async fn list_messages(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Query(page): Query<PageQuery>,
) -> ApiResult<JsonBody<List<MessageView>>> {
    let found = messages::list(state.app.db.reader(), customer.scope(), &page.request()?).await?;
    Ok(JsonBody(List::of(found, MessageView::from)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReadBody {
    /// Messages up to this instant (RFC 3339 with zone) are read.
    #[schema(value_type = String)]
    until: Timestamp,
}

/// Marks messages as read.
#[utoipa::path(post, path = "/api/v1/customer/messages/read", tag = "customer", security(("bearer" = [])), request_body = ReadBody,
    responses((status = 204)))]
async fn read_messages(
    State(state): State<ApiState>,
    Customer(customer): Customer,
    Json(body): Json<ReadBody>,
) -> ApiResult<StatusCode> {
    state.app.read_messages(customer.scope(), body.until).await?;
    Ok(StatusCode::NO_CONTENT)
}
