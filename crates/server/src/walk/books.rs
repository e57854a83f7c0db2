//! The merchant reads the order, its redemptions and its ledger; the customer reads the inbox.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;

use super::json::{expect, int, list, text};
use super::money::{use_value, yuan};
use super::{Order, POLL_INTERVAL, Redeemed, USES, Walk};

/// Messages are written after the fact, by a consumer of the outbox.
const MESSAGES_WITHIN: Duration = Duration::from_secs(10);

impl<W: Write> Walk<W> {
    pub(super) async fn merchant_looks(
        &mut self,
        order: &Order,
        redeemed: &Redeemed,
        refunded_fen: i64,
    ) -> anyhow::Result<()> {
        self.report.step("商家", "查看订单");
        let path = format!("/merchant/orders/{}", order.id);
        let seen = self.merchant.get(&path).await?.expect(&[200])?;
        expect("订单", order.id.as_str(), text(&seen, "/id")?)?;
        expect("应付（分）", order.pay_fen, int(&seen, "/pay_fen")?)?;
        self.report.note(format!(
            "单号 {}，{}，{}",
            text(&seen, "/number")?,
            text(&seen, "/state")?,
            yuan(order.pay_fen)
        ));
        self.report.done()?;

        self.report.step("商家", "查看核销记录");
        let path = format!("/merchant/redemptions?order_id={}", order.id);
        let list_of = self.merchant.get(&path).await?.expect(&[200])?;
        let items = list(&list_of, "/items")?;
        let ids: BTreeSet<&str> = items.iter().map(|item| text(item, "/id")).collect::<Result<_, _>>()?;
        let expected: BTreeSet<&str> = redeemed.ids.iter().map(String::as_str).collect();
        if ids != expected {
            bail!("核销记录应为 {expected:?}，实际 {ids:?}");
        }
        self.report.note(format!("{} 条：{}", items.len(), ids.into_iter().collect::<Vec<_>>().join("、")));
        self.report.done()?;

        self.report.step("商家", "核对账本");
        let path = format!("/merchant/ledger?order_id={}", order.id);
        let ledger = self.merchant.get(&path).await?.expect(&[200])?;
        let books = Books::read(list(&ledger, "/items")?)?;
        for line in &books.lines {
            self.report.note(line.clone());
        }
        books.check(order.pay_fen, use_value(order.pay_fen, USES, redeemed.kept_serial), refunded_fen)?;
        self.report.note(format!(
            "收款 {} = 待结算 {} + 已退款 {}，欠顾客 {}",
            yuan(order.pay_fen),
            yuan(order.pay_fen - refunded_fen),
            yuan(refunded_fen),
            yuan(0)
        ));
        self.report.done()
    }

    pub(super) async fn customer_reads_messages(&mut self, earlier: &BTreeSet<String>) -> anyhow::Result<()> {
        self.report.step("顾客", "查看消息");
        let asked = Instant::now();
        loop {
            let inbox = self.customer.get("/customer/messages?limit=100").await?.expect(&[200])?;
            let items = list(&inbox, "/items")?;
            let fresh: Vec<&Value> =
                items.iter().filter(|item| !earlier.contains(&item.to_string())).collect();
            if !fresh.is_empty() {
                for item in fresh {
                    let (title, body) = (text(item, "/title")?, text(item, "/body")?);
                    self.report.note(format!("{} {title}：{body}", text(item, "/at")?));
                }
                return self.report.done();
            }
            if asked.elapsed() >= MESSAGES_WITHIN {
                bail!("{} 秒内应收到关于本次购买的消息，实际没有", MESSAGES_WITHIN.as_secs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// The ledger of an order, summed.
#[derive(Debug, Default)]
struct Books {
    /// By event.
    events: BTreeMap<String, i64>,
    /// Credits less debits, by account: what an account owes or has earned.
    accounts: BTreeMap<String, i64>,
    lines: Vec<String>,
}

impl Books {
    fn read(entries: &[Value]) -> anyhow::Result<Self> {
        let mut books = Self::default();
        for entry in entries {
            let (event, amount) = (text(entry, "/event")?, int(entry, "/amount_fen")?);
            let (debit, credit) = (text(entry, "/debit")?, text(entry, "/credit")?);
            if amount <= 0 {
                bail!("账目金额应大于 0，实际 {event} {amount}");
            }
            *books.events.entry(event.to_owned()).or_default() += amount;
            *books.accounts.entry(credit.to_owned()).or_default() += amount;
            *books.accounts.entry(debit.to_owned()).or_default() -= amount;
            books.lines.push(format!(
                "{} {event}：借 {debit}，贷 {credit}，{}",
                text(entry, "/at")?,
                yuan(amount)
            ));
        }
        Ok(books)
    }

    fn event(&self, name: &str) -> i64 {
        self.events.get(name).copied().unwrap_or(0)
    }

    fn account(&self, name: &str) -> i64 {
        self.accounts.get(name).copied().unwrap_or(0)
    }

    /// Paid = pending + refunded, and nobody is owed anything.
    fn check(&self, paid_fen: i64, redeemed_fen: i64, refunded_fen: i64) -> anyhow::Result<()> {
        let pending = self.account("merchant_pending") + self.account("merchant_earned");
        expect("账本：收款（分）", paid_fen, self.event("payment"))?;
        expect("账本：撤销的核销（分）", self.event("redemption") - redeemed_fen, self.event("reversal"))?;
        expect("账本：待结算（分）", redeemed_fen, pending)?;
        expect("账本：已退款（分）", refunded_fen, self.event("refund_succeeded"))?;
        expect("账本：退款在途（分）", 0, self.account("refund_in_transit"))?;
        expect("账本：欠顾客（分）", 0, self.account("customer_liability"))?;
        expect("账本：待结算 + 已退款（分）", paid_fen, pending + refunded_fen)?;
        expect("账本：微信应收（分）", refunded_fen - paid_fen, self.account("wechat_receivable"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(event: &str, debit: &str, credit: &str, amount_fen: i64) -> Value {
        json!({"event": event, "debit": debit, "credit": credit, "amount_fen": amount_fen, "at": "2026-11-23T10:00:00Z"})
    }

    fn entries() -> Vec<Value> {
        vec![
            entry("payment", "wechat_receivable", "customer_liability", 10_000),
            entry("redemption", "customer_liability", "merchant_pending", 3_333),
            entry("redemption", "customer_liability", "merchant_pending", 3_333),
            entry("reversal", "merchant_pending", "customer_liability", 3_333),
            entry("refund_submitted", "customer_liability", "refund_in_transit", 6_667),
            entry("refund_succeeded", "refund_in_transit", "wechat_receivable", 6_667),
        ]
    }

    #[test]
    fn books_of_a_walk_balance() {
        Books::read(&entries()).unwrap().check(10_000, 3_333, 6_667).unwrap();
    }

    #[test]
    fn each_missing_entry_is_found() {
        for missing in 0..entries().len() {
            let mut entries = entries();
            let entry = entries.remove(missing);
            let error = Books::read(&entries).unwrap().check(10_000, 3_333, 6_667).unwrap_err();
            assert!(error.to_string().contains("账本"), "{entry}: {error}");
        }
    }

    #[test]
    fn amounts_are_positive() {
        assert!(Books::read(&[entry("payment", "a", "b", 0)]).is_err());
        assert!(Books::read(&[json!({"event": "payment"})]).is_err());
    }
}
