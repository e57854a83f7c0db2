//! Many callers at once: whatever the order in which they come through, each effect happens once and the books agree.
//!
//! Every race runs on SQLite and on PostgreSQL in one process. Those for which a lock that lives in one process would
//! be enough to pass run against two `hexiao serve` processes on one PostgreSQL database as well.

mod backfill;
mod bookings;
mod daily_limit;
mod dead_job;
mod devices;
mod edits;
mod fuse;
mod last_item;
mod last_use;
mod offline;
mod over_time;
mod paid_or_closed;
mod refund_or_redeem;
mod restored;
mod reverse;
mod risk;
mod same_callback;
mod same_key;
mod webhook;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hexiao_core::id::StoreId;
use hexiao_testkit::{Answer, Backend, Client, PASSWORD, ServerProcess, Shop, TestApp, wait_until};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::Barrier;

/// One race in one world.
macro_rules! race_in {
    ($test:ident, $world:expr, $race:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let world = $world.await;
            $race(&world).await;
            world.finish().await;
        }
    };
}

/// A race in all three worlds.
macro_rules! everywhere {
    ($name:ident, $race:expr) => {
        mod $name {
            use super::*;
            super::super::race_in!(sqlite, World::one_process(Backend::Sqlite), $race);
            super::super::race_in!(postgres, World::one_process(Backend::Postgres), $race);
            super::super::race_in!(two_processes, World::two_processes(), $race);
        }
    };
}

/// A race in one process on both databases.
macro_rules! in_one_process {
    ($name:ident, $race:expr) => {
        mod $name {
            use super::*;
            super::super::race_in!(sqlite, World::one_process(Backend::Sqlite), $race);
            super::super::race_in!(postgres, World::one_process(Backend::Postgres), $race);
        }
    };
}

use {everywhere, in_one_process, race_in};

/// Where a race takes place.
struct World {
    app: TestApp,
    /// The servers that get the racing requests, in turn.
    urls: Vec<String>,
    processes: Vec<ServerProcess>,
    owner: Mutex<Client>,
}

impl World {
    async fn one_process(backend: Backend) -> Self {
        let app = TestApp::start(backend).await;
        let urls = vec![app.url.clone()];
        Self::of(app, urls, Vec::new()).await
    }

    async fn of(app: TestApp, urls: Vec<String>, processes: Vec<ServerProcess>) -> Self {
        let owner = Mutex::new(app.owner().await);
        Self { app, urls, processes, owner }
    }

    /// The world is set up by the test's own process; the racing requests go to two others.
    async fn two_processes() -> Self {
        let app = TestApp::start(Backend::Postgres).await;
        // One installation has one public address, whoever answers there: here the test's own process.
        let env = [("HEXIAO_PUBLIC_URL", app.url.as_str())];
        let mut processes = Vec::new();
        for _ in 0..2 {
            processes.push(ServerProcess::start(app.data(), &app.database_url, &app.sim.url(), &env).await);
        }
        let urls = processes.iter().map(|p| p.url.clone()).collect();
        Self::of(app, urls, processes).await
    }

    /// The same person at the `n`th server.
    fn at(&self, client: &Client, n: usize) -> Client {
        client.at(&self.urls[n % self.urls.len()])
    }

    fn owner(&self) -> Client {
        self.owner.lock().unwrap().clone()
    }

    /// After the clock was moved past the end of the owner's access token.
    async fn owner_signs_in_again(&self) {
        let again = self.app.sign_in("13800000001", PASSWORD).await.unwrap();
        *self.owner.lock().unwrap() = again;
    }

    /// Every invariant holds, nobody crashed, and the locks were taken in one order by all.
    async fn finish(mut self) {
        self.app.verify().await;
        for process in &mut self.processes {
            assert!(process.is_running(), "a server died");
        }
        if self.app.backend == Backend::Postgres {
            drop(self.processes);
            self.app.app.db.clone().close().await;
            assert_eq!(deadlocks(&self.app.database_url).await, 0, "deadlocks");
        }
    }

