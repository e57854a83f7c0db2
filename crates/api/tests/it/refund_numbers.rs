//! WeChat takes 50 refunds of a payment and counts their numbers: a second attempt has a second number.

use hexiao_testkit::{Client, TestApp, on_both, wait_until};
use hexiao_wechat_sim::{RefundOutcome, RefundStatus};
use serde_json::{Value, json};

use crate::products::refused;
use crate::refunds::{asked, held, uses};
use crate::steps::{
    ask_refund, balance, damage_payment, damage_refund, key, refund_in, seconds, text, titles,
};

/// WeChat gives up on the number that it has now, and our next attempt comes.
async fn given_up(app: &TestApp, owner: &Client, id: &str, number: &str) {
    app.sim.settle_refund(number, RefundOutcome::Closed).unwrap();
    refund_in(owner, id, "Closed").await;
    app.advance(seconds(61));
}

on_both!(a_second_attempt_takes_a_second_number, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(4, 400, Some(5)).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let first = asked(&customer, &bought, uses(&bought, 1)).await;
    refund_in(&owner, &first, "Succeeded").await;
    // As if it had needed 48 numbers.
    damage_refund(&app, "attempt = 48", &first).await;
    damage_payment(&app, "refund_count = 48", &bought.out_trade_no).await;
    app.advance(seconds(61));

    let (id, number) = held(&app, &owner, &customer, &bought, uses(&bought, 1)).await;
    app.verify().await;
    given_up(&app, &owner, &id, &number).await;
    let processing = async || {
        let open = app.sim.refunds().into_iter().find(|r| r.status == RefundStatus::Processing);
        open.map(|r| r.out_refund_no)
    };
    wait_until("the last number is sent", async || processing().await.is_some()).await;
    assert_eq!(refund_in(&owner, &id, "Processing").await["attempt"], 2);
    let more = ask_refund(&customer, &bought.order, uses(&bought, 1), &key()).await;
    refused(&more, 409, "refund_limit", "");
    app.verify().await;

    // WeChat gives up on the 50th too: a person pays by hand.
    given_up(&app, &owner, &id, &processing().await.unwrap()).await;
    let blocked = refund_in(&owner, &id, "Blocked").await;
    assert_eq!((&blocked["blocked_reason"], &blocked["attempt"]), (&json!("quota"), &json!(2)));
    assert!(text(&blocked["error"]).contains("线下退给顾客"), "{blocked}");
    assert_eq!(app.sim.refunds().len(), 3, "no 51st number was sent");
    wait_until("the customer is told", async || {
        titles(&customer).await.contains(&"退款需要商家处理".to_owned())
    })
    .await;
    let path = format!("/api/v1/merchant/refunds/{id}/finish");
    owner.post(&path, json!({"evidence": "微信转账单 1"})).await.expect(200);
    assert_eq!(balance(&owner, "refund_in_transit").await, 0);
    let rest = ask_refund(&customer, &bought.order, Value::Null, &key()).await;
    refused(&rest, 409, "refund_limit", "");
    app.verify().await;
});
