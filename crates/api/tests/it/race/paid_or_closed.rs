//! A payment comes in while its order is closed: the order is paid, or it stays closed and the money goes back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hexiao_testkit::{Backend, Client, Shop, wait_until};
use hexiao_wechat_sim::{Fault, FaultAction, NotificationKind, PayArgs, TradeState};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{World, at_once, in_one_process, jitter};

const ORDERS: usize = 40;

in_one_process!(when_its_customer_closes_it, when_its_customer_closes_it);
in_one_process!(when_its_time_is_over, when_its_time_is_over);

/// An order with an open payment sheet.
struct Unpaid {
    customer: Client,
    path: String,
    sheet: Value,
    expires_at: DateTime<Utc>,
}

async fn unpaid(world: &World, shop: &Shop) -> Vec<Unpaid> {
    let mut all = Vec::new();
    for n in 0..ORDERS {
        let customer = world.app.customer(&format!("c{n}")).await;
        let order = world.app.order(&customer, shop, 1).await.expect(201);
        let id = order["id"].as_str().unwrap();
        let sheet = world.app.sheet(&customer, id).await;
        let expires_at = order["expires_at"].as_str().unwrap().parse().unwrap();
        all.push(Unpaid { customer, path: format!("/api/v1/customer/orders/{id}"), sheet, expires_at });
    }
    all
}

fn pay_args(sheet: &Value) -> PayArgs {
    PayArgs {
        out_trade_no: sheet["out_trade_no"].as_str().unwrap().to_owned(),
        openid: None,
        request_payment: Some(sheet["request_payment"].clone()),
    }
}

/// WeChat's callbacks come when the test sends them and not before.
fn hold_callbacks(world: &World) {
    let late = FaultAction::Late { delay_ms: 7_200_000 };
    world.app.sim.set_fault(Fault::new(late).kind("transaction").times(None)).unwrap();
}

/// Sends the callback of a payment, if it was paid.
async fn callback(sim: hexiao_wechat_sim::Sim, out_trade_no: String) {
    let of_order = |n: &hexiao_wechat_sim::NotificationRecord| {
        n.kind == NotificationKind::Transaction && n.out_trade_no == out_trade_no
    };
    if let Some(notification) = sim.notifications().into_iter().find(of_order) {
        let delivery = sim.resend(&notification.id).await.unwrap();
        assert!(delivery.accepted(), "{delivery:?}");
    }
}

