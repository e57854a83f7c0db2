//! The customer chooses a times card, orders, pays and sees the voucher.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::json::{by_id, expect, int, list, only, short, text, texts};
use super::money::yuan;
use super::{Order, POLL_INTERVAL, Pick, Store, USES, Voucher, Walk};

/// WeChat's notification, or our polling after a lost one, settles a payment by then.
const PAID_WITHIN: Duration = Duration::from_secs(15);
/// Price of the card that the merchant makes if there is none: three uses of unequal worth.
const MADE_PRICE_FEN: i64 = 10_000;

impl<W: Write> Walk<W> {
    /// A SKU of [`USES`] uses without conditions; the merchant makes one if there is none.
    pub(super) async fn pick_product(&mut self, store: &Store) -> anyhow::Result<Pick> {
        self.report.step("顾客", "浏览商品，挑选 3 次卡");
        let path = format!("/customer/stores/{}/products?limit=100", store.id);
        let products = self.customer.get(&path).await?.expect(&[200])?;
        let items = list(&products, "/items")?;
        self.report.note(format!("本店商品 {} 种", items.len()));
        for item in items {
            int(item, "/from_price_fen")?;
            if let Some(pick) = self.look_at_product(store, text(item, "/id")?).await? {
                self.report.done()?;
                return Ok(pick);
            }
        }
        self.report.note("没有可用的 3 次卡，由商家上架一种");
        self.report.done()?;
        let id = self.publish_product().await?;
        self.report.step("顾客", "查看新上架的商品");
        let pick = self.look_at_product(store, &id).await?;
        let pick = pick.with_context(|| format!("商品 {id} 应有可购买的 3 次卡规格，实际没有"))?;
        self.report.done()?;
        Ok(pick)
    }

    async fn look_at_product(&mut self, store: &Store, id: &str) -> anyhow::Result<Option<Pick>> {
        let path = format!("/customer/products/{id}?store_id={}", store.id);
        let product = self.customer.get(&path).await?.expect(&[200])?;
        let skus = list(&product, "/skus")?;
        let Some(sku) = skus.iter().find(|sku| suits(sku)) else { return Ok(None) };
        let price = yuan(int(sku, "/price_fen")?);
        let (name, sku_name) = (text(&product, "/name")?, text(sku, "/name")?);
        self.report.note(format!("{name} / {sku_name}，{price}，商品 {id}"));
        let rules = [texts(sku, "/rule_text"), texts(sku, "/rule/texts"), texts(&product, "/rule_text")];
        if let Some(rule) = rules.into_iter().find(|rule| !rule.is_empty()) {
            self.report.note(rule.join(" · "));
        }
        Ok(Some(Pick { sku_id: text(sku, "/id")?.to_owned() }))
    }

    async fn publish_product(&mut self) -> anyhow::Result<String> {
        self.report.step("商家", "新建并上架 3 次卡");
        let sku = json!({
            "name": "3 次卡", "price_fen": MADE_PRICE_FEN, "stock": 1000, "uses": USES, "validity": {"days": 30},
        });
        let body =
            json!({"name": "演示 3 次卡", "kind": "redeem", "skus": [sku], "store_scope": {"all": true}});
        let product = self.merchant.post("/merchant/products", &body).await?.expect(&[201])?;
        let id = text(&product, "/id")?.to_owned();
        let path = format!("/merchant/products/{id}/publish");
        self.merchant.post_empty(&path).await?.expect(&[200, 204])?;
        self.report.note(format!("商品 {id}，{}", yuan(MADE_PRICE_FEN)));
        self.report.done()?;
        Ok(id)
    }

