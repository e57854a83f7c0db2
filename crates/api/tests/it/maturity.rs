//! Uses that can't be undone any more are the merchant's.

use hexiao_testkit::{Client, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{balance, days, items, key, owner_again, seconds, text};

/// The ledger's transfers of an event.
async fn transfers(owner: &Client, event: &str) -> Vec<Value> {
    let all = owner.get("/api/v1/merchant/ledger?limit=100").await.expect(200);
    items(&all).iter().filter(|t| t["event"] == event).cloned().collect()
}

async fn undo(staff: &Client, redemption: &Value) -> hexiao_testkit::Answer {
    let path = format!("/api/v1/staff/redemptions/{}/reverse", text(&redemption["id"]));
    staff.post_key(&path, &key(), json!({"reason": "扫错了"})).await
}

/// Lets two days pass and everything mature that was redeemed.
async fn matured(app: &TestApp, fen: i64) -> Client {
    app.advance(days(2));
    let owner = owner_again(app).await;
    wait_until("it is earned", async || balance(&owner, "merchant_earned").await == -fen).await;
    owner
}

on_both!(what_can_not_be_undone_any_more_is_earned, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(3, 100, None).await;
    let (one, other) = (app.buy(&customer, &shop, 1).await, app.buy(&customer, &shop, 1).await);
    let verifier = app.verifier(&[shop.store]).await;
    let redeem = async |voucher: &str, uses: u32| {
        verifier.redeem(&app, &customer, shop.store, voucher, uses).await.expect(201)
    };
    let first = redeem(&one.vouchers[0], 2).await;
    let undone = redeem(&one.vouchers[0], 1).await;
    redeem(&other.vouchers[0], 1).await;
    undo(&verifier, &undone).await.expect(200);
    let owner = app.owner().await;
    assert_eq!(balance(&owner, "merchant_pending").await, -(66 + 33));

    let owner = matured(&app, 66 + 33).await;
    assert_eq!(balance(&owner, "merchant_pending").await, 0);
    assert_eq!(balance(&owner, "customer_liability").await, -(200 - 99));
    let earned = transfers(&owner, "maturity").await;
    let mut amounts: Vec<i64> = earned.iter().map(|t| t["amount_fen"].as_i64().unwrap()).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, [33, 66], "one for each redemption and order");
    refused(&undo(&owner, &first).await, 409, "undo_settled", "");
    app.verify().await;
});

on_both!(it_matures_at_its_time_and_once, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(1, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    let day = hexiao_core::time::BusinessDay::default();
    let matures_in = day.matures_at(app.app.now()).since(app.app.now()).to_std().unwrap();
    let before = app.ahead(matures_in.checked_sub(seconds(60)).unwrap()).await;
    assert_eq!(before.mature_uses().await.unwrap(), 0, "a minute is left");
    let after = app.ahead(matures_in).await;
    assert_eq!(after.mature_uses().await.unwrap(), 1);
    assert_eq!(after.mature_uses().await.unwrap(), 0);
    // The other process's clock was ahead: here it is still early, and it stays as it is.
    assert_eq!(app.app.mature_uses().await.unwrap(), 0);
    assert_eq!(balance(&app.owner().await, "merchant_earned").await, -100);
    app.verify().await;
});

on_both!(many_mature_a_few_at_a_time, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(300, 30_000, None).await;
    let bought = app.buy(&customer, &shop, 5).await;
    let verifier = app.verifier(&[shop.store]).await;
    for voucher in &bought.vouchers {
        verifier.redeem(&app, &customer, shop.store, voucher, 300).await.expect(201);
    }
    let later = app.ahead(days(2)).await;
    let mut rounds = Vec::new();
    while rounds.last() != Some(&0) {
        rounds.push(later.mature_uses().await.unwrap());
    }
    assert_eq!(rounds, [600, 600, 300, 0], "500 and what belongs to the same redemptions");
    let earned = transfers(&app.owner().await, "maturity").await;
    assert_eq!(earned.len(), 5);
    app.verify().await;
});
