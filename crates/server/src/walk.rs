//! `hexiao walk`: the whole loop against a running server, over HTTP, as three separate clients.
//!
//! A customer buys and pays (at the WeChat simulator), a verifier redeems and undoes, the customer is refunded the
//! rest, the merchant reads the books. Each step prints what came back; the first thing that is off ends the walk
//! with an error that names the step, what was expected and what came.
//!
//! Architecture Invariant: nothing of the server's own logic is used here, not even its arithmetic. A client that
//! shared it would agree with its mistakes.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;

use crate::demo::data::{DEMO_PASSWORD, OWNER_PHONE, SHANGHAI_VERIFIER_PHONE};

mod books;
mod buy;
mod client;
mod json;
mod money;
mod redeem;
mod refund;
mod report;
mod sign_in;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use client::Client;
use report::Report;

/// Go the whole way against a running server: sign in, order, pay, redeem, undo, refund, read the ledger
///
/// Every step prints what came back; the exit code is not 0 when anything is off.
// No `Debug`: it would print passwords.
#[derive(Clone, clap::Args)]
#[command(after_help = "\
Examples:
  hexiao walk                                          against `cargo xtask demo` on this machine
  hexiao walk --server http://127.0.0.1:9000 --simulator http://127.0.0.1:9010
  hexiao walk --manager-phone 13912345678 --staff-phone 13912345679 --staff-password '…'")]
pub struct WalkArgs {
    /// Address of the server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub server: String,
    /// Address of the WeChat simulator, where the customer pays
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8090")]
    pub simulator: String,
    /// Phone of the verifier who redeems
    #[arg(long, value_name = "PHONE", default_value = SHANGHAI_VERIFIER_PHONE)]
    pub staff_phone: String,
    /// Password of the verifier, and of the merchant unless --manager-password is given
    #[arg(long, value_name = "PASSWORD", default_value = DEMO_PASSWORD)]
    pub staff_password: String,
    /// Phone of a merchant account that may write products and read the ledger: an owner's
    #[arg(long, value_name = "PHONE", default_value = OWNER_PHONE)]
    pub manager_phone: String,
    /// Password of the merchant account
    #[arg(long, value_name = "PASSWORD")]
    pub manager_password: Option<String>,
    /// The merchant to work for, if the accounts belong to several
    #[arg(long, value_name = "ID")]
    pub merchant_id: Option<String>,
    /// Where the customer stands: latitude (GCJ-02); Shanghai's People's Square unless told otherwise
    #[arg(long, value_name = "DEGREES", default_value_t = 31.2304, allow_negative_numbers = true)]
    pub lat: f64,
    /// Where the customer stands: longitude (GCJ-02)
    #[arg(long, value_name = "DEGREES", default_value_t = 121.4737, allow_negative_numbers = true)]
    pub lng: f64,
}

/// The uses of the times card that is bought.
const USES: i64 = 3;
/// Between two looks at something that takes its time.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Walks the loop and prints it to standard output.
pub async fn run(args: WalkArgs) -> anyhow::Result<()> {
    walk(args, std::io::stdout()).await
}

async fn walk<W: Write>(args: WalkArgs, out: W) -> anyhow::Result<()> {
    let mut walk = Walk::new(args, out)?;
    match walk.the_loop().await {
        Ok(()) => walk.report.summary(),
        Err(error) => Err(error).with_context(|| walk.report.failed_step()),
    }
}

/// The people and where their steps are written down.
struct Walk<W> {
    args: WalkArgs,
    report: Report<W>,
    customer: Client,
    verifier: Client,
    merchant: Client,
    simulator: Client,
    /// Makes this walk's login code and idempotency keys its own.
    nonce: String,
}

impl<W: Write> Walk<W> {
    fn new(args: WalkArgs, out: W) -> anyhow::Result<Self> {
        let server = format!("{}/api/v1", args.server.trim_end_matches('/'));
        Ok(Self {
            report: Report::new(out),
            customer: Client::new(&server)?,
            verifier: Client::new(&server)?,
            merchant: Client::new(&server)?,
            simulator: Client::new(args.simulator.trim_end_matches('/'))?,
            nonce: uuid::Uuid::now_v7().simple().to_string(),
            args,
        })
    }

    async fn the_loop(&mut self) -> anyhow::Result<()> {
        self.report
            .title(&format!("走一遍完整流程：{}（微信模拟器 {}）", self.args.server, self.args.simulator))?;
        let earlier_messages = self.customer_signs_in().await?;
        let merchant_id = self.merchant_signs_in().await?;
        let workplace = self.verifier_signs_in().await?;
        let store = self.find_store(&merchant_id, &workplace).await?;
        let pick = self.pick_product(&store).await?;
        let order = self.order(&store, &pick).await?;
        self.pay(&order).await?;
        let voucher = self.show_voucher(&order).await?;
        let redeemed = self.redeem(&store, &order, &voucher).await?;
        let refunded_fen = self.refund(&store, &order, &voucher, &redeemed).await?;
        self.merchant_looks(&order, &redeemed, refunded_fen).await?;
        self.customer_reads_messages(&earlier_messages).await
    }

    /// The key of one intent; the same text gives the same key, as a client that repeats its request would send.
    fn key(&self, intent: &str) -> String {
        format!("walk-{}-{intent}", self.nonce)
    }
}

/// A store that was found.
struct Store {
    id: String,
}

/// A SKU that was chosen.
struct Pick {
    sku_id: String,
}

/// An order that was placed.
struct Order {
    id: String,
    pay_fen: i64,
}

/// A voucher as its owner sees it.
struct Voucher {
    id: String,
    code: String,
    qr: String,
}

/// What is left of the redemptions: one use, after the second was undone.
struct Redeemed {
    /// Ids of both redemptions.
    ids: [String; 2],
    /// The serial of the use that stays.
    kept_serial: i64,
}
