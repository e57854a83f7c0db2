//! A `hexiao` server for a measurement: a fresh data folder, seeded, started, stopped.
//!
//! This is the one place that knows how the server's commands are called.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::{postgres, run, signals};

/// What `hexiao bench-seed --out FILE` writes.
#[derive(Deserialize)]
pub struct Seed {
    /// One verifier for each store, signed in.
    pub staff: Vec<SeedStaff>,
    /// Live vouchers with one use each.
    pub vouchers: Vec<SeedVoucher>,
    /// Customers, signed in.
    pub customers: Vec<Tokens>,
    /// A store, a product that it sells with its SKU, and the SKU that is sold in a rush.
    pub store_id: String,
    pub product_id: String,
    pub plenty_sku_id: String,
    pub scarce_sku_id: String,
}

/// How much there is.
pub struct Sizes {
    pub stores: u32,
    pub vouchers: u32,
    /// Vouchers that can be redeemed here.
    pub tickets: u32,
    pub customers: u32,
    pub items: u32,
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} stores, {} vouchers", self.stores, self.vouchers)?;
        if self.tickets < self.vouchers {
            write!(f, " ({} of them, spread over all, are redeemed)", self.tickets)?;
        }
        if self.customers > 0 {
            write!(f, ", {} customers", self.customers)?;
        }
        Ok(())
    }
}

/// Whether to measure an unoptimised server, to try a scenario.
pub fn debug() -> bool {
    std::env::var_os("XTASK_BENCH_DEBUG").is_some()
}

#[derive(Deserialize)]
pub struct SeedStaff {
    pub store_id: String,
    #[serde(flatten)]
    pub tokens: Tokens,
}

/// What a verifier is signed in with; the access token lives 15 minutes, so each round begins with a new pair.
#[derive(Deserialize)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
}

#[derive(Deserialize)]
pub struct SeedVoucher {
    pub voucher_id: String,
    /// Position in `staff` of a verifier whose store may redeem it.
    pub staff: usize,
    /// The signed ticket, as scanned.
    pub qr: String,
}

/// A running server; dropping it stops it.
pub struct BenchServer {
    child: Child,
    /// `127.0.0.1:port`.
    pub address: String,
}

/// The WeChat simulator as a process of its own: what it needs must not count as the server's.
pub struct Simulator {
    child: Child,
    pub address: String,
}

