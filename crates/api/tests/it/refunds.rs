//! Refunds of unused uses: exact amounts, once, whatever WeChat does in between.

use hexiao_testkit::{Bought, Client, Shop, TestApp, on_both, wait_until};
use hexiao_wechat_sim::{Fault, FaultAction, NotificationRecord, RefundOutcome, RefundStatus};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{
    anomalies, ask_refund, available, balance, broken, days, key, no_callbacks, order, placed, refund_in,
    seconds, shop_with, text, titles,
};

const MCHID: &str = "1900000001";
const HOUR: std::time::Duration = std::time::Duration::from_hours(1);

/// Some uses of the first voucher.
pub(crate) fn uses(bought: &Bought, quantity: u32) -> Value {
    json!([{"voucher_id": bought.vouchers[0], "quantity": quantity}])
}

/// Asks for a refund; its id.
pub(crate) async fn asked(customer: &Client, bought: &Bought, items: Value) -> String {
    text(&ask_refund(customer, &bought.order, items, &key()).await.expect(201)["id"]).to_owned()
}

/// A card of three uses for one yuan, bought once.
async fn card(app: &TestApp, customer: &Client) -> (Shop, Bought) {
    let shop = app.shop(3, 100, Some(5)).await;
    let bought = app.buy(customer, &shop, 1).await;
    (shop, bought)
}

/// A refund that WeChat has taken and does not end by itself; its number there.
pub(crate) async fn held(
    app: &TestApp,
    owner: &Client,
    customer: &Client,
    bought: &Bought,
    items: Value,
) -> (String, String) {
    app.sim.set_refund_delay(HOUR);
    let id = asked(customer, bought, items).await;
    refund_in(owner, &id, "Processing").await;
    let refunds = app.sim.refunds();
    let open = refunds.into_iter().find(|r| r.status == RefundStatus::Processing).unwrap();
    (id, open.out_refund_no)
}

/// What WeChat has really paid back.
fn paid_back(app: &TestApp) -> i64 {
    app.sim.refunds().iter().filter(|r| r.status == RefundStatus::Success).map(|r| r.amount).sum()
}

async fn books_are_even(owner: &Client) {
    for account in ["customer_liability", "refund_in_transit", "wechat_receivable", "suspense"] {
        assert_eq!(balance(owner, account).await, 0, "{account}");
    }
}

on_both!(all_that_is_unused, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 100, Some(5)).await;
    let bought = app.buy(&customer, &shop, 2).await;
    app.sim.set_refund_delay(HOUR);
    let asked = ask_refund(&customer, &bought.order, Value::Null, &key()).await.expect(201);
    assert_eq!((&asked["amount_fen"], &asked["cause"]), (&json!(200), &json!("customer")));
    assert_eq!(asked["items"].as_array().unwrap().len(), 2);
    let id = text(&asked["id"]);
    refund_in(&owner, id, "Processing").await;
    let pending = order(&customer, &bought.order).await;
    assert_eq!((&pending["tab"], &pending["units"]["locked_refund"]), (&json!("after_sale"), &json!(6)));
    assert_eq!(balance(&owner, "refund_in_transit").await, -200);
    let verifier = app.verifier(&[shop.store]).await;
    let voucher = app.voucher(&customer, &bought.vouchers[0]).await;
    assert_eq!(voucher["state"], "refunding");
    let prepared = verifier.prepare(shop.store, &voucher["qr"]).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["refusals"][0]["code"], "refund_pending");
    app.sim.settle_refund(&app.sim.refunds()[0].out_refund_no, RefundOutcome::Success).unwrap();
    refund_in(&owner, id, "Succeeded").await;
    let done = order(&customer, &bought.order).await;
    assert_eq!((&done["tab"], &done["refunded"]), (&json!("refunded"), &json!("full")));
    assert_eq!((&done["state"], &done["state_text"]), (&json!("Paid"), &json!("已退款")));
    let prepared = verifier.prepare(shop.store, &voucher["qr"]).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["refusals"][0]["code"], "refunded");
    assert_eq!(available(&owner).await, 5);
    books_are_even(&owner).await;
    let mine = customer.get(&format!("/api/v1/customer/refunds/{id}")).await.expect(200);
    assert_eq!((&mine["state"], &mine["state_text"]), (&json!("Succeeded"), &json!("已退款")));
    let stranger = app.customer("小李").await;
    refused(&stranger.get(&format!("/api/v1/customer/refunds/{id}")).await, 404, "not_found", "");
    app.verify().await;
});

