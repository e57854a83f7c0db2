//! Backfills and dry runs over HTTP: judged at the time at which it happened, alone or by two, exactly once.

use chrono::{DateTime, Utc};
use hexiao_core::catalog::Role;
use hexiao_core::id::StoreId;
use hexiao_testkit::{Answer, Client, TestApp, on_both};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{items, key, owner_again, seconds, shop_with, staff_again, text};

const BACKFILL: &str = "/api/v1/staff/redemptions/backfill";
const POLICY: &str = "/api/v1/merchant/backfill-policy";

fn body(store: StoreId, input: Value, quantity: u32, occurred_at: DateTime<Utc>) -> Value {
    json!({"store_id": store, "input": input, "quantity": quantity, "occurred_at": occurred_at.to_rfc3339(), "reason": "断网"})
}

async fn qr(app: &TestApp, customer: &Client, voucher: &str) -> Value {
    json!({"qr": app.voucher(customer, voucher).await["qr"]})
}

async fn alone(owner: &Client, uses: u32, fen: i64) {
    owner.put(POLICY, json!({"free_uses": uses, "free_amount_fen": fen})).await.expect(200);
}

fn decide(backfill: &Value, what: &str) -> String {
    format!("/api/v1/merchant/backfills/{}/{what}", text(&backfill["id"]))
}

async fn used(app: &TestApp, customer: &Client, voucher: &str) -> i64 {
    app.voucher(customer, voucher).await["used"].as_i64().unwrap()
}

on_both!(a_small_one_is_recorded_at_once, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(9, 900, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let (voucher, verifier) = (&bought.vouchers[0], app.verifier(&[shop.store]).await);
    let happened = app.app.now().datetime();
    app.advance(seconds(600));
    // The store rests now; then it did not.
    owner
        .patch(&format!("/api/v1/merchant/stores/{}", shop.store), json!({"resting": true}))
        .await
        .expect(200);
    let code = text(&app.voucher(&customer, voucher).await["code"]).to_owned();
    let mut asked = body(shop.store, json!({"code": code}), 2, happened);
    asked["photo_url"] = json!("/media/slip.jpg");
    let with_key = key();
    let done = verifier.post_key(BACKFILL, &with_key, asked.clone()).await.expect(201);
    let backfill = &done["backfill"];
    assert_eq!(
        (&backfill["state"], &backfill["quantity"], &backfill["amount_fen"]),
        (&json!("Recorded"), &json!(2), &json!(200))
    );
    assert_eq!((&backfill["photo_url"], &backfill["decided_by"]), (&json!("/media/slip.jpg"), &Value::Null));
    assert_eq!(done["redemption"]["results"][0]["serials"], json!([1, 2]));
    let again = verifier.post_key(BACKFILL, &with_key, asked.clone()).await.expect(200);
    assert_eq!((&again["redemption"]["id"], &again["replayed"]), (&done["redemption"]["id"], &json!(true)));
    asked["reason"] = json!("别的");
    refused(&verifier.post_key(BACKFILL, &with_key, asked).await, 422, "idempotency_conflict", "");
    assert_eq!(used(&app, &customer, voucher).await, 2);
    // Lists tell both times, and can be narrowed to what was recorded later.
    let list = owner.get("/api/v1/merchant/redemptions?method=backfill").await.expect(200);
    let row = &items(&list)[0];
    let instant = |v: &Value| DateTime::parse_from_rfc3339(text(v)).unwrap().to_utc();
    assert_eq!((instant(&row["occurred_at"]), &row["method"]), (happened, &json!("backfill")));
    assert!(instant(&row["at"]) > happened + chrono::Duration::seconds(599));
    assert!(items(&owner.get("/api/v1/merchant/redemptions?method=qr").await.expect(200)).is_empty());
    assert!(!done.to_string().contains(&code));
    // It can be undone like any other, from when it was recorded.
    app.advance(seconds(200));
    let undo = format!("/api/v1/staff/redemptions/{}/reverse", text(&done["redemption"]["id"]));
    verifier.post_key(&undo, &key(), json!({"reason": "记错了"})).await.expect(200);
    assert_eq!(used(&app, &customer, voucher).await, 0);
    app.verify().await;
});

