//! One seed: a shop, its people, a few dozen things that happen, and the reckoning.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hexiao_core::id::StoreId;
use hexiao_core::time::Timestamp;
use hexiao_db::sql;
use hexiao_testkit::{Answer, Backend, Client, PASSWORD, TestApp};
use hexiao_wechat_sim::RefundStatus;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use reqwest::Method;
use serde_json::{Value, json};

use super::model::{Card, Order, Redemption};
use crate::support::eventually;

const STEPS: usize = 220;
const VERIFY_EVERY: usize = 10;
const CUSTOMERS: usize = 4;
/// What time brings, as far as it is due.
const TIME_BRINGS: [&str; 3] = [
    "SELECT COUNT(*) AS n FROM vouchers WHERE (state = 'Live' AND valid_to <= $1) OR expire_again_at <= $1",
    "SELECT COUNT(*) AS n FROM uses WHERE state = 'Done' AND matures_at <= $1",
    "SELECT COUNT(*) AS n FROM orders WHERE remind_at <= $1",
];
/// What is under way ends by itself within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Uses, price, stock, days and refund policy of what is sold: prices that do not divide evenly, stock that runs out, a
/// card that is soon over.
const CARDS: [(u32, i64, Option<i64>, u32, &str); 3] = [
    (1, 100, Some(25), 30, "any_time"),
    (3, 1001, None, 1, "any_time"),
    (10, 99_999, Some(60), 30, "before_expiry"),
];

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Customer(usize),
    /// The last one is the manager.
    Staff(usize),
}

/// The world of one seed.
pub struct Run {
    pub app: TestApp,
    pub dice: ChaCha8Rng,
    pub store: StoreId,
    pub cards: Vec<Card>,
    customers: Vec<Client>,
    staff: Vec<Client>,
    pub orders: Vec<Order>,
    pub redemptions: Vec<Redemption>,
    /// Uses that nobody used in time.
    expired: u32,
    /// What happened, for the one who has to understand a failure.
    pub diary: Vec<String>,
}

/// Runs one seed; answers what there was.
pub async fn run(backend: Backend, seed: u64) -> String {
    let mut run = Run::new(backend, seed).await;
    for step in 1..=STEPS {
        run.step().await;
        if step % VERIFY_EVERY == 0 {
            run.app.verify().await;
        }
    }
    run.drain().await;
    run.reckon().await;
    run.app.verify().await;
    let vouchers: usize = run.orders.iter().map(|o| o.vouchers.len()).sum();
    let undone = run.redemptions.iter().filter(|r| r.undone).count();
    let refunds = run.app.sim.refunds().len();
    let little = vouchers < 10 || run.redemptions.len() < 5 || refunds == 0 || run.expired == 0;
    assert!(!little, "hardly anything happened: {vouchers} vouchers, {refunds} refunds");
    format!(
        "{} orders, {vouchers} vouchers, {} redemptions, {undone} undone, {refunds} refunds, {} uses expired",
        run.orders.len(),
        run.redemptions.len(),
        run.expired
    )
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.diary.join("\n"));
        }
    }
}

impl Run {
    async fn new(backend: Backend, seed: u64) -> Self {
        let app = TestApp::start(backend).await;
        let store = app.store("人民广场店").await;
        let mut cards = Vec::new();
        for (uses, price_fen, stock, days, refund) in CARDS {
            let sku = json!({"name": "次卡", "price_fen": price_fen, "stock": stock, "uses": uses, "validity": {"days": days}, "refund": refund});
            let back_at_end = refund == "any_time";
            cards.push(Card { sku: app.shop_in(store, sku).await.sku, uses, price_fen, back_at_end });
        }
        let staff =
            vec![app.verifier(&[store]).await, app.verifier(&[store]).await, app.manager(&[store]).await];
        let mut customers = Vec::new();
        for n in 0..CUSTOMERS {
            customers.push(app.customer(&format!("顾客{n}")).await);
        }
        Self {
            app,
            dice: ChaCha8Rng::seed_from_u64(seed),
            store,
            cards,
            customers,
            staff,
            orders: Vec::new(),
            redemptions: Vec::new(),
            expired: 0,
            diary: Vec::new(),
        }
    }

    /// The server's time.
    pub fn now(&self) -> DateTime<Utc> {
        self.app.app.now().datetime()
    }