on_both!(parts_have_exact_amounts_and_keep_a_minute_apart, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (_, bought) = card(&app, &customer).await;
    let mut ids = Vec::new();
    for (amount, serial) in [(34, 3), (33, 2), (33, 1)] {
        let asked = ask_refund(&customer, &bought.order, uses(&bought, 1), &key()).await.expect(201);
        assert_eq!((&asked["amount_fen"], &asked["items"][0]["serials"]), (&json!(amount), &json!([serial])));
        ids.push(text(&asked["id"]).to_owned());
    }
    refund_in(&owner, &ids[0], "Succeeded").await;
    for (n, id) in ids.iter().enumerate().skip(1) {
        // Which of the waiting ones goes next is open; that only one goes is not.
        assert_eq!(app.sim.refunds().len(), n, "{id} waits for its minute");
        assert_eq!(available(&owner).await, 4, "a part gives no unit back");
        app.advance(seconds(61));
        wait_until("one more is refunded", async || {
            order(&customer, &bought.order).await["units"]["refunded"] == n + 1
        })
        .await;
    }
    assert_eq!(paid_back(&app), 100);
    assert_eq!(available(&owner).await, 5, "a voucher that was never used is a unit");
    books_are_even(&owner).await;
    app.verify().await;
});

on_both!(units_return_to_the_stock_only_whole_and_where_the_sku_says_so, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (shop, used) = card(&app, &customer).await;
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, &used.vouchers[0], 1).await.expect(201);
    let rest = ask_refund(&customer, &used.order, Value::Null, &key()).await.expect(201);
    assert_eq!(rest["amount_fen"], 67);
    refund_in(&owner, text(&rest["id"]), "Succeeded").await;
    assert_eq!(available(&owner).await, 4);
    let done = order(&customer, &used.order).await;
    assert_eq!((&done["tab"], &done["refunded"]), (&json!("redeemed"), &json!("partial")));
    let kept = app
        .shop_in(shop.store, json!({"name": "生鲜", "price_fen": 100, "stock": 9, "return_on_refund": false}))
        .await;
    let bought = app.buy(&customer, &kept, 1).await;
    refund_in(&owner, &asked(&customer, &bought, Value::Null).await, "Succeeded").await;
    let stock = owner.get("/api/v1/merchant/stock").await.expect(200);
    let mut left: Vec<i64> =
        crate::steps::items(&stock).iter().map(|r| r["available"].as_i64().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, [4, 8]);
    app.verify().await;
});

on_both!(the_rule_of_the_purchase_decides, |app| async {
    let customer = app.customer("小王").await;
    let terms = |refund: &str| json!({"refund": refund, "validity": {"days": 1}});
    let never = shop_with(&app, terms("none")).await;
    let early = shop_with(&app, terms("before_expiry")).await;
    let always = shop_with(&app, terms("any_time")).await;
    let never = app.buy(&customer, &never, 1).await;
    let before = app.buy(&customer, &early, 1).await;
    let after = app.buy(&customer, &early, 1).await;
    let always = app.buy(&customer, &always, 1).await;
    let refusal = ask_refund(&customer, &never.order, uses(&never, 1), &key()).await;
    refused(&refusal, 409, "not_refundable", "");
    assert_eq!(refusal.body["error"]["message"], "该商品购买时已注明不可退款");
    refused(&ask_refund(&customer, &never.order, Value::Null, &key()).await, 409, "not_refundable", "");
    refund_in(&app.owner().await, &asked(&customer, &before, Value::Null).await, "Succeeded").await;
    app.advance(days(3));
    let customer = app.customer("小王").await;
    let refusal = ask_refund(&customer, &after.order, uses(&after, 1), &key()).await;
    refused(&refusal, 409, "not_refundable", "");
    assert_eq!(refusal.body["error"]["message"], "该券已过期，按购买时的规则不可退款");
    // What can be had back at any time goes back by itself.
    wait_until("the third is paid back", async || paid_back(&app) == 200).await;
    let unused = order(&customer, &always.order).await;
    assert_eq!(unused["refunds"][0]["amount_fen"], 100);
    app.verify().await;
});

