//! Every operation of the API: who may call it, with which rows and which body. Written by hand, beside the code's
//! own tables, so that neither can change without the other. A new operation belongs here.

use std::collections::BTreeSet;

use hexiao_api::openapi;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Ids, nobodys_sign_in};

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Anybody, without signing in.
    Public,
    /// Anybody who is signed in.
    SignedIn,
    /// Customers.
    Customer,
    /// Staff of these roles.
    Staff(&'static [&'static str]),
}

/// What those get who may call it, but not with these rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// 404, as if the row did not exist.
    Missing,
    /// 400, 404 or 409: a body names a row that does not exist for them.
    Refused,
    /// Their own rows: a list without the others', or something new of their own.
    Own,
}

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// With the names of rows in braces.
    path: &'static str,
    pub(crate) who: Who,
    pub(crate) others: Others,
    body: Option<fn(&Ids) -> Value>,
    /// The only status, where nothing better can be had without a secret.
    pub(crate) answers: Option<u16>,
}

const EVERYONE: &[&str] = &["owner", "operator", "finance", "store_manager", "verifier"];
const COUNTER: &[&str] = &["owner", "operator", "store_manager", "verifier"];
const MANAGERS: &[&str] = &["owner", "operator", "store_manager"];
const HEADQUARTERS: &[&str] = &["owner", "operator", "finance"];
const MERCHANDISERS: &[&str] = &["owner", "operator"];
const DETECTIVES: &[&str] = &["owner", "operator", "finance", "store_manager"];
const OWNERS: &[&str] = &["owner"];
const BOOKKEEPERS: &[&str] = &["owner", "finance"];

use Others::{Missing, Own, Refused};
use Who::{Customer, Public, SignedIn, Staff};

fn op(method: Method, path: &'static str, who: Who, others: Others) -> Operation {
    Operation { method, path, who, others, body: None, answers: None }
}

fn get(path: &'static str, who: Who, others: Others) -> Operation {
    op(Method::GET, path, who, others)
}

fn post(path: &'static str, who: Who, others: Others) -> Operation {
    op(Method::POST, path, who, others)
}

fn patch(path: &'static str, who: Who, others: Others) -> Operation {
    op(Method::PATCH, path, who, others)
}

impl Operation {
    fn with(self, body: fn(&Ids) -> Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn answering(self, status: u16) -> Self {
        Self { answers: Some(status), ..self }
    }

    /// With the path's rows, and a query if the operation is about the rows it names.
    pub(crate) fn path(&self, ids: &Ids) -> String {
        let mut path = self.path.to_owned();
        for (name, id) in ids {
            path = path.replace(&format!("{{{name}}}"), id);
        }
        // No row's id: one of four words, and a date.
        path.replace("{kind}", "user_agreement").replace("{tomorrow}", &tomorrow())
    }

    /// The path with something else in the place of its row.
    pub(crate) fn path_with(&self, row: &str) -> Option<String> {
        let path = self.path.split('?').next().unwrap_or_default();
        let (before, rest) = path.split_once('{')?;
        let after = rest.split_once('}')?.1.replace("{kind}", "user_agreement");
        Some(format!("{before}{row}{after}"))
    }

    pub(crate) fn body(&self, ids: &Ids) -> Option<Value> {
        self.body.map(|body| body(ids))
    }

    /// As the document names it, whatever it calls its parameters.
    pub(crate) fn key(&self) -> (String, String) {
        let path = self.path.split('?').next().unwrap_or_default();
        (self.method.as_str().to_lowercase(), anonymous(path))
    }
}

/// A date on which something can be booked.
fn tomorrow() -> String {
    let zone = chrono::FixedOffset::east_opt(8 * 3600).unwrap();
    (chrono::Utc::now().with_timezone(&zone) + chrono::Duration::days(1)).format("%Y-%m-%d").to_string()
}

fn anonymous(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The OpenAPI document.
pub(crate) fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

/// What the document says of each operation: method, path without names, path, details.
pub(crate) fn documented(document: &Value) -> Vec<((String, String), String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            if let Some(details) = item.get(method) {
                found.push(((method.to_owned(), anonymous(path)), path.clone(), details.clone()));
            }
        }
    }
    found
}

