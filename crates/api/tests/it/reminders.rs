//! Customers hear in time, and by day, that vouchers end.

use hexiao_testkit::{Client, TestApp, on_both, wait_until};
use serde_json::json;

use crate::expiry::time_to;
use crate::steps::{ask_refund, items, key, shop_with, text, titles};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Bodies of the reminders that a customer got, the oldest first.
async fn reminders(customer: &Client) -> Vec<String> {
    let all = customer.get("/api/v1/customer/messages").await.expect(200);
    let found = items(&all).iter().rev().filter(|m| m["topic"] == "voucher.expiring");
    found.map(|m| text(&m["body"]).to_owned()).collect()
}

/// Moves the clock to so many seconds before the end of a voucher.
async fn before_the_end(app: &TestApp, voucher: &str, before: u64) -> Client {
    app.advance(time_to(app, &app.customer("小王").await, voucher, before).await);
    app.customer("小王").await
}

on_both!(seven_three_and_one_day_before, |app| async {
    let customer = app.customer("小王").await;
    let shop = shop_with(&app, json!({"validity": {"days": 30}})).await;
    let bought = app.buy(&customer, &shop, 2).await;
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    let noon = 12 * HOUR;
    for (days, told) in [(7, 1), (3, 2), (1, 3)] {
        let customer = before_the_end(&app, &bought.vouchers[0], days * DAY - noon).await;
        wait_until("the reminder", async || reminders(&customer).await.len() == told).await;
        assert_eq!(app.app.remind_customers().await.unwrap(), 0, "once");
    }
    let customer = app.customer("小王").await;
    let all = reminders(&customer).await;
    assert_eq!(all.len(), 3);
    assert!(all[0].starts_with("您有「双人套餐」5 次（") && all[0].contains("23:59 前有效）"), "{all:?}");
    assert!(all[0].ends_with("到期后未使用的部分自动退款。"), "{all:?}");
    app.verify().await;
});

on_both!(nobody_is_woken_up, |app| async {
    let customer = app.customer("小王").await;
    let shop = shop_with(&app, json!({"validity": {"days": 5}, "refund": "none"})).await;
    let voucher = app.buy(&customer, &shop, 1).await.vouchers[0].clone();
    // The server was away all day, and comes back at ten in the evening.
    let ahead =
        async |hours: u64| app.ahead(time_to(&app, &customer, &voucher, 3 * DAY - hours * HOUR).await).await;
    let evening = ahead(22).await;
    assert_eq!(evening.remind_customers().await.unwrap(), 1, "it is put off");
    assert_eq!(evening.remind_customers().await.unwrap(), 0);
    let night = ahead(32).await;
    assert_eq!(night.remind_customers().await.unwrap(), 0, "at eight it is too early");
    let morning = ahead(34).await;
    assert_eq!(morning.remind_customers().await.unwrap(), 1);
    wait_until("the reminder", async || reminders(&customer).await.len() == 1).await;
    assert!(reminders(&customer).await[0].ends_with("到期后未使用的部分作废。"));
    app.verify().await;
});

on_both!(only_of_what_can_still_be_used, |app| async {
    let customer = app.customer("小王").await;
    let shop = shop_with(&app, json!({"validity": {"days": 2}})).await;
    let (used, returned) = (app.buy(&customer, &shop, 1).await, app.buy(&customer, &shop, 1).await);
    let left = app.buy(&customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, &used.vouchers[0], 3).await.expect(201);
    ask_refund(&customer, &returned.order, serde_json::Value::Null, &key()).await.expect(201);
    let morning = time_to(&app, &customer, &left.vouchers[0], DAY - 12 * HOUR).await;
    let later = app.ahead(morning).await;
    assert_eq!(
        later.remind_customers().await.unwrap(),
        3,
        "seven and three days before, nobody had bought them"
    );
    assert_eq!(later.remind_customers().await.unwrap(), 0);
    wait_until("the reminder", async || titles(&customer).await.iter().any(|t| t == "券快到期了")).await;
    assert_eq!(reminders(&customer).await.len(), 1);
    app.verify().await;
});

on_both!(an_end_that_moves_is_followed, |app| async {
    let customer = app.customer("小王").await;
    let validity = json!({"days": 2, "activate_within_days": 60});
    let shop = shop_with(&app, json!({"validity": validity})).await;
    let voucher = app.buy(&customer, &shop, 1).await.vouchers[0].clone();
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, &voucher, 1).await.expect(201);
    // The first use left two days of sixty: the day before the last is one day before the end.
    let customer = before_the_end(&app, &voucher, DAY - 12 * HOUR).await;
    wait_until("the reminder", async || reminders(&customer).await.len() == 1).await;
    assert!(reminders(&customer).await[0].starts_with("您有「双人套餐」2 次（"));
    app.verify().await;
});
