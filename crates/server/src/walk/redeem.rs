//! The verifier redeems by code and by QR, is refused too many, and undoes one.

use std::io::Write;

use anyhow::bail;
use serde_json::{Value, json};

use super::buy::check_uses;
use super::client::Answer;
use super::json::{by_id, expect, int, list, only, short, text, texts};
use super::{Order, Redeemed, Store, USES, Voucher, Walk};

/// More than the voucher ever had.
const TOO_MANY: i64 = 5;

/// What prepare said about the voucher.
pub(super) struct Prepared {
    token: String,
    /// The voucher's part of the answer.
    pub voucher: Value,
}

impl Prepared {
    /// How many uses can be redeemed, which must be so many, without a refusal.
    fn expect_redeemable(&self, uses: i64) -> anyhow::Result<()> {
        if !list(&self.voucher, "/refusals")?.is_empty() {
            bail!("应可核销 {uses} 次，实际被拒：{}", short(&self.voucher["refusals"]));
        }
        expect("可核销次数", uses, int(&self.voucher, "/redeemable")?)
    }

    /// As a verifier does who looked at the person: what asks for attention is acknowledged, nothing else.
    fn acknowledge(&self) -> Vec<String> {
        texts(&self.voucher, "/attention")
    }
}

/// A confirmed redemption of one use.
struct Confirmed {
    id: String,
    serial: i64,
    results: Value,
}

impl<W: Write> Walk<W> {
    pub(super) async fn redeem(
        &mut self,
        store: &Store,
        order: &Order,
        voucher: &Voucher,
    ) -> anyhow::Result<Redeemed> {
        let first = self.redeem_by_code(store, voucher).await?;
        let second = self.redeem_by_qr(store, voucher).await?;
        self.refuse_too_many(store, voucher).await?;
        self.reverse(&second, order, voucher).await?;
        Ok(Redeemed { ids: [first.id, second.id], kept_serial: first.serial })
    }

    async fn redeem_by_code(&mut self, store: &Store, voucher: &Voucher) -> anyhow::Result<Confirmed> {
        self.report.step("核销员", "输入核销码，核销 1 次");
        let prepared = self.prepare(store, voucher, &json!({"code": voucher.code})).await?;
        prepared.expect_redeemable(USES)?;
        self.report.note(describe(&prepared)?);
        let key = self.key("confirm-code");
        let answer = self.confirm(store, voucher, &prepared, &key, 1).await?.expect(&[201])?;
        let first = read_confirmed(&answer, voucher, 1)?;
        expect("replayed", false, replayed(&answer)?)?;
        let until = text(&answer, "/undo_until")?;
        self.report.note(format!("核销 {}，第 {} 次，剩 2 次，{until} 前可撤销", first.id, first.serial));
        self.report.done()?;

        self.report.step("核销员", "没收到应答，用同一 Idempotency-Key 重发");
        let again = self.confirm(store, voucher, &prepared, &key, 1).await?.expect(&[200, 201])?;
        expect("replayed", true, replayed(&again)?)?;
        expect("核销记录", first.id.as_str(), text(&again, "/id")?)?;
        expect("核销结果", &first.results, &again["results"])?;
        self.report.note(format!("还是 {}（replayed），没有多核销", first.id));
        self.report.done()?;
        Ok(first)
    }

    async fn redeem_by_qr(&mut self, store: &Store, voucher: &Voucher) -> anyhow::Result<Confirmed> {
        self.report.step("核销员", "扫二维码，再核销 1 次");
        let prepared = self.prepare(store, voucher, &json!({"qr": voucher.qr})).await?;
        prepared.expect_redeemable(USES - 1)?;
        let attention = prepared.acknowledge();
        if !attention.is_empty() {
            self.report.note(format!("提醒 {}，确认后继续", attention.join("、")));
        }
        let key = self.key("confirm-qr");
        let answer = self.confirm(store, voucher, &prepared, &key, 1).await?.expect(&[201])?;
        let second = read_confirmed(&answer, voucher, 2)?;
        self.report.note(format!("核销 {}，第 {} 次，剩 1 次", second.id, second.serial));
        self.report.done()?;
        Ok(second)
    }

