//! `cargo xtask postgres`: the tests' database server for work by hand.

use crate::postgres::{PrivatePostgres, Settings};
use crate::{run, signals};

/// Starts a private server, runs the command with `HEXIAO_TEST_PG_URL` set (without a command: the user's
/// shell), and removes the server when the command ends.
pub fn run(command: &[String]) -> anyhow::Result<()> {
    signals::hold()?;
    let server = PrivatePostgres::start(Settings::Fast)?;
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "sh".to_owned());
    let (program, args) = match command.split_first() {
        Some((program, args)) => (program, args),
        None => (&shell, [].as_slice()),
    };
    eprintln!("{}\nHEXIAO_TEST_PG_URL={}", server.version, server.url());
    let mut child = run::command(program);
    child.args(args).env("HEXIAO_TEST_PG_URL", server.url());
    if let Ok(here) = std::env::current_dir() {
        child.current_dir(here);
    }
    run::check(&mut child)
}