/// What the document says of one of ours.
pub(crate) fn details(document: &Value, operation: &Operation) -> Value {
    let key = operation.key();
    documented(document).into_iter().find(|(k, _, _)| *k == key).unwrap().2
}

/// Ours and the document's are the same.
#[track_caller]
pub(crate) fn assert_complete() {
    let ours: Vec<_> = operations().iter().map(Operation::key).collect();
    let theirs: BTreeSet<_> = documented(&document()).into_iter().map(|(key, _, _)| key).collect();
    let distinct: BTreeSet<_> = ours.iter().cloned().collect();
    let missing: Vec<_> = theirs.difference(&distinct).collect();
    let gone: Vec<_> = distinct.difference(&theirs).collect();
    assert!(missing.is_empty(), "say in operations.rs who may call {missing:?}");
    assert!(gone.is_empty(), "no longer there: {gone:?}");
    assert_eq!(ours.len(), distinct.len(), "an operation is listed twice");
}

/// All operations, in an order in which the rights of the last ones still have something to act on.
pub(crate) fn operations() -> Vec<Operation> {
    [
        public(),
        customers(),
        catalogue(),
        stores_and_staff(),
        orders(),
        counter(),
        after_it(),
        devices(),
        endings(),
        sessions(),
    ]
    .concat()
}

fn public() -> Vec<Operation> {
    let unsigned = |ids: &Ids| json!({"id": ids["payment"]});
    vec![
        get("/healthz", Public, Own),
        get("/readyz", Public, Own),
        get("/metrics", Public, Own),
        post("/api/v1/auth/customer", Public, Own).with(|_| json!({"code": "sim-sweep"})),
        post("/api/v1/auth/staff", Public, Own).with(nobodys_sign_in).answering(401),
        post("/api/v1/auth/refresh", Public, Own).with(|_| json!({"refresh_token": "hxr_0"})).answering(401),
        get("/api/v1/customer/cities", Public, Own),
        get("/api/v1/customer/stores", Public, Own),
        get("/api/v1/customer/stores/{store}", Public, Own),
        get("/api/v1/customer/stores/{store}/slots?product_id={booked_product}&date={tomorrow}", Public, Own),
        get("/api/v1/customer/stores/{store}/categories", Public, Own),
        get("/api/v1/customer/stores/{store}/products", Public, Own),
        get("/api/v1/customer/products/{product}?store_id={store}", Public, Own),
        get("/api/v1/customer/merchants/{merchant}/agreements", Public, Own),
        get("/api/v1/customer/merchants/{merchant}/agreements/{kind}", Public, Own),
        // Only WeChat can sign these. Without an account in the address there are two that could be meant.
        post("/api/v1/notify/wechat/payments/{pay_account}", Public, Own).with(unsigned).answering(401),
        post("/api/v1/notify/wechat/refunds/{pay_account}", Public, Own).with(unsigned).answering(401),
        post("/api/v1/notify/wechat/payments", Public, Own).with(unsigned).answering(404),
        post("/api/v1/notify/wechat/refunds", Public, Own).with(unsigned).answering(404),
    ]
}

fn basket(ids: &Ids) -> Value {
    json!({"store_id": ids["store"], "lines": [{"sku_id": ids["sku"], "quantity": 1}]})
}

fn order(ids: &Ids) -> Value {
    let mut order = basket(ids);
    order["remark"] = json!("少放辣\n谢谢");
    order
}

fn booking(ids: &Ids) -> Value {
    json!({
        "voucher_id": ids["booked_voucher"], "store_id": ids["store"], "slot_start": ids["later_slot"],
        "quantity": 1, "note": "靠窗\n谢谢", "confirm": true,
    })
}

