//! A backfill that waits, decided by several at once while the voucher is redeemed at the counter.

use hexiao_testkit::{Backend, Client};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{
    CONFIRM, World, at_once, confirm_body, count, everywhere, fresh_key, in_one_process, jitter, seeds, told,
};

everywhere!(is_decided_once, is_decided_once);
in_one_process!(is_recorded_once_and_within_what_one_may, is_recorded_once_and_within_what_one_may);

const BACKFILL: &str = "/api/v1/staff/redemptions/backfill";

async fn policy(world: &World, uses: u32) {
    let body = json!({"free_uses": uses, "free_amount_fen": 100_000_000});
    world.owner().put("/api/v1/merchant/backfill-policy", body).await.expect(200);
}

fn body(world: &World, store: hexiao_core::id::StoreId, qr: &Value) -> Value {
    json!({"store_id": store, "input": {"qr": qr}, "reason": "断网", "occurred_at": world.app.app.now().to_string()})
}

/// Two approve, one rejects, who asked takes it back, and a colleague redeems the only use.
async fn is_decided_once(world: &World) {
    let app = &world.app;
    let shop = app.shop(1, 1001, None).await;
    policy(world, 0).await;
    let (verifier, colleague) = (app.verifier(&[shop.store]).await, app.verifier(&[shop.store]).await);
    let (first, second) = (app.manager(&[shop.store]).await, app.manager(&[shop.store]).await);
    let customer = app.customer("wang").await;
    for seed in 0..seeds(20) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bought = app.buy(&customer, &shop, 1).await;
        let voucher = &bought.vouchers[0];
        let qr = app.voucher(&customer, voucher).await["qr"].clone();
        let waits = verifier.post_key(BACKFILL, &fresh_key(), body(world, shop.store, &qr)).await.expect(202);
        let id = waits["backfill"]["id"].as_str().unwrap().to_owned();
        let prepared = colleague.prepare(shop.store, &qr).await.expect(200);
        let approve = format!("/api/v1/merchant/backfills/{id}/approve");
        let requests: Vec<(Client, String, Value)> = vec![
            (first.clone(), approve.clone(), json!({})),
            (second.clone(), approve, json!({})),
            (second.clone(), format!("/api/v1/merchant/backfills/{id}/reject"), json!({"reason": "不对"})),
            (verifier.clone(), format!("/api/v1/staff/backfills/{id}/withdraw"), json!({})),
            (colleague.clone(), CONFIRM.to_owned(), confirm_body(shop.store, &prepared, voucher, 1)),
        ];
        let racers = requests.into_iter().enumerate().map(|(n, (client, path, body))| {
            let client = world.at(&client, n);
            (jitter(&mut rng, 6), async move { client.post_key(&path, &fresh_key(), body).await })
        });
        let answers = at_once(racers.collect()).await;
        let about = || format!("seed {seed}: {:?}", told(&answers));
        assert!(answers.iter().all(|a| matches!(a.status, 200 | 201 | 409)), "{}", about());
        let list = world.owner().get("/api/v1/merchant/backfills?limit=1").await.expect(200);
        let state = list["items"][0]["state"].as_str().unwrap().to_owned();
        let approved = answers[..2].iter().filter(|a| a.status == 200).count();
        let fresh = answers[..2].iter().filter(|a| a.status == 200 && a.body["replayed"] == false).count();
        let expected = match (fresh, answers[2].status, answers[3].status) {
            (1, 409, 409) => "Approved",
            (0, 200, 409) => "Rejected",
            (0, 409, 200) => "Withdrawn",
            other => panic!("{other:?} {}", about()),
        };
        assert_eq!((state.as_str(), approved > 0), (expected, fresh == 1), "{}", about());
        let redeemed = fresh + count(&answers[4..], 201, "");
        assert!(redeemed <= 1 && (fresh == 1 || redeemed == 1), "{}", about());
        assert_eq!(app.voucher(&customer, voucher).await["used"], redeemed, "{}", about());
    }
}

/// Small ones sent at once, some of them twice: together they stay within what one person may record alone.
async fn is_recorded_once_and_within_what_one_may(world: &World) {
    let app = &world.app;
    let shop = app.shop(1, 1001, None).await;
    let customer = app.customer("wang").await;
    for seed in 0..seeds(8) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let most = rng.random_range(1..=4);
        policy(world, most).await;
        let verifier = app.verifier(&[shop.store]).await;
        let bought = app.buy(&customer, &shop, 6).await;
        let mut requests: Vec<(String, Value)> = Vec::new();
        for voucher in &bought.vouchers {
            let qr = app.voucher(&customer, voucher).await["qr"].clone();
            requests.push((fresh_key(), body(world, shop.store, &qr)));
        }
        requests.extend_from_within(..3);
        let racers = requests.into_iter().map(|(key, body)| {
            let client = verifier.clone();
            (jitter(&mut rng, 4), async move { client.post_key(BACKFILL, &key, body).await })
        });
        let answers = at_once(racers.collect()).await;
        let about = || format!("seed {seed}: {:?}", told(&answers));
        assert!(answers.iter().all(|a| matches!(a.status, 200..=202)), "{}", about());
        assert_eq!(count(&answers, 201, ""), usize::try_from(most).unwrap(), "{}", about());
        assert_eq!(count(&answers, 200, ""), 3, "{}", about());
    }
}
