//! All rows of the database, read beside the server: what shows that a refused request wrote nothing.

use std::collections::{BTreeMap, BTreeSet};

use hexiao_app::prune::CONSUMERS;
use hexiao_testkit::{Backend, TestApp, wait_until};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

/// The rows of each table as text.
pub(crate) type Rows = BTreeMap<String, BTreeSet<String>>;

/// The worker's own rows change by themselves, and refused attempts to redeem are recorded on purpose.
const UNWATCHED: [&str; 3] = ["jobs", "consumer_positions", "redemption_attempts"];

/// Reads all tables.
pub(crate) async fn rows(app: &TestApp) -> Rows {
    let rows = match app.backend {
        Backend::Sqlite => sqlite(&app.database_url).await,
        Backend::Postgres => postgres(&app.database_url).await,
    };
    let rows = rows.unwrap();
    assert!(rows.len() > 30, "the tables were found: {:?}", rows.keys());
    rows
}

/// Stops the test when a row came, went or changed.
#[track_caller]
pub(crate) fn assert_unchanged(before: &Rows, after: &Rows, context: &str) {
    for (table, rows) in before {
        let changed: Vec<_> = rows.symmetric_difference(&after[table]).collect();
        assert!(changed.is_empty(), "{context}: {table} changed: {changed:#?}");
    }
}

fn is_watched(table: &str) -> bool {
    !UNWATCHED.contains(&table)
}

/// Waits until all that follows from what was done is done, so that rows stand still.
pub(crate) async fn settled(app: &TestApp) {
    // Who has read nothing yet has no position.
    let behind = format!(
        "SELECT (SELECT COUNT(*) FROM consumer_positions p JOIN outbox o ON (o.tx, o.seq) > (p.tx, p.seq))
         + CASE WHEN (SELECT COUNT(*) FROM consumer_positions) < {} AND EXISTS (SELECT 1 FROM outbox WHERE seq > 0) THEN 1 ELSE 0 END",
        CONSUMERS.len()
    );
    let text = || AssertSqlSafe(behind.clone());
    let behind = async || -> sqlx::Result<i64> {
        match app.backend {
            Backend::Sqlite => {
                let mut connection = SqliteConnection::connect(&read_only(&app.database_url)).await?;
                sqlx::query_scalar(text()).fetch_one(&mut connection).await
            }
            Backend::Postgres => {
                let mut connection = PgConnection::connect(&app.database_url).await?;
                sqlx::query_scalar(text()).fetch_one(&mut connection).await
            }
        }
    };
    wait_until("the worker has caught up", async || behind().await.unwrap() == 0).await;
}

fn read_only(url: &str) -> String {
    format!("{url}?mode=ro")
}

async fn sqlite(url: &str) -> sqlx::Result<Rows> {
    let mut connection = SqliteConnection::connect(&read_only(url)).await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )
    .fetch_all(&mut connection)
    .await?;
    let mut all = Rows::new();
    for table in tables.into_iter().filter(|t| is_watched(t)) {
        let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
            .bind(&table)
            .fetch_all(&mut connection)
            .await?;
        let columns: Vec<String> = columns.into_iter().map(|c| format!("quote(\"{c}\")")).collect();
        let select = format!("SELECT {} FROM \"{table}\"", columns.join(" || ', ' || "));
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(&mut connection).await?;
        all.insert(table, rows.into_iter().collect());
    }
    connection.close().await?;
    Ok(all)
}

async fn postgres(url: &str) -> sqlx::Result<Rows> {
    let mut connection = PgConnection::connect(url).await?;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
            .fetch_all(&mut connection)
            .await?;
    let mut all = Rows::new();
    for table in tables.into_iter().filter(|t| is_watched(t)) {
        let select = format!("SELECT t::text FROM \"{table}\" t");
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(&mut connection).await?;
        all.insert(table, rows.into_iter().collect());
    }
    connection.close().await?;
    Ok(all)
}
