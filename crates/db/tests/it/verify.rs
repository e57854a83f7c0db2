//! The proof of the proof: a small complete world is clean, and for each check one broken row is named.
//!
//! On SQLite and on PostgreSQL. The world and the damage are plain SQL in one text for both: `{name}` is the id of
//! that name, `{#name}` the same as bytes.

#![expect(clippy::unwrap_used, reason = "tests")]

// The crate that holds it depends on this one.
#[path = "../../../testkit/src/postgres.rs"]
pub(crate) mod postgres;

mod cases;
mod world;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hexiao_core::id::{
    BackfillId, BookingId, BookingPlanId, CommissionRuleId, ConsentId, CustomerId, DeliveryId, DeviceId, Id,
    JobId, LineId, LockId, MerchantId, MessageId, OrderId, PaymentId, RecordId, RedemptionId, RefundId,
    RiskFlagId, SkuId, StaffId, StockId, UseId, VoucherId,
};
use hexiao_core::split::use_value_fen;
use hexiao_db::sql::NewRow;
use hexiao_db::verify::{MAX_BROKEN, Report, verify};
use hexiao_db::{Db, Result, Tx, migrate, new_row, sql, transact};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use self::cases::{CASES, Case};
use self::world::WORLD;

/// The ids of the world are its names.
fn uid(name: &str) -> Uuid {
    assert!(name.len() <= 16, "{name}");
    Uuid::from_u128(name.bytes().fold(0, |n, byte| n << 8 | u128::from(byte)))
}

/// One text for both databases. `{}` and `{"…` stay what they are: JSON.
fn render(text: &str, on_sqlite: bool) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap();
        out.push_str(before);
        if name.starts_with('"') {
            out.extend(["{", name, "}"]);
            rest = after;
            continue;
        }
        let bytes = name.strip_prefix('#');
        let hex = uid(bytes.unwrap_or(name)).simple().to_string();
        let (open, close) = match (name, on_sqlite, bytes) {
            ("", _, _) => ("{}", ""),
            (_, true, _) => ("X'", "'"),
            (_, false, Some(_)) => ("'\\x", "'::bytea"),
            (_, false, None) => ("'", "'::uuid"),
        };
        out.extend([open, if name.is_empty() { "" } else { &hex }, close]);
        rest = after;
    }
    out + rest
}

/// The TypeID of a row of the world.
fn type_id(table: &str, name: &str) -> String {
    fn text<T: Id>(name: &str) -> String {
        T::from_uuid(uid(name)).to_string()
    }
    match table {
        "merchants" => text::<MerchantId>(name),
        "orders" | "payment_orders" => text::<OrderId>(name),
        "order_lines" | "stock_reservations" => text::<LineId>(name),
        "payments" => text::<PaymentId>(name),
        "stocks" => text::<StockId>(name),
        "stock_entries" | "ledger_transfers" => text::<RecordId>(name),
        "purchase_counters" => format!("{}/{}", text::<CustomerId>("customer"), text::<SkuId>(name)),
        "vouchers" => text::<VoucherId>(name),
        "voucher_locks" => text::<LockId>(name),
        "bookings" => text::<BookingId>(name),
        "booking_slots" => text::<BookingPlanId>(name),
        "redemptions" => text::<RedemptionId>(name),
        "uses" | "commission_entries" => text::<UseId>(name),
        "commission_rules" => text::<CommissionRuleId>(name),
        "risk_flags" => text::<RiskFlagId>(name),
        "risk_places" => text::<StaffId>(name),
        "webhook_deliveries" => text::<DeliveryId>(name),
        "backfills" => text::<BackfillId>(name),
        "devices" => text::<DeviceId>(name),
        "refunds" => text::<RefundId>(name),
        "consent_requests" => text::<ConsentId>(name),
        "jobs" => text::<JobId>(name),
        "messages" => text::<MessageId>(name),
        _ => panic!("no ids of {table}"),
    }
}

/// What a check said, in short.
fn told(report: &Report) -> String {
    let lines = report.checks.iter().flat_map(|check| {
        check.broken.iter().map(|b| format!("{}: {} {} {}\n", check.name, b.table, b.id, b.detail))
    });
    lines.collect()
}

fn assert_clean(report: &Report) {
    assert!(report.is_clean() && report.first_broken().is_none(), "{}", told(report));
}

