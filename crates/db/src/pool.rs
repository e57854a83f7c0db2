//! Connections: one pool to write and one to read, on either database, and the one place that opens, retries and
//! commits write transactions.

use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use rand::RngExt as _;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel, RuntimeErr,
    SqliteTransactionMode, SqlxPostgresConnector, SqlxSqliteConnector, TransactionOptions, TransactionTrait,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// How often a transaction is tried when the database asks for it (deadlock, serialization failure).
const MAX_TRIES: u32 = 5;
/// SQLite's page cache of the writer, in KiB as the pragma wants them: what it changes again and again stays there.
const WRITER_CACHE: &str = "-65536";
/// Of each reader: it is emptied whenever the writer has committed, so more would only be memory.
const READER_CACHE: &str = "-4096";

/// Result of this crate.
pub type Result<T, E = DbError> = std::result::Result<T, E>;

/// What can go wrong below the use cases. Its text is internal and never shown to a caller of the API.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A guarded update did not hit the rows it was decided for: somebody else was faster, or a guard is wrong.
    #[error("guard failed: {0}")]
    Stale(&'static str),
    /// A row holds something that the types exclude.
    #[error("corrupt value in column {column}: {detail}")]
    Corrupt {
        /// Which column.
        column: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The database's own error.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// Opening or migrating failed.
    #[error("{0}")]
    Setup(String),
}

impl DbError {
    fn sqlx(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(
                DbErr::Exec(RuntimeErr::SqlxError(e))
                | DbErr::Query(RuntimeErr::SqlxError(e))
                | DbErr::Conn(RuntimeErr::SqlxError(e)),
            ) => Some(e),
            Self::Database(_) | Self::Stale(_) | Self::Corrupt { .. } | Self::Setup(_) => None,
        }
    }

    fn code(&self) -> Option<String> {
        self.sqlx()?.as_database_error()?.code().map(std::borrow::Cow::into_owned)
    }

    /// Whether the same transaction may succeed when tried again: PostgreSQL's serialization failure and deadlock,
    /// a lost guard, SQLite's busy writer.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Stale(_) => true,
            Self::Corrupt { .. } | Self::Setup(_) => false,
            Self::Database(_) => {
                matches!(self.code().as_deref(), Some("40001" | "40P01" | "5" | "6" | "261" | "517"))
            }
        }
    }

    /// Whether the database was too busy or not there: the caller may try again later.
    pub fn is_unavailable(&self) -> bool {
        match self.sqlx() {
            Some(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::PoolClosed) => true,
            Some(_) => matches!(self.code().as_deref(), Some("55P03" | "57P01" | "57P03" | "53300")),
            None => matches!(self, Self::Database(DbErr::ConnectionAcquire(_))),
        }
    }

    /// Whether a unique constraint refused the row. `hint` is a column or index name that must occur in its text.
    pub fn is_unique_violation(&self, hint: &str) -> bool {
        let Some(error) = self.sqlx().and_then(sqlx::Error::as_database_error) else { return false };
        error.is_unique_violation()
            && (error.message().contains(hint) || error.constraint().is_some_and(|c| c.contains(hint)))
    }
}

/// A write transaction.
pub struct Tx(DatabaseTransaction);

/// A connection that only reads.
#[derive(Debug, Clone)]
pub struct Reader(DatabaseConnection);

/// What queries run on: a [`Tx`], a [`Reader`] or a [`Snapshot`].
pub trait Conn: Sync {
    /// SeaORM's connection.
    type Inner: ConnectionTrait;
    /// SeaORM's connection.
    fn inner(&self) -> &Self::Inner;
    /// Which database.
    fn backend(&self) -> DbBackend {
        self.inner().get_database_backend()
    }
}

impl Conn for Tx {
    type Inner = DatabaseTransaction;
    fn inner(&self) -> &DatabaseTransaction {
        &self.0
    }
}

impl Conn for Reader {
    type Inner = DatabaseConnection;
    fn inner(&self) -> &DatabaseConnection {
        &self.0
    }
}

/// One consistent view of the whole database, for `verify` and exports.
pub struct Snapshot(DatabaseTransaction);

impl Conn for Snapshot {
    type Inner = DatabaseTransaction;
    fn inner(&self) -> &DatabaseTransaction {
        &self.0
    }
}

/// The database: SQLite with one writer and several readers, or PostgreSQL with a primary and maybe a replica.
#[derive(Debug, Clone)]
pub struct Db {
    write: DatabaseConnection,
    read: Reader,
}