    /// One of so many.
    pub fn pick(&mut self, count: usize) -> usize {
        self.dice.random_range(0..count)
    }

    pub fn note(&mut self, what: String) {
        let at = self.now().format("%d %H:%M:%S%.3f");
        self.diary.push(format!("{at} {what}"));
    }

    /// A request of somebody, who signs in again when the time has come.
    pub async fn ask(&mut self, who: Who, method: Method, path: &str, body: Option<Value>) -> Answer {
        let key = uuid::Uuid::now_v7().to_string();
        for again in [false, true] {
            let client = match who {
                Who::Customer(n) => &mut self.customers[n],
                Who::Staff(n) => &mut self.staff[n],
            };
            if again {
                *client = match who {
                    Who::Customer(n) => self.app.customer(&format!("顾客{n}")).await,
                    Who::Staff(n) => self.app.sign_in(&format!("139{n:08}"), PASSWORD).await.unwrap(),
                };
            }
            let answer = client.send(method.clone(), path, body.clone(), Some(&key)).await;
            if answer.status != 401 {
                return answer;
            }
        }
        panic!("signed in and still not let in");
    }

    pub async fn get(&mut self, who: Who, path: &str) -> Value {
        self.ask(who, Method::GET, path, None).await.expect(200)
    }

    pub async fn post(&mut self, who: Who, path: &str, body: Value) -> Answer {
        self.ask(who, Method::POST, path, Some(body)).await
    }

    /// Moves the time of server and WeChat, while neither is talking to the other.
    pub async fn advance(&mut self, by: Duration) {
        self.quiet().await;
        self.app.advance(by);
        self.note(format!("{} minutes pass", by.as_secs() / 60));
        self.expire().await;
    }

    /// Waits until what time brings is done, here and in the model.
    pub async fn expire(&mut self) {
        self.nothing_due("what time brings is done", &TIME_BRINGS).await;
        let now = self.now();
        let mut expired = 0;
        for order in &mut self.orders {
            for voucher in &mut order.vouchers {
                let left = voucher.left();
                order.refunded_fen += voucher.expire(now);
                expired += left - voucher.left();
            }
        }
        if expired > 0 {
            self.expired += expired;
            self.note(format!("{expired} uses expire"));
        }
    }

    /// Waits until nothing is due: nothing that time brings, no job, no order whose time is over, no message.
    pub async fn quiet(&self) {
        const DUE: [&str; 3] = [
            "SELECT COUNT(*) AS n FROM jobs WHERE state = 'Running' OR (state = 'Ready' AND run_at <= $1)",
            "SELECT COUNT(*) AS n FROM orders WHERE state = 'PendingPayment' AND expires_at <= $1",
            "SELECT COUNT(*) AS n FROM outbox o LEFT JOIN messages m ON m.source_seq = o.seq
             WHERE m.source_seq IS NULL AND o.at <= $1",
        ];
        self.nothing_due("what time brings is done", &TIME_BRINGS).await;
        self.nothing_due("what is due is done", &DUE).await;
    }

    async fn nothing_due(&self, what: &str, due: &[&str]) {
        let app = &self.app.app;
        eventually(what, PATIENCE, async || {
            let now: Timestamp = app.now();
            for due in due {
                let row = sql::row(app.db.reader(), due, hexiao_db::params![now]).await.unwrap().unwrap();
                if row.get::<i64>("n").unwrap() > 0 {
                    return false;
                }
            }
            true
        })
        .await;
    }

    async fn count(&self, text: &str) -> i64 {
        sql::row(self.app.app.db.reader(), text, vec![]).await.unwrap().unwrap().get("n").unwrap()
    }

    /// WeChat behaves again and time passes, until nothing is under way any more.
    async fn drain(&mut self) {
        const LEFT: [&str; 4] = [
            "SELECT COUNT(*) AS n FROM orders WHERE state = 'PendingPayment'",
            "SELECT COUNT(*) AS n FROM payments WHERE state IN ('Created', 'Pending')",
            "SELECT COUNT(*) AS n FROM refunds WHERE state <> 'Succeeded'",
            "SELECT COUNT(*) AS n FROM outbox o LEFT JOIN messages m ON m.source_seq = o.seq WHERE m.source_seq IS NULL",
        ];
        self.app.sim.clear_faults();
        for round in 0.. {
            // A refund follows the last one of its payment after a minute; a job that failed often waits an hour.
            let pause = if round < 20 { Duration::from_secs(61) } else { Duration::from_mins(61) };
            self.advance(pause).await;
            self.quiet().await;
            let mut left = Vec::new();
            for text in LEFT {
                left.push(self.count(text).await);
            }
            if left.iter().all(|n| *n == 0) {
                return;
            }
            assert!(round < 80, "orders, payments, refunds, messages that do not end: {left:?}");
        }
    }

