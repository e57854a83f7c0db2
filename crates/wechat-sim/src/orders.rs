//! Create, query and close an order.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    error::ApiError,
    journal::{Key, Mutation},
    miniprogram,
    model::{Payer, Prepay, TradeState, Transaction},
    route::Call,
    schema,
    sim::{Merchant, Sim},
    state::Store,
    views,
};

/// Deadline of an order that names none.
const DEFAULT_DEADLINE: TimeDelta = TimeDelta::days(7);
/// A deadline further away is cut to this.
const LATEST_DEADLINE: TimeDelta = TimeDelta::days(90);
/// A deadline nearer than this is raised to it.
const EARLIEST_DEADLINE: TimeDelta = TimeDelta::minutes(1);

fn text<'a>(body: &'a Value, pointer: &str) -> &'a str {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn maybe_text(body: &Value, pointer: &str) -> Option<String> {
    body.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// A service provider works through the partner paths only, a direct merchant never does.
pub(crate) fn check_path(merchant: &Merchant, partner: bool) -> Result<(), ApiError> {
    if merchant.is_provider() == partner {
        Ok(())
    } else {
        Err(ApiError::new(403, "NO_AUTH", "商户无此接口权限"))
    }
}

/// The merchant number in a body must be the caller's.
fn check_mchid(merchant: &Merchant, body: &Value, field: &str) -> Result<(), ApiError> {
    if text(body, field) == merchant.config.mchid {
        return Ok(());
    }
    let value = body.pointer(field).cloned().unwrap_or_default();
    Err(ApiError::param("body", field, &value, "与认证头中的商户号不一致"))
}

/// Creates an order, or gives a known one a fresh prepay id.
pub(crate) fn create(
    sim: &Sim,
    merchant: &Merchant,
    partner: bool,
    body: &Value,
    now: DateTime<Utc>,
) -> Result<Value, ApiError> {
    schema::check(body, if partner { schema::ORDER_PARTNER } else { schema::ORDER_DIRECT })?;
    check_mchid(merchant, body, if partner { "/sp_mchid" } else { "/mchid" })?;
    check_path(merchant, partner)?;
    if partner {
        check_partner(sim, merchant, body)?;
    } else {
        check_direct(sim, merchant, body)?;
    }

    let mut request = body.clone();
    if let Some(fields) = request.as_object_mut() {
        fields.remove("time_expire");
    }
    let number = text(body, "/out_trade_no");
    let mut store = sim.store();
    let prepay =
        Prepay { id: format!("wx{}{:016}0000", now.format("%Y%m%d%H%M%S"), store.sequence), at: now };
    let prepay_id = prepay.id.clone();
    let mutation = match store.order(&merchant.config.mchid, number) {
        Some(known) => {
            check_reentry(known, &request, now)?;
            Mutation::PrepayIssued { key: Key::new(&merchant.config.mchid, number), prepay }
        }
        None => Mutation::OrderCreated { order: Box::new(new_order(merchant, body, request, prepay, now)) },
    };
    store.commit(mutation)?;
    Ok(json!({"prepay_id": prepay_id}))
}

fn new_order(
    merchant: &Merchant,
    body: &Value,
    request: Value,
    prepay: Prepay,
    now: DateTime<Utc>,
) -> Transaction {
    let wanted = DateTime::parse_from_rfc3339(text(body, "/time_expire")).map(|at| at.with_timezone(&Utc));
    let time_expire = match wanted {
        Ok(at) => at.clamp(now + EARLIEST_DEADLINE, now + LATEST_DEADLINE),
        Err(_) => now + DEFAULT_DEADLINE,
    };
    Transaction {
        mchid: merchant.config.mchid.clone(),
        appid: maybe_text(body, "/appid").or_else(|| maybe_text(body, "/sp_appid")).unwrap_or_default(),
        sub_mchid: maybe_text(body, "/sub_mchid"),
        sub_appid: maybe_text(body, "/sub_appid"),
        out_trade_no: text(body, "/out_trade_no").to_owned(),
        transaction_id: None,
        state: TradeState::Notpay,
        burned: false,
        total: body.pointer("/amount/total").and_then(Value::as_i64).unwrap_or_default(),
        attach: maybe_text(body, "/attach"),
        notify_url: text(body, "/notify_url").to_owned(),
        payer: Payer {
            openid: maybe_text(body, "/payer/openid"),
            sp_openid: maybe_text(body, "/payer/sp_openid"),
            sub_openid: maybe_text(body, "/payer/sub_openid"),
        },
        request,
        created_at: now,
        time_expire,
        paid_at: None,
        prepays: vec![prepay],
        refunds: Vec::new(),
    }
}

fn check_reentry(known: &Transaction, request: &Value, now: DateTime<Utc>) -> Result<(), ApiError> {
    if known.burned {
        return Err(ApiError::invalid("请求重入时，参数与首次请求时不一致"));
    }
    match known.state {
        TradeState::Success | TradeState::Refund => Err(ApiError::new(400, "ORDERPAID", "该订单已支付")),
        TradeState::Closed => Err(ApiError::new(400, "ORDER_CLOSED", "该订单已关闭")),
        TradeState::Notpay if known.request != *request => {
            Err(ApiError::invalid("请求重入时，参数与首次请求时不一致"))
        }
        TradeState::Notpay if now >= known.time_expire => Err(ApiError::invalid("订单已超过支付截止时间")),
        TradeState::Notpay => Ok(()),
    }
}

fn check_direct(sim: &Sim, merchant: &Merchant, body: &Value) -> Result<(), ApiError> {
    let appid = text(body, "/appid");
    if !merchant.config.appids.iter().any(|bound| bound == appid) {
        return Err(appid_mismatch());
    }
    check_openid(sim, appid, body, "/payer/openid")
}

