//! The JSON WeChat shows of orders and refunds, in answers and in notifications.

use serde_json::{Map, Value, json};

use crate::{
    clock::wire_time,
    model::{Refund, RefundStatus, TradeState, Transaction},
};

/// An order as the query shows it.
pub(crate) fn order(order: &Transaction) -> Value {
    order_in_state(order, order.state)
}

/// An order as its payment notification shows it: always just paid, whatever happened since.
pub(crate) fn order_notification(paid: &Transaction) -> Value {
    order_in_state(paid, TradeState::Success)
}

fn order_in_state(order: &Transaction, state: TradeState) -> Value {
    let (trade_state, trade_state_desc) = state.wire();
    let mut view = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            view.insert(name.to_owned(), value);
        }
    };
    if let Some(sub_mchid) = &order.sub_mchid {
        put("sp_appid", json!(order.appid));
        put("sp_mchid", json!(order.mchid));
        put("sub_appid", json!(order.sub_appid));
        put("sub_mchid", json!(sub_mchid));
    } else {
        put("appid", json!(order.appid));
        put("mchid", json!(order.mchid));
    }
    put("out_trade_no", json!(order.out_trade_no));
    put("trade_state", json!(trade_state));
    put("trade_state_desc", json!(trade_state_desc));
    if state.is_paid() {
        put("transaction_id", json!(order.transaction_id));
        put("trade_type", json!("JSAPI"));
        put("bank_type", json!("OTHERS"));
        put("attach", json!(order.attach));
        put("success_time", json!(order.paid_at.map(wire_time)));
        put("payer", json!(order.payer));
        put("promotion_detail", json!([]));
        put(
            "amount",
            json!({"total": order.total, "payer_total": order.total, "currency": "CNY", "payer_currency": "CNY"}),
        );
    } else {
        put("amount", json!({"total": order.total, "currency": "CNY"}));
    }
    Value::Object(view)
}

/// A refund as the apply and query calls show it.
pub(crate) fn refund(refund: &Refund) -> Value {
    let mut view = json!({
        "refund_id": refund.refund_id,
        "out_refund_no": refund.out_refund_no,
        "transaction_id": refund.transaction_id,
        "out_trade_no": refund.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": wire_time(refund.created_at),
        "status": refund.status.wire(),
        "funds_account": refund.request.get("funds_account").and_then(Value::as_str).unwrap_or("UNSETTLED"),
        "amount": {
            "total": refund.total,
            "refund": refund.amount,
            "from": refund.request.pointer("/amount/from").cloned().unwrap_or_else(|| json!([])),
            "payer_total": refund.total,
            "payer_refund": refund.amount,
            "settlement_refund": refund.amount,
            "settlement_total": refund.total,
            "discount_refund": 0,
            "currency": "CNY",
            "refund_fee": 0,
        },
        "promotion_detail": [],
    });
    if refund.status == RefundStatus::Success {
        view["success_time"] = json!(refund.success_at.map(wire_time));
    }
    view
}

/// A refund as its notification shows it: `refund_status` instead of `status`, no currency.
pub(crate) fn refund_notification(refund: &Refund, sub_mchid: Option<&str>) -> Value {
    let mut view = json!({
        "transaction_id": refund.transaction_id,
        "out_trade_no": refund.out_trade_no,
        "refund_id": refund.refund_id,
        "out_refund_no": refund.out_refund_no,
        "refund_status": refund.status.wire(),
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": refund.total,
            "refund": refund.amount,
            "payer_total": refund.total,
            "payer_refund": refund.amount,
        },
    });
    match sub_mchid {
        Some(sub_mchid) => {
            view["sp_mchid"] = json!(refund.mchid);
            view["sub_mchid"] = json!(sub_mchid);
        }
        None => view["mchid"] = json!(refund.mchid),
    }
    if refund.status == RefundStatus::Success {
        view["success_time"] = json!(refund.success_at.map(wire_time));
    }
    view
}