    /// Compares everything with the model.
    async fn reckon(&mut self) {
        assert_eq!(
            self.count("SELECT CAST(SUM(reserved) AS BIGINT) AS n FROM stocks").await,
            0,
            "stock is still reserved"
        );
        assert_eq!(self.count("SELECT COUNT(*) AS n FROM jobs WHERE state = 'Dead'").await, 0, "dead jobs");
        let reminders = "SELECT COALESCE(MAX(n), 0) AS n FROM (SELECT COUNT(*) AS n FROM messages WHERE topic = 'voucher.expiring' GROUP BY order_id) m";
        assert!(self.count(reminders).await <= 3, "reminded too often");
        assert_eq!(self.count("SELECT COUNT(*) AS n FROM payment_anomalies").await, 0, "anomalies");
        for n in 0..self.orders.len() {
            self.look(n).await;
            self.reckon_order(n).await;
        }
        let sim_refunds = self.app.sim.refunds();
        assert!(sim_refunds.iter().all(|r| r.status == RefundStatus::Success));
        let back: i64 = sim_refunds.iter().map(|r| r.amount).sum();
        let expected: i64 = self.orders.iter().map(|o| o.refunded_fen).sum();
        assert_eq!(back, expected, "money that WeChat gave back");
        let taken = self.app.sim.transactions();
        let paid = taken.iter().filter(|t| t.transaction_id.is_some());
        let paid: i64 = paid.map(|t| t.total).sum();
        let expected: i64 = self.orders.iter().filter(|o| o.paid).map(|o| self.price(o)).sum();
        assert_eq!(paid, expected, "money that WeChat took");
    }

    pub fn price(&self, order: &Order) -> i64 {
        self.cards[order.card].price_fen * i64::from(order.quantity)
    }

    async fn reckon_order(&mut self, n: usize) {
        let (who, id) = (Who::Customer(self.orders[n].customer), self.orders[n].id.clone());
        let seen = self.get(who, &format!("/api/v1/customer/orders/{id}")).await;
        let order = &self.orders[n];
        let price = self.price(order);
        assert_eq!(seen["pay_fen"], price, "{seen}");
        let refunds = seen["refunds"].as_array().unwrap();
        let back: i64 = refunds.iter().map(|r| r["amount_fen"].as_i64().unwrap()).sum();
        if seen["state"] == "Closed" {
            assert!(order.vouchers.is_empty(), "closed with vouchers: {seen}");
            let returned = if order.paid { price } else { 0 };
            assert_eq!(back, returned, "a closed order keeps no money: {seen}");
            self.orders[n].refunded_fen = returned;
            return;
        }
        assert!(seen["state"] == "Paid" && order.paid && !order.closed, "{seen}");
        assert_eq!(order.vouchers.len(), usize::try_from(order.quantity).unwrap(), "{seen}");
        assert_eq!(back, order.refunded_fen, "{seen}");
        let vouchers: Vec<String> = order.vouchers.iter().map(|v| v.id.clone()).collect();
        for (v, id) in vouchers.iter().enumerate() {
            let seen = self.get(who, &format!("/api/v1/customer/vouchers/{id}")).await;
            let voucher = &self.orders[n].vouchers[v];
            assert_eq!(seen["used"], voucher.used.len(), "{seen}");
            assert_eq!(seen["refunded"], voucher.refunded.len(), "{seen}");
            assert_eq!(seen["forfeited"], voucher.forfeited.len(), "{seen}");
            assert_eq!(seen["locked"], 0, "{seen}");
            assert_eq!(seen["remaining"], voucher.left(), "{seen}");
            let standing = seen["uses"].as_array().unwrap().iter().filter(|u| u["reversed"] == json!(false));
            let mut standing: Vec<u64> = standing.map(|u| u["serial"].as_u64().unwrap()).collect();
            standing.sort_unstable();
            let used: Vec<u64> = voucher.used.iter().map(|s| u64::from(*s)).collect();
            assert_eq!(standing, used, "{seen}");
        }
    }
}
