//! The tools that tasks need: found, or installed where that is possible without asking, or named exactly.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::run;

/// Cargo tools that tasks install live under target/, not in the user's own cargo folder.
pub fn bin_dir() -> PathBuf {
    root_dir().join("bin")
}

fn root_dir() -> PathBuf {
    run::target_dir().join("tools")
}

/// Makes sure that `cargo nextest` is there.
pub fn ensure_nextest() -> anyhow::Result<()> {
    // A test runner spends its time in the tests: unoptimised, it is there in a third of the time.
    ensure_cargo_tool("nextest", "cargo-nextest")
}

/// Makes sure that `cargo deny` is there (45 s to build unoptimised, 2 s to run).
pub fn ensure_deny() -> anyhow::Result<()> {
    ensure_cargo_tool("deny", "cargo-deny")
}

fn ensure_cargo_tool(subcommand: &str, package: &str) -> anyhow::Result<()> {
    let mut found = run::command(package);
    found.args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if found.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    eprintln!("    {package} is missing: installing it under target/tools (once)");
    let mut install = run::cargo(["install", "--locked", "--debug", "--root"]);
    install.arg(root_dir()).arg(package);
    install.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_TARGET_DIR", root_dir().join("build"));
    run::check(&mut install).with_context(|| {
        format!("{package} is needed; install it with `cargo install --locked {package}`")
    })?;
    // Only the binary is of use from here on.
    let _ = std::fs::remove_dir_all(root_dir().join("build"));
    Ok(())
}

/// The folder with PostgreSQL's `initdb` and `postgres`, installed with Debian's package if it must be.
pub fn ensure_postgres() -> anyhow::Result<PathBuf> {
    if let Some(dir) = find_postgres() {
        return Ok(dir);
    }
    eprintln!("    PostgreSQL is missing: installing Debian's package postgresql");
    install_debian(&["postgresql"]).context(
        "the tests need a PostgreSQL server (15 or newer): on Debian and Ubuntu `sudo apt-get install postgresql`, \
         on Fedora `sudo dnf install postgresql-server`, on macOS `brew install postgresql`, then run this again",
    )?;
    find_postgres()
        .context("postgresql was installed, but neither PATH nor /usr/lib/postgresql/*/bin has initdb")
}

fn find_postgres() -> Option<PathBuf> {
    let complete = |dir: &Path| dir.join("initdb").is_file() && dir.join("postgres").is_file();
    let mut debian: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, dir)| complete(dir))
        .collect();
    debian.sort();
    let newest = debian.pop().map(|(_, dir)| dir);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(|dir| complete(dir));
    newest.or(in_path)
}

/// Installs Debian packages without asking anything; fails where that can't be done.
fn install_debian(packages: &[&str]) -> anyhow::Result<()> {
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this is not Debian or a relative of it: there is no apt-get");
    }
    let apt = |args: &[&str]| {
        let mut command = as_root("env")?;
        command.arg("DEBIAN_FRONTEND=noninteractive").arg("apt-get").args(args).stdin(Stdio::null());
        run::check(&mut command)
    };
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(packages);
    // The package lists may be absent or old: then the first try fails, and an update helps.
    apt(&install).or_else(|_| apt(&["update", "-qq"]).and_then(|()| apt(&install)))
}

fn as_root(program: &str) -> anyhow::Result<Command> {
    if is_root()? {
        return Ok(Command::new(program));
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !sudo.is_ok_and(|status| status.success()) {
        bail!("installing packages needs root, and sudo would ask for a password");
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    Ok(command)
}

/// Whether this process runs as root.
pub fn is_root() -> anyhow::Result<bool> {
    Ok(run::output(Command::new("id").arg("-u"))?.trim() == "0")
}
