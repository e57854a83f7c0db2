//! `cargo xtask bench`: what a hot path does on this machine, next to what the bare database does in the same run.
//!
//! The load client is compiled in release mode with the feature `bench`; without it this module only builds
//! itself again that way.

#[cfg(feature = "bench")]
mod bare;
#[cfg(feature = "bench")]
mod buying;
#[cfg(feature = "bench")]
mod client;
#[cfg(feature = "bench")]
mod curve;
#[cfg(feature = "bench")]
mod flash;
#[cfg(feature = "bench")]
mod mixed;
#[cfg(feature = "bench")]
mod redeem;
#[cfg(feature = "bench")]
mod report;
#[cfg(feature = "bench")]
mod requests;
#[cfg(feature = "bench")]
mod server;
#[cfg(feature = "bench")]
mod stage;

use clap::{Args, Subcommand, ValueEnum};

/// What is measured.
#[derive(Subcommand)]
pub enum Scenario {
    Redeem(RedeemArgs),
    Mixed(MixedArgs),
    Flash(FlashArgs),
    Curve(CurveArgs),
}

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
    /// Vouchers to seed
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(100..=20_000_000))]
    vouchers: u32,
    /// Stores, each with one verifier
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    stores: u32,
    /// The set-up of the published figures: 1,000 stores and 1,000,000 vouchers
    #[arg(long, conflicts_with_all = ["vouchers", "stores"])]
    full: bool,
    /// Vouchers that may be redeemed, spread over all; they bound the run
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(100..=5_000_000))]
    tickets: u32,
    /// Print only; don't append to bench/RESULTS.md
    #[arg(long)]
    no_record: bool,
}

/// A busy day: 100 stores redeem ten times a minute each, while customers browse, order and pay
///
/// Prints the latency of a redemption (prepare and confirm) counted from when it was due, and the failures of
/// everything. Fails when p99 is above 50 ms, when anything failed, when the server had more than 300 MiB, or when
/// `hexiao verify` finds something. No more than 14 minutes: access tokens live 15.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask bench mixed
  cargo xtask bench mixed --minutes 1 --database sqlite --no-record     a quick look")]
pub struct MixedArgs {
    /// Which database
    #[arg(long, value_enum, default_value = "both")]
    database: Databases,
    /// How long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=14))]
    minutes: u32,
    /// Stores, each with one verifier
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    stores: u32,
    /// Vouchers in the database, at least; only as many as needed are redeemed
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    vouchers: u32,
    /// Customers who browse and buy
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    customers: u32,
    /// Pages that customers look at in a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    reads: u32,
    /// Orders that customers place and pay in a second
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    orders: u32,
    /// Print only; don't append to bench/RESULTS.md
    #[arg(long)]
    no_record: bool,
}

/// A flash sale: 5,000 customers at the same moment for 100 items, then 5,000 payments with bad callbacks
///
/// Everybody has a connection of their own. Fails unless there are exactly as many orders as items, everybody was
/// answered within 3 seconds without `busy` or 5xx, every payment was settled once although of WeChat's messages 5 %
/// are lost, 5 % doubled and 5 % late, the server had at most 300 MiB, and `hexiao verify` finds nothing. Payments whose
/// message was lost are found when the server asks WeChat about them: after 5, 30 and 60 seconds.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask bench flash
  cargo xtask bench flash --customers 500 --database sqlite --no-record     a quick look")]
pub struct FlashArgs {
    /// Which database
    #[arg(long, value_enum, default_value = "both")]
    database: Databases,
    /// Customers, each with a connection
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    customers: u32,
    /// Items for all of them
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    items: u32,
    /// Print only; don't append to bench/RESULTS.md
    #[arg(long)]
    no_record: bool,
}

/// The cost of a redemption with ten thousand vouchers in the database, and with ten million
///
/// Each size is seeded afresh (ten million vouchers take minutes and about 8 GB) and gets the same load. Prints
/// rates, and the processor time of a confirmation in the server and in PostgreSQL: flat, if the database looks up
/// and never walks.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask bench curve
  cargo xtask bench curve --database sqlite --sizes 10000,100000 --seconds 3 --no-record     a quick look")]
pub struct CurveArgs {
    /// Which database
    #[arg(long, value_enum, default_value = "both")]
    database: Databases,
    /// Numbers of vouchers, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000,10000000")]
    sizes: Vec<u32>,
    /// Connections that send requests at the same time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Seconds of prepares for each size; all that were prepared are then confirmed
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Vouchers that may be redeemed, spread over all; they bound the run
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=5_000_000))]
    tickets: u32,
    /// Stores, each with one verifier
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
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
pub fn run(_scenario: &Scenario) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;

    eprintln!("==> building the load client (release; the first time takes some minutes)");
    let mut again = crate::run::cargo(["run", "--quiet", "--package", "xtask", "--features", "bench"]);
    if std::env::var_os("XTASK_BENCH_DEBUG").is_none() {
        again.arg("--release");
    }
    let error = again.arg("--").args(std::env::args_os().skip(1)).exec();
    Err(anyhow::Error::from(error).context("cannot start cargo"))
}

/// Runs a benchmark.
#[cfg(feature = "bench")]
pub fn run(scenario: &Scenario) -> anyhow::Result<()> {
    crate::signals::hold()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match scenario {
            Scenario::Redeem(args) => redeem::run(args).await,
            Scenario::Mixed(args) => mixed::run(args).await,
            Scenario::Flash(args) => flash::run(args).await,
            Scenario::Curve(args) => curve::run(args).await,
        }
    })
}
