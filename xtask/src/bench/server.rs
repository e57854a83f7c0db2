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

/// Fills a fresh data folder (and the database that the address names) and returns whom and what to redeem.
pub fn seed(data: &Path, database_url: Option<&str>, vouchers: u32, stores: u32) -> anyhow::Result<Seed> {
    let out = data.join("bench-seed.json");
    std::fs::create_dir_all(data)?;
    let mut command = hexiao(data, database_url);
    command.arg("bench-seed").arg("--data").arg(data).arg("--out").arg(&out);
    command.args(["--vouchers", &vouchers.to_string(), "--stores", &stores.to_string()]);
    run::check(&mut command)?;
    let text = std::fs::read_to_string(&out).with_context(|| format!("no {}", out.display()))?;
    let seed: Seed = serde_json::from_str(&text).context("cannot read what `hexiao bench-seed` wrote")?;
    if let Some(stray) = seed.vouchers.iter().find(|voucher| voucher.staff >= seed.staff.len()) {
        bail!("`hexiao bench-seed` gave {} to a verifier that it doesn't list", stray.voucher_id);
    }
    Ok(seed)
}

fn hexiao(data: &Path, database_url: Option<&str>) -> Command {
    let mut command = run::command(run::hexiao_path(true));
    // One client stands for a thousand verifiers: limits made for one would measure themselves.
    command.env("HEXIAO_RATE_LIMITS", "off").env("RUST_LOG", "warn").current_dir(data);
    if let Some(url) = database_url {
        command.env("HEXIAO_DATABASE_URL", url);
    }
    command
}

impl BenchServer {
    /// Starts it and waits until it is ready.
    pub async fn start(data: &Path, database_url: Option<&str>) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", postgres::free_port()?);
        let log_path = data.join("server.log");
        let log = File::create(&log_path)?;
        let mut command = hexiao(data, database_url);
        command.arg("serve").arg("--data").arg(data).args(["--listen", &address, "--no-simulator"]);
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
