//! Redemption over HTTP: by code, by QR, by the order's QR; every refusal with its reason; exactly once.

use chrono::{Datelike, Utc};
use chrono_tz::Asia::Shanghai;
use hexiao_core::id::StoreId;
use hexiao_testkit::{Answer, Client, TestApp, on_both};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{
    ask_refund, damage_voucher, days, items, key, order, owner_again, seconds, shop_in_with, shop_of,
    shop_with, staff_again, text,
};

async fn prepare_code(verifier: &Client, store: StoreId, code: &str) -> Answer {
    let body = json!({"store_id": store, "input": {"code": code}});
    verifier.post("/api/v1/staff/redemptions/prepare", body).await
}

/// What a prepare says is in the way of a voucher.
async fn in_the_way(
    app: &TestApp,
    verifier: &Client,
    customer: &Client,
    store: StoreId,
    voucher: &str,
) -> Value {
    let qr = app.voucher(customer, voucher).await["qr"].clone();
    let prepared = verifier.prepare(store, &qr).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["redeemable"], 0);
    prepared["vouchers"][0]["refusals"][0].clone()
}

async fn confirm(verifier: &Client, store: StoreId, token: &Value, items: Value, more: Value) -> Answer {
    let mut body = json!({"store_id": store, "prepare_token": token, "items": items});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    verifier.post_key("/api/v1/staff/redemptions", &key(), body).await
}

fn one(voucher: &str, quantity: u32) -> Value {
    json!({"voucher_id": voucher, "quantity": quantity})
}

async fn attempts(staff: &Client) -> Vec<Value> {
    items(&staff.get("/api/v1/staff/redemption-attempts?limit=100").await.expect(200)).clone()
}

on_both!(by_code_however_it_is_typed, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(4, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    let shown = app.voucher(&customer, &bought.vouchers[0]).await;
    let code = text(&shown["code"]);
    assert_eq!(code.len(), 12);
    assert_eq!(text(&shown["code_display"]).replace(' ', ""), code);
    let wide: String = code
        .chars()
        .map(|c| char::from_u32(u32::from(c) - u32::from('0') + u32::from('０')).unwrap())
        .collect();
    for typed in [code, text(&shown["code_display"]), &format!(" {}-{} ", &code[..4], &code[4..]), &wide] {
        let prepared = prepare_code(&verifier, shop.store, typed).await.expect(200);
        let voucher = &prepared["vouchers"][0];
        assert_eq!((&voucher["voucher_id"], &voucher["code_last4"]), (&shown["id"], &json!(code[8..])));
        assert!(!prepared.to_string().contains(code), "nobody but its customer sees a whole code");
    }
    let prepared = prepare_code(&verifier, shop.store, code).await.expect(200);
    let done = verifier.confirm(shop.store, &prepared, &bought.vouchers[0], 1, &key()).await.expect(201);
    let result = &done["results"][0];
    assert_eq!((&result["result"], &result["remaining"]), (&json!("redeemed"), &json!(3)));
    let list = verifier.get("/api/v1/staff/redemptions").await.expect(200);
    assert_eq!((items(&list).len(), &items(&list)[0]["method"]), (1, &json!("code")));
    assert!(!list.to_string().contains(code));
    app.verify().await;
});

