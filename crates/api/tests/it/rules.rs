//! Rules of redemption over HTTP, beyond the plain ones: validity from the first use, bounds, daily limits of
//! verifiers, and where and when a voucher that is refused can be used.

use chrono::{Datelike, Days, Duration, NaiveDate, TimeZone as _, Utc};
use chrono_tz::Asia::Shanghai;
use hexiao_core::id::{Id as _, StoreId};
use hexiao_testkit::{Client, TestApp, on_both};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{days, key, owner_again, shop_in_with, shop_with, staff_again, text};

const REDEEM: &str = "/api/v1/staff/redemptions";

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
    prepared["vouchers"][0]["refusals"][0].clone()
}

/// The end of the day that comes so many days after an instant's own, in Shanghai.
fn end_of_day(at: chrono::DateTime<Utc>, after: u64) -> String {
    let day = at.with_timezone(&Shanghai).date_naive() + Days::new(after + 1);
    Shanghai.from_local_datetime(&day.and_hms_opt(0, 0, 0).unwrap()).unwrap().to_rfc3339()
}

fn instant(value: &Value) -> chrono::DateTime<Utc> {
    chrono::DateTime::parse_from_rfc3339(text(value)).unwrap().to_utc()
}

on_both!(the_clock_starts_with_the_first_use, |app| async {
    let customer = app.customer("小王").await;
    let shop = shop_with(&app, json!({"validity": {"days": 10, "activate_within_days": 20}})).await;
    let product = customer.get(&format!("/api/v1/customer/products/{}", shop.product)).await.expect(200);
    let rule = &product["skus"][0]["rule"];
    assert_eq!(
        (&rule["validity"]["days"], &rule["validity"]["activate_within_days"]),
        (&json!(10), &json!(20))
    );
    assert_eq!(rule["texts"][0], "首次使用后 10 天内有效，请在购买后 20 天内首次使用");
    let bought = app.buy(&customer, &shop, 2).await;
    let (voucher, late) = (&bought.vouchers[0], &bought.vouchers[1]);
    let verifier = app.verifier(&[shop.store]).await;
    let seen = app.voucher(&customer, voucher).await;
    let paid = instant(&seen["valid_from"]);
    assert_eq!(seen["valid_to"], end_of_day(paid, 20));
    app.advance(days(2));
    let (customer, verifier) = (app.customer("小王").await, {
        drop(verifier);
        staff_again(&app, 0).await
    });
    let first = verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    let begun = app.app.now().datetime();
    let after = app.voucher(&customer, voucher).await;
    assert_eq!(after["valid_to"], end_of_day(begun, 10));
    assert_eq!(after["qr"], seen["qr"], "a screenshot stays good");
    // A further use moves nothing; undoing the first of two leaves the second as the first.
    let second = verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    assert_eq!(app.voucher(&customer, voucher).await["valid_to"], end_of_day(begun, 10));
    for done in [&first, &second] {
        let path = format!("{REDEEM}/{}/reverse", text(&done["id"]));
        verifier.post_key(&path, &key(), json!({"reason": "点错了"})).await.expect(200);
    }
    let undone = app.voucher(&customer, voucher).await;
    assert_eq!(undone["valid_to"], end_of_day(paid, 20), "never used again");
    verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    app.advance(days(11));
    let (customer, verifier) = (app.customer("小王").await, staff_again(&app, 0).await);
    refused(&verifier.redeem(&app, &customer, shop.store, voucher, 1).await, 409, "expired", "");
    // The other one was not begun: it can still be, until its own end.
    verifier.redeem(&app, &customer, shop.store, late, 1).await.expect(201);
    app.verify().await;
});

on_both!(terms_that_cannot_be_refunded_in_time_are_refused, |app| async {
    let owner = app.owner().await;
    let sku = |terms: Value| {
        let mut sku = json!({"name": "次卡", "price_fen": 100, "uses": 3});
        for (name, value) in terms.as_object().unwrap() {
            sku[name] = value.clone();
        }
        json!({"name": "套餐", "kind": "redeem", "skus": [sku], "store_scope": {"all": true}})
    };
    let path = "/api/v1/merchant/products";
    for (terms, field) in [
        (
            json!({"validity": {"days": 300, "activate_within_days": 51}}),
            "skus[0].validity.activate_within_days",
        ),
        (json!({"validity": {"activate_within_days": 51}}), "skus[0].validity"),
        (json!({"validity": {"days": 30, "activate_within_days": 0}}), "skus[0].validity.days"),
        (json!({"min_quantity": 2, "max_quantity": 1}), "skus[0].max_quantity"),
    ] {
        refused(&owner.post(path, sku(terms)).await, 400, "invalid_field", field);
    }
    let fine =
        json!({"validity": {"days": 300, "activate_within_days": 51}, "refund": "none", "max_quantity": 3});
    owner.post(path, sku(fine)).await.expect(201);
});

