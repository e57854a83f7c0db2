//! Nothing of a customer is shown by their phone or an order's number before they have tapped in their own app.

use std::collections::BTreeSet;

use hexiao_core::id::StoreId;
use hexiao_db::sql;
use hexiao_testkit::{Answer, Client, on_both};
use serde_json::{Value, json};

use crate::phones::bind;
use crate::products::refused;
use crate::steps::{days, items, key, order, seconds, shop_in_with, shop_of, staff_again, text};

/// A verifier looks somebody up.
pub(crate) async fn ask(verifier: &Client, store: StoreId, input: Value) -> Answer {
    verifier.post("/api/v1/staff/redemptions/prepare", json!({"store_id": store, "input": input})).await
}

/// The id of what was asked.
pub(crate) async fn asked(verifier: &Client, store: StoreId, input: Value) -> String {
    text(&ask(verifier, store, input).await.expect(202)["consent_request"]["id"]).to_owned()
}

/// What waits for a customer's tap.
pub(crate) async fn waiting(customer: &Client) -> Vec<Value> {
    items(&customer.get("/api/v1/customer/consent-requests").await.expect(200)).clone()
}

pub(crate) async fn tap(customer: &Client, id: &str, answer: &str) -> Answer {
    customer.post(&format!("/api/v1/customer/consent-requests/{id}/{answer}"), json!({})).await
}

/// A request as the verifier sees it.
pub(crate) async fn seen(verifier: &Client, id: &str) -> Value {
    verifier.get(&format!("/api/v1/staff/consent-requests/{id}")).await.expect(200)
}

async fn list(verifier: &Client, store: StoreId, id: &str) -> Answer {
    ask(verifier, store, json!({"consent_id": id})).await
}

fn listed(prepared: &Value) -> Vec<&str> {
    prepared["vouchers"].as_array().unwrap().iter().map(|v| text(&v["voucher_id"])).collect()
}

