//! A merchant with a store, WeChat in the test's process, and the server as a process that can be killed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use chrono::Timelike as _;
use data_encoding::HEXLOWER;
use hexiao_core::id::{DeviceId, EventId, Id as _, StoreId};
use hexiao_core::offline::Signed;
use hexiao_core::time::Timestamp;
use hexiao_db::{Db, DbError, sql, transact};
use hexiao_server::config::Config;
use hexiao_server::simulator;
use hexiao_testkit::{Backend, Client, PASSWORD, ServerProcess, TestDatabaseUrl, binary, prepare_data};
use hexiao_wechat_sim::{PayArgs, RefundStatus, SimHandle, TradeState};
use serde_json::{Value, json};

use super::intent::{Intent, What};
use super::receiver::Receiver;
use crate::support::{Port, eventually};

/// The longest that stuck work may take to go on.
const PATIENCE: Duration = Duration::from_secs(45);
/// Uses of one unit, and its price.
pub const USES: u32 = 3;
pub const PRICE_FEN: i64 = 1000;
const OWNER: &str = "13800000001";
const VERIFIER: &str = "13900000001";

/// Rows of the outbox that a consumer has not read.
const UNREAD: &str = "SELECT (SELECT COUNT(*) FROM consumer_positions p JOIN outbox o ON (o.tx, o.seq) > (p.tx, p.seq))
         + CASE WHEN (SELECT COUNT(*) FROM consumer_positions) < 4 AND EXISTS (SELECT 1 FROM outbox WHERE seq > 0) THEN 1 ELSE 0 END AS n";
/// Deliveries that have not arrived.
const UNSENT: &str = "SELECT COUNT(*) AS n FROM webhook_deliveries WHERE state <> 'Delivered'";

/// Vouchers for which something is due: one whose time is over, one with a use that matures, and one that ends soon, with
/// its order.
pub struct Time {
    pub ended: String,
    pub matured: String,
    pub reminded: (String, String),
}

/// Everything but the server.
pub struct World {
    pub sim: SimHandle,
    pub verifier: Client,
    pub owner: Client,
    pub store: StoreId,
    sku: String,
    /// Of nine uses, at a booked time.
    booked_sku: String,
    receiver: Receiver,
    data: tempfile::TempDir,
    database: TestDatabaseUrl,
    port: Port,
}

impl World {
    /// Makes one, and starts its server.
    pub async fn new(backend: Backend) -> (Self, ServerProcess) {
        let data = tempfile::tempdir().unwrap();
        prepare_data(data.path());
        let database = match backend {
            Backend::Sqlite => TestDatabaseUrl::sqlite(data.path()),
            Backend::Postgres => TestDatabaseUrl::postgres().await,
        };
        let mut config = simulator::config(&data.path().join("keys"), &Config::default().mini_appid).unwrap();
        config.notify_speed = 100.0;
        config.notify_delay = Duration::from_millis(5);
        config.refund_delay = Duration::from_millis(20);
        let sim = hexiao_wechat_sim::start(config).await.unwrap();
        init(data.path(), &database.url);
        let port = Port::reserve();
        let nobody = Client::anonymous(&format!("http://127.0.0.1:{}", port.number));
        let mut world = Self {
            sim,
            verifier: nobody.clone(),
            owner: nobody.clone(),
            store: StoreId::from_uuid(uuid::Uuid::nil()),
            sku: String::new(),
            booked_sku: String::new(),
            receiver: Receiver::start().await,
            data,
            database,
            port,
        };
        let server = world.serve(None).await;
        let owner = sign_in(&nobody, OWNER).await;
        world.store = store(&owner).await;
        world.sku = product(&owner).await;
        world.booked_sku = booked_product(&owner, world.store).await;
        let staff = json!({"name": "小李", "phone": VERIFIER, "password": PASSWORD, "role": "verifier", "store_ids": [world.store]});
        owner.post("/api/v1/merchant/staff", staff).await.expect(201);
        // One use is recorded later by its verifier alone, a second one waits for somebody else.
        let alone = json!({"free_uses": 1, "free_amount_fen": 100_000_000});
        owner.put("/api/v1/merchant/backfill-policy", alone).await.expect(200);
        world.owner = owner.clone();
        world.verifier = sign_in(&nobody, VERIFIER).await;
        let events = ["redemption.created", "redemption.reversed", "voucher.issued", "refund.succeeded"];
        let webhook = json!({"name": "ERP", "url": world.receiver.url, "events": events});
        owner.post("/api/v1/merchant/webhooks", webhook).await.expect(201);
        let rule = json!({"basis_points": 500, "per_use_fen": 10});
        owner.post("/api/v1/merchant/commission-rules", rule).await.expect(201);
        (world, server)
    }