impl Simulator {
    /// Starts it with the keys of a data folder.
    pub async fn start(data: &Path) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", postgres::free_port()?);
        let mut command = hexiao(data, None);
        command.arg("bench-simulator").arg("--data").arg(data).env("HEXIAO_SIMULATOR_LISTEN", &address);
        let log = File::create(data.join("simulator.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let simulator = Self { child: command.spawn().context("cannot start the simulator")?, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(&simulator.address).await.is_err() {
            if Instant::now() > deadline || signals::interrupted() {
                bail!("the simulator did not start");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(simulator)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stops the test unless every invariant of the stored data holds.
pub fn verify(data: &Path, database_url: Option<&str>) -> anyhow::Result<()> {
    run::output(hexiao(data, database_url).arg("verify").arg("--data").arg(data)).map(drop)
}

/// Fills a fresh data folder (and the database that the address names) and returns whom and what to redeem.
pub fn seed(data: &Path, database_url: Option<&str>, sizes: &Sizes) -> anyhow::Result<Seed> {
    let out = data.join("bench-seed.json");
    std::fs::create_dir_all(data)?;
    let mut command = hexiao(data, database_url);
    command.arg("bench-seed").arg("--data").arg(data).arg("--out").arg(&out);
    for (flag, value) in [
        ("--vouchers", sizes.vouchers),
        ("--stores", sizes.stores),
        ("--tickets", sizes.tickets),
        ("--customers", sizes.customers),
        ("--items", sizes.items),
    ] {
        command.args([flag, &value.to_string()]);
    }
    run::check(&mut command)?;
    let text = std::fs::read_to_string(&out).with_context(|| format!("no {}", out.display()))?;
    let seed: Seed = serde_json::from_str(&text).context("cannot read what `hexiao bench-seed` wrote")?;
    if let Some(stray) = seed.vouchers.iter().find(|voucher| voucher.staff >= seed.staff.len()) {
        bail!("`hexiao bench-seed` gave {} to a verifier that it doesn't list", stray.voucher_id);
    }
    Ok(seed)
}

fn hexiao(data: &Path, database_url: Option<&str>) -> Command {
    let mut command = run::command(run::hexiao_path(!debug()));
    // One client stands for a thousand verifiers: limits made for one would measure themselves.
    command.env("HEXIAO_RATE_LIMITS", "off").env("RUST_LOG", "warn").current_dir(data);
    if let Some(url) = database_url {
        command.env("HEXIAO_DATABASE_URL", url);
    }
    command
}

impl BenchServer {
    /// Starts it and waits until it is ready.
    pub async fn start(
        data: &Path,
        database_url: Option<&str>,
        simulator: Option<&str>,
    ) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", postgres::free_port()?);
        let log_path = data.join("server.log");
        let log = File::create(&log_path)?;
        let mut command = hexiao(data, database_url);
        command.arg("serve").arg("--data").arg(data).args(["--listen", &address]);
        match simulator {
            Some(url) => command.args(["--wechat-url", url]),
            None => command.arg("--no-simulator"),
        };
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start the server")?;
        let mut server = Self { child, address };
        server.wait_until_ready(&log_path).await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self, log: &PathBuf) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        while Instant::now() < deadline && !signals::interrupted() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended ({status}):\n{}", std::fs::read_to_string(log).unwrap_or_default());
            }
            if self.is_ready().await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the server did not become ready:\n{}", std::fs::read_to_string(log).unwrap_or_default())
    }

    /// Events that some consumer has not read.
    pub async fn unread(&self) -> anyhow::Result<i64> {
        let text = self.get("/metrics").await?;
        let gauges = text.lines().filter(|line| line.starts_with("outbox_unread{"));
        let values = gauges.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>());
        let most = values.collect::<Result<Vec<f64>, _>>()?.into_iter().fold(0.0, f64::max);
        Ok(format!("{most:.0}").parse()?)
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&self.address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Milliseconds of processor time that it has used.
    pub fn processor(&self) -> anyhow::Result<u64> {
        Ok(times(self.child.id())?.own_ms)
    }

    /// The most memory that it has had.
    pub fn memory_mib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib.div_ceil(1024))
    }

    async fn is_ready(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(&self.address).await else { return false };
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        let mut answer = [0_u8; 12];
        stream.write_all(request.as_bytes()).await.is_ok()
            && stream.read_exact(&mut answer).await.is_ok()
            && answer.ends_with(b" 200")
    }
}

/// Processor times of a process.
struct Times {
    parent: u32,
    own_ms: u64,
    /// Of its children that have ended.
    ended_ms: u64,
}

fn times(pid: u32) -> anyhow::Result<Times> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc/…/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // A tick is 10 ms on every Linux that we know.
    let ms = |n: usize| -> anyhow::Result<u64> { Ok(fields.get(n).context("stat")?.parse::<u64>()? * 10) };
    Ok(Times {
        parent: fields.get(1).context("stat")?.parse()?,
        own_ms: ms(11)? + ms(12)?,
        ended_ms: ms(13)? + ms(14)?,
    })
}

/// Milliseconds of processor time that a process and all its children have used.
pub fn processor_of_children(pid: u32) -> anyhow::Result<u64> {
    let own = times(pid)?;
    let mut sum = own.own_ms + own.ended_ms;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(child) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // Others may end while we look.
        sum += times(child).ok().filter(|t| t.parent == pid).map_or(0, |t| t.own_ms);
    }
    Ok(sum)
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