fn customers() -> Vec<Operation> {
    let refund =
        |ids: &Ids| json!({"items": [{"voucher_id": ids["voucher"], "quantity": 1}], "reason": "不想要了"});
    vec![
        post("/api/v1/customer/orders/preview", Customer, Own).with(basket),
        post("/api/v1/customer/orders", Customer, Own).with(order),
        get("/api/v1/customer/orders", Customer, Own),
        get("/api/v1/customer/orders/{order}", Customer, Missing),
        get("/api/v1/customer/orders/by-out-trade-no/{payment}", Customer, Missing),
        post("/api/v1/customer/orders/{unpaid}/pay", Customer, Missing),
        post("/api/v1/customer/orders/{unpaid}/close", Customer, Missing),
        get("/api/v1/customer/vouchers", Customer, Own),
        get("/api/v1/customer/vouchers/{voucher}", Customer, Missing),
        post("/api/v1/customer/orders/{order}/refunds", Customer, Missing).with(refund),
        get("/api/v1/customer/refunds/{refund}", Customer, Missing),
        post("/api/v1/customer/bookings", Customer, Refused).with(booking),
        get("/api/v1/customer/bookings", Customer, Own),
        get("/api/v1/customer/bookings/{booking}", Customer, Missing),
        post("/api/v1/customer/bookings/{booking}/confirm", Customer, Missing),
        post("/api/v1/customer/bookings/{booking}/reschedule", Customer, Missing)
            .with(|ids| json!({"slot_start": ids["later_slot"], "store_id": ids["store"]})),
        post("/api/v1/customer/bookings/{given_back}/cancel", Customer, Missing),
        post("/api/v1/customer/phone", Customer, Own)
            .with(|_| json!({"code": format!("sim-phone-13800138000-{}", uuid::Uuid::now_v7().simple())})),
        get("/api/v1/customer/consent-requests", Customer, Own),
        post("/api/v1/customer/consent-requests/{consent}/approve", Customer, Missing),
        post("/api/v1/customer/consent-requests/{consent}/deny", Customer, Missing),
        post("/api/v1/customer/refunds/{refund}/withdraw", Customer, Missing),
        op(Method::DELETE, "/api/v1/customer/phone", Customer, Own),
        get("/api/v1/customer/messages", Customer, Own),
        post("/api/v1/customer/messages/read", Customer, Own)
            .with(|_| json!({"until": "2020-01-01T00:00:00+08:00"})),
    ]
}

fn sku(ids: &Ids) -> Value {
    json!({
        "name": "十次", "specs": {"次数": "10"}, "price_fen": 30000, "list_price_fen": 50000, "uses": 10,
        "stock_mode": "own", "stock_by_store": [{"store_id": ids["store"], "quantity": 3}],
        "validity": {"days": 180}, "usable": [{"weekdays": [1, 2], "from": "10:00", "to": "20:00"}],
        "blackout_dates": ["2026-10-01"], "min_interval_minutes": 60, "daily_cap": 2, "min_quantity": 1,
        "refund": "before_expiry", "binding": "chosen_store", "booking": "none", "per_order_limit": 2, "per_customer_limit": 5,
        "return_on_refund": false,
    })
}

fn new_product(ids: &Ids) -> Value {
    json!({
        "name": "理发", "kind": "redeem", "category": "美发", "cover": "https://cdn.example/a.png",
        "images": ["/media/b.png"], "tags": ["热门"], "recommended": true, "description_html": "<p>剪</p>",
        "store_scope": {"store_ids": [ids["store"]]}, "skus": [sku(ids)],
    })
}

fn product_edit(ids: &Ids) -> Value {
    json!({
        "name": "三次卡", "category": "美发", "cover": "/media/c.png", "images": ["/media/b.png"],
        "description_html": "<p>剪</p>", "tags": ["热门"], "recommended": true,
        "store_scope": {"store_ids": [ids["store"]]},
    })
}

fn sku_edit(_: &Ids) -> Value {
    json!({
        "name": "标准", "specs": {"次数": "3"}, "price_fen": 3000, "list_price_fen": 5000, "active": true, "sort": 1,
        "per_order_limit": 20, "per_customer_limit": 50, "return_on_refund": true, "uses": 3,
        "validity": {"days": 30}, "usable": [], "blackout_dates": ["2026-10-01"], "min_interval_minutes": 0,
        "daily_cap": 9, "min_quantity": 1, "refund": "any_time", "binding": "any_in_scope",
        "booking": "none",
    })
}

