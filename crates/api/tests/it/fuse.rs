//! A refund that was not sent is taken back: by the customer alone, or at the counter together with a redemption.

use hexiao_core::id::StoreId;
use hexiao_testkit::{Answer, Bought, Client, Shop, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::consents::{seen, tap, waiting};
use crate::products::refused;
use crate::steps::{ask_refund, balance, key, owner_again, refund_in, seconds, staff_again, text, titles};

/// The merchant holds refunds for so long.
pub(crate) async fn hold_refunds(app: &TestApp, seconds: i64) {
    let settings = json!({"refund_hold_s": seconds});
    app.owner().await.patch("/api/v1/merchant/settings", settings).await.expect(200);
}

/// Asks for some uses of the first voucher back; the refund's id.
async fn refund_of(customer: &Client, bought: &Bought, quantity: u32) -> String {
    let items = json!([{"voucher_id": bought.vouchers[0], "quantity": quantity}]);
    text(&ask_refund(customer, &bought.order, items, &key()).await.expect(201)["id"]).to_owned()
}

async fn withdraw(customer: &Client, refund: &str, key: &str) -> Answer {
    customer.post_key(&format!("/api/v1/customer/refunds/{refund}/withdraw"), key, json!({})).await
}

async fn ask(verifier: &Client, store: StoreId, prepared: &Value, items: Value, key: &str) -> Answer {
    let body = json!({"store_id": store, "prepare_token": prepared["prepare_token"], "items": items});
    verifier.post_key("/api/v1/staff/redemptions/withdraw-requests", key, body).await
}

fn uses(voucher: &str, quantity: u32) -> Value {
    json!([{"voucher_id": voucher, "quantity": quantity}])
}

async fn scan(app: &TestApp, verifier: &Client, customer: &Client, store: StoreId, voucher: &str) -> Value {
    let qr = app.voucher(customer, voucher).await["qr"].clone();
    verifier.prepare(store, &qr).await.expect(200)
}

/// A customer with a card of three uses, in a shop that holds refunds.
async fn counter(app: &TestApp) -> (Shop, Client, Bought, Client) {
    hold_refunds(app, 600).await;
    let customer = app.customer("小王").await;
    let shop = app.shop(3, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    (shop, customer, bought, verifier)
}

on_both!(a_customer_takes_a_refund_back_before_it_is_sent, |app| async {
    let (shop, customer, bought, verifier) = counter(&app).await;
    let refund = refund_of(&customer, &bought, 3).await;
    let other = app.customer("小红").await;
    refused(&withdraw(&other, &refund, &key()).await, 404, "not_found", "");
    let once = key();
    let done = withdraw(&customer, &refund, &once).await.expect(200);
    assert_eq!((&done["state"], &done["state_text"]), (&json!("Withdrawn"), &json!("已撤回")));
    assert_eq!(withdraw(&customer, &refund, &once).await.expect(200)["state"], "Withdrawn", "a lost answer");
    refused(&withdraw(&customer, &refund, &key()).await, 409, "illegal_state", "");
    let voucher = app.voucher(&customer, &bought.vouchers[0]).await;
    assert_eq!((&voucher["locked"], &voucher["remaining"]), (&json!(0), &json!(3)));
    // The job that would have sent it finds nothing to do.
    app.advance(seconds(700));
    app.app.work_once().await;
    assert!(app.sim.refunds().is_empty());
    let owner = owner_again(&app).await;
    assert_eq!(refund_in(&owner, &refund, "Withdrawn").await["attempt"], 1);
    assert_eq!(balance(&owner, "refund_in_transit").await, 0);
    let customer = app.customer("小王").await;
    wait_until("the customer is told", async || titles(&customer).await.len() >= 3).await;
    assert_eq!(titles(&customer).await[1..], ["退款已申请", "退款已撤回"]);
    staff_again(&app, 0).await.redeem(&app, &customer, shop.store, &bought.vouchers[0], 3).await.expect(201);
    drop(verifier);
    app.verify().await;
});

on_both!(what_was_sent_is_not_taken_back, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let refund = refund_of(&customer, &bought, 1).await;
    refund_in(&owner, &refund, "Succeeded").await;
    refused(&withdraw(&customer, &refund, &key()).await, 409, "illegal_state", "");
    app.verify().await;
});

on_both!(one_tap_takes_the_refund_back_and_redeems, |app| async {
    let (shop, customer, bought, verifier) = counter(&app).await;
    let voucher = &bought.vouchers[0];
    let refund = refund_of(&customer, &bought, 3).await;
    let prepared = scan(&app, &verifier, &customer, shop.store, voucher).await;
    let in_the_way = &prepared["vouchers"][0];
    assert_eq!((&in_the_way["redeemable"], &in_the_way["withdrawable"]), (&json!(0), &json!(3)));
    let refusal = &in_the_way["refusals"][0];
    assert_eq!((&refusal["code"], &refusal["can_withdraw"]), (&json!("refund_pending"), &json!(true)));
    assert!(text(&refusal["next_action"]).contains("撤回退款并核销"), "{refusal}");
    let once = key();
    let asked = ask(&verifier, shop.store, &prepared, uses(voucher, 2), &once).await.expect(202);
    let again = ask(&verifier, shop.store, &prepared, uses(voucher, 2), &once).await.expect(202);
    assert_eq!(asked, again, "a lost answer");
    let id = text(&asked["consent_request"]["id"]);
    let shown = waiting(&customer).await;
    assert_eq!((shown.len(), &shown[0]["kind"]), (1, &json!("withdraw_refund")));
    assert_eq!((&shown[0]["withdrawn_fen"], &shown[0]["items"][0]["quantity"]), (&json!(100), &json!(2)));
    assert_eq!(seen(&verifier, id).await["redemption"], Value::Null);
    let other = app.customer("小红").await;
    refused(&tap(&other, id, "approve").await, 404, "not_found", "");
    let done = tap(&customer, id, "approve").await.expect(200);
    assert_eq!(
        (&done["state"], &done["redemption"]["results"][0]["serials"]),
        (&json!("Used"), &json!([1, 2]))
    );
    assert_eq!(done["redemption"]["results"][0]["remaining"], 1);
    let twice = tap(&customer, id, "approve").await.expect(200);
    assert_eq!(twice["redemption"], done["redemption"], "a second tap redeems nothing more");
    let state = seen(&verifier, id).await;
    assert_eq!((&state["state"], &state["redemption"]["id"]), (&json!("Used"), &done["redemption"]["id"]));
    let redemptions = verifier.get("/api/v1/staff/redemptions").await.expect(200);
    let row = &redemptions["items"][0];
    assert_eq!((&row["method"], &row["verifier_id"]), (&json!("consent"), &json!(verifier.id)));
    let after = app.voucher(&customer, voucher).await;
    assert_eq!((&after["used"], &after["locked"], &after["remaining"]), (&json!(2), &json!(0), &json!(1)));
    let mut rest = app.voucher(&customer, voucher).await["uses"].as_array().unwrap().clone();
    rest.retain(|u| u["reversed"] == json!(false));
    assert_eq!(rest.len(), 2);
    // The scan was consumed.
    let confirm = verifier.confirm(shop.store, &prepared, voucher, 1, &key()).await;
    refused(&confirm, 409, "token_used", "");
    // And it can be undone like any other.
    let undo = format!("/api/v1/staff/redemptions/{}/reverse", text(&done["redemption"]["id"]));
    verifier.post_key(&undo, &key(), json!({"reason": "点错了"})).await.expect(200);
    app.advance(seconds(700));
    app.app.work_once().await;
    assert!(app.sim.refunds().is_empty());
    let owner = owner_again(&app).await;
    refund_in(&owner, &refund, "Withdrawn").await;
    assert_eq!(balance(&owner, "customer_liability").await, -100);
    app.verify().await;
});

on_both!(only_as_many_refunds_as_are_needed, |app| async {
    let (shop, customer, bought, verifier) = counter(&app).await;
    let voucher = &bought.vouchers[0];
    let (first, second) = (refund_of(&customer, &bought, 1).await, refund_of(&customer, &bought, 1).await);
    let prepared = scan(&app, &verifier, &customer, shop.store, voucher).await;
    let found = &prepared["vouchers"][0];
    assert_eq!((&found["redeemable"], &found["withdrawable"]), (&json!(1), &json!(2)));
    // What is free needs no tap.
    refused(&ask(&verifier, shop.store, &prepared, uses(voucher, 1), &key()).await, 409, "illegal_state", "");
    refused(
        &ask(&verifier, shop.store, &prepared, uses(voucher, 4), &key()).await,
        409,
        "not_enough_uses",
        "",
    );
    let asked = ask(&verifier, shop.store, &prepared, uses(voucher, 2), &key()).await.expect(202);
    tap(&customer, text(&asked["consent_request"]["id"]), "approve").await.expect(200);
    let owner = app.owner().await;
    refund_in(&owner, &first, "Created").await;
    refund_in(&owner, &second, "Withdrawn").await;
    app.verify().await;
});

on_both!(money_on_its_way_is_not_taken_back, |app| async {
    let (shop, customer, bought, verifier) = counter(&app).await;
    let voucher = &bought.vouchers[0];
    let refund = refund_of(&customer, &bought, 3).await;
    let prepared = scan(&app, &verifier, &customer, shop.store, voucher).await;
    let asked = ask(&verifier, shop.store, &prepared, uses(voucher, 1), &key()).await.expect(202);
    // WeChat takes it but does not pay yet.
    app.sim.set_refund_delay(seconds(3600));
    crate::steps::due_now(&app, &refund).await;
    refund_in(&app.owner().await, &refund, "Processing").await;
    let late = tap(&customer, text(&asked["consent_request"]["id"]), "approve").await;
    refused(&late, 409, "refund_pending", "");
    assert!(text(&late.body["error"]["message"]).contains("钱已在退回途中"), "{}", late.body);
    let now = scan(&app, &verifier, &customer, shop.store, voucher).await;
    let refusal = &now["vouchers"][0]["refusals"][0];
    assert_eq!((&refusal["code"], refusal.get("can_withdraw")), (&json!("refund_pending"), None));
    assert!(text(&refusal["message"]).contains("钱已在退回途中"), "{refusal}");
    let again = ask(&verifier, shop.store, &now, uses(voucher, 1), &key()).await;
    refused(&again, 409, "refund_pending", "");
    refused(&withdraw(&customer, &refund, &key()).await, 409, "illegal_state", "");
    app.verify().await;
});

on_both!(a_tap_that_may_not_redeem_takes_nothing_back, |app| async {
    let (shop, customer, bought, verifier) = counter(&app).await;
    let voucher = &bought.vouchers[0];
    let refund = refund_of(&customer, &bought, 3).await;
    let prepared = scan(&app, &verifier, &customer, shop.store, voucher).await;
    let asked = ask(&verifier, shop.store, &prepared, uses(voucher, 1), &key()).await.expect(202);
    let id = text(&asked["consent_request"]["id"]);
    let rest = json!({"store_id": shop.store, "resting": true});
    let manager = app.manager(&[shop.store]).await;
    manager.patch("/api/v1/staff/store", rest).await.expect(200);
    refused(&tap(&customer, id, "approve").await, 409, "store_closed", "");
    refund_in(&app.owner().await, &refund, "Created").await;
    let open = json!({"store_id": shop.store, "resting": false});
    manager.patch("/api/v1/staff/store", open).await.expect(200);
    // The verifier has left: nobody is there to hand anything over.
    verifier.delete("/api/v1/auth/session").await.expect(204);
    refused(&tap(&customer, id, "approve").await, 409, "consent_expired", "");
    refund_in(&app.owner().await, &refund, "Created").await;
    assert_eq!(tap(&customer, id, "deny").await.expect(200)["state"], "Denied");
    app.verify().await;
});

on_both!(a_request_to_withdraw_is_bound_to_its_scan, |app| async {
    let (shop, customer, bought, verifier) = counter(&app).await;
    let voucher = &bought.vouchers[0];
    refund_of(&customer, &bought, 3).await;
    let prepared = scan(&app, &verifier, &customer, shop.store, voucher).await;
    let colleague = app.verifier(&[shop.store]).await;
    let stolen = ask(&colleague, shop.store, &prepared, uses(voucher, 1), &key()).await;
    refused(&stolen, 409, "token_mismatch", "");
    let other = app.buy(&customer, &shop, 1).await;
    let unscanned = ask(&verifier, shop.store, &prepared, uses(&other.vouchers[0], 1), &key()).await;
    refused(&unscanned, 409, "token_mismatch", "");
    for wrong in [json!([]), json!([{"voucher_id": voucher, "quantity": 0}])] {
        let answer = ask(&verifier, shop.store, &prepared, wrong, &key()).await;
        refused(&answer, 400, "invalid_field", "");
    }
    let once = key();
    ask(&verifier, shop.store, &prepared, uses(voucher, 1), &once).await.expect(202);
    let reused = ask(&verifier, shop.store, &prepared, uses(voucher, 2), &once).await;
    refused(&reused, 422, "idempotency_conflict", "");
    app.advance(seconds(121));
    let late = ask(&verifier, shop.store, &prepared, uses(voucher, 1), &key()).await;
    refused(&late, 409, "token_expired", "");
    app.verify().await;
});

on_both!(refunds_of_a_party_come_back_with_one_tap, |app| async {
    hold_refunds(&app, 600).await;
    let customer = app.customer("小王").await;
    let shop = app.shop(1, 100, None).await;
    let bought = app.buy(&customer, &shop, 3).await;
    let refund = ask_refund(&customer, &bought.order, Value::Null, &key()).await.expect(201);
    let verifier = app.verifier(&[shop.store]).await;
    let qr =
        customer.get(&format!("/api/v1/customer/orders/{}", bought.order)).await.expect(200)["qr"].clone();
    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    // Two come; the third use is free again, since a refund is taken back as a whole.
    let two = json!([{"voucher_id": bought.vouchers[0], "quantity": 1}, {"voucher_id": bought.vouchers[1], "quantity": 1}]);
    let asked = ask(&verifier, shop.store, &prepared, two, &key()).await.expect(202);
    let done = tap(&customer, text(&asked["consent_request"]["id"]), "approve").await.expect(200);
    assert_eq!(done["redemption"]["results"].as_array().unwrap().len(), 2);
    refund_in(&app.owner().await, text(&refund["id"]), "Withdrawn").await;
    let third = app.voucher(&customer, &bought.vouchers[2]).await;
    assert_eq!((&third["state"], &third["remaining"]), (&json!("usable"), &json!(1)));
    app.verify().await;
});

on_both!(a_tap_counts_against_the_verifiers_daily_limit, |app| async {
    let (shop, customer, bought, verifier) = counter(&app).await;
    let voucher = &bought.vouchers[0];
    let refund = refund_of(&customer, &bought, 3).await;
    let path = format!("/api/v1/merchant/staff/{}", verifier.id);
    app.owner().await.patch(&path, json!({"daily_uses_limit": 2})).await.expect(200);
    // A session that the server remembers from before the limit may not know of it for a second.
    let verifier = staff_again(&app, 0).await;
    let prepared = scan(&app, &verifier, &customer, shop.store, voucher).await;
    let three = ask(&verifier, shop.store, &prepared, uses(voucher, 3), &key()).await;
    refused(&three, 409, "limit_exceeded", "");
    let asked = ask(&verifier, shop.store, &prepared, uses(voucher, 2), &key()).await.expect(202);
    // Meanwhile they redeem one of another customer's.
    let other = app.customer("小红").await;
    let theirs = app.buy(&other, &shop, 1).await;
    verifier.redeem(&app, &other, shop.store, &theirs.vouchers[0], 1).await.expect(201);
    let late = tap(&customer, text(&asked["consent_request"]["id"]), "approve").await;
    refused(&late, 409, "limit_exceeded", "");
    refund_in(&app.owner().await, &refund, "Created").await;
    app.verify().await;
});