on_both!(it_is_judged_when_it_happened, |app| async {
    let customer = app.customer("小王").await;
    let shop = shop_with(&app, json!({"uses": 9, "min_interval_minutes": 10})).await;
    let before = app.app.now().datetime();
    let bought = app.buy(&customer, &shop, 2).await;
    let verifier = app.verifier(&[shop.store]).await;
    let input = qr(&app, &customer, &bought.vouchers[0]).await;
    let send = async |input: &Value, at: DateTime<Utc>| {
        verifier.post_key(BACKFILL, &key(), body(shop.store, input.clone(), 1, at)).await
    };
    let issued = app.app.now().datetime();
    app.advance(seconds(840));
    verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    let now = app.app.now().datetime();
    refused(&send(&input, before).await, 409, "not_started", "");
    refused(&send(&input, now + chrono::Duration::hours(1)).await, 400, "invalid_field", "occurred_at");
    refused(&send(&input, now - chrono::Duration::hours(73)).await, 400, "invalid_field", "occurred_at");
    // Within ten minutes before the one that stands.
    refused(&send(&input, now - chrono::Duration::minutes(5)).await, 409, "too_soon", "");
    send(&input, issued).await.expect(201);
    // What cannot be meant.
    let mut both = body(shop.store, input.clone(), 1, now);
    both["items"] = json!([]);
    refused(&verifier.post_key(BACKFILL, &key(), both).await, 400, "invalid_field", "input");
    let mut wrong = body(shop.store, input.clone(), 1, now);
    wrong["photo_url"] = json!("http://example.com/a.png");
    refused(&verifier.post_key(BACKFILL, &key(), wrong).await, 400, "invalid_field", "photo_url");
    let order = json!({"qr": crate::steps::order(&customer, &bought.order).await["qr"]});
    refused(&send(&order, now).await, 400, "invalid_field", "items[0]");
    let mut twice = body(shop.store, Value::Null, 1, now);
    twice["input"] = Value::Null;
    twice["quantity"] = Value::Null;
    twice["items"] = json!([{"input": input, "quantity": 1}, {"input": input, "quantity": 1}]);
    refused(&verifier.post_key(BACKFILL, &key(), twice).await, 400, "invalid_field", "items[1].voucher_id");
    let unknown = hexiao_core::code::VoucherCode::from_entropy([7; 16]);
    refused(&send(&json!({"code": unknown.digits()}), now).await, 404, "not_found", "");
    let attempts = verifier.get("/api/v1/staff/redemption-attempts?limit=100").await.expect(200);
    let of = |step: &str| items(&attempts).iter().filter(|a| a["step"] == step).count();
    assert_eq!((of("backfill"), of("prepare")), (2, 1));
    app.verify().await;
});