fn listings(ids: &Ids) -> Value {
    json!({"items": [{"store_id": ids["store"], "sku_id": ids["sku"], "listed": true, "price_fen": 2900}]})
}

fn count(ids: &Ids) -> Value {
    json!({"sku_id": ids["sku"], "store_id": ids["store"], "quantity": 5, "low_at": 1})
}

fn catalogue() -> Vec<Operation> {
    vec![
        get("/api/v1/merchant/categories", Staff(MANAGERS), Own),
        get("/api/v1/merchant/products", Staff(MANAGERS), Own),
        post("/api/v1/merchant/products", Staff(MERCHANDISERS), Refused).with(new_product),
        get("/api/v1/merchant/products/{product}", Staff(MANAGERS), Missing),
        patch("/api/v1/merchant/products/{product}", Staff(MERCHANDISERS), Missing).with(product_edit),
        post("/api/v1/merchant/products/{product}/skus", Staff(MERCHANDISERS), Missing).with(sku),
        patch("/api/v1/merchant/skus/{sku}", Staff(MERCHANDISERS), Missing).with(sku_edit),
        get("/api/v1/merchant/products/{product}/listings", Staff(MANAGERS), Missing),
        op(Method::PUT, "/api/v1/merchant/products/{product}/listings", Staff(MERCHANDISERS), Missing)
            .with(listings),
        post("/api/v1/merchant/products/{product}/delist", Staff(MERCHANDISERS), Missing),
        post("/api/v1/merchant/products/{product}/publish", Staff(MERCHANDISERS), Missing),
        get("/api/v1/merchant/stock", Staff(MANAGERS), Own),
        post("/api/v1/merchant/stock", Staff(MANAGERS), Refused).with(count),
        patch("/api/v1/merchant/stock/{stock}", Staff(MANAGERS), Missing).with(|_| json!({"low_at": 5})),
        post("/api/v1/merchant/stock/{stock}/adjust", Staff(MANAGERS), Missing)
            .with(|_| json!({"delta": 1, "reason": "补货"})),
    ]
}

fn new_store(_: &Ids) -> Value {
    json!({
        "name": "三店", "city": "上海市", "address": "南京东路 2 号", "lat": 31.2, "lng": 121.4,
        "phone": "021-62580000", "description": "老字号\n百年", "hours": [{"weekday": 1, "from": "09:00", "to": "21:00"}],
        "exceptions": [{"date": "2027-02-06", "closed": false, "spans": [{"from": "10:00", "to": "16:00"}], "note": "春节"}],
        "photos": ["/media/a.png"], "tags": ["停车"], "zone": "Asia/Shanghai", "cutoff_hour": 4,
    })
}

/// Slots of an hour around the clock; all can be changed and redeemed at any time.
pub(crate) fn booking_plan(ids: &Ids) -> Value {
    let window = |day: u8| json!({"weekday": day, "from": "00:00", "to": "24:00", "slot_minutes": 60, "capacity": 100});
    let terms = json!({
        "ahead_days": 30, "lead_minutes": 0, "hold_minutes": 10, "change_minutes": 0, "max_reschedules": 10,
        "no_show_minutes": 30, "early_minutes": 1440, "late_minutes": 30, "reminder_minutes": 0,
    });
    json!({
        "product_id": ids["booked_product"], "windows": (1..=7).map(window).collect::<Vec<_>>(),
        "closed_dates": ["2020-01-01"], "terms": terms,
    })
}

fn store_edit(_: &Ids) -> Value {
    json!({
        "name": "一店", "city": "上海市", "address": "南京东路 1 号", "lat": 31.2, "lng": 121.4, "phone": "021-62580000",
        "description": "老字号", "hours": [{"weekday": 1, "from": "00:00", "to": "24:00"}],
        "exceptions": [{"date": "2027-02-06", "closed": true, "spans": [], "note": "春节"}],
        "photos": ["/media/a.png"], "tags": ["停车"], "resting": false, "zone": "Asia/Shanghai", "cutoff_hour": 4,
    })
}

fn new_account(ids: &Ids) -> Value {
    json!({"name": "小李", "phone": "13600000000", "password": "hexiao2026", "role": "verifier", "store_ids": [ids["store"]]})
}

