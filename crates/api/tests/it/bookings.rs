//! Bookings: a time in a store for uses of a voucher, held, booked, moved, given back, missed and redeemed.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use hexiao_core::id::StoreId;
use hexiao_testkit::{Answer, Client, Shop, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::steps::{ask_refund, days, items, key, owner_again, shop_in_with, staff_again, text, titles};

pub(crate) const BOOKINGS: &str = "/api/v1/customer/bookings";

/// Slots of an hour around the clock.
pub(crate) fn plan(capacity: u32, terms: &Value) -> Value {
    let window = |day: u8| json!({"weekday": day, "from": "00:00", "to": "24:00", "slot_minutes": 60, "capacity": capacity});
    json!({"windows": (1..=7).map(window).collect::<Vec<_>>(), "terms": terms})
}

pub(crate) async fn put_plans(manager: &Client, store: StoreId, plans: &[Value]) -> Answer {
    manager.put(&format!("/api/v1/merchant/stores/{store}/booking-plans"), json!({"items": plans})).await
}

/// A shop whose card of three uses needs a booking; its slots have so many places.
pub(crate) async fn booked_shop(app: &TestApp, capacity: u32, terms: Value) -> Shop {
    let store = app.store("人民广场店").await;
    put_plans(&app.owner().await, store, &[plan(capacity, &terms)]).await.expect(200);
    shop_in_with(app, store, json!({"booking": "required", "validity": {"days": 30}})).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.body);
}

fn local(app: &TestApp, plus: chrono::Duration) -> DateTime<FixedOffset> {
    app.app.now().plus(plus).datetime().with_timezone(&FixedOffset::east_opt(8 * 3600).unwrap())
}

/// The slots of the day after tomorrow.
pub(crate) async fn slots(app: &TestApp, shop: &Shop) -> Vec<Value> {
    let date = local(app, chrono::Duration::days(2)).date_naive();
    let path =
        format!("/api/v1/customer/stores/{}/slots?product_id={}&date={date}", shop.store, shop.product);
    items(&app.anonymous().get(&path).await.expect(200)).clone()
}

/// The begin of a slot of the day after tomorrow, by its hour.
pub(crate) async fn slot(app: &TestApp, shop: &Shop, hour: usize) -> String {
    text(&slots(app, shop).await[hour]["start"]).to_owned()
}

pub(crate) fn body(shop: &Shop, voucher: &str, start: &str, quantity: u32) -> Value {
    json!({"voucher_id": voucher, "store_id": shop.store, "slot_start": start, "quantity": quantity, "confirm": true})
}

/// Books at once.
pub(crate) async fn book(
    customer: &Client,
    shop: &Shop,
    voucher: &str,
    start: &str,
    quantity: u32,
) -> Answer {
    customer.post_key(BOOKINGS, &key(), body(shop, voucher, start, quantity)).await
}

async fn seen(customer: &Client, booking: &Value) -> Value {
    customer.get(&format!("{BOOKINGS}/{}", text(&booking["id"]))).await.expect(200)
}

async fn in_state(customer: &Client, booking: &Value, state: &str) -> Value {
    let path = format!("{BOOKINGS}/{}", text(&booking["id"]));
    wait_until(&format!("the booking is {state}"), async || customer.get(&path).await.body["state"] == state)
        .await;
    customer.get(&path).await.expect(200)
}

/// Moves the clocks to an instant, and some minutes on.
fn go_to(app: &TestApp, at: &Value, plus_minutes: i64) {
    let at = DateTime::parse_from_rfc3339(text(at)).unwrap() + chrono::Duration::minutes(plus_minutes);
    let by = at.signed_duration_since(app.app.now().datetime());
    app.advance(by.to_std().unwrap());
}

fn left(slots: &[Value], hour: usize) -> &Value {
    &slots[hour]["remaining"]
}

async fn redeem(
    app: &TestApp,
    verifier: &Client,
    customer: &Client,
    shop: &Shop,
    voucher: &str,
    n: u32,
) -> Answer {
    verifier.redeem(app, customer, shop.store, voucher, n).await
}

