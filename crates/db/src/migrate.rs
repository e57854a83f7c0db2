//! Migrations: one list of SQL texts for both databases, checksummed by sqlx, which refuses a text that changed
//! after it ran and a schema that is newer than this program.

use std::borrow::Cow;

use sea_orm::DbBackend;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use crate::pool::{Db, DbError, Result};
use crate::sql;

/// Number, name, text. Append only; a released text never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[(1, "initial", include_str!("../migrations/0001_initial.sql"))];

/// Runs what is missing. Safe when several processes do it at once.
pub async fn migrate(db: &Db) -> Result<()> {
    let migrator = migrator(db.backend());
    match db.backend() {
        DbBackend::Sqlite => migrator.run(db.writer().get_sqlite_connection_pool()).await,
        _ => migrator.run(db.writer().get_postgres_connection_pool()).await,
    }
    .map_err(|e| DbError::Setup(explain(&e)))
}

/// Fails unless the schema is exactly the one this program knows. Asks the reader only.
pub async fn check(db: &Db) -> Result<()> {
    let known: Vec<i64> = MIGRATIONS.iter().map(|m| m.0).collect();
    let applied = match sql::rows(
        db.reader(),
        "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version",
        vec![],
    )
    .await
    {
        Ok(rows) => rows.iter().map(|r| r.get("version")).collect::<Result<Vec<i64>>>()?,
        Err(error) if error.is_unavailable() => return Err(error),
        // No such table: nothing ran yet.
        Err(_) => Vec::new(),
    };
    if applied == known {
        Ok(())
    } else if applied.len() < known.len() {
        Err(DbError::Setup(
            "the database schema is older than this program: run `hexiao migrate` first".to_owned(),
        ))
    } else {
        Err(DbError::Setup(
            "the database schema is newer than this program: install the version that migrated it".to_owned(),
        ))
    }
}

/// A value that changes with any migration: names the template database of tests.
pub fn fingerprint() -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in MIGRATIONS.iter().flat_map(|m| m.2.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

fn explain(error: &MigrateError) -> String {
    match error {
        MigrateError::VersionMismatch(v) => {
            format!(
                "migration {v} was changed after it ran here: restore its text and add a new migration instead"
            )
        }
        MigrateError::VersionMissing(v) => {
            format!(
                "the database has migration {v}, which this program does not know: install the version that migrated it"
            )
        }
        other => format!("migration failed: {other}"),
    }
}

fn migrator(backend: DbBackend) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, name, text)| {
        let sql = match backend {
            DbBackend::Sqlite => sqlite_text(text),
            _ => postgres_text(text),
        };
        Migration::new(
            *version,
            Cow::Borrowed(name),
            MigrationType::Simple,
            sqlx::AssertSqlSafe(sql).into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

use sqlx::SqlSafeStr as _;

fn postgres_text(text: &str) -> String {
    text.replace("CURRENT_TX", "(pg_current_xact_id()::text)::bigint")
}

/// PostgreSQL's types in SQLite's words; STRICT tables hold SQLite to them.
fn sqlite_text(text: &str) -> String {
    text.replace("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT")
        .replace("CURRENT_TX", "0")
        .replace(" UUID", " BLOB")
        .replace(" BYTEA", " BLOB")
        .replace(" BIGINT", " INTEGER")
        .replace(" BOOLEAN", " INTEGER")
        .replace(" DOUBLE PRECISION", " REAL")
        .replace("\n);", "\n) STRICT;")
}
