//! The customer is refunded what is unused; after that the verifier is refused.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::{Value, json};

use super::buy::check_uses;
use super::json::{by_id, expect, int, list, text};
use super::money::{value_without, yuan};
use super::redeem::read_prepared;
use super::{Order, POLL_INTERVAL, Redeemed, Store, USES, Voucher, Walk};

/// WeChat takes its time, and ours may have to ask again.
const REFUNDED_WITHIN: Duration = Duration::from_secs(90);

impl<W: Write> Walk<W> {
    /// Answers what was refunded.
    pub(super) async fn refund(
        &mut self,
        store: &Store,
        order: &Order,
        voucher: &Voucher,
        redeemed: &Redeemed,
    ) -> anyhow::Result<i64> {
        self.report.step("顾客", "退还未使用的 2 次");
        let expected = value_without(order.pay_fen, USES, redeemed.kept_serial);
        let path = format!("/customer/orders/{}/refunds", order.id);
        let body = json!({"reason": "计划有变"});
        let refund =
            self.customer.post_keyed(&path, &self.key("refund"), Some(&body)).await?.expect(&[201])?;
        let id = text(&refund, "/id")?.to_owned();
        expect("退款金额（分）", expected, int(&refund, "/amount_fen")?)?;
        let item = by_id(&refund, "/items", "voucher_id", &voucher.id)?;
        expect("退款次数", USES - 1, int(item, "/quantity")?)?;
        self.report.note(format!("退款 {id}，{}，{}", yuan(expected), text(&refund, "/state")?));
        self.wait_for_refund(order, &id, expected).await?;
        check_uses(&self.get_voucher(&voucher.id).await?, 1, 0, USES - 1)?;
        self.report.note(format!("{} 已按原路退回", yuan(expected)));
        self.report.done()?;
        self.refuse_after_refund(store, voucher).await?;
        Ok(expected)
    }

    async fn wait_for_refund(&mut self, order: &Order, id: &str, amount_fen: i64) -> anyhow::Result<()> {
        let asked = Instant::now();
        let mut last = String::new();
        loop {
            let now = self.get_order(order).await?;
            let refund = by_id(&now, "/refunds", "id", id)?;
            let state = text(refund, "/state")?;
            if state != last {
                self.report.note(format!("退款状态 {state}"));
                state.clone_into(&mut last);
            }
            match state {
                "Succeeded" => return expect("退款金额（分）", amount_fen, int(refund, "/amount_fen")?),
                "Withdrawn" | "ManuallyDone" => bail!("退款应成功，实际 {state}"),
                _ if asked.elapsed() < REFUNDED_WITHIN => tokio::time::sleep(POLL_INTERVAL).await,
                _ => bail!("{} 秒内退款应为 Succeeded，实际 {state}", REFUNDED_WITHIN.as_secs()),
            }
        }
    }

    /// Prepare may refuse or say that nothing is redeemable; a confirm is refused in any case.
    async fn refuse_after_refund(&mut self, store: &Store, voucher: &Voucher) -> anyhow::Result<()> {
        self.report.step("核销员", "退款后再核销，应被拒绝");
        let answer = self.ask_prepare(store, &json!({"code": voucher.code})).await?;
        if answer.is_refused() {
            let refused = answer.refused()?;
            self.report.note(format!("{}：{}", refused.code, refused.message));
            return self.report.done();
        }
        let prepared = read_prepared(&answer.expect(&[200])?, voucher)?;
        expect("可核销次数", 0, int(&prepared.voucher, "/redeemable")?)?;
        if list(&prepared.voucher, "/refusals")?.is_empty() {
            bail!("退款后的券应说明为何不能核销，实际没有说明");
        }
        let key = self.key("confirm-after-refund");
        let refused = self.confirm(store, voucher, &prepared, &key, 1).await?.refused()?;
        let reasons: Vec<&str> = list(&prepared.voucher, "/refusals")?
            .iter()
            .filter_map(|refusal| refusal.get("code").and_then(Value::as_str))
            .collect();
        if !reasons.contains(&refused.code.as_str()) {
            bail!("拒绝的原因应与预览一致（{}），实际 {}", reasons.join("、"), refused.code);
        }
        self.report.note(format!("{}：{}", refused.code, refused.message));
        self.report.done()
    }
}