on_both!(only_what_is_left_of_ones_own, |app| async {
    let (customer, stranger) = (app.customer("小王").await, app.customer("小李").await);
    let (shop, bought) = card(&app, &customer).await;
    let other = app.buy(&customer, &shop, 1).await;
    let ask = async |items: Value| ask_refund(&customer, &bought.order, items, &key()).await;
    let more = ask(uses(&bought, 4)).await;
    refused(&more, 409, "not_refundable", "");
    assert!(text(&more.body["error"]["message"]).contains("可退 3 次"), "{}", more.body);
    refused(&ask(uses(&bought, 0)).await, 400, "invalid_field", "items[0]");
    refused(&ask(json!([])).await, 400, "invalid_field", "items");
    refused(&ask(uses(&other, 1)).await, 400, "invalid_field", "items[0].voucher_id");
    let twice = json!([uses(&bought, 1)[0], uses(&bought, 1)[0]]);
    refused(&ask(twice).await, 400, "invalid_field", "items[1]");
    refused(&ask_refund(&stranger, &bought.order, Value::Null, &key()).await, 404, "not_found", "");
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 3).await.expect(201);
    refused(&ask(Value::Null).await, 409, "not_refundable", "");
    let unpaid = placed(&app, &customer, &shop, 1).await;
    refused(&ask_refund(&customer, &unpaid, Value::Null, &key()).await, 409, "not_refundable", "");
    assert!(app.sim.refunds().is_empty());
    app.verify().await;
});

on_both!(the_same_request_is_one_refund, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (_, bought) = card(&app, &customer).await;
    let key = key();
    let first = ask_refund(&customer, &bought.order, uses(&bought, 1), &key).await.expect(201);
    let again = ask_refund(&customer, &bought.order, uses(&bought, 1), &key).await.expect(200);
    assert_eq!((&again["id"], &again["items"]), (&first["id"], &first["items"]));
    let other = ask_refund(&customer, &bought.order, uses(&bought, 2), &key).await;
    refused(&other, 422, "idempotency_conflict", "");
    refund_in(&owner, text(&first["id"]), "Succeeded").await;
    let done = ask_refund(&customer, &bought.order, uses(&bought, 1), &key).await.expect(200);
    assert_eq!(done["state"], "Succeeded");
    assert_eq!(paid_back(&app), 34);
    app.verify().await;
});

on_both!(a_lost_callback_is_made_up_for_by_asking, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    no_callbacks(&app, "refund");
    let (_, bought) = card(&app, &customer).await;
    let id = asked(&customer, &bought, Value::Null).await;
    refund_in(&owner, &id, "Processing").await;
    app.advance(seconds(3));
    refund_in(&owner, &id, "Succeeded").await;
    app.sim.clear_faults();
    let lost = app.sim.notifications().into_iter().find(|n| n.out_refund_no.is_some()).unwrap();
    assert!(app.sim.resend(&lost.id).await.unwrap().accepted());
    books_are_even(&owner).await;
    app.verify().await;
});

on_both!(callbacks_are_late_doubled_and_forged_refunds_refused, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    broken(&app, "refund_query");
    app.sim.set_fault(Fault::new(FaultAction::Duplicate { copies: 20 }).kind("refund")).unwrap();
    app.sim.set_fault(Fault::new(FaultAction::ProbeFirst {}).kind("refund")).unwrap();
    app.sim.set_fault(Fault::new(FaultAction::Tamper {}).kind("refund")).unwrap();
    let (_, bought) = card(&app, &customer).await;
    let id = asked(&customer, &bought, Value::Null).await;
    refund_in(&owner, &id, "Succeeded").await;
    let news = app.sim.notifications().into_iter().find(|n| n.out_refund_no.is_some()).unwrap();
    for attempt in &news.attempts {
        let expected = if attempt.note == "scheduled" { 200 } else { 401 };
        assert_eq!(attempt.delivery.http_status, Some(expected), "{attempt:?}");
    }
    assert_eq!(available(&owner).await, 5);
    books_are_even(&owner).await;
    app.verify().await;
});

on_both!(a_callback_may_come_before_the_answer, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (_, bought) = card(&app, &customer).await;
    let slow = FaultAction::Timeout { commit: true, hang_ms: 20_000 };
    app.sim.set_fault(Fault::new(slow).kind("refund_create")).unwrap();
    let started = std::time::Instant::now();
    let id = asked(&customer, &bought, Value::Null).await;
    refund_in(&owner, &id, "Succeeded").await;
    assert!(started.elapsed() < seconds(20), "by the callback, not by the answer");
    assert_eq!((app.sim.refunds().len(), paid_back(&app)), (1, 100));
    books_are_even(&owner).await;
    app.verify().await;
});

