//! What nobody used in time: refunded by itself or forfeited, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use hexiao_app::expiry::ROUND;
use hexiao_core::time::Timestamp;
use hexiao_db::{DbError, sql, transact};
use hexiao_testkit::{Bought, Client, Shop, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{
    ask_refund, available, balance, broken, days, items, key, order, owner_again, seconds, shop_with,
    staff_again, text, titles,
};

/// How long until so many seconds before a voucher's time is over.
pub(crate) async fn time_to(app: &TestApp, customer: &Client, voucher: &str, before: u64) -> Duration {
    let shown = app.voucher(customer, voucher).await;
    let valid_to: Timestamp = serde_json::from_value(shown["valid_to"].clone()).unwrap();
    valid_to.since(app.app.now()).to_std().unwrap().checked_sub(seconds(before)).unwrap()
}

async fn count(app: &TestApp, from: &str) -> i64 {
    let text = format!("SELECT COUNT(*) AS n FROM {from}");
    sql::row(app.app.db.reader(), &text, vec![]).await.unwrap().unwrap().get("n").unwrap()
}

/// A shop with cards of 3 uses for 100 fen that are valid to the end of tomorrow.
async fn short(app: &TestApp, mut terms: Value) -> Shop {
    terms["validity"] = json!({"days": 1});
    shop_with(app, terms).await
}

async fn vouchers_in(customer: &Client, state: &str) -> BTreeSet<String> {
    let list = customer.get(&format!("/api/v1/customer/vouchers?limit=100&state={state}")).await.expect(200);
    items(&list).iter().map(|v| text(&v["id"]).to_owned()).collect()
}

on_both!(unused_uses_of_an_order_go_back_as_one_refund, |app| async {
    let customer = app.customer("小王").await;
    let shop = short(&app, json!({"stock": 10})).await;
    let bought = app.buy(&customer, &shop, 3).await;
    let verifier = app.verifier(&[shop.store]).await;
    let redeem = async |voucher: &str, uses: u32| {
        verifier.redeem(&app, &customer, shop.store, voucher, uses).await.expect(201)
    };
    redeem(&bought.vouchers[0], 1).await;
    redeem(&bought.vouchers[1], 3).await;
    app.advance(days(3));
    let (owner, customer) = (owner_again(&app).await, app.customer("小王").await);
    wait_until("the money is back", async || {
        order(&customer, &bought.order).await["refunds"][0]["state"] == "Succeeded"
    })
    .await;
    let after = order(&customer, &bought.order).await;
    let refunds = after["refunds"].as_array().unwrap();
    assert_eq!((refunds.len(), &refunds[0]["amount_fen"]), (1, &json!(67 + 100)), "{after}");
    let all = owner.get("/api/v1/merchant/refunds").await.expect(200);
    assert_eq!(items(&all)[0]["cause"], "expiry");
    let states: Vec<&Value> = after["vouchers"].as_array().unwrap().iter().map(|v| &v["state"]).collect();
    assert_eq!(states, ["used", "used", "refunded"]);
    assert_eq!(after["fulfilment"], "completed");
    assert_eq!(balance(&owner, "customer_liability").await, 0);
    assert_eq!(available(&owner).await, 10 - 2, "a card that was never used is sold again");
    let messages = ["支付成功", "核销成功", "核销成功", "券已过期", "退款成功"];
    wait_until("all messages", async || titles(&customer).await.len() >= messages.len()).await;
    assert_eq!(titles(&customer).await, messages);
    let list = customer.get("/api/v1/customer/messages").await.expect(200);
    let body = text(&items(&list)[1]["body"]);
    assert_eq!(body, "「双人套餐」5 次已过期，1.67 元 将原路退回。");
    assert_eq!(count(&app, "vouchers WHERE state = 'Expired' AND expire_again_at IS NULL").await, 3);
    app.verify().await;
});

on_both!(what_the_rule_says_is_lost_is_the_merchants, |app| async {
    let customer = app.customer("小王").await;
    let shop = short(&app, json!({"refund": "before_expiry"})).await;
    let bought = app.buy(&customer, &shop, 2).await;
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    app.advance(days(3));
    let (owner, customer) = (owner_again(&app).await, app.customer("小王").await);
    wait_until("it is forfeited", async || balance(&owner, "breakage").await == -(67 + 100)).await;
    assert_eq!(balance(&owner, "customer_liability").await, 0);
    let after = order(&customer, &bought.order).await;
    assert_eq!((&after["units"]["forfeited"], &after["units"]["open"]), (&json!(5), &json!(0)), "{after}");
    assert_eq!(after["refunds"], json!([]));
    let expired: BTreeSet<String> = bought.vouchers.iter().cloned().collect();
    assert_eq!(vouchers_in(&customer, "expired").await, expired);
    assert_eq!(vouchers_in(&customer, "used").await, BTreeSet::new());
    let shown = app.voucher(&customer, &bought.vouchers[0]).await;
    assert_eq!(
        (&shown["state"], &shown["used"], &shown["forfeited"], &shown["remaining"]),
        (&json!("expired"), &json!(1), &json!(2), &json!(0))
    );
    refused(&ask_refund(&customer, &bought.order, Value::Null, &key()).await, 409, "not_refundable", "");
    let prepared = staff_again(&app, 0).await.prepare(shop.store, &shown["qr"]).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["refusals"][0]["code"], "expired", "{prepared}");
    wait_until("the message", async || titles(&customer).await.last().is_some_and(|t| t == "券已过期")).await;
    let seen = owner.get(&format!("/api/v1/merchant/orders/{}", bought.order)).await.expect(200);
    let expire = seen["events"].as_array().unwrap().iter().find(|e| e["event"] == "expire").unwrap().clone();
    assert_eq!((&expire["actor"], &expire["note"]), (&json!("system"), &json!("1.67 元")));
    app.verify().await;
});

