//! The redemption path: prepare and confirm over HTTP, on both databases, next to their bare limits.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::bare::Bare;
use super::client::{self, Body, Pace, Phase, Requests};
use super::report::{self, Figures, Series};
use super::server::{BenchServer, Seed, Tokens, seed};
use super::{Databases, RedeemArgs};
use crate::postgres::{PrivatePostgres, Settings};
use crate::{run, signals};

/// A prepare token lives 120 s: a phase that would outlive it is cut.
const TOKEN_LIFE: Duration = Duration::from_secs(100);

/// Builds, seeds, measures, prints, records.
pub async fn run(args: &RedeemArgs) -> anyhow::Result<()> {
    eprintln!("==> building the server (release)");
    run::check(&mut run::cargo(["build", "--release", "--package", "hexiao-server", "--bin", "hexiao"]))?;
    let folder = tempfile::Builder::new().prefix("hexiao-bench-").tempdir()?;
    refuse_memory_disk(folder.path())?;
    let mut subjects = Vec::new();
    if args.database != Databases::Postgres {
        subjects.push(Subject::sqlite(args, folder.path()).await?);
    }
    if args.database != Databases::Sqlite {
        subjects.push(Subject::postgres(args, folder.path()).await?);
    }
    for subject in &mut subjects {
        subject.warm_up(args).await?;
    }
    for round in 1..=args.rounds {
        for subject in &mut subjects {
            eprintln!("==> round {round} of {}, {}", args.rounds, subject.figures.database);
            subject.round(args).await?;
        }
    }
    let figures: Vec<Figures> = subjects.into_iter().map(|subject| subject.figures).collect();
    let table = report::table(&figures)?;
    println!("\n{table}");
    if args.no_record {
        return Ok(());
    }
    report::record("Redemption over HTTP", &parameters(args), &table)
}

fn parameters(args: &RedeemArgs) -> String {
    format!(
        "{} connections, {} stores, {} vouchers, {} rounds of ≤ {} s a phase; commits reach the disk \
         (SQLite: WAL, synchronous=FULL; PostgreSQL: fsync and synchronous_commit on).",
        args.connections, args.stores, args.vouchers, args.rounds, args.seconds
    )
}

/// Durable commits to memory would be a lie.
fn refuse_memory_disk(folder: &Path) -> anyhow::Result<()> {
    let kind = run::output(Command::new("stat").args(["-f", "-c", "%T"]).arg(folder))?;
    if matches!(kind.trim(), "tmpfs" | "ramfs") {
        bail!("{} is in memory: set TMPDIR to a folder on a disk", folder.display());
    }
    Ok(())
}

/// One database with its server, its bare twin and what is left to redeem. The server ends before its database.
struct Subject {
    server: BenchServer,
    seed: Arc<Seed>,
    /// The first voucher that wasn't touched yet.
    next: usize,
    bare: Bare,
    figures: Figures,
    _postgres: Option<PrivatePostgres>,
}

impl Subject {
    async fn sqlite(args: &RedeemArgs, folder: &Path) -> anyhow::Result<Self> {
        let bare = Bare::Sqlite(folder.join("bare.db"));
        Self::start(args, &folder.join("sqlite"), "SQLite", None, bare, None).await
    }

    async fn postgres(args: &RedeemArgs, folder: &Path) -> anyhow::Result<Self> {
        let server = PrivatePostgres::start(Settings::Durable)?;
        // Two databases of one server: the same settings, the same disk.
        let (base, _) = server.url().rsplit_once('/').context("an odd address")?;
        let url = |name: &str| format!("{base}/{name}");
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
        let twin = Bare::Postgres(url("bare"));
        Self::start(args, &folder.join("postgres"), &name, Some(&url("hexiao")), twin, Some(server)).await
    }

