//! Who may depend on whom, and who may do what: dependencies point down,
//! `server → {api, wechat-sim} → app → {db, wechat} → core`.

use anyhow::Context;
use serde::Deserialize;

use super::{Finding, SourceFile};
use crate::run;

/// What a crate may use: our own crates, and which of the outer ones it must not.
struct Layer {
    name: &'static str,
    uses: &'static [&'static str],
    /// Outer crates that would break what the layer promises.
    never: &'static [&'static str],
}

const SQL: &[&str] = &["sea-orm", "sqlx"];
const HTTP: &[&str] = &["axum", "tower-http", "hyper", "reqwest"];
const ANY_IO: &[&str] = &["sea-orm", "sqlx", "axum", "tower-http", "hyper", "reqwest", "tokio", "rand"];

const LAYERS: &[Layer] = &[
    Layer { name: "hexiao-core", uses: &[], never: ANY_IO },
    Layer { name: "hexiao-db", uses: &["hexiao-core"], never: HTTP },
    Layer { name: "hexiao-wechat", uses: &["hexiao-core"], never: SQL },
    // The simulator shares nothing with the client, so that they can't agree on a mistake.
    Layer { name: "hexiao-wechat-sim", uses: &[], never: SQL },
    Layer {
        name: "hexiao-app",
        uses: &["hexiao-core", "hexiao-db", "hexiao-wechat"],
        never: &["axum", "sqlx"],
    },
    Layer { name: "hexiao-api", uses: &["hexiao-core", "hexiao-db", "hexiao-app"], never: SQL },
    Layer {
        name: "hexiao-server",
        uses: &["hexiao-core", "hexiao-db", "hexiao-app", "hexiao-wechat", "hexiao-wechat-sim", "hexiao-api"],
        never: &[],
    },
    Layer {
        // On top of everything: it starts what the server starts.
        name: "hexiao-testkit",
        uses: &["hexiao-core", "hexiao-db", "hexiao-app", "hexiao-wechat-sim", "hexiao-server"],
        never: &[],
    },
    Layer { name: "xtask", uses: &[], never: &[] },
];