    /// Starts the server; it stops at a named point if one is given.
    pub async fn serve(&self, hold: Option<&str>) -> ServerProcess {
        let mut env = vec![("HEXIAO_DRAIN_S", "5")];
        // On SQLite the jobs of the dead process are taken over at the start, however long their lease.
        if self.database.url.starts_with("postgres") {
            env.push(("HEXIAO_JOB_LEASE_S", "2"));
        }
        env.extend(hold.map(|point| ("HEXIAO_HOLD_AT", point)));
        ServerProcess::start_on(self.port.number, self.data.path(), &self.database.url, &self.sim.url(), &env)
            .await
    }

    /// Waits until the server says that it holds.
    pub async fn held(&self, point: &str) {
        let log = self.data.path().join("server.log");
        let line = format!("holding at {point}\n");
        eventually(&line, PATIENCE, async || std::fs::read_to_string(&log).unwrap().contains(&line)).await;
    }

    /// A signed-in customer; the same name is the same customer.
    pub async fn customer(&self, name: &str) -> Client {
        let mut client = Client::anonymous(&format!("http://127.0.0.1:{}", self.port.number));
        let code = json!({"code": format!("sim-{name}")});
        let body = client.post("/api/v1/auth/customer", code).await.expect(201);
        client.token = body["access_token"].as_str().map(str::to_owned);
        client.id = text(&body["customer"]["id"]);
        client
    }

    /// A new order, which has not been sent.
    pub fn order(&self, customer: &Client) -> Intent {
        self.order_of(customer, &self.sku)
    }

    fn order_of(&self, customer: &Client, sku: &str) -> Intent {
        let body = json!({"store_id": self.store, "lines": [{"sku_id": sku, "quantity": 1}]});
        Intent::new(What::Order, customer, "/api/v1/customer/orders".to_owned(), body)
    }

    /// Opening the payment sheet of an order.
    pub fn sheet(customer: &Client, order: &str) -> Intent {
        Intent::new(What::Pay, customer, format!("/api/v1/customer/orders/{order}/pay"), json!({}))
    }

    /// Closing an order.
    pub fn close(customer: &Client, order: &str) -> Intent {
        Intent::new(What::Close, customer, format!("/api/v1/customer/orders/{order}/close"), json!({}))
    }

    /// Asking for all unused uses back.
    pub fn refund(customer: &Client, order: &str) -> Intent {
        let body = json!({"reason": "不想要了"});
        Intent::new(What::Refund, customer, format!("/api/v1/customer/orders/{order}/refunds"), body)
    }

    /// Taking a refund back.
    pub fn withdraw(customer: &Client, refund: &str) -> Intent {
        let path = format!("/api/v1/customer/refunds/{refund}/withdraw");
        Intent::new(What::Withdraw, customer, path, json!({}))
    }

    /// Saying yes to what a verifier asked.
    pub fn approve(customer: &Client, consent: &str) -> Intent {
        let path = format!("/api/v1/customer/consent-requests/{consent}/approve");
        Intent::new(What::Tap, customer, path, json!({}))
    }

