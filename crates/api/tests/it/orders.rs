//! Orders over HTTP: quoted, placed with their stock or not at all, closed in time, found again.

use std::collections::BTreeMap;

use hexiao_testkit::{Answer, Client, Shop, TestApp, on_both, wait_until};
use hexiao_wechat_sim::TradeState;
use serde_json::{Value, json};

use crate::products::{create, minimal, publish, refused, store, with};
use crate::steps::{
    ask_refund, at_wechat, available, balance, damage_order, items, key, order, order_in, order_path, placed,
    refund_in, seconds, shop_of, shop_with, text, titles,
};

const ORDERS: &str = "/api/v1/customer/orders";

fn body(shop: &Shop, lines: &[(&str, u32)]) -> Value {
    let lines: Vec<Value> = lines.iter().map(|(sku, n)| json!({"sku_id": sku, "quantity": n})).collect();
    json!({"store_id": shop.store, "lines": lines})
}

async fn place(customer: &Client, body: Value) -> Answer {
    customer.post_key(ORDERS, &key(), body).await
}

async fn preview(customer: &Client, body: Value) -> Answer {
    customer.post(&format!("{ORDERS}/preview"), body).await
}

/// Paths of the fields that a refusal names.
fn fields(answer: &Answer) -> Vec<&str> {
    answer.body["error"]["fields"].as_array().unwrap().iter().map(|f| text(&f["path"])).collect()
}

on_both!(an_order_costs_what_was_quoted_at_the_stores_price, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 9900, Some(5)).await;
    let second = app.shop_in(shop.store, json!({"name": "饮料", "price_fen": 350, "stock": 9})).await;
    let own =
        json!({"items": [{"store_id": shop.store, "sku_id": second.sku, "listed": true, "price_fen": 300}]});
    owner.put(&format!("/api/v1/merchant/products/{}/listings", second.product), own).await.expect(204);
    let asked = body(&shop, &[(&shop.sku, 2), (&second.sku, 3)]);
    let quoted = preview(&customer, asked.clone()).await.expect(200);
    assert_eq!(quoted["pay_fen"], 2 * 9900 + 3 * 300);
    assert_eq!(quoted["lines"][1]["unit_price_fen"], 300);
    let stock = owner.get("/api/v1/merchant/stock").await.expect(200);
    assert!(items(&stock).iter().all(|row| row["reserved"] == 0), "a quote reserves nothing");
    let placed = place(&customer, with(asked, "/remark", json!("靠窗"))).await.expect(201);
    for sum in ["goods_fen", "discount_fen", "pay_fen", "trail"] {
        assert_eq!(placed[sum], quoted[sum], "{sum}");
    }
    for (line, quoted) in placed["lines"].as_array().unwrap().iter().zip(quoted["lines"].as_array().unwrap())
    {
        for part in
            ["sku_id", "quantity", "unit_price_fen", "goods_fen", "discount_fen", "pay_fen", "product_name"]
        {
            assert_eq!(line[part], quoted[part], "{part}");
        }
    }
    assert_eq!((&placed["state"], &placed["tab"]), (&json!("PendingPayment"), &json!("unpaid")));
    assert_eq!((&placed["remark"], &placed["qr"]), (&json!("靠窗"), &Value::Null));
    assert_eq!(text(&placed["number"]).len(), 16);
    // Later prices do not change what was ordered.
    owner.patch(&format!("/api/v1/merchant/skus/{}", shop.sku), json!({"price_fen": 1})).await.expect(200);
    let id = text(&placed["id"]);
    assert_eq!(order(&customer, id).await["pay_fen"], placed["pay_fen"]);
    app.pay(&app.sheet(&customer, id).await);
    assert_eq!(order_in(&customer, id, "Paid").await["payment"]["amount_fen"], placed["pay_fen"]);
    app.verify().await;
});

on_both!(every_short_line_is_named_and_nothing_is_reserved, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(1, 100, Some(2)).await;
    let free = shop_with(&app, json!({"name": "不限"})).await;
    let few = app.shop_in(shop.store, json!({"name": "限量", "price_fen": 100, "stock": 1})).await;
    let asked = body(&shop, &[(&shop.sku, 3), (&free.sku, 9), (&few.sku, 2)]);
    for answer in [preview(&customer, asked.clone()).await, place(&customer, asked).await] {
        assert_eq!((answer.status, answer.code()), (409, "out_of_stock"));
        assert_eq!(fields(&answer), ["lines[0].quantity", "lines[2].quantity"]);
        assert_eq!(answer.body["error"]["fields"][0]["message"], "「双人套餐」仅剩 2 份");
    }
    let stock = owner.get("/api/v1/merchant/stock").await.expect(200);
    assert!(items(&stock).iter().all(|row| row["reserved"] == 0), "{stock}");
    place(&customer, body(&shop, &[(&shop.sku, 2), (&few.sku, 1)])).await.expect(201);
    let again = place(&customer, body(&shop, &[(&shop.sku, 1)])).await;
    refused(&again, 409, "out_of_stock", "lines[0].quantity");
    app.verify().await;
});