on_both!(by_qr_some_uses_at_a_time, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let verifier = app.verifier(&[shop.store]).await;
    let qr = app.voucher(&customer, voucher).await["qr"].clone();
    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    let seen = &prepared["vouchers"][0];
    assert_eq!((&seen["redeemable"], &seen["total"], &seen["used"]), (&json!(3), &json!(3), &json!(0)));
    assert_eq!((&seen["min_quantity"], &seen["max_quantity"]), (&json!(1), &json!(3)));
    assert_eq!((&seen["attention"], &seen["refusals"]), (&json!([]), &json!([])));
    let done = verifier.confirm(shop.store, &prepared, voucher, 2, &key()).await.expect(201);
    assert_eq!((&done["results"][0]["serials"], &done["replayed"]), (&json!([1, 2]), &json!(false)));
    let part = order(&customer, &bought.order).await;
    assert_eq!((&part["fulfilment"], &part["state_text"]), (&json!("partly_fulfilled"), &json!("部分核销")));
    // The QR is good for all uses: it is the same ticket.
    let last = verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    assert_eq!(last["results"][0]["serials"], json!([3]));
    let full = order(&customer, &bought.order).await;
    assert_eq!((&full["fulfilment"], &full["tab"]), (&json!("completed"), &json!("redeemed")));
    let refusal = in_the_way(&app, &verifier, &customer, shop.store, voucher).await;
    assert_eq!((&refusal["code"], &refusal["fault"]), (&json!("used_up"), &json!("customer")));
    refused(&verifier.redeem(&app, &customer, shop.store, voucher, 1).await, 409, "used_up", "");
    assert_eq!(crate::steps::balance(&owner, "merchant_pending").await, -100);
    let mine = app.voucher(&customer, voucher).await;
    assert_eq!((&mine["state"], &mine["remaining"]), (&json!("used"), &json!(0)));
    assert_eq!(mine["uses"].as_array().unwrap().len(), 3);
    let by_order =
        owner.get(&format!("/api/v1/merchant/redemptions?order_id={}", bought.order)).await.expect(200);
    assert_eq!(items(&by_order).len(), 2);
    app.verify().await;
});

on_both!(a_whole_order_by_its_qr, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(3, 100, None).await;
    let bought = app.buy(&customer, &shop, 3).await;
    let [a, b, c] = [&bought.vouchers[0], &bought.vouchers[1], &bought.vouchers[2]];
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, c, 3).await.expect(201);
    let qr = order(&customer, &bought.order).await["qr"].clone();
    let token = async || {
        let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
        assert_eq!(prepared["vouchers"].as_array().unwrap().len(), 3);
        prepared["prepare_token"].clone()
    };
    let both = json!([one(a, 2), one(b, 1)]);
    let done = confirm(&verifier, shop.store, &token().await, both, json!({})).await.expect(201);
    assert_eq!(done["results"][0]["serials"], json!([1, 2]));
    assert_eq!(done["results"][1]["serials"], json!([1]));
    // All or none: the one that is fine falls with the other.
    let mixed = json!([one(b, 1), one(c, 1)]);
    let ack = json!({"acknowledge": ["just_redeemed"]});
    let none = confirm(&verifier, shop.store, &token().await, mixed.clone(), ack).await;
    refused(&none, 409, "used_up", "");
    assert_eq!(none.body["results"][0]["refusal"], Value::Null);
    assert_eq!(none.body["results"][1]["refusal"]["code"], "used_up");
    assert_eq!(order(&customer, &bought.order).await["units"]["used"], 6);
    let each = json!({"acknowledge": ["just_redeemed"], "atomicity": "each"});
    let some = confirm(&verifier, shop.store, &token().await, mixed, each.clone()).await.expect(201);
    assert_eq!(
        (&some["results"][0]["result"], &some["results"][1]["result"]),
        (&json!("redeemed"), &json!("refused"))
    );
    assert_eq!(some["results"][1]["refusal"]["code"], "used_up");
    let nothing = confirm(&verifier, shop.store, &token().await, json!([one(c, 1)]), each).await;
    refused(&nothing, 409, "used_up", "");
    assert_eq!(order(&customer, &bought.order).await["units"]["used"], 7);
    let twice =
        confirm(&verifier, shop.store, &token().await, json!([one(a, 1), one(a, 1)]), json!({})).await;
    refused(&twice, 400, "invalid_field", "items[1].voucher_id");
    let zero = confirm(&verifier, shop.store, &token().await, json!([one(a, 0)]), json!({})).await;
    refused(&zero, 400, "invalid_field", "items[0].quantity");
    app.verify().await;
});

