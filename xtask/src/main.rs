//! `cargo xtask`: everything a person or a machine does with this repository besides writing it.
//!
//! Each task prints what it does and how long it took, installs what it can, and otherwise says exactly
//! what to do next. Nothing is skipped silently.

mod bench;
mod demo;
mod generated;
mod lint;
mod postgres;
mod postgres_shell;
mod run;
mod signals;
mod soak;
mod test;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Tasks of the Hexiao repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
#[command(after_help = "Examples:
  cargo xtask demo                      a mall with 100 stores on http://127.0.0.1:8080
  cargo xtask test                      what CI runs
  cargo xtask test --filter 'test(refund)'
  cargo xtask openapi --check           is docs/openapi.json up to date?")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Test(TestArgs),
    /// Check the house rules: layers, file sizes, links, pinned migrations
    Lint,
    Demo(DemoArgs),
    /// Write docs/openapi.json from the routes, or check it
    Openapi(CheckArgs),
    /// Write docs/ERRORS.md from the error codes, or check it
    Errors(CheckArgs),
    /// Measure a hot path and append the figures to bench/RESULTS.md
    ///
    /// Every scenario builds the server in release mode, seeds a fresh database in a temporary folder (TMPDIR must be
    /// on a disk), measures over HTTP, and removes everything. XTASK_BENCH_DEBUG=1 takes a debug build, to try a
    /// scenario; nothing is recorded then. Let nothing else run on the machine meanwhile.
    #[command(after_help = "Examples:
  cargo xtask bench redeem --full       redemptions per second, 1,000 stores, 1,000,000 vouchers
  cargo xtask bench mixed               redemptions beside browsing, orders and callbacks
  cargo xtask bench flash               5,000 customers for 100 items, then 5,000 payments
  cargo xtask bench curve               what a redemption costs from 10,000 to 10,000,000 vouchers
  XTASK_BENCH_DEBUG=1 cargo xtask bench redeem --vouchers 2000 --stores 5 --rounds 1 --seconds 1 --warm-up 1 --no-record")]
    Bench {
        #[command(subcommand)]
        scenario: bench::Scenario,
    },
    Soak(SoakArgs),
    /// Run a command (or a shell) beside a private PostgreSQL, with HEXIAO_TEST_PG_URL set
    #[command(after_help = "Examples:
  cargo xtask postgres -- cargo nextest run -p hexiao-db
  cargo xtask postgres                  a shell; psql \"$HEXIAO_TEST_PG_URL\" works in it")]
    Postgres {
        /// The command and its arguments
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// Run every check and every test, on SQLite and on PostgreSQL
///
/// Steps: format, house rules, dependency policy (cargo-deny), clippy, build, documentation tests, tests.
/// A private PostgreSQL is started for the run in a temporary directory and removed afterwards.
/// Missing tools are installed: Debian's `postgresql` (as root or with sudo), and cargo-nextest and
/// cargo-deny under target/tools.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask test
  cargo xtask test --quick
  cargo xtask test --filter 'package(hexiao-db)'
  cargo xtask test --filter 'test(/race::/) and test(postgres)'")]
struct TestArgs {
    /// Only build and test, without the crash, race and simulation tests
    #[arg(long)]
    quick: bool,
    /// Only the tests that this nextest expression selects (no other checks)
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
}

/// Build and start the demo mall: server, WeChat simulator, 100 stores, 30 products
///
/// Stays in the foreground; Ctrl-C stops it cleanly. A second run is quick and keeps the data.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask demo
  cargo xtask demo --port 9000 --data /tmp/mall
  rm -r data && cargo xtask demo        start over")]
struct DemoArgs {
    /// Port of the server, on 127.0.0.1
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Folder of the database, keys and files; made if missing
    #[arg(long, default_value = "data", value_name = "DIR")]
    data: PathBuf,
    /// Build with optimisation (slower to build, much faster to run)
    #[arg(long)]
    release: bool,
}

#[derive(Args)]
struct CheckArgs {
    /// Write nothing; fail if the committed file is out of date
    #[arg(long)]
    check: bool,
}

/// Run the race and simulation tests with many seeds
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask soak
  cargo xtask soak --seeds 50 --filter 'test(last_use)'")]
struct SoakArgs {
    /// Seeds for each test (passed on as HEXIAO_SEEDS)
    #[arg(long, default_value_t = 1000)]
    seeds: u32,
    /// Narrow the tests by a nextest expression
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test(args) => test::run(&test::Options { quick: args.quick, filter: args.filter }),
        Task::Lint => lint::run(),
        Task::Demo(args) => demo::run(args.port, &args.data, args.release),
        Task::Openapi(args) => generated::openapi(args.check),
        Task::Errors(args) => generated::errors(args.check),
        Task::Bench { scenario } => bench::run(&scenario),
        Task::Postgres { command } => postgres_shell::run(&command),
        Task::Soak(args) => soak::run(args.seeds, args.filter.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