on_both!(what_cannot_be_ordered, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(1, 100, None).await;
    let ask = async |lines: &[(&str, u32)]| place(&customer, body(&shop, lines)).await;
    refused(&ask(&[(&shop.sku, 51)]).await, 400, "too_many_units", "");
    refused(&ask(&[]).await, 400, "invalid_field", "lines");
    refused(&ask(&[(&shop.sku, 0)]).await, 400, "invalid_field", "lines[0].quantity");
    refused(&ask(&[(&shop.sku, 1), (&shop.sku, 1)]).await, 400, "invalid_field", "lines[1].sku_id");
    let draft = create(&owner, minimal("草稿")).await;
    let draft = text(&draft["skus"][0]["id"]);
    let elsewhere = store(&owner, "徐家汇店").await;
    let only_there = with(minimal("徐家汇特供"), "/store_scope", json!({"store_ids": [elsewhere]}));
    let only_there = publish(&owner, &create(&owner, only_there).await).await;
    let theirs = shop_of(&app.other_owner().await, 100, 1).await;
    let lines = [(draft, 1), (&shop.sku, 1), (text(&only_there["skus"][0]["id"]), 1), (&theirs.sku, 1)];
    let answer = ask(&lines).await;
    assert_eq!((answer.status, answer.code()), (409, "not_listed"));
    assert_eq!(fields(&answer), ["lines[0].sku_id", "lines[2].sku_id", "lines[3].sku_id"]);
    let nowhere = Shop { store: hexiao_core::id::Id::from_uuid(uuid::Uuid::now_v7()), ..shop.clone() };
    refused(&place(&customer, body(&nowhere, &[(&shop.sku, 1)])).await, 404, "not_found", "");
    ask(&[(&shop.sku, 50)]).await.expect(201);
    app.verify().await;
});

on_both!(limits_of_an_order_and_of_a_customer, |app| async {
    let customer = app.customer("小王").await;
    let shop = shop_with(&app, json!({"per_customer_limit": 3, "per_order_limit": 2})).await;
    let three = app.order(&customer, &shop, 3).await;
    refused(&three, 409, "purchase_limit", "lines[0].quantity");
    let first = placed(&app, &customer, &shop, 2).await;
    refused(&app.order(&customer, &shop, 2).await, 409, "purchase_limit", "lines[0].quantity");
    placed(&app, &customer, &shop, 1).await;
    refused(&app.order(&customer, &shop, 1).await, 409, "purchase_limit", "lines[0].quantity");
    placed(&app, &app.customer("小李").await, &shop, 2).await;
    customer.post(&format!("{}/close", order_path(&first)), json!({})).await.expect(200);
    app.buy(&customer, &shop, 2).await;
    app.verify().await;
});

on_both!(twenty_orders_wait_for_their_payment_and_no_more, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(1, 100, None).await;
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    let mut ids = Vec::new();
    for key in &keys {
        let placed = customer.post_key(ORDERS, key, body(&shop, &[(&shop.sku, 1)])).await.expect(201);
        ids.push(text(&placed["id"]).to_owned());
    }
    let full = || async { app.order(&customer, &shop, 1).await };
    refused(&full().await, 409, "too_many_unpaid", "");
    // A repeated request makes nothing new; somebody else and another merchant are not concerned.
    customer.post_key(ORDERS, &keys[0], body(&shop, &[(&shop.sku, 1)])).await.expect(200);
    placed(&app, &app.customer("小李").await, &shop, 1).await;
    let elsewhere = shop_of(&app.other_owner().await, 100, 1).await;
    placed(&app, &customer, &elsewhere, 1).await;
    // Cancelled, paid or out of time: there is room again.
    customer.post(&format!("{}/close", order_path(&ids[0])), json!({})).await.expect(200);
    placed(&app, &customer, &shop, 1).await;
    refused(&full().await, 409, "too_many_unpaid", "");
    let sheet = app.sheet(&customer, &ids[1]).await;
    app.pay(&sheet);
    order_in(&customer, &ids[1], "Paid").await;
    placed(&app, &customer, &shop, 1).await;
    refused(&full().await, 409, "too_many_unpaid", "");
    app.advance(seconds(16 * 60));
    let customer = app.customer("小王").await;
    order_in(&customer, &ids[2], "Closed").await;
    wait_until("the others are closed too", async || app.order(&customer, &shop, 1).await.status == 201)
        .await;
    app.verify().await;
});

