//! Time comes while people act: a process whose clock is ahead lets vouchers expire and uses mature, while the others
//! still redeem, refund and undo.

use std::time::Duration;

use hexiao_app::App;
use hexiao_testkit::{Answer, Backend, Bought, Client, Shop};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{CONFIRM, World, at_once, confirm_body, everywhere, fresh_key, jitter, seeds};

everywhere!(a_use_ends_once, a_use_ends_once);
everywhere!(undone_or_earned, undone_or_earned);

/// One who acts, boxed so that all are of one kind: an answer, or nothing from the clock.
type Racer = std::pin::Pin<Box<dyn Future<Output = Option<Answer>> + Send>>;

fn request(client: Client, path: String, body: serde_json::Value) -> Racer {
    Box::pin(async move { Some(client.post_key(&path, &fresh_key(), body).await) })
}

/// The people who act, and what there is to act on.
struct Scene<'w> {
    world: &'w World,
    shop: Shop,
    customer: Client,
    verifiers: Vec<Client>,
    /// The process whose clock is two months ahead.
    later: App,
}

impl<'w> Scene<'w> {
    async fn new(world: &'w World, terms: serde_json::Value) -> Self {
        let store = world.app.store("人民广场店").await;
        let mut sku = json!({"name": "次卡", "price_fen": 1001, "uses": 3, "validity": {"days": 30}});
        sku.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
        Self {
            shop: world.app.shop_in(store, sku).await,
            customer: world.app.customer("wang").await,
            verifiers: world.verifiers(store, 3).await,
            later: world.app.ahead(Duration::from_hours(24 * 60)).await,
            world,
        }
    }

    async fn buy(&self) -> Bought {
        self.world.app.buy(&self.customer, &self.shop, 1).await
    }

    async fn redeem(&self, n: usize, bought: &Bought, quantity: u32) -> Racer {
        let qr = self.world.app.voucher(&self.customer, &bought.vouchers[0]).await["qr"].clone();
        let client = self.world.at(&self.verifiers[n % self.verifiers.len()], n);
        let prepared = client.prepare(self.shop.store, &qr).await.expect(200);
        let body = confirm_body(self.shop.store, &prepared, &bought.vouchers[0], quantity);
        request(client, CONFIRM.to_owned(), body)
    }

    fn refund(&self, n: usize, bought: &Bought, quantity: u32) -> Racer {
        let items = json!([{"voucher_id": bought.vouchers[0], "quantity": quantity}]);
        let path = format!("/api/v1/customer/orders/{}/refunds", bought.order);
        request(self.world.at(&self.customer, n), path, json!({"reason": "不想要了", "items": items}))
    }

    fn undo(&self, n: usize, redemption: &str) -> Racer {
        let path = format!("/api/v1/staff/redemptions/{redemption}/reverse");
        request(self.world.at(&self.verifiers[0], n), path, json!({"reason": "扫错了"}))
    }

    fn expire(&self) -> Racer {
        let later = self.later.clone();
        Box::pin(async move {
            later.expire_vouchers().await.unwrap();
            None
        })
    }

    fn mature(&self) -> Racer {
        let later = self.later.clone();
        Box::pin(async move {
            later.mature_uses().await.unwrap();
            None
        })
    }
}

/// Whoever comes first waits a little longer the next time, so that both come at once.
#[derive(Default)]
struct Handicap(i32);

impl Handicap {
    fn pause(&self, clock: bool) -> Duration {
        let ms = if clock { -self.0 } else { self.0 };
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    fn after(&mut self, people_won: bool) {
        self.0 += if people_won { 1 } else { -1 };
    }
}

async fn a_use_ends_once(world: &World) {
    let rules = [json!({}), json!({"refund": "before_expiry"})];
    let scenes = [Scene::new(world, rules[0].clone()).await, Scene::new(world, rules[1].clone()).await];
    let (mut people, mut time) = (0, 0);
    let mut handicap = Handicap::default();
    for seed in 0..seeds(50).div_ceil(2) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scene = &scenes[usize::try_from(seed % 2).unwrap()];
        let bought = scene.buy().await;
        let done = scene.redeem(0, &bought, 1).await.await.unwrap().expect(201);
        let redemption = done["id"].as_str().unwrap().to_owned();
        let mut racers: Vec<(Duration, Racer)> = Vec::new();
        racers.push((handicap.pause(true) + jitter(&mut rng, 4), scene.expire()));
        racers.push((handicap.pause(false) + jitter(&mut rng, 4), scene.redeem(1, &bought, 1).await));
        racers.push((handicap.pause(false) + jitter(&mut rng, 4), scene.refund(2, &bought, 1)));
        if rng.random_bool(0.5) {
            racers.push((jitter(&mut rng, 8), scene.undo(3, &redemption)));
            racers.push((jitter(&mut rng, 8), scene.expire()));
        }
        let answers: Vec<Answer> = at_once(racers).await.into_iter().flatten().collect();
        for answer in &answers {
            let codes =
                ["expired", "used_up", "refund_pending", "not_refundable", "not_enough_uses", "refunded"];
            let fine = answer.status < 300 || (answer.status == 409 && codes.contains(&answer.code()));
            assert!(fine, "seed {seed}: {} {}", answer.status, answer.body);
        }
        let won = answers[..2].iter().any(|a| a.status == 201);
        let winner = if won { &mut people } else { &mut time };
        *winner += 1;
        handicap.after(won);
        // Whatever came free meanwhile is settled in the end: nothing is left, and every use went one way.
        scene.later.expire_vouchers().await.unwrap();
        let after = world.app.voucher(&scene.customer, &bought.vouchers[0]).await;
        let sum: i64 =
            ["used", "locked", "refunded", "forfeited"].iter().map(|n| after[n].as_i64().unwrap()).sum();
        assert_eq!((sum, &after["remaining"]), (3, &json!(0)), "seed {seed}: {after}");
    }
    assert!(seeds(50) < 50 || (people > 0 && time > 0), "{people} by people, {time} by time");
}

async fn undone_or_earned(world: &World) {
    let scene = Scene::new(world, json!({})).await;
    let (mut undone, mut earned) = (0, 0);
    let mut handicap = Handicap::default();
    for seed in 0..seeds(50).div_ceil(2) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bought = scene.buy().await;
        let done = scene.redeem(0, &bought, 2).await.await.unwrap().expect(201);
        let redemption = done["id"].as_str().unwrap().to_owned();
        let racers = vec![
            (handicap.pause(true) + jitter(&mut rng, 4), scene.mature()),
            (handicap.pause(false) + jitter(&mut rng, 4), scene.undo(1, &redemption)),
            (jitter(&mut rng, 8), scene.mature()),
        ];
        let answers: Vec<Answer> = at_once(racers).await.into_iter().flatten().collect();
        let won = answers[0].status == 200;
        assert!(won || answers[0].code() == "undo_settled", "seed {seed}: {}", answers[0].body);
        let events = world.ledger(&bought.order).await;
        let mut expected = [if won { "reversal" } else { "maturity" }, "payment", "redemption"];
        expected.sort_unstable();
        assert_eq!(events, expected, "seed {seed}");
        let winner = if won { &mut undone } else { &mut earned };
        *winner += 1;
        handicap.after(won);
    }
    assert!(seeds(50) < 50 || (undone > 0 && earned > 0), "{undone} undone, {earned} earned");
}
