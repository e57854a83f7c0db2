//! Three people sign in; the customer finds the store.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::client::Client;
use super::json::{int, list, text, texts};
use super::{Store, Walk};

/// Roles that work in every store of their merchant.
const EVERYWHERE: [&str; 2] = ["owner", "operator"];

/// Where the verifier may redeem.
pub(super) struct Workplace {
    everywhere: bool,
    store_ids: BTreeSet<String>,
}

impl Workplace {
    fn has(&self, store_id: &str) -> bool {
        self.everywhere || self.store_ids.contains(store_id)
    }
}

impl<W: Write> Walk<W> {
    /// Answers the messages that were in the inbox before this walk.
    pub(super) async fn customer_signs_in(&mut self) -> anyhow::Result<BTreeSet<String>> {
        self.report.step("顾客", "微信登录");
        let body = json!({"code": format!("sim-walk-{}", self.nonce)});
        let session = self.customer.post("/auth/customer", &body).await?.expect(&[201])?;
        self.customer.sign_in(text(&session, "/access_token")?);
        text(&session, "/refresh_token")?;
        let seconds = int(&session, "/expires_in")?;
        self.report.note(format!("顾客 {}，令牌 {seconds} 秒内有效", text(&session, "/customer/id")?));
        let inbox = self.customer.get("/customer/messages?limit=100").await?.expect(&[200])?;
        let earlier = list(&inbox, "/items")?.iter().map(Value::to_string).collect();
        self.report.done()?;
        Ok(earlier)
    }

    /// Answers the merchant's id.
    pub(super) async fn merchant_signs_in(&mut self) -> anyhow::Result<String> {
        self.report.step("商家", "登录并查看门店");
        let password = self.args.manager_password.as_ref().unwrap_or(&self.args.staff_password);
        let merchant_id = self.args.merchant_id.as_deref();
        let session =
            staff_session(&mut self.merchant, &self.args.manager_phone, password, merchant_id).await?;
        let merchant_id = text(&session, "/staff/merchant_id")?.to_owned();
        let roles = texts(&session, "/staff/roles").join("、");
        self.report.note(format!("{}（{roles}），商家 {merchant_id}", text(&session, "/staff/name")?));
        let stores = self.merchant.get("/merchant/stores?limit=100").await?.expect(&[200])?;
        let items = list(&stores, "/items")?;
        if items.is_empty() {
            bail!("商家应至少有 1 家门店，实际 0 家");
        }
        let more = if stores.get("next_cursor").is_some_and(Value::is_string) { "以上" } else { "" };
        self.report.note(format!("门店 {} 家{more}，如 {}", items.len(), text(&stores, "/items/0/name")?));
        self.report.done()?;
        Ok(merchant_id)
    }

    pub(super) async fn verifier_signs_in(&mut self) -> anyhow::Result<Workplace> {
        self.report.step("核销员", "登录");
        let (phone, password) = (&self.args.staff_phone, &self.args.staff_password);
        let merchant_id = self.args.merchant_id.as_deref();
        let session = staff_session(&mut self.verifier, phone, password, merchant_id).await?;
        let roles = texts(&session, "/staff/roles");
        let stores = list(&session, "/staff/stores")?;
        let store_ids =
            stores.iter().map(|store| text(store, "/id").map(str::to_owned)).collect::<Result<_, _>>()?;
        let name = text(&session, "/staff/name")?;
        self.report.note(format!("{name}（{}），可核销门店 {} 家", roles.join("、"), stores.len()));
        self.report.done()?;
        let everywhere = roles.iter().any(|role| EVERYWHERE.contains(&role.as_str()));
        Ok(Workplace { everywhere, store_ids })
    }

    /// The nearest store of the merchant in which the verifier works.
    pub(super) async fn find_store(
        &mut self,
        merchant_id: &str,
        workplace: &Workplace,
    ) -> anyhow::Result<Store> {
        let (lat, lng) = (self.args.lat, self.args.lng);
        self.report.step("顾客", "找最近的门店");
        let path = format!("/customer/stores?lat={lat}&lng={lng}&limit=100");
        let found = self.customer.get(&path).await?.expect(&[200])?;
        let items = list(&found, "/items")?;
        check_ascending(items)?;
        self.report.note(format!("({lat}, {lng}) 附近 {} 家，由近到远", items.len()));
        for item in items {
            if text(item, "/merchant_id")? != merchant_id || !workplace.has(text(item, "/id")?) {
                continue;
            }
            let open = if item.get("open_now").and_then(Value::as_bool).context("open_now 应为布尔值")? {
                "营业中"
            } else {
                "休息中"
            };
            let (name, metres) = (text(item, "/name")?, int(item, "/distance_m")?);
            self.report.note(format!("{name}，{metres} 米，{open}，{}", text(item, "/address")?));
            let id = text(item, "/id")?.to_owned();
            self.report.note(id.clone());
            self.report.done()?;
            return Ok(Store { id });
        }
        bail!("附近的 {} 家门店中应有核销员 {} 任职的门店，实际没有", items.len(), self.args.staff_phone)
    }
}

async fn staff_session(
    client: &mut Client,
    phone: &str,
    password: &str,
    merchant_id: Option<&str>,
) -> anyhow::Result<Value> {
    let mut body = json!({"phone": phone, "password": password});
    if let Some(id) = merchant_id {
        body["merchant_id"] = json!(id);
    }
    let session = client.post("/auth/staff", &body).await?.expect(&[201])?;
    client.sign_in(text(&session, "/access_token")?);
    Ok(session)
}

fn check_ascending(stores: &[Value]) -> anyhow::Result<()> {
    let mut last = 0;
    for store in stores {
        let metres = int(store, "/distance_m")?;
        if metres < last {
            bail!("门店应由近到远：{} 的 {metres} 米排在 {last} 米之后", text(store, "/name")?);
        }
        last = metres;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_must_ascend() {
        let stores = |metres: &[i64]| {
            metres.iter().map(|m| json!({"name": "店", "distance_m": m})).collect::<Vec<_>>()
        };
        check_ascending(&stores(&[])).unwrap();
        check_ascending(&stores(&[0, 5, 5, 900])).unwrap();
        let error = check_ascending(&stores(&[5, 4])).unwrap_err().to_string();
        assert!(error.contains("4 米排在 5 米之后"), "{error}");
        assert!(check_ascending(&stores(&[-1])).is_err());
        assert!(check_ascending(&[json!({"name": "店"})]).is_err());
    }
}