on_both!(a_rule_may_say_what_expires, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = short(&app, json!({"refund": "none", "on_expiry": "refund"})).await;
    let product = owner.get(&format!("/api/v1/merchant/products/{}", shop.product)).await.expect(200);
    let rule = &product["skus"][0]["rule"];
    assert_eq!((&rule["on_expiry"], &rule["texts"][2]), (&json!("refund"), &json!("过期自动退")), "{rule}");
    let bought = app.buy(&customer, &shop, 1).await;
    refused(&ask_refund(&customer, &bought.order, Value::Null, &key()).await, 409, "not_refundable", "");
    let path = format!("/api/v1/merchant/skus/{}", shop.sku);
    let bad = json!({"refund": "any_time", "on_expiry": "forfeit"});
    refused(&owner.patch(&path, bad).await, 400, "invalid_field", "on_expiry");
    owner.patch(&path, json!({"on_expiry": null})).await.expect(200);
    let product = owner.get(&format!("/api/v1/merchant/products/{}", shop.product)).await.expect(200);
    assert_eq!(product["skus"][0]["rule"]["on_expiry"], "forfeit", "what the refund policy suggests");
    // What was sold keeps the rule that it was sold with.
    app.advance(days(3));
    let customer = app.customer("小王").await;
    wait_until("the money is back", async || {
        order(&customer, &bought.order).await["refunds"][0]["state"] == "Succeeded"
    })
    .await;
    app.verify().await;
});

on_both!(the_last_second_of_the_last_day_is_valid, |app| async {
    let customer = app.customer("小王").await;
    let shop = short(&app, json!({"refund": "before_expiry"})).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let left = time_to(&app, &customer, &bought.vouchers[0], 0).await;
    let nearly = time_to(&app, &customer, &bought.vouchers[0], 30).await;
    let shown = app.voucher(&customer, &bought.vouchers[0]).await;
    assert!(text(&shown["valid_to"]).ends_with("T00:00:00+08:00"), "midnight in Shanghai: {shown}");
    let before = app.ahead(nearly).await;
    assert_eq!(before.expire_vouchers().await.unwrap(), 0);
    let after = app.ahead(left).await;
    assert_eq!(after.expire_vouchers().await.unwrap(), 1);
    assert_eq!(after.expire_vouchers().await.unwrap(), 0);
    // Here the clock is behind: it stays expired.
    assert_eq!(app.app.expire_vouchers().await.unwrap(), 0);
    let verifier = app.verifier(&[shop.store]).await;
    let prepared = verifier.prepare(shop.store, &shown["qr"]).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["refusals"][0]["code"], "expired", "{prepared}");
    app.verify().await;
});

