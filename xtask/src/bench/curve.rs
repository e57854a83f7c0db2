//! What a redemption costs as the shop grows: the same load on ever more vouchers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::CurveArgs;
use super::client::{self, Pace};
use super::report;
use super::requests::{Confirms, Prepares, complete};
use super::server::Sizes;
use super::stage::{self, Kind, Stage};
use crate::run;

const DRAWING: &str = "bench/curve.svg";

/// One database of one size.
struct Point {
    database: String,
    vouchers: u32,
    prepares: f64,
    confirms: f64,
    p99_ms: String,
    /// Processor time of a confirmation, in microseconds: the server's and the database's.
    server_us: f64,
    database_us: f64,
}

/// Seeds each size afresh, measures, prints, records.
pub async fn run(args: &CurveArgs) -> anyhow::Result<()> {
    let mut points = Vec::new();
    for kind in args.database.kinds() {
        for &vouchers in &args.sizes {
            points.push(measure(args, *kind, vouchers).await?);
        }
    }
    let text = format!("{}\n```text\n{}```\n", table(&points)?, chart(&points)?);
    println!("\n{text}");
    if args.no_record {
        return Ok(());
    }
    std::fs::write(run::root().join(DRAWING), drawing(&points)?)?;
    let parameters = format!(
        "{} connections, {} stores, {} s of prepares and as many of confirms on each size; commits reach the disk. \
         Processor time of PostgreSQL is that of all its processes. Drawn in [curve.svg](curve.svg).",
        args.connections, args.stores, args.seconds
    );
    report::record("Cost of a redemption as the shop grows", &parameters, &text)
}

async fn measure(args: &CurveArgs, kind: Kind, vouchers: u32) -> anyhow::Result<Point> {
    // Its own folder, gone before the next size: ten million vouchers take some gigabytes.
    let folder = stage::prepare()?;
    let tickets = args.tickets.min(vouchers);
    let sizes = Sizes { stores: args.stores, vouchers, tickets, customers: 0, items: 1 };
    let mut stage = Stage::start(kind, folder.path(), &sizes, false).await?;
    let all = stage.seed.vouchers.len();
    // A quarter warms the server up.
    let (mut first, mut point) = (0, None);
    for (share, seconds) in [(all / 4, args.seconds), (all - all / 4, args.seconds)] {
        stage.refresh(args.connections).await?;
        let pace = Pace {
            connections: args.connections,
            at_most: Duration::from_secs(u64::from(seconds)),
            interval: None,
        };
        let requests = Prepares { seed: Arc::clone(&stage.seed), range: first..first + share };
        first += share;
        let prepared =
            complete("prepare", client::drive(&stage.server.address, pace, Arc::new(requests)).await?)?;
        let scans = report::rate(prepared.answers.len(), prepared.elapsed)?;
        let tokens = prepared.answers.into_iter().map(|(_, token)| token).collect();
        stage.backlog().await?;
        let before = stage.processor()?;
        let requests = Confirms { seed: Arc::clone(&stage.seed), tokens };
        let pace = Pace { at_most: Duration::from_secs(100), ..pace };
        let confirmed =
            complete("confirm", client::drive(&stage.server.address, pace, Arc::new(requests)).await?)?;
        let after = stage.processor()?;
        let count = f64::from(u32::try_from(confirmed.answers.len())?);
        let us = |before: u64, after: u64| -> anyhow::Result<f64> {
            Ok(f64::from(u32::try_from(after.saturating_sub(before))?) * 1000.0 / count)
        };
        point = Some(Point {
            database: stage.database.name.clone(),
            vouchers,
            prepares: scans,
            confirms: report::rate(confirmed.answers.len(), confirmed.elapsed)?,
            p99_ms: report::milliseconds(confirmed.latencies.value_at_quantile(0.99))?,
            server_us: us(before.0, after.0)?,
            database_us: us(before.1, after.1)?,
        });
        stage.backlog().await?;
    }
    let point = point.ok_or_else(|| anyhow::anyhow!("nothing was measured"))?;
    eprintln!("    {} of {vouchers}: {:.0} confirms/s", point.database, point.confirms);
    Ok(point)
}

fn table(points: &[Point]) -> anyhow::Result<String> {
    let mut text = String::from(
        "| database | vouchers | prepares/s | confirms/s | p99 ms | µs of processor, server | µs, database | of the smallest |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for point in points {
        let total = |p: &Point| p.server_us + p.database_us;
        let least = points.iter().find(|p| p.database == point.database).map_or(1.0, total);
        writeln!(
            text,
            "| {} | {} | {:.0} | {:.0} | {} | {:.0} | {} | {:.2} |",
            point.database,
            point.vouchers,
            point.prepares,
            point.confirms,
            point.p99_ms,
            point.server_us,
            if point.database_us > 0.0 { format!("{:.0}", point.database_us) } else { "in it".to_owned() },
            total(point) / least,
        )?;
    }
    Ok(text)
}

/// A bar for each point: processor time of a confirmation.
fn chart(points: &[Point]) -> anyhow::Result<String> {
    let most = points.iter().map(|p| p.server_us + p.database_us).fold(1.0, f64::max);
    let mut text = String::from("processor time of a confirmation\n");
    for point in points {
        let us = point.server_us + point.database_us;
        let length: usize = format!("{:.0}", us / most * 50.0).parse()?;
        writeln!(
            text,
            "{:<18} {:>9} {} {us:.0} µs",
            point.database,
            point.vouchers,
            "█".repeat(length.max(1))
        )?;
    }
    Ok(text)
}

/// The same as lines over a logarithmic scale of sizes.
fn drawing(points: &[Point]) -> anyhow::Result<String> {
    let most = points.iter().map(|p| p.server_us + p.database_us).fold(1.0, f64::max);
    let mut text = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"320\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"640\" height=\"320\" fill=\"white\"/>\n\
         <text x=\"40\" y=\"20\">processor time of a confirmation, µs, by vouchers in the database</text>\n",
    );
    let mut databases: Vec<&str> = points.iter().map(|p| p.database.as_str()).collect();
    databases.dedup();
    for (database, colour) in databases.iter().zip(["#1f77b4", "#d62728"]) {
        let mut line = String::new();
        for point in points.iter().filter(|p| p.database == *database) {
            let us = point.server_us + point.database_us;
            let x = 40.0 + (f64::from(point.vouchers).log10() - 3.0).max(0.0) * 130.0;
            let y = 290.0 - us / most * 240.0;
            write!(line, "{x:.0},{y:.0} ")?;
            writeln!(text, "<circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"3\" fill=\"{colour}\"/>")?;
            writeln!(text, "<text x=\"{x:.0}\" y=\"{:.0}\" fill=\"{colour}\">{us:.0}</text>", y - 8.0)?;
            writeln!(text, "<text x=\"{x:.0}\" y=\"308\" text-anchor=\"middle\">{}</text>", point.vouchers)?;
        }
        writeln!(text, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>", line.trim())?;
    }
    for (n, (database, colour)) in databases.iter().zip(["#1f77b4", "#d62728"]).enumerate() {
        writeln!(text, "<text x=\"520\" y=\"{}\" fill=\"{colour}\">{database}</text>", 20 + 16 * n)?;
    }
    writeln!(text, "</svg>")?;
    Ok(text)
}
