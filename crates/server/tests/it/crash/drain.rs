//! The server is asked to stop while requests come in: each is answered or its connection refused, so that whoever
//! asked knows what was done.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use hexiao_db::sql;
use hexiao_testkit::Backend;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::{USES, World};

const COUNTERS: usize = 12;
const VOUCHERS: usize = 4;

/// What the counters of a shop were told.
#[derive(Default)]
struct Told {
    stopping: AtomicBool,
    redeemed: AtomicUsize,
    answered_late: AtomicUsize,
    refused: AtomicUsize,
}

/// Vouchers with their tickets.
async fn vouchers(world: &World, n: usize) -> Vec<(String, Value)> {
    let customer = world.customer(&format!("guest-{n}")).await;
    let mut bought = Vec::new();
    for _ in 0..VOUCHERS {
        let voucher = world.bought(&customer).await.1;
        let shown = customer.get(&format!("/api/v1/customer/vouchers/{voucher}")).await.expect(200);
        bought.push((voucher, shown["qr"].clone()));
    }
    bought
}

/// Scans and confirms until the server takes nobody in any more.
async fn redeem(world: &World, told: &Told, vouchers: &[(String, Value)]) {
    for (voucher, qr) in vouchers {
        let scan = world.scan(qr);
        for _ in 0..USES {
            let path = "/api/v1/staff/redemptions/prepare";
            let Some(prepared) =
                told.ask(world.verifier.try_send(Method::POST, path, Some(scan.clone()), None).await)
            else {
                return;
            };
            assert_eq!(prepared.status, 200, "{}", prepared.body);
            let body = json!({
                "store_id": world.store, "prepare_token": prepared.body["prepare_token"], "acknowledge": ["just_redeemed"],
                "items": [{"voucher_id": voucher, "quantity": 1}],
            });
            let key = uuid::Uuid::now_v7().to_string();
            let path = "/api/v1/staff/redemptions";
            let Some(confirmed) =
                told.ask(world.verifier.try_send(Method::POST, path, Some(body), Some(&key)).await)
            else {
                return;
            };
            assert_eq!(confirmed.status, 201, "{}", confirmed.body);
            told.redeemed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Told {
    /// The answer; nothing when the connection was refused, which only a server that stops may do.
    fn ask(&self, sent: reqwest::Result<hexiao_testkit::Answer>) -> Option<hexiao_testkit::Answer> {
        let stopping = self.stopping.load(Ordering::SeqCst);
        match sent {
            Ok(answer) => {
                self.answered_late.fetch_add(usize::from(stopping), Ordering::SeqCst);
                Some(answer)
            }
            Err(error) => {
                assert!(stopping && error.is_connect(), "an accepted connection broke: {error:?}");
                self.refused.fetch_add(1, Ordering::SeqCst);
                None
            }
        }
    }
}

/// Asks on one connection whether the server is ready until it says something else; what it says then.
async fn until_unready(mut stream: TcpStream) -> String {
    let mut last = String::new();
    let began = Instant::now();
    loop {
        let asked = began.elapsed();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        let answer = String::from_utf8_lossy(&bytes[..read]).to_lowercase();
        if !answer.starts_with("http/1.1 200") {
            return format!("{answer} at {asked:?}..{:?} after {last}", began.elapsed());
        }
        last = format!("{answer} at {asked:?}..{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn every_request_is_answered_or_refused(backend: Backend) {
    let (world, mut server) = World::new(backend).await;
    let told = Told::default();
    let probe = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let bought = join_all((0..COUNTERS).map(|n| vouchers(&world, n))).await;
    let stop = async {
        tokio::time::timeout(Duration::from_mins(1), async {
            while told.redeemed.load(Ordering::SeqCst) < 2 * COUNTERS {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("nobody redeems");
        told.stopping.store(true, Ordering::SeqCst);
        server.terminate().await;
        let unready = until_unready(probe).await;
        assert!(unready.starts_with("http/1.1 503") && unready.contains("connection: close"), "{unready}");
        assert_eq!(server.ended().await, Some(0));
    };
    tokio::join!(stop, join_all(bought.iter().map(|vouchers| redeem(&world, &told, vouchers))));
    let db = world.db().await;
    let counted =
        sql::row(db.reader(), "SELECT COUNT(*) AS n FROM redemptions", vec![]).await.unwrap().unwrap();
    let redeemed = i64::try_from(told.redeemed.load(Ordering::SeqCst)).unwrap();
    assert_eq!(counted.get::<i64>("n").unwrap(), redeemed, "nobody is left in doubt");
    db.close().await;
    world.verify().await;
    // What the worker had begun goes on.
    let server = world.serve(None).await;
    world.drained().await;
    world.nothing_doubled().await;
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_answers_or_refuses_sqlite() {
    every_request_is_answered_or_refused(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_answers_or_refuses_postgres() {
    every_request_is_answered_or_refused(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_ever() {
    let (world, server) = World::new(Backend::Sqlite).await;
    let customer = world.customer("guest").await;
    let voucher = world.bought(&customer).await.1;
    let prepared = world.prepared(&customer, &voucher).await;
    server.kill().await;
    let mut server = world.serve(Some("confirm.after_commit")).await;
    let intent = world.confirm(&prepared, &voucher, 1);
    let in_flight = super::intent::InFlight::default();
    let stop = async {
        world.held("confirm.after_commit").await;
        let started = Instant::now();
        server.terminate().await;
        assert_eq!(server.ended().await, Some(0));
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    };
    let (sent, ()) = tokio::join!(intent.send(&in_flight), stop);
    assert!(sent.acknowledged.is_none());
    // It was committed: its repetition is told so.
    let server = world.serve(None).await;
    intent.repeat().await;
    world.verify().await;
    server.kill().await;
}
