//! Two servers start at once on a database that was restored from another PostgreSQL cluster.

use super::*;

/// What the dump of a cluster looks like that had seen many more transactions.
const OLDER: [&str; 2] = [
    "UPDATE outbox SET tx = tx + 1000000000000",
    "UPDATE consumer_positions SET tx = tx + 1000000000000 WHERE tx > 0",
];

async fn close_an_order(app: &TestApp, at: &Client, shop: &Shop) {
    let id = app.order(at, shop, 1).await.expect(201)["id"].as_str().unwrap().to_owned();
    at.post(&format!("/api/v1/customer/orders/{id}/close"), json!({})).await.expect(200);
}

async fn inbox(customer: &Client) -> usize {
    let all = customer.get("/api/v1/customer/messages?limit=100").await.expect(200);
    all["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_or_repeated_when_two_servers_start_on_a_restored_database() {
    let app = TestApp::start(Backend::Postgres).await;
    let (customer, shop) = (app.customer("小王").await, app.shop(1, 100, None).await);
    for _ in 0..5 {
        close_an_order(&app, &customer, &shop).await;
    }
    wait_until("five messages", async || inbox(&customer).await == 5).await;
    let shifted: Result<(), hexiao_db::DbError> = hexiao_db::transact!(app.app.db, |tx| async {
        for text in OLDER {
            hexiao_db::sql::execute(&tx, text, vec![]).await?;
        }
        Ok(())
    });
    shifted.unwrap();
    // The test's own server had started before: nobody reads this one yet.
    close_an_order(&app, &customer, &shop).await;

    let env = [("HEXIAO_PUBLIC_URL", app.url.as_str())];
    let wechat = app.sim.url();
    let start = || ServerProcess::start(app.data(), &app.database_url, &wechat, &env);
    let (one, two) = tokio::join!(start(), start());
    for process in [&one, &two] {
        close_an_order(&app, &customer.at(&process.url), &shop).await;
    }
    wait_until("eight messages", async || inbox(&customer).await >= 8).await;
    assert_eq!(inbox(&customer).await, 8);
    app.verify().await;
}