impl Db {
    /// Opens `sqlite://path` or `postgres://…`. Creates a missing SQLite file; runs no migration.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            Self::connect_sqlite(path, max_connections).await
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::connect_postgres(url, max_connections).await
        } else {
            Err(DbError::Setup("the database URL must begin with sqlite:// or postgres://".to_owned()))
        }
    }

    async fn connect_sqlite(path: &str, readers: u32) -> Result<Self> {
        create_private(path)
            .map_err(|e| DbError::Setup(format!("cannot create the SQLite file {path}: {e}")))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .pragma("temp_store", "memory")
            .statement_cache_capacity(500);
        // A second writer would only wait for the first one's lock: one connection makes the queue explicit.
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options.clone().pragma("cache_size", WRITER_CACHE))
            .await
            .map_err(|e| DbError::Setup(format!("cannot open the SQLite file {path}: {e}")))?;
        let read = SqlitePoolOptions::new()
            .max_connections(readers.clamp(2, 16))
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy_with(
                options.pragma("cache_size", READER_CACHE).read_only(true).create_if_missing(false),
            );
        Ok(Self {
            write: SqlxSqliteConnector::from_sqlx_sqlite_pool(write),
            read: Reader(SqlxSqliteConnector::from_sqlx_sqlite_pool(read)),
        })
    }

    async fn connect_postgres(url: &str, max_connections: u32) -> Result<Self> {
        let options: PgConnectOptions =
            url.parse().map_err(|_| DbError::Setup("the PostgreSQL URL is malformed".to_owned()))?;
        let options = options
            .application_name("hexiao")
            .options([
                ("lock_timeout", "3s"),
                ("statement_timeout", "30s"),
                ("idle_in_transaction_session_timeout", "60s"),
            ])
            .statement_cache_capacity(500);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections.max(4))
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await
            .map_err(|e| DbError::Setup(format!("cannot connect to PostgreSQL: {e}")))?;
        let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
        Ok(Self { write: connection.clone(), read: Reader(connection) })
    }

    /// Which database.
    pub fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// Whether write transactions wait for each other whatever they touch: SQLite.
    pub fn has_one_writer(&self) -> bool {
        self.backend() == DbBackend::Sqlite
    }

    /// For queries that need no transaction. May lag behind the writer on a replica.
    pub fn reader(&self) -> &Reader {
        &self.read
    }

    pub(crate) fn writer(&self) -> &DatabaseConnection {
        &self.write
    }

    /// Closes all connections: a database can only be copied or dropped when nobody is in it.
    pub async fn close(self) {
        for connection in [self.write, self.read.0] {
            // Closing twice is fine: on PostgreSQL both are one pool.
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "cannot close a database connection");
            }
        }
    }

    /// One consistent view of everything.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let isolation_level = match self.backend() {
            DbBackend::Postgres => Some(IsolationLevel::RepeatableRead),
            _ => None,
        };
        let tx = self
            .read
            .0
            .begin_with_options(TransactionOptions { isolation_level, ..TransactionOptions::default() })
            .await?;
        Ok(Snapshot(tx))
    }

    /// Opens a write transaction. Use [`transact!`](crate::transact), which also commits and repeats.
    #[doc(hidden)]
    pub async fn begin(&self) -> Result<Tx> {
        // SQLite's deferred transactions fail when they turn into writers; immediate ones wait their turn.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(Tx(self.write.begin_with_options(options).await?))
    }
}

impl Tx {
    /// Commits. Use [`transact!`](crate::transact).
    #[doc(hidden)]
    pub async fn commit(self) -> Result<()> {
        Ok(self.0.commit().await?)
    }
}

/// Runs an async expression in one write transaction and commits it; `Err` rolls back. What the database asks to
/// repeat (deadlock, serialization failure, lost guard) is repeated here and nowhere else, bounded and jittered, so
/// the expression must do nothing but write to the transaction. (A macro, because an async closure that borrows
/// cannot be proven `Send` yet.)
///
/// **Invariant:** the expression makes no network call.
#[macro_export]
macro_rules! transact {
    ($db:expr, |$tx:ident| $work:expr) => {{
        let db: &$crate::Db = &$db;
        let mut tries = $crate::pool::Tries::default();
        loop {
            let outcome = match db.begin().await {
                Ok($tx) => match $work.await {
                    Ok(value) => $tx.commit().await.map(|()| value).map_err(::core::convert::Into::into),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(value) => break Ok(value),
                Err(error) if tries.again(&error).await => {}
                Err(error) => break Err(error),
            }
        }
    }};
}

/// A new database is its owner's alone. SQLite would ask the umask, and gives its log files the permissions of this one.
fn create_private(path: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

/// Counts the tries of one transaction.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Tries(u32);

impl Tries {
    /// Whether to try again; waits a little first.
    pub async fn again(&mut self, error: &impl AsDbError) -> bool {
        self.0 += 1;
        if self.0 >= MAX_TRIES || !error.as_db_error().is_some_and(DbError::is_retryable) {
            return false;
        }
        let pause = rand::rng().random_range(1..=8u64 << self.0);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        true
    }
}

/// Errors that may carry a [`DbError`], so that [`transact!`](crate::transact) sees what to repeat.
pub trait AsDbError {
    /// The database's error in it.
    fn as_db_error(&self) -> Option<&DbError>;
}

impl AsDbError for DbError {
    fn as_db_error(&self) -> Option<&DbError> {
        Some(self)
    }
}