    /// How long the merchant holds refunds.
    pub async fn hold_refunds(&self, seconds: i64) {
        let owner = sign_in(&Client::anonymous(&self.verifier_base()), OWNER).await;
        owner.patch("/api/v1/merchant/settings", json!({"refund_hold_s": seconds})).await.expect(200);
    }

    fn verifier_base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }

    /// Asks a customer to take the refund of a voucher back and have a use redeemed; the request's id.
    pub async fn asks_to_withdraw(&self, customer: &Client, voucher: &str) -> String {
        let body = json!({
            "store_id": self.store, "prepare_token": self.prepared(customer, voucher).await,
            "items": [{"voucher_id": voucher, "quantity": 1}],
        });
        let path = "/api/v1/staff/redemptions/withdraw-requests";
        let key = uuid::Uuid::now_v7().to_string();
        let asked = self.verifier.post_key(path, &key, body).await.expect(202);
        self.does_not_expire(&text(&asked["consent_request"]["id"])).await
    }

    /// Asks the customer of an order to be shown its vouchers; the request's id.
    pub async fn asks_to_see(&self, customer: &Client, order: &str) -> String {
        let order = customer.get(&format!("/api/v1/customer/orders/{order}")).await.expect(200);
        let body = json!({"store_id": self.store, "input": {"order_number": order["number"]}});
        let asked = self.verifier.post("/api/v1/staff/redemptions/prepare", body).await.expect(202);
        self.does_not_expire(&text(&asked["consent_request"]["id"])).await
    }

    /// Two minutes are over before a slow machine has been through all of it.
    async fn does_not_expire(&self, consent: &str) -> String {
        let id = hexiao_core::id::ConsentId::parse(consent).unwrap();
        let text = "UPDATE consent_requests SET expires_at = expires_at + 3600000000 WHERE id = $1";
        let db = self.db().await;
        let done: Result<(), DbError> =
            transact!(db, |tx| sql::execute_exactly(&tx, 1, "request", text, hexiao_db::params![id]));
        done.unwrap();
        db.close().await;
        consent.to_owned()
    }

    /// Redeeming what a prepare allowed.
    pub fn confirm(&self, prepare_token: &Value, voucher: &str, quantity: u32) -> Intent {
        let body = json!({
            "store_id": self.store, "prepare_token": prepare_token, "acknowledge": ["just_redeemed"],
            "items": [{"voucher_id": voucher, "quantity": quantity}],
        });
        Intent::new(What::Confirm, &self.verifier, "/api/v1/staff/redemptions".to_owned(), body)
    }

    /// Undoing a redemption.
    pub fn reverse(&self, redemption: &str) -> Intent {
        let path = format!("/api/v1/staff/redemptions/{redemption}/reverse");
        Intent::new(What::Reverse, &self.verifier, path, json!({"reason": "扫错了"}))
    }

    /// Booking a use in so many hours, at once or only held.
    pub fn book(&self, customer: &Client, voucher: &str, hours: i64, confirm: bool) -> Intent {
        let body = json!({
            "voucher_id": voucher, "store_id": self.store, "slot_start": hour(hours), "confirm": confirm,
        });
        Intent::new(What::Book, customer, BOOKINGS.to_owned(), body)
    }

    /// Confirming, moving by an hour, or giving back a booking.
    pub fn change_booking(customer: &Client, booking: &str, what: What) -> Intent {
        let (verb, body) = match what {
            What::ConfirmBooking => ("confirm", json!({})),
            What::Reschedule => ("reschedule", json!({"slot_start": hour(30)})),
            _ => ("cancel", json!({})),
        };
        Intent::new(what, customer, format!("{BOOKINGS}/{booking}/{verb}"), body)
    }

    /// Recording later what was redeemed of a voucher.
    pub async fn backfill(&self, customer: &Client, voucher: &str, quantity: u32) -> Intent {
        let shown = customer.get(&format!("/api/v1/customer/vouchers/{voucher}")).await.expect(200);
        let body = json!({
            "store_id": self.store, "input": {"qr": shown["qr"]}, "quantity": quantity, "reason": "断网",
            "occurred_at": chrono::Utc::now().to_rfc3339(),
        });
        Intent::new(What::Backfill, &self.verifier, "/api/v1/staff/redemptions/backfill".to_owned(), body)
    }

    /// Registering a device, and revoking another.
    pub async fn devices(&self) -> [Intent; 2] {
        let register = |who: &Client, name: &str, key: &str| {
            let body = json!({"name": name, "platform": "android", "public_key": key.repeat(32)});
            Intent::new(What::Device, who, "/api/v1/staff/devices".to_owned(), body)
        };
        let lender = sign_in(&self.owner, VERIFIER).await;
        let lost = register(&lender, "丢了的手机", "1a").repeat().await.body;
        let path = format!("/api/v1/merchant/devices/{}/revoke", text(&lost["id"]));
        [register(&self.owner, "新手机", "2b"), Intent::new(What::Device, &self.owner, path, json!({}))]
    }

    /// What the verifier's phone redeemed of a voucher without a network.
    pub async fn offline(&self, customer: &Client, voucher: &str) -> Intent {
        let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let public = HEXLOWER.encode(key.public_key().as_ref());
        let phone = json!({"name": "手机", "platform": "ios", "public_key": public});
        let device = self.verifier.post("/api/v1/staff/devices", phone).await.expect(201);
        let shown = customer.get(&format!("/api/v1/customer/vouchers/{voucher}")).await.expect(200);
        let now = chrono::Utc::now();
        let signed = Signed {
            device: DeviceId::parse(&text(&device["id"])).unwrap(),
            store: self.store,
            seq: 1,
            ticket: shown["qr"].as_str().unwrap(),
            quantity: 1,
            occurred_at: Timestamp::from_datetime(now),
            nonce: "n",
        };
        let signature = HEXLOWER.encode(key.sign(signed.text().as_bytes()).as_ref());
        let entry = json!({
            "seq": 1, "ticket": shown["qr"], "quantity": 1, "occurred_at": now.to_rfc3339(), "nonce": "n", "signature": signature,
        });
        let body = json!({"store_id": self.store, "sent_at": now.to_rfc3339(), "entries": [entry]});
        Intent::new(What::Offline, &self.verifier, "/api/v1/staff/redemptions/offline-batch".to_owned(), body)
    }

    /// Approving what was recorded later.
    pub fn approve_backfill(&self, backfill: &str) -> Intent {
        let path = format!("/api/v1/merchant/backfills/{backfill}/approve");
        Intent::new(What::Approve, &self.owner, path, json!({}))
    }

    /// What the verifier's prepare of a scanned voucher is asked.
    pub fn scan(&self, qr: &Value) -> Value {
        json!({"store_id": self.store, "input": {"qr": qr}})
    }

    /// The customer pays at WeChat, as their phone would.
    pub fn pay(&self, sheet: &Value) {
        let args = PayArgs {
            out_trade_no: text(&sheet["out_trade_no"]),
            openid: None,
            request_payment: Some(sheet["request_payment"].clone()),
        };
        self.sim.pay(args).unwrap();
    }

    /// An order with its open payment sheet: `(order, sheet)`.
    pub async fn unpaid(&self, customer: &Client) -> (String, Value) {
        self.unpaid_of(customer, &self.sku).await
    }

    async fn unpaid_of(&self, customer: &Client, sku: &str) -> (String, Value) {
        let order = text(&self.order_of(customer, sku).repeat().await.body["id"]);
        let sheet = Self::sheet(customer, &order).repeat().await.body;
        (order, sheet)
    }

    /// A paid order and its voucher.
    pub async fn bought(&self, customer: &Client) -> (String, String) {
        let unpaid = self.unpaid(customer).await;
        self.paid(customer, unpaid).await
    }

    /// A voucher that needs bookings.
    pub async fn bookable(&self, customer: &Client) -> String {
        let unpaid = self.unpaid_of(customer, &self.booked_sku).await;
        self.paid(customer, unpaid).await.1
    }

    async fn paid(&self, customer: &Client, (order, sheet): (String, Value)) -> (String, String) {
        self.pay(&sheet);
        let path = format!("/api/v1/customer/orders/{order}");
        eventually("the order is paid", PATIENCE, async || customer.get(&path).await.body["state"] == "Paid")
            .await;
        let voucher = text(&customer.get(&path).await.expect(200)["vouchers"][0]["id"]);
        (order, voucher)
    }

    /// A prepare that allows to redeem a voucher.
    pub async fn prepared(&self, customer: &Client, voucher: &str) -> Value {
        let shown = customer.get(&format!("/api/v1/customer/vouchers/{voucher}")).await.expect(200);
        let path = "/api/v1/staff/redemptions/prepare";
        self.verifier.post(path, self.scan(&shown["qr"])).await.expect(200)["prepare_token"].clone()
    }

    /// A connection of the test's own.
    pub async fn db(&self) -> Db {
        Db::connect(&self.database.url, 4).await.unwrap()
    }

    /// Stops the test unless every invariant holds.
    pub async fn verify(&self) {
        let db = self.db().await;
        hexiao_testkit::verify(&db).await;
        db.close().await;
    }

    /// Makes an order's time run out now. Waiting for it would take two minutes.
    pub async fn expire(&self, order: &str) {
        let id = hexiao_core::id::OrderId::parse(order).unwrap();
        let text = "UPDATE orders SET expires_at = created_at WHERE id = $1 AND state = 'PendingPayment'";
        let db = self.db().await;
        let done: Result<(), DbError> =
            transact!(db, |tx| sql::execute_exactly(&tx, 1, "unpaid order", text, hexiao_db::params![id]));
        done.unwrap();
        db.close().await;
    }

    /// Lets the time come for all of these. It is always early afternoon in the store, so that customers may be
    /// written to.
    pub async fn passes(&self, time: &Time) {
        let now = chrono::Utc::now();
        let offset = 13 - i64::from(now.hour());
        let zone = format!("Etc/GMT{}{}", if offset > 0 { "-" } else { "+" }, offset.abs());
        let at = |hours: i64| now.timestamp_micros() + hours * 3_600_000_000;
        let voucher = |text: &str| hexiao_core::id::VoucherId::parse(text).unwrap();
        let (ended, matured) = (voucher(&time.ended), voucher(&time.matured));
        let reminded =
            (hexiao_core::id::OrderId::parse(&time.reminded.0).unwrap(), voucher(&time.reminded.1));
        let db = self.db().await;
        let done: Result<(), DbError> = transact!(db, |tx| async {
            let run = async |text: &str, values| sql::execute_exactly(&tx, 1, "the row", text, values).await;
            let ends = "UPDATE vouchers SET created_at = 1, valid_from = 1, valid_to = $2 WHERE id = $1";
            run(ends, hexiao_db::params![ended, at(-1)]).await?;
            run(ends, hexiao_db::params![reminded.1, at(12)]).await?;
            run("UPDATE orders SET remind_at = 1 WHERE id = $1", hexiao_db::params![reminded.0]).await?;
            run(
                "UPDATE uses SET matures_at = redeemed_at WHERE voucher_id = $1",
                hexiao_db::params![matured],
            )
            .await?;
            // The verifier's commission is for the same time.
            let commission = "UPDATE commission_entries SET matures_at =
                (SELECT u.matures_at FROM uses u WHERE u.merchant_id = commission_entries.merchant_id AND u.id = commission_entries.use_id)";
            sql::execute(&tx, commission, vec![]).await?;
            run("UPDATE stores SET zone = $1", hexiao_db::params![zone.as_str()]).await
        });
        done.unwrap();
        db.close().await;
    }

    /// Each of them was settled once.
    pub async fn settled_by_time(&self, time: &Time) {
        let voucher = |text: &str| hexiao_core::id::VoucherId::parse(text).unwrap();
        let order = hexiao_core::id::OrderId::parse(&time.reminded.0).unwrap();
        let db = self.db().await;
        let one = async |what: &str, text: &str, values| {
            let row = sql::row(db.reader(), text, values).await.unwrap().unwrap();
            assert_eq!(row.get::<i64>("n").unwrap(), 1, "{what}");
        };
        let ended = "SELECT COUNT(*) AS n FROM vouchers v JOIN voucher_locks k ON k.merchant_id = v.merchant_id AND k.voucher_id = v.id
                     WHERE v.id = $1 AND v.state = 'Expired' AND k.state = 'Consumed'";
        one("expired", ended, hexiao_db::params![voucher(&time.ended)]).await;
        let matured = "SELECT COUNT(*) AS n FROM uses u JOIN ledger_transfers t ON t.source_id = u.redemption_id AND t.event = 'maturity'
                       WHERE u.voucher_id = $1 AND u.state = 'Matured'";
        one("matured", matured, hexiao_db::params![voucher(&time.matured)]).await;
        let reminded =
            "SELECT COUNT(*) AS n FROM messages WHERE order_id = $1 AND topic = 'voucher.expiring'";
        one("reminded", reminded, hexiao_db::params![order]).await;
        db.close().await;
    }

    /// Waits until every message and webhook has arrived: a server that holds would find them at once.
    pub async fn no_news(&self) {
        let messages = "SELECT COUNT(*) AS n FROM outbox o LEFT JOIN messages m ON m.source_seq = o.seq WHERE m.source_seq IS NULL";
        let db = self.db().await;
        eventually("messages arrive", PATIENCE, async || {
            let mut left = 0;
            for query in [messages, UNREAD, UNSENT] {
                let row = sql::row(db.reader(), query, vec![]).await.unwrap().unwrap();
                left += row.get::<i64>("n").unwrap();
            }
            left == 0
        })
        .await;
        db.close().await;
    }

    /// Waits until nothing is left to do: no job is due, every message has arrived, every refund is through, and
    /// what is over here is over at WeChat.
    pub async fn drained(&self) {
        const LEFT: [(&str, &str); 10] = [
            ("rows of the outbox", UNREAD),
            ("webhooks", UNSENT),
            ("expired vouchers", "SELECT COUNT(*) AS n FROM vouchers WHERE state = 'Live' AND valid_to <= $1"),
            ("matured uses", "SELECT COUNT(*) AS n FROM uses WHERE state = 'Done' AND matures_at <= $1"),
            ("reminders", "SELECT COUNT(*) AS n FROM orders WHERE remind_at <= $1"),
            (
                "jobs",
                "SELECT COUNT(*) AS n FROM jobs WHERE state = 'Running' OR (state = 'Ready' AND run_at <= $1)",
            ),
            ("dead jobs", "SELECT COUNT(*) AS n FROM jobs WHERE state = 'Dead' AND run_at <> $1"),
            ("refunds", "SELECT COUNT(*) AS n FROM refunds WHERE state NOT IN ('Succeeded', 'Withdrawn') AND created_at <> $1"),
            (
                "messages",
                "SELECT COUNT(*) AS n FROM outbox o LEFT JOIN messages m ON m.source_seq = o.seq
                 WHERE m.source_seq IS NULL AND o.at <> $1",
            ),
            (
                "payments of closed orders",
                "SELECT COUNT(*) AS n FROM payments p JOIN payment_orders x ON x.merchant_id = p.merchant_id AND x.payment_id = p.id
                 JOIN orders o ON o.merchant_id = x.merchant_id AND o.id = x.order_id
                 WHERE o.state = 'Closed' AND p.state IN ('Created', 'Pending') AND o.created_at <> $1",
            ),
        ];
        let db = self.db().await;
        let mut left = String::new();
        let deadline = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < deadline {
            let now = hexiao_core::time::Timestamp::from_micros(chrono::Utc::now().timestamp_micros());
            left.clear();
            for (what, query) in LEFT {
                let values = if query.contains("$1") { hexiao_db::params![now] } else { Vec::new() };
                let row = sql::row(db.reader(), query, values).await.unwrap().unwrap();
                match row.get::<i64>("n").unwrap() {
                    0 => {}
                    n => left.push_str(&format!("{n} {what} ")),
                }
            }
            if left.is_empty() {
                return db.close().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("still left to do: {left}");
    }

    /// Stops the test if anything was said or paid twice.
    pub async fn nothing_doubled(&self) {
        let db = self.db().await;
        let rows = |text: &'static str| {
            let db = db.clone();
            async move { sql::rows(db.reader(), text, vec![]).await.unwrap() }
        };
        let twice = rows("SELECT topic FROM outbox GROUP BY topic, subject_id HAVING COUNT(*) > 1").await;
        assert!(twice.is_empty(), "announced twice: {}", twice[0].get::<String>("topic").unwrap());
        let messages =
            rows("SELECT (SELECT COUNT(*) FROM messages) - (SELECT COUNT(*) FROM outbox) AS n").await;
        assert_eq!(messages[0].get::<i64>("n").unwrap(), 0, "messages without cause");
        let untold = rows(
            "SELECT COUNT(*) AS n FROM outbox o LEFT JOIN webhook_deliveries d ON d.source_seq = o.seq
             WHERE d.id IS NULL AND o.topic IN ('redemption.created', 'redemption.reversed', 'voucher.issued', 'refund.succeeded')",
        )
        .await;
        assert_eq!(untold[0].get::<i64>("n").unwrap(), 0, "events that no webhook was told of");
        let event = |row: &hexiao_db::row::Row| row.get::<EventId>("event_id").unwrap().to_string();
        let mut events: Vec<String> =
            rows("SELECT event_id FROM webhook_deliveries").await.iter().map(event).collect();
        events.sort_unstable();
        assert_eq!(events, self.receiver.events(), "told here and heard there");
        let earned =
            rows("SELECT (SELECT COUNT(*) FROM uses) - (SELECT COUNT(*) FROM commission_entries) AS n").await;
        assert_eq!(earned[0].get::<i64>("n").unwrap(), 0, "uses without commission");
        let payments =
            rows("SELECT order_id FROM payment_orders GROUP BY order_id HAVING COUNT(*) > 1").await;
        assert!(payments.is_empty(), "an order with two payments");
        let paid = rows("SELECT id, amount_fen FROM payments WHERE state = 'Succeeded'").await;
        let refunded = rows(
            "SELECT p.id, CAST(SUM(r.amount_fen) AS BIGINT) AS fen FROM refunds r JOIN payments p ON p.merchant_id = r.merchant_id AND p.id = r.payment_id
             WHERE r.state = 'Succeeded' GROUP BY p.id",
        )
        .await;
        let number =
            |row: &hexiao_db::row::Row| row.get::<hexiao_core::id::PaymentId>("id").unwrap().to_string();
        let mut ours: Vec<String> = paid.iter().map(number).collect();
        let mut theirs: Vec<String> = self
            .sim
            .transactions()
            .into_iter()
            .filter(|t| matches!(t.state, TradeState::Success | TradeState::Refund))
            .map(|t| t.out_trade_no)
            .collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "paid here and paid at WeChat");
        let refunds = self.sim.refunds();
        assert!(refunds.iter().all(|r| r.status == RefundStatus::Success), "{refunds:#?}");
        let total: i64 = refunds.iter().map(|r| r.amount).sum();
        let mut our_total = 0;
        for row in &refunded {
            let fen: i64 = row.get("fen").unwrap();
            let out_trade_no = number(row);
            let at_wechat: i64 =
                refunds.iter().filter(|r| r.out_trade_no == out_trade_no).map(|r| r.amount).sum();
            assert_eq!(fen, at_wechat, "refunded of {out_trade_no}");
            our_total += fen;
        }
        assert_eq!(our_total, total, "refunds that only WeChat knows");
        db.close().await;
    }
}

