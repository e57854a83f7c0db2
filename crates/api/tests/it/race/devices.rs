//! A device that is revoked while its member signs in on it again and redeems.

use hexiao_testkit::{Backend, Client};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{World, at_once, count, everywhere, fresh_key, jitter, seeds, told};

everywhere!(is_revoked_for_good, is_revoked_for_good);

const OWN: &str = "/api/v1/staff/devices";

fn phone() -> Value {
    let key = fresh_key().replace('-', "").repeat(2);
    json!({"name": "手机", "platform": "android", "public_key": key})
}

/// Registered again on several sessions while two managers revoke it: no session outlives it. What is registered at once
/// stays within the limit.
async fn is_revoked_for_good(world: &World) {
    let app = &world.app;
    let store = app.store("一店").await;
    let manager = app.manager(&[store]).await;
    for seed in 0..seeds(10) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let verifier = app.verifier(&[store]).await;
        let body = phone();
        let device = verifier.post(OWN, body.clone()).await.expect(201)["id"].as_str().unwrap().to_owned();
        let revoke = format!("/api/v1/merchant/devices/{device}/revoke");
        let mut requests: Vec<(Client, String, Value)> = vec![
            (manager.clone(), revoke.clone(), json!({})),
            (world.owner(), revoke, json!({})),
            (verifier.clone(), OWN.to_owned(), body.clone()),
            (verifier.clone(), OWN.to_owned(), body.clone()),
        ];
        let busy = app.verifier(&[store]).await;
        for _ in 0..rng.random_range(6..=8) {
            requests.push((busy.clone(), OWN.to_owned(), phone()));
        }
        let racers = requests.into_iter().enumerate().map(|(n, (client, path, body))| {
            let client = world.at(&client, n);
            (jitter(&mut rng, 6), async move { client.post(&path, body).await })
        });
        let answers = at_once(racers.collect()).await;
        let about = || format!("seed {seed}: {:?}", told(&answers));
        assert_eq!(count(&answers[..2], 200, ""), 2, "{}", about());
        assert!(answers[2..4].iter().all(|a| matches!(a.status, 200 | 401 | 403 | 409)), "{}", about());
        assert_eq!(count(&answers[4..], 201, ""), 5, "{}", about());
        let again = verifier.post(OWN, body).await;
        assert!(matches!(again.code(), "device_revoked" | "session_expired"), "{}", again.body);
    }
}
