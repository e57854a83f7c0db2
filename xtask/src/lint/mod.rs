//! `cargo xtask lint`: the house rules that the compiler and clippy don't know. They also run as a test.
//!
//! A rule is a function from the repository's files to a list of findings. A finding names the file and says
//! what to do instead.

mod layers;
mod texts;

use std::path::Path;

use anyhow::{Context, bail};

use crate::run;

/// One file of the repository; the path is relative to its root, with `/`.
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

impl SourceFile {
    /// `core` for `crates/core/src/money.rs`.
    fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    fn in_folder(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// The lines that ship: numbered from 1, up to the tests at the file's end, without comments.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .take_while(|line| line.trim() != "#[cfg(test)]")
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// What is wrong and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    place: String,
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

type Rule = fn(&[SourceFile]) -> Vec<Finding>;

/// Runs every rule; lists all findings before it fails.
pub fn run() -> anyhow::Result<()> {
    let findings = findings()?;
    for finding in &findings {
        eprintln!("  {}: {}", finding.place, finding.what);
    }
    match findings.len() {
        0 => {
            eprintln!("    every house rule holds");
            Ok(())
        }
        count => bail!("{count} house rule(s) broken; docs/ARCHITECTURE.md says why they are there"),
    }
}

fn findings() -> anyhow::Result<Vec<Finding>> {
    let files = read_files(&run::root())?;
    let mut findings = layers::dependencies(&layers::packages()?);
    let rules: [Rule; 10] = [
        layers::write_transactions,
        layers::scopes,
        layers::pure_core,
        texts::file_sizes,
        texts::module_docs,
        texts::allow_attributes,
        texts::architecture_names_crates,
        texts::links_lead_somewhere,
        texts::foreign_paths,
        texts::foreign_services,
    ];
    for rule in rules {
        findings.extend(rule(&files));
    }
    findings.extend(texts::pinned_migrations(&run::root())?);
    Ok(findings)
}

/// Every text file of the repository (what git tracks or would track).
fn read_files(root: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut command = run::command("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    let listed = run::output(&mut command).context("the house rules look at the files that git knows")?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // Deleted but not yet committed: not there to read. Pictures and the like are no text.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(SourceFile { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

#[cfg(test)]
fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_rules_hold() {
        assert_eq!(findings().unwrap(), []);
    }

    #[test]
    fn tests_and_comments_are_no_code() {
        let source =
            file("crates/core/src/a.rs", "//! doc\nlet a = 1;\n// note\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(source.code_lines().collect::<Vec<_>>(), [(2, "let a = 1;")]);
        assert_eq!(source.crate_name(), Some("core"));
    }
}
