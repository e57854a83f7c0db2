//! Killed at random moments of a load of orders, payments, redemptions, reversals and refunds. Clients do what good
//! clients do: they repeat what was not answered, with the same key.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use hexiao_testkit::{Backend, Client, ServerProcess};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::intent::{InFlight, Intent, Sent, What};
use super::world::{PRICE_FEN, USES, World, text};
use crate::support::{eventually, seeds};

const CLIENTS: u64 = 8;
const KILLS: usize = 5;
/// The longest a request waits for the server to come back.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// What the clients were told, in memory only.
#[derive(Default)]
struct Told {
    /// Everything that was acknowledged.
    sent: Vec<Sent>,
    /// What orders must come to.
    orders: Vec<Expected>,
}

/// An order that went its whole way.
struct Expected {
    customer: Client,
    order: String,
    paid: bool,
    /// Serials that stand as redeemed.
    used: Vec<u32>,
    refunded: u32,
}

struct Load {
    world: World,
    told: Mutex<Told>,
    in_flight: InFlight,
    broken: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    /// Sends a request until it is acknowledged, through any number of restarts.
    async fn done(&self, intent: Intent) -> Value {
        let mut answer = None;
        eventually("the request is answered", BACK_WITHIN, async || {
            let sent = intent.send(&self.in_flight).await;
            match &sent.acknowledged {
                Some(body) => {
                    answer = Some(body.clone());
                    self.told.lock().unwrap().sent.push(sent);
                }
                None => _ = self.broken.fetch_add(1, Ordering::SeqCst),
            }
            answer.is_some()
        })
        .await;
        answer.unwrap()
    }

    /// Reads, until the server is there to answer.
    async fn read(&self, who: &Client, path: &str) -> Value {
        let mut body = Value::Null;
        eventually(path, BACK_WITHIN, async || {
            let answer = who.try_send(reqwest::Method::GET, path, None, None).await;
            body = answer.ok().filter(|a| a.status == 200).map_or(Value::Null, |a| a.body);
            !body.is_null()
        })
        .await;
        body
    }

    /// A prepare for a voucher: it changes nothing, so it is simply asked again.
    async fn prepared(&self, customer: &Client, voucher: &str) -> Value {
        let shown = self.read(customer, &format!("/api/v1/customer/vouchers/{voucher}")).await;
        let mut token = Value::Null;
        eventually("a prepare is answered", BACK_WITHIN, async || {
            let (path, body) = ("/api/v1/staff/redemptions/prepare", self.world.scan(&shown["qr"]));
            let answer = self.world.verifier.try_send(reqwest::Method::POST, path, Some(body), None).await;
            token = answer
                .ok()
                .filter(|a| a.status == 200)
                .map_or(Value::Null, |a| a.body["prepare_token"].clone());
            !token.is_null()
        })
        .await;
        token
    }

    /// One client, until the load is over.
    async fn client(&self, customer: Client, mut dice: ChaCha8Rng) {
        while !self.over.load(Ordering::SeqCst) {
            let expected = self.life(&customer, &mut dice).await;
            self.told.lock().unwrap().orders.push(expected);
        }
    }

    /// One order: placed, closed or paid, redeemed, undone, refunded, as the dice say.
    async fn life(&self, customer: &Client, dice: &mut ChaCha8Rng) -> Expected {
        let order = text(&self.done(self.world.order(customer)).await["id"]);
        let mut expected = Expected {
            customer: customer.clone(),
            order: order.clone(),
            paid: false,
            used: Vec::new(),
            refunded: 0,
        };
        if dice.random_ratio(1, 6) {
            self.done(World::close(customer, &order)).await;
            return expected;
        }
        let sheet = self.done(World::sheet(customer, &order)).await;
        self.world.pay(&sheet);
        expected.paid = true;
        let path = format!("/api/v1/customer/orders/{order}");
        let mut voucher = String::new();
        eventually("the payment settles", Duration::from_mins(1), async || {
            let body = self.read(customer, &path).await;
            body["vouchers"][0]["id"].as_str().inspect(|id| (*id).clone_into(&mut voucher)).is_some()
        })
        .await;
        let quantity = dice.random_range(1..=USES);
        for undo in [dice.random_bool(0.5), false] {
            let token = self.prepared(customer, &voucher).await;
            let confirmed = self.done(self.world.confirm(&token, &voucher, quantity)).await;
            let serials: Vec<u32> =
                serde_json::from_value(confirmed["results"][0]["serials"].clone()).unwrap();
            assert_eq!(serials, (1..=quantity).collect::<Vec<_>>(), "the lowest free ones");
            if !undo {
                expected.used = serials;
                break;
            }
            self.done(self.world.reverse(&text(&confirmed["id"]))).await;
        }
        if quantity < USES && dice.random_bool(0.7) {
            let refund = self.done(World::refund(customer, &order)).await;
            expected.refunded = USES - quantity;
            assert_eq!(refund["items"][0]["quantity"], expected.refunded);
        }
        expected
    }