on_both!(a_limit_gives_back_what_it_counted, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = shop_with(&app, json!({})).await;
    let path = format!("/api/v1/merchant/skus/{}", shop.sku);
    let limit = async |limit: Value| {
        owner.patch(&path, json!({"per_customer_limit": limit})).await.expect(200);
    };
    let close = async |id: &str| {
        customer.post(&format!("{}/close", order_path(id)), json!({})).await.expect(200);
    };
    let before = placed(&app, &customer, &shop, 3).await;
    limit(json!(3)).await;
    let counted = placed(&app, &customer, &shop, 2).await;
    // It was not counted when it was placed, so closing it frees nothing.
    close(&before).await;
    refused(&app.order(&customer, &shop, 2).await, 409, "purchase_limit", "lines[0].quantity");
    // It was counted, so closing it does, also when there is no limit any more.
    limit(Value::Null).await;
    let free = placed(&app, &customer, &shop, 3).await;
    close(&counted).await;
    close(&free).await;
    limit(json!(3)).await;
    let bought = app.buy(&customer, &shop, 3).await;
    // What is refunded stays bought.
    let refund = format!("{}/refunds", order_path(&bought.order));
    let refund = customer.post_key(&refund, "all", json!({"reason": "不想要了"})).await.expect(201);
    let refund = format!("/api/v1/customer/refunds/{}", text(&refund["id"]));
    wait_until("the refund is done", async || customer.get(&refund).await.body["state"] == "Succeeded").await;
    refused(&app.order(&customer, &shop, 1).await, 409, "purchase_limit", "lines[0].quantity");
    app.verify().await;
});

on_both!(an_unpaid_order_closes_when_its_time_is_over, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(1, 100, Some(5)).await;
    let id = placed(&app, &customer, &shop, 2).await;
    let never_tried = placed(&app, &customer, &shop, 1).await;
    let sheet = app.sheet(&customer, &id).await;
    app.advance(seconds(890));
    assert_eq!(order(&customer, &id).await["state"], "PendingPayment");
    app.advance(seconds(11));
    let customer = app.customer("小王").await;
    let closed = order_in(&customer, &id, "Closed").await;
    assert_eq!((&closed["close_reason"], &closed["tab"]), (&json!("timeout"), &json!("closed")));
    assert_ne!(closed["closed_at"], Value::Null);
    assert_eq!(order_in(&customer, &never_tried, "Closed").await["payment"], Value::Null);
    let owner = crate::steps::owner_again(&app).await;
    assert_eq!(available(&owner).await, 5);
    let number = text(&sheet["out_trade_no"]);
    wait_until("it is closed at WeChat", async || at_wechat(&app, number).state == TradeState::Closed).await;
    wait_until("its payment is closed", async || order(&customer, &id).await["payment"]["state"] == "Closed")
        .await;
    assert_eq!(app.sim.transactions().len(), 1);
    wait_until("the customer is told", async || titles(&customer).await.len() == 2).await;
    assert_eq!(titles(&customer).await, ["订单已关闭", "订单已关闭"]);
    let pay = customer.post_key(&format!("{}/pay", order_path(&id)), &key(), json!({})).await;
    refused(&pay, 409, "order_not_payable", "");
    app.verify().await;
});

