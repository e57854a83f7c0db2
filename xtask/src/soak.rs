//! `cargo xtask soak`: the race and simulation tests with many seeds, for a night or a release.

use crate::postgres::{PrivatePostgres, Settings};
use crate::run::{Steps, cargo, check};
use crate::{signals, test, tools};

/// Runs them; `HEXIAO_SEEDS` tells each test how many seeds to take. A failing seed is printed by its test.
pub fn run(seeds: u32, filter: Option<&str>) -> anyhow::Result<()> {
    signals::hold()?;
    let mut steps = Steps::new();
    let result = run_steps(seeds, filter, &mut steps);
    eprintln!("\n{}", steps.summary());
    result
}

fn run_steps(seeds: u32, filter: Option<&str>, steps: &mut Steps) -> anyhow::Result<()> {
    steps.step("tools", tools::ensure_nextest)?;
    steps.step("build", || check(&mut cargo(["build", "--workspace", "--all-targets"])))?;
    let postgres = steps.step("start PostgreSQL", || PrivatePostgres::start(Settings::Fast))?;
    steps.step(&format!("soak with {seeds} seeds"), || {
        let mut command = test::nextest_command("soak", &postgres);
        command.env("HEXIAO_SEEDS", seeds.to_string());
        if let Some(filter) = filter {
            command.args(["-E", filter]);
        }
        check(&mut command)
    })
}
