//! A PostgreSQL database of its own for each test, in milliseconds.
//!
//! Migrations run once for each version of them, into a template database; each test gets a clone. Test
//! runners start one process for each test, so what "once" means is settled inside PostgreSQL: an advisory
//! lock, and a mark on the template that is set only when it is complete.
//!
//! The server is the one that `HEXIAO_TEST_PG_URL` names. Without it a test panics: nothing is skipped.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

/// The variable with the address of the maintenance database of a server on which we may create databases.
pub const URL_VARIABLE: &str = "HEXIAO_TEST_PG_URL";
/// Set (to anything), it leaves the databases of tests in place, to look at after a failure.
pub const KEEP_VARIABLE: &str = "HEXIAO_TEST_KEEP_DB";

/// The advisory lock under which templates are made; the number means nothing.
const TEMPLATE_LOCK: i64 = 0x6865_7869_616f;
/// A test that can't drop its database in this time leaves it behind.
const DROP_TIMEOUT: Duration = Duration::from_secs(15);

/// A database that belongs to one test. Dropping the value drops the database, whoever is still connected.
#[derive(Debug)]
pub struct TestDatabase {
    /// `postgres://…`: where to connect.
    pub url: String,
    name: String,
    maintenance_url: String,
}

/// Makes a database for one test: a clone of the template for this key.
///
/// `template_key` names what `migrate` does: the checksum of all migrations, say, and of whatever else it
/// loads. The first caller with a new key gets an empty database's url, fills it and closes its connections;
/// everybody else, in this process or another, waits for that and clones the result.
///
/// # Panics
/// Without `HEXIAO_TEST_PG_URL`.
///
/// # Errors
/// When the server refuses, or `migrate` fails (the next caller then tries again).
pub async fn create_database(
    template_key: &str,
    migrate: impl AsyncFnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<TestDatabase> {
    let maintenance_url = maintenance_url();
    let mut connection = connect(&maintenance_url).await?;
    let template = template_name(&mut connection, template_key).await?;
    if !is_complete(&mut connection, &template).await? {
        make_template(&mut connection, &maintenance_url, &template, migrate).await?;
    }
    let name = unique_name();
    execute(&mut connection, format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
    // Closing tells the server now; a dropped connection would be found out later and counted until then.
    connection.close().await?;
    Ok(TestDatabase { url: with_database(&maintenance_url, &name)?, name, maintenance_url })
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if std::env::var_os(KEEP_VARIABLE).is_some() {
            eprintln!("kept the database of this test: {}", self.url);
            return;
        }
        // Dropping can't be async, and the test's own runtime may be ending: a thread with its own.
        let (url, name) = (self.maintenance_url.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { tokio::time::timeout(DROP_TIMEOUT, drop_database(&url, &name)).await? })
        })
        .join();
        match dropped {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("the database {} stays behind: {error:#}", self.name),
            Err(_) => eprintln!("the database {} stays behind", self.name),
        }
    }
}

/// The address of the maintenance database.
///
/// # Panics
/// When it isn't set: a test on PostgreSQL must not pass without one.
pub fn maintenance_url() -> String {
    match std::env::var(URL_VARIABLE) {
        Ok(url) if !url.is_empty() => url,
        _ => panic!("no PostgreSQL: run `cargo xtask test`, or start a PostgreSQL and set {URL_VARIABLE}"),
    }
}