/// A package of the workspace, as `cargo metadata` tells.
#[derive(Deserialize)]
pub struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` for what ships; `dev` and `build` otherwise.
    kind: Option<String>,
}

/// The workspace's packages with their direct dependencies.
pub fn packages() -> anyhow::Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let mut command = run::cargo(["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    let metadata: Metadata = serde_json::from_str(&run::output(&mut command)?)
        .context("cannot read what `cargo metadata` printed")?;
    Ok(metadata.packages)
}

/// Dependencies point down. Tests may use what they like.
pub fn dependencies(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let place = format!("{}/Cargo.toml", package.name);
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == package.name) else {
            findings.push(Finding::new(
                place,
                "a crate without a layer: give it one in xtask/src/lint/layers.rs",
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind.is_none()) {
            let name = dependency.name.as_str();
            let is_ours = name.starts_with("hexiao-") || name == "xtask";
            if is_ours && !layer.uses.contains(&name) {
                findings.push(Finding::new(&place, format!("{} must not depend on {name}", layer.name)));
            } else if layer.never.contains(&name) {
                findings.push(Finding::new(&place, format!("{} must not use {name}", layer.name)));
            }
        }
    }
    findings
}

/// Only `app` opens a write transaction, with the one function of `db` that opens, retries and commits.
pub fn write_transactions(files: &[SourceFile]) -> Vec<Finding> {
    const OPENERS: [&str; 4] = ["transact!(", ".begin(", ".begin_with", "&Tx"];
    let elsewhere = ["crates/api/src/", "crates/server/src/", "crates/wechat/src/", "crates/wechat-sim/src/"];
    // Nobody's data: the benchmark's, made in sets.
    let copies = |finding: &Finding| finding.place.starts_with("crates/server/src/bench_seed/copies.rs:");
    let findings = find_words(
        files,
        &elsewhere,
        &OPENERS,
        "takes part in a write transaction: only crates/app may (call a use case)",
    );
    findings.into_iter().filter(|finding| !copies(finding)).collect()
}

/// A scope says whose rows a query may touch. It comes from a verified session or from the system itself,
/// never from what a request says, so few places may make one.
pub fn scopes(files: &[SourceFile]) -> Vec<Finding> {
    const MAKERS: [(&str, &[&str]); 2] = [
        ("Scope::of_session(", &["crates/app/", "crates/server/src/bench_seed.rs", "crates/testkit/"]),
        ("Scope::of_system(", &["crates/app/", "crates/server/", "crates/testkit/"]),
    ];
    let mut findings = Vec::new();
    for (maker, places) in MAKERS {
        let others = files.iter().filter(|file| !places.iter().any(|place| file.in_folder(place)));
        for file in others.filter(|file| file.in_folder("crates/") && file.path.contains("/src/")) {
            let what = format!("makes a scope; allowed in {}", places.join(", "));
            findings.extend(find_in(file, &[maker], &what));
        }
    }
    findings
}

/// Time and randomness are arguments of `core`.
pub fn pure_core(files: &[SourceFile]) -> Vec<Finding> {
    const IMPURE: [&str; 7] =
        ["Utc::now", "Local::now", "SystemTime::now", "Instant::now", "now_v7(", "std::env::", "std::fs::"];
    find_words(
        files,
        &["crates/core/src/"],
        &IMPURE,
        "core reads no clock, environment or file: take it as an argument",
    )
}

fn find_words(files: &[SourceFile], folders: &[&str], words: &[&str], what: &str) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| folders.iter().any(|folder| file.in_folder(folder)))
        .flat_map(|file| find_in(file, words, what))
        .collect()
}

fn find_in(file: &SourceFile, words: &[&str], what: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.code_lines().filter(|_| file.is_rust()) {
        if let Some(word) = words.iter().find(|word| line.contains(*word)) {
            findings.push(Finding::new(format!("{}:{number}", file.path), format!("`{word}` {what}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::file;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: kind.map(str::to_owned) })
            .collect();
        Package { name: name.to_owned(), dependencies }
    }

    #[test]
    fn dependencies_that_point_up_are_found() {
        let found = dependencies(&[package("hexiao-db", &[("hexiao-core", None), ("hexiao-app", None)])]);
        assert_eq!(found, [Finding::new("hexiao-db/Cargo.toml", "hexiao-db must not depend on hexiao-app")]);
    }

    #[test]
    fn outer_crates_that_break_a_promise_are_found() {
        let found = dependencies(&[package("hexiao-core", &[("serde", None), ("tokio", None)])]);
        assert_eq!(found, [Finding::new("hexiao-core/Cargo.toml", "hexiao-core must not use tokio")]);
    }

    #[test]
    fn tests_may_depend_on_anything() {
        let packages =
            [package("hexiao-wechat", &[("hexiao-wechat-sim", Some("dev")), ("sqlx", Some("dev"))])];
        assert_eq!(dependencies(&packages), []);
    }

    #[test]
    fn a_new_crate_needs_a_layer() {
        assert_eq!(dependencies(&[package("hexiao-new", &[])]).len(), 1);
    }

    #[test]
    fn a_transaction_in_a_handler_is_found() {
        let handler = file("crates/api/src/order.rs", "transact!(state.db, |tx| place(&tx))?;");
        let use_case = file("crates/app/src/order.rs", "transact!(self.db, |tx| place(&tx))?;");
        let found = write_transactions(&[handler, use_case]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "crates/api/src/order.rs:1");
    }

    #[test]
    fn a_clock_in_core_is_found_but_not_in_its_tests() {
        let text = "let at = Utc::now();\n#[cfg(test)]\nmod tests { fn f() { Utc::now(); } }";
        assert_eq!(pure_core(&[file("crates/core/src/time.rs", text)]).len(), 1);
    }

    #[test]
    fn a_scope_made_from_a_request_is_found() {
        let line = "let scope = MerchantScope::of_session(request.merchant_id);";
        let found =
            scopes(&[file("crates/api/src/order.rs", line), file("crates/app/src/auth/session.rs", line)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "crates/api/src/order.rs:1");
    }
}