on_both!(an_unknown_outcome_is_asked_about_and_repeated_with_the_same_number, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 100, Some(5)).await;
    no_callbacks(&app, "refund");
    let mut asked_for = Vec::new();
    for action in [
        FaultAction::ErrorAfterCommit { close: false },
        FaultAction::ErrorAfterCommit { close: true },
        FaultAction::Timeout { commit: true, hang_ms: 20 },
        FaultAction::Timeout { commit: false, hang_ms: 20 },
    ] {
        let bought = app.buy(&customer, &shop, 1).await;
        let fault = Fault::new(action.clone()).kind("refund_create").order(&bought.out_trade_no);
        app.sim.set_fault(fault).unwrap();
        asked_for.push((action, asked(&customer, &bought, Value::Null).await, bought.out_trade_no));
    }
    for (action, id, number) in asked_for {
        assert_eq!(refund_in(&owner, &id, "Succeeded").await["attempt"], 1, "{action:?}");
        let theirs = app.sim.refunds().into_iter().filter(|r| r.out_trade_no == number).count();
        assert_eq!(theirs, 1, "{action:?}");
    }
    assert_eq!(paid_back(&app), 400);
    books_are_even(&owner).await;
    app.verify().await;
});

on_both!(a_short_balance_blocks_until_somebody_tries_again, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (shop, first) = card(&app, &customer).await;
    let second = app.buy(&customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    app.sim.set_balance(MCHID, 0).unwrap();
    let id = asked(&customer, &first, Value::Null).await;
    let blocked = refund_in(&owner, &id, "Blocked").await;
    assert_eq!(
        (&blocked["blocked_reason"], &blocked["state_text"]),
        (&json!("not_enough"), &json!("等待商家处理"))
    );
    assert_ne!(blocked["error"], Value::Null);
    assert!(app.sim.refunds().is_empty());
    wait_until("the customer is told", async || {
        titles(&customer).await.contains(&"退款需要商家处理".to_owned())
    })
    .await;
    let retry = format!("/api/v1/merchant/refunds/{id}/retry");
    refused(&verifier.post(&retry, json!({})).await, 403, "forbidden", "");
    refused(&app.other_owner().await.post(&retry, json!({})).await, 404, "not_found", "");
    app.sim.set_balance(MCHID, 1000).unwrap();
    owner.post(&retry, json!({})).await.expect(200);
    app.advance(seconds(61));
    let done = refund_in(&owner, &id, "Succeeded").await;
    assert_eq!((&done["attempt"], &done["blocked_reason"]), (&json!(1), &Value::Null));
    refused(&owner.post(&retry, json!({})).await, 409, "refund_not_retryable", "");
    // The other one goes on by itself when there is money again.
    app.sim.set_balance(MCHID, 0).unwrap();
    let id = asked(&customer, &second, Value::Null).await;
    refund_in(&owner, &id, "Blocked").await;
    app.sim.set_balance(MCHID, None).unwrap();
    app.advance(seconds(605));
    assert_eq!(refund_in(&owner, &id, "Succeeded").await["attempt"], 1);
    assert_eq!((app.sim.refunds().len(), paid_back(&app)), (2, 200));
    books_are_even(&owner).await;
    app.verify().await;
});

on_both!(a_closed_number_is_followed_by_a_new_one_and_paid_once, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (_, bought) = card(&app, &customer).await;
    let (id, number) = held(&app, &owner, &customer, &bought, Value::Null).await;
    app.sim.settle_refund(&number, RefundOutcome::Closed).unwrap();
    refund_in(&owner, &id, "Closed").await;
    assert_eq!(app.sim.refunds().len(), 1);
    app.advance(seconds(61));
    wait_until("a new number is sent", async || app.sim.refunds().len() == 2).await;
    let second = app.sim.refunds().into_iter().find(|r| r.out_refund_no != number).unwrap();
    refund_in(&owner, &id, "Processing").await;
    // Old news of the first number changes nothing.
    let old = app.sim.notifications().into_iter().find(|n| n.out_refund_no.is_some()).unwrap();
    assert!(app.sim.resend(&old.id).await.unwrap().accepted());
    app.sim.settle_refund(&second.out_refund_no, RefundOutcome::Success).unwrap();
    let done = refund_in(&owner, &id, "Succeeded").await;
    assert_eq!(done["attempt"], 2);
    assert!(app.sim.resend(&old.id).await.unwrap().accepted());
    refund_in(&owner, &id, "Succeeded").await;
    assert_eq!(paid_back(&app), 100);
    assert!(anomalies(&owner).await.is_empty());
    books_are_even(&owner).await;
    app.verify().await;
});

