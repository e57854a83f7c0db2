//! `cargo xtask test`: every check and every test, the same here and in CI.

use std::process::Command;

use crate::postgres::{PrivatePostgres, Settings};
use crate::run::{Steps, cargo, check};
use crate::{generated, lint, run, signals, tools};

/// What to run.
pub struct Options {
    /// Without the checks and the heavy tests.
    pub quick: bool,
    /// Only these tests.
    pub filter: Option<String>,
}

impl Options {
    /// The profile in .config/nextest.toml.
    fn profile(&self) -> &'static str {
        match (self.quick, std::env::var_os("CI").is_some()) {
            (true, _) => "quick",
            (false, true) => "ci",
            (false, false) => "default",
        }
    }
}

/// Runs the steps; prints a summary in any case and the tests' count as the last line.
pub fn run(options: &Options) -> anyhow::Result<()> {
    signals::hold()?;
    let mut steps = Steps::new();
    let result = run_steps(options, &mut steps);
    eprintln!("\n{}", steps.summary());
    result?;
    if let Some(line) = count_line(options) {
        println!("\n{line}");
    }
    Ok(())
}

fn run_steps(options: &Options, steps: &mut Steps) -> anyhow::Result<()> {
    let everything = !options.quick && options.filter.is_none();
    if everything {
        steps.step("format", || check(&mut cargo(["fmt", "--all", "--check"])))?;
        steps.step("house rules", lint::run)?;
        steps.step("dependency policy", dependency_policy)?;
        steps.step("clippy", clippy)?;
    }
    steps.step("tools", tools::ensure_nextest)?;
    steps.step("build", build)?;
    if everything {
        steps.step("generated documents", generated::check_all)?;
        steps
            .step("documentation tests", || check(&mut cargo(["test", "--quiet", "--workspace", "--doc"])))?;
    }
    let postgres = steps.step("start PostgreSQL", || {
        let postgres = PrivatePostgres::start(Settings::Fast)?;
        eprintln!("    {}", postgres.version);
        Ok(postgres)
    })?;
    let result = steps.step("tests", || check(&mut nextest(options, &postgres)));
    drop(postgres);
    result
}

fn dependency_policy() -> anyhow::Result<()> {
    tools::ensure_deny()?;
    check(&mut cargo(["deny", "--offline", "check", "bans", "licenses", "sources"]))
}

fn clippy() -> anyhow::Result<()> {
    let args = ["clippy", "--workspace", "--all-targets", "--features", "xtask/bench"];
    check(cargo(args).args(["--", "-D", "warnings"]))
}

/// The `hexiao` binary, which tests start, and the tests themselves, in one go: built apart they would
/// compile shared crates twice, with different features.
fn build() -> anyhow::Result<()> {
    check(&mut cargo(["build", "--workspace", "--all-targets"]))
}

fn nextest(options: &Options, postgres: &PrivatePostgres) -> Command {
    let mut command = nextest_command(options.profile(), postgres);
    if let Some(filter) = &options.filter {
        command.args(["-E", filter]);
    }
    command
}

/// `cargo nextest run` with the environment that our tests expect.
pub fn nextest_command(profile: &str, postgres: &PrivatePostgres) -> Command {
    let mut command = cargo(["nextest", "run", "--workspace", "--profile", profile]);
    command.env("HEXIAO_TEST_PG_URL", postgres.url());
    command.env("HEXIAO_BIN", run::hexiao_path(false));
    command
}

/// `12 passed, 0 failed`, read from what nextest recorded, so that it stands on the last line.
fn count_line(options: &Options) -> Option<String> {
    let report = run::target_dir().join("nextest").join(options.profile()).join("junit.xml");
    count_from_report(&std::fs::read_to_string(report).ok()?)
}

fn count_from_report(report: &str) -> Option<String> {
    let head = &report[report.find("<testsuites")?..];
    let head = &head[..head.find('>')?];
    let number = |name: &str| -> Option<u32> {
        let value = head.split_once(&format!(" {name}=\""))?.1;
        value.split_once('"')?.0.parse().ok()
    };
    let failed = number("failures")? + number("errors")?;
    Some(format!("{} passed, {failed} failed", number("tests")?.checked_sub(failed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_the_report() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="37" failures="2" errors="1" uuid="x" timestamp="y" time="1.5">
    <testsuite name="a" tests="9" failures="0"></testsuite>
</testsuites>"#;
        assert_eq!(count_from_report(report).as_deref(), Some("34 passed, 3 failed"));
        assert_eq!(count_from_report("<testsuites>"), None);
    }
}