on_both!(booked_uses_are_redeemed_in_their_slot, |app| async {
    let shop = booked_shop(&app, 3, json!({})).await;
    app.verifier(&[shop.store]).await;
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let verifier = staff_again(&app, 0).await;
    refused(&redeem(&app, &verifier, &customer, &shop, voucher, 1).await, 409, "booking_required");

    let free = slots(&app, &shop).await;
    assert_eq!((free.len(), left(&free, 14)), (24, &json!(3)));
    let start = text(&free[14]["start"]).to_owned();
    let request = key();
    let booking = customer.post_key(BOOKINGS, &request, body(&shop, voucher, &start, 2)).await.expect(201);
    assert_eq!((&booking["state"], &booking["state_text"]), (&json!("Booked"), &json!("已预约")));
    let again = customer.post_key(BOOKINGS, &request, body(&shop, voucher, &start, 2)).await.expect(200);
    assert_eq!(again, booking);
    refused(
        &customer.post_key(BOOKINGS, &request, body(&shop, voucher, &start, 1)).await,
        422,
        "idempotency_conflict",
    );
    assert_eq!(left(&slots(&app, &shop).await, 14), &json!(1));
    let shown = app.voucher(&customer, voucher).await;
    assert_eq!((&shown["locked"], &shown["remaining"]), (&json!(2), &json!(1)));

    let prepared = verifier.prepare(shop.store, &shown["qr"]).await.expect(200);
    let v = &prepared["vouchers"][0];
    assert_eq!((&v["redeemable"], &v["refusals"][0]["code"]), (&json!(0), &json!("booking_mismatch")));
    assert_eq!((&v["bookings"][0]["id"], &v["bookings"][0]["locked"]), (&booking["id"], &json!(2)));
    assert!(text(&v["refusals"][0]["message"]).contains("起可核销"), "{v}");

    go_to(&app, &booking["slot_start"], -20);
    let (verifier, customer) = (staff_again(&app, 0).await, app.customer("小王").await);
    let arrived =
        verifier.post(&format!("/api/v1/staff/bookings/{}/arrive", text(&booking["id"])), json!({})).await;
    assert_eq!(arrived.expect(200)["state"], "Arrived");
    let shown = app.voucher(&customer, voucher).await;
    let prepared = verifier.prepare(shop.store, &shown["qr"]).await.expect(200);
    assert_eq!(prepared["vouchers"][0]["redeemable"], 2, "{prepared}");
    refused(&verifier.confirm(shop.store, &prepared, voucher, 3, &key()).await, 409, "not_enough_uses");
    let done = verifier.confirm(shop.store, &prepared, voucher, 2, &key()).await.expect(201);
    assert_eq!(done["results"][0]["serials"], json!([1, 2]));
    let after = seen(&customer, &booking).await;
    assert_eq!((&after["state"], &after["redeemed"]), (&json!("Completed"), &json!(2)));
    let shown = app.voucher(&customer, voucher).await;
    assert_eq!((&shown["used"], &shown["locked"], &shown["remaining"]), (&json!(2), &json!(0), &json!(1)));

    let undo = format!("/api/v1/staff/redemptions/{}/reverse", text(&done["id"]));
    verifier.post_key(&undo, &key(), json!({"reason": "扫错了"})).await.expect(200);
    let after = seen(&customer, &booking).await;
    let events: Vec<&str> = after["history"].as_array().unwrap().iter().map(|e| text(&e["event"])).collect();
    assert_eq!((&after["state"], events), (&json!("Completed"), vec!["book", "arrive", "complete", "undo"]));
    let shown = app.voucher(&customer, voucher).await;
    assert_eq!((&shown["used"], &shown["locked"], &shown["remaining"]), (&json!(0), &json!(0), &json!(3)));
    // Every use can be booked again.
    let start = slot(&app, &shop, 9).await;
    book(&customer, &shop, voucher, &start, 3).await.expect(201);
    app.verify().await;
});