on_both!(a_notification_of_another_amount_is_an_anomaly, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    broken(&app, "refund_query");
    let (_, bought) = card(&app, &customer).await;
    let (id, number) = held(&app, &owner, &customer, &bought, Value::Null).await;
    crate::steps::damage_refund(&app, "amount_fen = 99", &id).await;
    app.sim.settle_refund(&number, RefundOutcome::Success).unwrap();
    wait_until("the anomaly is recorded", async || !anomalies(&owner).await.is_empty()).await;
    let found = anomalies(&owner).await;
    assert_eq!((found.len(), &found[0]["kind"]), (1, &json!("refund_mismatch")));
    assert_eq!(found[0]["number"], number);
    refund_in(&owner, &id, "Processing").await;
    assert_eq!(balance(&owner, "refund_in_transit").await, -100);
    crate::steps::damage_refund(&app, "amount_fen = 100", &id).await;
    let news = app.sim.notifications().into_iter().find(|n| n.out_refund_no.is_some()).unwrap();
    assert!(app.sim.resend(&news.id).await.unwrap().accepted());
    refund_in(&owner, &id, "Succeeded").await;
    app.verify().await;
});

on_both!(the_rest_is_redeemed_while_a_part_is_refunded, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (shop, bought) = card(&app, &customer).await;
    let verifier = app.verifier(&[shop.store]).await;
    let voucher = &bought.vouchers[0];
    let (id, number) = held(&app, &owner, &customer, &bought, uses(&bought, 1)).await;
    let all = verifier.redeem(&app, &customer, shop.store, voucher, 3).await;
    refused(&all, 409, "not_enough_uses", "");
    let done = verifier.redeem(&app, &customer, shop.store, voucher, 2).await.expect(201);
    assert_eq!(done["results"][0]["serials"], json!([1, 2]));
    let one_more = verifier.redeem(&app, &customer, shop.store, voucher, 1).await;
    refused(&one_more, 409, "refund_pending", "");
    app.sim.settle_refund(&number, RefundOutcome::Success).unwrap();
    refund_in(&owner, &id, "Succeeded").await;
    let after = order(&customer, &bought.order).await;
    assert_eq!((&after["tab"], &after["fulfilment"]), (&json!("redeemed"), &json!("completed")));
    assert_eq!(available(&owner).await, 4);
    assert_eq!(balance(&owner, "merchant_pending").await, -66);
    assert_eq!(balance(&owner, "customer_liability").await, 0);
    app.verify().await;
});

mod abnormal {
    use super::*;

    /// A refund that could not reach its card.
    async fn stranded(app: &TestApp, owner: &Client, customer: &Client) -> (String, String) {
        let (_, bought) = card(app, customer).await;
        let (id, number) = held(app, owner, customer, &bought, Value::Null).await;
        app.sim.settle_refund(&number, RefundOutcome::Abnormal).unwrap();
        refund_in(owner, &id, "Abnormal").await;
        (id, number)
    }

    fn path(id: &str, action: &str) -> String {
        format!("/api/v1/merchant/refunds/{id}/{action}")
    }

    fn card_of(bank: &str) -> Value {
        json!({"card": {"bank_type": bank, "bank_account": "6222020200112233445", "real_name": "王小明"}})
    }

    fn one_yuan_back(app: &TestApp) {
        assert_eq!((app.sim.refunds().len(), paid_back(app)), (1, 100));
    }

