//! Undoing a redemption while somebody else undoes it, redeems again or asks for the money.

use hexiao_testkit::{Backend, Client};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{CONFIRM, World, at_once, confirm_body, count, fresh_key, in_one_process, jitter, seeds, told};

in_one_process!(of_one_redemption_by_two, of_one_redemption_by_two);
in_one_process!(while_others_want_the_use, while_others_want_the_use);

async fn of_one_redemption_by_two(world: &World) {
    let app = &world.app;
    let shop = app.shop(2, 1001, None).await;
    let (verifier, manager) = (app.verifier(&[shop.store]).await, app.manager(&[shop.store]).await);
    let customer = app.customer("wang").await;
    for seed in 0..seeds(50).div_ceil(3) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bought = app.buy(&customer, &shop, 1).await;
        let voucher = &bought.vouchers[0];
        let done = verifier.redeem(app, &customer, shop.store, voucher, 2).await.expect(201);
        let path = format!("{CONFIRM}/{}/reverse", done["id"].as_str().unwrap());
        // All uses, both by name, and one of them: the last may come first, then the others find one that is gone.
        let named = |serials: &[u32]| json!({"reason": "点错了", "items": [{"voucher_id": voucher, "serials": serials}]});
        let one_alone = seed % 2 == 1;
        let bodies = if one_alone {
            [named(&[1]), named(&[1, 2]), named(&[2])]
        } else {
            [json!({"reason": "点错了"}), named(&[1, 2]), json!({"reason": "点错了"})]
        };
        let mut racers = Vec::new();
        for (n, body) in bodies.into_iter().enumerate() {
            let client = if n % 2 == 0 { verifier.clone() } else { manager.clone() };
            let path = path.clone();
            racers
                .push((jitter(&mut rng, 3), async move { client.post_key(&path, &fresh_key(), body).await }));
        }
        let answers = at_once(racers).await;
        let (won, lost) = (count(&answers, 200, ""), count(&answers, 409, "already_reversed"));
        assert_eq!(won + lost, 3, "seed {seed}: {:?}", told(&answers));
        // One who undoes everything, or two who undo one each.
        let expected = if one_alone && answers[1].status != 200 { 2 } else { 1 };
        assert_eq!(won, expected, "seed {seed}: {:?}", told(&answers));
        assert_eq!(app.voucher(&customer, voucher).await["remaining"], 2, "seed {seed}");
        let reversals = world.ledger(&bought.order).await.iter().filter(|e| *e == "reversal").count();
        assert_eq!(reversals, expected, "seed {seed}");
    }
}

async fn while_others_want_the_use(world: &World) {
    let app = &world.app;
    let shop = app.shop(1, 1001, None).await;
    let store = shop.store;
    let verifiers = world.verifiers(store, 3).await;
    let customer = app.customer("wang").await;
    let (mut again, mut back, mut nobody) = (0, 0, 0);
    // The others have a chance only after the undoing: where it takes longer, they come later.
    let mut window_ms = 10;
    for seed in 0..seeds(50) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bought = app.buy(&customer, &shop, 1).await;
        let voucher = &bought.vouchers[0];
        let done = verifiers[0].redeem(app, &customer, store, voucher, 1).await.expect(201);
        let qr = app.voucher(&customer, voucher).await["qr"].clone();
        let requests: Vec<(Client, String, serde_json::Value)> = {
            let reverse = format!("{CONFIRM}/{}/reverse", done["id"].as_str().unwrap());
            let refund = format!("/api/v1/customer/orders/{}/refunds", bought.order);
            let mut all = vec![
                (verifiers[0].clone(), reverse, json!({"reason": "点错了"})),
                (customer.clone(), refund, json!({"reason": "不想要了"})),
            ];
            for verifier in &verifiers[1..] {
                let prepared = verifier.prepare(store, &qr).await.expect(200);
                all.push((verifier.clone(), CONFIRM.to_owned(), confirm_body(store, &prepared, voucher, 1)));
            }
            all
        };
        let mut racers = Vec::new();
        for (n, (client, path, body)) in requests.into_iter().enumerate() {
            let pause = jitter(&mut rng, if n == 0 { 1 } else { window_ms });
            racers.push((pause, async move { client.post_key(&path, &fresh_key(), body).await }));
        }
        let mut answers = at_once(racers).await;
        let reversed = answers.remove(0);
        assert_eq!(reversed.status, 200, "seed {seed}: {}", reversed.body);
        assert!(
            answers.iter().all(|a| a.status == 201 || a.status == 409),
            "seed {seed}: {:?}",
            told(&answers)
        );
        let winners = count(&answers, 201, "");
        assert!(winners <= 1, "seed {seed}: {:?}", told(&answers));
        let after = app.voucher(&customer, voucher).await;
        let expected = match (answers[0].status, winners) {
            (201, _) => {
                back += 1;
                (0, 1, 0)
            }
            (_, 1) => {
                again += 1;
                (1, 0, 0)
            }
            _ => {
                nobody += 1;
                window_ms += 2;
                (0, 0, 1)
            }
        };
        let number = |name: &str| after[name].as_i64().unwrap();
        let found = (number("used"), number("locked") + number("refunded"), number("remaining"));
        assert_eq!(found, expected, "seed {seed}: {:?}", told(&answers));
        if rng.random_bool(0.1) {
            app.verify().await;
        }
    }
    eprintln!("{again} redeemed again, {back} refunded, {nobody} neither");
    assert!(
        seeds(50) < 50 || (again > 0 && back > 0),
        "{again} redeemed again, {back} refunded, {nobody} neither"
    );
}