/// Only the name differs: anything else would end the session of the account.
fn account_edit(ids: &Ids) -> Value {
    json!({"name": "小张", "role": "verifier", "store_ids": [ids["store"]], "active": true})
}

fn stores_and_staff() -> Vec<Operation> {
    vec![
        get("/api/v1/merchant/stores", Staff(EVERYONE), Own),
        post("/api/v1/merchant/stores", Staff(MERCHANDISERS), Own).with(new_store),
        get("/api/v1/merchant/stores/{store}", Staff(EVERYONE), Missing),
        patch("/api/v1/merchant/stores/{store}", Staff(MANAGERS), Missing).with(store_edit),
        get("/api/v1/merchant/stores/{store}/booking-plans", Staff(EVERYONE), Missing),
        op(Method::PUT, "/api/v1/merchant/stores/{store}/booking-plans", Staff(MANAGERS), Missing)
            .with(|ids| json!({"items": [booking_plan(ids)]})),
        get("/api/v1/staff/stores", Staff(EVERYONE), Own),
        get("/api/v1/staff/store?store_id={store}", Staff(EVERYONE), Missing),
        patch("/api/v1/staff/store", Staff(MANAGERS), Missing)
            .with(|ids| json!({"store_id": ids["store"], "resting": false})),
        get("/api/v1/merchant/staff", Staff(MANAGERS), Own),
        post("/api/v1/merchant/staff", Staff(MANAGERS), Missing).with(new_account),
        get("/api/v1/merchant/agreements/{kind}", Staff(OWNERS), Own),
        op(Method::PUT, "/api/v1/merchant/agreements/{kind}", Staff(OWNERS), Own)
            .with(|_| json!({"body": "# 用户协议\n\n1. 先付款，后到店。"})),
        get("/api/v1/merchant/settings", Staff(OWNERS), Own),
        patch("/api/v1/merchant/settings", Staff(OWNERS), Own).with(|_| json!({"refund_hold_s": 0})),
        get("/api/v1/merchant/staff/{verifier}", Staff(MANAGERS), Missing),
        patch("/api/v1/merchant/staff/{verifier}", Staff(MANAGERS), Missing).with(account_edit),
    ]
}

fn card(_: &Ids) -> Value {
    json!({"card": {"bank_type": "ICBC_DEBIT", "bank_account": "6222020000000000", "real_name": "张三"}})
}

fn orders() -> Vec<Operation> {
    vec![
        get("/api/v1/merchant/orders", Staff(EVERYONE), Own),
        get("/api/v1/merchant/orders/{order}", Staff(EVERYONE), Missing),
        get("/api/v1/merchant/redemptions", Staff(EVERYONE), Own),
        get("/api/v1/merchant/refunds", Staff(EVERYONE), Own),
        get("/api/v1/merchant/refunds/{refund}", Staff(EVERYONE), Missing),
        post("/api/v1/merchant/refunds/{refund}/retry", Staff(HEADQUARTERS), Missing),
        post("/api/v1/merchant/refunds/{refund}/redirect", Staff(HEADQUARTERS), Missing).with(card),
        post("/api/v1/merchant/refunds/{refund}/finish", Staff(HEADQUARTERS), Missing)
            .with(|_| json!({"evidence": "银行回单 20261001"})),
        get("/api/v1/merchant/jobs", Staff(HEADQUARTERS), Own),
        post("/api/v1/merchant/jobs/{job}/retry", Staff(HEADQUARTERS), Missing),
        get("/api/v1/merchant/ledger", Staff(BOOKKEEPERS), Own),
        get("/api/v1/merchant/ledger/balances", Staff(BOOKKEEPERS), Own),
        get("/api/v1/merchant/payment-anomalies", Staff(BOOKKEEPERS), Own),
    ]
}

/// Nobody listens there.
fn new_webhook(_: &Ids) -> Value {
    json!({"name": "ERP", "url": "http://127.0.0.1:9/hexiao", "events": ["redemption.created", "refund.succeeded"]})
}

