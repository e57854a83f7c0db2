//! The pipeline of WeChat's own paths: read, authenticate, apply faults, execute, sign.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Response, StatusCode, header, request::Parts},
};
use serde_json::{Value, json};

use crate::{
    auth::{Signed, authenticate},
    clock::wire_time,
    crypto::{nonce, seal},
    error::{ApiError, SimError},
    faults::{FaultAction, Occasion},
    listener::Scissors,
    miniprogram, orders,
    platform::SigningKey,
    refunds, reply,
    reply::Success,
    route::{Call, Op, PayOp},
    sim::{Merchant, Sim},
};

/// Bodies larger than this are refused.
const MAX_BODY: usize = 1024 * 1024;

/// Every request that is not a control request.
pub(crate) async fn handle(
    State(sim): State<Sim>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return reply::error(&ApiError::new(413, "PARAM_ERROR", "请求体超过1MB"));
    };
    let Some(call) = Call::parse(&parts.method, &parts.uri) else {
        return reply::error(&ApiError::new(404, "RESOURCE_NOT_EXISTS", "请求的资源不存在"));
    };
    match call.op {
        Op::Pay(op) => pay_call(&sim, &scissors, op, &call, &parts, &body).await,
        Op::Mini(op) => {
            let url = parts.uri.path().to_owned();
            let fault =
                sim.faults().take_for_call(Occasion { path: &url, out_trade_no: None, kind: call.op.kind() });
            let answer = |value: Value| miniprogram::response(&value);
            let run = || Ok(miniprogram::execute(&sim, op, &call, &body));
            match with_fault(&sim, &scissors, fault.as_ref(), run).await {
                Ok(value) => answer(value),
                Err(error) => answer(miniprogram::error_from(&error)),
            }
        }
    }
}

async fn pay_call(
    sim: &Sim,
    scissors: &Scissors,
    op: PayOp,
    call: &Call,
    parts: &Parts,
    body: &Bytes,
) -> Response<Body> {
    let url = parts.uri.path_and_query().map_or("/", |url| url.as_str());
    let signed = Signed { method: parts.method.as_str(), url, body };
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let checked = authenticate(sim, authorization, &signed, sim.now()).and_then(|merchant| {
        let key = check_headers(sim, call, &parts.headers)?;
        let body = if call.is_post { parse_body(body)? } else { no_body(body)? };
        Ok((merchant, key, body))
    });
    let (merchant, key, body) = match checked {
        Ok(checked) => checked,
        Err(error) => return reply::error(&error),
    };
    let out_trade_no = order_of(sim, merchant, op, call, &body);
    let occasion =
        Occasion { path: parts.uri.path(), out_trade_no: out_trade_no.as_deref(), kind: call.op.kind() };
    let fault = sim.faults().take_for_call(occasion);
    let run = || execute(sim, merchant, op, call, &body);
    let answer = with_fault(sim, scissors, fault.as_ref(), run).await;
    let signed = answer.and_then(|ok| reply::success(sim, key, ok, fault.as_ref()).map_err(ApiError::from));
    signed.unwrap_or_else(|error| reply::error(&error))
}

/// Runs a call under its fault. A cut connection still gets an answer here; it never leaves.
async fn with_fault<T>(
    sim: &Sim,
    scissors: &Scissors,
    fault: Option<&FaultAction>,
    run: impl FnOnce() -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let lost = || ApiError::new(500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用");
    match fault {
        Some(FaultAction::Error { status, code, message }) => Err(ApiError::new(*status, code, message)),
        Some(FaultAction::Delay { delay_ms }) => {
            hang(sim, *delay_ms).await;
            run()
        }
        Some(FaultAction::Timeout { commit, hang_ms }) => {
            if *commit {
                let _ = run();
            }
            hang(sim, *hang_ms).await;
            scissors.cut();
            Err(lost())
        }
        // A call that is refused committed nothing, so its refusal is told.
        Some(FaultAction::ErrorAfterCommit { close }) => {
            run()?;
            if *close {
                scissors.cut();
            }
            Err(lost())
        }
        _ => run(),
    }
}

async fn hang(sim: &Sim, ms: u64) {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(ms)) => {}
        () = sim.stop().cancelled() => {}
    }
}

