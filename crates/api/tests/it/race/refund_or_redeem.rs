//! The same uses, asked back by the customer while they are redeemed at the counter.

use std::time::Duration;

use hexiao_testkit::{Answer, Backend, Bought, Client};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{CONFIRM, World, at_once, confirm_body, everywhere, fresh_key, jitter, seeds, told};

everywhere!(the_last_use_goes_one_way, the_last_use_goes_one_way);
everywhere!(three_uses_are_never_four, three_uses_are_never_four);

/// Ways to lose: the other one was faster.
const LATE_REDEMPTION: [&str; 4] = ["refund_pending", "refunded", "used_up", "not_enough_uses"];
const LATE_REFUND: [&str; 1] = ["not_refundable"];

/// One who takes uses of the voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    Redeem(u32),
    Refund(u32),
}

/// How long the redemptions wait for the refunds, in milliseconds; below zero, the refunds wait.
///
/// Which of the two is quicker differs from machine to machine, by more than the pauses. So whoever wins waits
/// a little longer the next time, until both arrive together, which is where a missing lock shows.
#[derive(Debug, Clone, Copy, Default)]
struct Handicap(i32);

impl Handicap {
    fn pause(self, take: Take) -> Duration {
        let ms = if matches!(take, Take::Redeem(_)) { self.0 } else { -self.0 };
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    fn after(self, winner: Take) -> Self {
        Self(self.0 + if matches!(winner, Take::Redeem(_)) { 1 } else { -1 })
    }
}

/// Takes uses by all of these at once; who got them.
async fn race(
    world: &World,
    rng: &mut ChaCha8Rng,
    handicap: Handicap,
    (customer, verifiers): (&Client, &[Client]),
    (store, bought): (hexiao_core::id::StoreId, &Bought),
    takes: &[Take],
) -> Vec<(Take, Answer)> {
    let voucher = &bought.vouchers[0];
    let qr = world.app.voucher(customer, voucher).await["qr"].clone();
    let mut racers = Vec::new();
    for (n, take) in takes.iter().enumerate() {
        let n = n + rng.random_range(0..2);
        let (client, path, body) = match take {
            Take::Redeem(quantity) => {
                let client = world.at(&verifiers[n % verifiers.len()], n);
                let prepared = client.prepare(store, &qr).await.expect(200);
                (client, CONFIRM.to_owned(), confirm_body(store, &prepared, voucher, *quantity))
            }
            Take::Refund(quantity) => {
                let body =
                    json!({"reason": "不想要了", "items": [{"voucher_id": voucher, "quantity": quantity}]});
                let path = format!("/api/v1/customer/orders/{}/refunds", bought.order);
                (world.at(customer, n), path, body)
            }
        };
        racers.push((handicap.pause(*take) + jitter(rng, 4), async move {
            client.post_key(&path, &fresh_key(), body).await
        }));
    }
    let answers = at_once(racers).await;
    for (take, answer) in takes.iter().zip(&answers).filter(|(_, a)| a.status != 201) {
        let expected = if matches!(take, Take::Redeem(_)) { &LATE_REDEMPTION[..] } else { &LATE_REFUND[..] };
        assert!(answer.status == 409 && expected.contains(&answer.code()), "{take:?}: {}", answer.body);
    }
    takes.iter().copied().zip(answers).filter(|(_, a)| a.status == 201).collect()
}

/// The serials that a winner got.
fn serials((take, answer): &(Take, Answer)) -> Vec<i64> {
    let got = match take {
        Take::Redeem(_) => &answer.body["results"][0]["serials"],
        Take::Refund(_) => &answer.body["items"][0]["serials"],
    };
    got.as_array().unwrap().iter().map(|s| s.as_i64().unwrap()).collect()
}

fn sum(voucher: &Value) -> i64 {
    ["used", "locked", "refunded"].iter().map(|name| voucher[name].as_i64().unwrap()).sum()
}

async fn the_last_use_goes_one_way(world: &World) {
    let store = world.app.store("人民广场店").await;
    let cards = [world.card(store, 1).await, world.card(store, 2).await, world.card(store, 3).await];
    let verifiers = world.verifiers(store, 3).await;
    let customer = world.app.customer("wang").await;
    let (mut redeemed, mut refunded) = (0, 0);
    let mut handicap = Handicap::default();
    for seed in 0..seeds(50) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let uses = rng.random_range(1..=3);
        let bought = world.app.buy(&customer, &cards[uses - 1], 1).await;
        if uses > 1 {
            let quantity = u32::try_from(uses - 1).unwrap();
            verifiers[0]
                .redeem(&world.app, &customer, store, &bought.vouchers[0], quantity)
                .await
                .expect(201);
        }
        let mut takes = vec![Take::Redeem(1), Take::Refund(1)];
        takes.extend(
            (0..rng.random_range(0..4)).map(|n| if n % 2 == 0 { Take::Refund(1) } else { Take::Redeem(1) }),
        );
        if rng.random_bool(0.5) {
            takes.reverse();
        }
        let won = race(world, &mut rng, handicap, (&customer, &verifiers), (store, &bought), &takes).await;
        assert_eq!(won.len(), 1, "seed {seed}: {takes:?} {won:?}");
        let after = world.app.voucher(&customer, &bought.vouchers[0]).await;
        let redeemed_uses = uses - usize::from(won[0].0 == Take::Refund(1));
        assert_eq!(
            (&after["used"], sum(&after)),
            (&json!(redeemed_uses), i64::try_from(uses).unwrap()),
            "seed {seed}"
        );
        handicap = handicap.after(won[0].0);
        match won[0].0 {
            Take::Redeem(_) => redeemed += 1,
            Take::Refund(_) => refunded += 1,
        }
    }
    // A race that always ends the same way is none.
    assert!(seeds(50) < 50 || (redeemed > 0 && refunded > 0), "{redeemed} redeemed, {refunded} refunded");
}