fn webhook_edit(_: &Ids) -> Value {
    json!({"name": "ERP", "url": "http://127.0.0.1:9/x", "events": ["redemption.created"], "active": true})
}

fn commission_rule(ids: &Ids) -> Value {
    json!({"product_id": ids["product"], "basis_points": 300, "per_use_fen": 50})
}

fn after_it() -> Vec<Operation> {
    vec![
        get("/api/v1/merchant/webhooks", Staff(MERCHANDISERS), Own),
        post("/api/v1/merchant/webhooks", Staff(MERCHANDISERS), Own).with(new_webhook),
        get("/api/v1/merchant/webhooks/{webhook}", Staff(MERCHANDISERS), Missing),
        patch("/api/v1/merchant/webhooks/{webhook}", Staff(MERCHANDISERS), Missing).with(webhook_edit),
        post("/api/v1/merchant/webhooks/{webhook}/rotate-secret", Staff(MERCHANDISERS), Missing),
        post("/api/v1/merchant/webhooks/{webhook}/test", Staff(MERCHANDISERS), Missing),
        get("/api/v1/merchant/webhook-deliveries", Staff(MERCHANDISERS), Own),
        get("/api/v1/merchant/webhook-deliveries/{delivery}", Staff(MERCHANDISERS), Missing),
        post("/api/v1/merchant/webhook-deliveries/{delivery}/replay", Staff(MERCHANDISERS), Missing),
        get("/api/v1/staff/commission", Staff(COUNTER), Own),
        get("/api/v1/merchant/commission", Staff(BOOKKEEPERS), Own),
        get("/api/v1/merchant/commission-rules", Staff(BOOKKEEPERS), Own),
        post("/api/v1/merchant/commission-rules", Staff(OWNERS), Refused).with(commission_rule),
    ]
}

fn new_device(_: &Ids) -> Value {
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    json!({"name": "我的手机", "platform": "android", "public_key": key})
}

/// Nothing that a device has signed; those who have no device are told so.
pub(crate) fn queued(ids: &Ids) -> Value {
    let now = chrono::Utc::now().to_rfc3339();
    json!({
        "store_id": ids["store"], "sent_at": now,
        "entries": [{"seq": 1, "ticket": "HX1", "quantity": 1, "occurred_at": now, "nonce": "n", "signature": "00".repeat(64)}],
    })
}

fn devices() -> Vec<Operation> {
    vec![
        get("/api/v1/merchant/exceptions", Staff(EVERYONE), Own),
        post("/api/v1/merchant/exceptions/{exception}/resolve", Staff(MANAGERS), Missing)
            .with(|_| json!({"outcome": "settled", "note": "已当面处理"})),
        get("/api/v1/merchant/risk-flags", Staff(MANAGERS), Own),
        post("/api/v1/merchant/risk-flags/{risk_flag}/acknowledge", Staff(MANAGERS), Missing)
            .with(|_| json!({"note": "已核实，为本人消费"})),
        post("/api/v1/staff/redemptions/offline-batch", Staff(COUNTER), Missing).with(queued).answering(403),
        get("/api/v1/merchant/devices", Staff(MANAGERS), Own),
        patch("/api/v1/merchant/devices/{device}", Staff(MANAGERS), Missing)
            .with(|_| json!({"name": "前台手机"})),
        get("/api/v1/staff/devices", Staff(EVERYONE), Own),
        // One of them registers it, and then it is theirs.
        post("/api/v1/staff/devices", Staff(COUNTER), Own).with(new_device),
    ]
}

/// What the others are about goes last.
fn endings() -> Vec<Operation> {
    vec![
        post("/api/v1/merchant/devices/{device}/revoke", Staff(MANAGERS), Missing),
        op(Method::DELETE, "/api/v1/staff/devices/current", Staff(COUNTER), Own),
        op(Method::DELETE, "/api/v1/merchant/webhooks/{webhook}", Staff(MERCHANDISERS), Missing),
        op(Method::DELETE, "/api/v1/merchant/commission-rules/{commission_rule}", Staff(OWNERS), Missing),
    ]
}

fn typed(ids: &Ids) -> Value {
    json!({"store_id": ids["store"], "device_id": "till-1", "input": {"code": ids["code"]}})
}

