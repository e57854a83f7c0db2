//! A refund that is taken back while it is sent, tapped twice, or whose voucher is redeemed meanwhile.

use std::time::Duration;

use hexiao_core::id::StoreId;
use hexiao_testkit::{Answer, Backend, Bought, Client};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{
    CONFIRM, PREPARE, World, at_once, confirm_body, count, everywhere, fresh_key, jitter, seeds, told,
};
use crate::fuse::hold_refunds;
use crate::steps::{ask_refund, due_now, order, refund_in, text};

everywhere!(taken_back_or_sent, taken_back_or_sent);
everywhere!(redeemed_or_sent, redeemed_or_sent);
everywhere!(tapped_by_all_thumbs, tapped_by_all_thumbs);
everywhere!(beside_a_confirm_of_the_rest, beside_a_confirm_of_the_rest);
everywhere!(two_who_share_the_digits, two_who_share_the_digits);
everywhere!(a_list_read_twice_redeems_once, a_list_read_twice_redeems_once);
everywhere!(five_wait_and_no_more, five_wait_and_no_more);

const WITHDRAW: &str = "/api/v1/staff/redemptions/withdraw-requests";

/// Who was faster the last time waits a little longer the next: a race that always ends the same way is none.
#[derive(Default)]
struct Lead(i32);

impl Lead {
    fn of_tap(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    fn of_worker(&self) -> Duration {
        Duration::from_millis(u64::try_from(-self.0).unwrap_or(0))
    }

    fn after(&mut self, tap_won: bool) {
        self.0 += if tap_won { 2 } else { -2 };
    }
}

/// A refund of all that is left, which waits to be sent.
async fn held(world: &World, customer: &Client, bought: &Bought, quantity: u32) -> String {
    let items = json!([{"voucher_id": bought.vouchers[0], "quantity": quantity}]);
    let asked = ask_refund(&world.at(customer, 0), &bought.order, items, &fresh_key()).await.expect(201);
    text(&asked["id"]).to_owned()
}

/// Scans, and asks the customer to take refunds back; the request and the scan.
async fn asked(
    world: &World,
    (customer, verifier): (&Client, &Client),
    store: StoreId,
    voucher: &str,
    quantity: u32,
) -> (String, Value) {
    let qr = world.app.voucher(customer, voucher).await["qr"].clone();
    let verifier = world.at(verifier, 0);
    let prepared = verifier.prepare(store, &qr).await.expect(200);
    let items = json!([{"voucher_id": voucher, "quantity": quantity}]);
    let body = json!({"store_id": store, "prepare_token": prepared["prepare_token"], "items": items});
    let answer = verifier.post_key(WITHDRAW, &fresh_key(), body).await.expect(202);
    (text(&answer["consent_request"]["id"]).to_owned(), prepared)
}

async fn tap(customer: Client, id: String) -> Answer {
    customer.post(&format!("/api/v1/customer/consent-requests/{id}/approve"), json!({})).await
}

/// Sends the refund at the moment at which somebody takes it back; whether it was taken back.
async fn against_the_worker(
    world: &World,
    rng: &mut ChaCha8Rng,
    lead: &mut Lead,
    refund: &str,
    back: impl Future<Output = Answer> + Send + 'static,
) -> (Answer, bool) {
    let (back_pause, send_pause) = (lead.of_tap() + jitter(rng, 4), lead.of_worker() + jitter(rng, 4));
    let send = async {
        tokio::time::sleep(send_pause).await;
        due_now(&world.app, refund).await;
    };
    let back = async {
        tokio::time::sleep(back_pause).await;
        tokio::spawn(back).await.unwrap()
    };
    let (answer, ()) = futures::join!(back, send);
    let won = answer.status == 200;
    lead.after(won);
    let end = if won { "Withdrawn" } else { "Succeeded" };
    refund_in(&world.owner(), refund, end).await;
    let at_wechat = world.app.sim.refunds().iter().filter(|r| r.out_refund_no.starts_with(refund)).count();
    assert_eq!(at_wechat, usize::from(!won), "the money is back if, and only if, it was not taken back");
    (answer, won)
}

async fn taken_back_or_sent(world: &World) {
    hold_refunds(&world.app, 3600).await;
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 2).await;
    let customer = world.app.customer("wang").await;
    let (mut lead, mut taken, mut sent) = (Lead::default(), 0, 0);
    for seed in 0..seeds(50) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bought = world.app.buy(&customer, &card, 1).await;
        let refund = held(world, &customer, &bought, rng.random_range(1..=2)).await;
        let (path, client) = (format!("/api/v1/customer/refunds/{refund}/withdraw"), world.at(&customer, 1));
        let back = async move { client.post_key(&path, &fresh_key(), json!({})).await };
        let (answer, won) = against_the_worker(world, &mut rng, &mut lead, &refund, back).await;
        assert!(won || answer.code() == "illegal_state", "seed {seed}: {}", answer.body);
        if won { taken += 1 } else { sent += 1 }
    }
    assert!(seeds(50) < 50 || (taken > 0 && sent > 0), "{taken} taken back, {sent} sent");
}

