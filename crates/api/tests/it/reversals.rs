//! Undoing redemptions over HTTP: who, until when, how often, and what is free afterwards.

use hexiao_testkit::{Answer, Bought, Client, Shop, TestApp, on_both};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{ask_refund, balance, items, key, order, refund_in, seconds, staff_again, text};

async fn undo(staff: &Client, redemption: &Value, items: Value, key: &str) -> Answer {
    let mut body = json!({"reason": "扫错了"});
    if !items.is_null() {
        body["items"] = items;
    }
    staff.post_key(&format!("/api/v1/staff/redemptions/{}/reverse", text(&redemption["id"])), key, body).await
}

async fn undo_all(staff: &Client, redemption: &Value) -> Answer {
    undo(staff, redemption, Value::Null, &key()).await
}

fn serials(bought: &Bought, serials: Value) -> Value {
    json!([{"voucher_id": bought.vouchers[0], "serials": serials}])
}

/// A card of `uses` uses for 100 fen; the shop's first verifier is the merchant's first member of staff.
async fn card(app: &TestApp, customer: &Client, uses: u32) -> (Shop, Bought, Client) {
    let shop = app.shop(uses, 100, None).await;
    let bought = app.buy(customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    (shop, bought, verifier)
}

on_both!(a_verifier_undoes_their_own_within_ten_minutes, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (shop, bought, verifier) = card(&app, &customer, 3).await;
    let voucher = &bought.vouchers[0];
    let first = verifier.redeem(&app, &customer, shop.store, voucher, 2).await.expect(201);
    let with_key = key();
    app.advance(seconds(560));
    let done = undo(&verifier, &first, Value::Null, &with_key).await.expect(200);
    assert_eq!(done["items"], serials(&bought, json!([1, 2])));
    let again = undo(&verifier, &first, Value::Null, &with_key).await.expect(200);
    assert_eq!((&again["replayed"], &again["items"]), (&json!(true), &done["items"]));
    refused(
        &undo(&verifier, &first, serials(&bought, json!([1])), &with_key).await,
        422,
        "idempotency_conflict",
        "",
    );
    refused(&undo_all(&verifier, &first).await, 409, "already_reversed", "");
    let after = order(&customer, &bought.order).await;
    assert_eq!((&after["tab"], &after["units"]["used"]), (&json!("to_redeem"), &json!(0)));
    assert_eq!(balance(&owner, "merchant_pending").await, 0);
    assert_eq!(balance(&owner, "customer_liability").await, -100);
    let list = verifier.get("/api/v1/staff/redemptions").await.expect(200);
    assert_eq!(items(&list)[0]["items"][0]["reversed"], json!([1, 2]));
    // What is free again is money that can go back.
    let asked = ask_refund(&customer, &bought.order, Value::Null, &key()).await.expect(201);
    assert_eq!(asked["amount_fen"], 100);
    refund_in(&owner_of(&app).await, text(&asked["id"]), "Succeeded").await;
    app.verify().await;
});

async fn owner_of(app: &TestApp) -> Client {
    crate::steps::owner_again(app).await
}

on_both!(after_ten_minutes_it_takes_a_manager, |app| async {
    let customer = app.customer("小王").await;
    let (shop, bought, verifier) = card(&app, &customer, 3).await;
    let voucher = &bought.vouchers[0];
    let (colleague, manager) = (app.verifier(&[shop.store]).await, app.manager(&[shop.store]).await);
    let elsewhere = app.manager(&[app.store("徐家汇店").await]).await;
    let first = verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    refused(&undo_all(&colleague, &first).await, 403, "forbidden", "");
    refused(&undo_all(&elsewhere, &first).await, 404, "not_found", "");
    refused(&undo_all(&app.other_owner().await, &first).await, 404, "not_found", "");
    app.advance(seconds(601));
    refused(&undo_all(&verifier, &first).await, 409, "undo_window_passed", "");
    undo_all(&manager, &first).await.expect(200);
    let attempts = verifier.get("/api/v1/staff/redemption-attempts").await.expect(200);
    let reasons: Vec<&str> = items(&attempts).iter().map(|a| text(&a["reason"])).collect();
    assert_eq!(reasons, ["undo_window_passed", "forbidden"]);
    assert!(items(&attempts).iter().all(|a| a["step"] == "reverse"));
    app.verify().await;
});

on_both!(what_has_matured_stands, |app| async {
    let customer = app.customer("小王").await;
    let (shop, bought, verifier) = card(&app, &customer, 3).await;
    app.manager(&[shop.store]).await;
    let first = verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    // A redemption matures a day after its business day: more than 24 hours, at most 48.
    app.advance(seconds(25 * 3600));
    let customer = app.customer("小王").await;
    let verifier = staff_again(&app, 0).await;
    let second = verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    app.advance(seconds(23 * 3600));
    let manager = staff_again(&app, 1).await;
    refused(&undo_all(&manager, &first).await, 409, "undo_settled", "");
    refused(&undo_all(&owner_of(&app).await, &first).await, 409, "undo_settled", "");
    undo_all(&manager, &second).await.expect(200);
    app.verify().await;
});

on_both!(some_uses_and_the_lowest_free_one_goes_next, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (shop, bought, verifier) = card(&app, &customer, 3).await;
    let voucher = &bought.vouchers[0];
    let first = verifier.redeem(&app, &customer, shop.store, voucher, 3).await.expect(201);
    let some = async |n: Value| undo(&verifier, &first, serials(&bought, n), &key()).await;
    refused(&some(json!([4])).await, 400, "invalid_field", "items[0].serials");
    refused(&some(json!([2, 2])).await, 400, "invalid_field", "items[0].serials");
    refused(&some(json!([])).await, 400, "invalid_field", "items");
    some(json!([2])).await.expect(200);
    refused(&some(json!([2, 3])).await, 409, "already_reversed", "");
    assert_eq!(balance(&owner, "merchant_pending").await, -67);
    let second = verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    assert_eq!(second["results"][0]["serials"], json!([2]));
    // The rest of the first, not the second's use of the same serial.
    let rest = undo_all(&verifier, &first).await.expect(200);
    assert_eq!(rest["items"], serials(&bought, json!([1, 3])));
    assert_eq!(app.voucher(&customer, voucher).await["used"], 1);
    let third = verifier.redeem(&app, &customer, shop.store, voucher, 2).await.expect(201);
    assert_eq!(third["results"][0]["serials"], json!([1, 3]));
    assert_eq!(balance(&owner, "merchant_pending").await, -100);
    app.verify().await;
});

on_both!(not_back_and_forth_for_ever, |app| async {
    let customer = app.customer("小王").await;
    let (shop, bought, verifier) = card(&app, &customer, 2).await;
    for _ in 0..10 {
        let done = verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 2).await.expect(201);
        undo_all(&verifier, &done).await.expect(200);
    }
    let last = verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    refused(&undo_all(&verifier, &last).await, 409, "undo_cycles_exceeded", "");
    let manager = app.manager(&[shop.store]).await;
    refused(&undo_all(&manager, &last).await, 409, "undo_cycles_exceeded", "");
    assert_eq!(app.voucher(&customer, &bought.vouchers[0]).await["used"], 1);
    app.verify().await;
});
