//! The same idempotency key, sent many times at once: one effect, one answer; with another body it is refused.

use std::time::Duration;

use hexiao_testkit::{Answer, Backend, Client, wait_until};
use serde_json::{Value, json};

use super::{CONFIRM, World, at_once, confirm_body, count, everywhere, fresh_key, told};

const TIMES: usize = 20;
const ORDERS: &str = "/api/v1/customer/orders";

everywhere!(does_it_once, does_it_once);
everywhere!(with_two_bodies_does_one_of_them, with_two_bodies_does_one_of_them);

/// The same request many times at once.
async fn again_and_again(world: &World, client: &Client, path: &str, key: &str, body: &Value) -> Vec<Answer> {
    let mut racers = Vec::new();
    for n in 0..TIMES {
        let (client, path, key, body) = (world.at(client, n), path.to_owned(), key.to_owned(), body.clone());
        racers.push((Duration::ZERO, async move { client.post_key(&path, &key, body).await }));
    }
    at_once(racers).await
}

/// One was the first and all others are told the same.
fn once(answers: &[Answer], first: u16) -> Value {
    let firsts = answers.iter().filter(|a| a.status == first && a.body["replayed"] != true).count();
    let replays = answers.iter().filter(|a| a.status == 200 && a.body["replayed"] != false).count();
    if first == 201 {
        assert_eq!((firsts, replays), (1, TIMES - 1), "{:?}", told(answers));
    } else {
        assert_eq!(count(answers, 200, ""), TIMES, "{:?}", told(answers));
    }
    let id = &answers[0].body["id"];
    assert!(answers.iter().all(|a| a.body["id"] == *id), "{answers:?}");
    id.clone()
}

async fn conflicts(world: &World, client: &Client, path: &str, key: &str, body: &Value) {
    let answers = again_and_again(world, client, path, key, body).await;
    assert_eq!(count(&answers, 422, "idempotency_conflict"), TIMES, "{path} {:?}", told(&answers));
}

async fn does_it_once(world: &World) {
    let app = &world.app;
    let shop = app.shop(3, 1001, Some(50)).await;
    let (store, verifier) = (shop.store, app.verifier(&[shop.store]).await);
    let customer = app.customer("wang").await;

    let order_body =
        |quantity: u32| json!({"store_id": store, "lines": [{"sku_id": shop.sku, "quantity": quantity}]});
    let order_key = fresh_key();
    let answers = again_and_again(world, &customer, ORDERS, &order_key, &order_body(2)).await;
    let order = once(&answers, 201).as_str().unwrap().to_owned();
    conflicts(world, &customer, ORDERS, &order_key, &order_body(3)).await;
    assert_eq!(world.stock(&shop.sku).await, (50, 2));
    let other = app.order(&customer, &shop, 1).await.expect(201)["id"].as_str().unwrap().to_owned();

    let pay_key = fresh_key();
    let answers =
        again_and_again(world, &customer, &format!("{ORDERS}/{order}/pay"), &pay_key, &json!({})).await;
    assert_eq!(count(&answers, 200, ""), TIMES, "{:?}", told(&answers));
    let sheet = answers[0].body.clone();
    assert!(answers.iter().all(|a| a.body["payment_id"] == sheet["payment_id"]), "{answers:?}");
    conflicts(world, &customer, &format!("{ORDERS}/{other}/pay"), &pay_key, &json!({})).await;
    assert_eq!(app.sim.transactions().len(), 1);
    app.pay(&sheet);
    let path = format!("{ORDERS}/{order}");
    wait_until("the order is paid", async || customer.get(&path).await.body["state"] == "Paid").await;
    let vouchers = customer.get(&path).await.expect(200)["vouchers"].clone();
    assert_eq!(vouchers.as_array().unwrap().len(), 2);
    let voucher = vouchers[0]["id"].as_str().unwrap();

    let qr = app.voucher(&customer, voucher).await["qr"].clone();
    let prepared = verifier.prepare(store, &qr).await.expect(200);
    let confirm_key = fresh_key();
    let body = confirm_body(store, &prepared, voucher, 1);
    let answers = again_and_again(world, &verifier, CONFIRM, &confirm_key, &body).await;
    let redemption = once(&answers, 201).as_str().unwrap().to_owned();
    let more = confirm_body(store, &prepared, voucher, 2);
    conflicts(world, &verifier, CONFIRM, &confirm_key, &more).await;
    assert_eq!(app.voucher(&customer, voucher).await["used"], 1);

    let reverse_key = fresh_key();
    let reverse = format!("{CONFIRM}/{redemption}/reverse");
    let answers =
        again_and_again(world, &verifier, &reverse, &reverse_key, &json!({"reason": "点错了"})).await;
    once(&answers, 200);
    assert_eq!(answers.iter().filter(|a| a.body["replayed"] == false).count(), 1, "{answers:?}");
    let named = json!({"reason": "点错了", "items": [{"voucher_id": voucher, "serials": [1]}]});
    conflicts(world, &verifier, &reverse, &reverse_key, &named).await;
    assert_eq!(app.voucher(&customer, voucher).await["used"], 0);

    let refund_key = fresh_key();
    let refunds = format!("{ORDERS}/{order}/refunds");
    let body = |quantity: u32| json!({"reason": "不想要了", "items": [{"voucher_id": voucher, "quantity": quantity}]});
    let answers = again_and_again(world, &customer, &refunds, &refund_key, &body(1)).await;
    let refund = once(&answers, 201);
    conflicts(world, &customer, &refunds, &refund_key, &body(2)).await;
    let found = customer.get(&path).await.expect(200);
    assert_eq!((found["refunds"].as_array().unwrap().len(), &found["refunds"][0]["id"]), (1, &refund));
    let after = app.voucher(&customer, voucher).await;
    assert_eq!(after["locked"].as_i64().unwrap() + after["refunded"].as_i64().unwrap(), 1);
    let ledger = world.ledger(&order).await;
    for event in ["payment", "redemption", "reversal"] {
        assert_eq!(ledger.iter().filter(|e| *e == event).count(), 1, "{ledger:?}");
    }
}

