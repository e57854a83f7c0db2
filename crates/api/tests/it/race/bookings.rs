//! Bookings by many at once: no slot is oversold, a use goes one way only, and a booking ends once.

use std::time::Duration;

use hexiao_core::id::StoreId;
use hexiao_testkit::{Answer, Backend, Client, Shop, wait_until};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{
    CONFIRM, World, at_once, confirm_body, count, everywhere, fresh_key, in_one_process, jitter, seeds, told,
};
use crate::bookings::{BOOKINGS, body, book, plan, put_plans};
use crate::steps::text;

everywhere!(the_last_places_of_a_slot_against_64, the_last_places_of_a_slot_against_64);
everywhere!(booked_uses_go_one_way, booked_uses_go_one_way);
everywhere!(moved_or_given_back, moved_or_given_back);
in_one_process!(confirmed_or_expired, confirmed_or_expired);

const CUSTOMERS: usize = 8;
/// Of each slot that is fought for.
const PLACES: usize = 5;

/// A card that needs a booking, which can be redeemed a day before its slot and changed until it.
async fn shop(world: &World, store: StoreId, uses: u32, capacity: u32) -> Shop {
    let terms = json!({"change_minutes": 0, "early_minutes": 1440, "hold_minutes": 1, "reminder_minutes": 0});
    put_plans(&world.owner(), store, &[plan(capacity, &terms)]).await.expect(200);
    let sku = json!({"name": "次卡", "price_fen": 1001, "uses": uses, "validity": {"days": 30}, "booking": "required"});
    world.app.shop_in(store, sku).await
}

/// The begin of the slot in so many hours.
fn slot(world: &World, hours: i64) -> String {
    let zone = chrono::FixedOffset::east_opt(8 * 3600).unwrap();
    let at = world.app.app.now().datetime().with_timezone(&zone) + chrono::Duration::hours(hours);
    at.format("%Y-%m-%dT%H:00:00+08:00").to_string()
}

async fn the_last_places_of_a_slot_against_64(world: &World) {
    let store = world.app.store("人民广场店").await;
    let shop = shop(world, store, 1, 5).await;
    let mut holders: Vec<(Client, Vec<String>)> = Vec::new();
    for n in 0..CUSTOMERS {
        let customer = world.app.customer(&format!("顾客{n}")).await;
        let vouchers = world.app.buy(&customer, &shop, 8).await.vouchers;
        holders.push((customer, vouchers));
    }
    for seed in 0..seeds(4) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Each seed has a slot of its own; who won before has nothing left to book.
        let start = slot(world, 2 + i64::try_from(seed).unwrap());
        let mut racers = Vec::new();
        for (customer, vouchers) in &holders {
            for voucher in vouchers {
                let client = world.at(customer, rng.random_range(0..2));
                let (shop, voucher, start) = (shop.clone(), voucher.clone(), start.clone());
                let pause = jitter(&mut rng, 3);
                racers.push((pause, async move { book(&client, &shop, &voucher, &start, 1).await }));
            }
        }
        let answers = at_once(racers).await;
        let won = answers.iter().filter(|a| a.status == 201).count();
        assert_eq!(won, PLACES, "seed {seed}: {:?}", told(&answers));
        let used = usize::try_from(seed).unwrap() * PLACES;
        assert_eq!(
            count(&answers, 409, "slot_full") + count(&answers, 409, "locked"),
            64 - won,
            "{:?}",
            told(&answers)
        );
        assert!(count(&answers, 409, "locked") <= used, "{:?}", told(&answers));
    }
}

/// One booked use: redeemed, or given back and then perhaps refunded.
async fn booked_uses_go_one_way(world: &World) {
    let store = world.app.store("人民广场店").await;
    let shop = shop(world, store, 1, 10_000).await;
    let verifiers = world.verifiers(store, 2).await;
    let customer = world.app.customer("wang").await;
    for seed in 0..seeds(12) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bought = world.app.buy(&customer, &shop, 1).await;
        let voucher = &bought.vouchers[0];
        let booking = book(&customer, &shop, voucher, &slot(world, 2), 1).await.expect(201);
        let qr = world.app.voucher(&customer, voucher).await["qr"].clone();
        let mut racers: Vec<(Duration, _)> = Vec::new();
        for n in 0..12 {
            let verifier = world.at(&verifiers[n % 2], n);
            let customer = world.at(&customer, n);
            let prepared = if n < 4 { verifier.prepare(store, &qr).await.expect(200) } else { Value::Null };
            let (voucher, order, id) =
                (voucher.clone(), bought.order.clone(), text(&booking["id"]).to_owned());
            let racer = async move {
                let answer = match n {
                    0..4 => {
                        verifier
                            .post_key(CONFIRM, &fresh_key(), confirm_body(store, &prepared, &voucher, 1))
                            .await
                    }
                    4..6 => verifier.post(&format!("/api/v1/staff/bookings/{id}/arrive"), json!({})).await,
                    6..9 => customer.post(&format!("{BOOKINGS}/{id}/cancel"), json!({})).await,
                    _ => {
                        let path = format!("/api/v1/customer/orders/{order}/refunds");
                        customer.post_key(&path, &fresh_key(), json!({"reason": "不想要了"})).await
                    }
                };
                (n, answer)
            };
            racers.push((jitter(&mut rng, 4), racer));
        }
        let answers = at_once(racers).await;
        let of = |range: std::ops::Range<usize>, status: u16| {
            answers.iter().filter(|(n, a)| range.contains(n) && a.status == status).count()
        };
        let told: Vec<String> =
            answers.iter().map(|(n, a)| format!("{n}: {} {}", a.status, a.code())).collect();
        let (redeemed, cancelled, refunded) = (of(0..4, 201), of(6..9, 200), of(9..12, 201));
        assert!(answers.iter().all(|(_, a)| a.status < 500 && a.status != 429), "seed {seed}: {told:?}");
        assert!(redeemed <= 1 && refunded <= 1, "seed {seed}: {told:?}");
        assert!(redeemed == 0 || (cancelled == 0 && refunded == 0), "seed {seed}: {told:?}");
        assert!(refunded == 0 || cancelled > 0, "seed {seed}: {told:?}");
        let after = world.app.voucher(&customer, voucher).await;
        assert_eq!(after["used"], json!(redeemed), "seed {seed}: {told:?}");
        let state = customer.get(&format!("{BOOKINGS}/{}", text(&booking["id"]))).await.expect(200);
        if redeemed == 1 {
            assert_eq!(state["state"], "Completed", "seed {seed}: {told:?}");
        } else if cancelled > 0 {
            assert_eq!(state["state"], "Cancelled", "seed {seed}: {told:?}");
        }
    }
}