on_both!(a_large_one_waits_for_somebody_else, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(9, 900, None).await;
    let elsewhere = app.store("徐家汇店").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let (verifier, manager) = (app.verifier(&[shop.store]).await, app.manager(&[shop.store]).await);
    let stranger = app.manager(&[elsewhere]).await;
    let input = qr(&app, &customer, voucher).await;
    let happened = app.app.now().datetime();
    let send = async |who: &Client, n: u32| -> Answer {
        let mut asked = body(shop.store, input.clone(), n, happened);
        asked["acknowledge"] = json!(["just_redeemed"]);
        who.post_key(BACKFILL, &key(), asked).await
    };
    // What is recorded alone adds up within a day.
    alone(&owner, 2, 100_000).await;
    send(&verifier, 2).await.expect(201);
    let waits = send(&verifier, 1).await.expect(202);
    assert_eq!((&waits["backfill"]["state"], &waits["redemption"]), (&json!("Pending"), &Value::Null));
    assert_eq!(used(&app, &customer, voucher).await, 2);
    let listed = manager.get("/api/v1/merchant/backfills?state=Pending").await.expect(200);
    assert_eq!(
        (items(&listed).len(), &items(&listed)[0]["items"][0]["product_name"]),
        (1, &json!("双人套餐"))
    );
    assert!(items(&stranger.get("/api/v1/merchant/backfills").await.expect(200)).is_empty());
    let approve = decide(&waits["backfill"], "approve");
    refused(&stranger.post(&approve, json!({})).await, 404, "not_found", "");
    refused(&verifier.post(&approve, json!({})).await, 403, "forbidden", "");
    let done = manager.post(&approve, json!({})).await.expect(200);
    assert_eq!(
        (&done["backfill"]["state"], &done["backfill"]["decided_by"]),
        (&json!("Approved"), &json!(manager.id))
    );
    assert_eq!(done["redemption"]["results"][0]["serials"], json!([3]));
    let again = owner.post(&approve, json!({})).await.expect(200);
    assert_eq!((&again["redemption"]["id"], &again["replayed"]), (&done["redemption"]["id"], &json!(true)));
    refused(
        &owner.post(&decide(&waits["backfill"], "reject"), json!({"reason": "不对"})).await,
        409,
        "illegal_state",
        "",
    );
    // It is the redemption of who was there.
    let list =
        owner.get(&format!("/api/v1/merchant/redemptions?verifier_id={}", verifier.id)).await.expect(200);
    assert_eq!(items(&list).len(), 2);
    // Nobody approves their own, also not the owner.
    let own = send(&owner, 3).await.expect(202);
    refused(&owner.post(&decide(&own["backfill"], "approve"), json!({})).await, 403, "forbidden", "");
    refused(
        &owner.post(&decide(&own["backfill"], "reject"), json!({"reason": "不对"})).await,
        403,
        "forbidden",
        "",
    );
    let no = manager
        .post(&decide(&own["backfill"], "reject"), json!({"reason": "当天没有营业"}))
        .await
        .expect(200);
    assert_eq!((&no["state"], &no["decision_note"]), (&json!("Rejected"), &json!("当天没有营业")));
    refused(&manager.post(&decide(&own["backfill"], "approve"), json!({})).await, 409, "illegal_state", "");
    // By worth; a zero means always; who asked may take it back.
    alone(&owner, 100, 0).await;
    let waits = send(&manager, 1).await.expect(202);
    let withdraw = format!("/api/v1/staff/backfills/{}/withdraw", text(&waits["backfill"]["id"]));
    refused(&verifier.post(&withdraw, json!({})).await, 409, "illegal_state", "");
    assert_eq!(manager.post(&withdraw, json!({})).await.expect(200)["state"], "Withdrawn");
    manager.post(&withdraw, json!({})).await.expect(200);
    assert_eq!(used(&app, &customer, voucher).await, 3);
    app.verify().await;
});

on_both!(what_is_gone_meanwhile_cannot_be_approved, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(2, 900, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let verifier = app.verifier(&[shop.store]).await;
    alone(&owner, 0, 0).await;
    let input = qr(&app, &customer, &bought.vouchers[0]).await;
    let asked = body(shop.store, input, 2, app.app.now().datetime());
    let waits = verifier.post_key(BACKFILL, &key(), asked).await.expect(202);
    verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
    let approve = decide(&waits["backfill"], "approve");
    let refusal = owner.post(&approve, json!({})).await;
    refused(&refusal, 409, "not_enough_uses", "");
    assert_eq!(refusal.body["results"][0]["refusal"]["code"], "not_enough_uses");
    // It still waits: with the use free again it can be approved, however long ago it was asked for.
    let list = owner.get("/api/v1/merchant/redemptions").await.expect(200);
    let undo = format!("/api/v1/staff/redemptions/{}/reverse", text(&items(&list)[0]["id"]));
    verifier.post_key(&undo, &key(), json!({"reason": "点错了"})).await.expect(200);
    app.advance(std::time::Duration::from_hours(80));
    owner_again(&app).await.post(&approve, json!({})).await.expect(200);
    app.verify().await;
});