async fn make_template(
    connection: &mut PgConnection,
    maintenance_url: &str,
    template: &str,
    migrate: impl AsyncFnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // The lock ends with this connection at the latest, so a test that dies here blocks nobody.
    sqlx::query("SELECT pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut *connection).await?;
    let made = async {
        if is_complete(connection, template).await? {
            return Ok(());
        }
        // What is there without the mark is the rest of an attempt that failed.
        execute(connection, format!("DROP DATABASE IF EXISTS {template} WITH (FORCE)")).await?;
        execute(connection, format!("CREATE DATABASE {template} TEMPLATE template0")).await?;
        migrate(&with_database(maintenance_url, template)?)
            .await
            .context("cannot fill the template database")?;
        // No clone can be made while somebody is connected to the template: from here on nobody can.
        execute(connection, format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false")).await?;
        sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1")
            .bind(template)
            .execute(&mut *connection)
            .await?;
        execute(connection, format!("ALTER DATABASE {template} IS_TEMPLATE true")).await
    }
    .await;
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(TEMPLATE_LOCK).execute(connection).await?;
    made
}

/// Whether the template is there and was filled to the end.
async fn is_complete(connection: &mut PgConnection, template: &str) -> anyhow::Result<bool> {
    let found: Option<bool> = sqlx::query_scalar("SELECT datistemplate FROM pg_database WHERE datname = $1")
        .bind(template)
        .fetch_optional(connection)
        .await?;
    Ok(found == Some(true))
}

/// A name for any key; PostgreSQL itself does the hashing.
async fn template_name(connection: &mut PgConnection, key: &str) -> anyhow::Result<String> {
    let hash: String = sqlx::query_scalar("SELECT md5($1)").bind(key).fetch_one(connection).await?;
    Ok(format!("hexiao_template_{hash}"))
}

/// `hexiao_test_<process>_<count>_<moment>`: no two tests share it, and it tells whose it was.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let moment = uuid::Uuid::now_v7().simple().to_string();
    format!("hexiao_test_{}_{count}_{moment}", std::process::id())
}

/// The same server, another database.
fn with_database(url: &str, database: &str) -> anyhow::Result<String> {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let host_at = base.find("://").context("not an address of PostgreSQL")? + 3;
    let host_end = base[host_at..].find('/').map_or(base.len(), |at| host_at + at);
    let server = &base[..host_end];
    Ok(match query {
        Some(query) => format!("{server}/{database}?{query}"),
        None => format!("{server}/{database}"),
    })
}

async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    PgConnection::connect(url)
        .await
        .with_context(|| format!("cannot connect to the server that {URL_VARIABLE} names"))
}

async fn drop_database(maintenance_url: &str, name: &str) -> anyhow::Result<()> {
    let mut connection = connect(maintenance_url).await?;
    execute(&mut connection, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    Ok(connection.close().await?)
}

/// Names of databases can't be bound as parameters; ours are made here of letters, digits and `_`.
async fn execute(connection: &mut PgConnection, statement: String) -> anyhow::Result<()> {
    sqlx::query(AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await
        .map(drop)
        .with_context(|| format!("`{statement}` failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn count(url: &str, query: &'static str) -> i64 {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
    }

    async fn migrate(url: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql("CREATE TABLE filled (id bigint); INSERT INTO filled VALUES (1)")
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    #[test]
    fn the_database_is_replaced_in_any_form_of_address() {
        let replaced = |url| with_database(url, "x").unwrap();
        assert_eq!(replaced("postgres://u:p@h:1/postgres"), "postgres://u:p@h:1/x");
        assert_eq!(replaced("postgres://u@h"), "postgres://u@h/x");
        assert_eq!(replaced("postgres://u@h/a?sslmode=disable"), "postgres://u@h/x?sslmode=disable");
        with_database("nonsense", "x").unwrap_err();
    }

    #[tokio::test]
    async fn each_caller_gets_its_own_filled_database_and_the_template_is_filled_once() {
        let key = format!("once {}", uuid::Uuid::now_v7());
        let fills = AtomicU32::new(0);
        let make = || {
            create_database(&key, async |url| {
                fills.fetch_add(1, Ordering::SeqCst);
                migrate(url).await
            })
        };
        let (a, b, c) = tokio::join!(make(), make(), make());
        let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
        assert_eq!(fills.load(Ordering::SeqCst), 1);
        let mut connection = PgConnection::connect(&a.url).await.unwrap();
        sqlx::query("INSERT INTO filled VALUES (2)").execute(&mut connection).await.unwrap();
        for (database, rows) in [(&a, 2), (&b, 1), (&c, 1)] {
            assert_eq!(count(&database.url, "SELECT count(*) FROM filled").await, rows);
        }
    }

    #[tokio::test]
    async fn a_failed_template_is_made_again() {
        let key = format!("again {}", uuid::Uuid::now_v7());
        let failed = create_database(&key, async |url| {
            migrate(url).await?;
            anyhow::bail!("half way")
        });
        let error = format!("{:#}", failed.await.unwrap_err());
        assert!(error.contains("half way"), "{error}");
        let database = create_database(&key, async |url| migrate(url).await).await.unwrap();
        assert_eq!(count(&database.url, "SELECT count(*) FROM filled").await, 1);
    }

    #[tokio::test]
    async fn dropping_removes_the_database_even_while_somebody_is_connected() {
        let database = create_database("empty", async |_| Ok(())).await.unwrap();
        let connection = PgConnection::connect(&database.url).await.unwrap();
        let (url, name) = (database.url.clone(), database.name.clone());
        drop(database);
        assert!(PgConnection::connect(&url).await.is_err(), "{name} is still there");
        drop(connection);
    }
}
