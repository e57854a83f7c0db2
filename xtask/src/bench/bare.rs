//! The machine's own limit: the bare database, doing as many row writes as a redemption does and nothing else.
//!
//! A redemption writes eight rows: a guarded update of a counter and seven inserts. Here a commit does that
//! for one redemption, or for 64 at once with the same eight statements over arrays.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Rows of the table that is updated.
const COUNTERS: i64 = 100_000;
/// Tables that are inserted into.
const LOGS: usize = 7;
/// As wide as our own rows.
const PAYLOAD: &str = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuv";

/// Where the bare database is.
#[derive(Clone)]
pub enum Bare {
    Sqlite(std::path::PathBuf),
    Postgres(String),
}

enum Handle {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Bare {
    /// Makes the tables.
    pub async fn prepare(&self) -> anyhow::Result<()> {
        let mut handle = self.connect().await?;
        handle.execute("CREATE TABLE bench_counter (id BIGINT PRIMARY KEY, used BIGINT NOT NULL)").await?;
        let numbers = format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
             INSERT INTO bench_counter SELECT i, 0 FROM n",
            COUNTERS - 1
        );
        handle.execute(&numbers).await?;
        for log in 0..LOGS {
            let table = format!(
                "CREATE TABLE bench_log_{log} (id BIGINT PRIMARY KEY, at BIGINT NOT NULL, payload TEXT NOT NULL)"
            );
            handle.execute(&table).await?;
        }
        Ok(())
    }

    /// Redemptions per second with this many in each commit.
    pub async fn measure(&self, per_commit: i64, at_most: Duration) -> anyhow::Result<f64> {
        // SQLite has one writer. PostgreSQL commits in groups: single commits need many sessions for that,
        // large ones few.
        let sessions = match self {
            Self::Sqlite(_) => 1,
            Self::Postgres(_) if per_commit == 1 => 16,
            Self::Postgres(_) => 2,
        };
        let mut handles = Vec::new();
        for _ in 0..sessions {
            handles.push(self.connect().await?);
        }
        let next = Arc::new(AtomicI64::new(first_free_id()?));
        let started = Instant::now();
        let loops: Vec<_> = handles
            .into_iter()
            .map(|handle| tokio::spawn(commit_loop(handle, Arc::clone(&next), per_commit, started, at_most)))
            .collect();
        let mut redemptions = 0_u32;
        for each in loops {
            redemptions += each.await.context("a commit loop died")??;
        }
        Ok(f64::from(redemptions) / started.elapsed().as_secs_f64())
    }

    async fn connect(&self) -> anyhow::Result<Handle> {
        Ok(match self {
            Self::Sqlite(file) => Handle::Sqlite(open_sqlite(file).await?),
            Self::Postgres(url) => Handle::Postgres(PgConnection::connect(url).await?),
        })
    }
}

async fn open_sqlite(file: &Path) -> anyhow::Result<SqliteConnection> {
    let address = format!("sqlite://{}", file.display());
    Ok(SqliteConnectOptions::from_str(&address)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .connect()
        .await?)
}

/// Ids grow with time, as ours do, and don't meet those of an earlier round.
fn first_free_id() -> anyhow::Result<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_micros())? * 16)
}

async fn commit_loop(
    mut handle: Handle,
    next: Arc<AtomicI64>,
    per_commit: i64,
    started: Instant,
    at_most: Duration,
) -> anyhow::Result<u32> {
    let per_commit_count = u32::try_from(per_commit)?;
    let mut done = 0;
    while started.elapsed() < at_most {
        let first = next.fetch_add(per_commit, Ordering::Relaxed);
        let ids: Vec<i64> = (first..first + per_commit).collect();
        // A large odd stride visits the counters out of order; consecutive ids never meet in one commit.
        let counters: Vec<i64> = {
            let mut counters: Vec<i64> = ids.iter().map(|id| (id % COUNTERS) * 7_919 % COUNTERS).collect();
            counters.sort_unstable();
            counters
        };
        handle.commit(&ids, &counters).await?;
        done += per_commit_count;
    }
    Ok(done)
}

impl Handle {
    async fn execute(&mut self, statement: &str) -> anyhow::Result<()> {
        let statement = AssertSqlSafe(statement.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::query(statement).execute(connection).await.map(drop)?,
            Self::Postgres(connection) => sqlx::query(statement).execute(connection).await.map(drop)?,
        }
        Ok(())
    }

    async fn commit(&mut self, ids: &[i64], counters: &[i64]) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let (ids, counters) = (serde_json::to_string(ids)?, serde_json::to_string(counters)?);
                let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
                sqlx::query(
                    "UPDATE bench_counter SET used = used + 1 \
                     WHERE id IN (SELECT value FROM json_each(?1)) AND used >= 0",
                )
                .bind(counters)
                .execute(&mut *transaction)
                .await?;
                for log in 0..LOGS {
                    let insert = format!(
                        "INSERT INTO bench_log_{log} SELECT value, value / 16, ?2 FROM json_each(?1)"
                    );
                    let query = sqlx::query(AssertSqlSafe(insert)).bind(&ids).bind(PAYLOAD);
                    query.execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
            }
            Self::Postgres(connection) => {
                let mut transaction = connection.begin().await?;
                sqlx::query("UPDATE bench_counter SET used = used + 1 WHERE id = ANY($1) AND used >= 0")
                    .bind(counters)
                    .execute(&mut *transaction)
                    .await?;
                for log in 0..LOGS {
                    let insert =
                        format!("INSERT INTO bench_log_{log} SELECT i, i / 16, $2 FROM unnest($1) AS i");
                    let query = sqlx::query(AssertSqlSafe(insert)).bind(ids).bind(PAYLOAD);
                    query.execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bare_loop_writes_eight_rows_for_each_redemption() {
        let dir = tempfile::tempdir().unwrap();
        let bare = Bare::Sqlite(dir.path().join("bare.db"));
        bare.prepare().await.unwrap();
        let rate = bare.measure(64, Duration::from_millis(200)).await.unwrap();
        assert!(rate > 0.0);
        let mut connection = open_sqlite(&dir.path().join("bare.db")).await.unwrap();
        let used: i64 = sqlx::query_scalar("SELECT SUM(used) FROM bench_counter")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let logged: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM bench_log_6").fetch_one(&mut connection).await.unwrap();
        assert!(used > 0);
        assert_eq!(used, logged);
    }
}
