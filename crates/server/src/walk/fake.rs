//! A scripted server for the walk's own tests: just enough of the contract for one order, with faults on demand.
//! It proves that the walk sends what the contract asks for and stops at what is off; nothing about the real server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The store has no times card, so the merchant must make one.
    NoCard,
    /// The first store is farther than the second.
    Distances,
    /// A repeated order makes another one.
    OrderTwice,
    /// A repeated confirm redeems again.
    ConfirmTwice,
    /// Five of one are redeemed.
    TooMany,
    /// The refund is a fen short.
    RefundShort,
    /// The refund never ends well.
    RefundWithdrawn,
    /// The ledger lacks the reversal.
    LedgerGap,
    /// The payment closes the order.
    Closed,
}

#[derive(Default)]
struct Shop {
    published: bool,
    orders: BTreeMap<String, String>,
    confirms: BTreeMap<String, Value>,
    paid: bool,
    used: i64,
    looks_at_refund: u32,
    refunded: bool,
    /// Method and path of every call, without queries.
    calls: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Fake {
    fault: Fault,
    shop: Arc<Mutex<Shop>>,
}

const PRICE: i64 = 10_000;
const CODE: &str = "123456789012";

type Reply = (u16, Value);

fn refusal(code: &str) -> Reply {
    (409, json!({"error": {"code": code, "message": "不行", "fields": [], "request_id": "r"}}))
}

impl Fake {
    /// Starts it and answers its address.
    pub(super) async fn start(fault: Fault) -> (Self, String) {
        let fake = Self { fault, shop: Arc::default() };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (fake, address)
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.shop.lock().unwrap().calls.clone()
    }

    fn reply(&self, call: &str, query: &str, key: Option<&str>, body: &Value) -> Reply {
        let mut shop = self.shop.lock().unwrap();
        shop.calls.push(call.to_owned());
        match call {
            "POST /auth/customer" => (201, self.customer_session(body)),
            "POST /auth/staff" => (201, staff_session(body)),
            "GET /merchant/stores" => (200, json!({"items": [{"name": "甲店"}], "next_cursor": "x"})),
            "GET /customer/stores" => (200, self.stores(query)),
            "GET /customer/stores/str_2/products" => {
                (200, json!({"items": [{"id": "prd_1", "from_price_fen": 1}]}))
            }
            "GET /customer/products/prd_1" => (200, self.product(&shop)),
            "POST /merchant/products" => (201, json!({"id": "prd_1"})),
            "POST /merchant/products/prd_1/publish" => {
                shop.published = true;
                (204, Value::Null)
            }
            "POST /customer/orders/preview" => {
                (200, json!({"goods_fen": PRICE, "discount_fen": 0, "pay_fen": PRICE, "more": 1}))
            }
            "POST /customer/orders" => self.order(&mut shop, key),
            "POST /customer/orders/ord_1/pay" => prepay(key),
            "POST /_sim/pay" => {
                assert_eq!(body["request_payment"]["paySign"], "s");
                shop.paid = true;
                (200, json!({"transaction_id": "4200"}))
            }
            "POST /customer/orders/ord_1/refunds" => self.refund(key),
            _ => self.reply_later(&mut shop, call, query, key, body),
        }
    }

