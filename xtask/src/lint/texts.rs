//! Rules about files and what is written in them.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Finding, SourceFile};
use crate::run;

/// Longer files are split by what they are about.
const MAX_LINES: usize = 700;

/// No Rust file is longer than a person reads in one go.
pub fn file_sizes(files: &[SourceFile]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| file.is_rust())
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| {
            Finding::new(&file.path, format!("{lines} lines, more than {MAX_LINES}: split it"))
        })
        .collect()
}

/// Every module says what it is for.
pub fn module_docs(files: &[SourceFile]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| file.is_rust() && !file.text.trim_start().starts_with("//!"))
        .map(|file| {
            Finding::new(&file.path, "does not begin with `//!` (what it is for and what it promises)")
        })
        .collect()
}

/// `expect` fails when the reason for it has gone; `allow` stays forever (tests may: helpers of many tests
/// can't know which of them use what). A crate's lints are the workspace's.
pub fn allow_attributes(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.path.contains("/tests/")) {
        if file.is_rust() {
            for (number, line) in file.code_lines() {
                let line = line.trim_start();
                if line.starts_with("#[allow(") || line.starts_with("#![allow(") {
                    let place = format!("{}:{number}", file.path);
                    findings
                        .push(Finding::new(place, "use #[expect(…, reason = \"…\")] instead of #[allow(…)]"));
                }
            }
        } else if file.path.ends_with("/Cargo.toml") && !file.text.contains("[lints]\nworkspace = true") {
            findings.push(Finding::new(&file.path, "lacks `[lints]` with `workspace = true`"));
        }
    }
    findings
}

/// A stranger finds each crate in docs/ARCHITECTURE.md.
pub fn architecture_names_crates(files: &[SourceFile]) -> Vec<Finding> {
    let crates: BTreeSet<&str> = files.iter().filter_map(SourceFile::crate_name).collect();
    let document = files.iter().find(|file| file.path == "docs/ARCHITECTURE.md");
    let text = document.map_or("", |file| file.text.as_str());
    crates
        .into_iter()
        .filter(|name| !text.contains(&format!("crates/{name}")))
        .map(|name| Finding::new("docs/ARCHITECTURE.md", format!("says nothing about crates/{name}")))
        .collect()
}

/// Relative links in documents lead to a file that is there.
pub fn links_lead_somewhere(files: &[SourceFile]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for link in relative_links(&file.text) {
            let there = resolve(&file.path, link).is_some_and(|target| {
                let folder = format!("{target}/");
                paths.contains(target.as_str()) || paths.iter().any(|path| path.starts_with(&folder))
            });
            if !there {
                findings.push(Finding::new(&file.path, format!("the link to {link} leads nowhere")));
            }
        }
    }
    findings
}

/// The targets of `[text](target)` that are neither addresses nor anchors, without their own anchors.
fn relative_links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let link = rest.split(')').next()?.split(['#', ' ']).next()?;
        let is_address = link.contains("://") || link.starts_with("mailto:");
        (!link.is_empty() && !is_address).then_some(link)
    })
}

/// `docs/a.md` + `../README.md` → `README.md`; `None` when it leaves the repository.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Nothing refers to what is only on one person's machine.
pub fn foreign_paths(files: &[SourceFile]) -> Vec<Finding> {
    // Put together here, so that this file doesn't break its own rule.
    let foreign =
        [["..", "/shared"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"]].map(|parts| parts.concat());
    let mut findings = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(word) = foreign.iter().find(|word| refers_to(line, word)) {
                let place = format!("{}:{}", file.path, index + 1);
                findings.push(Finding::new(place, format!("`{word}` is not part of this repository")));
            }
        }
    }
    findings
}

/// Whether the path begins there, and is not the middle of a longer one.
fn refers_to(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '/' | '}' | '_' | '-' | '*'))
    })
}

/// The project's checks are `.ci/run`, for any service that can run a script.
pub fn foreign_services(files: &[SourceFile]) -> Vec<Finding> {
    const FOLDERS: [&str; 4] = [".github/", ".circleci/", ".buildkite/", ".woodpecker/"];
    const FILES: [&str; 5] =
        [".gitlab-ci.yml", ".travis.yml", "Jenkinsfile", "azure-pipelines.yml", "bitbucket-pipelines.yml"];
    files
        .iter()
        .filter(|file| {
            FOLDERS.iter().any(|folder| file.in_folder(folder)) || FILES.contains(&file.path.as_str())
        })
        .map(|file| {
            Finding::new(&file.path, "belongs to one hosting service: what CI does stands in .ci/run")
        })
        .collect()
}

/// Where released migrations are pinned, in the format of `sha256sum`.
const PINS: &str = "crates/db/migrations/SHA256SUMS";

/// A released migration never changes: databases that ran it would refuse to start.
/// The rule begins to bite when the file with the checksums appears (at the first release).
pub fn pinned_migrations(root: &Path) -> anyhow::Result<Vec<Finding>> {
    if !root.join(PINS).exists() {
        return Ok(Vec::new());
    }
    let folder = root.join(PINS).parent().unwrap_or(root).to_owned();
    let mut check = run::command("sha256sum");
    check.current_dir(folder).args(["--check", "--quiet", "--strict", "SHA256SUMS"]);
    let checked = check.output()?;
    let complaints = String::from_utf8_lossy(&checked.stdout).into_owned();
    let mut findings: Vec<Finding> = complaints
        .lines()
        .map(|line| Finding::new(PINS, format!("{line} (write a new migration instead of changing one)")))
        .collect();
    if !checked.status.success() && findings.is_empty() {
        findings.push(Finding::new(PINS, String::from_utf8_lossy(&checked.stderr).trim().to_owned()));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::file;

    #[test]
    fn long_files_are_found() {
        let long = file("crates/core/src/a.rs", &"x\n".repeat(MAX_LINES + 1));
        let fits = file("crates/core/src/b.rs", &"x\n".repeat(MAX_LINES));
        let found = file_sizes(&[long, fits]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "crates/core/src/a.rs");
    }

    #[test]
    fn a_crate_that_the_architecture_forgets_is_found() {
        let files = [
            file("docs/ARCHITECTURE.md", "crates/core does"),
            file("crates/core/src/lib.rs", ""),
            file("crates/db/src/lib.rs", ""),
        ];
        let found = architecture_names_crates(&files);
        assert_eq!(found, [Finding::new("docs/ARCHITECTURE.md", "says nothing about crates/db")]);
    }

    #[test]
    fn dead_links_are_found() {
        let files = [
            file(
                "README.md",
                "[a](docs/A.md) [b](docs/B.md#x) [c](https://example.com/C.md) [d](#d) [e](docs)",
            ),
            file("docs/A.md", "[up](../README.md) [out](../../elsewhere)"),
        ];
        let found: Vec<String> =
            links_lead_somewhere(&files).into_iter().map(|finding| finding.what).collect();
        assert_eq!(
            found,
            ["the link to docs/B.md leads nowhere", "the link to ../../elsewhere leads nowhere"]
        );
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let path = ["/ho", "me/"].concat();
        assert!(refers_to(&format!("see {path}notes"), &path));
        assert!(!refers_to(&format!("https://example.com{path}notes"), &path));
        assert!(!refers_to(&format!("target{path}notes"), &path));
    }

    #[test]
    fn allow_is_found_and_expect_is_fine() {
        let text = "//! m\n#[allow(dead_code)]\nfn a() {}\n#[expect(dead_code, reason = \"r\")]\nfn b() {}\n";
        let found = allow_attributes(&[file("crates/core/src/a.rs", text)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "crates/core/src/a.rs:2");
    }
}
