//! Running commands: where, with what environment, how long they took, and what a failure says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::signals;

/// The repository's root.
pub fn root() -> PathBuf {
    // xtask/ stands directly in the root.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The `hexiao` binary that `cargo build` made.
pub fn hexiao_path(release: bool) -> PathBuf {
    target_dir().join(if release { "release" } else { "debug" }).join("hexiao")
}

/// A command in the repository's root, with the tools that tasks install in its path.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    let own = crate::tools::bin_dir();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let parts = std::iter::once(own).chain(std::env::split_paths(&path));
    if let Ok(joined) = std::env::join_paths(parts) {
        command.env("PATH", joined);
    }
    command
}

/// `cargo` with these arguments, without the variables that `cargo run` gave to this process.
pub fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        // Build scripts look at some of these: left in, each `cargo build` here would rebuild what a plain
        // `cargo build` in a shell built, and the other way round.
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// Runs a command to its end; its output goes to the terminal.
pub fn check(command: &mut Command) -> anyhow::Result<()> {
    let shown = show(command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    signals::watch(Some(child.id()));
    let status = child.wait();
    signals::watch(None);
    let status = status.with_context(|| format!("lost `{shown}`"))?;
    if signals::interrupted() {
        bail!("interrupted");
    }
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command quietly and returns what it printed; a failure shows what it complained about.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = show(command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}):\n{}", output.status, stderr.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed what is not UTF-8"))
}

/// A command as a person would type it (good enough to copy, not exact for odd characters).
fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut shown = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for arg in command.get_args() {
        let arg = arg.to_string_lossy();
        let quote = if arg.contains(' ') { "'" } else { "" };
        shown.extend([" ", quote, &arg, quote]);
    }
    shown
}

/// Named steps, each timed; the summary says what was done even when a step failed.
pub struct Steps {
    started: Instant,
    done: Vec<(String, Duration, bool)>,
}

impl Steps {
    pub fn new() -> Self {
        Self { started: Instant::now(), done: Vec::new() }
    }

    /// Runs one step and prints its name before and its time after.
    pub fn step<T>(&mut self, name: &str, run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        eprintln!("\n==> {name}");
        let started = Instant::now();
        let result = run();
        let took = started.elapsed();
        eprintln!("    {name}: {} in {}", if result.is_ok() { "ok" } else { "FAILED" }, seconds(took));
        self.done.push((name.to_owned(), took, result.is_ok()));
        result.with_context(|| format!("step \"{name}\""))
    }

    /// One line for each step and the total.
    pub fn summary(&self) -> String {
        let width = self.done.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        let mut lines: Vec<String> = self
            .done
            .iter()
            .map(|(name, took, ok)| {
                let mark = if *ok { "ok    " } else { "FAILED" };
                format!("  {mark}  {name:width$}  {:>9}", seconds(*took))
            })
            .collect();
        lines.push(format!("  total   {:width$}  {:>9}", "", seconds(self.started.elapsed())));
        lines.join("\n")
    }
}

fn seconds(duration: Duration) -> String {
    let total = duration.as_secs();
    if total >= 60 {
        format!("{} m {:02} s", total / 60, total % 60)
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_names_itself_and_its_complaint() {
        let error = output(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("sh -c 'echo no such thing"), "{text}");
        assert!(text.ends_with("no such thing"), "{text}");
    }

    #[test]
    fn the_summary_shows_the_step_that_failed() {
        let mut steps = Steps::new();
        steps.step("first", || Ok(())).unwrap();
        steps.step("second", || -> anyhow::Result<()> { bail!("broken") }).unwrap_err();
        let summary = steps.summary();
        assert!(summary.contains("ok      first"), "{summary}");
        assert!(summary.contains("FAILED  second"), "{summary}");
    }

    #[test]
    fn long_times_are_shown_in_minutes() {
        assert_eq!(seconds(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 m 05 s");
    }
}
