//! A flash sale: thousands want a hundred items at the same moment; then thousands pay, and WeChat's messages get lost,
//! doubled and late.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use super::FlashArgs;
use super::buying::{Looks, Ordered, Payments, Rush, Unpaid};
use super::client::{self, Pace, Wire};
use super::report;
use super::requests::{complete, post};
use super::server::Sizes;
use super::stage::{self, Kind, Stage};
use crate::signals;

/// Everybody is answered within.
const WITHIN: Duration = Duration::from_secs(3);
/// Payments that are opened, made and looked at together.
const AT_ONCE: u32 = 64;
/// The longest that a payment may take to settle when WeChat's messages about it are lost.
const HEALED_WITHIN: Duration = Duration::from_mins(10);
const MEMORY_MIB: u64 = 300;

pub async fn run(args: &FlashArgs) -> anyhow::Result<()> {
    let folder = stage::prepare()?;
    let mut text = String::new();
    let mut missed = Vec::new();
    for kind in args.database.kinds() {
        measure(args, *kind, folder.path(), &mut text, &mut missed).await?;
    }
    println!("\n{text}");
    if !args.no_record {
        let parameters = format!(
            "{} customers, each with a connection of their own, order at the same moment; {} items. Then each pays for \
             another order; of WeChat's messages 5 % are lost, 5 % come twice, 5 % come three seconds late.",
            args.customers, args.items
        );
        report::record("Flash sale", &parameters, &text)?;
    }
    if !missed.is_empty() {
        bail!("not as it should be:\n  {}", missed.join("\n  "));
    }
    Ok(())
}

async fn measure(
    args: &FlashArgs,
    kind: Kind,
    folder: &Path,
    text: &mut String,
    missed: &mut Vec<String>,
) -> anyhow::Result<()> {
    let sizes = Sizes { stores: 10, vouchers: 0, tickets: 0, customers: args.customers, items: args.items };
    let mut stage = Stage::start(kind, folder, &sizes, true).await?;
    stage.refresh(AT_ONCE).await?;
    let name = stage.database.name.clone();
    let mut check = |what: String, holds: bool| -> anyhow::Result<()> {
        writeln!(text, "- {name}: {what}{}", if holds { "" } else { " **(missed)**" })?;
        if !holds {
            missed.push(format!("{name}: {what}"));
        }
        Ok(())
    };

    eprintln!("==> {} customers want {} items", args.customers, args.items);
    let pace = Pace { connections: args.customers, at_most: Duration::from_mins(1), interval: None };
    let rush =
        client::drive(&stage.server.address, pace, Arc::new(Rush { seed: Arc::clone(&stage.seed) })).await?;
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    let (mut bought, mut wrong) = (0_u32, 0_u32);
    for (_, answer) in &rush.answers {
        let told = match answer {
            Ordered::Bought { .. } => {
                bought += 1;
                "an order".to_owned()
            }
            Ordered::Refused { status, code } => {
                wrong += u32::from(*status >= 500 || *status == 429);
                format!("{status} {code}")
            }
        };
        *answers.entry(told).or_default() += 1;
    }
    let told: Vec<String> = answers.iter().map(|(what, count)| format!("{count} × {what}")).collect();
    check(format!("answers: {}", told.join(", ")), wrong == 0)?;
    check(format!("{bought} orders for {} items", args.items), bought == args.items.min(args.customers))?;
    check(format!("{} without an answer {}", rush.failed, rush.failures.join("; ")), rush.failed == 0)?;
    let at = |quantile: f64| report::milliseconds(rush.latencies.value_at_quantile(quantile));
    let slowest = rush.latencies.max();
    check(
        format!(
            "answered after p50 {} ms, p99 {} ms, at most {} ms",
            at(0.5)?,
            at(0.99)?,
            report::milliseconds(slowest)?
        ),
        u128::from(slowest) <= WITHIN.as_micros(),
    )?;

    payments(args, &mut stage, &mut check).await?;
    let memory = stage.server.memory_mib()?;
    check(format!("memory of the server at most {memory} MiB"), memory <= MEMORY_MIB)?;
    stage.backlog().await?;
    let whole = stage.verify();
    check(
        match &whole {
            Ok(()) => "`hexiao verify` finds nothing".to_owned(),
            Err(error) => format!("`hexiao verify`: {error:#}"),
        },
        whole.is_ok(),
    )
}

async fn payments(
    args: &FlashArgs,
    stage: &mut Stage,
    check: &mut impl FnMut(String, bool) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let wechat = stage.simulator.as_ref().context("no simulator")?.address.clone();
    eprintln!(
        "==> {} customers order, and pay while WeChat's messages get lost, doubled and late",
        args.customers
    );
    let pace = Pace { connections: AT_ONCE, at_most: Duration::from_mins(10), interval: None };
    let unpaid = Arc::new(Unpaid { seed: Arc::clone(&stage.seed) });
    let unpaid = complete("order", client::drive(&stage.server.address, pace, unpaid).await?)?;
    let mut control = Wire::connect(&wechat).await?;
    for (n, fault) in [
        json!({"fault": "drop"}),
        json!({"fault": "duplicate", "copies": 2}),
        json!({"fault": "late", "delay_ms": 3000}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut rule = fault;
        rule["matching"] = json!({"kind": "transaction"});
        rule["times"] = json!(null);
        rule["chance"] = json!({"percent": 5, "seed": n + 1});
        let (status, body) = control.ask(post("/_sim/faults", "", None, &rule)?).await?;
        anyhow::ensure!(status.is_success(), "a fault: {status} {}", String::from_utf8_lossy(&body));
    }
    let numbers = unpaid.answers.iter().map(|(_, (_, payment))| payment.clone()).collect();
    let started = Instant::now();
    let paid = client::drive(&wechat, pace, Arc::new(Payments { numbers })).await?;
    let paid = complete("payment", paid)?;
    let mut open: Vec<(usize, String)> =
        unpaid.answers.into_iter().map(|(customer, (order, _))| (customer, order)).collect();
    let all = open.len();
    let mut at_once = None;
    let mut odd = 0;
    // Those whose message was lost are found by our own query, after 5, 30 and 60 seconds.
    while !open.is_empty() && started.elapsed() < HEALED_WITHIN && !signals::interrupted() {
        let looks = Looks { seed: Arc::clone(&stage.seed), orders: open.clone() };
        let looked = complete("look", client::drive(&stage.server.address, pace, Arc::new(looks)).await?)?;
        let mut left = Vec::new();
        for (index, found) in looked.answers {
            match found {
                Some(1) => {}
                Some(_) => odd += 1,
                None => left.push(open[index].clone()),
            }
        }
        open = left;
        at_once.get_or_insert(all - open.len());
        if !open.is_empty() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    check(
        format!(
            "{} of {all} payments settled, with one voucher each ({odd} with another number), {} of them when the last \
             had been made ({:.1} s), the last after {:.1} s",
            all - open.len(),
            at_once.unwrap_or(0),
            paid.elapsed.as_secs_f64(),
            started.elapsed().as_secs_f64()
        ),
        open.is_empty() && odd == 0 && all == usize::try_from(args.customers)?,
    )
}