async fn redeemed_or_sent(world: &World) {
    hold_refunds(&world.app, 3600).await;
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 2).await;
    let customer = world.app.customer("wang").await;
    let (mut lead, mut redeemed, mut sent) = (Lead::default(), 0, 0);
    let mut verifier = world.app.verifier(&[store]).await;
    for seed in 0..seeds(50) {
        if seed % 15 == 14 {
            // So many requests a person may make.
            verifier = world.app.verifier(&[store]).await;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bought = world.app.buy(&customer, &card, 1).await;
        let voucher = &bought.vouchers[0];
        let refund = held(world, &customer, &bought, 2).await;
        let (id, _) = asked(world, (&customer, &verifier), store, voucher, 1).await;
        let back = tap(world.at(&customer, 1), id.clone());
        let (answer, won) = against_the_worker(world, &mut rng, &mut lead, &refund, back).await;
        assert!(won || answer.code() == "refund_pending", "seed {seed}: {}", answer.body);
        let after = world.app.voucher(&customer, voucher).await;
        let expected = if won { (1, 0, 0) } else { (0, 0, 2) };
        assert_eq!(
            (&after["used"], &after["locked"], &after["refunded"]),
            (&json!(expected.0), &json!(expected.1), &json!(expected.2)),
            "seed {seed}"
        );
        if won {
            redeemed += 1;
        } else {
            // It waits no longer: the verifier's five places are for others.
            world
                .at(&customer, 0)
                .post(&format!("/api/v1/customer/consent-requests/{id}/deny"), json!({}))
                .await
                .expect(200);
            sent += 1;
        }
    }
    assert!(seeds(50) < 50 || (redeemed > 0 && sent > 0), "{redeemed} redeemed, {sent} sent");
}

async fn tapped_by_all_thumbs(world: &World) {
    hold_refunds(&world.app, 3600).await;
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 3).await;
    let customer = world.app.customer("wang").await;
    let verifier = world.app.verifier(&[store]).await;
    for seed in 0..seeds(15) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bought = world.app.buy(&customer, &card, 1).await;
        held(world, &customer, &bought, 3).await;
        let (id, _) = asked(world, (&customer, &verifier), store, &bought.vouchers[0], 2).await;
        let thumbs = (0..4).map(|n| (jitter(&mut rng, 3), tap(world.at(&customer, n), id.clone()))).collect();
        let answers = at_once(thumbs).await;
        assert!(answers.iter().all(|a| a.status == 200), "seed {seed}: {:?}", told(&answers));
        let first = &answers[0].body["redemption"];
        assert!(answers.iter().all(|a| a.body["redemption"] == *first), "seed {seed}");
        let after = world.app.voucher(&customer, &bought.vouchers[0]).await;
        assert_eq!((&after["used"], &after["remaining"]), (&json!(2), &json!(1)), "seed {seed}");
    }
}