    async fn refuse_too_many(&mut self, store: &Store, voucher: &Voucher) -> anyhow::Result<()> {
        self.report.step("核销员", "想核销 5 次，应被拒绝");
        let prepared = self.prepare(store, voucher, &json!({"code": voucher.code})).await?;
        let key = self.key("confirm-too-many");
        let refused = self.confirm(store, voucher, &prepared, &key, TOO_MANY).await?.refused()?;
        expect("拒绝的原因", "not_enough_uses", refused.code.as_str())?;
        self.report.note(format!("{}：{}", refused.code, refused.message));
        self.report.done()
    }

    async fn reverse(&mut self, second: &Confirmed, order: &Order, voucher: &Voucher) -> anyhow::Result<()> {
        self.report.step("核销员", "撤销第二次核销");
        let path = format!("/staff/redemptions/{}/reverse", second.id);
        let body = json!({"reason": "顾客改天再用"});
        self.verifier.post_keyed(&path, &self.key("reverse"), Some(&body)).await?.expect(&[200])?;
        self.report.note(format!("已撤销 {}", second.id));
        self.report.done()?;

        self.report.step("顾客", "查看剩余次数");
        check_uses(&self.get_voucher(&voucher.id).await?, 1, 0, 0)?;
        let now = self.get_order(order).await?;
        expect("订单状态", "Paid", text(&now, "/state")?)?;
        self.report.note("共 3 次，已用 1 次，剩 2 次");
        self.report.done()
    }

    /// Prepare of the voucher, which must be found.
    async fn prepare(&self, store: &Store, voucher: &Voucher, input: &Value) -> anyhow::Result<Prepared> {
        let answer = self.ask_prepare(store, input).await?.expect(&[200])?;
        read_prepared(&answer, voucher)
    }

    /// Prepare, whatever comes back.
    pub(super) async fn ask_prepare(&self, store: &Store, input: &Value) -> anyhow::Result<Answer> {
        let body = json!({"store_id": store.id, "input": input});
        self.verifier.post("/staff/redemptions/prepare", &body).await
    }

    pub(super) async fn confirm(
        &self,
        store: &Store,
        voucher: &Voucher,
        prepared: &Prepared,
        key: &str,
        quantity: i64,
    ) -> anyhow::Result<Answer> {
        let mut body = json!({
            "store_id": store.id,
            "prepare_token": prepared.token,
            "items": [{"voucher_id": voucher.id, "quantity": quantity}],
            "atomicity": "all",
        });
        let acknowledge = prepared.acknowledge();
        if !acknowledge.is_empty() {
            body["acknowledge"] = json!(acknowledge);
        }
        self.verifier.post_keyed("/staff/redemptions", key, Some(&body)).await
    }
}

pub(super) fn read_prepared(answer: &Value, voucher: &Voucher) -> anyhow::Result<Prepared> {
    let voucher = by_id(answer, "/vouchers", "voucher_id", &voucher.id)?.clone();
    Ok(Prepared { token: text(answer, "/prepare_token")?.to_owned(), voucher })
}

fn describe(prepared: &Prepared) -> anyhow::Result<String> {
    let voucher = &prepared.voucher;
    let (product, last4) = (text(voucher, "/product_name")?, text(voucher, "/code_last4")?);
    let (redeemable, total) = (int(voucher, "/redeemable")?, int(voucher, "/total")?);
    Ok(format!("{product}，尾号 {last4}，可核销 {redeemable}/{total} 次"))
}

/// Reads the redemption of one use, the `nth` of its voucher, and checks what it says.
fn read_confirmed(answer: &Value, voucher: &Voucher, nth: i64) -> anyhow::Result<Confirmed> {
    let result = only(answer, "/results")?;
    expect("核销的券", voucher.id.as_str(), text(result, "/voucher_id")?)?;
    expect("核销结果", "redeemed", text(result, "/result")?)?;
    expect("核销次数", 1, int(result, "/quantity")?)?;
    expect("剩余次数", USES - nth, int(result, "/remaining")?)?;
    only(result, "/serials")?;
    let serial = int(result, "/serials/0")?;
    // The lowest free serial is redeemed first.
    expect("核销的是第几次", nth, serial)?;
    Ok(Confirmed { id: text(answer, "/id")?.to_owned(), serial, results: answer["results"].clone() })
}

fn replayed(answer: &Value) -> anyhow::Result<bool> {
    match answer.get("replayed") {
        Some(Value::Bool(replayed)) => Ok(*replayed),
        _ => bail!("应答的 replayed 应为布尔值，实际应答：{}", short(answer)),
    }
}