    /// Kills the server again and again; the last one stays.
    async fn killer(&self, mut server: ServerProcess, mut dice: ChaCha8Rng) -> ServerProcess {
        let mut proven = 0;
        for kill in 1..=KILLS {
            tokio::time::sleep(Duration::from_millis(dice.random_range(300..1500))).await;
            eventually("requests are in flight", BACK_WITHIN, async || self.in_flight.now() > 0).await;
            let broken = self.broken.load(Ordering::SeqCst);
            server.kill().await;
            let noticed = async || self.broken.load(Ordering::SeqCst) > broken;
            eventually("a client was cut off", BACK_WITHIN, noticed).await;
            server = self.world.serve(None).await;
            let acknowledged = self.told.lock().unwrap().sent.len();
            eprintln!("kill {kill}: {acknowledged} requests acknowledged so far");
            self.world.verify().await;
            self.acknowledged_is_there(proven).await;
            proven = acknowledged;
        }
        self.over.store(true, Ordering::SeqCst);
        server
    }

    /// What was acknowledged is there, from a position on.
    async fn acknowledged_is_there(&self, from: usize) {
        // An order that is paid has no payment sheet any more.
        let lasting = |s: &&Sent| s.intent.what != What::Pay;
        let sent: Vec<Sent> =
            self.told.lock().unwrap().sent[from..].iter().filter(lasting).cloned().collect();
        for some in sent.chunks(16) {
            join_all(some.iter().map(Sent::prove_exactly_once)).await;
        }
    }

    /// Each order came to what its client was told.
    async fn orders_are_as_told(&self) {
        let orders = std::mem::take(&mut self.told.lock().unwrap().orders);
        assert!(orders.len() >= KILLS, "hardly any load: {} orders", orders.len());
        for expected in orders {
            let path = format!("/api/v1/customer/orders/{}", expected.order);
            let order = self.read(&expected.customer, &path).await;
            if !expected.paid {
                assert_eq!((&order["state"], &order["close_reason"]), (&json!("Closed"), &json!("customer")));
                continue;
            }
            assert_eq!((&order["state"], &order["pay_fen"]), (&json!("Paid"), &json!(PRICE_FEN)));
            assert_eq!(order["vouchers"].as_array().unwrap().len(), 1, "{order}");
            let id = text(&order["vouchers"][0]["id"]);
            let voucher = self.read(&expected.customer, &format!("/api/v1/customer/vouchers/{id}")).await;
            let standing: Vec<u64> = voucher["uses"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|u| u["reversed"] == json!(false))
                .map(|u| u["serial"].as_u64().unwrap())
                .collect();
            let used: Vec<u64> = expected.used.iter().map(|s| u64::from(*s)).collect();
            assert_eq!(standing, used, "{voucher}");
            assert_eq!(voucher["refunded"], expected.refunded, "{voucher}");
        }
    }
}

async fn killed_at_random(backend: Backend, seed: u64) {
    let (world, server) = World::new(backend).await;
    let load = Load {
        world,
        told: Mutex::default(),
        in_flight: InFlight::default(),
        broken: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    };
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let customer = load.world.customer(&format!("顾客{n}")).await;
        clients.push(load.client(customer, ChaCha8Rng::seed_from_u64(dice.random())));
    }
    let (_, _server) = futures::join!(join_all(clients), load.killer(server, dice));
    load.world.drained().await;
    load.acknowledged_is_there(0).await;
    load.orders_are_as_told().await;
    load.world.verify().await;
    load.world.nothing_doubled().await;
}

async fn all_seeds(backend: Backend) {
    for seed in 0..seeds(1) {
        eprintln!("seed {seed}");
        killed_at_random(backend, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_moments_on_sqlite() {
    all_seeds(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_moments_on_postgres() {
    all_seeds(Backend::Postgres).await;
}
