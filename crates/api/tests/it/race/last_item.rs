//! The last items of a product, and a customer's limit, ordered by many at once.

use std::time::Duration;

use hexiao_testkit::{Answer, Backend, Client, Shop};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{World, at_once, count, everywhere, fresh_key, in_one_process, jitter, told};

const ORDERS: &str = "/api/v1/customer/orders";

everywhere!(go_to_ten_of_200_customers, go_to_ten_of_200_customers);
everywhere!(go_with_all_lines_or_none, go_with_all_lines_or_none);
in_one_process!(a_limit_holds_for_orders_at_once, a_limit_holds_for_orders_at_once);
everywhere!(one_customer_has_twenty_unpaid_orders, one_customer_has_twenty_unpaid_orders);

fn line(shop: &Shop, quantity: u32) -> Value {
    json!({"sku_id": shop.sku, "quantity": quantity})
}

fn body(shop: &Shop, lines: &[Value]) -> Value {
    json!({"store_id": shop.store, "lines": lines})
}

async fn customers(world: &World, n: usize) -> Vec<Client> {
    let mut all = Vec::new();
    for i in 0..n {
        all.push(world.app.customer(&format!("c{i}")).await);
    }
    all
}

async fn order_at_once(world: &World, wanted: Vec<(Client, Value)>, below_ms: u64) -> Vec<Answer> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut racers = Vec::new();
    for (n, (customer, body)) in wanted.into_iter().enumerate() {
        let client = world.at(&customer, n);
        let pause = if below_ms == 0 { Duration::ZERO } else { jitter(&mut rng, below_ms) };
        racers.push((pause, async move { client.post_key(ORDERS, &fresh_key(), body).await }));
    }
    at_once(racers).await
}

async fn go_to_ten_of_200_customers(world: &World) {
    let shop = world.app.shop(1, 900, Some(10)).await;
    let customers = customers(world, 200).await;
    let wanted = customers.iter().map(|c| (c.clone(), body(&shop, &[line(&shop, 1)]))).collect();
    let answers = order_at_once(world, wanted, 0).await;
    assert_eq!(
        (count(&answers, 201, ""), count(&answers, 409, "out_of_stock")),
        (10, 190),
        "{:?}",
        told(&answers)
    );
    for answer in answers.iter().filter(|a| a.status == 409) {
        let fields = answer.body["error"]["fields"].as_array().unwrap();
        assert_eq!((fields.len(), &fields[0]["path"]), (1, &json!("lines[0].quantity")), "{}", answer.body);
        assert_eq!(fields[0]["message"], "「双人套餐」仅剩 0 份", "{}", answer.body);
    }
    assert_eq!(world.stock(&shop.sku).await, (10, 10));
    // What the ten give back, ten others get: nothing was lost on the way.
    let mut racers = Vec::new();
    for (n, (customer, answer)) in customers.iter().zip(&answers).filter(|(_, a)| a.status == 201).enumerate()
    {
        let (client, id) = (world.at(customer, n), answer.body["id"].as_str().unwrap().to_owned());
        racers.push((Duration::ZERO, async move {
            client.post(&format!("{ORDERS}/{id}/close"), json!({})).await
        }));
    }
    assert_eq!(count(&at_once(racers).await, 200, ""), 10);
    assert_eq!(world.stock(&shop.sku).await, (10, 0));
}

/// Two products, orders for both in either order of lines and for one alone: no half orders, no deadlock.
async fn go_with_all_lines_or_none(world: &World) {
    let plenty = world.app.shop(1, 900, Some(12)).await;
    let scarce = {
        let sku = json!({"name": "单人", "price_fen": 500, "stock": 7, "uses": 1, "validity": {"days": 30}});
        world.app.shop_in(plenty.store, sku).await
    };
    let customers = customers(world, 20).await;
    let mut wanted = Vec::new();
    for n in 0..60 {
        let lines = match n % 4 {
            0 | 1 => vec![line(&plenty, 1), line(&scarce, 1)],
            2 => vec![line(&scarce, 1), line(&plenty, 1)],
            _ => vec![line(&plenty, 2), line(&scarce, 50)],
        };
        wanted.push((customers[n % 20].clone(), body(&plenty, &lines)));
    }
    wanted.retain(|(_, body)| body["lines"][1]["quantity"] != 50);
    let too_much = body(&plenty, &[line(&plenty, 2), line(&scarce, 9)]);
    wanted.extend(customers.iter().map(|c| (c.clone(), too_much.clone())));
    let answers = order_at_once(world, wanted, 3).await;
    let total = answers.len();
    assert_eq!(
        (count(&answers, 201, ""), count(&answers, 409, "out_of_stock")),
        (7, total - 7),
        "{:?}",
        told(&answers)
    );
    assert_eq!(
        world.stock(&plenty.sku).await,
        (12, 7),
        "an order without its scarce line reserved the other"
    );
    assert_eq!(world.stock(&scarce.sku).await, (7, 7));
    let refused = &answers[total - 1];
    let paths: Vec<&str> = refused.body["error"]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["lines[1].quantity"], "{}", refused.body);
}

async fn a_limit_holds_for_orders_at_once(world: &World) {
    let store = world.app.store("人民广场店").await;
    let sku = json!({"name": "特价", "price_fen": 100, "stock": 100, "uses": 1, "validity": {"days": 30}, "per_customer_limit": 3});
    let shop = world.app.shop_in(store, sku).await;
    for round in 0..5 {
        let customer = world.app.customer(&format!("c{round}")).await;
        let wanted = (0..10).map(|_| (customer.clone(), body(&shop, &[line(&shop, 1)]))).collect();
        let answers = order_at_once(world, wanted, 2).await;
        assert_eq!(
            (count(&answers, 201, ""), count(&answers, 409, "purchase_limit")),
            (3, 7),
            "{:?}",
            told(&answers)
        );
        assert_eq!(world.stock(&shop.sku).await, (100, 3 * (round + 1)));
    }
}

/// 64 orders of one customer at once, while others order the same; some rounds begin with orders already open.
async fn one_customer_has_twenty_unpaid_orders(world: &World) {
    let shop = world.app.shop(1, 100, Some(10_000)).await;
    let one = || body(&shop, &[line(&shop, 1)]);
    for round in 0..3 {
        let customer = world.app.customer(&format!("eager{round}")).await;
        let other = world.app.customer(&format!("calm{round}")).await;
        let open = 7 * round;
        for _ in 0..open {
            customer.post_key(ORDERS, &fresh_key(), one()).await.expect(201);
        }
        let mut wanted: Vec<_> = (0..64).map(|_| (customer.clone(), one())).collect();
        wanted.extend((0..10).map(|_| (other.clone(), one())));
        let answers = order_at_once(world, wanted, 2).await;
        let (eager, calm) = answers.split_at(64);
        assert_eq!(
            (count(eager, 201, ""), count(eager, 409, "too_many_unpaid")),
            (20 - open, 44 + open),
            "{:?}",
            told(eager)
        );
        assert_eq!(count(calm, 201, ""), 10, "{:?}", told(calm));
        let unpaid = customer.get(&format!("{ORDERS}?tab=unpaid&limit=100")).await.expect(200);
        assert_eq!(unpaid["items"].as_array().unwrap().len(), 20);
    }
}