async fn three_uses_are_never_four(world: &World) {
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 3).await;
    let verifiers = world.verifiers(store, 3).await;
    let customer = world.app.customer("wang").await;
    let fields: [&[Take]; 4] = [
        &[Take::Refund(2), Take::Redeem(2)],
        &[Take::Refund(2), Take::Redeem(1), Take::Redeem(2)],
        &[
            Take::Redeem(1),
            Take::Redeem(1),
            Take::Refund(1),
            Take::Refund(1),
            Take::Redeem(1),
            Take::Refund(1),
        ],
        &[Take::Refund(1), Take::Refund(1), Take::Refund(1), Take::Refund(1)],
    ];
    for seed in 0..seeds(50).div_ceil(3) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let field = usize::try_from(seed).unwrap() % fields.len();
        let bought = world.app.buy(&customer, &card, 1).await;
        let people = (&customer, verifiers.as_slice());
        let won = race(world, &mut rng, Handicap::default(), people, (store, &bought), fields[field]).await;
        let mut got: Vec<i64> = won.iter().flat_map(serials).collect();
        got.sort_unstable();
        let distinct = got.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(distinct && got.len() <= 3, "seed {seed}: {got:?} {:?}", told(&answers(&won)));
        if field == 0 {
            assert_eq!(won.len(), 1, "seed {seed}");
        } else {
            assert_eq!(got, [1, 2, 3], "seed {seed}: a use that nobody got although somebody wanted it");
        }
        let after = world.app.voucher(&customer, &bought.vouchers[0]).await;
        assert_eq!(sum(&after), i64::try_from(got.len()).unwrap(), "seed {seed}: {after}");
    }
}

fn answers(won: &[(Take, Answer)]) -> Vec<Answer> {
    won.iter().map(|(_, answer)| answer.clone()).collect()
}
