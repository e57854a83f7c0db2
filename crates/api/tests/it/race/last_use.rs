//! The last use of a voucher, confirmed by many verifiers at once.

use hexiao_core::id::StoreId;
use hexiao_testkit::{Answer, Backend, Client, Shop};
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{
    CONFIRM, PREPARE, World, at_once, confirm_body, count, everywhere, fresh_key, jitter, seeds, told,
};

/// Requests that come at once: these with a scan and a key of their own …
const SCANS: usize = 48;
/// … and these that repeat one of them, as a phone does whose answer was lost.
const REPEATS: usize = 16;

everywhere!(is_redeemed_once_by_64_at_once, is_redeemed_once_by_64_at_once);
everywhere!(of_five_uses_five_are_redeemed, of_five_uses_five_are_redeemed);

async fn is_redeemed_once_by_64_at_once(world: &World) {
    let store = world.app.store("人民广场店").await;
    let mut cards = Vec::new();
    for uses in 1..=5 {
        cards.push(world.card(store, uses).await);
    }
    let verifiers = world.verifiers(store, 16).await;
    let customer = world.app.customer("wang").await;
    // Two processes are asked fewer times: what one could hide shows soon.
    let default = if world.processes.is_empty() { 50 } else { 25 };
    for seed in 0..seeds(default) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let uses: u32 = rng.random_range(1..=5);
        let card = &cards[usize::try_from(uses - 1).unwrap()];
        one_seed(world, &mut rng, (card, uses), &verifiers, &customer, &format!("seed {seed}")).await;
    }
}

async fn one_seed(
    world: &World,
    rng: &mut ChaCha8Rng,
    (card, uses): (&Shop, u32),
    verifiers: &[Client],
    customer: &Client,
    seed: &str,
) {
    let store = card.store;
    let voucher = world.app.buy(customer, card, 1).await.vouchers.remove(0);
    if uses > 1 {
        verifiers[0].redeem(&world.app, customer, store, &voucher, uses - 1).await.expect(201);
    }
    let shown = world.app.voucher(customer, &voucher).await;
    let requests = scans(world, rng, verifiers, (store, &voucher, &shown)).await;

    let below_ms = *[1, 3, 20].choose(rng).unwrap();
    let mut racers = Vec::new();
    for n in 0..SCANS + REPEATS {
        let of = if n < SCANS { n } else { rng.random_range(0..SCANS) };
        let (client, key, body) = requests[of].clone();
        let client = world.at(&client, rng.random_range(0..2));
        racers.push((jitter(rng, below_ms), async move { (of, client.post_key(CONFIRM, &key, body).await) }));
    }
    let (of, answers): (Vec<usize>, Vec<Answer>) = at_once(racers).await.into_iter().unzip();

    let won: Vec<usize> = (0..answers.len()).filter(|n| answers[*n].status == 201).collect();
    assert_eq!(won.len(), 1, "{seed}: {:?}", told(&answers));
    let (winner, done) = (of[won[0]], &answers[won[0]].body);
    assert_eq!(
        (&done["replayed"], &done["results"][0]["result"]),
        (&json!(false), &json!("redeemed")),
        "{done}"
    );
    for (n, answer) in answers.iter().enumerate().filter(|(n, _)| *n != won[0]) {
        if of[n] == winner {
            assert_eq!(
                (answer.status, &answer.body["replayed"]),
                (200, &json!(true)),
                "{seed}: {}",
                answer.body
            );
            assert_eq!(answer.body["id"], done["id"], "{seed}");
        } else {
            assert_eq!((answer.status, answer.code()), (409, "used_up"), "{seed}: {}", answer.body);
            assert_eq!(answer.body["results"][0]["result"], "refused", "{seed}: {}", answer.body);
        }
    }
    let after = world.app.voucher(customer, &voucher).await;
    assert_eq!((&after["used"], &after["remaining"]), (&json!(uses), &json!(0)), "{seed}");
    let standing: usize = if uses > 1 { 2 } else { 1 };
    let path = format!("{CONFIRM}?store_id={store}&voucher_id={voucher}");
    let redemptions = verifiers[0].get(&path).await.expect(200);
    assert_eq!(redemptions["items"].as_array().unwrap().len(), standing, "{seed}");
}

/// Each scan with its verifier, key and body.
async fn scans(
    world: &World,
    rng: &mut ChaCha8Rng,
    verifiers: &[Client],
    (store, voucher, shown): (StoreId, &str, &Value),
) -> Vec<(Client, String, Value)> {
    let mut racers = Vec::new();
    for n in 0..SCANS {
        let verifier = verifiers[n % verifiers.len()].clone();
        let client = world.at(&verifier, n);
        let input =
            if rng.random_bool(0.5) { json!({"qr": shown["qr"]}) } else { json!({"code": shown["code"]}) };
        let body = json!({"store_id": store, "input": input});
        let prepare = async move { (verifier, client.post(PREPARE, body).await.expect(200)) };
        racers.push((std::time::Duration::ZERO, prepare));
    }
    let prepared = at_once(racers).await.into_iter();
    prepared.map(|(v, token)| (v, fresh_key(), confirm_body(store, &token, voucher, 1))).collect()
}

/// Sixteen scans of a fresh card: each use goes once, and each to another redemption.
async fn of_five_uses_five_are_redeemed(world: &World) {
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 5).await;
    let verifiers = world.verifiers(store, 4).await;
    let customer = world.app.customer("wang").await;
    for seed in 0..seeds(50).div_ceil(10) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let voucher = world.app.buy(&customer, &card, 1).await.vouchers.remove(0);
        let qr = world.app.voucher(&customer, &voucher).await["qr"].clone();
        let mut racers = Vec::new();
        for n in 0..16 {
            let client = world.at(&verifiers[n % verifiers.len()], n);
            let prepared = client.prepare(store, &qr).await.expect(200);
            let body = confirm_body(store, &prepared, &voucher, 1);
            racers.push((
                jitter(&mut rng, 3),
                async move { client.post_key(CONFIRM, &fresh_key(), body).await },
            ));
        }
        let answers = at_once(racers).await;
        assert_eq!(
            (count(&answers, 201, ""), count(&answers, 409, "used_up")),
            (5, 11),
            "{:?}",
            told(&answers)
        );
        let done = answers.iter().filter(|a| a.status == 201);
        let mut serials: Vec<i64> =
            done.map(|a| a.body["results"][0]["serials"][0].as_i64().unwrap()).collect();
        serials.sort_unstable();
        assert_eq!(serials, [1, 2, 3, 4, 5], "seed {seed}");
    }
}
