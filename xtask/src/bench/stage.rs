//! Where a measurement takes place: a database, a seeded data folder, a running server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::Databases;
use super::bare::Bare;
use super::client::{self, Pace};
use super::requests::{Refreshes, complete};
use super::server::{BenchServer, Seed, Simulator, Sizes, seed};
use crate::postgres::{PrivatePostgres, Settings};
use crate::run;

/// A database that is there for a measurement.
pub struct Database {
    pub name: String,
    /// None: a file in the data folder.
    pub url: Option<String>,
    /// Another database on the same disk, with the same settings.
    pub bare: Bare,
    pub postgres: Option<PrivatePostgres>,
}

impl Databases {
    /// Their names, in the order in which they are measured.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Sqlite => &[Kind::Sqlite],
            Self::Postgres => &[Kind::Postgres],
            Self::Both => &[Kind::Sqlite, Kind::Postgres],
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

impl Database {
    pub async fn new(kind: Kind, folder: &Path) -> anyhow::Result<Self> {
        if kind == Kind::Sqlite {
            let bare = Bare::Sqlite(folder.join("bare.db"));
            return Ok(Self { name: "SQLite".to_owned(), url: None, bare, postgres: None });
        }
        let server = PrivatePostgres::start(Settings::Durable)?;
        // Two databases of one server: the same settings, the same disk.
        let (prefix, _) = server.url().rsplit_once('/').context("an odd address")?;
        let url = |name: &str| format!("{prefix}/{name}");
        for name in ["hexiao", "bare"] {
            use sqlx::{AssertSqlSafe, Connection};
            let mut connection = sqlx::postgres::PgConnection::connect(server.url()).await?;
            sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
        }
        let name = server
            .version
            .split_whitespace()
            .nth(2)
            .map_or("PostgreSQL".into(), |v| format!("PostgreSQL {v}"));
        let (url, bare) = (Some(url("hexiao")), Bare::Postgres(url("bare")));
        Ok(Self { name, url, bare, postgres: Some(server) })
    }
}

/// A server on a seeded database. It ends before its database.
pub struct Stage {
    pub server: BenchServer,
    /// WeChat, where customers pay.
    pub simulator: Option<Simulator>,
    data: PathBuf,
    pub seed: Arc<Seed>,
    pub database: Database,
}

impl Stage {
    pub async fn start(kind: Kind, folder: &Path, sizes: &Sizes, pays: bool) -> anyhow::Result<Self> {
        let name = if kind == Kind::Sqlite { "sqlite" } else { "postgres" };
        let database = Database::new(kind, folder).await?;
        let data = folder.join(name);
        eprintln!("==> seeding {}: {sizes}", database.name);
        let started = std::time::Instant::now();
        let seed = Arc::new(seed(&data, database.url.as_deref(), sizes)?);
        analyse(&database).await?;
        eprintln!("    seeded in {:.1} s", started.elapsed().as_secs_f64());
        let simulator = if pays { Some(Simulator::start(&data).await?) } else { None };
        let wechat = simulator.as_ref().map(Simulator::url);
        let server = BenchServer::start(&data, database.url.as_deref(), wechat.as_deref()).await?;
        Ok(Self { server, simulator, data, seed, database })
    }

    /// Stops the measurement unless the data is whole.
    pub fn verify(&self) -> anyhow::Result<()> {
        eprintln!("==> checking all data");
        super::server::verify(&self.data, self.database.url.as_deref())
    }

    /// Gives everybody tokens that outlive what follows; not measured.
    pub async fn refresh(&mut self, connections: u32) -> anyhow::Result<()> {
        let requests = Arc::new(Refreshes { seed: Arc::clone(&self.seed) });
        let pace = Pace { connections, at_most: Duration::from_mins(2), interval: None };
        let phase = complete("refresh", client::drive(&self.server.address, pace, requests).await?)?;
        let seed = Arc::get_mut(&mut self.seed).context("a phase is still running")?;
        let staff = seed.staff.len();
        for (index, tokens) in phase.answers {
            if index < staff {
                seed.staff[index].tokens = tokens;
            } else {
                seed.customers[index - staff] = tokens;
            }
        }
        Ok(())
    }

    /// Waits until the consumers have read everything; the rows that waited at first, and how long it took.
    pub async fn backlog(&self) -> anyhow::Result<(i64, Duration)> {
        // The gauge is set every two seconds: this one knows of the last commit.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let (first, started) = (self.server.unread().await?, std::time::Instant::now());
        let mut now = first;
        while now > 0 && started.elapsed() < Duration::from_mins(5) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            now = self.server.unread().await?;
        }
        if now > 0 {
            bail!("the consumers are {now} rows behind after five minutes");
        }
        Ok((first, started.elapsed()))
    }

    /// Milliseconds of processor time that the server and its database have used.
    pub fn processor(&self) -> anyhow::Result<(u64, u64)> {
        let database = match &self.database.postgres {
            Some(postgres) => super::server::processor_of_children(postgres.pid()?)?,
            None => 0,
        };
        Ok((self.server.processor()?, database))
    }
}

/// What PostgreSQL does by itself after a while: without statistics it plans badly.
async fn analyse(database: &Database) -> anyhow::Result<()> {
    use sqlx::Connection;
    let Some(url) = &database.url else { return Ok(()) };
    let mut connection = sqlx::postgres::PgConnection::connect(url).await?;
    sqlx::query("VACUUM ANALYZE").execute(&mut connection).await?;
    sqlx::query("CHECKPOINT").execute(&mut connection).await?;
    Ok(())
}

/// Builds the server; a folder for its data.
pub fn prepare() -> anyhow::Result<tempfile::TempDir> {
    if super::server::debug() {
        eprintln!("!!! XTASK_BENCH_DEBUG: the server is not optimised. These figures mean NOTHING.");
        run::check(&mut run::cargo(["build", "--package", "hexiao-server", "--bin", "hexiao"]))?;
    } else {
        eprintln!("==> building the server (release)");
        run::check(&mut run::cargo(["build", "--release", "--package", "hexiao-server", "--bin", "hexiao"]))?;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?;
    let folder = tempfile::Builder::new().prefix("hexiao-bench-").tempdir()?;
    refuse_memory_disk(folder.path())?;
    Ok(folder)
}

/// Durable commits to memory would be a lie.
fn refuse_memory_disk(folder: &Path) -> anyhow::Result<()> {
    let kind = run::output(Command::new("stat").args(["-f", "-c", "%T"]).arg(folder))?;
    if matches!(kind.trim(), "tmpfs" | "ramfs") {
        bail!("{} is in memory: set TMPDIR to a folder on a disk", folder.display());
    }
    Ok(())
}