    fn reply_later(
        &self,
        shop: &mut Shop,
        call: &str,
        query: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Reply {
        match call {
            "GET /customer/orders/ord_1" => (200, self.order_now(shop)),
            "GET /customer/vouchers" => {
                assert_eq!(query, "order_id=ord_1");
                (200, json!({"items": [voucher(shop)]}))
            }
            "GET /customer/vouchers/vch_1" => (200, voucher(shop)),
            "POST /staff/redemptions/prepare" => (200, prepare(shop, body)),
            "POST /staff/redemptions" => self.confirm(shop, key, body),
            "POST /staff/redemptions/rdm_2/reverse" => {
                shop.used -= 1;
                (200, json!({}))
            }
            "GET /merchant/orders/ord_1" => {
                (200, json!({"id": "ord_1", "number": "2611230000000001", "state": "Paid", "pay_fen": PRICE}))
            }
            "GET /merchant/redemptions" => (200, json!({"items": [{"id": "rdm_2"}, {"id": "rdm_1"}]})),
            "GET /merchant/ledger" => (200, json!({"items": self.ledger()})),
            "GET /customer/messages" if shop.paid => (
                200,
                json!({"items": [{"title": "支付成功", "body": "请到店使用", "at": "2026-11-23T10:00:00Z"}]}),
            ),
            "GET /customer/messages" => (200, json!({"items": []})),
            other => (404, json!({"error": {"code": "not_found", "message": other}})),
        }
    }

    fn customer_session(&self, body: &Value) -> Value {
        assert!(body["code"].as_str().unwrap().starts_with("sim-walk-"), "{:?}", self.fault);
        json!({"access_token": "c", "refresh_token": "r", "expires_in": 900, "customer": {"id": "cus_1"}})
    }

    fn stores(&self, query: &str) -> Value {
        assert_eq!(query, "lat=31.2304&lng=121.4737&limit=100");
        let far = if self.fault == Fault::Distances { 9 } else { 1_200 };
        let store = |id: &str, merchant: &str, metres: i64| json!({"id": id, "merchant_id": merchant, "name": id, "address": "路", "distance_m": metres, "open_now": false});
        json!({"items": [store("str_1", "mch_2", 10), store("str_3", "mch_1", far), store("str_2", "mch_1", 2_000)]})
    }

    fn product(&self, shop: &Shop) -> Value {
        let uses = if self.fault == Fault::NoCard && !shop.published { 1 } else { 3 };
        json!({"name": "卡", "skus": [{"id": "sku_1", "name": "次卡", "price_fen": PRICE,
            "stock": {"available": 5}, "rule": {"uses": uses}}]})
    }

    fn order(&self, shop: &mut Shop, key: Option<&str>) -> Reply {
        let fresh = format!("ord_{}", shop.orders.len() + 1);
        let key = key.expect("an order has a key").to_owned();
        let id = if self.fault == Fault::OrderTwice {
            fresh
        } else {
            shop.orders.get(&key).cloned().unwrap_or(fresh)
        };
        shop.orders.insert(key, id.clone());
        let again = if id == "ord_1" { 201 } else { 200 };
        let lines = json!([{"quantity": 1, "uses": 3}]);
        let state = "PendingPayment";
        (
            again,
            json!({"id": id, "number": "1", "state": state, "pay_fen": PRICE, "expires_at": "t", "lines": lines}),
        )
    }

    fn order_now(&self, shop: &mut Shop) -> Value {
        let state = match (shop.paid, self.fault) {
            (true, Fault::Closed) => "Closed",
            (true, _) => "Paid",
            (false, _) => "PendingPayment",
        };
        let mut refunds = json!([]);
        if shop.refunded || shop.looks_at_refund > 0 || shop.used == 1 {
            shop.looks_at_refund += 1;
            let done = if self.fault == Fault::RefundWithdrawn { "Withdrawn" } else { "Succeeded" };
            let state = if shop.looks_at_refund > 2 { done } else { "Processing" };
            shop.refunded = state == "Succeeded";
            refunds = json!([{"id": "rfd_1", "state": state, "amount_fen": 6_667}]);
        }
        json!({"id": "ord_1", "state": state, "vouchers": [{"id": "vch_1"}], "refunds": refunds})
    }

    fn confirm(&self, shop: &mut Shop, key: Option<&str>, body: &Value) -> Reply {
        let key = key.expect("a confirm has a key").to_owned();
        if let Some(before) = shop.confirms.get(&key)
            && self.fault != Fault::ConfirmTwice
        {
            let mut again = before.clone();
            again["replayed"] = json!(true);
            return (201, again);
        }
        if shop.refunded {
            return refusal("used_up");
        }
        if body["items"][0]["quantity"] != 1 && self.fault != Fault::TooMany {
            return refusal("not_enough_uses");
        }
        if shop.used == 1 && body["acknowledge"] != json!(["just_redeemed"]) {
            return refusal("acknowledge_required");
        }
        shop.used += 1;
        let id = format!("rdm_{}", shop.used);
        let result = json!({"voucher_id": "vch_1", "result": "redeemed", "quantity": 1,
            "serials": [shop.used], "remaining": 3 - shop.used});
        let done = json!({"id": id, "results": [result], "undo_until": "t", "replayed": false});
        shop.confirms.insert(key, done.clone());
        (201, done)
    }

    fn refund(&self, key: Option<&str>) -> Reply {
        assert!(key.is_some());
        let amount = if self.fault == Fault::RefundShort { 6_666 } else { 6_667 };
        let items = json!([{"voucher_id": "vch_1", "quantity": 2}]);
        (201, json!({"id": "rfd_1", "state": "Created", "amount_fen": amount, "items": items}))
    }

    fn ledger(&self) -> Value {
        let entry = |event: &str, debit: &str, credit: &str, amount: i64| json!({"event": event, "debit": debit, "credit": credit, "amount_fen": amount, "at": "t"});
        let mut entries = vec![
            entry("payment", "wechat_receivable", "customer_liability", PRICE),
            entry("redemption", "customer_liability", "merchant_pending", 3_333),
            entry("redemption", "customer_liability", "merchant_pending", 3_333),
            entry("reversal", "merchant_pending", "customer_liability", 3_333),
            entry("refund_submitted", "customer_liability", "refund_in_transit", 6_667),
            entry("refund_succeeded", "refund_in_transit", "wechat_receivable", 6_667),
        ];
        if self.fault == Fault::LedgerGap {
            entries.remove(3);
        }
        json!(entries)
    }
}

fn staff_session(body: &Value) -> Value {
    assert_eq!(body["password"], "hexiao-demo-2026");
    let role = if body["phone"] == "13800000001" { "owner" } else { "verifier" };
    let stores = json!([{"id": "str_2", "name": "乙店", "role": role}]);
    json!({"access_token": role, "staff": {"id": "stf_1", "name": "某", "merchant_id": "mch_1",
        "roles": [role], "stores": stores}})
}

fn prepay(key: Option<&str>) -> Reply {
    assert!(key.is_some());
    let request =
        json!({"timeStamp": "1", "nonceStr": "n", "package": "p", "signType": "RSA", "paySign": "s"});
    (200, json!({"payment_id": "pay_1", "out_trade_no": "pay_1", "request_payment": request}))
}

fn voucher(shop: &Shop) -> Value {
    json!({"id": "vch_1", "order_id": "ord_1", "code": CODE, "code_display": "1234 5678 9012", "qr": "HX1ABC",
        "total": 3, "used": shop.used, "locked": 0, "refunded": if shop.refunded { 2 } else { 0 }, "valid_to": "t"})
}

fn prepare(shop: &Shop, body: &Value) -> Value {
    assert!(body["input"]["code"] == CODE || body["input"]["qr"] == "HX1ABC");
    let free = if shop.refunded { 0 } else { 3 - shop.used };
    let refusals =
        if free == 0 { json!([{"code": "used_up", "message": "已核销完"}]) } else { json!([]) };
    let attention = if shop.used > 0 && free > 0 { json!(["just_redeemed"]) } else { json!([]) };
    let voucher = json!({"voucher_id": "vch_1", "product_name": "卡", "code_last4": "9012", "total": 3,
        "redeemable": free, "refusals": refusals, "attention": attention});
    json!({"prepare_token": "t", "vouchers": [voucher]})
}

/// Each audience needs its own token; the path decides which.
fn audience_token(path: &str) -> Option<&'static str> {
    match path.split('/').nth(1) {
        Some("customer") => Some("Bearer c"),
        Some("staff") => Some("Bearer verifier"),
        Some("merchant") => Some("Bearer owner"),
        _ => None,
    }
}

async fn answer(
    State(fake): State<Fake>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let path = uri.path().strip_prefix("/api/v1").unwrap_or(uri.path());
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (status, reply) = if audience_token(path).is_some_and(|token| header("authorization") != Some(token))
    {
        (401, json!({"error": {"code": "unauthenticated", "message": "请登录"}}))
    } else {
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        fake.reply(&format!("{method} {path}"), uri.query().unwrap_or(""), header("idempotency-key"), &body)
    };
    let text = if reply.is_null() { String::new() } else { reply.to_string() };
    (StatusCode::from_u16(status).unwrap(), text)
}