on_both!(a_customer_closes_their_unpaid_order, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(1, 100, Some(5)).await;
    let id = placed(&app, &customer, &shop, 2).await;
    let sheet = app.sheet(&customer, &id).await;
    let close = format!("{}/close", order_path(&id));
    refused(&app.customer("小李").await.post(&close, json!({})).await, 404, "not_found", "");
    let closed = customer.post(&close, json!({})).await.expect(200);
    assert_eq!((&closed["state"], &closed["close_reason"]), (&json!("Closed"), &json!("customer")));
    let again = customer.post(&close, json!({})).await.expect(200);
    assert_eq!(again["closed_at"], closed["closed_at"]);
    assert_eq!(available(&owner).await, 5);
    let number = text(&sheet["out_trade_no"]);
    wait_until("it is closed at WeChat", async || at_wechat(&app, number).state == TradeState::Closed).await;
    let paid = app.buy(&customer, &shop, 1).await;
    let late = customer.post(&format!("{}/close", order_path(&paid.order)), json!({})).await;
    refused(&late, 409, "order_paid", "");
    let events = owner.get(&format!("/api/v1/merchant/orders/{id}")).await.expect(200)["events"].clone();
    let events: Vec<&str> = events.as_array().unwrap().iter().map(|e| text(&e["event"])).collect();
    assert_eq!(events, ["create", "close"]);
    app.verify().await;
});

on_both!(an_order_of_nothing_is_paid_at_once, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(2, 0, Some(5)).await;
    let made = app.order(&customer, &shop, 2).await.expect(201);
    assert_eq!((&made["state"], &made["pay_fen"]), (&json!("Paid"), &json!(0)));
    assert_eq!(
        (&made["payment"]["method"], &made["payment"]["state"]),
        (&json!("none"), &json!("Succeeded"))
    );
    let id = text(&made["id"]);
    let vouchers: Vec<&str> = made["vouchers"].as_array().unwrap().iter().map(|v| text(&v["id"])).collect();
    assert_eq!((vouchers.len(), available(&owner).await), (2, 3));
    let pay = customer.post_key(&format!("{}/pay", order_path(id)), &key(), json!({})).await;
    refused(&pay, 409, "order_paid", "");
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, vouchers[0], 1).await.expect(201);
    let refund = ask_refund(&customer, id, Value::Null, &key()).await.expect(201);
    assert_eq!((&refund["state"], &refund["amount_fen"]), (&json!("Succeeded"), &json!(0)));
    let done = order(&customer, id).await;
    assert_eq!((&done["units"]["refunded"], &done["units"]["used"]), (&json!(3), &json!(1)));
    assert_eq!(available(&owner).await, 4, "one whole voucher came back");
    assert!(app.sim.transactions().is_empty() && app.sim.refunds().is_empty());
    assert_eq!(balance(&owner, "customer_liability").await, 0);
    app.verify().await;
});

on_both!(uses_that_are_worth_nothing_go_back_without_wechat, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 1, Some(5)).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let verifier = app.verifier(&[shop.store]).await;
    let part = json!([{"voucher_id": voucher, "quantity": 1}]);
    let first = ask_refund(&customer, &bought.order, part, &key()).await.expect(201);
    assert_eq!(first["amount_fen"], 1);
    refund_in(&owner, text(&first["id"]), "Succeeded").await;
    verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    let rest = ask_refund(&customer, &bought.order, Value::Null, &key()).await.expect(201);
    assert_eq!((&rest["amount_fen"], &rest["state"]), (&json!(0), &json!("Succeeded")));
    assert_eq!(app.sim.refunds().len(), 1);
    app.verify().await;
});

on_both!(the_same_request_is_one_order, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(1, 100, Some(5)).await;
    let (asked, with_key) = (body(&shop, &[(&shop.sku, 2)]), key());
    let first = customer.post_key(ORDERS, &with_key, asked.clone()).await.expect(201);
    let again = customer.post_key(ORDERS, &with_key, asked.clone()).await.expect(200);
    assert_eq!((&again["id"], &again["number"]), (&first["id"], &first["number"]));
    let other = customer.post_key(ORDERS, &with_key, body(&shop, &[(&shop.sku, 1)])).await;
    refused(&other, 422, "idempotency_conflict", "");
    refused(&customer.post(ORDERS, asked.clone()).await, 400, "idempotency_key_required", "");
    assert_eq!(available(&owner).await, 3);
    // A key belongs to its customer, and a refusal gives it back.
    let stranger = app.customer("小李").await;
    let theirs = stranger.post_key(ORDERS, &with_key, asked.clone()).await.expect(201);
    assert_ne!(theirs["id"], first["id"]);
    let later = key();
    refused(&customer.post_key(ORDERS, &later, asked.clone()).await, 409, "out_of_stock", "");
    stranger.post(&format!("{}/close", order_path(text(&theirs["id"]))), json!({})).await.expect(200);
    customer.post_key(ORDERS, &later, asked).await.expect(201);
    app.verify().await;
});

