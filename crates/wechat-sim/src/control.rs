//! The control paths under `/_sim`: what tests and a developer's tools may make the simulator do.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderValue, Response, StatusCode, header},
    middleware::{self, Next},
    response::IntoResponse,
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    control_forge::Forgery,
    error::SimError,
    faults::Fault,
    model::{NotificationRecord, NotifyKey, RefundOutcome},
    payment::PayArgs,
    sim::Sim,
    subscribe::SentMessage,
};

const HELP: &str = include_str!("help.txt");
/// Notifications a list shows unless asked for another number.
const DEFAULT_LIMIT: usize = 1000;

type Answer = Result<Json<Value>, SimError>;

impl IntoResponse for SimError {
    fn into_response(self) -> Response<Body> {
        let (status, code) = match &self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Refused { code, .. } => (StatusCode::BAD_REQUEST, *code),
            Self::Key(_) | Self::Config(_) | Self::Io(_) | Self::Journal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        (status, Json(json!({"code": code, "message": self.to_string()}))).into_response()
    }
}

/// Control paths and the help text.
pub(crate) fn router() -> Router<Sim> {
    let control = Router::new()
        .route("/pay", post(pay))
        .route("/cancel", post(cancel))
        .route("/faults", post(faults_set).delete(faults_clear))
        .route("/notifications", get(notifications))
        .route("/notifications/{id}/resend", post(resend))
        .route("/probe", post(probe))
        .route("/forge", post(forge))
        .route("/clock", get(clock).post(clock_move))
        .route("/balance", post(balance))
        .route("/transactions/{out_trade_no}", get(transaction))
        .route("/refunds/{out_refund_no}", post(refund_settle))
        .route("/mode", post(mode))
        .route("/subscribe", post(subscribe))
        .route("/messages", get(messages))
        .layer(middleware::from_fn(allow_browsers));
    Router::new().route("/", get(|| async { HELP })).nest("/_sim", control)
}

/// The browser preview pays from another origin.
async fn allow_browsers(request: axum::extract::Request, next: Next) -> Response<Body> {
    let mut response = if request.method() == axum::http::Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let any = HeaderValue::from_static("*");
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, any.clone());
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, any);
    response
}

/// Strict JSON whatever the content type says: the callers are shell scripts and browsers.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, SimError> {
    serde_json::from_slice(body).map_err(|e| SimError::refused("body_invalid", e.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderName {
    out_trade_no: String,
}

async fn pay(State(sim): State<Sim>, body: Bytes) -> Response<Body> {
    let paid = read::<PayArgs>(&body).and_then(|args| sim.pay(args));
    match paid {
        Ok(receipt) => {
            let mut answer = json!(receipt);
            answer["errMsg"] = json!("requestPayment:ok");
            Json(answer).into_response()
        }
        Err(error) => error.into_response(),
    }
}

async fn cancel(State(sim): State<Sim>, body: Bytes) -> Answer {
    sim.cancel(&read::<OrderName>(&body)?.out_trade_no)?;
    Ok(Json(json!({"errMsg": "requestPayment:fail cancel"})))
}

async fn faults_set(State(sim): State<Sim>, body: Bytes) -> Answer {
    let rule = Fault::from_json(read(&body)?).map_err(|e| SimError::refused("fault_invalid", e))?;
    sim.set_fault(rule)?;
    Ok(Json(json!({})))
}

async fn faults_clear(State(sim): State<Sim>) -> Answer {
    sim.clear_faults();
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotificationFilter {
    out_trade_no: Option<String>,
    limit: Option<usize>,
}

/// The newest ones that fit, the oldest of them first.
async fn notifications(State(sim): State<Sim>, Query(filter): Query<NotificationFilter>) -> Answer {
    let wanted = |record: &&NotificationRecord| {
        filter.out_trade_no.as_ref().is_none_or(|number| record.out_trade_no == *number)
    };
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT);
    let mut found: Vec<NotificationRecord> =
        sim.store().notifications.values().rev().filter(wanted).take(limit).cloned().collect();
    found.reverse();
    Ok(Json(json!({"items": found})))
}

async fn resend(State(sim): State<Sim>, Path(id): Path<String>) -> Answer {
    Ok(Json(json!(sim.resend(&id).await?)))
}

async fn probe(State(sim): State<Sim>, body: Bytes) -> Answer {
    let order = read::<OrderName>(&body)?;
    Ok(Json(json!(sim.probe(&order.out_trade_no).await?)))
}

async fn forge(State(sim): State<Sim>, body: Bytes) -> Answer {
    Ok(Json(json!(sim.forge(read::<Forgery>(&body)?).await?)))
}

async fn clock(State(sim): State<Sim>) -> Answer {
    Ok(Json(json!({"now": sim.now()})))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClockMove {
    AdvanceMs(u64),
    Set(DateTime<Utc>),
}

async fn clock_move(State(sim): State<Sim>, body: Bytes) -> Answer {
    let now = match read(&body)? {
        ClockMove::AdvanceMs(ms) => sim.advance_clock(std::time::Duration::from_millis(ms))?,
        ClockMove::Set(to) => sim.set_clock(to)?,
    };
    Ok(Json(json!({"now": now})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BalanceBody {
    mchid: String,
    fen: Option<i64>,
}

async fn balance(State(sim): State<Sim>, body: Bytes) -> Answer {
    let wanted: BalanceBody = read(&body)?;
    sim.set_balance(&wanted.mchid, wanted.fen)?;
    Ok(Json(json!({"mchid": wanted.mchid, "fen": sim.balance(&wanted.mchid)})))
}

async fn transaction(State(sim): State<Sim>, Path(out_trade_no): Path<String>) -> Answer {
    let order =
        sim.transaction(&out_trade_no).ok_or_else(|| SimError::NotFound(format!("order {out_trade_no}")))?;
    let store = sim.store();
    let refund =
        |number: &String| store.refunds.get(&crate::journal::Key::new(&order.mchid, number)).cloned();
    let refunds: Vec<_> = order.refunds.iter().filter_map(refund).collect();
    Ok(Json(json!({"transaction": order, "refunds": refunds})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleBody {
    outcome: RefundOutcome,
}

async fn refund_settle(State(sim): State<Sim>, Path(out_refund_no): Path<String>, body: Bytes) -> Answer {
    let wanted: SettleBody = read(&body)?;
    Ok(Json(json!(sim.settle_refund(&out_refund_no, wanted.outcome)?)))
}

async fn subscribe(State(sim): State<Sim>, body: Bytes) -> Answer {
    sim.accept(read(&body)?)?;
    Ok(Json(json!({"errMsg": "requestSubscribeMessage:ok"})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageFilter {
    openid: Option<String>,
    limit: Option<usize>,
}

/// The newest ones that fit, the oldest of them first.
async fn messages(State(sim): State<Sim>, Query(filter): Query<MessageFilter>) -> Answer {
    let wanted = |m: &&SentMessage| filter.openid.as_ref().is_none_or(|openid| m.openid == *openid);
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT);
    let mut found: Vec<SentMessage> =
        sim.store().messages.iter().rev().filter(wanted).take(limit).cloned().collect();
    found.reverse();
    Ok(Json(json!({"items": found})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModeBody {
    key: NotifyKey,
}

async fn mode(State(sim): State<Sim>, body: Bytes) -> Answer {
    let wanted: ModeBody = read(&body)?;
    sim.set_notify_key(wanted.key)?;
    Ok(Json(json!({"key": wanted.key})))
}
