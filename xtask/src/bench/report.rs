//! What a measurement says: medians, percentiles, and the machine it ran on.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;

use super::client;
use crate::run;

const FILE: &str = "bench/RESULTS.md";
const INTRODUCTION: &str = "# Measurements

Written by `cargo xtask bench`, newest last. The load client, the server and the database share the machine.
\"bare\" is the database alone, writing as many rows in the same run: the ratio says how much of the machine's
own limit arrives at the counter, and holds better across machines than any rate does.
";

/// One phase over all rounds.
pub struct Series {
    rates: Vec<f64>,
    latencies: Histogram<u64>,
}

impl Series {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { rates: Vec::new(), latencies: client::histogram()? })
    }

    /// Adds a round.
    pub fn add<T>(&mut self, phase: &client::Phase<T>) -> anyhow::Result<()> {
        self.rates.push(rate(phase.answers.len(), phase.elapsed)?);
        Ok(self.latencies.add(&phase.latencies)?)
    }
}

/// All that was measured on one database.
pub struct Figures {
    pub database: String,
    pub prepare: Series,
    pub confirm: Series,
    pub paced: Series,
    pub lone: Series,
    pub bare_single: Vec<f64>,
    pub bare_batched: Vec<f64>,
    /// Events that no consumer had read at the end of a round, and the seconds until all had been.
    pub unread: Vec<i64>,
    pub caught_up_s: Vec<f64>,
    /// The server's highest.
    pub memory_mib: u64,
}

/// Per second.
pub fn rate(count: usize, elapsed: Duration) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(count)?) / elapsed.as_secs_f64())
}

/// The middle value, or the mean of the two middle ones.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A Markdown table.
pub fn table(figures: &[Figures]) -> anyhow::Result<String> {
    let mut text = String::from(
        "| database | what | per second | p50 ms | p90 ms | p99 ms | max ms | of bare, 1 a commit | of bare, 64 a commit |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for each in figures {
        let (single, batched) = (median(&each.bare_single), median(&each.bare_batched));
        for (what, series) in [
            ("prepare", &each.prepare),
            ("confirm", &each.confirm),
            ("confirm at half the rate", &each.paced),
            ("confirm, alone", &each.lone),
        ] {
            let per_second = median(&series.rates);
            let at = |quantile: f64| milliseconds(series.latencies.value_at_quantile(quantile));
            let ratios = if what == "confirm" {
                format!("{:.2} | {:.2}", per_second / single, per_second / batched)
            } else {
                "– | –".to_owned()
            };
            writeln!(
                text,
                "| {} | {what} | {per_second:.0} | {} | {} | {} | {} | {ratios} |",
                each.database,
                at(0.5)?,
                at(0.9)?,
                at(0.99)?,
                milliseconds(series.latencies.max())?,
            )?;
        }
        writeln!(text, "| {} | bare, 1 a commit | {single:.0} | – | – | – | – | 1 | – |", each.database)?;
        writeln!(text, "| {} | bare, 64 a commit | {batched:.0} | – | – | – | – | – | 1 |", each.database)?;
    }
    text.push('\n');
    for each in figures {
        let unread: Vec<String> = each.unread.iter().map(ToString::to_string).collect();
        writeln!(
            text,
            "{}: events unread 2.5 s after each round {} (100000: that or more), all read {:.1} s later at the median; \
             memory of the server at most {} MiB.",
            each.database,
            unread.join(", "),
            median(&each.caught_up_s),
            each.memory_mib,
        )?;
    }
    Ok(text)
}

pub fn milliseconds(microseconds: u64) -> anyhow::Result<String> {
    Ok(format!("{:.1}", f64::from(u32::try_from(microseconds)?) / 1000.0))
}

/// Appends a section with the date, the commit and the machine.
pub fn record(title: &str, parameters: &str, table: &str) -> anyhow::Result<()> {
    let path = run::root().join(FILE);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let is_new = !path.exists();
    anyhow::ensure!(!super::server::debug(), "figures of an unoptimised server are not recorded");
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(&path).context("cannot write results")?;
    if is_new {
        file.write_all(INTRODUCTION.as_bytes())?;
    }
    write!(file, "\n## {title}, {}\n\n{}\n\n{parameters}\n\n{table}", date(), machine())?;
    eprintln!("\nappended to {FILE}");
    Ok(())
}

fn date() -> String {
    first_line(Command::new("date").args(["-u", "+%Y-%m-%d"]))
}

/// Cores, processor, memory, system, compiler and commit, as far as they can be told.
fn machine() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = information.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let processor = processor.trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes: u64 = memory.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let system = first_line(Command::new("uname").args(["-srm"]));
    let compiler = first_line(Command::new("rustc").arg("--version"));
    let commit = first_line(run::command("git").args(["describe", "--always", "--dirty"]));
    format!(
        "{cores} cores of {processor}, {} GiB, {system}, {compiler}, commit {commit}",
        kibibytes / (1024 * 1024)
    )
}

fn first_line(command: &mut Command) -> String {
    let text = run::output(command).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }
}