/// Headers every call needs; returns the key the caller wants the answer signed with.
fn check_headers(sim: &Sim, call: &Call, headers: &HeaderMap) -> Result<SigningKey, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bad = |name: &str, issue: &str| Err(ApiError::param("header", name, &Value::from(text(name)), issue));
    let accept = text("Accept");
    if !accept.contains("application/json") && !accept.contains("*/*") {
        return bad("Accept", "Http头缺少Accept或User-Agent");
    }
    if text("User-Agent").is_empty() {
        return bad("User-Agent", "Http头缺少Accept或User-Agent");
    }
    if call.is_post && !text("Content-Type").starts_with("application/json") {
        return bad("Content-Type", "必须是application/json");
    }
    match text("Wechatpay-Serial") {
        "" => Ok(SigningKey::Certificate),
        serial => match sim.platform().key_of(serial) {
            Some(key) => Ok(key),
            None => bad("Wechatpay-Serial", "平台证书序列号Wechatpay-Serial错误"),
        },
    }
}

fn parse_body(body: &[u8]) -> Result<Value, ApiError> {
    let bad = |issue: &str| ApiError::param("body", "", &Value::Null, issue);
    let text = std::str::from_utf8(body).map_err(|_| bad("请求体不是UTF-8"))?;
    serde_json::from_str(text).map_err(|_| bad("请求体不是合法的JSON"))
}

fn no_body(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    Err(ApiError::param("body", "", &Value::Null, "GET请求不能有请求体"))
}

/// The order a call is about, for fault rules.
fn order_of(sim: &Sim, merchant: &Merchant, op: PayOp, call: &Call, body: &Value) -> Option<String> {
    let in_body = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let by_transaction = |id: &str| {
        let store = sim.store();
        store.order_by_transaction.get(id).map(|key| key.number.clone())
    };
    match op {
        PayOp::OrderCreate => in_body("out_trade_no"),
        PayOp::OrderQueryByNumber | PayOp::OrderClose => Some(call.number.clone()),
        PayOp::OrderQueryById => by_transaction(&call.number),
        PayOp::RefundCreate => {
            in_body("out_trade_no").or_else(|| in_body("transaction_id").and_then(|id| by_transaction(&id)))
        }
        PayOp::RefundQuery | PayOp::RefundAbnormal => {
            let number =
                if op == PayOp::RefundQuery { call.number.clone() } else { in_body("out_refund_no")? };
            let store = sim.store();
            let key = crate::journal::Key::new(&merchant.config.mchid, &number);
            store.refunds.get(&key).map(|refund| refund.out_trade_no.clone())
        }
        PayOp::Certificates => None,
    }
}

fn execute(
    sim: &Sim,
    merchant: &Merchant,
    op: PayOp,
    call: &Call,
    body: &Value,
) -> Result<Success, ApiError> {
    let now = sim.now();
    if call.is_post {
        call.expect_query(&[])?;
    }
    let view = match op {
        PayOp::OrderCreate => orders::create(sim, merchant, call.partner, body, now)?,
        PayOp::OrderQueryByNumber => orders::query_by_number(sim, merchant, call)?,
        PayOp::OrderQueryById => orders::query_by_id(sim, merchant, call)?,
        PayOp::OrderClose => {
            orders::close(sim, merchant, call, body, now)?;
            return Ok(Success::no_content());
        }
        PayOp::RefundCreate => refunds::create(sim, merchant, body, now)?,
        PayOp::RefundQuery => refunds::query(sim, merchant, call, now)?,
        PayOp::RefundAbnormal => refunds::apply_abnormal(sim, merchant, call, body, now)?,
        PayOp::Certificates => {
            call.expect_query(&[])?;
            certificates(sim, merchant)?
        }
    };
    debug_assert!(view.is_object());
    Ok(Success { status: StatusCode::OK, ..Success::json(&view) })
}

fn certificates(sim: &Sim, merchant: &Merchant) -> Result<Value, SimError> {
    let platform = sim.platform();
    let (effective, expire) = platform.validity();
    let resource_nonce = nonce(12);
    let pem = platform.certificate_pem().as_bytes();
    let ciphertext = seal(&merchant.config.api_v3_key, &resource_nonce, "certificate", pem)?;
    Ok(json!({"data": [{
        "serial_no": platform.certificate_serial(),
        "effective_time": wire_time(effective),
        "expire_time": wire_time(expire),
        "encrypt_certificate": {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": resource_nonce,
            "associated_data": "certificate",
            "ciphertext": ciphertext,
        },
    }]}))
}