    on_both!(goes_to_the_merchants_account_and_from_there_by_hand, |app| async {
        let (owner, customer) = (app.owner().await, app.customer("小王").await);
        let (id, number) = stranded(&app, &owner, &customer).await;
        refused(&owner.post(&path(&id, "retry"), json!({})).await, 409, "refund_not_retryable", "");
        let again = owner.post(&path(&id, "redirect"), json!({})).await.expect(200);
        assert_eq!(again["state"], "Processing");
        refused(&owner.post(&path(&id, "redirect"), json!({})).await, 409, "refund_not_retryable", "");
        app.sim.settle_refund(&number, RefundOutcome::Success).unwrap();
        let waiting = refund_in(&owner, &id, "Abnormal").await;
        assert!(text(&waiting["error"]).contains("商户账户"), "{waiting}");
        // The merchant has the money: WeChat cannot send it to a card too, and its success is not the customer's.
        let too_late = owner.post(&path(&id, "redirect"), card_of("ICBC_DEBIT")).await;
        let success = |n: &NotificationRecord| n.event_type == "REFUND.SUCCESS";
        let news = app.sim.notifications().into_iter().find(success).unwrap();
        assert!(app.sim.resend(&news.id).await.unwrap().accepted());
        refund_in(&owner, &id, "Abnormal").await;
        refused(&too_late, 409, "refund_not_retryable", "");
        owner.post(&path(&id, "finish"), json!({"evidence": "微信转账单 1"})).await.expect(200);
        assert!(app.sim.resend(&news.id).await.unwrap().accepted());
        refund_in(&owner, &id, "ManuallyDone").await;
        assert!(anomalies(&owner).await.is_empty());
        one_yuan_back(&app);
        assert_eq!(balance(&owner, "refund_in_transit").await, 0);
        assert_eq!(balance(&owner, "customer_liability").await, 0);
        app.verify().await;
    });

    on_both!(goes_to_another_card, |app| async {
        let (owner, customer) = (app.owner().await, app.customer("小王").await);
        let (id, number) = stranded(&app, &owner, &customer).await;
        let wrong = owner.post(&path(&id, "redirect"), card_of("工商银行")).await;
        refused(&wrong, 400, "invalid_field", "card.bank_type");
        let again = owner.post(&path(&id, "redirect"), card_of("ICBC_DEBIT")).await.expect(200);
        assert_eq!(again["state"], "Processing");
        app.sim.settle_refund(&number, RefundOutcome::Success).unwrap();
        refund_in(&owner, &id, "Succeeded").await;
        one_yuan_back(&app);
        app.verify().await;
    });

    on_both!(is_asked_about_when_the_answer_is_lost, |app| async {
        let (owner, customer) = (app.owner().await, app.customer("小王").await);
        let (id, number) = stranded(&app, &owner, &customer).await;
        let not_done = FaultAction::Timeout { commit: false, hang_ms: 20 };
        app.sim.set_fault(Fault::new(not_done).kind("refund_abnormal")).unwrap();
        let lost = owner.post(&path(&id, "redirect"), card_of("ICBC_DEBIT")).await;
        refused(&lost, 503, "wechat_unavailable", "");
        refund_in(&owner, &id, "AbnormalSubmitted").await;
        app.advance(seconds(91));
        refund_in(&owner, &id, "Abnormal").await;
        let done = FaultAction::ErrorAfterCommit { close: true };
        app.sim.set_fault(Fault::new(done).kind("refund_abnormal")).unwrap();
        let lost = owner.post(&path(&id, "redirect"), card_of("ICBC_DEBIT")).await;
        refused(&lost, 503, "wechat_unavailable", "");
        app.advance(seconds(91));
        refund_in(&owner, &id, "Processing").await;
        app.sim.settle_refund(&number, RefundOutcome::Success).unwrap();
        refund_in(&owner, &id, "Succeeded").await;
        one_yuan_back(&app);
        books_are_even(&owner).await;
        app.verify().await;
    });

    on_both!(is_paid_by_hand_with_evidence, |app| async {
        let (owner, customer) = (app.owner().await, app.customer("小王").await);
        let (id, _) = stranded(&app, &owner, &customer).await;
        let finish = path(&id, "finish");
        refused(&owner.post(&finish, json!({"evidence": "x"})).await, 400, "invalid_field", "evidence");
        refused(
            &app.other_owner().await.post(&finish, json!({"evidence": "银行回单"})).await,
            404,
            "not_found",
            "",
        );
        let done = owner.post(&finish, json!({"evidence": "银行回单 20261123-1"})).await.expect(200);
        assert_eq!((&done["state"], &done["state_text"]), (&json!("ManuallyDone"), &json!("已线下退款")));
        refused(&owner.post(&finish, json!({"evidence": "银行回单"})).await, 409, "refund_not_retryable", "");
        assert_eq!(balance(&owner, "payable").await, -100);
        assert_eq!(balance(&owner, "refund_in_transit").await, 0);
        assert_eq!(balance(&owner, "customer_liability").await, 0);
        assert_eq!(available(&owner).await, 5);
        assert_eq!(paid_back(&app), 0);
        wait_until("the customer is told", async || {
            titles(&customer).await.last().is_some_and(|t| t == "退款已完成")
        })
        .await;
        app.verify().await;
    });
}