on_both!(a_mistyped_code_is_told_from_an_unknown_one_and_searching_is_stopped, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(3, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    let shown = app.voucher(&customer, &bought.vouchers[0]).await;
    let code = text(&shown["code"]);
    let last = (code.as_bytes()[11] - b'0' + 1) % 10;
    let mistyped = format!("{}{last}", &code[..11]);
    refused(&prepare_code(&verifier, shop.store, &mistyped).await, 422, "bad_check_digit", "");
    refused(&prepare_code(&verifier, shop.store, "12345").await, 400, "invalid_field", "input.code");
    let unknown = hexiao_core::code::VoucherCode::from_entropy([7; 16]);
    for _ in 0..10 {
        refused(&prepare_code(&verifier, shop.store, unknown.digits()).await, 404, "not_found", "");
    }
    refused(&prepare_code(&verifier, shop.store, code).await, 429, "rate_limited", "");
    // Scanning goes on, and so does everybody else.
    verifier.prepare(shop.store, &shown["qr"]).await.expect(200);
    let colleague = app.verifier(&[shop.store]).await;
    prepare_code(&colleague, shop.store, code).await.expect(200);
    let logged = attempts(&verifier).await;
    let count = |reason: &str| logged.iter().filter(|a| a["reason"] == reason).count();
    assert_eq!((count("bad_check_digit"), count("invalid_field"), count("not_found")), (1, 1, 10));
    assert_eq!(logged.last().unwrap()["code_last4"], json!(mistyped[8..]));
    let all = json!(logged).to_string();
    assert!(!all.contains(code) && !all.contains(&mistyped) && !all.contains(unknown.digits()));
    app.advance(seconds(601));
    prepare_code(&verifier, shop.store, code).await.expect(200);
    app.verify().await;
});

on_both!(a_store_whose_staff_search_together_is_stopped, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(3, 100, None).await;
    let away = app.store("徐家汇店").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let shown = app.voucher(&customer, &bought.vouchers[0]).await;
    let code = text(&shown["code"]);
    let typed = async |who: &Client, store: StoreId, code: &str, device: &str| {
        let body = json!({"store_id": store, "device_id": device, "input": {"code": code}});
        who.post("/api/v1/staff/redemptions/prepare", body).await
    };
    let unknown = hexiao_core::code::VoucherCode::from_entropy([7; 16]);
    // One device passes from hand to hand: nine of the first, six of the second.
    let mut verifiers = Vec::new();
    for _ in 0..5 {
        verifiers.push(app.verifier(&[shop.store, away]).await);
    }
    for (n, times) in [(0, 9), (1, 6)] {
        for _ in 0..times {
            refused(&typed(&verifiers[n], shop.store, unknown.digits(), "till").await, 404, "not_found", "");
        }
    }
    refused(&typed(&verifiers[1], shop.store, code, "till").await, 429, "rate_limited", "");
    typed(&verifiers[1], shop.store, code, "phone").await.expect(200);
    // Others go on with their own, until the store has had enough of it.
    for (n, times) in [(2, 9), (3, 6)] {
        for _ in 0..times {
            let device = format!("phone-{n}");
            refused(&typed(&verifiers[n], shop.store, unknown.digits(), &device).await, 404, "not_found", "");
        }
    }
    let stopped = typed(&verifiers[4], shop.store, code, "phone-4").await;
    refused(&stopped, 429, "rate_limited", "");
    assert!(text(&stopped.body["error"]["message"]).starts_with("本店输错券码次数过多"));
    // Scanning goes on there, and typing elsewhere.
    verifiers[4].prepare(shop.store, &shown["qr"]).await.expect(200);
    typed(&verifiers[4], away, code, "phone-4").await.expect(200);
    app.advance(seconds(601));
    typed(&verifiers[4], shop.store, code, "phone-4").await.expect(200);
    app.verify().await;
});

