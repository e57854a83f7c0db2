//! Several servers feed and send the same webhooks, and several people change them: each event is one delivery, sent
//! once unless somebody asks for more.

use std::collections::BTreeMap;

use super::*;
use crate::receiver::{ALL_EVENTS, DELIVERIES, Receiver, WEBHOOKS};
use crate::steps::items;

const BUYERS: u32 = 10;

async fn rows(world: &World, text: &str) -> i64 {
    let row = hexiao_db::sql::row(world.app.app.db.reader(), text, vec![]).await.unwrap().unwrap();
    row.get("n").unwrap()
}

/// Every process has a worker of its own.
async fn each_event_is_sent_once(world: &World) {
    let receiver = Receiver::start().await;
    receiver.webhook(&world.owner(), &ALL_EVENTS).await;
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 2).await;
    let verifier = world.app.verifier(&[store]).await;
    let trade = |n: u32| {
        let (app, card) = (&world.app, card.clone());
        let (customer, verifier) = (format!("顾客{n}"), world.at(&verifier, usize::try_from(n).unwrap()));
        async move {
            let customer = app.customer(&customer).await;
            let bought = app.buy(&customer, &card, 1).await;
            verifier.redeem(app, &customer, store, &bought.vouchers[0], 2).await.expect(201);
        }
    };
    futures::future::join_all((0..BUYERS).map(trade)).await;
    let open = "SELECT COUNT(*) AS n FROM webhook_deliveries WHERE state = 'Delivered'";
    wait_until("all are delivered", async || rows(world, open).await == i64::from(2 * BUYERS)).await;
    assert_eq!(rows(world, "SELECT COUNT(*) AS n FROM webhook_deliveries").await, i64::from(2 * BUYERS));
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for r in receiver.received() {
        *told.entry(r.id().to_owned()).or_default() += 1;
    }
    assert_eq!(u32::try_from(told.len()).unwrap(), 2 * BUYERS);
    assert!(told.values().all(|n| *n == 1), "{told:?}");
}

/// Nobody waits for another's replay, and what is replayed is the same event.
async fn replays(world: &World) {
    let receiver = Receiver::start().await;
    let (hook, _) = receiver.webhook(&world.owner(), &["voucher.issued"]).await;
    world.owner().post(&format!("{WEBHOOKS}/{hook}/test"), json!({})).await.expect(202);
    receiver.wait_for(1).await;
    let log = world.owner().get(DELIVERIES).await.expect(200);
    let path = format!("{DELIVERIES}/{}/replay", items(&log)[0]["id"].as_str().unwrap());
    let delivered =
        async || world.owner().get(DELIVERIES).await.expect(200)["items"][0]["state"] == "delivered";
    wait_until("it is through", delivered).await;
    let racers = (0..12).map(|n| {
        let (owner, path) = (world.at(&world.owner(), n), path.clone());
        (Duration::ZERO, async move { owner.post(&path, json!({})).await })
    });
    let answers = at_once(racers.collect()).await;
    let taken = count(&answers, 202, "");
    assert!(taken >= 1 && taken + count(&answers, 409, "illegal_state") == 12, "{:?}", told(&answers));
    wait_until("it is through again", delivered).await;
    let heard = receiver.received();
    assert!((2..=1 + taken).contains(&heard.len()), "{} of {taken}", heard.len());
    assert!(heard.iter().all(|r| r.id() == heard[0].id()));
}

/// A merchant has so many webhooks and no more, however many are made at once.
async fn no_more_than_allowed(world: &World) {
    let most = hexiao_core::webhook::MAX_WEBHOOKS;
    let racers = (0..most + 6).map(|n| {
        let owner = world.at(&world.owner(), n);
        let body = json!({"name": "ERP", "url": "http://127.0.0.1:9/", "events": ["voucher.issued"]});
        (Duration::ZERO, async move { owner.post(WEBHOOKS, body).await })
    });
    let answers = at_once(racers.collect()).await;
    assert_eq!(count(&answers, 201, ""), most, "{:?}", told(&answers));
    assert_eq!(count(&answers, 409, "illegal_state"), 6, "{:?}", told(&answers));
}

/// Of a product, one rule is in force, however many are set at once, and every use has earned by one.
async fn rules_of_commission(world: &World) {
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 50).await;
    let customer = world.app.customer("小王").await;
    let bought = world.app.buy(&customer, &card, 1).await;
    let voucher = &bought.vouchers[0];
    let verifiers = world.verifiers(store, 6).await;
    for round in 0..4u32 {
        let mut racers: Vec<(Duration, futures::future::BoxFuture<'static, Answer>)> = Vec::new();
        for (n, verifier) in verifiers.iter().enumerate() {
            let pause = Duration::from_millis(5) * u32::try_from(n).unwrap();
            let verifier = world.at(verifier, n);
            let qr = world.app.voucher(&customer, voucher).await["qr"].clone();
            let prepared = verifier.prepare(store, &qr).await.expect(200);
            let (body, key) = (confirm_body(store, &prepared, voucher, 1), fresh_key());
            racers.push((pause, Box::pin(async move { verifier.post_key(CONFIRM, &key, body).await })));
            let owner = world.at(&world.owner(), n);
            let body = json!({"basis_points": 100 * round + u32::try_from(n).unwrap(), "per_use_fen": 1});
            racers.push((
                pause,
                Box::pin(async move { owner.post("/api/v1/merchant/commission-rules", body).await }),
            ));
        }
        let answers = at_once(racers).await;
        assert_eq!(count(&answers, 201, ""), 12, "{:?}", told(&answers));
    }
    let in_force = "SELECT COUNT(*) AS n FROM commission_rules WHERE ended_at IS NULL";
    assert_eq!(rows(world, in_force).await, 1);
    crate::snapshot::settled(&world.app).await;
    let entries = rows(world, "SELECT COUNT(*) AS n FROM commission_entries").await;
    // Before the first rule there may have been a use or two.
    assert!((18..=24).contains(&entries), "{entries}");
}

everywhere!(servers_send_each_event_once, each_event_is_sent_once);
everywhere!(many_replay_the_same, replays);
everywhere!(webhooks_are_counted, no_more_than_allowed);
everywhere!(commission_counts_by_one_rule, rules_of_commission);
