//! A normal busy day: a hundred stores redeem ten times a minute while customers browse, order and pay.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use hyper::StatusCode;
use tokio::sync::Mutex;

use super::MixedArgs;
use super::buying::{self, Ordered};
use super::client::Requests as _;
use super::client::{self, Flow, Pace, Phase, Wire};
use super::report;
use super::requests::{Confirms, Prepares, Token, get, refuse_unless};
use super::server::{Seed, Sizes};
use super::stage::{self, Kind, Stage};
use crate::signals;

/// Redemptions of a store in a minute.
const A_MINUTE: u32 = 10;
/// Connections of the verifiers, of those who browse, of those who buy.
const CONNECTIONS: u32 = 32;
const P99: Duration = Duration::from_millis(50);

pub async fn run(args: &MixedArgs) -> anyhow::Result<()> {
    let folder = stage::prepare()?;
    let mut text = String::from(
        "| database | what | count | failed | p50 ms | p99 ms | max ms |\n|---|---|---:|---:|---:|---:|---:|\n",
    );
    let mut missed = Vec::new();
    for kind in args.database.kinds() {
        measure(args, *kind, folder.path(), &mut text, &mut missed).await?;
    }
    println!("\n{text}");
    if !args.no_record {
        let parameters = format!(
            "{} stores, each prepares and confirms {A_MINUTE} times a minute, for {} minutes; beside them {} reads (stores \
             nearby, a store's products, a product, the customer's vouchers, a voucher's order) and {} orders a second, each \
             paid at the simulator, which calls back. Everything has its time (open loop): latencies count from when a \
             request was due. Commits reach the disk.",
            args.stores, args.minutes, args.reads, args.orders
        );
        report::record("Redemption on a busy day", &parameters, &text)?;
    }
    if !missed.is_empty() {
        bail!("not as it should be:\n  {}", missed.join("\n  "));
    }
    Ok(())
}

async fn measure(
    args: &MixedArgs,
    kind: Kind,
    folder: &std::path::Path,
    text: &mut String,
    missed: &mut Vec<String>,
) -> anyhow::Result<()> {
    let pairs = args.stores * A_MINUTE * args.minutes;
    let sizes = Sizes {
        stores: args.stores,
        vouchers: args.vouchers.max(pairs),
        tickets: pairs,
        customers: args.customers,
        items: 1,
    };
    let mut stage = Stage::start(kind, folder, &sizes, true).await?;
    stage.refresh(CONNECTIONS).await?;
    let name = stage.database.name.clone();
    let seconds = args.minutes * 60;
    let pace = |count: u32| Pace {
        connections: CONNECTIONS,
        at_most: Duration::from_secs(u64::from(seconds) + 60),
        interval: Some(Duration::from_secs(u64::from(seconds)) / count.max(1)),
    };
    eprintln!("==> {} minutes of a busy day on {name}", args.minutes);
    let address = stage.server.address.clone();
    let seed = &stage.seed;
    let wechat = stage.simulator.as_ref().map(|s| s.address.clone()).unwrap_or_default();
    let redeeming = Arc::new(Pairs { seed: Arc::clone(seed) });
    let (reads, orders) = (args.reads * seconds, args.orders * seconds);
    let browsing = Arc::new(Browse { seed: Arc::clone(seed), count: usize::try_from(reads)? });
    let buying = Arc::new(Buy {
        seed: Arc::clone(seed),
        count: usize::try_from(orders)?,
        wechat: wechat.clone(),
        wires: Mutex::new(Vec::new()),
    });
    let (redeemed, browsed, bought) = tokio::try_join!(
        client::drive(&address, pace(pairs), redeeming),
        client::drive(&address, pace(reads), browsing),
        client::drive(&address, pace(orders), buying),
    )?;
    if signals::interrupted() {
        bail!("interrupted");
    }
    row(text, &name, "redemption (prepare and confirm)", &redeemed)?;
    row(text, &name, "read", &browsed)?;
    row(text, &name, "purchase (order, sheet, payment)", &bought)?;
    let memory = stage.server.memory_mib()?;
    let (unread, caught_up) = stage.backlog().await?;
    writeln!(
        text,
        "| {name} | memory of the server {memory} MiB; {unread} events unread at the end, read {:.1} s later | | | | | |",
        caught_up.as_secs_f64()
    )?;
    let p99 = redeemed.latencies.value_at_quantile(0.99);
    if u128::from(p99) > P99.as_micros() {
        missed.push(format!("{name}: p99 of a redemption is {} ms", report::milliseconds(p99)?));
    }
    for (what, failed, failures) in [
        ("redemptions", redeemed.failed, &redeemed.failures),
        ("reads", browsed.failed, &browsed.failures),
        ("purchases", bought.failed, &bought.failures),
    ] {
        if failed > 0 {
            missed.push(format!("{name}: {failed} {what} failed, for example {}", failures.join("; ")));
        }
    }
    if memory > 300 {
        missed.push(format!("{name}: {memory} MiB"));
    }
    stage.verify()
}