async fn when_its_customer_closes_it(world: &World) {
    let app = &world.app;
    let shop = app.shop(1, 1001, Some(100)).await;
    let orders = unpaid(world, &shop).await;
    hold_callbacks(world);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut racers: Vec<(Duration, futures::future::BoxFuture<'static, u16>)> = Vec::new();
    for (n, order) in orders.iter().enumerate() {
        let (sim, args) = (app.sim.sim().clone(), pay_args(&order.sheet));
        // Half were paid before and their callback races; of the others the payment itself races.
        let paid_before = n % 2 == 0;
        if paid_before {
            sim.pay(args.clone()).unwrap();
        }
        let pause = jitter(&mut rng, 60);
        racers.push((
            pause,
            Box::pin(async move {
                let number = args.out_trade_no.clone();
                if paid_before || sim.pay(args).is_ok() {
                    callback(sim, number).await;
                }
                200
            }),
        ));
        // Two closes: the second must not release anything again.
        for _ in 0..2 {
            let (client, path) = (order.customer.clone(), format!("{}/close", order.path));
            let close = async move { client.post(&path, json!({})).await.status };
            racers.push((pause.saturating_sub(jitter(&mut rng, 6)) + jitter(&mut rng, 250), Box::pin(close)));
        }
    }
    let answers = at_once(racers).await;
    assert!(answers.iter().all(|status| [200, 409].contains(status)), "{answers:?}");
    paid_or_refunded(world, &shop, &orders).await;
}

async fn when_its_time_is_over(world: &World) {
    let app = &world.app;
    let shop = app.shop(1, 1001, Some(100)).await;
    let orders = unpaid(world, &shop).await;
    hold_callbacks(world);
    let left = orders[0].expires_at - app.sim.now();
    app.advance(left.to_std().unwrap().saturating_sub(Duration::from_secs(3)));
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut racers: Vec<(Duration, futures::future::BoxFuture<'static, ()>)> = Vec::new();
    for order in &orders {
        let (sim, args) = (app.sim.sim().clone(), pay_args(&order.sheet));
        let over = (order.expires_at - app.sim.now()).to_std().unwrap();
        // In the last moment (WeChat's deadline has no fractions of a second) …
        let paid = over.saturating_sub(Duration::from_millis(1050));
        let on_the_way = Duration::from_millis(rng.random_range(950..1090));
        racers.push((
            paid,
            Box::pin(async move {
                let number = args.out_trade_no.clone();
                if sim.pay(args).is_ok() {
                    tokio::time::sleep(on_the_way).await;
                    callback(sim, number).await;
                }
            }),
        ));
        // … and two workers who look for what is over, beside the server's own.
        for _ in 0..2 {
            let app = app.app.clone();
            let close = async move {
                app.close_expired_orders(3).await.unwrap();
            };
            racers.push((over + Duration::from_millis(rng.random_range(0..25)), Box::pin(close)));
        }
    }
    at_once(racers).await;
    // The access tokens are over as well.
    world.owner_signs_in_again().await;
    let mut signed_in = orders;
    for (n, order) in signed_in.iter_mut().enumerate() {
        order.customer = app.customer(&format!("c{n}")).await;
    }
    paid_or_refunded(world, &shop, &signed_in).await;
}

async fn paid_or_refunded(world: &World, shop: &Shop, orders: &[Unpaid]) {
    let app = &world.app;
    app.app.wake.notify_one();
    let (mut paid, mut returned, mut unpaid) = (0, 0, 0);
    for order in orders {
        let number = order.sheet["out_trade_no"].as_str().unwrap();
        let settled = async || {
            let found = order.customer.get(&order.path).await.expect(200);
            let at_wechat = app.sim.transaction(number).unwrap().state;
            match (found["state"].as_str().unwrap(), at_wechat) {
                ("Paid", _) => true,
                ("Closed", TradeState::Success | TradeState::Refund) => {
                    found["refunds"][0]["state"] == "Succeeded"
                }
                ("Closed", TradeState::Closed) => found["payment"]["state"] == "Closed",
                _ => false,
            }
        };
        wait_until("the order is paid, or closed and its money back", settled).await;
        let found = order.customer.get(&order.path).await.expect(200);
        let vouchers = found["vouchers"].as_array().unwrap().len();
        let refunds = found["refunds"].as_array().unwrap();
        let ledger = world.ledger(found["id"].as_str().unwrap()).await;
        if found["state"] == "Paid" {
            paid += 1;
            assert_eq!((vouchers, refunds.len()), (1, 0), "{found}");
            assert_eq!(ledger, ["payment"]);
        } else if refunds.is_empty() {
            unpaid += 1;
            assert_eq!((vouchers, ledger.len()), (0, 0), "{found}");
        } else {
            returned += 1;
            assert_eq!((vouchers, refunds.len()), (0, 1), "{found}");
            assert_eq!(
                (&refunds[0]["cause"], &refunds[0]["amount_fen"]),
                (&json!("late_payment"), &json!(1001))
            );
            assert_eq!(ledger, ["late_payment", "late_refund_submitted", "refund_succeeded"]);
        }
    }
    assert_eq!(world.stock(&shop.sku).await, (100 - paid, 0));
    eprintln!("{paid} paid, {returned} closed and returned, {unpaid} closed unpaid");
    assert!(
        paid > 0 && returned > 0,
        "no race: {paid} paid, {returned} closed and returned, {unpaid} unpaid"
    );
}
