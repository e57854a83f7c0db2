//! WeChat's callback of one payment, many times at once.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use hexiao_testkit::{Backend, ServerProcess, TestApp, free_port, wait_until};
use hexiao_wechat_sim::{Fault, FaultAction};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{World, at_once, in_one_process};

const COPIES: u8 = 20;
const ORDERS: usize = 8;

in_one_process!(settles_once, settles_once);

/// Passes each callback on to both processes at once, byte for byte. Status codes compare as numbers: it answers the
/// worse one.
async fn to_both(urls: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let pass_on = async move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let post = |url: &String| {
            let mut headers = headers.clone();
            headers.remove("host");
            http.post(format!("{url}{uri}")).headers(headers).body(body.clone()).send()
        };
        let (first, second) = tokio::join!(post(&urls[0]), post(&urls[1]));
        first.unwrap().status().max(second.unwrap().status())
    };
    let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let pass_on = pass_on.clone();
        async move { pass_on(uri, headers, body).await }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settles_once_in_two_processes() {
    let app = TestApp::start(Backend::Postgres).await;
    let ports = [free_port(), free_port()];
    let urls: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    let callbacks = to_both(urls.clone()).await;
    let env = [("HEXIAO_PUBLIC_URL", callbacks.as_str())];
    let mut processes = Vec::new();
    for port in ports {
        processes
            .push(ServerProcess::start_on(port, app.data(), &app.database_url, &app.sim.url(), &env).await);
    }
    let world = World::of(app, urls, processes).await;
    settles_once(&world).await;
    world.finish().await;
}

async fn settles_once(world: &World) {
    let app = &world.app;
    let shop = app.shop(2, 1001, Some(100)).await;
    app.sim.set_fault(Fault::new(FaultAction::Duplicate { copies: COPIES }).times(None)).unwrap();
    let mut bought = Vec::new();
    for n in 0..ORDERS {
        let customer = app.customer(&format!("c{n}")).await;
        let order = app.order(&customer, &shop, 3).await.expect(201)["id"].as_str().unwrap().to_owned();
        let sheet = app.sheet(&world.at(&customer, n), &order).await;
        bought.push((customer, order, sheet));
    }
    for (_, _, sheet) in &bought {
        app.pay(sheet);
    }
    let all_sent = async || app.sim.notifications().iter().all(|n| n.attempts.len() >= usize::from(COPIES));
    wait_until("every copy was sent", all_sent).await;
    app.sim.clear_faults();
    let ids: Vec<String> = app.sim.notifications().into_iter().map(|n| n.id).collect();
    let resends = (0..usize::from(COPIES)).map(|n| {
        let (sim, id) = (app.sim.sim().clone(), ids[n % ids.len()].clone());
        (Duration::ZERO, async move { sim.resend(&id).await.unwrap() })
    });
    at_once(resends.collect()).await;

    let notifications = app.sim.notifications();
    assert_eq!(notifications.len(), ORDERS);
    for attempt in notifications.iter().flat_map(|n| &n.attempts) {
        assert!(attempt.delivery.accepted(), "{attempt:?}");
    }
    for (customer, order, _) in &bought {
        let found = customer.get(&format!("/api/v1/customer/orders/{order}")).await.expect(200);
        assert_eq!(found["state"], "Paid");
        assert_eq!(found["vouchers"].as_array().unwrap().len(), 3, "one set of vouchers");
        assert_eq!(found["refunds"], json!([]));
        assert_eq!(world.ledger(order).await, ["payment"]);
        assert_eq!(paid_events(world, order).await, 1);
    }
    let sold = i64::try_from(3 * ORDERS).unwrap();
    assert_eq!(world.stock(&shop.sku).await, (100 - sold, 0));
    let anomalies = world.owner().get("/api/v1/merchant/payment-anomalies").await.expect(200);
    assert_eq!(anomalies["items"], json!([]));
}

async fn paid_events(world: &World, order: &str) -> usize {
    let path = format!("/api/v1/merchant/orders/{order}");
    let found: Value = world.owner().get(&path).await.expect(200);
    found["events"].as_array().unwrap().iter().filter(|e| e["event"] == "pay").count()
}