/// A voucher of which one use was redeemed an hour before the end, and its redemption.
async fn late_redemption(app: &TestApp, terms: Value) -> (Shop, Bought, String) {
    let customer = app.customer("小王").await;
    let shop = short(app, terms).await;
    let bought = app.buy(&customer, &shop, 1).await;
    app.verifier(&[shop.store]).await;
    app.manager(&[shop.store]).await;
    app.advance(time_to(app, &customer, &bought.vouchers[0], 3600).await);
    let (verifier, customer) = (staff_again(app, 0).await, app.customer("小王").await);
    let done = verifier.redeem(app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    (shop, bought, text(&done["id"]).to_owned())
}

/// Two hours later, an hour past the end, the manager undoes it.
async fn undone_too_late(app: &TestApp, redemption: &str, settled: i64) -> Client {
    app.advance(seconds(2 * 3600));
    wait_until("it is expired", async || {
        count(app, &format!("vouchers WHERE state = 'Expired' AND refunded + forfeited = {settled}")).await
            == 1
    })
    .await;
    let path = format!("/api/v1/staff/redemptions/{redemption}/reverse");
    staff_again(app, 1).await.post_key(&path, &key(), json!({"reason": "扫错了"})).await.expect(200);
    app.customer("小王").await
}

on_both!(a_use_that_is_undone_past_the_end_goes_back_too, |app| async {
    let (_, bought, redemption) = late_redemption(&app, json!({})).await;
    let customer = undone_too_late(&app, &redemption, 2).await;
    // WeChat takes the second refund of a payment a minute after the first.
    app.advance(seconds(61));
    wait_until("all the money is back", async || {
        let refunds = order(&customer, &bought.order).await["refunds"].clone();
        let back = refunds.as_array().unwrap().iter().filter(|r| r["state"] == "Succeeded");
        back.map(|r| r["amount_fen"].as_i64().unwrap()).sum::<i64>() == 100
    })
    .await;
    let shown = app.voucher(&customer, &bought.vouchers[0]).await;
    assert_eq!((&shown["state"], &shown["refunded"]), (&json!("refunded"), &json!(3)));
    let list = customer.get("/api/v1/customer/messages").await.expect(200);
    let undone = items(&list).iter().find(|m| m["title"] == "核销已撤销").unwrap();
    assert!(text(&undone["body"]).contains("券已过期"), "{undone}");
    app.verify().await;
});

on_both!(a_use_that_is_undone_past_the_end_can_not_be_used, |app| async {
    let (shop, bought, redemption) = late_redemption(&app, json!({"refund": "none"})).await;
    let customer = undone_too_late(&app, &redemption, 2).await;
    let shown = app.voucher(&customer, &bought.vouchers[0]).await;
    let verifier = staff_again(&app, 0).await;
    let prepared = verifier.prepare(shop.store, &shown["qr"]).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["refusals"][0]["code"], "expired", "{prepared}");
    let owner = owner_again(&app).await;
    wait_until("it is forfeited", async || balance(&owner, "breakage").await == -100).await;
    assert_eq!(count(&app, "voucher_locks WHERE kind = 'expiry'").await, 2);
    app.verify().await;
});

on_both!(what_a_refund_keeps_does_not_expire, |app| async {
    let customer = app.customer("小王").await;
    let shop = short(&app, json!({"refund": "before_expiry"})).await;
    let bought = app.buy(&customer, &shop, 1).await;
    broken(&app, "refund_create");
    let one = json!([{"voucher_id": bought.vouchers[0], "quantity": 1}]);
    ask_refund(&customer, &bought.order, one, &key()).await.expect(201);
    let later = app.ahead(days(3)).await;
    assert_eq!(later.expire_vouchers().await.unwrap(), 1);
    let shown = app.voucher(&customer, &bought.vouchers[0]).await;
    assert_eq!(
        (&shown["state"], &shown["locked"], &shown["forfeited"]),
        (&json!("refunding"), &json!(1), &json!(2))
    );
    app.sim.clear_faults();
    app.advance(seconds(3600));
    let customer = app.customer("小王").await;
    wait_until("the money is back", async || {
        order(&customer, &bought.order).await["refunds"][0]["state"] == "Succeeded"
    })
    .await;
    app.verify().await;
});