on_both!(who_sets_what_one_may_record_alone, |app| async {
    let owner = app.owner().await;
    let store = app.store("人民广场店").await;
    assert_eq!(owner.get(POLICY).await.expect(200), json!({"free_uses": 5, "free_amount_fen": 20000}));
    let new = json!({"free_uses": 1, "free_amount_fen": 100});
    let finance = app.staff(Role::Finance, &[]).await;
    for who in [app.manager(&[store]).await, app.verifier(&[store]).await, finance] {
        refused(&who.put(POLICY, new.clone()).await, 403, "forbidden", "");
    }
    app.staff(Role::Operator, &[]).await.put(POLICY, new.clone()).await.expect(200);
    assert_eq!(owner.get(POLICY).await.expect(200), new);
    let wrong = json!({"free_uses": 100_001, "free_amount_fen": 100});
    refused(&owner.put(POLICY, wrong).await, 400, "invalid_field", "free_uses");
    let wrong = json!({"free_uses": 1, "free_amount_fen": -1});
    refused(&owner.put(POLICY, wrong).await, 400, "invalid_field", "free_amount_fen");
});

on_both!(a_dry_run_tells_and_writes_nothing, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(3, 900, None).await;
    let bought = app.buy(&customer, &shop, 2).await;
    let [one, two] = [&bought.vouchers[0], &bought.vouchers[1]];
    let verifier = app.verifier(&[shop.store]).await;
    let path = format!("/api/v1/merchant/staff/{}", verifier.id);
    owner.patch(&path, json!({"daily_uses_limit": 3})).await.expect(200);
    let verifier = {
        drop(verifier);
        staff_again(&app, 0).await
    };
    let order = crate::steps::order(&customer, &bought.order).await["qr"].clone();
    let prepared = verifier.prepare(shop.store, &order).await.expect(200);
    let ask = |items: Value, atomicity: &str, dry_run: bool| json!({"store_id": shop.store, "prepare_token": prepared["prepare_token"], "items": items, "atomicity": atomicity, "dry_run": dry_run});
    let pair =
        |a: u32, b: u32| json!([{"voucher_id": one, "quantity": a}, {"voucher_id": two, "quantity": b}]);
    let before = crate::snapshot::rows(&app).await;
    let with_key = key();
    let path = "/api/v1/staff/redemptions";
    let dry = verifier.post_key(path, &with_key, ask(pair(2, 1), "all", true)).await.expect(200);
    assert_eq!(
        (&dry["dry_run"], &dry["would_redeem"], &dry["refusal"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    assert_eq!((&dry["results"][0]["serials"], &dry["results"][1]["serials"]), (&json!([1, 2]), &json!([1])));
    // All together beyond the limit; each by itself the first.
    let dry = verifier.post_key(path, &with_key, ask(pair(2, 2), "all", true)).await.expect(200);
    assert_eq!((&dry["would_redeem"], &dry["refusal"]["code"]), (&json!(false), &json!("limit_exceeded")));
    let dry = verifier.post_key(path, &with_key, ask(pair(2, 2), "each", true)).await.expect(200);
    assert_eq!(
        (&dry["would_redeem"], &dry["results"][1]["refusal"]["code"]),
        (&json!(true), &json!("limit_exceeded"))
    );
    let mut forged = ask(pair(1, 1), "all", true);
    forged["prepare_token"] = json!("0.0");
    let dry = verifier.post_key(path, &with_key, forged).await.expect(200);
    assert_eq!((&dry["refusal"]["code"], &dry["results"]), (&json!("token_mismatch"), &json!([])));
    let after = crate::snapshot::rows(&app).await;
    crate::snapshot::assert_unchanged(&before, &after, "a dry run");
    // Neither key nor token was consumed.
    verifier.post_key(path, &with_key, ask(pair(2, 1), "all", false)).await.expect(201);
    let dry = verifier.post_key(path, &key(), ask(pair(1, 1), "all", true)).await.expect(200);
    assert_eq!(dry["refusal"]["code"], "token_used");
    let replay = verifier.post_key(path, &with_key, ask(pair(2, 1), "all", true)).await.expect(200);
    assert_eq!(replay["would_redeem"], true);
    app.verify().await;
});