    /// Cards of so many uses that never sell out.
    async fn card(&self, store: StoreId, uses: u32) -> Shop {
        // An amount that does not divide evenly, so that the uses are worth different amounts.
        let sku = json!({"name": "次卡", "price_fen": 1001, "uses": uses, "validity": {"days": 30}});
        self.app.shop_in(store, sku).await
    }

    async fn verifiers(&self, store: StoreId, n: usize) -> Vec<Client> {
        let mut all = Vec::new();
        for _ in 0..n {
            all.push(self.app.verifier(&[store]).await);
        }
        all
    }

    /// What the merchant's ledger says of an order: the names of its events.
    async fn ledger(&self, order: &str) -> Vec<String> {
        let path = format!("/api/v1/merchant/ledger?limit=100&order_id={order}");
        let found = self.owner().get(&path).await.expect(200);
        let event = |t: &Value| t["event"].as_str().unwrap().to_owned();
        let mut events: Vec<String> = found["items"].as_array().unwrap().iter().map(event).collect();
        events.sort();
        events
    }

    /// On hand and reserved of a SKU with shared stock.
    async fn stock(&self, sku: &str) -> (i64, i64) {
        let list = self.owner().get("/api/v1/merchant/stock?limit=100").await.expect(200);
        let row = list["items"].as_array().unwrap().iter().find(|r| r["sku_id"] == sku).unwrap().clone();
        (row["on_hand"].as_i64().unwrap(), row["reserved"].as_i64().unwrap())
    }
}

/// How many deadlocks there were in a database that nobody else uses any more: a connection that has ended has
/// reported what it counted.
async fn deadlocks(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let others = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let deadline = Instant::now() + Duration::from_secs(30);
    while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut connection).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "somebody stays connected");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let text = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(text).fetch_one(&mut connection).await.unwrap()
}

/// How many seeds to try; `HEXIAO_SEEDS` overrides.
fn seeds(default: u64) -> u64 {
    std::env::var("HEXIAO_SEEDS").map_or(default, |text| text.parse().expect("HEXIAO_SEEDS is a number"))
}

fn fresh_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Starts all of them at the same moment, each after its own pause; answers in their order.
async fn at_once<T: Send + 'static>(
    racers: Vec<(Duration, impl Future<Output = T> + Send + 'static)>,
) -> Vec<T> {
    let start = Arc::new(Barrier::new(racers.len()));
    let run = |(pause, racer): (Duration, _)| {
        let start = start.clone();
        tokio::spawn(async move {
            start.wait().await;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            IntoFuture::into_future(racer).await
        })
    };
    let running: Vec<_> = racers.into_iter().map(run).collect();
    let mut answers = Vec::with_capacity(running.len());
    for task in running {
        answers.push(task.await.unwrap());
    }
    answers
}

/// A pause below so many milliseconds; none at all in a third of the cases.
fn jitter(rng: &mut ChaCha8Rng, below_ms: u64) -> Duration {
    if rng.random_bool(0.34) {
        return Duration::ZERO;
    }
    Duration::from_micros(rng.random_range(0..below_ms * 1000))
}

/// How many answers have this status and code (none for a success).
fn count(answers: &[Answer], status: u16, code: &str) -> usize {
    answers.iter().filter(|a| a.status == status && a.code() == code).count()
}

/// What was answered, for the message of a failed assertion.
fn told(answers: &[Answer]) -> Vec<String> {
    answers.iter().map(|a| format!("{} {}", a.status, a.code())).collect()
}

/// What a confirm for one voucher asks.
fn confirm_body(store: StoreId, prepared: &Value, voucher: &str, quantity: u32) -> Value {
    json!({
        "store_id": store, "prepare_token": prepared["prepare_token"], "acknowledge": ["just_redeemed"],
        "items": [{"voucher_id": voucher, "quantity": quantity}], "atomicity": "all",
    })
}

const CONFIRM: &str = "/api/v1/staff/redemptions";
const PREPARE: &str = "/api/v1/staff/redemptions/prepare";
