//! Two merchants at work: every kind of row exists, so that a refusal is about rights and not about a missing row.

use std::collections::{BTreeMap, BTreeSet};

use hexiao_core::catalog::Role;
use hexiao_core::id::{Id as _, MerchantId, RiskFlagId, StaffId, StoreId};
use hexiao_core::risk::{RiskKind, RiskState};
use hexiao_core::scope::MerchantScope;
use hexiao_db::risk::{self, Flag};
use hexiao_db::{DbError, transact};
use hexiao_testkit::{Client, PASSWORD, Shop, TestApp, wait_until};
use serde_json::{Value, json};

use crate::operations::booking_plan;
use crate::snapshot;
use crate::steps::dead_job;

/// Rows of merchant A by what they are.
pub(crate) type Ids = BTreeMap<&'static str, String>;

/// Who there is.
pub(crate) struct World {
    pub(crate) ids: Ids,
    /// Whose order, vouchers, refund and messages the ids name.
    pub(crate) customer: Client,
    pub(crate) other_customer: Client,
    /// Of merchant A; those who work for stores work for the first.
    pub(crate) staff: BTreeMap<&'static str, Client>,
    /// Of merchant A, in the second store.
    pub(crate) elsewhere: BTreeMap<&'static str, Client>,
    /// Of merchant B.
    pub(crate) stranger: Client,
    /// Tokens that were good once, or never.
    pub(crate) dead: BTreeMap<&'static str, Client>,
}

impl World {
    /// Ids that only the customer and the first store's staff may ever read.
    pub(crate) fn of_the_order(&self) -> BTreeSet<&str> {
        self.pick(&[
            "order",
            "voucher",
            "used_voucher",
            "refund",
            "redemption",
            "backfill",
            "payment",
            "booked_voucher",
            "booking",
            "given_back",
            "called_off",
        ])
    }

    /// Ids that only the first store's staff and headquarters may read on their own pages.
    pub(crate) fn of_the_store(&self) -> BTreeSet<&str> {
        let mut ids = self.of_the_order();
        let more = [
            "store",
            "product",
            "sku",
            "stock",
            "verifier",
            "customer",
            "unpaid",
            "consent",
            "device",
            "exception",
            "risk_flag",
        ];
        ids.extend(self.pick(&more));
        ids
    }

    /// Ids that only the customer may read on the customers' pages.
    pub(crate) fn of_the_customer(&self) -> BTreeSet<&str> {
        let mut ids = self.of_the_order();
        ids.extend(self.pick(&["unpaid", "message", "customer", "consent"]));
        ids
    }

    /// Everything of merchant A.
    pub(crate) fn of_the_merchant(&self) -> BTreeSet<&str> {
        self.ids.values().map(String::as_str).collect()
    }