on_both!(an_order_is_found_by_its_payments_number, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(1, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let path = format!("{ORDERS}/by-out-trade-no/{}", bought.out_trade_no);
    let found = customer.get(&path).await.expect(200);
    assert_eq!(found["id"], json!(bought.order));
    assert_ne!(found["qr"], Value::Null);
    refused(&app.customer("小李").await.get(&path).await, 404, "not_found", "");
    refused(&app.customer("小李").await.get(&order_path(&bought.order)).await, 404, "not_found", "");
    let number = text(&found["number"]);
    let owner = app.owner().await;
    let by_number = owner.get(&format!("/api/v1/merchant/orders?number={number}")).await.expect(200);
    assert_eq!((items(&by_number).len(), &items(&by_number)[0]["id"]), (1, &found["id"]));
    let seen = owner.get(&format!("/api/v1/merchant/orders/{}", bought.order)).await.expect(200);
    assert_eq!(seen["qr"], Value::Null, "only its customer shows it");
    app.verify().await;
});

/// Every list of a tab holds exactly the orders whose `tab` says so.
async fn tabs_agree(list: &Client, path: &str) -> BTreeMap<String, usize> {
    let all = list.get(&format!("{path}?limit=100")).await.expect(200);
    let mut by_tab: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in items(&all) {
        by_tab.entry(text(&row["tab"]).to_owned()).or_default().push(text(&row["id"]).to_owned());
    }
    for tab in ["unpaid", "to_redeem", "redeemed", "refunded", "after_sale", "closed"] {
        let rows = list.get(&format!("{path}?limit=100&tab={tab}")).await.expect(200);
        let ids: Vec<String> = items(&rows).iter().map(|row| text(&row["id"]).to_owned()).collect();
        assert_eq!(ids, by_tab.get(tab).cloned().unwrap_or_default(), "{path} {tab}");
    }
    by_tab.into_iter().map(|(tab, ids)| (tab, ids.len())).collect()
}

/// An order in each state that can be reached; the paid ones of three uses each.
async fn one_of_each(app: &TestApp, customer: &Client, owner: &Client, shop: &Shop) -> Vec<String> {
    let verifier = app.verifier(&[shop.store]).await;
    placed(app, customer, shop, 1).await;
    let closed = placed(app, customer, shop, 1).await;
    customer.post(&format!("{}/close", order_path(&closed)), json!({})).await.expect(200);
    let mut ids = Vec::new();
    // (uses redeemed, uses refunded) of three; the last one's refund stays under way.
    for (used, refunded) in [(0, 0), (1, 0), (3, 0), (0, 1), (1, 1), (2, 1), (0, 3), (1, 2)] {
        let bought = app.buy(customer, shop, 1).await;
        let voucher = &bought.vouchers[0];
        if used > 0 {
            verifier.redeem(app, customer, shop.store, voucher, used).await.expect(201);
        }
        if refunded > 0 {
            let last = (used, refunded) == (1, 2);
            app.sim.set_refund_delay(seconds(if last { 3600 } else { 0 }));
            let items = json!([{"voucher_id": voucher, "quantity": refunded}]);
            let asked = ask_refund(customer, &bought.order, items, &key()).await.expect(201);
            refund_in(owner, text(&asked["id"]), if last { "Processing" } else { "Succeeded" }).await;
        }
        ids.push(bought.order);
    }
    ids
}

on_both!(tabs_in_sql_are_the_tabs_of_the_rule, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 100, None).await;
    let ids = one_of_each(&app, &customer, &owner, &shop).await;
    let expected =
        [("after_sale", 1), ("closed", 1), ("redeemed", 2), ("refunded", 1), ("to_redeem", 4), ("unpaid", 1)];
    let expected: BTreeMap<String, usize> = expected.into_iter().map(|(t, n)| (t.to_owned(), n)).collect();
    let lists = [(&customer, ORDERS), (&owner, "/api/v1/merchant/orders"), (&owner, "/api/v1/staff/orders")];
    for (client, path) in lists {
        assert_eq!(tabs_agree(client, path).await, expected, "{path}");
    }
    for state in ["Grouping", "Refunding"] {
        for id in &ids {
            damage_order(&app, &format!("state = '{state}'"), id).await;
        }
        for (client, path) in lists {
            tabs_agree(client, path).await;
        }
    }
    for id in &ids {
        damage_order(&app, "state = 'Paid'", id).await;
    }
    refused(&customer.get(&format!("{ORDERS}?tab=nonsense")).await, 400, "invalid_field", "tab");
    app.verify().await;
});