on_both!(a_party_may_come_one_by_one, |app| async {
    let shop = booked_shop(&app, 5, json!({})).await;
    app.verifier(&[shop.store]).await;
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let start = slot(&app, &shop, 14).await;
    let booking = book(&customer, &shop, voucher, &start, 3).await.expect(201);
    go_to(&app, &booking["slot_start"], 5);
    let (verifier, customer) = (staff_again(&app, 0).await, app.customer("小王").await);
    redeem(&app, &verifier, &customer, &shop, voucher, 1).await.expect(201);
    let some = seen(&customer, &booking).await;
    assert_eq!((&some["state"], &some["redeemed"]), (&json!("Arrived"), &json!(1)));
    let cancel = format!("/api/v1/staff/bookings/{}/cancel", text(&booking["id"]));
    let owner = owner_again(&app).await;
    refused(&owner.post(&cancel, json!({"reason": "停电"})).await, 409, "illegal_state");
    redeem(&app, &verifier, &customer, &shop, voucher, 1).await.expect(201);
    app.verify().await;
    // Nobody else comes: a day after the slot the rest is free again.
    app.advance(days(1) + Duration::from_hours(1));
    let customer = app.customer("小王").await;
    let over = in_state(&customer, &booking, "Completed").await;
    assert_eq!(over["redeemed"], 2);
    let shown = app.voucher(&customer, voucher).await;
    assert_eq!((&shown["used"], &shown["locked"], &shown["remaining"]), (&json!(2), &json!(0), &json!(1)));
    app.verify().await;
});

on_both!(a_hold_waits_for_its_confirmation, |app| async {
    let shop = booked_shop(&app, 2, json!({"reminder_minutes": 60})).await;
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let start = slot(&app, &shop, 10).await;
    let mut held = body(&shop, voucher, &start, 2);
    held.as_object_mut().unwrap().remove("confirm");
    let first = customer.post_key(BOOKINGS, &key(), held.clone()).await.expect(201);
    assert_eq!((&first["state"], first["hold_until"].is_null()), (&json!("Held"), false));
    refused(&book(&customer, &shop, voucher, &start, 1).await, 409, "slot_full");
    let confirm = |booking: &Value| format!("{BOOKINGS}/{}/confirm", text(&booking["id"]));
    let (path, request) = (confirm(&first), key());
    assert_eq!(customer.post_key(&path, &request, json!({})).await.expect(200)["state"], "Booked");
    assert_eq!(customer.post_key(&path, &request, json!({})).await.expect(200)["state"], "Booked");
    assert_eq!(customer.post_key(&path, &key(), json!({})).await.expect(200)["state"], "Booked");
    refused(&customer.post(&path, json!({})).await, 400, "idempotency_key_required");

    held["quantity"] = json!(1);
    held["slot_start"] = json!(slot(&app, &shop, 11).await);
    let second = customer.post_key(BOOKINGS, &key(), held).await.expect(201);
    app.advance(Duration::from_mins(11));
    let gone = in_state(&customer, &second, "Cancelled").await;
    assert_eq!(gone["cancel_reason"], "timeout");
    refused(&customer.post_key(&confirm(&second), &key(), json!({})).await, 409, "hold_expired");
    assert_eq!(left(&slots(&app, &shop).await, 11), &json!(2));
    let shown = app.voucher(&customer, voucher).await;
    assert_eq!((&shown["locked"], &shown["remaining"]), (&json!(2), &json!(1)));

    // The reminder comes in time, once.
    go_to(&app, &first["slot_start"], -59);
    let customer = app.customer("小王").await;
    wait_until("the reminder", async || titles(&customer).await.contains(&"预约提醒".to_owned())).await;
    assert_eq!(titles(&customer).await, ["支付成功", "预约成功", "预约提醒"]);
    app.verify().await;
});

