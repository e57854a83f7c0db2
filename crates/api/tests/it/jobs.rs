//! Jobs that failed too often: seen by headquarters, and retried once each.

use hexiao_core::catalog::Role;
use hexiao_core::id::{Id as _, JobId};
use hexiao_db::{params, sql};
use hexiao_testkit::{Client, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{ask_refund, broken, dead_job, items, key, refund_in, text};

const DEAD: &str = "/api/v1/merchant/jobs?state=dead";

async fn dead(who: &Client) -> Vec<Value> {
    items(&who.get(DEAD).await.expect(200)).clone()
}

fn retry_path(job: &str) -> String {
    format!("/api/v1/merchant/jobs/{job}/retry")
}

/// A refund of an order of three uses.
async fn refund(app: &TestApp, customer: &Client) -> String {
    let shop = app.shop(3, 9900, None).await;
    let bought = app.buy(customer, &shop, 1).await;
    let asked = ask_refund(customer, &bought.order, Value::Null, &key()).await.expect(201);
    text(&asked["id"]).to_owned()
}

async fn count(app: &TestApp, statement: &str, id: &str) -> i64 {
    let row = sql::row(app.app.db.reader(), statement, params![id]).await.unwrap().unwrap();
    row.get("n").unwrap()
}

on_both!(a_dead_job_is_seen_by_headquarters_and_retried_once, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let refund = refund(&app, &customer).await;
    refund_in(&owner, &refund, "Succeeded").await;
    assert!(dead(&owner).await.is_empty());
    let job = dead_job(&app, "refund_submit", &refund).await;

    let found = dead(&app.staff(Role::Finance, &[]).await).await;
    assert_eq!(found.len(), 1);
    let seen = &found[0];
    assert_eq!((text(&seen["id"]), text(&seen["subject_id"])), (job.as_str(), refund.as_str()));
    assert_eq!(
        (&seen["state"], &seen["attempts"], &seen["taken_over"]),
        (&json!("dead"), &json!(20), &json!(false))
    );
    assert_eq!((text(&seen["kind"]), text(&seen["kind_text"])), ("refund_submit", "向微信提交退款"));
    assert!(seen["next_run_at"].is_null() && seen["died_at"].is_string());
    assert!(!seen.to_string().contains("database"), "internal text stays inside: {seen}");
    assert!(dead(&app.other_owner().await).await.is_empty());

    let retried = owner.post(&retry_path(&job), json!({})).await.expect(200);
    assert_eq!((text(&retried["subject_id"]), &retried["attempts"]), (refund.as_str(), &json!(0)));
    assert_eq!(text(&retried["state"]), "ready");
    assert!(dead(&owner).await.is_empty());
    refused(&owner.post(&retry_path(&job), json!({})).await, 409, "illegal_state", "");
    wait_until("the retried job is done", async || {
        let open = owner.get("/api/v1/merchant/jobs").await.expect(200);
        items(&open).iter().all(|job| job["kind"] != "refund_submit")
    })
    .await;
    let audited = "SELECT COUNT(*) AS n FROM audit_log WHERE action = 'job.retry' AND staff_id IS NOT NULL AND subject = $1";
    assert_eq!(count(&app, audited, &job).await, 1);
    refused(&owner.get("/api/v1/merchant/jobs?state=done").await, 400, "invalid_field", "state");
    let nowhere = JobId::from_uuid(uuid::Uuid::now_v7()).to_string();
    refused(&owner.post(&retry_path(&nowhere), json!({})).await, 404, "not_found", "");
    app.verify().await;
});

on_both!(a_retry_where_the_work_is_under_way_again_makes_no_second_job, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    broken(&app, "refund_create");
    let refund = refund(&app, &customer).await;
    let job = dead_job(&app, "refund_submit", &refund).await;
    let seen = dead(&owner).await;
    assert_eq!((seen.len(), &seen[0]["taken_over"]), (1, &json!(true)), "{seen:?}");
    let retried = owner.post(&retry_path(&job), json!({})).await.expect(200);
    assert_ne!(text(&retried["id"]), job);
    let open = owner.get("/api/v1/merchant/jobs").await.expect(200);
    let submits = items(&open).iter().filter(|j| j["kind"] == "refund_submit").count();
    assert_eq!(submits, 1, "{open}");
    app.sim.clear_faults();
    app.advance(crate::steps::seconds(3700));
    let owner = crate::steps::owner_again(&app).await;
    refund_in(&owner, &refund, "Succeeded").await;
    app.verify().await;
});

on_both!(dead_jobs_come_in_pages, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let refund = refund(&app, &customer).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(dead_job(&app, "refund_check", &refund).await);
    }
    let (mut seen, mut path) = (Vec::new(), format!("{DEAD}&limit=2"));
    loop {
        let page = owner.get(&path).await.expect(200);
        assert!(items(&page).len() <= 2);
        seen.extend(items(&page).iter().map(|job| text(&job["id"]).to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("{DEAD}&limit=2&cursor={next}");
    }
    made.reverse();
    assert_eq!(seen, made, "newest first, each once");
});