fn check_partner(sim: &Sim, merchant: &Merchant, body: &Value) -> Result<(), ApiError> {
    let sp_appid = text(body, "/sp_appid");
    if !merchant.config.appids.iter().any(|bound| bound == sp_appid) {
        return Err(appid_mismatch());
    }
    let sub = merchant
        .sub(text(body, "/sub_mchid"))
        .ok_or_else(|| ApiError::new(403, "NO_AUTH", "特约商户未授权服务商"))?;
    let sub_appid = maybe_text(body, "/sub_appid");
    if sub_appid.is_some() && sub_appid != sub.appid {
        return Err(appid_mismatch());
    }
    let payer = body.get("payer").cloned().unwrap_or_default();
    match (payer.get("sp_openid"), payer.get("sub_openid"), sub_appid) {
        (Some(_), None, _) => check_openid(sim, sp_appid, body, "/payer/sp_openid"),
        (None, Some(_), Some(sub_appid)) => check_openid(sim, &sub_appid, body, "/payer/sub_openid"),
        (None, Some(_), None) => {
            Err(ApiError::param("body", "/sub_appid", &Value::Null, "传sub_openid时此字段为必填项"))
        }
        (Some(_), Some(_), _) | (None, None, _) => {
            Err(ApiError::param("body", "/payer", &payer, "sp_openid和sub_openid必须且只能传一个"))
        }
    }
}

fn appid_mismatch() -> ApiError {
    ApiError::new(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")
}

/// The openid of another mini program is refused; it can be told for the programs that are known here.
fn check_openid(sim: &Sim, appid: &str, body: &Value, field: &str) -> Result<(), ApiError> {
    let openid = text(body, field);
    if sim.program(appid).is_none() || miniprogram::is_openid_of(appid, openid) {
        return Ok(());
    }
    Err(ApiError::param("body", field, &Value::from(openid), "无效的openid，与appid不匹配"))
}

/// Demands the query of the order queries and returns the partner's sub-merchant.
fn check_query<'a>(merchant: &Merchant, call: &'a Call) -> Result<Option<&'a str>, ApiError> {
    let mchid = Some(merchant.config.mchid.as_str());
    if call.partner {
        call.expect_query(&[("sp_mchid", mchid), ("sub_mchid", None)])?;
    } else {
        call.expect_query(&[("mchid", mchid)])?;
    }
    check_path(merchant, call.partner)?;
    Ok(call.partner.then(|| call.param("sub_mchid")).flatten())
}

/// Query by the merchant's number.
pub(crate) fn query_by_number(sim: &Sim, merchant: &Merchant, call: &Call) -> Result<Value, ApiError> {
    let sub = check_query(merchant, call)?;
    let store = sim.store();
    let order = store.order(&merchant.config.mchid, &call.number).ok_or_else(ApiError::no_order)?;
    visible(order, sub).map(views::order)
}

/// Query by WeChat's number, which exists once the order is paid.
pub(crate) fn query_by_id(sim: &Sim, merchant: &Merchant, call: &Call) -> Result<Value, ApiError> {
    let sub = check_query(merchant, call)?;
    let store = sim.store();
    let key = store.order_by_transaction.get(&call.number).ok_or_else(ApiError::no_order)?;
    let order = store.orders.get(key).ok_or_else(ApiError::no_order)?;
    if order.mchid != merchant.config.mchid {
        return Err(ApiError::no_order());
    }
    visible(order, sub).map(views::order)
}

fn visible<'a>(order: &'a Transaction, sub_mchid: Option<&str>) -> Result<&'a Transaction, ApiError> {
    if order.burned || order.sub_mchid.as_deref() != sub_mchid {
        return Err(ApiError::no_order());
    }
    Ok(order)
}

/// Closes an order. A number that was never created is burned: it answers 204 and can never be used.
pub(crate) fn close(
    sim: &Sim,
    merchant: &Merchant,
    call: &Call,
    body: &Value,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    schema::check(body, if call.partner { schema::CLOSE_PARTNER } else { schema::CLOSE_DIRECT })?;
    check_mchid(merchant, body, if call.partner { "/sp_mchid" } else { "/mchid" })?;
    check_path(merchant, call.partner)?;
    let sub_mchid = maybe_text(body, "/sub_mchid");
    if let Some(sub) = &sub_mchid
        && merchant.sub(sub).is_none()
    {
        return Err(ApiError::new(403, "NO_AUTH", "特约商户未授权服务商"));
    }
    let mut store = sim.store();
    let Some(order) = store.order(&merchant.config.mchid, &call.number) else {
        return burn(&mut store, merchant, &call.number, sub_mchid.as_deref(), now);
    };
    if order.sub_mchid != sub_mchid {
        return Err(ApiError::invalid("订单不属于该特约商户"));
    }
    match order.state {
        TradeState::Success | TradeState::Refund => Err(ApiError::new(400, "ORDERPAID", "该订单已支付")),
        TradeState::Closed => Ok(()),
        TradeState::Notpay => {
            store.commit(Mutation::OrderClosed { key: Key::new(&merchant.config.mchid, &call.number) })?;
            Ok(())
        }
    }
}

fn burn(
    store: &mut Store,
    merchant: &Merchant,
    number: &str,
    sub_mchid: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    let body = json!({"out_trade_no": number, "sub_mchid": sub_mchid});
    let prepay = Prepay { id: String::new(), at: now };
    let mut order = new_order(merchant, &body, Value::Null, prepay, now);
    order.prepays.clear();
    order.state = TradeState::Closed;
    order.burned = true;
    store.commit(Mutation::OrderCreated { order: Box::new(order) })?;
    Ok(())
}
