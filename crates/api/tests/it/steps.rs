//! Steps that the tests of orders, payments, redemptions, refunds and messages share.

use std::time::Duration;

use hexiao_core::id::{Id, JobId, RefundId, StoreId};
use hexiao_db::row::Param;
use hexiao_db::{DbError, params, sql, transact};
use hexiao_testkit::{Answer, Client, PASSWORD, Shop, TestApp, wait_until};
use hexiao_wechat_sim::{Fault, FaultAction, Transaction};
use serde_json::{Value, json};

/// A fresh idempotency key.
pub(crate) fn key() -> String {
    uuid::Uuid::now_v7().to_string()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

pub(crate) fn items(value: &Value) -> &Vec<Value> {
    value["items"].as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

pub(crate) fn order_path(order: &str) -> String {
    format!("/api/v1/customer/orders/{order}")
}

/// Places an order; its id.
pub(crate) async fn placed(app: &TestApp, customer: &Client, shop: &Shop, quantity: u32) -> String {
    text(&app.order(customer, shop, quantity).await.expect(201)["id"]).to_owned()
}

pub(crate) async fn order(customer: &Client, id: &str) -> Value {
    customer.get(&order_path(id)).await.expect(200)
}

/// Waits for a state of an order; the order then.
pub(crate) async fn order_in(customer: &Client, id: &str, state: &str) -> Value {
    let path = order_path(id);
    wait_until(&format!("the order is {state}"), async || customer.get(&path).await.body["state"] == state)
        .await;
    order(customer, id).await
}

/// Asks for a refund of some uses, `null` for all that are unused.
pub(crate) async fn ask_refund(customer: &Client, order: &str, items: Value, key: &str) -> Answer {
    let mut body = json!({"reason": "不想要了"});
    if !items.is_null() {
        body["items"] = items;
    }
    customer.post_key(&format!("{}/refunds", order_path(order)), key, body).await
}

/// Waits for a state of a refund; the refund as headquarters see it.
pub(crate) async fn refund_in(owner: &Client, id: &str, state: &str) -> Value {
    let path = format!("/api/v1/merchant/refunds/{id}");
    wait_until(&format!("the refund is {state}"), async || owner.get(&path).await.body["state"] == state)
        .await;
    owner.get(&path).await.expect(200)
}

/// Debits minus credits of an account in the books.
pub(crate) async fn balance(owner: &Client, account: &str) -> i64 {
    let all = owner.get("/api/v1/merchant/ledger/balances").await.expect(200);
    let found = items(&all).iter().find(|row| row["account"] == account);
    found.map_or(0, |row| row["balance_fen"].as_i64().unwrap())
}

pub(crate) async fn anomalies(owner: &Client) -> Vec<Value> {
    items(&owner.get("/api/v1/merchant/payment-anomalies").await.expect(200)).clone()
}

/// Units that can be sold of the only counted stock row.
pub(crate) async fn available(owner: &Client) -> i64 {
    let stock = owner.get("/api/v1/merchant/stock").await.expect(200);
    items(&stock)[0]["available"].as_i64().unwrap()
}

/// Titles of a customer's messages, the oldest first.
pub(crate) async fn titles(customer: &Client) -> Vec<String> {
    let all = customer.get("/api/v1/customer/messages").await.expect(200);
    items(&all).iter().rev().map(|m| text(&m["title"]).to_owned()).collect()
}

/// An order as WeChat knows it.
pub(crate) fn at_wechat(app: &TestApp, out_trade_no: &str) -> Transaction {
    app.sim.transactions().into_iter().find(|t| t.out_trade_no == out_trade_no).unwrap()
}

/// WeChat cannot be asked about payments: only its callbacks tell.
pub(crate) fn no_questions(app: &TestApp) {
    broken(app, "order_query");
}

/// A kind of call fails until the faults are cleared.
pub(crate) fn broken(app: &TestApp, kind: &str) {
    let error =
        FaultAction::Error {
            status: 500, code: "SYSTEM_ERROR".to_owned(), message: "系统异常".to_owned()
        };
    app.sim.set_fault(Fault::new(error).kind(kind).times(None)).unwrap();
}

/// Callbacks of a kind are lost until the faults are cleared.
pub(crate) fn no_callbacks(app: &TestApp, kind: &str) {
    app.sim.set_fault(Fault::new(FaultAction::Drop {}).kind(kind).times(None)).unwrap();
}

pub(crate) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) const fn days(n: u64) -> Duration {
    Duration::from_hours(24 * n)
}

/// Signs the n-th member of staff in again: access tokens live for a quarter of an hour.
pub(crate) async fn staff_again(app: &TestApp, n: u32) -> Client {
    app.sign_in(&format!("139{n:08}"), PASSWORD).await.unwrap()
}

pub(crate) async fn owner_again(app: &TestApp) -> Client {
    app.sign_in("13800000001", PASSWORD).await.unwrap()
}

/// Writes to a voucher what no API can.
pub(crate) async fn damage_voucher(app: &TestApp, set: &str, voucher: &str) {
    damage::<hexiao_core::id::VoucherId>(app, "vouchers", set, voucher).await;
}

/// Writes to a refund what no API can.
pub(crate) async fn damage_refund(app: &TestApp, set: &str, refund: &str) {
    damage::<hexiao_core::id::RefundId>(app, "refunds", set, refund).await;
}

/// Writes to a payment what no API can.
pub(crate) async fn damage_payment(app: &TestApp, set: &str, payment: &str) {
    damage::<hexiao_core::id::PaymentId>(app, "payments", set, payment).await;
}

/// Writes to an order what no API can.
pub(crate) async fn damage_order(app: &TestApp, set: &str, order: &str) {
    damage::<hexiao_core::id::OrderId>(app, "orders", set, order).await;
}

async fn damage<T: Id + Param>(app: &TestApp, table: &str, set: &str, id: &str) {
    let statement = format!("UPDATE {table} SET {set} WHERE id = $1");
    let id = T::parse(id).ok().unwrap();
    let done: Result<u64, DbError> =
        transact!(app.app.db, |tx| async { sql::execute(&tx, &statement, params![id]).await });
    assert_eq!(done.unwrap(), 1);
}

/// A shop of the first merchant whose SKU has these terms besides name and price.
pub(crate) async fn shop_with(app: &TestApp, terms: Value) -> Shop {
    let store = app.store("人民广场店").await;
    shop_in_with(app, store, terms).await
}

pub(crate) async fn shop_in_with(app: &TestApp, store: StoreId, terms: Value) -> Shop {
    let mut sku = json!({"name": "次卡", "price_fen": 100, "uses": 3});
    for (name, value) in terms.as_object().unwrap() {
        sku[name] = value.clone();
    }
    app.shop_in(store, sku).await
}

/// A shop of another merchant.
pub(crate) async fn shop_of(owner: &Client, price_fen: i64, uses: u32) -> Shop {
    let store = crate::products::store(owner, "别家一店").await;
    let sku = json!({"name": "次卡", "price_fen": price_fen, "uses": uses, "validity": {"days": 30}});
    let body = json!({"name": "蛋糕次卡", "kind": "redeem", "skus": [sku], "store_scope": {"all": true}});
    let product = crate::products::create(owner, body).await;
    crate::products::publish(owner, &product).await;
    Shop { store, product: text(&product["id"]).to_owned(), sku: text(&product["skus"][0]["id"]).to_owned() }
}

/// A job about a refund that has failed too often; its id.
pub(crate) async fn dead_job(app: &TestApp, kind: &str, refund: &str) -> String {
    let (id, refund) = (JobId::from_uuid(uuid::Uuid::now_v7()), RefundId::parse(refund).unwrap());
    let statement = "INSERT INTO jobs (id, merchant_id, kind, subject_id, state, run_at, attempts, runs, lease, asked, error, created_at, finished_at)
                     SELECT $1, merchant_id, $2, id, 'Dead', $4, 20, 20, 20, 1, 'database: away', $4, $4 FROM refunds WHERE id = $3";
    let now = app.app.now();
    let done: Result<(), DbError> = transact!(app.app.db, |tx| async {
        sql::execute_exactly(&tx, 1, "the job", statement, params![id, kind, refund, now]).await
    });
    done.unwrap();
    id.to_string()
}

/// The job that sends a refund is due now: nobody waits for the merchant's time of grace.
pub(crate) async fn due_now(app: &TestApp, refund: &str) {
    let statement = "UPDATE jobs SET run_at = 0 WHERE subject_id = $1 AND kind = 'refund_submit'";
    let refund = RefundId::parse(refund).unwrap();
    let done: Result<u64, DbError> =
        transact!(app.app.db, |tx| async { sql::execute(&tx, statement, params![refund]).await });
    assert_eq!(done.unwrap(), 1);
    app.app.wake.notify_one();
}
