//! What is old and no longer needed goes; what is evidence, unread or dead stays.

use hexiao_db::{DbError, outbox, params, sql, transact};
use hexiao_testkit::{Shop, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::steps::{
    ask_refund, days, dead_job, items, key, order_path, owner_again, placed, refund_in, seconds, text, titles,
};

async fn count(app: &TestApp, from: &str) -> i64 {
    let text = format!("SELECT COUNT(*) AS n FROM {from}");
    sql::row(app.app.db.reader(), &text, vec![]).await.unwrap().unwrap().get("n").unwrap()
}

async fn execute(app: &TestApp, text: &str) {
    let done: Result<u64, DbError> = transact!(app.app.db, |tx| sql::execute(&tx, text, vec![]));
    assert!(done.unwrap() > 0, "{text}");
}

async fn prune_all(app: &TestApp) -> usize {
    let mut all = 0;
    loop {
        match app.app.prune().await.unwrap() {
            0 => return all,
            some => all += some,
        }
    }
}

/// A paid and refunded order and one that was closed, with their messages.
async fn trade(app: &TestApp) -> (Shop, String) {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 9900, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let asked = ask_refund(&customer, &bought.order, Value::Null, &key()).await.expect(201);
    refund_in(&owner, text(&asked["id"]), "Succeeded").await;
    let id = placed(app, &customer, &shop, 1).await;
    customer.post(&format!("{}/close", order_path(&id)), json!({})).await.expect(200);
    wait_until("four messages", async || titles(&customer).await.len() == 4).await;
    crate::snapshot::settled(app).await;
    (shop, text(&asked["id"]).to_owned())
}

/// Lets the checks that were planned run and find nothing left to do.
async fn no_open_jobs(app: &TestApp) {
    app.advance(seconds(3 * 3600));
    let open = async || count(app, "jobs WHERE state IN ('Ready', 'Running')").await;
    wait_until("no job waits", async || open().await == 0).await;
}

on_both!(what_is_old_and_read_goes_and_the_rest_stays, |app| async {
    let (shop, refund) = trade(&app).await;
    no_open_jobs(&app).await;
    let dead = dead_job(&app, "refund_check", &refund).await;
    let (events, keys) = (count(&app, "outbox").await, count(&app, "idempotency_keys").await);
    let done = count(&app, "jobs WHERE state = 'Done'").await;
    assert!(events == 4 && done > 0 && keys > 0, "{events} {done} {keys}");

    app.advance(days(6));
    assert_eq!(prune_all(&app).await, 0, "nothing is old yet");
    app.advance(days(1) + seconds(3600));
    assert_eq!(i64::try_from(prune_all(&app).await).unwrap(), events + done);
    assert_eq!((count(&app, "outbox").await, count(&app, "jobs WHERE state = 'Done'").await), (0, 0));
    assert_eq!(count(&app, "idempotency_keys").await, keys);
    let owner = owner_again(&app).await;
    let open = owner.get("/api/v1/merchant/jobs?state=dead").await.expect(200);
    assert_eq!(items(&open).iter().map(|job| text(&job["id"])).collect::<Vec<_>>(), [dead]);
    let customer = app.customer("小王").await;
    assert_eq!(titles(&customer).await.len(), 4, "the messages stay");
    app.verify().await;

    // Numbers go on where they were: a new message is not taken for one that is there.
    let id = placed(&app, &customer, &shop, 1).await;
    customer.post(&format!("{}/close", order_path(&id)), json!({})).await.expect(200);
    wait_until("the fifth message", async || titles(&customer).await.len() == 5).await;
    app.verify().await;
    // Deleted by somebody else, a source is missed.
    execute(&app, "DELETE FROM outbox").await;
    let report = hexiao_db::verify::verify(&app.app.db, |_| {}).await.unwrap();
    assert_eq!(report.first_broken().map(|(check, _)| check.name), Some("message_source"));
});

on_both!(what_somebody_has_not_read_stays, |app| async {
    trade(&app).await;
    app.advance(days(8));
    let prune = async |consumers: &[&str], limit: u32| -> u64 {
        let before = app.app.now().minus(chrono::Duration::days(7));
        let done: Result<u64, DbError> =
            transact!(app.app.db, |tx| outbox::prune(&tx, consumers, before, limit));
        done.unwrap()
    };
    assert_eq!(prune(&["inbox", "printer"], 10).await, 0, "the printer has read nothing yet");
    let half = "INSERT INTO consumer_positions (consumer, tx, seq)
                SELECT 'other', tx, seq FROM outbox ORDER BY tx, seq LIMIT 1 OFFSET 2";
    execute(&app, half).await;
    assert_eq!(prune(&["inbox"], 2).await, 2, "no more than it was told");
    assert_eq!(prune(&["inbox"], 10).await, 1, "the fourth is not read by the other");
    assert_eq!(prune(&["inbox"], 10).await, 0);
    execute(&app, "DELETE FROM consumer_positions WHERE consumer = 'other'").await;
    assert_eq!(prune(&["inbox"], 10).await, 1);
    app.verify().await;
});

on_both!(sessions_go_a_month_after_their_end, |app| async {
    let owner = app.owner().await;
    let (ended, kept) = (app.customer("小王").await, app.customer("小李").await);
    ended.delete("/api/v1/auth/session").await.expect(204);
    let sessions = async |of: &str| {
        let text = "SELECT COUNT(*) AS n FROM sessions WHERE customer_id = $1";
        let id = <hexiao_core::id::CustomerId as hexiao_core::id::Id>::parse(of).unwrap();
        let row = sql::row(app.app.db.reader(), text, params![id]).await.unwrap().unwrap();
        row.get::<i64>("n").unwrap()
    };
    owner.get("/api/v1/auth/me").await.expect(200);
    app.advance(days(29));
    prune_all(&app).await;
    assert_eq!((sessions(&ended.id).await, sessions(&kept.id).await), (1, 1));
    app.advance(days(2));
    prune_all(&app).await;
    assert_eq!((sessions(&ended.id).await, sessions(&kept.id).await), (0, 1), "ended a month ago");
    app.advance(days(30));
    prune_all(&app).await;
    assert_eq!(sessions(&kept.id).await, 0, "expired a month ago");
    assert_eq!(kept.get("/api/v1/auth/me").await.status, 401);
    owner_again(&app).await.get("/api/v1/auth/me").await.expect(200);
    app.verify().await;
});

on_both!(evidence_is_kept_for_its_time, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(1, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    let body = json!({"store_id": shop.store, "input": {"code": "123456789014"}});
    assert!(verifier.post("/api/v1/staff/redemptions/prepare", body).await.status >= 400);
    assert_eq!(owner.get("/api/v1/merchant/stores").await.status, 200);
    let (attempts, audit) = (count(&app, "redemption_attempts").await, count(&app, "audit_log").await);
    assert!(attempts > 0 && audit > 0, "{attempts} {audit}");
    let keys = count(&app, "idempotency_keys").await;
    assert!(keys > 0);

    app.advance(days(89));
    prune_all(&app).await;
    assert_eq!(count(&app, "idempotency_keys").await, keys);
    app.advance(days(2));
    prune_all(&app).await;
    assert_eq!(count(&app, "idempotency_keys").await, 0, "nobody repeats a request of three months ago");
    assert_eq!(count(&app, "redemption_attempts").await, attempts);
    app.advance(days(183 - 91));
    prune_all(&app).await;
    assert_eq!(count(&app, "redemption_attempts").await, attempts, "six months are not over");
    app.advance(days(2));
    prune_all(&app).await;
    assert_eq!((count(&app, "redemption_attempts").await, count(&app, "audit_log").await), (0, audit));
    app.advance(days(1_095 - 185));
    prune_all(&app).await;
    assert_eq!(count(&app, "audit_log").await, audit, "three years are not over");
    app.advance(days(2));
    prune_all(&app).await;
    assert_eq!(count(&app, "audit_log").await, 0);
    let customer = app.customer("小王").await;
    assert_eq!(customer.get(&order_path(&bought.order)).await.status, 200);
    app.verify().await;
});