/// The text of a JSON string.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// `hexiao init` with the accounts that the simulator knows.
fn init(data: &Path, database_url: &str) {
    let password = data.join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let done = Command::new(binary())
        .args(["init", "--name", "老王火锅", "--owner-name", "老王", "--owner-phone", OWNER])
        .args(["--mchid", simulator::DIRECT_MCHID, "--key-ref", simulator::DIRECT_REF])
        .args(["--owner-password-file".as_ref(), password.as_os_str()])
        .args(["--data".as_ref(), data.as_os_str()])
        .args(["--database-url", database_url])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

async fn sign_in(nobody: &Client, phone: &str) -> Client {
    let body = json!({"phone": phone, "password": PASSWORD});
    let answer = nobody.post("/api/v1/auth/staff", body).await.expect(201);
    let mut client = nobody.clone();
    client.token = Some(text(&answer["access_token"]));
    client.id = text(&answer["staff"]["id"]);
    client
}

async fn store(owner: &Client) -> StoreId {
    let hours: Vec<Value> = (1..=7).map(|d| json!({"weekday": d, "from": "00:00", "to": "24:00"})).collect();
    let body = json!({
        "name": "人民广场店", "address": "上海市黄浦区南京东路 1 号", "lat": 31.2381, "lng": 121.4847,
        "phone": "021-62580000", "hours": hours,
    });
    let made = owner.post("/api/v1/merchant/stores", body).await.expect(201);
    StoreId::parse(&text(&made["id"])).unwrap()
}

const BOOKINGS: &str = "/api/v1/customer/bookings";

/// The begin of the hour in so many hours.
fn hour(plus: i64) -> String {
    let zone = chrono::FixedOffset::east_opt(8 * 3600).unwrap();
    let at = chrono::Utc::now().with_timezone(&zone) + chrono::Duration::hours(plus);
    at.format("%Y-%m-%dT%H:00:00+08:00").to_string()
}

async fn booked_product(owner: &Client, store: StoreId) -> String {
    let window = |day: u8| json!({"weekday": day, "from": "00:00", "to": "24:00", "slot_minutes": 60, "capacity": 100});
    let terms = json!({"hold_minutes": 60, "reminder_minutes": 0});
    let plan = json!({"windows": (1..=7).map(window).collect::<Vec<_>>(), "terms": terms});
    let path = format!("/api/v1/merchant/stores/{store}/booking-plans");
    owner.put(&path, json!({"items": [plan]})).await.expect(200);
    let sku = json!({"name": "次卡", "price_fen": PRICE_FEN, "uses": 9, "booking": "required"});
    let body = json!({"name": "护理", "kind": "redeem", "skus": [sku], "store_scope": {"all": true}});
    let made = owner.post("/api/v1/merchant/products", body).await.expect(201);
    let publish = format!("/api/v1/merchant/products/{}/publish", text(&made["id"]));
    owner.post(&publish, json!({})).await.expect(200);
    text(&made["skus"][0]["id"])
}

async fn product(owner: &Client) -> String {
    let sku = json!({"name": "次卡", "price_fen": PRICE_FEN, "stock": 100_000, "uses": USES, "validity": {"days": 30}});
    let body = json!({"name": "双人套餐", "kind": "redeem", "skus": [sku], "store_scope": {"all": true}});
    let made = owner.post("/api/v1/merchant/products", body).await.expect(201);
    let publish = format!("/api/v1/merchant/products/{}/publish", text(&made["id"]));
    owner.post(&publish, json!({})).await.expect(200);
    text(&made["skus"][0]["id"])
}