on_both!(a_lookup_by_phone_shows_nothing_before_the_tap, |app| async {
    let (customer, other) = (app.customer("小王").await, app.customer("小红").await);
    let shop = app.shop(3, 9900, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    bind(&customer, "13812341234").await.expect(200);
    bind(&other, "13812345678").await.expect(200);
    let verifier = app.verifier(&[shop.store]).await;
    let id = asked(&verifier, shop.store, json!({"phone_last4": "1234"})).await;
    assert_eq!(seen(&verifier, &id).await["state"], "Pending");
    refused(&list(&verifier, shop.store, &id).await, 409, "consent_required", "");
    let shown = waiting(&customer).await;
    assert_eq!((shown.len(), &shown[0]["id"], &shown[0]["kind"]), (1, &json!(id), &json!("lookup")));
    assert_eq!((&shown[0]["store_name"], &shown[0]["verifier_name"]), (&json!("人民广场店"), &json!("员工")));
    assert_eq!(shown[0]["merchant_name"], "老王火锅");
    // Another's request does not exist for them.
    assert!(waiting(&other).await.is_empty());
    refused(&tap(&other, &id, "approve").await, 404, "not_found", "");
    refused(&tap(&other, &id, "deny").await, 404, "not_found", "");
    assert_eq!(tap(&customer, &id, "approve").await.expect(200)["state"], "Approved");
    assert_eq!(tap(&customer, &id, "approve").await.expect(200)["state"], "Approved", "once more");
    assert!(waiting(&customer).await.is_empty());
    assert_eq!(seen(&verifier, &id).await["state"], "Approved");
    // It is this verifier's, in this store.
    let colleague = app.verifier(&[shop.store]).await;
    refused(&list(&colleague, shop.store, &id).await, 404, "not_found", "");
    let prepared = list(&verifier, shop.store, &id).await.expect(200);
    assert_eq!(listed(&prepared), [&bought.vouchers[0]]);
    assert_eq!(prepared["customer"]["phone_masked"], "138****1234");
    assert_eq!(seen(&verifier, &id).await["state"], "Used");
    let done = verifier.confirm(shop.store, &prepared, &bought.vouchers[0], 2, &key()).await.expect(201);
    assert_eq!(done["results"][0]["serials"], json!([1, 2]));
    let all = verifier.get("/api/v1/staff/redemptions").await.expect(200);
    assert_eq!(items(&all)[0]["method"], "consent");
    // One tap pays for one redemption.
    refused(&list(&verifier, shop.store, &id).await, 409, "token_used", "");
    refused(&tap(&customer, &id, "deny").await, 409, "illegal_state", "");
    app.verify().await;
});

on_both!(a_lost_answer_is_read_again_and_still_redeems_once, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(3, 9900, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let number = order(&customer, &bought.order).await["number"].clone();
    let verifier = app.verifier(&[shop.store]).await;
    let id = asked(&verifier, shop.store, json!({"order_number": number})).await;
    tap(&customer, &id, "approve").await.expect(200);
    let first = list(&verifier, shop.store, &id).await.expect(200);
    let second = list(&verifier, shop.store, &id).await.expect(200);
    let voucher = &bought.vouchers[0];
    verifier.confirm(shop.store, &second, voucher, 1, &key()).await.expect(201);
    refused(&verifier.confirm(shop.store, &first, voucher, 1, &key()).await, 409, "token_used", "");
    let again = asked(&verifier, shop.store, json!({"order_number": number})).await;
    tap(&customer, &again, "approve").await.expect(200);
    list(&verifier, shop.store, &again).await.expect(200);
    app.advance(seconds(121));
    refused(&list(&verifier, shop.store, &again).await, 409, "consent_expired", "");
    app.verify().await;
});

on_both!(an_order_number_asks_its_customer_and_lists_its_vouchers, |app| async {
    let (customer, other) = (app.customer("小王").await, app.customer("小红").await);
    let shop = app.shop(1, 9900, None).await;
    let (bought, _) = (app.buy(&customer, &shop, 2).await, app.buy(&customer, &shop, 1).await);
    let number = order(&customer, &bought.order).await["number"].clone();
    let spaced = format!("{} {}", &text(&number)[..6], &text(&number)[6..]);
    let verifier = app.verifier(&[shop.store]).await;
    let id = asked(&verifier, shop.store, json!({"order_number": spaced})).await;
    assert!(waiting(&other).await.is_empty());
    assert_eq!(waiting(&customer).await[0]["order_number"], number);
    tap(&customer, &id, "approve").await.expect(200);
    let prepared = list(&verifier, shop.store, &id).await.expect(200);
    let expected: BTreeSet<&str> = bought.vouchers.iter().map(String::as_str).collect();
    assert_eq!(listed(&prepared).into_iter().collect::<BTreeSet<_>>(), expected);
    refused(
        &ask(&verifier, shop.store, json!({"order_number": "12"})).await,
        400,
        "invalid_field",
        "input.order_number",
    );
    for wrong in ["123", "12345", "abcd"] {
        let answer = ask(&verifier, shop.store, json!({"phone_last4": wrong})).await;
        refused(&answer, 400, "invalid_field", "input.phone_last4");
    }
    let two = json!({"phone_last4": "1234", "order_number": number});
    refused(&ask(&verifier, shop.store, two).await, 400, "invalid_field", "input");
    app.verify().await;
});

on_both!(what_is_answered_does_not_tell_whether_there_is_anybody, |app| async {
    let (customer, stranger) = (app.customer("小王").await, app.other_owner().await);
    let shop = app.shop(1, 9900, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    bind(&customer, "13812341234").await.expect(200);
    let there = shop_of(&stranger, 500, 1).await;
    let theirs = app.buy(&customer, &there, 1).await;
    let ours = order(&customer, &bought.order).await["number"].clone();
    let foreign = order(&customer, &theirs.order).await["number"].clone();
    let shapes = [
        json!({"phone_last4": "1234"}),
        json!({"phone_last4": "9999"}),
        json!({"order_number": ours}),
        json!({"order_number": foreign}),
        json!({"order_number": "2601010000000000"}),
    ];
    let verifier = app.verifier(&[shop.store]).await;
    let mut ids = Vec::new();
    for input in &shapes {
        let answer = ask(&verifier, shop.store, input.clone()).await.expect(202);
        let members: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        let request = answer["consent_request"].as_object().unwrap();
        assert_eq!((members, request.len()), (vec!["consent_request"], 2), "{answer}");
        let id = text(&answer["consent_request"]["id"]).to_owned();
        let mut state = seen(&verifier, &id).await;
        for own in ["id", "expires_at"] {
            state.as_object_mut().unwrap().remove(own);
        }
        ids.push((id, state));
    }
    assert!(ids.windows(2).all(|two| two[0].1 == two[1].1), "{ids:?}");
    // Only the two that concern the customer reach them.
    let shown: BTreeSet<String> =
        waiting(&customer).await.iter().map(|w| text(&w["id"]).to_owned()).collect();
    assert_eq!(shown, BTreeSet::from([ids[0].0.clone(), ids[2].0.clone()]));
    for (id, _) in [&ids[1], &ids[3], &ids[4]] {
        refused(&tap(&customer, id, "approve").await, 404, "not_found", "");
        refused(&list(&verifier, shop.store, id).await, 409, "consent_required", "");
    }
    app.verify().await;
});

on_both!(only_customers_with_something_open_at_that_store_are_asked, |app| async {
    let (first, second) = (app.store("一店").await, app.store("二店").await);
    let here =
        shop_in_with(&app, first, json!({"binding": "chosen_store", "uses": 1, "validity": {"days": 30}}))
            .await;
    let customer = app.customer("小王").await;
    bind(&customer, "13812341234").await.expect(200);
    let (at_first, at_second) = (app.verifier(&[first]).await, app.verifier(&[second]).await);
    let ask_at = async |verifier: &Client, store| {
        asked(verifier, store, json!({"phone_last4": "1234"})).await;
        waiting(&customer).await.len()
    };
    assert_eq!(ask_at(&at_first, first).await, 0, "has bought nothing");
    let bought = app.buy(&customer, &here, 1).await;
    assert_eq!(waiting(&customer).await.len(), 1, "the request is still there, and concerns them now");
    assert_eq!(ask_at(&at_second, second).await, 1, "not at the other store");
    at_first.redeem(&app, &customer, first, &bought.vouchers[0], 1).await.expect(201);
    assert_eq!(waiting(&customer).await.len(), 0, "nothing is left");
    app.verify().await;
});

on_both!(of_several_who_share_the_digits_the_first_tap_decides, |app| async {
    let shop = app.shop(1, 9900, None).await;
    let mut customers = Vec::new();
    for (name, phone) in [("小王", "13812341234"), ("小红", "15900001234"), ("小明", "18600001234")] {
        let customer = app.customer(name).await;
        bind(&customer, phone).await.expect(200);
        let bought = app.buy(&customer, &shop, 1).await;
        customers.push((customer, bought));
    }
    let verifier = app.verifier(&[shop.store]).await;
    let id = asked(&verifier, shop.store, json!({"phone_last4": "1234"})).await;
    for (customer, _) in &customers {
        assert_eq!(waiting(customer).await.len(), 1);
    }
    tap(&customers[1].0, &id, "approve").await.expect(200);
    for n in [0, 2] {
        assert!(waiting(&customers[n].0).await.is_empty());
        refused(&tap(&customers[n].0, &id, "approve").await, 404, "not_found", "");
    }
    let prepared = list(&verifier, shop.store, &id).await.expect(200);
    assert_eq!(listed(&prepared), [&customers[1].1.vouchers[0]]);
    // Without a number nobody is asked.
    customers[1].0.delete("/api/v1/customer/phone").await.expect(204);
    asked(&verifier, shop.store, json!({"phone_last4": "1234"})).await;
    assert!(waiting(&customers[1].0).await.is_empty());
    app.verify().await;
});

on_both!(no_is_an_answer_and_silence_ends, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(1, 9900, None).await;
    app.buy(&customer, &shop, 1).await;
    bind(&customer, "13812341234").await.expect(200);
    let verifier = app.verifier(&[shop.store]).await;
    let id = asked(&verifier, shop.store, json!({"phone_last4": "1234"})).await;
    assert_eq!(tap(&customer, &id, "deny").await.expect(200)["state"], "Denied");
    assert_eq!(tap(&customer, &id, "deny").await.expect(200)["state"], "Denied");
    refused(&tap(&customer, &id, "approve").await, 409, "illegal_state", "");
    assert_eq!(seen(&verifier, &id).await["state"], "Denied");
    refused(&list(&verifier, shop.store, &id).await, 409, "consent_denied", "");
    let late = asked(&verifier, shop.store, json!({"phone_last4": "1234"})).await;
    app.advance(seconds(120));
    assert_eq!(seen(&verifier, &late).await["state"], "Expired");
    assert!(waiting(&customer).await.is_empty());
    refused(&tap(&customer, &late, "approve").await, 409, "consent_expired", "");
    refused(&list(&verifier, shop.store, &late).await, 409, "consent_expired", "");
    let attempts = verifier.get("/api/v1/staff/redemption-attempts").await.expect(200);
    let reasons: Vec<&str> = items(&attempts).iter().map(|a| text(&a["reason"])).collect();
    assert_eq!(reasons, ["consent_expired", "consent_denied"]);
    assert!(items(&attempts).iter().all(|a| a["method"] == "consent"));
    // What came to nothing is deleted some days later; what was used stays.
    app.advance(days(8));
    while app.app.prune().await.unwrap() > 0 {}
    let text = "SELECT COUNT(*) AS n FROM consent_requests";
    let left: i64 = sql::row(app.app.db.reader(), text, vec![]).await.unwrap().unwrap().get("n").unwrap();
    assert_eq!(left, 0);
    app.verify().await;
});

on_both!(asking_is_counted_by_person_and_store, |app| async {
    let shop = app.shop(1, 9900, None).await;
    let verifier = app.verifier(&[shop.store]).await;
    let mut asked_for = 0;
    let mut ask_one = async |verifier: &Client| {
        asked_for += 1;
        ask(verifier, shop.store, json!({"phone_last4": format!("{asked_for:04}")})).await
    };
    for _ in 0..4 {
        for _ in 0..5 {
            ask_one(&verifier).await.expect(202);
        }
        let answer = ask_one(&verifier).await;
        refused(&answer, 429, "rate_limited", "");
        app.advance(seconds(121));
    }
    // Nothing waits any more, but twenty were asked in ten minutes. The count is in the database.
    refused(&ask_one(&verifier).await, 429, "rate_limited", "");
    ask_one(&app.verifier(&[shop.store]).await).await.expect(202);
    app.advance(seconds(600));
    ask_one(&staff_again(&app, 0).await).await.expect(202);
    app.verify().await;
});

on_both!(a_store_of_somebody_else_is_not_there, |app| async {
    let stranger = app.other_owner().await;
    let shop = app.shop(1, 9900, None).await;
    let answer = ask(&stranger, shop.store, json!({"phone_last4": "1234"})).await;
    refused(&answer, 404, "not_found", "");
    let (one, two) = (app.store("一店").await, app.store("二店").await);
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let number = order(&customer, &bought.order).await["number"].clone();
    let verifier = app.verifier(&[one, two]).await;
    let id = asked(&verifier, one, json!({"order_number": number})).await;
    tap(&customer, &id, "approve").await.expect(200);
    refused(&list(&verifier, two, &id).await, 409, "token_mismatch", "");
    list(&verifier, one, &id).await.expect(200);
    let elsewhere = app.verifier(&[two]).await;
    let path = format!("/api/v1/staff/consent-requests/{id}");
    refused(&elsewhere.get(&path).await, 404, "not_found", "");
    refused(&stranger.get(&path).await, 404, "not_found", "");
});

on_both!(what_can_be_redeemed_here_comes_first, |app| async {
    let (first, second) = (app.store("一店").await, app.store("二店").await);
    let customer = app.customer("小王").await;
    bind(&customer, "13812341234").await.expect(200);
    let bound = json!({"binding": "chosen_store", "uses": 1, "validity": {"days": 10}});
    let there = shop_in_with(&app, second, bound).await;
    let elsewhere = app.buy(&customer, &there, 1).await;
    let here = shop_in_with(&app, first, json!({"uses": 1, "validity": {"days": 30}})).await;
    let bought = app.buy(&customer, &here, 1).await;
    let verifier = app.verifier(&[first]).await;
    let id = asked(&verifier, first, json!({"phone_last4": "1234"})).await;
    tap(&customer, &id, "approve").await.expect(200);
    let prepared = list(&verifier, first, &id).await.expect(200);
    assert_eq!(listed(&prepared), [&bought.vouchers[0], &elsewhere.vouchers[0]]);
    assert_eq!(prepared["vouchers"][1]["refusals"][0]["code"], "wrong_store");
});
