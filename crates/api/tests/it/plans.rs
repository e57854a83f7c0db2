//! No statement walks a table that grows with the business: SQLite is asked how it would run each one that the API
//! sent, and none may read all rows of a merchant to find a few. (PostgreSQL has the same indexes.)
//!
//! One merchant is the common case, so an index that is used for `merchant_id` alone is no index at all.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use hexiao_testkit::{Backend, TestApp};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::sweep::Sweep;
use crate::world::world;

/// Tables with as many rows as things have happened.
const GROWING: [&str; 36] = [
    "audit_log",
    "backfills",
    "booking_events",
    "booking_slots",
    "bookings",
    "checkouts",
    "commission_entries",
    "consent_refunds",
    "consent_requests",
    "customer_identities",
    "customers",
    "devices",
    "exceptions",
    "idempotency_keys",
    "inbox_messages",
    "jobs",
    "ledger_transfers",
    "offline_entries",
    "order_events",
    "order_lines",
    "orders",
    "outbox",
    "payment_anomalies",
    "payments",
    "purchase_counters",
    "redemption_attempts",
    "redemptions",
    "refunds",
    "risk_flags",
    "sessions",
    "stock_entries",
    "stock_reservations",
    "uses",
    "voucher_locks",
    "vouchers",
    "webhook_deliveries",
];

/// Parts of those that may.
const EXCEPTIONS: [&str; 3] = [
    // Once, when the server starts, over what ran when it stopped.
    "UPDATE webhook_deliveries SET leased = FALSE",
    "UPDATE jobs SET state = 'Ready', lease_until = NULL WHERE state = 'Running'",
    // The balances of a merchant's books are sums over all of them; few look, and nobody waits at a counter.
    "SELECT account, CAST(SUM(amount) AS BIGINT) AS balance",
];

/// Collects the texts of all statements.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<BTreeSet<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut text = Text::default();
            event.record(&mut text);
            let text = if text.statement.is_empty() { text.summary } else { text.statement };
            self.0.lock().unwrap().insert(text.trim().to_owned());
        }
    }
}

#[derive(Default)]
struct Text {
    summary: String,
    statement: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// The table behind a name in a plan: itself, or what the statement calls by that alias.
fn table<'s>(name: &'s str, statement: &'s str) -> &'s str {
    let words: Vec<&str> = statement.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let named = |pair: &&[&'s str]| pair[1] == name && GROWING.contains(&pair[0]);
    let aliased = |three: &&[&'s str]| {
        three[2] == name && three[1].eq_ignore_ascii_case("as") && GROWING.contains(&three[0])
    };
    let found = words.windows(2).find(named).map(|pair| pair[0]);
    found.or_else(|| words.windows(3).find(aliased).map(|three| three[0])).unwrap_or(name)
}

/// What is wrong with a step of a plan.
fn walks(step: &str, statement: &str, sorts: bool) -> bool {
    let mut words = step.split_whitespace();
    let (how, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !GROWING.contains(&table(name, statement)) {
        return false;
    }
    // Reading along an index until the page is full is fine.
    let bounded = statement.contains("LIMIT") && !sorts && step.contains("INDEX");
    match how {
        "SCAN" => !bounded,
        "SEARCH" => step.ends_with("(merchant_id=?)") && !bounded,
        _ => false,
    }
}

async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let text = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(text).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_walks_a_table_that_grows() {
    let statements = Statements::default();
    let subscriber = tracing_subscriber::registry().with(statements.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let app = TestApp::start(Backend::Sqlite).await;
    let world = world(&app).await;
    Sweep::new(&app, &world).everybody_may().await;

    let seen = statements.0.lock().unwrap().clone();
    let asked: Vec<&String> = seen
        .iter()
        .filter(|s| ["SELECT", "UPDATE", "DELETE", "WITH", "INSERT"].iter().any(|verb| s.starts_with(verb)))
        .collect();
    assert!(asked.len() > 150, "only {} statements were seen", asked.len());
    let mut connection = SqliteConnection::connect(&app.database_url).await.unwrap();
    let mut wrong = Vec::new();
    for statement in asked {
        // Rows that come as a parameter. The plan lists the tables that refer to this one, as for any insert of more
        // than one row, but they are read only while a foreign key of the statement is broken.
        if statement.starts_with("INSERT INTO") && statement.contains(" FROM json_each(?1) WHERE true") {
            continue;
        }
        let steps = plan(&mut connection, statement).await;
        let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE FOR ORDER BY"));
        let bad: Vec<&String> = steps.iter().filter(|step| walks(step, statement, sorts)).collect();
        let excepted = EXCEPTIONS.iter().any(|text| statement.contains(text));
        if !bad.is_empty() && !excepted {
            wrong.push(format!("{statement}\n    {bad:?}\n    of {steps:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} statements:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