on_both!(what_cannot_be_booked, |app| async {
    let shop = booked_shop(&app, 2, json!({"ahead_days": 7})).await;
    let plain = shop_in_with(&app, shop.store, json!({})).await;
    let (customer, other) = (app.customer("小王").await, app.customer("小红").await);
    let bought = app.buy(&customer, &shop, 1).await;
    let free = app.buy(&customer, &plain, 1).await;
    let (voucher, start) = (&bought.vouchers[0], slot(&app, &shop, 10).await);
    refused(&book(&customer, &plain, &free.vouchers[0], &start, 1).await, 409, "not_bookable");
    refused(&book(&other, &shop, voucher, &start, 1).await, 400, "invalid_field");
    refused(&book(&customer, &shop, voucher, &start, 0).await, 400, "invalid_field");
    refused(&book(&customer, &shop, voucher, &start, 4).await, 409, "not_enough_uses");
    refused(&book(&customer, &shop, voucher, &start, 3).await, 409, "slot_full");
    let odd = start.replace(":00:00", ":07:00");
    refused(&book(&customer, &shop, voucher, &odd, 1).await, 409, "slot_unavailable");
    let far = local(&app, chrono::Duration::days(9)).format("%Y-%m-%dT10:00:00+08:00").to_string();
    refused(&book(&customer, &shop, voucher, &far, 1).await, 409, "slot_unavailable");
    let past = local(&app, chrono::Duration::days(-1)).format("%Y-%m-%dT10:00:00+08:00").to_string();
    refused(&book(&customer, &shop, voucher, &past, 1).await, 409, "slot_unavailable");
    let elsewhere = Shop { store: app.store("无预约店").await, ..shop.clone() };
    refused(&book(&customer, &elsewhere, voucher, &start, 1).await, 409, "slot_unavailable");
    let path = |store: StoreId, date: &str| {
        format!("/api/v1/customer/stores/{store}/slots?product_id={}&date={date}", shop.product)
    };
    let anyone = app.anonymous();
    assert!(items(&anyone.get(&path(elsewhere.store, "2026-12-01")).await.expect(200)).is_empty());
    assert!(items(&anyone.get(&path(shop.store, "2020-01-01")).await.expect(200)).is_empty());
    refused(&anyone.get(&path(shop.store, "tomorrow")).await, 400, "invalid_field");
    let listed = customer.get(BOOKINGS).await.expect(200);
    assert!(items(&listed).is_empty(), "nothing came of it");
    app.verify().await;
});

on_both!(bookings_are_moved_and_given_back, |app| async {
    let shop = booked_shop(&app, 2, json!({})).await;
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let (ten, noon) = (slot(&app, &shop, 10).await, slot(&app, &shop, 12).await);
    let booking = book(&customer, &shop, voucher, &ten, 2).await.expect(201);
    let move_to = |booking: &Value, start: &str| {
        (format!("{BOOKINGS}/{}/reschedule", text(&booking["id"])), json!({"slot_start": start}))
    };
    let (path, to) = move_to(&booking, &noon);
    let request = key();
    let moved = customer.post_key(&path, &request, to.clone()).await.expect(201);
    assert_eq!((&moved["state"], &moved["reschedules_left"]), (&json!("Booked"), &json!(1)));
    assert_eq!(customer.post_key(&path, &request, to.clone()).await.expect(200), moved);
    refused(&customer.post_key(&path, &key(), to).await, 409, "illegal_state");
    let before = seen(&customer, &booking).await;
    assert_eq!((&before["state"], &before["rescheduled_to"]), (&json!("Rescheduled"), &moved["id"]));
    let free = slots(&app, &shop).await;
    assert_eq!((left(&free, 10), left(&free, 12)), (&json!(2), &json!(0)));
    let (path, same) = move_to(&moved, &noon);
    refused(&customer.post_key(&path, &key(), same).await, 400, "invalid_field");
    let (path, back) = move_to(&moved, &ten);
    let last = customer.post_key(&path, &key(), back).await.expect(201);
    let (path, again) = move_to(&last, &noon);
    refused(&customer.post_key(&path, &key(), again).await, 409, "reschedule_limit");

    // What is booked is not refunded; what is free is.
    let some = json!([{"voucher_id": voucher, "quantity": 2}]);
    let refusal = ask_refund(&customer, &bought.order, some.clone(), &key()).await;
    assert!(text(&refusal.body["error"]["message"]).contains("先取消预约"), "{}", refusal.body);
    refused(&refusal, 409, "locked");
    let cancel = format!("{BOOKINGS}/{}/cancel", text(&last["id"]));
    let cancelled = customer.post(&cancel, json!({})).await.expect(200);
    assert_eq!((&cancelled["state"], &cancelled["cancel_reason"]), (&json!("Cancelled"), &json!("customer")));
    customer.post(&cancel, json!({})).await.expect(200);
    ask_refund(&customer, &bought.order, some, &key()).await.expect(201);
    assert_eq!(left(&slots(&app, &shop).await, 10), &json!(2));

    let late = book(&customer, &shop, voucher, &ten, 1).await.expect(201);
    refused(&ask_refund(&customer, &bought.order, Value::Null, &key()).await, 409, "locked");
    go_to(&app, &late["slot_start"], -119);
    let customer = app.customer("小王").await;
    let cancel = format!("{BOOKINGS}/{}/cancel", text(&late["id"]));
    refused(&customer.post(&cancel, json!({})).await, 409, "booking_too_late");
    let (path, to) = move_to(&late, &noon);
    refused(&customer.post_key(&path, &key(), to).await, 409, "booking_too_late");
    app.verify().await;
});

