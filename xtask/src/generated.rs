//! Files in docs/ that the server writes about itself: written here, and checked so that they can't go stale.

use std::path::Path;

use anyhow::{Context, bail};

use crate::run;

/// A file and the command of `hexiao` that prints it.
struct Document {
    file: &'static str,
    subcommand: &'static str,
}

/// The contract that clients are generated from.
const OPENAPI: Document = Document { file: "docs/openapi.json", subcommand: "openapi" };
/// The closed list of error codes.
const ERRORS: Document = Document { file: "docs/ERRORS.md", subcommand: "errors" };

/// Builds the server, then writes or checks docs/openapi.json.
pub fn openapi(check: bool) -> anyhow::Result<()> {
    build()?;
    OPENAPI.update(check)
}

/// Builds the server, then writes or checks docs/ERRORS.md.
pub fn errors(check: bool) -> anyhow::Result<()> {
    build()?;
    ERRORS.update(check)
}

/// Checks all documents against the server that was built before.
pub fn check_all() -> anyhow::Result<()> {
    OPENAPI.update(true)?;
    ERRORS.update(true)
}

fn build() -> anyhow::Result<()> {
    run::check(&mut run::cargo(["build", "--quiet", "--package", "hexiao-server", "--bin", "hexiao"]))
}

impl Document {
    fn update(&self, check: bool) -> anyhow::Result<()> {
        let Self { file, subcommand } = self;
        let mut fresh = run::output(run::command(run::hexiao_path(false)).arg(subcommand))?;
        if fresh.trim().is_empty() {
            bail!("`hexiao {subcommand}` printed nothing");
        }
        if !fresh.ends_with('\n') {
            fresh.push('\n');
        }
        let path = run::root().join(file);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let Some(difference) = first_difference(&committed, &fresh) else {
            eprintln!("    {file} is up to date");
            return Ok(());
        };
        if check {
            bail!(
                "{file} is out of date ({difference}): run `cargo xtask {subcommand}` and commit the result"
            );
        }
        write(&path, &fresh)?;
        eprintln!("    {file} written");
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Where two texts part, in words; `None` when they are equal.
fn first_difference(old: &str, new: &str) -> Option<String> {
    if old == new {
        return None;
    }
    let (mut old_lines, mut new_lines) = (old.lines(), new.lines());
    let mut line = 1_usize;
    loop {
        match (old_lines.next(), new_lines.next()) {
            (Some(a), Some(b)) if a == b => line += 1,
            (Some(a), Some(b)) => return Some(format!("line {line}: `{}` is now `{}`", a.trim(), b.trim())),
            (Some(a), None) => return Some(format!("line {line}: `{}` is gone", a.trim())),
            (None, Some(b)) => return Some(format!("line {line}: `{}` is new", b.trim())),
            (None, None) => return Some("only line ends differ".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_its_line() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n").as_deref(), Some("line 2: `b` is now `c`"));
        assert_eq!(first_difference("a\n", "a\nb\n").as_deref(), Some("line 2: `b` is new"));
        assert_eq!(first_difference("a\nb\n", "a\n").as_deref(), Some("line 2: `b` is gone"));
        assert_eq!(first_difference("a", "a\n").as_deref(), Some("only line ends differ"));
    }
}
