//! The redemption path: prepare and confirm over HTTP, on both databases, next to their bare limits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::RedeemArgs;
use super::client::{self, Pace, Phase};
use super::report::{self, Figures, Series};
use super::requests::{Confirms, Prepares, Token, complete};
use super::server::Sizes;
use super::stage::{self, Kind, Stage};

/// A prepare token lives 120 s: a phase that would outlive it is cut.
const TOKEN_LIFE: Duration = Duration::from_secs(100);
/// Redemptions that are measured one after the other.
const LONE: usize = 200;

/// Builds, seeds, measures, prints, records.
pub async fn run(args: &RedeemArgs) -> anyhow::Result<()> {
    let folder = stage::prepare()?;
    let mut subjects = Vec::new();
    for kind in args.database.kinds() {
        subjects.push(Subject::start(args, *kind, folder.path()).await?);
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
    for subject in &mut subjects {
        subject.figures.memory_mib = subject.stage.server.memory_mib()?;
    }
    let figures: Vec<Figures> = subjects.into_iter().map(|subject| subject.figures).collect();
    let table = report::table(&figures)?;
    println!("\n{table}");
    if args.no_record {
        return Ok(());
    }
    report::record("Redemption over HTTP", &parameters(args), &table)
}

fn sizes(args: &RedeemArgs) -> Sizes {
    let (stores, vouchers) = if args.full { (1000, 1_000_000) } else { (args.stores, args.vouchers) };
    // A ticket is what is redeemed; the others are what a database holds besides.
    Sizes { stores, vouchers, tickets: args.tickets.min(vouchers), customers: 0, items: 1 }
}

fn parameters(args: &RedeemArgs) -> String {
    format!(
        "{} connections, {}, {} rounds of ≤ {} s a phase; commits reach the disk \
         (SQLite: WAL, synchronous=FULL; PostgreSQL: fsync and synchronous_commit on); consumers running. \
         \"Alone\" is one connection, one request after the other.",
        args.connections,
        sizes(args),
        args.rounds,
        args.seconds
    )
}

/// One database with its server, and what is left to redeem.
struct Subject {
    stage: Stage,
    /// The first voucher that wasn't touched yet.
    next: usize,
    figures: Figures,
}

impl Subject {
    async fn start(args: &RedeemArgs, kind: Kind, folder: &Path) -> anyhow::Result<Self> {
        let stage = Stage::start(kind, folder, &sizes(args), false).await?;
        stage.database.bare.prepare().await?;
        let figures = Figures {
            database: stage.database.name.clone(),
            prepare: Series::new()?,
            confirm: Series::new()?,
            paced: Series::new()?,
            lone: Series::new()?,
            bare_single: Vec::new(),
            bare_batched: Vec::new(),
            unread: Vec::new(),
            caught_up_s: Vec::new(),
            memory_mib: 0,
        };
        Ok(Self { stage, next: 0, figures })
    }

    async fn warm_up(&mut self, args: &RedeemArgs) -> anyhow::Result<()> {
        eprintln!("==> warming up {}", self.figures.database);
        self.stage.refresh(args.connections).await?;
        let pace = full_speed(args, args.warm_up);
        let prepared = self.prepare(pace, self.share(args)?).await?;
        let tokens = prepared.answers.into_iter().map(|(_, token)| token).collect();
        self.confirm(pace, tokens).await.map(drop)
    }

    async fn round(&mut self, args: &RedeemArgs) -> anyhow::Result<()> {
        self.stage.refresh(args.connections).await?;
        let pace = full_speed(args, args.seconds);
        let prepared = self.prepare(pace, self.share(args)?).await?;
        let mut first: Vec<Token> = prepared.answers.iter().map(|(_, token)| token.clone()).collect();
        let second = first.split_off(first.len() / 2);
        let confirmed = self.confirm(Pace { at_most: TOKEN_LIFE / 2, ..pace }, first).await?;
        let taken = u32::try_from(confirmed.answers.len().max(1))?;
        let interval = confirmed.elapsed * 2 / taken;
        let paced = self.confirm(Pace { interval: Some(interval), ..pace }, second).await?;
        let (unread, caught_up) = self.stage.backlog().await?;
        // Scanned now: the consumers may have taken longer than a prepare token lives.
        let scanned = self.prepare(pace, LONE.min(self.share(args)? / 10)).await?;
        let scanned = scanned.answers.into_iter().map(|(_, token)| token).collect();
        let lone = self.confirm(Pace { connections: 1, ..pace }, scanned).await?;
        let at_most = Duration::from_secs(u64::from(args.seconds));
        let single = self.stage.database.bare.measure(1, at_most).await?;
        let batched = self.stage.database.bare.measure(64, at_most).await?;
        eprintln!(
            "    prepare {:.0}/s, confirm {:.0}/s, bare {single:.0}/s and {batched:.0}/s; \
             {unread} events unread at the end, read {:.1} s later",
            report::rate(prepared.answers.len(), prepared.elapsed)?,
            report::rate(confirmed.answers.len(), confirmed.elapsed)?,
            caught_up.as_secs_f64(),
        );
        let figures = &mut self.figures;
        figures.prepare.add(&prepared)?;
        figures.confirm.add(&confirmed)?;
        figures.paced.add(&paced)?;
        figures.lone.add(&lone)?;
        figures.unread.push(unread);
        figures.caught_up_s.push(caught_up.as_secs_f64());
        figures.bare_single.push(single);
        figures.bare_batched.push(batched);
        Ok(())
    }

    /// How many vouchers the warm-up and each round may take: as many each, and some for those that are redeemed alone.
    fn share(&self, args: &RedeemArgs) -> anyhow::Result<usize> {
        Ok(self.stage.seed.vouchers.len() * 9 / 10 / usize::try_from(args.rounds + 1)?)
    }

    async fn prepare(&mut self, pace: Pace, share: usize) -> anyhow::Result<Phase<Token>> {
        let range = self.next..(self.next + share).min(self.stage.seed.vouchers.len());
        let requests = Prepares { seed: Arc::clone(&self.stage.seed), range: range.clone() };
        let phase = client::drive(&self.stage.server.address, pace, Arc::new(requests)).await?;
        self.next = range.end;
        complete("prepare", phase)
    }

    async fn confirm(&self, pace: Pace, tokens: Vec<Token>) -> anyhow::Result<Phase<()>> {
        let requests = Confirms { seed: Arc::clone(&self.stage.seed), tokens };
        complete("confirm", client::drive(&self.stage.server.address, pace, Arc::new(requests)).await?)
    }
}

fn full_speed(args: &RedeemArgs, seconds: u32) -> Pace {
    Pace { connections: args.connections, at_most: Duration::from_secs(u64::from(seconds)), interval: None }
}
