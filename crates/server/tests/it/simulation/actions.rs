//! What can happen, and what the model says to it.

use std::time::Duration;

use chrono::DateTime;
use hexiao_testkit::Answer;
use hexiao_wechat_sim::{Chance, Fault, FaultAction, PayArgs};
use rand::RngExt as _;
use serde_json::{Value, json};

use super::model::{Order, Redemption, Undo, Voucher};
use super::run::{Run, Who};

/// The manager's place among the staff.
const MANAGER: usize = 2;

impl Run {
    /// One thing that happens.
    pub async fn step(&mut self) {
        match self.dice.random_range(0..100) {
            0..15 => self.order().await,
            15..23 => self.sheet(None).await,
            23..30 => self.pay(None).await,
            30..34 => self.cancel().await,
            34..60 => self.redeem().await,
            60..72 => self.undo().await,
            72..82 => self.refund().await,
            82..92 => self.time().await,
            _ => self.trouble(),
        }
    }

    async fn order(&mut self) {
        let (customer, card) = (self.pick(4), self.pick(3));
        let quantity = self.dice.random_range(1..=3);
        let line = json!({"sku_id": self.cards[card].sku, "quantity": quantity});
        let body = json!({"store_id": self.store, "lines": [line]});
        let answer = self.post(Who::Customer(customer), "/api/v1/customer/orders", body).await;
        self.note(format!("customer {customer} orders {quantity} of {card}: {}", brief(&answer)));
        if answer.status == 409 && answer.code() == "out_of_stock" {
            assert_ne!(card, 1, "what has no stock cannot run out");
            return;
        }
        let id = text(&answer.expect(201)["id"]);
        self.orders.push(Order {
            id,
            customer,
            card,
            quantity,
            sheet: None,
            paid: false,
            closed: false,
            vouchers: Vec::new(),
            refunded_fen: 0,
        });
        // Most people pay at once.
        let n = self.orders.len() - 1;
        if self.dice.random_bool(0.7) {
            self.sheet(Some(n)).await;
            self.pay(Some(n)).await;
        }
    }

