//! Several servers read the same news, and several people look at the same flag: each is written once.

use super::*;
use crate::risks::store_at;
use crate::steps::items;

const TRAVELLERS: u32 = 8;

/// Everybody redeems in two towns at once.
async fn each_is_flagged_once(world: &World) {
    let here = store_at(&world.owner(), "上海店", 31.2, &[]).await;
    let there = store_at(&world.owner(), "南通店", 32.1, &[]).await;
    let sku = json!({"name": "次卡", "price_fen": 1001, "uses": 9, "binding": "any_in_scope"});
    let card = world.app.shop_in(here, sku).await;
    let travel = |n: u32| {
        let (app, card) = (&world.app, card.clone());
        async move {
            let verifier = app.verifier(&[here, there]).await;
            let customer = app.customer(&format!("顾客{n}")).await;
            let bought = app.buy(&customer, &card, 4).await;
            for (voucher, store) in bought.vouchers.iter().zip([here, there, here, there]) {
                let verifier = world.at(&verifier, usize::try_from(n).unwrap());
                verifier.redeem(app, &customer, store, voucher, 1).await.expect(201);
            }
        }
    };
    futures::future::join_all((0..TRAVELLERS).map(travel)).await;
    crate::snapshot::settled(&world.app).await;
    let path = "/api/v1/merchant/risk-flags?limit=100";
    let found = world.owner().get(path).await.expect(200);
    let kinds: Vec<&Value> = items(&found).iter().map(|f| &f["kind"]).collect();
    assert_eq!(kinds, vec!["impossible_travel"; usize::try_from(TRAVELLERS).unwrap()], "{found}");

    let one = items(&found)[0]["id"].as_str().unwrap();
    let path = format!("/api/v1/merchant/risk-flags/{one}/acknowledge");
    let mut racers = Vec::new();
    for n in 0..6 {
        let manager = world.at(&world.app.manager(&[here, there]).await, n);
        let path = path.clone();
        racers.push((Duration::ZERO, async move { manager.post(&path, json!({"note": "已核实"})).await }));
    }
    let answers = at_once(racers).await;
    assert_eq!(count(&answers, 200, ""), 1, "{:?}", told(&answers));
    assert_eq!(count(&answers, 409, "illegal_state"), 5, "{:?}", told(&answers));
}

everywhere!(each_journey_is_flagged_once, each_is_flagged_once);