on_both!(at_most_so_many_and_the_rest_however_few, |app| async {
    let customer = app.customer("小王").await;
    let shop = shop_with(&app, json!({"uses": 5, "min_quantity": 2, "max_quantity": 2})).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let (voucher, verifier) = (&bought.vouchers[0], app.verifier(&[shop.store]).await);
    let redeem = async |n: u32| verifier.redeem(&app, &customer, shop.store, voucher, n).await;
    let qr = app.voucher(&customer, voucher).await["qr"].clone();
    let bounds = async || {
        let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
        let seen = &prepared["vouchers"][0];
        (seen["min_quantity"].clone(), seen["max_quantity"].clone())
    };
    assert_eq!(bounds().await, (json!(2), json!(2)));
    refused(&redeem(3).await, 409, "max_quantity", "");
    refused(&redeem(1).await, 409, "min_quantity", "");
    redeem(2).await.expect(201);
    redeem(2).await.expect(201);
    assert_eq!(bounds().await, (json!(1), json!(1)));
    redeem(1).await.expect(201);
    app.verify().await;
});

on_both!(a_verifier_has_a_daily_limit, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = shop_with(&app, json!({"uses": 5})).await;
    let bought = app.buy(&customer, &shop, 3).await;
    let verifier = app.verifier(&[shop.store]).await;
    let path = format!("/api/v1/merchant/staff/{}", verifier.id);
    let set = owner.patch(&path, json!({"daily_uses_limit": 3})).await.expect(200);
    assert_eq!((&set["daily_uses_limit"], &set["daily_amount_limit_fen"]), (&json!(3), &Value::Null));
    // A session that the server remembers from before the limit may not know of it for a second.
    let verifier = staff_again(&app, 0).await;
    let redeem = async |voucher: usize, n: u32| {
        verifier.redeem(&app, &customer, shop.store, &bought.vouchers[voucher], n).await
    };
    refused(&redeem(0, 4).await, 409, "limit_exceeded", "");
    let two = redeem(0, 2).await.expect(201);
    let refusal = redeem(1, 2).await;
    refused(&refusal, 409, "limit_exceeded", "");
    assert!(text(&refusal.body["error"]["message"]).contains("每天最多核销 3 次，今天已核销 2 次"));
    // Of several, those that fit.
    let qr = crate::steps::order(&customer, &bought.order).await["qr"].clone();
    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    let body = json!({
        "store_id": shop.store, "prepare_token": prepared["prepare_token"], "atomicity": "each",
        "items": [{"voucher_id": bought.vouchers[1], "quantity": 1}, {"voucher_id": bought.vouchers[2], "quantity": 1}],
    });
    let some = verifier.post_key(REDEEM, &key(), body).await.expect(201);
    assert_eq!(some["results"][1]["refusal"]["code"], "limit_exceeded");
    let refusal = in_the_way(&app, &verifier, &customer, shop.store, &bought.vouchers[2]).await;
    assert_eq!((&refusal["code"], &refusal["fault"]), (&json!("limit_exceeded"), &json!("staff")));
    // Undoing gives it back; colleagues never noticed; the next day is another.
    let undo = format!("{REDEEM}/{}/reverse", text(&two["id"]));
    verifier.post_key(&undo, &key(), json!({"reason": "点错了"})).await.expect(200);
    redeem(0, 2).await.expect(201);
    refused(&redeem(1, 1).await, 409, "limit_exceeded", "");
    let colleague = app.verifier(&[shop.store]).await;
    colleague.redeem(&app, &customer, shop.store, &bought.vouchers[2], 2).await.expect(201);
    app.advance(days(1));
    let (verifier, customer) = (staff_again(&app, 0).await, app.customer("小王").await);
    verifier.redeem(&app, &customer, shop.store, &bought.vouchers[1], 3).await.expect(201);
    // By worth: a use is worth 20 fen.
    let owner = owner_again(&app).await;
    owner.patch(&path, json!({"daily_uses_limit": null, "daily_amount_limit_fen": 79})).await.expect(200);
    let refusal = verifier.redeem(&app, &customer, shop.store, &bought.vouchers[2], 1).await;
    refused(&refusal, 409, "limit_exceeded", "");
    assert!(text(&refusal.body["error"]["message"]).contains("每天最多核销 0.79 元，今天已核销 0.60 元"));
    app.verify().await;
});