/// Half of the callers ask one thing and half another, under one key: one of the two is done, once.
async fn with_two_bodies_does_one_of_them(world: &World) {
    let app = &world.app;
    let shop = app.shop(1, 1001, Some(500)).await;
    let (store, verifier) = (shop.store, app.verifier(&[shop.store]).await);
    let customer = app.customer("wang").await;
    for round in 0..4 {
        let bodies = [1, 2].map(
            |quantity| json!({"store_id": store, "lines": [{"sku_id": shop.sku, "quantity": quantity}]}),
        );
        let before = world.stock(&shop.sku).await;
        let done = one_of_two(world, &customer, ORDERS, &bodies).await;
        let quantity = done["lines"][0]["quantity"].as_i64().unwrap();
        assert_eq!(world.stock(&shop.sku).await, (before.0, before.1 + quantity), "round {round}");

        // Two vouchers of two orders: no lock that both requests take decides here, only the key itself.
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let voucher = app.buy(&customer, &shop, 1).await.vouchers.remove(0);
            let qr = app.voucher(&customer, &voucher).await["qr"].clone();
            let prepared = verifier.prepare(store, &qr).await.expect(200);
            bodies.push(confirm_body(store, &prepared, &voucher, 1));
        }
        let done = one_of_two(world, &verifier, CONFIRM, &[bodies[0].clone(), bodies[1].clone()]).await;
        for body in &bodies {
            let voucher = &body["items"][0]["voucher_id"];
            let used = u32::from(done["results"][0]["voucher_id"] == *voucher);
            assert_eq!(
                app.voucher(&customer, voucher.as_str().unwrap()).await["used"],
                used,
                "round {round}"
            );
        }
    }
}

async fn one_of_two(world: &World, client: &Client, path: &str, bodies: &[Value; 2]) -> Value {
    let key = fresh_key();
    let mut racers = Vec::new();
    for n in 0..TIMES {
        // Both bodies reach both servers.
        let (client, path, key, body) =
            (world.at(client, n / 2), path.to_owned(), key.clone(), bodies[n % 2].clone());
        racers.push((Duration::ZERO, async move { client.post_key(&path, &key, body).await }));
    }
    let answers = at_once(racers).await;
    let counts =
        (count(&answers, 201, ""), count(&answers, 200, ""), count(&answers, 422, "idempotency_conflict"));
    assert_eq!(counts, (1, TIMES / 2 - 1, TIMES / 2), "{:?}", told(&answers));
    let first = answers.iter().position(|a| a.status == 201).unwrap();
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status == 422, n % 2 != first % 2, "{:?}", told(&answers));
        assert!(answer.status == 422 || answer.body["id"] == answers[first].body["id"], "{}", answer.body);
    }
    answers[first].body.clone()
}
