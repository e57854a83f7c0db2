//! The same upload sent several times at once, while the voucher is redeemed online.

use chrono::Duration;
use hexiao_testkit::{Backend, Client};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::{CONFIRM, World, at_once, confirm_body, everywhere, fresh_key, jitter, seeds, told};
use crate::offline::{Phone, UPLOAD};

everywhere!(is_taken_once, is_taken_once);

async fn is_taken_once(world: &World) {
    let app = &world.app;
    let shop = app.shop(2, 2000, None).await;
    let customer = app.customer("wang").await;
    for seed in 0..seeds(10) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (verifier, colleague) = (app.verifier(&[shop.store]).await, app.verifier(&[shop.store]).await);
        let phone = Phone::register(&verifier, shop.store, u8::try_from(seed).unwrap()).await;
        let bought = app.buy(&customer, &shop, 1).await;
        let voucher = &bought.vouchers[0];
        let qr = app.voucher(&customer, voucher).await["qr"].clone();
        let prepared = colleague.prepare(shop.store, &qr).await.expect(200);
        let now = app.app.now();
        let entries: Vec<Value> =
            (1..=2).map(|seq| phone.entry(seq, &qr, 1, now.plus(Duration::seconds(seq)))).collect();
        let batch = phone.batch(app, &entries);
        let mut requests: Vec<(Client, String, Value)> =
            (0..4).map(|_| (verifier.clone(), UPLOAD.to_owned(), batch.clone())).collect();
        requests.push((colleague, CONFIRM.to_owned(), confirm_body(shop.store, &prepared, voucher, 1)));
        let racers = requests.into_iter().enumerate().map(|(n, (client, path, body))| {
            let client = world.at(&client, n);
            (jitter(&mut rng, 6), async move { client.post_key(&path, &fresh_key(), body).await })
        });
        let answers = at_once(racers.collect()).await;
        let about = || format!("seed {seed}: {:?}", told(&answers));
        let (uploads, online) = answers.split_at(4);
        assert!(uploads.iter().all(|a| a.status == 200), "{}", about());
        let verdicts = |a: &hexiao_testkit::Answer| -> Vec<Value> {
            a.body["results"].as_array().unwrap().iter().map(|r| r["verdict"].clone()).collect()
        };
        let first = verdicts(&uploads[0]);
        assert!(uploads.iter().all(|a| verdicts(a) == first), "{}", about());
        let fresh = uploads.iter().filter(|a| a.body["results"][0]["replayed"] == false).count();
        assert_eq!(fresh, 1, "{}", about());
        let taken = first.iter().filter(|v| v.as_str().unwrap().starts_with("accepted")).count();
        let online = usize::from(online[0].status == 201);
        assert_eq!(taken + online, 2, "{}", about());
        assert_eq!(app.voucher(&customer, voucher).await["used"], 2, "{}", about());
    }
}
