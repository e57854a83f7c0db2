//! Many retry the same dead job: one gets through, and there is one job.

use super::*;
use crate::steps::dead_job;

const RACERS: usize = 12;

async fn retries(world: &World) {
    let customer = world.app.customer("小王").await;
    let store = world.app.store("人民广场店").await;
    let card = world.card(store, 3).await;
    let bought = world.app.buy(&customer, &card, 1).await;
    let path = format!("/api/v1/customer/orders/{}/refunds", bought.order);
    let asked = customer.post_key(&path, &fresh_key(), json!({"reason": "不想要了"})).await.expect(201);
    let refund = asked["id"].as_str().unwrap().to_owned();
    for _ in 0..4 {
        let job = dead_job(&world.app, "refund_check", &refund).await;
        let path = format!("/api/v1/merchant/jobs/{job}/retry");
        let racers = (0..RACERS).map(|n| {
            let (owner, path) = (world.at(&world.owner(), n), path.clone());
            (Duration::ZERO, async move { owner.post(&path, json!({})).await })
        });
        let answers = at_once(racers.collect()).await;
        assert_eq!(count(&answers, 200, ""), 1, "{:?}", told(&answers));
        assert_eq!(count(&answers, 409, "illegal_state"), RACERS - 1, "{:?}", told(&answers));
    }
    let audited = hexiao_db::sql::row(
        world.app.app.db.reader(),
        "SELECT COUNT(*) AS n FROM audit_log WHERE action = 'job.retry'",
        vec![],
    );
    assert_eq!(audited.await.unwrap().unwrap().get::<i64>("n").unwrap(), 4);
}

everywhere!(one_retry_gets_through, retries);