    async fn start(
        args: &RedeemArgs,
        data: &Path,
        name: &str,
        database_url: Option<&str>,
        bare: Bare,
        postgres: Option<PrivatePostgres>,
    ) -> anyhow::Result<Self> {
        eprintln!("==> seeding {name}: {} stores, {} vouchers", args.stores, args.vouchers);
        let seed = Arc::new(seed(data, database_url, args.vouchers, args.stores)?);
        bare.prepare().await?;
        let server = BenchServer::start(data, database_url).await?;
        let figures = Figures {
            database: name.to_owned(),
            prepare: Series::new()?,
            confirm: Series::new()?,
            paced: Series::new()?,
            bare_single: Vec::new(),
            bare_batched: Vec::new(),
        };
        Ok(Self { server, seed, next: 0, bare, figures, _postgres: postgres })
    }

    async fn warm_up(&mut self, args: &RedeemArgs) -> anyhow::Result<()> {
        eprintln!("==> warming up {}", self.figures.database);
        self.refresh(args).await?;
        let pace = full_speed(args, args.warm_up);
        let prepared = self.prepare(args, pace).await?;
        let tokens = prepared.answers.into_iter().map(|(_, token)| token).collect();
        self.confirm(pace, tokens).await.map(drop)
    }

    async fn round(&mut self, args: &RedeemArgs) -> anyhow::Result<()> {
        self.refresh(args).await?;
        let pace = full_speed(args, args.seconds);
        let prepared = self.prepare(args, pace).await?;
        let mut first: Vec<Token> = prepared.answers.iter().map(|(_, token)| token.clone()).collect();
        let second = first.split_off(first.len() / 2);
        let confirmed = self.confirm(Pace { at_most: TOKEN_LIFE / 2, ..pace }, first).await?;
        let taken = u32::try_from(confirmed.answers.len().max(1))?;
        let interval = confirmed.elapsed * 2 / taken;
        let paced = self.confirm(Pace { interval: Some(interval), ..pace }, second).await?;
        let at_most = Duration::from_secs(u64::from(args.seconds));
        let single = self.bare.measure(1, at_most).await?;
        let batched = self.bare.measure(64, at_most).await?;
        eprintln!(
            "    prepare {:.0}/s, confirm {:.0}/s, bare {single:.0}/s and {batched:.0}/s",
            report::rate(prepared.answers.len(), prepared.elapsed)?,
            report::rate(confirmed.answers.len(), confirmed.elapsed)?,
        );
        let figures = &mut self.figures;
        figures.prepare.add(&prepared)?;
        figures.confirm.add(&confirmed)?;
        figures.paced.add(&paced)?;
        figures.bare_single.push(single);
        figures.bare_batched.push(batched);
        Ok(())
    }

    /// Gives every verifier tokens that outlive the round; not measured.
    async fn refresh(&mut self, args: &RedeemArgs) -> anyhow::Result<()> {
        let requests = Arc::new(Refreshes { seed: Arc::clone(&self.seed) });
        let phase =
            complete("refresh", client::drive(&self.server.address, full_speed(args, 60), requests).await?)?;
        let seed = Arc::get_mut(&mut self.seed).context("a phase is still running")?;
        for (staff, tokens) in phase.answers {
            seed.staff[staff].tokens = tokens;
        }
        Ok(())
    }

    async fn prepare(&mut self, args: &RedeemArgs, pace: Pace) -> anyhow::Result<Phase<Token>> {
        // An equal share for the warm-up and for each round.
        let share = self.seed.vouchers.len() / usize::try_from(args.rounds + 1)?;
        let range = self.next..(self.next + share).min(self.seed.vouchers.len());
        let requests = Prepares { seed: Arc::clone(&self.seed), range: range.clone() };
        let phase = client::drive(&self.server.address, pace, Arc::new(requests)).await?;
        self.next = range.end;
        complete("prepare", phase)
    }

    async fn confirm(&self, pace: Pace, tokens: Vec<Token>) -> anyhow::Result<Phase<()>> {
        let requests = Confirms { seed: Arc::clone(&self.seed), tokens };
        complete("confirm", client::drive(&self.server.address, pace, Arc::new(requests)).await?)
    }
}

fn full_speed(args: &RedeemArgs, seconds: u32) -> Pace {
    Pace { connections: args.connections, at_most: Duration::from_secs(u64::from(seconds)), interval: None }
}

