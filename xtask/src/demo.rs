//! `cargo xtask demo`: build the server and hand over to it.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::run;

/// Becomes `hexiao demo`, which makes the keys, migrates, loads the demo data, starts server and simulator
/// and prints addresses and accounts. Returns only when something went wrong before that.
pub fn run(port: u16, data: &Path, release: bool) -> anyhow::Result<()> {
    check_compiler()?;
    check_port(port)?;
    let data = absolute(data)?;
    eprintln!("==> building the server (the first time takes some minutes)");
    let mut build = run::cargo(["build", "--package", "hexiao-server", "--bin", "hexiao"]);
    if release {
        build.arg("--release");
    }
    run::check(&mut build)?;
    let mut demo = Command::new(run::hexiao_path(release));
    demo.arg("demo").arg("--data").arg(&data).args(["--port", &port.to_string()]);
    demo.current_dir(run::root());
    eprintln!("==> starting (Ctrl-C stops it, the data stays in {})", data.display());
    // The server takes this process's place: signals and the exit code are its own.
    let error = demo.exec();
    Err(error).with_context(|| format!("cannot start {}", run::hexiao_path(release).display()))
}

/// SQLite and the crypto library are C: without a compiler the build would fail after minutes.
fn check_compiler() -> anyhow::Result<()> {
    run::output(Command::new("cc").arg("--version")).map(drop).context(
        "a C compiler is needed: on Debian and Ubuntu `sudo apt-get install build-essential`, \
         on macOS `xcode-select --install`",
    )
}

fn check_port(port: u16) -> anyhow::Result<()> {
    if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
        bail!(
            "port {port} of 127.0.0.1 is not free ({error}): stop what uses it, or give another with --port"
        );
    }
    Ok(())
}

/// Relative to where the user stands, not to the repository.
fn absolute(data: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::env::current_dir().context("cannot tell the current folder")?.join(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_port_is_named_before_anything_is_built() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = check_port(port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
        drop(taken);
        check_port(port).unwrap();
    }
}