on_both!(uses_that_come_free_after_the_end_are_settled, |app| async {
    let customer = app.customer("小王").await;
    let shop = short(&app, json!({"refund": "before_expiry"})).await;
    let bought = app.buy(&customer, &shop, 1).await;
    broken(&app, "refund_create");
    let one = json!([{"voucher_id": bought.vouchers[0], "quantity": 1}]);
    ask_refund(&customer, &bought.order, one, &key()).await.expect(201);
    let later = app.ahead(days(3)).await;
    assert_eq!(later.expire_vouchers().await.unwrap(), 1);
    assert_eq!(later.expire_vouchers().await.unwrap(), 0, "nothing more is free");
    // Whatever gives a use back says so in the same transaction: see `vouchers::change`.
    let voucher = hexiao_core::id::Id::parse(&bought.vouchers[0]).unwrap();
    let merchant = hexiao_core::scope::MerchantScope::of_system(
        serde_json::from_value(app.voucher(&customer, &bought.vouchers[0]).await["merchant_id"].clone())
            .unwrap(),
    );
    let done: Result<(), DbError> = transact!(app.app.db, |tx| async {
        let change = hexiao_db::vouchers::Change { locked_refund: -1, ..Default::default() };
        hexiao_db::vouchers::change(&tx, merchant, &[(voucher, change)].into()).await?;
        sql::execute(&tx, "UPDATE voucher_locks SET state = 'Released' WHERE kind = 'refund'", vec![])
            .await?;
        sql::execute(
            &tx,
            "UPDATE refunds SET state = 'Withdrawn', booked = FALSE, submitted_at = NULL",
            vec![],
        )
        .await?;
        sql::execute(&tx, "UPDATE payments SET refund_count = 0, refund_in_flight = NULL", vec![]).await?;
        sql::execute(&tx, "DELETE FROM ledger_transfers WHERE event = 'refund_submitted'", vec![])
            .await
            .map(|_| ())
    });
    done.unwrap();
    app.verify().await;
    assert_eq!(later.expire_vouchers().await.unwrap(), 1);
    assert_eq!(count(&app, "vouchers WHERE forfeited = 3").await, 1);
    app.verify().await;
});

// A few hundred vouchers that all end at the same midnight.
on_both!(a_midnight_is_digested_in_bounded_rounds, |app| async {
    let customer = app.customer("小王").await;
    let shop = short(&app, json!({})).await;
    let mut orders = BTreeSet::new();
    for _ in 0..12 {
        orders.insert(app.buy(&customer, &shop, 50).await.order);
    }
    let later = app.ahead(days(3)).await;
    let mut rounds = Vec::new();
    while rounds.last() != Some(&0) {
        rounds.push(later.expire_vouchers().await.unwrap());
    }
    let bound = usize::try_from(ROUND).unwrap() / 2;
    assert_eq!(rounds, [bound, bound, bound, 0], "whole orders, and no more than a round");
    assert_eq!(
        count(&app, "refunds WHERE cause = 'expiry' AND amount_fen = 5000").await,
        12,
        "one for each order"
    );
    // They are sent one by one: 300 a minute.
    let times = sql::rows(
        app.app.db.reader(),
        "SELECT run_at FROM jobs WHERE kind = 'refund_submit' AND state = 'Ready' ORDER BY run_at",
        vec![],
    );
    let times: Vec<Timestamp> = times.await.unwrap().iter().map(|r| r.get("run_at").unwrap()).collect();
    assert_eq!(times.len(), 12);
    let apart = chrono::Duration::milliseconds(200);
    assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= apart), "{times:?}");
    app.verify().await;
});