on_both!(where_and_when_it_can_be_used, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let (home, away) = (app.store("人民广场店").await, app.store("徐家汇店").await);
    let bound = shop_in_with(&app, home, json!({"binding": "chosen_store"})).await;
    let bound = app.buy(&customer, &bound, 1).await;
    let verifier = app.verifier(&[home, away]).await;
    let refusal = in_the_way(&app, &verifier, &customer, away, &bound.vouchers[0]).await;
    assert_eq!(refusal["code"], "wrong_store");
    assert!(text(&refusal["message"]).contains("「人民广场店」"), "{refusal}");
    refused(&verifier.redeem(&app, &customer, away, &bound.vouchers[0], 1).await, 409, "wrong_store", "");
    let path = format!("/api/v1/merchant/stores/{home}");
    owner.patch(&path, json!({"resting": true})).await.expect(200);
    let refusal = in_the_way(&app, &verifier, &customer, home, &bound.vouchers[0]).await;
    assert_eq!(refusal["code"], "store_closed");
    owner.patch(&path, json!({"resting": false})).await.expect(200);
    let today = Utc::now().with_timezone(&Shanghai).date_naive();
    let (next, after) = (today + chrono::Days::new(5), today + chrono::Days::new(6));
    let later = shop_in_with(&app, home, json!({"validity": {"from": next, "to": after}})).await;
    let later = app.buy(&customer, &later, 1).await;
    let refusal = in_the_way(&app, &verifier, &customer, home, &later.vouchers[0]).await;
    assert_eq!(refusal["code"], "not_started");
    assert!(text(&refusal["message"]).contains(&next.format("%-d").to_string()), "{refusal}");
    let short = shop_in_with(&app, home, json!({"validity": {"days": 1}})).await;
    let short = app.buy(&customer, &short, 1).await;
    app.advance(days(3));
    let (verifier, customer) = (staff_again(&app, 0).await, app.customer("小王").await);
    let refusal = in_the_way(&app, &verifier, &customer, home, &short.vouchers[0]).await;
    assert_eq!(refusal["code"], "expired");
    refused(&verifier.redeem(&app, &customer, home, &short.vouchers[0], 1).await, 409, "expired", "");
    assert_eq!(app.voucher(&customer, &short.vouchers[0]).await["state"], "expired");
    app.verify().await;
});

on_both!(hours_and_days_of_the_rule, |app| async {
    let customer = app.customer("小王").await;
    let store = app.store("人民广场店").await;
    let verifier = app.verifier(&[store]).await;
    let now = Utc::now().with_timezone(&Shanghai);
    let weekday = now.date_naive().weekday().number_from_monday();
    let others: Vec<u32> = (1..=7).filter(|d| *d != weekday && *d != weekday % 7 + 1).collect();
    let soon = [now.date_naive(), now.date_naive() + chrono::Days::new(1)];
    for (terms, code) in [
        (json!({"usable": [{"weekdays": others, "from": "10:00", "to": "20:00"}]}), "outside_hours"),
        (json!({"blackout_dates": soon}), "blackout_date"),
    ] {
        let shop = shop_in_with(&app, store, terms).await;
        let bought = app.buy(&customer, &shop, 1).await;
        let refusal = in_the_way(&app, &verifier, &customer, store, &bought.vouchers[0]).await;
        assert_eq!(refusal["code"], code);
        refused(&verifier.redeem(&app, &customer, store, &bought.vouchers[0], 1).await, 409, code, "");
    }
    app.verify().await;
});