on_both!(nobody_came, |app| async {
    let shop = booked_shop(&app, 2, json!({"reminder_minutes": 0})).await;
    app.verifier(&[shop.store]).await;
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let (voucher, start) = (&bought.vouchers[0], slot(&app, &shop, 10).await);
    let booking = book(&customer, &shop, voucher, &start, 2).await.expect(201);
    go_to(&app, &booking["slot_start"], 31);
    let customer = app.customer("小王").await;
    in_state(&customer, &booking, "NoShow").await;
    let shown = app.voucher(&customer, voucher).await;
    assert_eq!((&shown["locked"], &shown["remaining"]), (&json!(0), &json!(3)));
    wait_until("the message", async || titles(&customer).await.len() == 3).await;
    assert_eq!(titles(&customer).await, ["支付成功", "预约成功", "预约未到店"]);
    app.verify().await;
    // Late after all: served until the slot is over, and no more than was booked.
    let verifier = staff_again(&app, 0).await;
    refused(&redeem(&app, &verifier, &customer, &shop, voucher, 3).await, 409, "not_enough_uses");
    redeem(&app, &verifier, &customer, &shop, voucher, 1).await.expect(201);
    let after = seen(&customer, &booking).await;
    assert_eq!((&after["state"], &after["redeemed"]), (&json!("Completed"), &json!(1)));
    refused(&redeem(&app, &verifier, &customer, &shop, voucher, 1).await, 409, "booking_required");
    app.verify().await;
});

on_both!(the_store_sees_who_comes_and_calls_off, |app| async {
    let shop = booked_shop(&app, 2, json!({})).await;
    let (manager, verifier) = (app.manager(&[shop.store]).await, app.verifier(&[shop.store]).await);
    let stranger = app.manager(&[app.store("二店").await]).await;
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let (ten, nine) = (slot(&app, &shop, 10).await, slot(&app, &shop, 9).await);
    let mut first = body(&shop, voucher, &ten, 1);
    first["note"] = json!("靠窗\n谢谢");
    let first = customer.post_key(BOOKINGS, &key(), first).await.expect(201);
    let second = book(&customer, &shop, voucher, &nine, 1).await.expect(201);
    let list = format!("/api/v1/staff/bookings?store_id={}&date={}", shop.store, &ten[..10]);
    let day = verifier.get(&list).await.expect(200);
    let ids: Vec<&Value> = items(&day).iter().map(|b| &b["id"]).collect();
    assert_eq!(ids, [&second["id"], &first["id"]], "by time");
    assert_eq!(
        (&items(&day)[1]["note"], &items(&day)[1]["nickname"]),
        (&json!("靠窗\n谢谢"), &items(&day)[0]["nickname"])
    );
    let page = verifier.get(&format!("{list}&limit=1")).await.expect(200);
    let next =
        verifier.get(&format!("{list}&limit=1&cursor={}", text(&page["next_cursor"]))).await.expect(200);
    assert_eq!((&items(&page)[0]["id"], &items(&next)[0]["id"]), (&second["id"], &first["id"]));
    assert!(
        items(&verifier.get(&format!("/api/v1/staff/bookings?store_id={}", shop.store)).await.expect(200))
            .is_empty()
    );
    refused(&stranger.get(&list).await, 404, "not_found");

    let path = format!("/api/v1/staff/bookings/{}", text(&first["id"]));
    refused(&stranger.get(&path).await, 404, "not_found");
    refused(&verifier.post(&format!("{path}/arrive"), json!({})).await, 409, "booking_mismatch");
    refused(&verifier.post(&format!("{path}/cancel"), json!({"reason": "停电"})).await, 403, "forbidden");
    refused(&stranger.post(&format!("{path}/cancel"), json!({"reason": "停电"})).await, 404, "not_found");
    let off = manager.post(&format!("{path}/cancel"), json!({"reason": "停电"})).await.expect(200);
    assert_eq!((&off["cancel_reason"], &off["cancel_note"]), (&json!("store"), &json!("停电")));
    manager.post(&format!("{path}/cancel"), json!({"reason": "停电"})).await.expect(200);
    wait_until("the message", async || titles(&customer).await.len() == 4).await;
    assert_eq!(titles(&customer).await.last().unwrap(), "门店取消了预约");
    assert_eq!(left(&slots(&app, &shop).await, 10), &json!(2));
    app.verify().await;
});