fn row<T>(text: &mut String, database: &str, what: &str, phase: &Phase<T>) -> anyhow::Result<()> {
    let at = |quantile: f64| report::milliseconds(phase.latencies.value_at_quantile(quantile));
    let max = report::milliseconds(phase.latencies.max())?;
    let (count, failed, p50, p99) = (phase.answers.len(), phase.failed, at(0.5)?, at(0.99)?);
    Ok(writeln!(text, "| {database} | {what} | {count} | {failed} | {p50} | {p99} | {max} |")?)
}

/// A scan and the tap that follows it.
struct Pairs {
    seed: Arc<Seed>,
}

impl Flow for Pairs {
    type Answer = ();

    fn count(&self) -> usize {
        self.seed.vouchers.len()
    }

    async fn run(&self, index: usize, wire: &mut Wire) -> anyhow::Result<()> {
        let prepare = Prepares { seed: Arc::clone(&self.seed), range: index..index + 1 };
        let (status, body) = wire.ask(prepare.make(0)?).await?;
        let token: Token = prepare.read(0, status, &body)?;
        let confirm = Confirms { seed: Arc::clone(&self.seed), tokens: vec![token] };
        let (status, body) = wire.ask(confirm.make(0)?).await?;
        confirm.read(0, status, &body)
    }
}

/// What customers look at.
struct Browse {
    seed: Arc<Seed>,
    count: usize,
}

impl Flow for Browse {
    type Answer = ();

    fn count(&self) -> usize {
        self.count
    }

    async fn run(&self, index: usize, wire: &mut Wire) -> anyhow::Result<()> {
        let seed = &self.seed;
        let store = &seed.staff[index % seed.staff.len()].store_id;
        let token = &seed.customers[index % seed.customers.len()].access_token;
        let (path, token) = match index % 5 {
            0 => ("/api/v1/customer/stores?lat=31.23&lng=121.47&limit=20".to_owned(), None),
            1 => (format!("/api/v1/customer/stores/{store}/products"), None),
            2 => (format!("/api/v1/customer/products/{}?store_id={store}", seed.product_id), None),
            3 => ("/api/v1/customer/vouchers".to_owned(), Some(token.as_str())),
            _ => ("/api/v1/customer/orders".to_owned(), Some(token.as_str())),
        };
        let (status, body) = wire.ask(get(&path, token)?).await?;
        refuse_unless(status, StatusCode::OK, &body)
    }
}

/// A purchase: the latency is that of all its requests, and of paying at the simulator.
struct Buy {
    seed: Arc<Seed>,
    count: usize,
    wechat: String,
    /// Connections to the simulator that nobody uses now.
    wires: Mutex<Vec<Wire>>,
}

impl Flow for Buy {
    type Answer = ();

    fn count(&self) -> usize {
        self.count
    }

    async fn run(&self, index: usize, wire: &mut Wire) -> anyhow::Result<()> {
        let customer = index % self.seed.customers.len();
        let sku = &self.seed.plenty_sku_id;
        let order = match buying::order(wire, &self.seed, customer, sku, &format!("mixed-{index}")).await? {
            Ordered::Bought { order } => order,
            Ordered::Refused { status, code } => bail!("order: {status} {code}"),
        };
        let payment = buying::sheet(wire, &self.seed, customer, &order).await?;
        let idle = self.wires.lock().await.pop();
        let mut wechat = match idle {
            Some(wechat) => wechat,
            None => Wire::connect(&self.wechat).await?,
        };
        buying::pay(&mut wechat, &payment).await?;
        self.wires.lock().await.push(wechat);
        Ok(())
    }
}