fn confirm(ids: &Ids) -> Value {
    json!({
        "store_id": ids["store"], "prepare_token": ids["prepare_token"], "atomicity": "all",
        "items": [{"voucher_id": ids["voucher"], "quantity": 1}], "acknowledge": ["just_redeemed"],
    })
}

fn withdrawal(ids: &Ids) -> Value {
    json!({
        "store_id": ids["store"], "prepare_token": ids["prepare_token"],
        "items": [{"voucher_id": ids["voucher"], "quantity": 1}],
    })
}

fn backfill(ids: &Ids) -> Value {
    json!({
        "store_id": ids["store"], "device_id": "till-1", "input": {"code": ids["code"]}, "quantity": 1,
        "occurred_at": chrono::Utc::now().to_rfc3339(), "reason": "断网", "photo_url": "/media/a.png",
        "acknowledge": ["just_redeemed"],
    })
}

fn undo(ids: &Ids) -> Value {
    json!({"reason": "扫错了", "items": [{"voucher_id": ids["used_voucher"], "serials": [1]}]})
}

fn counter() -> Vec<Operation> {
    vec![
        get("/api/v1/staff/orders", Staff(EVERYONE), Own),
        get("/api/v1/staff/stock?store_id={store}", Staff(COUNTER), Missing),
        post("/api/v1/staff/redemptions/prepare", Staff(COUNTER), Missing).with(typed),
        // The token of somebody else is refused before the store in the body is looked for.
        post("/api/v1/staff/redemptions", Staff(COUNTER), Refused).with(confirm),
        post("/api/v1/staff/redemptions/withdraw-requests", Staff(COUNTER), Refused).with(withdrawal),
        get("/api/v1/staff/consent-requests/{consent}", Staff(COUNTER), Missing),
        get("/api/v1/staff/redemptions", Staff(EVERYONE), Own),
        get("/api/v1/staff/redemption-attempts?verdict=all", Staff(EVERYONE), Own),
        get("/api/v1/merchant/redemption-attempts?verdict=all", Staff(EVERYONE), Own),
        get("/api/v1/merchant/vouchers/{voucher}/evidence", Staff(DETECTIVES), Missing),
        get("/api/v1/merchant/vouchers/{voucher}/evidence.html", Staff(DETECTIVES), Missing),
        get("/api/v1/staff/bookings?store_id={store}&date={tomorrow}", Staff(EVERYONE), Missing),
        get("/api/v1/staff/bookings/{called_off}", Staff(EVERYONE), Missing),
        post("/api/v1/staff/bookings/{called_off}/arrive", Staff(COUNTER), Missing),
        post("/api/v1/staff/bookings/{called_off}/cancel", Staff(MANAGERS), Missing)
            .with(|_| json!({"reason": "停电"})),
        post("/api/v1/staff/redemptions/backfill", Staff(COUNTER), Missing).with(backfill),
        get("/api/v1/staff/backfills", Staff(EVERYONE), Own),
        get("/api/v1/merchant/backfills", Staff(EVERYONE), Own),
        post("/api/v1/merchant/backfills/{backfill}/approve", Staff(MANAGERS), Missing),
        post("/api/v1/merchant/backfills/{backfill}/reject", Staff(MANAGERS), Missing)
            .with(|_| json!({"reason": "当天没有营业"})),
        post("/api/v1/staff/backfills/{backfill}/withdraw", Staff(COUNTER), Missing),
        get("/api/v1/merchant/backfill-policy", Staff(EVERYONE), Own),
        op(Method::PUT, "/api/v1/merchant/backfill-policy", Staff(MERCHANDISERS), Own)
            .with(|_| json!({"free_uses": 5, "free_amount_fen": 20000})),
        post("/api/v1/staff/redemptions/{redemption}/reverse", Staff(COUNTER), Missing).with(undo),
    ]
}

fn sessions() -> Vec<Operation> {
    vec![
        get("/api/v1/auth/me", SignedIn, Own),
        // Last: nobody is signed in after it.
        op(Method::DELETE, "/api/v1/auth/session", SignedIn, Own),
    ]
}