on_both!(plans_say_what_can_be_booked, |app| async {
    let owner = app.owner().await;
    let store = app.store("人民广场店").await;
    let manager = app.manager(&[store]).await;
    let sku = json!({"name": "次卡", "price_fen": 100, "booking": "required"});
    let product =
        json!({"name": "护理", "kind": "redeem", "skus": [sku], "store_scope": {"store_ids": [store]}});
    let made = owner.post("/api/v1/merchant/products", product).await.expect(201);
    assert_eq!(made["skus"][0]["rule"]["booking"], "required");
    assert!(made["skus"][0]["rule"]["texts"].as_array().unwrap().contains(&json!("需提前预约")));
    let publish = format!("/api/v1/merchant/products/{}/publish", text(&made["id"]));
    let refusal = owner.post(&publish, json!({})).await;
    assert_eq!(refusal.body["error"]["fields"][0]["path"], "skus[0].booking", "{}", refusal.body);
    refused(&refusal, 409, "publish_incomplete");

    let mut own = plan(1, &json!({}));
    own["product_id"] = made["id"].clone();
    own["closed_dates"] = json!(["2026-12-25"]);
    let set =
        put_plans(&manager, store, &[plan(4, &json!({"change_minutes": 60})), own.clone()]).await.expect(200);
    assert_eq!((items(&set).len(), &items(&set)[0]["product_id"]), (2, &Value::Null));
    assert_eq!(items(&set)[0]["terms"]["change_minutes"], 60);
    assert_eq!(items(&set)[1]["closed_dates"], json!(["2026-12-25"]));
    owner.post(&publish, json!({})).await.expect(200);
    let path = format!("/api/v1/merchant/stores/{store}/booking-plans");
    assert_eq!(manager.get(&path).await.expect(200), set);
    // A plan that is written again keeps its id, and with it the places that are taken.
    let again = put_plans(&manager, store, &[own.clone()]).await.expect(200);
    assert_eq!((items(&again).len(), &items(&again)[0]["id"]), (1, &items(&set)[1]["id"]));

    let shop =
        Shop { store, product: text(&made["id"]).to_owned(), sku: text(&made["skus"][0]["id"]).to_owned() };
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 2).await;
    let ten = slot(&app, &shop, 10).await;
    book(&customer, &shop, &bought.vouchers[0], &ten, 1).await.expect(201);
    let mut wider = own.clone();
    for window in wider["windows"].as_array_mut().unwrap() {
        window["capacity"] = json!(2);
    }
    refused(&book(&customer, &shop, &bought.vouchers[1], &ten, 1).await, 409, "slot_full");
    put_plans(&manager, store, &[wider]).await.expect(200);
    book(&customer, &shop, &bought.vouchers[1], &ten, 1).await.expect(201);
    put_plans(&manager, store, &[own.clone()]).await.expect(200);
    assert_eq!(left(&slots(&app, &shop).await, 10), &json!(0), "places that are taken stay taken");

    let bad = json!({"windows": [{"weekday": 1, "from": "09:00", "to": "10:00", "slot_minutes": 90, "capacity": 0}], "terms": {"hold_minutes": 0}});
    let refusal = put_plans(&manager, store, &[bad]).await;
    let paths: Vec<&str> =
        refusal.body["error"]["fields"].as_array().unwrap().iter().map(|f| text(&f["path"])).collect();
    assert_eq!(
        paths,
        ["items[0].windows[0].slot_minutes", "items[0].windows[0].capacity", "items[0].terms.hold_minutes"]
    );
    refused(&refusal, 400, "invalid_field");
    refused(&put_plans(&manager, store, &[own.clone(), own]).await, 400, "invalid_field");
    app.verify().await;
});