    /// Previews, orders, and repeats the order as after a lost answer.
    pub(super) async fn order(&mut self, store: &Store, pick: &Pick) -> anyhow::Result<Order> {
        self.report.step("顾客", "预览价格");
        let body = json!({"store_id": store.id, "lines": [{"sku_id": pick.sku_id, "quantity": 1}]});
        let preview = self.customer.post("/customer/orders/preview", &body).await?.expect(&[200])?;
        let pay_fen = int(&preview, "/pay_fen")?;
        let (goods_fen, discount_fen) = (int(&preview, "/goods_fen")?, int(&preview, "/discount_fen")?);
        expect("商品金额减优惠", goods_fen - discount_fen, pay_fen)?;
        self.report.note(format!(
            "商品 {}，优惠 {}，应付 {}",
            yuan(goods_fen),
            yuan(discount_fen),
            yuan(pay_fen)
        ));
        self.report.done()?;

        self.report.step("顾客", "下单 1 × 3 次");
        let key = self.key("order");
        let order = self.customer.post_keyed("/customer/orders", &key, Some(&body)).await?.expect(&[201])?;
        let id = text(&order, "/id")?.to_owned();
        expect("订单状态", "PendingPayment", text(&order, "/state")?)?;
        expect("应付（分）", pay_fen, int(&order, "/pay_fen")?)?;
        let line = only(&order, "/lines")?;
        expect("数量", 1, int(line, "/quantity")?)?;
        expect("次数", USES, int(line, "/uses")?)?;
        let (number, until) = (text(&order, "/number")?, text(&order, "/expires_at")?);
        self.report.note(format!("订单 {id}，单号 {number}，{}，{until} 前支付", yuan(pay_fen)));
        let again =
            self.customer.post_keyed("/customer/orders", &key, Some(&body)).await?.expect(&[200, 201])?;
        expect("同一 Idempotency-Key 重发得到的订单", id.as_str(), text(&again, "/id")?)?;
        self.report.note("同一 Idempotency-Key 重发：还是同一张订单");
        self.report.done()?;
        Ok(Order { id, pay_fen })
    }

    pub(super) async fn pay(&mut self, order: &Order) -> anyhow::Result<()> {
        self.report.step("顾客", "微信支付");
        let path = format!("/customer/orders/{}/pay", order.id);
        let prepay = self.customer.post_keyed(&path, &self.key("pay"), None).await?.expect(&[200, 201])?;
        let number = text(&prepay, "/out_trade_no")?;
        let request = &prepay["request_payment"];
        for field in ["timeStamp", "nonceStr", "package", "signType", "paySign"] {
            text(request, &format!("/{field}"))?;
        }
        self.report.note(format!("支付单 {}，{}", text(&prepay, "/payment_id")?, yuan(order.pay_fen)));
        let body = json!({"out_trade_no": number, "request_payment": request});
        let receipt = self.simulator.post("/_sim/pay", &body).await?.expect(&[200])?;
        self.report.note(format!("微信收款，交易号 {}", text(&receipt, "/transaction_id")?));
        let asked = Instant::now();
        loop {
            let now = self.get_order(order).await?;
            match text(&now, "/state")? {
                "Paid" => break,
                "PendingPayment" if asked.elapsed() < PAID_WITHIN => tokio::time::sleep(POLL_INTERVAL).await,
                other => bail!("付款后 {} 秒内订单应为 Paid，实际 {other}", PAID_WITHIN.as_secs()),
            }
        }
        self.report.note("订单 Paid");
        self.report.done()
    }

    pub(super) async fn get_order(&self, order: &Order) -> anyhow::Result<Value> {
        self.customer.get(&format!("/customer/orders/{}", order.id)).await?.expect(&[200])
    }

    pub(super) async fn get_voucher(&self, id: &str) -> anyhow::Result<Value> {
        self.customer.get(&format!("/customer/vouchers/{id}")).await?.expect(&[200])
    }