/// Three uses: a refund keeps two, and somebody else redeems the third while the tap is on its way.
async fn beside_a_confirm_of_the_rest(world: &World) {
    hold_refunds(&world.app, 3600).await;
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 3).await;
    let customer = world.app.customer("wang").await;
    for seed in 0..seeds(30) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let verifiers = world.verifiers(store, 2).await;
        let bought = world.app.buy(&customer, &card, 1).await;
        let voucher = &bought.vouchers[0];
        let refund = held(world, &customer, &bought, 2).await;
        let wanted = rng.random_range(2..=3);
        let (id, _) = asked(world, (&customer, &verifiers[0]), store, voucher, wanted).await;
        let qr = world.app.voucher(&customer, voucher).await["qr"].clone();
        let prepared = world.at(&verifiers[1], 1).prepare(store, &qr).await.expect(200);
        let (confirm, body) = (world.at(&verifiers[1], 1), confirm_body(store, &prepared, voucher, 1));
        let (tap_pause, confirm_pause) = (jitter(&mut rng, 4), jitter(&mut rng, 4));
        let (tapped, confirmed) = futures::join!(
            async {
                tokio::time::sleep(tap_pause).await;
                tap(world.at(&customer, 0), id).await
            },
            async {
                tokio::time::sleep(confirm_pause).await;
                confirm.post_key(CONFIRM, &fresh_key(), body).await
            }
        );
        let after = world.app.voucher(&customer, voucher).await;
        let by_tap = if tapped.status == 200 { wanted } else { 0 };
        let by_confirm = u32::from(confirmed.status == 201);
        assert_eq!(after["used"], by_tap + by_confirm, "seed {seed}: {} {}", tapped.body, confirmed.body);
        if wanted == 2 {
            assert_eq!(
                (tapped.status, confirmed.status),
                (200, 201),
                "seed {seed}: there is enough for both"
            );
        } else {
            assert_eq!(by_tap / 3 + by_confirm, 1, "seed {seed}: {} {}", tapped.body, confirmed.body);
        }
        let state = if by_tap > 0 { "Withdrawn" } else { "Created" };
        refund_in(&world.owner(), &refund, state).await;
    }
}

async fn two_who_share_the_digits(world: &World) {
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 1).await;
    let mut customers = Vec::new();
    for (name, phone) in [("wang", "13812341234"), ("hong", "15900001234")] {
        let customer = world.app.customer(name).await;
        crate::phones::bind(&customer, phone).await.expect(200);
        world.app.buy(&customer, &card, 1).await;
        customers.push(customer);
    }
    let verifier = world.app.verifier(&[store]).await;
    for seed in 0..seeds(15) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let body = json!({"store_id": store, "input": {"phone_last4": "1234"}});
        let asked = world.at(&verifier, 0).post(PREPARE, body).await.expect(202);
        let id = text(&asked["consent_request"]["id"]).to_owned();
        let tap = |n: usize| (jitter(&mut rng, 3), tap(world.at(&customers[n], n), id.clone()));
        let answers = at_once(vec![0, 1].into_iter().map(tap).collect()).await;
        assert_eq!(
            (count(&answers, 200, ""), count(&answers, 404, "not_found")),
            (1, 1),
            "{:?}",
            told(&answers)
        );
    }
}

async fn a_list_read_twice_redeems_once(world: &World) {
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 3).await;
    let customer = world.app.customer("wang").await;
    let verifier = world.app.verifier(&[store]).await;
    for seed in 0..seeds(15) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bought = world.app.buy(&customer, &card, 1).await;
        let number = order(&customer, &bought.order).await["number"].clone();
        let body = json!({"store_id": store, "input": {"order_number": number}});
        let asked = world.at(&verifier, 0).post(PREPARE, body).await.expect(202);
        let id = text(&asked["consent_request"]["id"]).to_owned();
        tap(world.at(&customer, 1), id.clone()).await.expect(200);
        let read = |n: usize| {
            let (client, voucher) = (world.at(&verifier, n), bought.vouchers[0].clone());
            let body = json!({"store_id": store, "input": {"consent_id": id}});
            (jitter(&mut rng, 3), async move {
                let listed = client.post(PREPARE, body).await;
                if listed.status != 200 {
                    return listed;
                }
                client.post_key(CONFIRM, &fresh_key(), confirm_body(store, &listed.body, &voucher, 1)).await
            })
        };
        let answers = at_once((0..3).map(read).collect()).await;
        let (done, late) = (count(&answers, 201, ""), count(&answers, 409, "token_used"));
        assert_eq!((done, late), (1, 2), "seed {seed}: {:?}", told(&answers));
    }
}

async fn five_wait_and_no_more(world: &World) {
    let store = world.app.store("人民广场店").await;
    for seed in 0..seeds(10) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let verifier = world.app.verifier(&[store]).await;
        let ask = |n: usize| {
            let body = json!({"store_id": store, "input": {"phone_last4": format!("{n:04}")}});
            let client = world.at(&verifier, n);
            (jitter(&mut rng, 3), async move { client.post(PREPARE, body).await })
        };
        let answers = at_once((0..8).map(ask).collect()).await;
        let (asked, refused) = (count(&answers, 202, ""), count(&answers, 429, "rate_limited"));
        assert_eq!((asked, refused), (5, 3), "seed {seed}: {:?}", told(&answers));
    }
}