    /// One of the orders that fit.
    fn some_order(&mut self, fits: impl Fn(&Order) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.orders.len()).filter(|n| fits(&self.orders[*n])).collect();
        (!fitting.is_empty()).then(|| fitting[self.pick(fitting.len())])
    }

    async fn sheet(&mut self, order: Option<usize>) {
        let Some(n) = order.or_else(|| self.some_order(|o| !o.paid && !o.closed)) else { return };
        let who = Who::Customer(self.orders[n].customer);
        let path = format!("/api/v1/customer/orders/{}/pay", self.orders[n].id);
        let answer = self.post(who, &path, json!({})).await;
        self.note(format!("sheet of order {n}: {}", brief(&answer)));
        match answer.status {
            200 => self.orders[n].sheet = Some(answer.body),
            // WeChat did not answer, or its time is over.
            502..=504 => {}
            409 => {
                assert!(["order_expired", "order_not_payable"].contains(&answer.code()), "{}", answer.body);
            }
            _ => panic!("{} {}", answer.status, answer.body),
        }
    }

    async fn pay(&mut self, order: Option<usize>) {
        let Some(n) = order.or_else(|| self.some_order(|o| o.sheet.is_some() && !o.paid)) else { return };
        let Some(sheet) = self.orders[n].sheet.clone() else { return };
        let args = PayArgs {
            out_trade_no: text(&sheet["out_trade_no"]),
            openid: None,
            request_payment: Some(sheet["request_payment"].clone()),
        };
        let paid = self.app.sim.pay(args);
        self.note(format!("order {n} is paid at WeChat: {paid:?}"));
        self.orders[n].paid = paid.is_ok();
        if self.dice.random_bool(0.7) {
            self.quiet().await;
            self.look(n).await;
        }
    }

    /// The customer looks at an order, and sees its vouchers once they are there.
    pub async fn look(&mut self, n: usize) {
        let (who, id) = (Who::Customer(self.orders[n].customer), self.orders[n].id.clone());
        let seen = self.get(who, &format!("/api/v1/customer/orders/{id}")).await;
        let vouchers = seen["vouchers"].as_array().unwrap();
        if vouchers.is_empty() || !self.orders[n].vouchers.is_empty() {
            return;
        }
        let card = &self.cards[self.orders[n].card];
        let voucher = |v: &Value| Voucher {
            id: text(&v["id"]),
            uses: card.uses,
            price_fen: card.price_fen,
            valid_to: DateTime::parse_from_rfc3339(v["valid_to"].as_str().unwrap()).unwrap().to_utc(),
            used: [].into(),
            refunded: [].into(),
            forfeited: [].into(),
            back_at_end: card.back_at_end,
            undone: 0,
        };
        self.orders[n].vouchers = vouchers.iter().map(voucher).collect();
        self.note(format!("order {n} has its vouchers"));
        self.expire().await;
    }

    async fn cancel(&mut self) {
        let Some(n) = self.some_order(|o| !o.closed && o.vouchers.is_empty()) else { return };
        let who = Who::Customer(self.orders[n].customer);
        let answer =
            self.post(who, &format!("/api/v1/customer/orders/{}/close", self.orders[n].id), json!({})).await;
        self.note(format!("order {n} is cancelled: {}", brief(&answer)));
        match answer.status {
            200 => self.orders[n].closed = true,
            409 => assert!(answer.code() == "order_paid" && self.orders[n].paid, "{}", answer.body),
            _ => panic!("{} {}", answer.status, answer.body),
        }
    }

    /// One of the vouchers that customers have seen: its order and its place there.
    async fn some_voucher(&mut self) -> Option<(usize, usize)> {
        let n = self.some_order(|o| o.paid)?;
        self.look(n).await;
        let count = self.orders[n].vouchers.len();
        (count > 0).then(|| (n, self.pick(count)))
    }

    async fn redeem(&mut self) {
        let Some((n, v)) = self.some_voucher().await else { return };
        let verifier = self.pick(MANAGER + 1);
        let voucher = &self.orders[n].vouchers[v];
        let (id, uses) = (voucher.id.clone(), voucher.uses);
        let quantity = self.dice.random_range(1..=uses.min(4));
        let who = Who::Customer(self.orders[n].customer);
        let shown = self.get(who, &format!("/api/v1/customer/vouchers/{id}")).await;
        let input = if self.dice.random_bool(0.5) {
            json!({"qr": shown["qr"]})
        } else {
            json!({"code": shown["code_display"]})
        };
        let body = json!({"store_id": self.store, "input": input});
        let prepare = "/api/v1/staff/redemptions/prepare";
        let prepared = self.post(Who::Staff(verifier), prepare, body).await;
        let answer = if prepared.status == 200 {
            let body = json!({
                "store_id": self.store, "prepare_token": prepared.body["prepare_token"], "acknowledge": ["just_redeemed"],
                "items": [{"voucher_id": id, "quantity": quantity}],
            });
            self.post(Who::Staff(verifier), "/api/v1/staff/redemptions", body).await
        } else {
            prepared
        };
        self.note(format!("{quantity} uses of voucher {n}/{v}: {}", brief(&answer)));
        let now = self.now();
        let voucher = &mut self.orders[n].vouchers[v];
        if let Some(codes) = voucher.refusal(quantity, now) {
            assert!(codes.contains(&answer.code()), "not {codes:?}: {} {}", answer.status, answer.body);
            return;
        }
        let body = answer.expect(201);
        let serials = voucher.lowest(quantity).unwrap();
        assert_eq!(body["results"][0]["serials"], json!(serials));
        voucher.used.extend(&serials);
        let redemption =
            Redemption { id: text(&body["id"]), of: (n, v), serials, verifier, at: now, undone: false };
        self.redemptions.push(redemption);
    }

    async fn undo(&mut self) {
        if self.redemptions.is_empty() {
            return;
        }
        // Mostly the last one: it is the one that can still be undone.
        let last = self.redemptions.len() - 1;
        let r = if self.dice.random_bool(0.6) { last } else { self.pick(last + 1) };
        let by = if self.dice.random_bool(0.3) { MANAGER } else { self.redemptions[r].verifier };
        let (n, v) = self.redemptions[r].of;
        let undone = self.orders[n].vouchers[v].undone;
        let expected = self.redemptions[r].undo(by == MANAGER, undone, self.now());
        let path = format!("/api/v1/staff/redemptions/{}/reverse", self.redemptions[r].id);
        let answer = self.post(Who::Staff(by), &path, json!({"reason": "扫错了"})).await;
        self.note(format!("redemption {r} is undone by {by}: {}", brief(&answer)));
        match expected {
            Undo::Refused(codes) => {
                return assert!(codes.contains(&answer.code()), "not {codes:?}: {}", answer.body);
            }
            Undo::Either if answer.status == 409 => return,
            Undo::Either | Undo::Succeeds => {}
        }
        let body = answer.expect(200);
        let redemption = &mut self.redemptions[r];
        assert_eq!(body["items"][0]["serials"], json!(redemption.serials));
        redemption.undone = true;
        let voucher = &mut self.orders[n].vouchers[v];
        voucher.undone += 1;
        voucher.used.retain(|s| !redemption.serials.contains(s));
        self.expire().await;
    }

    async fn refund(&mut self) {
        let Some((n, v)) = self.some_voucher().await else { return };
        let order = &self.orders[n];
        let (path, who) =
            (format!("/api/v1/customer/orders/{}/refunds", order.id), Who::Customer(order.customer));
        let one = self.dice.random_bool(0.7);
        let quantity = self.dice.random_range(1..=2);
        let mut body = json!({"reason": "不想要了"});
        // The uses that it must take, by voucher; nothing when it must be refused.
        let order = &self.orders[n];
        let taken: Option<Vec<(usize, Vec<u32>)>> = if one {
            body["items"] = json!([{"voucher_id": order.vouchers[v].id, "quantity": quantity}]);
            order.vouchers[v].highest(quantity).map(|serials| vec![(v, serials)])
        } else {
            let all = order.vouchers.iter().enumerate().filter(|(_, v)| v.left() > 0);
            let all: Vec<_> = all.map(|(i, v)| (i, v.highest(v.left()).unwrap())).collect();
            (!all.is_empty()).then_some(all)
        };
        let answer = self.post(who, &path, body).await;
        self.note(format!("refund of order {n}: {}", brief(&answer)));
        let Some(taken) = taken else {
            assert_eq!(answer.code(), "not_refundable", "{}", answer.body);
            return;
        };
        let body = answer.expect(201);
        let order = &mut self.orders[n];
        let mut amount = 0;
        for (v, serials) in &taken {
            amount += order.vouchers[*v].worth(serials);
            order.vouchers[*v].refunded.extend(serials);
        }
        assert_eq!(body["amount_fen"], amount, "{taken:?}: {body}");
        order.refunded_fen += amount;
    }

    async fn time(&mut self) {
        const MINUTES: [u64; 10] = [1, 1, 1, 1, 3, 3, 3, 16, 7 * 60, 25 * 60];
        let minutes =
            if self.dice.random_ratio(1, 30) { 31 * 24 * 60 } else { MINUTES[self.pick(MINUTES.len())] };
        self.advance(Duration::from_mins(minutes)).await;
    }

    /// WeChat misbehaves, the next few times.
    fn trouble(&mut self) {
        const CALLS: [&str; 5] =
            ["order_create", "order_query", "order_close", "refund_create", "refund_query"];
        const NOTIFICATIONS: [&str; 2] = ["transaction", "refund"];
        let (call, notification) = (CALLS[self.pick(5)], NOTIFICATIONS[self.pick(2)]);
        let (action, kind) = match self.pick(9) {
            0 => (FaultAction::Late { delay_ms: 90_000 }, notification),
            1 => (FaultAction::Duplicate { copies: 5 }, notification),
            2 => (FaultAction::Drop {}, notification),
            3 => (FaultAction::Reorder {}, notification),
            4 => (FaultAction::Tamper {}, notification),
            5 => (FaultAction::ErrorAfterCommit { close: false }, call),
            6 => (FaultAction::ErrorAfterCommit { close: true }, call),
            7 => (FaultAction::Timeout { commit: true, hang_ms: 30 }, call),
            _ => (FaultAction::Timeout { commit: false, hang_ms: 30 }, call),
        };
        let times = self.dice.random_range(1..=6);
        self.note(format!("WeChat: {times} × {action:?} of {kind}"));
        let chance = Some(Chance { percent: 60, seed: self.dice.random() });
        let fault = Fault { chance, ..Fault::new(action).times(times).kind(kind) };
        self.app.sim.set_fault(fault).unwrap();
    }
}

fn brief(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.code())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