on_both!(only_headquarters_set_limits, |app| async {
    let owner = app.owner().await;
    let store = app.store("人民广场店").await;
    let (manager, verifier) = (app.manager(&[store]).await, app.verifier(&[store]).await);
    let path = format!("/api/v1/merchant/staff/{}", verifier.id);
    for body in [json!({"daily_uses_limit": 5}), json!({"daily_amount_limit_fen": 5})] {
        refused(&manager.patch(&path, body).await, 403, "forbidden", "");
    }
    manager.patch(&path, json!({"daily_uses_limit": null, "name": "小李"})).await.expect(200);
    let wrong = owner.patch(&path, json!({"daily_uses_limit": 100_001})).await;
    refused(&wrong, 400, "invalid_field", "daily_uses_limit");
    let wrong = owner.patch(&path, json!({"daily_amount_limit_fen": -1})).await;
    refused(&wrong, 400, "invalid_field", "daily_amount_limit_fen");
    owner.patch(&path, json!({"daily_uses_limit": 0})).await.expect(200);
    // The limit did not end the session, and the manager cannot lift it.
    verifier.get("/api/v1/auth/me").await.expect(200);
    refused(&manager.patch(&path, json!({"daily_uses_limit": null})).await, 403, "forbidden", "");
    let body = json!({"name": "新人", "phone": "13700000099", "password": "hexiao2026", "role": "verifier", "store_ids": [store], "daily_uses_limit": 9});
    refused(&manager.post("/api/v1/merchant/staff", body.clone()).await, 403, "forbidden", "");
    assert_eq!(owner.post("/api/v1/merchant/staff", body).await.expect(201)["daily_uses_limit"], 9);
});

/// A store so many thousandths of a degree north of the others: 111 m each.
async fn store_at(owner: &Client, name: &str, thousandths: i32, hours: Value) -> StoreId {
    let lat = 31.2381 + f64::from(thousandths) / 1000.0;
    let body = json!({"name": name, "address": format!("{name}路 1 号"), "lat": lat, "lng": 121.4847, "phone": "021-62580000", "hours": hours});
    let made = owner.post("/api/v1/merchant/stores", body).await.expect(201);
    StoreId::parse(text(&made["id"])).unwrap()
}

