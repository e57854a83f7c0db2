//! `cargo xtask bench`: what a hot path does on this machine, next to what the bare database does in the same run.
//!
//! The load client is compiled in release mode with the feature `bench`; without it this module only builds
//! itself again that way.

#[cfg(feature = "bench")]
mod bare;
#[cfg(feature = "bench")]
mod client;
#[cfg(feature = "bench")]
mod redeem;
#[cfg(feature = "bench")]
mod report;
#[cfg(feature = "bench")]
mod server;

use clap::{Args, ValueEnum};

/// Redemptions over HTTP on SQLite and on a private PostgreSQL, with durable commits
///
/// Each round: verifiers scan (prepare) as fast as the server answers, confirm the first half as fast as it
/// answers and the second half at half that rate; then the bare database commits the same number of rows with
/// nothing else around it. Rounds of both databases are interleaved; rates are medians of the rounds.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask bench redeem
  cargo xtask bench redeem --database sqlite --rounds 5
  cargo xtask bench redeem --seconds 2 --rounds 1 --vouchers 20000 --no-record     a quick look")]
pub struct RedeemArgs {
    /// Which database
    #[arg(long, value_enum, default_value = "both")]
    database: Databases,
    /// Connections that send requests at the same time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Measured rounds for each database
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Seconds that a phase of a round lasts at most
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Seconds of warm-up before the first round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    warm_up: u32,
    /// Vouchers to seed; each is redeemed once, so they bound the run
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(100..=5_000_000))]
    vouchers: u32,
    /// Stores, each with one verifier
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    stores: u32,
    /// Print only; don't append to bench/RESULTS.md
    #[arg(long)]
    no_record: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Databases {
    Sqlite,
    Postgres,
    Both,
}

/// Builds this program again with the load client and becomes it.
#[cfg(not(feature = "bench"))]
pub fn redeem(_args: &RedeemArgs) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;

    eprintln!("==> building the load client (release; the first time takes some minutes)");
    let mut again =
        crate::run::cargo(["run", "--quiet", "--release", "--package", "xtask", "--features", "bench"]);
    let error = again.arg("--").args(std::env::args_os().skip(1)).exec();
    Err(anyhow::Error::from(error).context("cannot start cargo"))
}

/// Runs the benchmark.
#[cfg(feature = "bench")]
pub fn redeem(args: &RedeemArgs) -> anyhow::Result<()> {
    crate::signals::hold()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(redeem::run(args))
}
