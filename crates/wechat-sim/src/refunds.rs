//! Apply for, query and settle refunds.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::{
    error::{ApiError, SimError},
    journal::{Key, Mutation},
    model::{NotificationKind, Refund, RefundOutcome, RefundStatus, Transaction},
    orders::check_path,
    route::Call,
    schema,
    sim::{Merchant, Sim},
    state::{State, Store},
    views,
    worker::{Announcement, queue},
};

/// Refunds one order may have.
const MAX_REFUNDS: usize = 50;
/// An order cannot be refunded later than this after its payment.
const REFUNDABLE: TimeDelta = TimeDelta::days(365);

fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

fn fen(body: &Value, pointer: &str) -> i64 {
    body.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn no_refund() -> ApiError {
    ApiError::new(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
}

/// Accepts a refund, or repeats the answer of a known one.
pub(crate) fn create(
    sim: &Sim,
    merchant: &Merchant,
    body: &Value,
    now: DateTime<Utc>,
) -> Result<Value, ApiError> {
    let table = if merchant.is_provider() { schema::REFUND_PARTNER } else { schema::REFUND_DIRECT };
    schema::check(body, table)?;
    let mut store = sim.store();
    settle_due(sim, &mut store, now)?;
    let mchid = &merchant.config.mchid;
    let key = Key::new(mchid, text(body, "out_refund_no").unwrap_or_default());
    if let Some(known) = store.refunds.get(&key) {
        if known.request == *body {
            return Ok(views::refund(known));
        }
        return Err(ApiError::invalid("请求重入时，参数与首次请求时不一致"));
    }
    let order = find_order(&store, mchid, body)?;
    check_refundable(sim, &store, order, body, now)?;
    let amount = fen(body, "/amount/refund");
    if store.balances.get(mchid).is_some_and(|balance| *balance < amount) {
        return Err(ApiError::new(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起"));
    }
    let refund = Refund {
        mchid: mchid.clone(),
        out_refund_no: key.number.clone(),
        refund_id: format!("503{:013}{:013}", now.timestamp_millis(), store.sequence),
        out_trade_no: order.out_trade_no.clone(),
        transaction_id: order.transaction_id.clone().unwrap_or_default(),
        amount,
        total: order.total,
        notify_url: text(body, "notify_url").map(str::to_owned),
        status: RefundStatus::Processing,
        request: body.clone(),
        created_at: now,
        due_at: now + sim.refund_delay(),
        success_at: None,
    };
    let view = views::refund(&refund);
    store.commit(Mutation::RefundCreated { refund: Box::new(refund) })?;
    drop(store);
    sim.wake();
    Ok(view)
}

fn find_order<'a>(state: &'a State, mchid: &str, body: &Value) -> Result<&'a Transaction, ApiError> {
    let missing = || ApiError::new(404, "RESOURCE_NOT_EXISTS", "订单不存在或未支付");
    let by_id = text(body, "transaction_id");
    let by_number = text(body, "out_trade_no");
    let order = match (by_id, by_number) {
        (None, None) => {
            let issue = "transaction_id和out_trade_no必须传一个";
            return Err(ApiError::param("body", "/out_trade_no", &Value::Null, issue));
        }
        (Some(id), _) => state.order_by_transaction.get(id).and_then(|key| state.orders.get(key)),
        (None, Some(number)) => state.order(mchid, number),
    };
    let order = order.filter(|order| order.mchid == mchid && order.state.is_paid()).ok_or_else(missing)?;
    if by_number.is_some_and(|number| number != order.out_trade_no) {
        return Err(ApiError::invalid("transaction_id和out_trade_no不是同一笔订单"));
    }
    if order.sub_mchid.as_deref() != text(body, "sub_mchid") {
        return Err(missing());
    }
    Ok(order)
}

fn check_refundable(
    sim: &Sim,
    state: &State,
    order: &Transaction,
    body: &Value,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    if fen(body, "/amount/total") != order.total {
        return Err(ApiError::invalid("订单总金额与原订单不一致"));
    }
    let known =
        || order.refunds.iter().filter_map(|number| state.refunds.get(&Key::new(&order.mchid, number)));
    let returned: i64 = known()
        .filter(|refund| refund.status != RefundStatus::Closed)
        .map(|refund| refund.amount)
        .fold(0, i64::saturating_add);
    if returned.saturating_add(fen(body, "/amount/refund")) > order.total {
        return Err(ApiError::invalid("申请退款金额超过订单可退金额"));
    }
    if order.refunds.len() >= MAX_REFUNDS {
        return Err(ApiError::invalid("单笔订单部分退款次数超过50次"));
    }
    if order.paid_at.is_some_and(|at| now - at > REFUNDABLE) {
        return Err(ApiError::invalid("订单已超过可退款的最大期限"));
    }
    let last = known().next_back().map(|refund| refund.created_at);
    if last.is_some_and(|at| now - at < sim.refund_interval()) {
        return Err(ApiError::new(429, "FREQUENCY_LIMITED", "频率限制，请1分钟后再试"));
    }
    Ok(())
}

/// The query of the refund calls: a provider names the sub-merchant.
fn check_query(merchant: &Merchant, call: &Call) -> Result<(), ApiError> {
    if merchant.is_provider() { call.expect_query(&[("sub_mchid", None)]) } else { call.expect_query(&[]) }
}

/// Queries a refund.
pub(crate) fn query(
    sim: &Sim,
    merchant: &Merchant,
    call: &Call,
    now: DateTime<Utc>,
) -> Result<Value, ApiError> {
    check_query(merchant, call)?;
    let mut store = sim.store();
    settle_due(sim, &mut store, now)?;
    let refund = store.refunds.get(&Key::new(&merchant.config.mchid, &call.number)).ok_or_else(no_refund)?;
    let order = store.order(&refund.mchid, &refund.out_trade_no).ok_or_else(no_refund)?;
    if order.sub_mchid.as_deref() != call.param("sub_mchid") {
        return Err(no_refund());
    }
    Ok(views::refund(refund))
}

/// Handles an ABNORMAL refund: it is processed again, to a bank card.
pub(crate) fn apply_abnormal(
    sim: &Sim,
    merchant: &Merchant,
    call: &Call,
    body: &Value,
    now: DateTime<Utc>,
) -> Result<Value, ApiError> {
    let table = if merchant.is_provider() { schema::ABNORMAL_PARTNER } else { schema::ABNORMAL_DIRECT };
    schema::check(body, table)?;
    check_path(merchant, merchant.is_provider())?;
    if text(body, "type") == Some("USER_BANK_CARD") {
        for field in ["bank_type", "bank_account", "real_name"] {
            if text(body, field).is_none_or(str::is_empty) {
                let path = format!("/{field}");
                return Err(ApiError::param("body", &path, &Value::Null, "退款至用户银行卡时此字段为必填项"));
            }
        }
    }
    let mut store = sim.store();
    settle_due(sim, &mut store, now)?;
    let key = store.refund_by_id.get(&call.number).cloned().ok_or_else(no_refund)?;
    let refund = store.refunds.get(&key).ok_or_else(no_refund)?;
    if refund.mchid != merchant.config.mchid || Some(key.number.as_str()) != text(body, "out_refund_no") {
        return Err(no_refund());
    }
    if refund.status != RefundStatus::Abnormal {
        return Err(ApiError::invalid("退款单不是异常状态"));
    }
    store.commit(Mutation::RefundReopened { key: key.clone(), due_at: now + sim.refund_delay() })?;
    let view = store.refunds.get(&key).map(views::refund).ok_or_else(no_refund)?;
    drop(store);
    sim.wake();
    Ok(view)
}

/// Ends every PROCESSING refund whose time has come. Calls that look at refunds do this first, so what
/// they see depends on the clock alone and not on when the worker ran.
pub(crate) fn settle_due(sim: &Sim, store: &mut Store, now: DateTime<Utc>) -> Result<(), SimError> {
    while let Some((due_at, key)) = store.refunds_due.first().cloned() {
        if due_at > now {
            break;
        }
        end(sim, store, &key, RefundStatus::Success, due_at)?;
    }
    Ok(())
}

/// Ends a refund now, as the operator wishes.
pub(crate) fn settle(sim: &Sim, out_refund_no: &str, outcome: RefundOutcome) -> Result<Refund, SimError> {
    let now = sim.now();
    let mut store = sim.store();
    let unknown = || SimError::NotFound(format!("refund {out_refund_no}"));
    let key = store.refund_by_number.get(out_refund_no).cloned().ok_or_else(unknown)?;
    let status = store.refunds.get(&key).ok_or_else(unknown)?.status;
    if status != RefundStatus::Processing {
        let message = format!("the refund is {}, not PROCESSING", status.wire());
        return Err(SimError::refused("refund_ended", message));
    }
    end(sim, &mut store, &key, outcome.status(), now)?;
    let refund = store.refunds.get(&key).cloned().ok_or_else(unknown)?;
    drop(store);
    sim.wake();
    Ok(refund)
}

fn end(
    sim: &Sim,
    store: &mut Store,
    key: &Key,
    status: RefundStatus,
    at: DateTime<Utc>,
) -> Result<(), SimError> {
    store.commit(Mutation::RefundEnded { key: key.clone(), status, at })?;
    let Some(refund) = store.refunds.get(key) else { return Ok(()) };
    let Some(url) = refund.notify_url.clone() else { return Ok(()) };
    let sub_mchid =
        store.order(&refund.mchid, &refund.out_trade_no).and_then(|order| order.sub_mchid.as_deref());
    let event_type = match status {
        RefundStatus::Success => "REFUND.SUCCESS",
        RefundStatus::Abnormal => "REFUND.ABNORMAL",
        RefundStatus::Closed => "REFUND.CLOSED",
        RefundStatus::Processing => return Ok(()),
    };
    let announcement = Announcement {
        kind: NotificationKind::Refund,
        event_type,
        mchid: refund.mchid.clone(),
        out_trade_no: refund.out_trade_no.clone(),
        out_refund_no: Some(refund.out_refund_no.clone()),
        url,
        plaintext: views::refund_notification(refund, sub_mchid),
    };
    queue(sim, store, announcement, at)
}