fn assert_named(case: &Case, report: &Report) {
    let about = || format!("{} by {}\n{}", case.check, case.sql, told(report));
    let check = report.checks.iter().find(|check| check.name == case.check).unwrap();
    let id = type_id(case.table, case.row);
    let row = check.broken.iter().find(|row| row.table == case.table && row.id == id);
    let row = row.unwrap_or_else(|| panic!("{case} is not named: {}", about(), case = id));
    assert_eq!(row.merchant_id, MerchantId::from_uuid(uid("merchant")), "{}", about());
    assert!(!row.detail.is_empty(), "{}", about());
    assert_eq!(usize::try_from(check.total_broken).unwrap(), check.broken.len(), "{}", about());
    assert!(!report.is_clean() && report.first_broken().is_some(), "{}", about());
}

/// A SQLite file with the world, and copies of it.
struct Sqlite {
    dir: tempfile::TempDir,
}

impl Sqlite {
    async fn with(world: &str) -> (Self, Db) {
        let this = Self { dir: tempfile::tempdir().unwrap() };
        let db = this.db("world").await;
        migrate::migrate(&db).await.unwrap();
        this.run("world", world).await;
        (this, db)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    async fn db(&self, name: &str) -> Db {
        Db::connect(&format!("sqlite://{}", self.path(name)), 2).await.unwrap()
    }

    /// Runs statements that the constraints would refuse.
    async fn run(&self, name: &str, text: &str) {
        let mut c = SqliteConnection::connect(&format!("sqlite://{}", self.path(name))).await.unwrap();
        let text = format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {text}");
        for text in render(&text, true).split(';') {
            // A table made of a query has no constraints.
            let text = match text.trim().strip_prefix("FREE ") {
                Some(t) => format!(
                    "CREATE TABLE free AS SELECT * FROM {t}; DROP TABLE {t}; ALTER TABLE free RENAME TO {t}"
                ),
                None => text.to_owned(),
            };
            sqlx::raw_sql(AssertSqlSafe(text.clone()))
                .execute(&mut c)
                .await
                .unwrap_or_else(|e| panic!("{text}: {e}"));
        }
        c.close().await.unwrap();
    }
}

/// A PostgreSQL database with the world and all constraints.
async fn postgres_with(world: &'static str) -> (postgres::TestDatabase, Db) {
    postgres_of(world, "").await
}

/// A PostgreSQL database with the world, after the statement `then`. It is copied from one that is filled once:
/// dropping hundreds of constraints takes seconds.
async fn postgres_of(world: &'static str, then: &'static str) -> (postgres::TestDatabase, Db) {
    let fill = async |url: &str| {
        migrate::migrate(&Db::connect(url, 4).await?).await?;
        let mut c = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(render(world, false))).execute(&mut c).await?;
        sqlx::raw_sql(AssertSqlSafe(then)).execute(&mut c).await?;
        Ok(c.close().await?)
    };
    let key = format!("verify {} {world} {then}", migrate::fingerprint());
    let database = postgres::create_database(&key, fill).await.unwrap();
    let db = Db::connect(&database.url, 4).await.unwrap();
    (database, db)
}

/// Drops every constraint but NOT NULL.
const FREE: &str = "DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT conrelid::regclass AS tbl, conname FROM pg_constraint
             WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'u', 'p')
             ORDER BY contype IN ('u', 'p')
    LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', c.tbl, c.conname); END LOOP; END $$";