on_both!(who_came_to_the_wrong_store_is_told_the_nearest, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let here = app.store("人民广场店").await;
    let near = store_at(&owner, "豫园店", 9, json!([])).await;
    let far = store_at(&owner, "徐家汇店", 90, json!([])).await;
    let resting = store_at(&owner, "静安店", 1, json!([])).await;
    owner.patch(&format!("/api/v1/merchant/stores/{resting}"), json!({"resting": true})).await.expect(200);
    let product = |scope: Value| json!({"name": "套餐", "kind": "redeem", "skus": [{"name": "次卡", "price_fen": 100, "uses": 3}], "store_scope": scope});
    let sold_at = async |store: StoreId, scope: Value| {
        let made = crate::products::create(&owner, product(scope)).await;
        crate::products::publish(&owner, &made).await;
        let of = |value: &Value| text(value).to_owned();
        hexiao_testkit::Shop { store, product: of(&made["id"]), sku: of(&made["skus"][0]["id"]) }
    };
    let verifier = app.verifier(&[here, near, far]).await;
    let elsewhere = sold_at(far, json!({"store_ids": [far, near, resting]})).await;
    let bought = app.buy(&customer, &elsewhere, 1).await;
    let refusal = in_the_way(&app, &verifier, &customer, here, &bought.vouchers[0]).await;
    assert_eq!(refusal["code"], "wrong_store");
    let nearest = &refusal["nearest_store"];
    assert_eq!((&nearest["id"], &nearest["name"]), (&json!(near), &json!("豫园店")));
    assert_eq!((&nearest["distance_m"], &nearest["open_now"]), (&json!(1001), &json!(false)));
    assert_eq!(nearest["address"], "豫园店路 1 号");
    assert!(
        text(&refusal["message"]).ends_with("最近的可用门店：「豫园店」，距本店 1.0 公里，休息中"),
        "{refusal}"
    );
    // The confirm says the same.
    let answer = verifier.redeem(&app, &customer, here, &bought.vouchers[0], 1).await;
    refused(&answer, 409, "wrong_store", "");
    assert_eq!(answer.body["results"][0]["refusal"]["nearest_store"], *nearest);
    assert_eq!(answer.body["error"]["message"], refusal["message"]);
    // All but one: also what cannot be bought there.
    let except = sold_at(near, json!({"all": true, "except_store_ids": [here]})).await;
    let seen = owner.get(&format!("/api/v1/merchant/products/{}", except.product)).await.expect(200);
    assert_eq!(seen["store_scope"], json!({"all": true, "store_ids": [], "except_store_ids": [here]}));
    let there = hexiao_testkit::Shop { store: here, ..except.clone() };
    refused(&app.order(&customer, &there, 1).await, 409, "not_listed", "");
    for (store, sold) in [(here, false), (near, true)] {
        let path = format!("/api/v1/customer/stores/{store}/products");
        let list = customer.get(&path).await.expect(200).to_string();
        assert_eq!(list.contains(&except.product), sold);
    }
    for (stores, sees) in [(vec![here], false), (vec![here, far], true)] {
        let manager = app.manager(&stores).await;
        let answer = manager.get(&format!("/api/v1/merchant/products/{}", except.product)).await;
        assert_eq!(answer.status == 200, sees, "{}", answer.body);
    }
    let bought = app.buy(&customer, &except, 1).await;
    let refusal = in_the_way(&app, &verifier, &customer, here, &bought.vouchers[0]).await;
    assert_eq!((&refusal["code"], &refusal["nearest_store"]["id"]), (&json!("wrong_store"), &json!(near)));
    verifier.redeem(&app, &customer, far, &bought.vouchers[0], 1).await.expect(201);
    // A store that rests sends people on as well.
    owner.patch(&format!("/api/v1/merchant/stores/{near}"), json!({"resting": true})).await.expect(200);
    let refusal = in_the_way(&app, &verifier, &customer, near, &bought.vouchers[0]).await;
    assert_eq!((&refusal["code"], &refusal["nearest_store"]["id"]), (&json!("store_closed"), &json!(far)));
    app.verify().await;
});

on_both!(who_came_at_the_wrong_time_is_told_the_next, |app| async {
    let customer = app.customer("小王").await;
    let store = app.store("人民广场店").await;
    let verifier = app.verifier(&[store]).await;
    let now = Utc::now().with_timezone(&Shanghai);
    // Only on the day after tomorrow's weekday, at eleven.
    let day: NaiveDate = now.date_naive() + Days::new(2);
    let window = json!([{"weekdays": [day.weekday().number_from_monday()], "from": "11:00", "to": "14:00"}]);
    let next = Shanghai.from_local_datetime(&day.and_hms_opt(11, 0, 0).unwrap()).unwrap();
    let shop = shop_in_with(&app, store, json!({"usable": window})).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let refusal = in_the_way(&app, &verifier, &customer, store, &bought.vouchers[0]).await;
    assert_eq!(
        (&refusal["code"], &refusal["next_usable_at"]),
        (&json!("outside_hours"), &json!(next.to_rfc3339()))
    );
    assert!(
        text(&refusal["message"]).contains(&format!("最早 {} 11:00 可用", day.format("%Y-%m-%d"))),
        "{refusal}"
    );
    assert_eq!(refusal["nearest_store"], Value::Null);
    // The same, but not on that day: a week later.
    let shop = shop_in_with(&app, store, json!({"usable": window, "blackout_dates": [day]})).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let refusal = in_the_way(&app, &verifier, &customer, store, &bought.vouchers[0]).await;
    assert_eq!(refusal["next_usable_at"], (next + Duration::days(7)).to_rfc3339());
    let answer = verifier.redeem(&app, &customer, store, &bought.vouchers[0], 1).await;
    assert_eq!(answer.body["results"][0]["refusal"]["next_usable_at"], refusal["next_usable_at"]);
    app.verify().await;
});
