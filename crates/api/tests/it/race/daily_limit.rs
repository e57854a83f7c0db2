//! A verifier with a daily limit, on many devices at once: what they redeem together stays within it.

use hexiao_testkit::{Backend, Client, PASSWORD};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{CONFIRM, World, at_once, confirm_body, count, everywhere, fresh_key, jitter, seeds, told};

everywhere!(is_kept_by_twelve_at_once, is_kept_by_twelve_at_once);

const DEVICES: usize = 12;

/// Twelve vouchers, none of which waits for another: only the verifier's own row can.
async fn is_kept_by_twelve_at_once(world: &World) {
    let app = &world.app;
    let shop = app.shop(1, 1001, None).await;
    let customer = app.customer("wang").await;
    for seed in 0..seeds(12) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let verifier = app.verifier(&[shop.store]).await;
        let most = u32::try_from(seed % 5).unwrap();
        // By number on even seeds, by worth on odd ones: each use is worth 1001 fen.
        let limit = if seed % 2 == 0 {
            json!({"daily_uses_limit": most})
        } else {
            json!({"daily_amount_limit_fen": i64::from(most) * 1001 + 1000})
        };
        world.owner().patch(&format!("/api/v1/merchant/staff/{}", verifier.id), limit).await.expect(200);
        // A session that the server remembers from before the limit may not know of it for a second.
        let verifier = app.sign_in(&format!("139{:08}", 2 * seed), PASSWORD).await.unwrap();
        let bought = app.buy(&customer, &shop, u32::try_from(DEVICES).unwrap()).await;
        let mut requests: Vec<(Client, serde_json::Value)> = Vec::new();
        let manager = app.manager(&[shop.store]).await;
        for (n, voucher) in bought.vouchers.iter().enumerate() {
            let qr = app.voucher(&customer, voucher).await["qr"].clone();
            // A token is the verifier's own; one whose limit is used up prepares as well.
            let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
            requests.push((world.at(&verifier, n), confirm_body(shop.store, &prepared, voucher, 1)));
        }
        let racers = requests.into_iter().map(|(client, body)| {
            let key = fresh_key();
            (jitter(&mut rng, 4), async move { client.post_key(CONFIRM, &key, body).await })
        });
        let answers = at_once(racers.collect()).await;
        let (won, lost) = (count(&answers, 201, ""), count(&answers, 409, "limit_exceeded"));
        let expected = usize::try_from(most).unwrap();
        assert_eq!((won, lost), (expected, DEVICES - expected), "seed {seed}: {:?}", told(&answers));
        // What is undone can be redeemed again, once.
        if let Some(done) = answers.iter().find(|a| a.status == 201) {
            let path = format!("{CONFIRM}/{}/reverse", done.body["id"].as_str().unwrap());
            manager.post_key(&path, &fresh_key(), json!({"reason": "点错了"})).await.expect(200);
            let voucher = done.body["results"][0]["voucher_id"].as_str().unwrap();
            verifier.redeem(app, &customer, shop.store, voucher, 1).await.expect(201);
            let beyond = verifier.redeem(app, &customer, shop.store, &bought.vouchers[0], 1).await;
            assert_eq!(beyond.status, 409, "seed {seed}: {}", beyond.body);
        }
    }
}