/// A booking is moved once or given back, and its use stays locked or is free.
async fn moved_or_given_back(world: &World) {
    let store = world.app.store("人民广场店").await;
    let shop = shop(world, store, 1, 10_000).await;
    let customer = world.app.customer("wang").await;
    for seed in 0..seeds(12) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let voucher = world.app.buy(&customer, &shop, 1).await.vouchers.remove(0);
        let booking = book(&customer, &shop, &voucher, &slot(world, 4), 1).await.expect(201);
        let mut racers = Vec::new();
        for n in 0..10 {
            let client = world.at(&customer, n);
            let id = text(&booking["id"]).to_owned();
            // Some moves go forward and some backward in time: slots are locked in one order all the same.
            let to = slot(world, if n % 2 == 0 { 2 } else { 6 });
            let racer = async move {
                if n < 6 {
                    let body = json!({"slot_start": to});
                    client.post_key(&format!("{BOOKINGS}/{id}/reschedule"), &fresh_key(), body).await
                } else {
                    client.post(&format!("{BOOKINGS}/{id}/cancel"), json!({})).await
                }
            };
            racers.push((jitter(&mut rng, 4), racer));
        }
        let answers = at_once(racers).await;
        let moved = count(&answers[..6], 201, "");
        let cancelled = count(&answers[6..], 200, "");
        assert!(moved + usize::from(cancelled > 0) == 1, "seed {seed}: {:?}", told(&answers));
        assert_eq!(
            count(&answers, 409, "illegal_state"),
            10 - moved - cancelled,
            "seed {seed}: {:?}",
            told(&answers)
        );
        let after = world.app.voucher(&customer, &voucher).await;
        assert_eq!(after["locked"], json!(moved), "seed {seed}");
    }
}

/// The clock passes the end of a hold while it is being confirmed.
async fn confirmed_or_expired(world: &World) {
    let store = world.app.store("人民广场店").await;
    let shop = shop(world, store, 1, 10_000).await;
    for seed in 0..seeds(10) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Tokens end while the clock runs ahead.
        let customer = world.app.customer("wang").await;
        let voucher = world.app.buy(&customer, &shop, 1).await.vouchers.remove(0);
        let mut held = body(&shop, &voucher, &slot(world, 3), 1);
        held["confirm"] = json!(false);
        let booking = customer.post_key(BOOKINGS, &fresh_key(), held).await.expect(201);
        let path = format!("{BOOKINGS}/{}", text(&booking["id"]));
        let mut racers = Vec::new();
        for _ in 0..6 {
            let (client, path) = (customer.clone(), format!("{path}/confirm"));
            racers.push((jitter(&mut rng, 6), async move {
                client.post_key(&path, &fresh_key(), json!({})).await
            }));
        }
        let pause = jitter(&mut rng, 6);
        let clock = async {
            tokio::time::sleep(pause).await;
            world.app.advance(Duration::from_secs(61));
        };
        let (answers, ()): (Vec<Answer>, ()) = futures::join!(at_once(racers), clock);
        let confirmed = count(&answers, 200, "");
        assert_eq!(count(&answers, 409, "hold_expired"), 6 - confirmed, "seed {seed}: {:?}", told(&answers));
        let expected = if confirmed > 0 { "Booked" } else { "Cancelled" };
        wait_until("the hold is over", async || customer.get(&path).await.body["state"] == expected).await;
        let after = world.app.voucher(&customer, &voucher).await;
        assert_eq!(after["locked"], json!(usize::from(confirmed > 0)), "seed {seed}");
    }
    // The owner of the world is asked once more when it is finished.
    world.owner_signs_in_again().await;
}
