//! What customers do: order, open the payment sheet, pay at WeChat.

use std::sync::Arc;

use anyhow::{Context, bail};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Flow, Wire};
use super::requests::{get, post, refuse_unless};
use super::server::Seed;

/// What was answered to somebody who ordered.
#[derive(Clone)]
pub enum Ordered {
    Bought {
        order: String,
    },
    /// Told no, with the status and the code.
    Refused {
        status: u16,
        code: String,
    },
}

/// Orders one unit.
pub async fn order(
    wire: &mut Wire,
    seed: &Seed,
    customer: usize,
    sku: &str,
    key: &str,
) -> anyhow::Result<Ordered> {
    let body = json!({ "store_id": seed.store_id, "lines": [{ "sku_id": sku, "quantity": 1 }] });
    let token = &seed.customers[customer].access_token;
    let (status, body) = wire.ask(post("/api/v1/customer/orders", token, Some(key), &body)?).await?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status == StatusCode::CREATED {
        let order = answer["id"].as_str().context("an order without id")?.to_owned();
        return Ok(Ordered::Bought { order });
    }
    let code = answer["error"]["code"].as_str().unwrap_or_default().to_owned();
    Ok(Ordered::Refused { status: status.as_u16(), code })
}

/// Opens the payment sheet of an order; the payment's number.
pub async fn sheet(wire: &mut Wire, seed: &Seed, customer: usize, order: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Answer {
        out_trade_no: String,
    }
    let path = format!("/api/v1/customer/orders/{order}/pay");
    let token = &seed.customers[customer].access_token;
    let (status, body) = wire.ask(post(&path, token, Some(order), &json!({}))?).await?;
    if !status.is_success() {
        bail!("pay: {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(serde_json::from_slice::<Answer>(&body)?.out_trade_no)
}

/// Pays, as the customer's phone does: WeChat calls us back.
pub async fn pay(wechat: &mut Wire, out_trade_no: &str) -> anyhow::Result<()> {
    let body = json!({ "out_trade_no": out_trade_no });
    let (status, body) = wechat.ask(post("/_sim/pay", "", None, &body)?).await?;
    refuse_unless(status, StatusCode::OK, &body)
}

/// Whether an order is paid, and how many vouchers it has.
pub async fn paid(
    wire: &mut Wire,
    seed: &Seed,
    customer: usize,
    order: &str,
) -> anyhow::Result<Option<usize>> {
    let path = format!("/api/v1/customer/orders/{order}");
    let token = &seed.customers[customer].access_token;
    let (status, body) = wire.ask(get(&path, Some(token))?).await?;
    refuse_unless(status, StatusCode::OK, &body)?;
    let answer: Value = serde_json::from_slice(&body)?;
    let vouchers = answer["vouchers"].as_array().map_or(0, Vec::len);
    Ok((answer["state"] == "Paid").then_some(vouchers))
}

/// Each customer orders one unit of the SKU that is sold in a rush.
pub struct Rush {
    pub seed: Arc<Seed>,
}

impl Flow for Rush {
    type Answer = Ordered;

    fn count(&self) -> usize {
        self.seed.customers.len()
    }

    async fn run(&self, index: usize, wire: &mut Wire) -> anyhow::Result<Ordered> {
        order(wire, &self.seed, index, &self.seed.scarce_sku_id, &format!("rush-{index}")).await
    }
}

/// Each customer orders, and opens the payment sheet: `(order, payment)`.
pub struct Unpaid {
    pub seed: Arc<Seed>,
}

impl Flow for Unpaid {
    type Answer = (String, String);

    fn count(&self) -> usize {
        self.seed.customers.len()
    }

    async fn run(&self, index: usize, wire: &mut Wire) -> anyhow::Result<(String, String)> {
        let key = format!("plenty-{index}");
        match order(wire, &self.seed, index, &self.seed.plenty_sku_id, &key).await? {
            Ordered::Bought { order } => {
                let payment = sheet(wire, &self.seed, index, &order).await?;
                Ok((order, payment))
            }
            Ordered::Refused { status, code } => bail!("order: {status} {code}"),
        }
    }
}

/// Pays at WeChat.
pub struct Payments {
    pub numbers: Vec<String>,
}

impl Flow for Payments {
    type Answer = ();

    fn count(&self) -> usize {
        self.numbers.len()
    }

    async fn run(&self, index: usize, wechat: &mut Wire) -> anyhow::Result<()> {
        pay(wechat, &self.numbers[index]).await
    }
}

/// Looks whether orders are paid: `(customer, order)`.
pub struct Looks {
    pub seed: Arc<Seed>,
    pub orders: Vec<(usize, String)>,
}

impl Flow for Looks {
    type Answer = Option<usize>;

    fn count(&self) -> usize {
        self.orders.len()
    }

    async fn run(&self, index: usize, wire: &mut Wire) -> anyhow::Result<Option<usize>> {
        let (customer, order) = &self.orders[index];
        paid(wire, &self.seed, *customer, order).await
    }
}