async fn break_postgres(url: &str, text: &str) {
    let mut c = PgConnection::connect(url).await.unwrap();
    for text in render(text, false).split(';').filter(|text| !text.starts_with("FREE ")) {
        sqlx::raw_sql(AssertSqlSafe(text.to_owned()))
            .execute(&mut c)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    c.close().await.unwrap();
}

#[tokio::test]
async fn a_sound_world_is_clean_and_each_check_is_heard_of_on_sqlite() {
    let (_sqlite, db) = Sqlite::with(WORLD).await;
    let mut heard = Vec::new();
    let report = verify(&db, |name| heard.push(name)).await.unwrap();
    assert_clean(&report);
    assert_eq!(heard, report.checks.iter().map(|check| check.name).collect::<Vec<_>>());
    let proved: BTreeSet<_> = CASES.iter().map(|case| case.check).collect();
    assert_eq!(
        proved,
        heard.into_iter().collect(),
        "each check has a case that it finds, and no other case exists"
    );
}

#[tokio::test]
async fn an_empty_database_is_clean_on_sqlite() {
    let (_sqlite, db) = Sqlite::with("").await;
    assert_clean(&verify(&db, |_| ()).await.unwrap());
}

#[tokio::test]
async fn a_sound_world_is_clean_on_postgres() {
    let (_database, db) = postgres_with(WORLD).await;
    assert_clean(&verify(&db, |_| ()).await.unwrap());
}

/// The message is from 21, and rows before 22 were deleted for their age.
const PRUNED: &str = "INSERT INTO prunings (what, before_at) VALUES ('outbox', 22); DELETE FROM outbox";

#[tokio::test]
async fn a_message_may_outlive_its_source() {
    let (sqlite, db) = Sqlite::with(WORLD).await;
    sqlite.run("world", PRUNED).await;
    assert_clean(&verify(&db, |_| ()).await.unwrap());
    let (database, db) = postgres_of(WORLD, FREE).await;
    break_postgres(&database.url, PRUNED).await;
    assert_clean(&verify(&db, |_| ()).await.unwrap());
}

#[tokio::test]
async fn each_broken_row_is_named_on_sqlite() {
    let (sqlite, _db) = Sqlite::with(WORLD).await;
    for (n, case) in CASES.iter().enumerate() {
        let name = format!("case{n}");
        sqlite.run("world", &format!("VACUUM INTO '{}'", sqlite.path(&name))).await;
        sqlite.run(&name, case.sql).await;
        let report = verify(&sqlite.db(&name).await, |_| ()).await.unwrap();
        assert_named(case, &report);
    }
}

#[tokio::test]
async fn each_broken_row_is_named_on_postgres() {
    for case in CASES {
        let (database, db) = postgres_of(WORLD, FREE).await;
        break_postgres(&database.url, case.sql).await;
        assert_named(case, &verify(&db, |_| ()).await.unwrap());
    }
}

/// Orders, and vouchers of each: 20,000 vouchers, every second one redeemed once.
const ORDERS: usize = 400;
const UNITS: i64 = 50;
/// Far above what it takes: finds a check that is quadratic.
const CEILING: Duration = Duration::from_mins(1);

async fn fill_many(tx: &Tx) -> Result<()> {
    let mut rows: Vec<(&'static str, Vec<NewRow>)> = [
        "checkouts",
        "orders",
        "order_lines",
        "order_events",
        "payments",
        "payment_orders",
        "vouchers",
        "redemptions",
        "uses",
        "ledger_transfers",
    ]
    .map(|table| (table, Vec::new()))
    .into();
    for n in 0..ORDERS {
        for (table, row) in many_rows(n) {
            rows.iter_mut().find(|(t, _)| *t == table).unwrap().1.push(row);
        }
    }
    for (table, rows) in rows {
        // SQLite looks up each parameter in a list: many in one statement take long.
        for chunk in rows.chunks(50) {
            sql::insert(tx, table, chunk.to_vec()).await?;
        }
    }
    Ok(())
}

/// An order of [`UNITS`] units, paid, with everything that belongs to it.
fn many_rows(n: usize) -> Vec<(&'static str, NewRow)> {
    let id = |kind: &str| uid(&format!("{kind}{n}"));
    let (merchant, store, staff) = (uid("merchant"), uid("store"), uid("staff"));
    let (customer, product, sku, date) = (uid("customer"), uid("product"), uid("sku"), "2026-11-23");
    let (price, pay) = (1000i64, 1000 * UNITS);
    let number = format!("27{n:014}");
    let event = |name: &str, to: &str, at: i64| {
        new_row! { merchant_id: merchant, id: id(name), order_id: id("or"), event: name, to_state: to, actor: "system", at: at }
    };
    let transfer = |source: Uuid, event: &str, debit: &str, credit: &str, amount: i64| {
        new_row! { merchant_id: merchant, id: Uuid::now_v7(), event: event, debit: debit, credit: credit, amount_fen: amount, source_id: source, order_id: id("or"), store_id: store, business_date: date, at: 20i64 }
    };
    let mut rows = vec![
        ("checkouts", new_row! { id: id("ch"), customer_id: customer, created_at: 10i64 }),
        (
            "orders",
            new_row! { merchant_id: merchant, id: id("or"), checkout_id: id("ch"), customer_id: customer, store_id: store, number: number, kind: "redeem", state: "Paid", goods_fen: pay, discount_fen: 0i64, pay_fen: pay, trail: "{}", remark: "", business_date: date, expires_at: 99i64, created_at: 10i64, paid_at: 20i64 },
        ),
        (
            "order_lines",
            new_row! { merchant_id: merchant, id: id("li"), order_id: id("or"), line_no: 1i64, product_id: product, sku_id: sku, product_name: "P", sku_name: "K", quantity: UNITS, uses: 3i64, unit_price_fen: price, goods_fen: pay, discount_fen: 0i64, pay_fen: pay, rule_id: 7i64, return_on_refund: false, counted: false },
        ),
        ("order_events", event("create", "PendingPayment", 10)),
        ("order_events", event("pay", "Paid", 20)),
        (
            "payments",
            new_row! { merchant_id: merchant, id: id("pm"), checkout_id: id("ch"), customer_id: customer, pay_account_id: uid("account"), method: "wechat", state: "Succeeded", amount_fen: pay, openid: "a", description: "", transaction_id: format!("W{n}"), expires_at: 99i64, paid_at: 20i64, late: false, refund_count: 0i64, created_at: 10i64 },
        ),
        (
            "payment_orders",
            new_row! { merchant_id: merchant, payment_id: id("pm"), order_id: id("or"), amount_fen: pay },
        ),
        ("ledger_transfers", transfer(id("pm"), "payment", "wechat_receivable", "customer_liability", pay)),
    ];
    let worth = use_value_fen(price, 3, 1);
    for unit in 1..=UNITS {
        let id = |kind: &str| uid(&format!("{kind}{n}.{unit}"));
        let used = unit % 2;
        rows.push(("vouchers", new_row! { merchant_id: merchant, id: id("vo"), order_id: uid(&format!("or{n}")), line_id: uid(&format!("li{n}")), unit_no: unit, customer_id: customer, store_id: store, product_id: product, sku_id: sku, product_name: "P", sku_name: "K", state: "Live", total: 3i64, used: used, locked_refund: 0i64, locked_booking: 0i64, refunded: 0i64, transferred: 0i64, forfeited: 0i64, amount_fen: price, rule_id: 7i64, valid_from: 20i64, valid_to: 900i64, code_hash: id("vo").as_bytes().to_vec(), pepper_id: 1i64, code_cipher: vec![0u8], code_last4: "0000", version: 1i64, undo_cycles: 0i64, created_at: 20i64 }));
        if used == 1 {
            rows.push(("redemptions", new_row! { merchant_id: merchant, id: id("re"), store_id: store, staff_id: staff, staff_name: "V", method: "qr", idempotency_key: id("re").to_string(), fingerprint: vec![0u8], prepare_nonce: id("re").as_bytes().to_vec(), answer: "{}", quantity: 1i64, amount_fen: worth, occurred_at: 30i64, recorded_at: 30i64, undo_until: 40i64, business_date: date }));
            rows.push(("uses", new_row! { merchant_id: merchant, id: id("us"), voucher_id: id("vo"), serial: 1i64, redemption_id: id("re"), store_id: store, staff_id: staff, state: "Done", amount_fen: worth, redeemed_at: 30i64, business_date: date, matures_at: 200i64 }));
            rows.push((
                "ledger_transfers",
                transfer(id("re"), "redemption", "customer_liability", "merchant_pending", worth),
            ));
        }
    }
    rows
}

/// Clean, then with more broken rows than a report holds.
async fn many(db: &Db) {
    transact!(db, |tx| fill_many(&tx)).unwrap();
    let began = Instant::now();
    let mut times = Vec::new();
    let report = verify(db, |name| times.push((name, Instant::now()))).await.unwrap();
    let took = began.elapsed();
    assert_clean(&report);
    times.sort_by_key(|(_, at)| *at);
    let ends = times.iter().skip(1).map(|(_, at)| *at).chain([began + took]);
    let each: Vec<_> = times.iter().zip(ends).map(|((name, at), end)| (*name, end - *at)).collect();
    assert!(took < CEILING, "{took:?}: {each:?}");
    transact!(db, |tx| sql::execute(
        &tx,
        "UPDATE vouchers SET used = 2 WHERE used = 0 AND total = 3",
        vec![]
    ))
    .unwrap();
    let report = verify(db, |_| ()).await.unwrap();
    let used = report.checks.iter().find(|check| check.name == "voucher_used").unwrap();
    assert_eq!((used.total_broken, used.broken.len()), (10_000, MAX_BROKEN));
    let (first, row) = report.first_broken().unwrap();
    assert_eq!((first.name, row), ("voucher_used", &used.broken[0]));
}

#[tokio::test]
async fn many_vouchers_are_verified_in_time_on_sqlite() {
    let (_sqlite, db) = Sqlite::with(WORLD).await;
    many(&db).await;
}

#[tokio::test]
async fn many_vouchers_are_verified_in_time_on_postgres() {
    let (_database, db) = postgres_with(WORLD).await;
    many(&db).await;
}