on_both!(how_many_and_how_often_by_the_rule, |app| async {
    let customer = app.customer("小王").await;
    let store = app.store("人民广场店").await;
    let verifier = app.verifier(&[store]).await;
    let buy = async |terms: Value| {
        let shop = shop_in_with(&app, store, terms).await;
        app.buy(&customer, &shop, 1).await.vouchers.remove(0)
    };
    let redeem = async |voucher: &str, n: u32| verifier.redeem(&app, &customer, store, voucher, n).await;
    let pair = buy(json!({"min_quantity": 2, "uses": 4})).await;
    refused(&redeem(&pair, 1).await, 409, "min_quantity", "");
    redeem(&pair, 2).await.expect(201);
    let daily = buy(json!({"daily_cap": 2, "uses": 5})).await;
    let qr = app.voucher(&customer, &daily).await["qr"].clone();
    let prepared = verifier.prepare(store, &qr).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["redeemable"], 2);
    refused(&redeem(&daily, 3).await, 409, "daily_cap", "");
    redeem(&daily, 2).await.expect(201);
    refused(&redeem(&daily, 1).await, 409, "daily_cap", "");
    let spaced = buy(json!({"min_interval_minutes": 10})).await;
    redeem(&spaced, 1).await.expect(201);
    app.advance(seconds(560));
    refused(&redeem(&spaced, 1).await, 409, "too_soon", "");
    app.advance(seconds(41));
    redeem(&spaced, 1).await.expect(201);
    refused(&redeem(&spaced, 3).await, 409, "not_enough_uses", "");
    app.verify().await;
});

on_both!(frozen_stale_and_foreign_tickets, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(3, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let verifier = app.verifier(&[shop.store]).await;
    damage_voucher(&app, "state = 'Frozen'", voucher).await;
    let refusal = in_the_way(&app, &verifier, &customer, shop.store, voucher).await;
    assert_eq!((&refusal["code"], &refusal["fault"]), (&json!("frozen"), &json!("system")));
    refused(&ask_refund(&customer, &bought.order, json!([one(voucher, 1)]), &key()).await, 409, "frozen", "");
    damage_voucher(&app, "state = 'Live'", voucher).await;
    let old = app.voucher(&customer, voucher).await["qr"].clone();
    damage_voucher(&app, "version = version + 1", voucher).await;
    refused(&verifier.prepare(shop.store, &old).await, 409, "qr_stale", "");
    verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    let other = app.other_owner().await;
    let theirs = app.buy(&customer, &shop_of(&other, 100, 1).await, 1).await;
    let foreign = app.voucher(&customer, &theirs.vouchers[0]).await;
    refused(&verifier.prepare(shop.store, &foreign["qr"]).await, 422, "invalid_signature", "");
    refused(&prepare_code(&verifier, shop.store, text(&foreign["code"])).await, 404, "not_found", "");
    let foreign_order = order(&customer, &theirs.order).await["qr"].clone();
    refused(&verifier.prepare(shop.store, &foreign_order).await, 422, "invalid_signature", "");
    let broken = json!(format!("{}A", text(&old)));
    refused(&verifier.prepare(shop.store, &broken).await, 422, "invalid_signature", "");
    refused(&verifier.prepare(shop.store, &json!("https://example.com")).await, 422, "invalid_signature", "");
    let both = json!({"store_id": shop.store, "input": {"qr": old, "code": "1"}});
    refused(&verifier.post("/api/v1/staff/redemptions/prepare", both).await, 400, "invalid_field", "input");
    app.verify().await;
});

on_both!(a_second_scan_needs_a_second_look, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(3, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let verifier = app.verifier(&[shop.store]).await;
    verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    let qr = app.voucher(&customer, voucher).await["qr"].clone();
    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["attention"], json!(["just_redeemed"]));
    let token = &prepared["prepare_token"];
    let blind = confirm(&verifier, shop.store, token, json!([one(voucher, 1)]), json!({})).await;
    refused(&blind, 409, "acknowledge_required", "");
    let ack = json!({"acknowledge": ["just_redeemed"]});
    confirm(&verifier, shop.store, token, json!([one(voucher, 1)]), ack).await.expect(201);
    app.advance(seconds(121));
    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["attention"], json!([]));
    confirm(&verifier, shop.store, &prepared["prepare_token"], json!([one(voucher, 1)]), json!({}))
        .await
        .expect(201);
    app.verify().await;
});