/// A measurement with failures measures something else.
fn complete<T>(name: &str, phase: Phase<T>) -> anyhow::Result<Phase<T>> {
    if signals::interrupted() {
        bail!("interrupted");
    }
    if phase.failed > 0 {
        bail!(
            "{} of the {name} requests failed, for example:\n  {}",
            phase.failed,
            phase.failures.join("\n  ")
        );
    }
    if phase.answers.is_empty() {
        bail!("no {name} request was sent: more --vouchers, or fewer --rounds");
    }
    Ok(phase)
}

/// What a verifier holds between the scan and the tap.
#[derive(Clone)]
struct Token {
    /// Position of the voucher in the seed.
    voucher: usize,
    token: String,
}

struct Refreshes {
    seed: Arc<Seed>,
}

impl Requests for Refreshes {
    type Answer = Tokens;

    fn count(&self) -> usize {
        self.seed.staff.len()
    }

    fn make(&self, index: usize) -> anyhow::Result<Request<Body>> {
        let Tokens { access_token, refresh_token } = &self.seed.staff[index].tokens;
        post("/api/v1/auth/refresh", access_token, None, &json!({ "refresh_token": refresh_token }))
    }

    fn read(&self, _index: usize, status: StatusCode, body: &[u8]) -> anyhow::Result<Tokens> {
        refuse_unless(status, StatusCode::OK, body)?;
        Ok(serde_json::from_slice(body)?)
    }
}

struct Prepares {
    seed: Arc<Seed>,
    range: Range<usize>,
}

impl Requests for Prepares {
    type Answer = Token;

    fn count(&self) -> usize {
        self.range.len()
    }

    fn make(&self, index: usize) -> anyhow::Result<Request<Body>> {
        let voucher = &self.seed.vouchers[self.range.start + index];
        let staff = &self.seed.staff[voucher.staff];
        let body = json!({ "store_id": staff.store_id, "input": { "qr": voucher.qr } });
        post("/api/v1/staff/redemptions/prepare", &staff.tokens.access_token, None, &body)
    }

    fn read(&self, index: usize, status: StatusCode, body: &[u8]) -> anyhow::Result<Token> {
        #[derive(Deserialize)]
        struct Answer {
            prepare_token: String,
        }
        refuse_unless(status, StatusCode::OK, body)?;
        let answer: Answer = serde_json::from_slice(body)?;
        Ok(Token { voucher: self.range.start + index, token: answer.prepare_token })
    }
}

struct Confirms {
    seed: Arc<Seed>,
    tokens: Vec<Token>,
}

impl Requests for Confirms {
    type Answer = ();

    fn count(&self) -> usize {
        self.tokens.len()
    }

    fn make(&self, index: usize) -> anyhow::Result<Request<Body>> {
        let Token { voucher, token } = &self.tokens[index];
        let voucher = &self.seed.vouchers[*voucher];
        let staff = &self.seed.staff[voucher.staff];
        let body = json!({
            "store_id": staff.store_id,
            "prepare_token": token,
            "items": [{ "voucher_id": voucher.voucher_id, "quantity": 1 }],
            "atomicity": "all",
        });
        // Each voucher is redeemed once, so its id makes a key.
        post("/api/v1/staff/redemptions", &staff.tokens.access_token, Some(&voucher.voucher_id), &body)
    }

    fn read(&self, _index: usize, status: StatusCode, body: &[u8]) -> anyhow::Result<()> {
        refuse_unless(status, StatusCode::CREATED, body)
    }
}

fn post(
    path: &str,
    token: &str,
    key: Option<&str>,
    body: &serde_json::Value,
) -> anyhow::Result<Request<Body>> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    Ok(request.body(Body::from(serde_json::to_vec(body)?))?)
}

fn refuse_unless(status: StatusCode, expected: StatusCode, body: &[u8]) -> anyhow::Result<()> {
    if status != expected {
        bail!("{status}: {}", String::from_utf8_lossy(body));
    }
    Ok(())
}