    fn pick<'a>(&'a self, names: &[&'static str]) -> BTreeSet<&'a str> {
        names.iter().map(|name| self.ids[name].as_str()).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A product of one store that counts its own stock: three uses for 30 yuan.
async fn product(owner: &Client, store: StoreId) -> Value {
    let body = json!({
        "name": "三次卡", "kind": "redeem", "category": "美发", "store_scope": {"store_ids": [store]},
        "skus": [{
            "name": "标准", "price_fen": 3000, "uses": 3, "validity": {"days": 30}, "stock_mode": "own",
            "stock_by_store": [{"store_id": store, "quantity": 1000}], "binding": "any_in_scope",
        }],
    });
    let made = owner.post("/api/v1/merchant/products", body).await.expect(201);
    owner
        .post(&format!("/api/v1/merchant/products/{}/publish", text(&made["id"])), json!({}))
        .await
        .expect(200)
}

async fn dead(app: &TestApp, store: StoreId) -> BTreeMap<&'static str, Client> {
    let (revoked, disabled) = (app.staff(Role::Owner, &[]).await, app.staff(Role::Owner, &[]).await);
    revoked.delete("/api/v1/auth/session").await.expect(204);
    let path = format!("/api/v1/merchant/staff/{}", disabled.id);
    app.owner().await.patch(&path, json!({"active": false})).await.expect(200);
    let mut garbage = app.verifier(&[store]).await;
    let mut forged = garbage.clone();
    garbage.token = Some("eyJhbGciOiJub25lIn0.e30.".to_owned());
    // The right head and claims, another signature.
    forged.token = forged.token.map(|t| format!("{}.{}", t.rsplit_once('.').unwrap().0, "A".repeat(86)));
    let mut customer = app.customer("注销").await;
    customer.delete("/api/v1/auth/session").await.expect(204);
    customer.token = customer.token.map(|t| format!("{t} "));
    for client in [&revoked, &disabled] {
        wait_until("the session has ended", async || client.get("/api/v1/auth/me").await.status == 401).await;
    }
    let anonymous = app.anonymous();
    BTreeMap::from([
        ("nobody", anonymous),
        ("a revoked session", revoked),
        ("a disabled account", disabled),
        ("a garbage token", garbage),
        ("a forged token", forged),
        ("a signed-out customer", customer),
    ])
}

/// Buys two cards, gives one use of the first back, uses one of the second.
async fn trade(app: &TestApp, shop: &Shop, customer: &Client, verifier: &Client, ids: &mut Ids) {
    let bought = app.buy(customer, shop, 2).await;
    let (voucher, used) = (bought.vouchers[0].clone(), bought.vouchers[1].clone());
    let redeemed = verifier.redeem(app, customer, shop.store, &used, 1).await.expect(201);
    let path = format!("/api/v1/customer/orders/{}/refunds", bought.order);
    let body = json!({"items": [{"voucher_id": voucher, "quantity": 1}], "reason": "不想要了"});
    let refund = text(&customer.post_key(&path, "give-back", body).await.expect(201)["id"]);
    let path = format!("/api/v1/customer/refunds/{refund}");
    wait_until("the refund is done", async || customer.get(&path).await.body["state"] == "Succeeded").await;
    wait_until("the messages are there", async || {
        let messages = customer.get("/api/v1/customer/messages").await.expect(200);
        messages["items"].as_array().unwrap().len() >= 3
    })
    .await;
    let messages = customer.get("/api/v1/customer/messages").await.expect(200);
    let shown = app.voucher(customer, &voucher).await;
    let prepared = verifier.prepare(shop.store, &shown["qr"]).await.expect(200);
    let unpaid = app.order(customer, shop, 1).await.expect(201);
    let backfill = waiting_backfill(app, shop, verifier, &shown).await;
    let number = customer.get(&format!("/api/v1/customer/orders/{}", bought.order)).await.expect(200);
    let input = json!({"store_id": shop.store, "input": {"order_number": number["number"]}});
    let asked = verifier.post("/api/v1/staff/redemptions/prepare", input).await.expect(202);
    ids.extend([
        ("consent", text(&asked["consent_request"]["id"])),
        ("backfill", backfill),
        ("order", bought.order),
        ("payment", bought.out_trade_no),
        ("voucher", voucher),
        ("used_voucher", used),
        ("redemption", text(&redeemed["id"])),
        ("job", dead_job(app, "refund_check", &refund).await),
        ("refund", refund),
        ("code", text(&shown["code"])),
        ("message", text(&messages["items"][0]["id"])),
        ("prepare_token", text(&prepared["prepare_token"])),
        ("unpaid", text(&unpaid["id"])),
    ]);
}

/// A webhook that leads nowhere, with a delivery that waits for it, and a rule for commission.
async fn tell(owner: &Client, ids: &mut Ids) {
    let webhooks = "/api/v1/merchant/webhooks";
    let body = json!({"name": "ERP", "url": "http://127.0.0.1:9/hexiao", "events": ["refund.succeeded"]});
    let webhook = text(&owner.post(webhooks, body).await.expect(201)["id"]);
    let path = format!("{webhooks}/{webhook}");
    let delivery = text(&owner.post(&format!("{path}/test"), json!({})).await.expect(202)["id"]);
    let log = format!("/api/v1/merchant/webhook-deliveries/{delivery}");
    wait_until("nobody is there", async || owner.get(&log).await.body["state"] == "failed").await;
    // Nothing changes by itself from now on.
    owner.patch(&path, json!({"active": false})).await.expect(200);
    let rules = "/api/v1/merchant/commission-rules";
    let body = json!({"basis_points": 100, "per_use_fen": 10});
    let rule = text(&owner.post(rules, body).await.expect(201)["id"]);
    ids.extend([("webhook", webhook), ("delivery", delivery), ("commission_rule", rule)]);
}

/// A product that is used at a booked time, bought, and three bookings of it.
async fn bookings(app: &TestApp, store: StoreId, customer: &Client, ids: &mut Ids) {
    let owner = app.owner().await;
    let sku = json!({"name": "次卡", "price_fen": 900, "uses": 9, "booking": "required"});
    let body =
        json!({"name": "护理", "kind": "redeem", "skus": [sku], "store_scope": {"store_ids": [store]}});
    let made = owner.post("/api/v1/merchant/products", body).await.expect(201);
    let product = text(&made["id"]);
    ids.insert("booked_product", product.clone());
    let path = format!("/api/v1/merchant/stores/{store}/booking-plans");
    owner.put(&path, json!({"items": [booking_plan(ids)]})).await.expect(200);
    owner.post(&format!("/api/v1/merchant/products/{product}/publish"), json!({})).await.expect(200);
    let shop = Shop { store, product, sku: text(&made["skus"][0]["id"]) };
    let voucher = app.buy(customer, &shop, 1).await.vouchers.remove(0);
    // Both within a day, so that an arrival can be noted.
    let hour = |plus: i64| {
        let zone = chrono::FixedOffset::east_opt(8 * 3600).unwrap();
        let at = app.app.now().datetime().with_timezone(&zone) + chrono::Duration::hours(plus);
        at.format("%Y-%m-%dT%H:00:00+08:00").to_string()
    };
    for name in ["booking", "given_back", "called_off"] {
        let body = json!({"voucher_id": voucher, "store_id": store, "slot_start": hour(3), "confirm": true});
        let booked = customer.post_key("/api/v1/customer/bookings", name, body).await.expect(201);
        ids.insert(name, text(&booked["id"]));
    }
    ids.insert("booked_voucher", voucher);
    ids.insert("later_slot", hour(5));
}

/// A backfill that waits for a second person.
async fn waiting_backfill(app: &TestApp, shop: &Shop, verifier: &Client, shown: &Value) -> String {
    let policy = |uses: u32| json!({"free_uses": uses, "free_amount_fen": 20_000});
    let owner = app.owner().await;
    owner.put("/api/v1/merchant/backfill-policy", policy(0)).await.expect(200);
    let body = json!({
        "store_id": shop.store, "input": {"qr": shown["qr"]}, "reason": "断网",
        "occurred_at": app.app.now().to_string(),
    });
    let path = "/api/v1/staff/redemptions/backfill";
    let waits = verifier.post_key(path, "backfill", body).await.expect(202);
    owner.put("/api/v1/merchant/backfill-policy", policy(5)).await.expect(200);
    text(&waits["backfill"]["id"])
}

/// Makes it all.
pub(crate) async fn world(app: &TestApp) -> World {
    let owner = app.owner().await;
    let (first, second) = (app.store("一店").await, app.store("二店").await);
    let made = product(&owner, first).await;
    let shop = Shop { store: first, product: text(&made["id"]), sku: text(&made["skus"][0]["id"]) };
    let stock = owner.get("/api/v1/merchant/stock").await.expect(200);
    let staff = BTreeMap::from([
        ("owner", owner.clone()),
        ("operator", app.staff(Role::Operator, &[]).await),
        ("finance", app.staff(Role::Finance, &[]).await),
        ("store_manager", app.manager(&[first]).await),
        ("verifier", app.verifier(&[first]).await),
    ]);
    let elsewhere = BTreeMap::from([
        ("store_manager", app.manager(&[second]).await),
        ("verifier", app.verifier(&[second]).await),
    ]);
    let (customer, other_customer) = (app.customer("小明").await, app.customer("小红").await);

    let stranger = app.other_owner().await;
    let body = json!({"name": "别家店", "address": "杭州市", "lat": 30.2, "lng": 120.1, "phone": "0571-87000000", "hours": []});
    let theirs =
        StoreId::parse(&text(&stranger.post("/api/v1/merchant/stores", body).await.expect(201)["id"]))
            .unwrap();
    let made_there = product(&stranger, theirs).await;
    let there =
        Shop { store: theirs, product: text(&made_there["id"]), sku: text(&made_there["skus"][0]["id"]) };
    app.order(&other_customer, &there, 1).await.expect(201);

    let me = owner.get("/api/v1/auth/me").await.expect(200);
    let merchant = MerchantId::parse(&text(&me["staff"]["merchant_id"])).unwrap();
    let account = hexiao_db::merchants::pay_account(app.app.db.reader(), MerchantScope::of_system(merchant));
    let mut ids = Ids::from([
        ("merchant", merchant.to_string()),
        ("store", first.to_string()),
        ("second_store", second.to_string()),
        ("product", shop.product.clone()),
        ("sku", shop.sku.clone()),
        ("category", text(&made["category_id"])),
        ("stock", text(&stock["items"][0]["id"])),
        ("owner", owner.id.clone()),
        ("verifier", staff["verifier"].id.clone()),
        ("customer", customer.id.clone()),
        ("pay_account", account.await.unwrap().unwrap().id.to_string()),
    ]);
    bookings(app, first, &customer, &mut ids).await;
    tell(&owner, &mut ids).await;
    trade(app, &shop, &customer, &staff["verifier"], &mut ids).await;
    let phone = json!({"name": "店里的手机", "platform": "harmony", "public_key": crate::devices::key(9)});
    let lender = app.verifier(&[first]).await;
    let registered = lender.post("/api/v1/staff/devices", phone).await.expect(201);
    ids.insert("device", text(&registered["id"]));
    let queued = crate::operations::queued(&ids);
    lender.post(crate::offline::UPLOAD, queued).await.expect(200);
    let desk = owner.get("/api/v1/merchant/exceptions").await.expect(200);
    ids.insert("exception", text(&desk["items"][0]["id"]));
    let found = risk_flag(app, &ids).await;
    ids.insert("risk_flag", found);
    let dead = dead(app, first).await;
    snapshot::settled(app).await;
    World { ids, customer, other_customer, staff, elsewhere, stranger, dead }
}

/// Somebody who was stopped from typing codes in the first store.
async fn risk_flag(app: &TestApp, ids: &Ids) -> String {
    let flag = Flag {
        merchant_id: MerchantId::parse(&ids["merchant"]).unwrap(),
        id: RiskFlagId::from_uuid(uuid::Uuid::now_v7()),
        kind: RiskKind::Lockout,
        subject: "staff".to_owned(),
        store_id: StoreId::parse(&ids["store"]).unwrap(),
        staff_id: StaffId::parse(&ids["verifier"]).unwrap(),
        device: None,
        customer_id: None,
        voucher_id: None,
        redemption_id: None,
        detail: json!({"of": "staff"}),
        message: "员工输错券码次数过多，已暂停输码".to_owned(),
        state: RiskState::Open,
        at: app.app.now(),
        note: None,
        acknowledged_by: None,
        acknowledged_at: None,
    };
    let done: Result<u64, DbError> = transact!(app.app.db, |tx| async { risk::insert(&tx, &[&flag]).await });
    assert_eq!(done.unwrap(), 1);
    flag.id.to_string()
}

/// A body to sign in with, for nobody.
pub(crate) fn nobodys_sign_in(ids: &Ids) -> Value {
    json!({"phone": "13700000000", "password": PASSWORD, "totp": "000000", "merchant_id": ids["merchant"]})
}