    pub(super) async fn show_voucher(&mut self, order: &Order) -> anyhow::Result<Voucher> {
        self.report.step("顾客", "出示核销码");
        let now = self.get_order(order).await?;
        let id = text(only(&now, "/vouchers")?, "/id")?.to_owned();
        let path = format!("/customer/vouchers?order_id={}", order.id);
        let listed = self.customer.get(&path).await?.expect(&[200])?;
        only(&listed, "/items")?;
        by_id(&listed, "/items", "id", &id)?;
        let voucher = self.get_voucher(&id).await?;
        expect("券的订单", order.id.as_str(), text(&voucher, "/order_id")?)?;
        check_uses(&voucher, 0, 0, 0)?;
        let (code, qr) = (text(&voucher, "/code")?, text(&voucher, "/qr")?);
        if code.len() != 12 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("核销码应为 12 位数字，实际 {} 个字符：{}", code.chars().count(), short(&voucher["code"]));
        }
        let shown = text(&voucher, "/code_display")?;
        expect("核销码的显示", format!("{} {} {}", &code[..4], &code[4..8], &code[8..]).as_str(), shown)?;
        if !qr.starts_with("HX1") {
            bail!("二维码内容应以 HX1 开头，实际 {}", short(&voucher["qr"]));
        }
        self.report.note(format!("券 {id}，共 {USES} 次，{} 前有效", text(&voucher, "/valid_to")?));
        self.report.note(format!("核销码 {shown}，二维码 HX1…（{} 个字符）", qr.len()));
        self.report.done()?;
        Ok(Voucher { id, code: code.to_owned(), qr: qr.to_owned() })
    }
}

/// Refuses a voucher whose counters are others.
pub(super) fn check_uses(voucher: &Value, used: i64, locked: i64, refunded: i64) -> anyhow::Result<()> {
    expect("券的总次数", USES, int(voucher, "/total")?)?;
    expect("已核销次数", used, int(voucher, "/used")?)?;
    expect("锁定次数", locked, int(voucher, "/locked")?)?;
    expect("已退款次数", refunded, int(voucher, "/refunded")?)
}

/// Whether a SKU can be bought now, redeemed twice in a row at any hour, and refunded.
fn suits(sku: &Value) -> bool {
    let rule = sku.get("rule").unwrap_or(sku);
    let number = |value: &Value, field: &str| value.get(field).and_then(Value::as_i64);
    let empty = |field: &str| rule.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty);
    let uses = number(rule, "uses").or_else(|| number(sku, "uses"));
    let refund = rule.get("refund").and_then(Value::as_str);
    let available = sku.pointer("/stock/available").and_then(Value::as_i64);
    uses == Some(USES)
        && number(sku, "price_fen").is_some_and(|price| price >= USES)
        && available.is_none_or(|units| units > 0)
        && refund.is_none_or(|policy| policy != "none")
        && empty("usable")
        && empty("blackout_dates")
        && number(rule, "min_interval_minutes").is_none_or(|minutes| minutes == 0)
        && number(rule, "daily_cap").is_none_or(|cap| cap >= USES)
        && number(rule, "min_quantity").is_none_or(|least| least <= 1)
        && rule.get("booking").and_then(Value::as_str).is_none_or(|booking| booking == "none")
        && number(sku, "per_customer_limit").is_none()
        && rule.pointer("/validity/from").is_none_or(Value::is_null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku() -> Value {
        json!({"id": "sku_1", "price_fen": 5800, "stock": {"available": 3}, "rule": {
            "uses": 3, "validity": {"days": 30}, "usable": [], "daily_cap": null, "refund": "any_time", "booking": "none",
        }})
    }

    #[test]
    fn a_card_without_conditions_suits() {
        assert!(suits(&sku()));
        assert!(suits(&json!({"price_fen": 300, "uses": 3})));
        assert!(suits(&json!({"price_fen": 300, "stock": {"available": null}, "rule": {"uses": 3}})));
    }

    #[test]
    fn conditions_do_not() {
        for (pointer, value) in [
            ("/rule/uses", json!(1)),
            ("/price_fen", json!(2)),
            ("/stock/available", json!(0)),
            ("/rule/refund", json!("none")),
            ("/rule/usable", json!([{"weekdays": [1], "from": "09:00", "to": "10:00"}])),
            ("/rule/booking", json!("required")),
            ("/rule/daily_cap", json!(1)),
            ("/rule/validity", json!({"from": "2026-01-01", "to": "2026-01-02"})),
        ] {
            let mut sku = sku();
            *sku.pointer_mut(pointer).unwrap() = value;
            assert!(!suits(&sku), "{pointer}");
        }
        let mut limited = sku();
        limited["per_customer_limit"] = json!(1);
        assert!(!suits(&limited));
    }
}