on_both!(a_prepared_token_is_good_once_for_what_was_seen, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(9, 100, None).await;
    let bought = app.buy(&customer, &shop, 2).await;
    let (voucher, other) = (&bought.vouchers[0], &bought.vouchers[1]);
    let (verifier, colleague) = (app.verifier(&[shop.store]).await, app.verifier(&[shop.store]).await);
    let qr = app.voucher(&customer, voucher).await["qr"].clone();
    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    let with_key = key();
    let done = verifier.confirm(shop.store, &prepared, voucher, 1, &with_key).await.expect(201);
    let again = verifier.confirm(shop.store, &prepared, voucher, 1, &key()).await;
    refused(&again, 409, "token_used", "");
    refused(
        &verifier.confirm(shop.store, &prepared, voucher, 2, &with_key).await,
        422,
        "idempotency_conflict",
        "",
    );

    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    refused(&colleague.confirm(shop.store, &prepared, voucher, 1, &key()).await, 409, "token_mismatch", "");
    refused(&verifier.confirm(shop.store, &prepared, other, 1, &key()).await, 409, "token_mismatch", "");
    let forged = json!({"prepare_token": text(&prepared["prepare_token"]).replacen('7', "8", 1)});
    refused(&verifier.confirm(shop.store, &forged, voucher, 1, &key()).await, 409, "token_mismatch", "");
    app.advance(seconds(121));
    refused(&verifier.confirm(shop.store, &prepared, voucher, 1, &key()).await, 409, "token_expired", "");
    // A lost answer is given again, also when the token is long over.
    let replay = verifier
        .confirm(shop.store, &json!({"prepare_token": "gone"}), voucher, 1, &with_key)
        .await
        .expect(200);
    assert_eq!((&replay["id"], &replay["replayed"]), (&done["id"], &json!(true)));
    assert_eq!(replay["results"], done["results"]);
    assert_eq!(order(&customer, &bought.order).await["units"]["used"], 1);
    let reasons: Vec<Value> = attempts(&verifier).await.into_iter().map(|a| a["reason"].clone()).collect();
    for reason in ["token_used", "token_mismatch", "token_expired", "idempotency_conflict"] {
        assert!(reasons.contains(&json!(reason)), "{reason}: {reasons:?}");
    }
    app.verify().await;
});

on_both!(only_staff_of_the_store, |app| async {
    let customer = app.customer("小王").await;
    let shop = shop_with(&app, json!({})).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let away = app.store("徐家汇店").await;
    let elsewhere = app.verifier(&[away]).await;
    let qr = app.voucher(&customer, &bought.vouchers[0]).await["qr"].clone();
    refused(&elsewhere.prepare(shop.store, &qr).await, 404, "not_found", "");
    let verifier = app.verifier(&[shop.store]).await;
    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    let theirs = elsewhere.confirm(shop.store, &prepared, &bought.vouchers[0], 1, &key()).await;
    refused(&theirs, 404, "not_found", "");
    let other = app.other_owner().await;
    refused(&other.prepare(shop.store, &qr).await, 404, "not_found", "");
    refused(&customer.prepare(shop.store, &qr).await, 403, "forbidden", "");
    refused(&app.anonymous().prepare(shop.store, &qr).await, 401, "unauthenticated", "");
    let finance = app.staff(hexiao_core::catalog::Role::Finance, &[]).await;
    refused(&finance.prepare(shop.store, &qr).await, 403, "forbidden", "");
    verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    let seen = elsewhere.get("/api/v1/staff/redemptions").await.expect(200);
    assert!(items(&seen).is_empty());
    assert_eq!(
        items(&owner_again(&app).await.get("/api/v1/merchant/redemptions").await.expect(200)).len(),
        1
    );
    app.verify().await;
});
