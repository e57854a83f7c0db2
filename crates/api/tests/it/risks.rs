//! Risk flags: what looks wrong is told once, behind the redemption, to those who may look.

use hexiao_core::id::{Id as _, StoreId};
use hexiao_db::{DbError, params, sql, transact};
use hexiao_testkit::{Client, Shop, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::phones::bind;
use crate::products::refused;
use crate::steps::{days, items, key, owner_again, staff_again, text};

const FLAGS: &str = "/api/v1/merchant/risk-flags";

/// A store at a place, closed on some days.
pub(crate) async fn store_at(owner: &Client, name: &str, lat: f64, closed: &[String]) -> StoreId {
    let hours: Vec<Value> = (1..=7).map(|d| json!({"weekday": d, "from": "00:00", "to": "24:00"})).collect();
    let exceptions: Vec<Value> = closed
        .iter()
        .map(|date| json!({"date": date, "closed": true, "spans": [], "note": "装修"}))
        .collect();
    let body = json!({
        "name": name, "address": "南京东路 1 号", "lat": lat, "lng": 121.48, "phone": "021-62580000", "hours": hours,
        "exceptions": exceptions,
    });
    StoreId::parse(text(&owner.post("/api/v1/merchant/stores", body).await.expect(201)["id"])).unwrap()
}

async fn flags(who: &Client, query: &str) -> Vec<Value> {
    items(&who.get(&format!("{FLAGS}{query}")).await.expect(200)).clone()
}

/// Waits for so many, and reads them when nothing more can come.
async fn told(app: &TestApp, who: &Client, query: &str, count: usize) -> Vec<Value> {
    crate::snapshot::settled(app).await;
    wait_until(&format!("{count} flags {query}"), async || flags(who, query).await.len() == count).await;
    flags(who, query).await
}

async fn from_the_beginning(app: &TestApp) {
    let back: Result<u64, DbError> = transact!(app.app.db, |tx| async {
        let text = "UPDATE consumer_positions SET tx = -1, seq = 0 WHERE consumer = $1";
        sql::execute(&tx, text, params!["risk"]).await
    });
    assert_eq!(back.unwrap(), 1);
    app.app.wake.notify_one();
    crate::snapshot::settled(app).await;
}

async fn undo(who: &Client, redeemed: &Value) {
    let path = format!("/api/v1/staff/redemptions/{}/reverse", text(&redeemed["id"]));
    who.post_key(&path, &key(), json!({"reason": "扫错了"})).await.expect(200);
}

on_both!(ones_own_voucher_is_flagged_and_somebody_looks, |app| async {
    let shop = app.shop(3, 3000, None).await;
    let there = app.store("二店").await;
    let (verifier, manager) = (app.verifier(&[shop.store]).await, app.manager(&[shop.store]).await);
    let elsewhere = app.manager(&[there]).await;
    let (own, other) = (app.customer("小李").await, app.customer("小王").await);
    // The first number that the test kit gives to staff.
    bind(&own, "13900000000").await.expect(200);
    bind(&other, "13812341234").await.expect(200);
    let (bought, others) = (app.buy(&own, &shop, 1).await, app.buy(&other, &shop, 1).await);
    verifier.redeem(&app, &other, shop.store, &others.vouchers[0], 1).await.expect(201);
    let done = verifier.redeem(&app, &own, shop.store, &bought.vouchers[0], 1).await.expect(201);
    let found = told(&app, &manager, "", 1).await;
    let flag = &found[0];
    assert_eq!((&flag["kind"], &flag["state"]), (&json!("self_redemption"), &json!("Open")));
    assert_eq!((&flag["redemption_id"], &flag["customer_id"]), (&done["id"], &json!(own.id)));
    assert_eq!((&flag["store_id"], &flag["staff_id"]), (&json!(shop.store), &json!(verifier.id)));
    from_the_beginning(&app).await;
    assert_eq!(flags(&manager, "").await, found);

    for (query, count) in [
        (format!("?kind=self_redemption&store_id={}&staff_id={}&state=Open", shop.store, verifier.id), 1),
        (format!("?staff_id={}", manager.id), 0),
        ("?kind=lockout".to_owned(), 0),
        ("?state=Acknowledged".to_owned(), 0),
        ("?from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z".to_owned(), 1),
        ("?to=2020-01-01T00:00:00Z".to_owned(), 0),
    ] {
        assert_eq!(flags(&manager, &query).await.len(), count, "{query}");
    }
    assert_eq!(flags(&elsewhere, "").await.len(), 0);
    refused(&verifier.get(FLAGS).await, 403, "forbidden", "");
    refused(&elsewhere.get(&format!("{FLAGS}?store_id={}", shop.store)).await, 404, "not_found", "");
    let path = format!("{FLAGS}/{}/acknowledge", text(&flag["id"]));
    let body = json!({"note": "本人消费，已核对付款"});
    refused(&elsewhere.post(&path, body.clone()).await, 404, "not_found", "");
    refused(&verifier.post(&path, body.clone()).await, 403, "forbidden", "");
    refused(&manager.post(&path, json!({"note": ""})).await, 400, "invalid_field", "note");
    let seen = manager.post(&path, body.clone()).await.expect(200);
    assert_eq!((&seen["state"], &seen["acknowledged_by"]), (&json!("Acknowledged"), &json!(manager.id)));
    assert_eq!(manager.post(&path, body.clone()).await.expect(200), seen);
    refused(&app.owner().await.post(&path, body).await, 409, "illegal_state", "");
    let audited = "SELECT COUNT(*) AS n FROM audit_log WHERE action = 'risk_flag.acknowledge'";
    let row = sql::row(app.app.db.reader(), audited, vec![]).await.unwrap().unwrap();
    assert_eq!(row.get::<i64>("n").unwrap(), 1);
    app.verify().await;
});

on_both!(undoing_again_and_again, |app| async {
    let shop = app.shop(3, 3000, None).await;
    let verifier = app.verifier(&[shop.store]).await;
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 1).await;
    for n in 1..=6usize {
        let done = verifier.redeem(&app, &customer, shop.store, &bought.vouchers[0], 1).await.expect(201);
        undo(&verifier, &done).await;
        // The voucher's third, then the verifier's fifth, and each is told once.
        let count = usize::from(n >= 3) + usize::from(n >= 5);
        told(&app, &app.owner().await, "?kind=undo_loop", count).await;
    }
    let found = flags(&app.owner().await, "").await;
    let about = |of: &str| found.iter().find(|f| f["detail"]["of"] == of).unwrap();
    let (voucher, staff) = (about("voucher"), about("staff"));
    assert_eq!((&voucher["detail"]["undos"], &staff["detail"]["undos"]), (&json!(3), &json!(5)));
    assert_eq!(voucher["voucher_id"], json!(bought.vouchers[0]));
    assert_eq!((&staff["voucher_id"], &staff["staff_id"]), (&Value::Null, &json!(verifier.id)));
    from_the_beginning(&app).await;
    assert_eq!(flags(&app.owner().await, "").await.len(), 2);
    app.verify().await;
});

on_both!(while_the_store_is_closed, |app| async {
    let today = chrono::Utc::now().with_timezone(&chrono_tz::Asia::Shanghai).date_naive();
    let closed: Vec<String> =
        (0..4u64).map(|n| (today - chrono::Days::new(1) + chrono::Days::new(n)).to_string()).collect();
    let owner = app.owner().await;
    let store = store_at(&owner, "装修中", 31.2, &closed).await;
    let shop = app.shop_in(store, json!({"name": "次卡", "price_fen": 3000, "uses": 3})).await;
    let verifier = app.verifier(&[store]).await;
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 2).await;
    let first = verifier.redeem(&app, &customer, store, &bought.vouchers[0], 1).await.expect(201);
    verifier.redeem(&app, &customer, store, &bought.vouchers[1], 1).await.expect(201);
    let found = told(&app, &owner, "", 1).await;
    assert_eq!((&found[0]["kind"], &found[0]["redemption_id"]), (&json!("after_hours"), &first["id"]));
    assert!(text(&found[0]["message"]).contains("装修中"), "{}", found[0]);
    app.verify().await;
});

async fn card(app: &TestApp, store: StoreId) -> Shop {
    app.shop_in(store, json!({"name": "次卡", "price_fen": 3000, "uses": 9, "binding": "any_in_scope"})).await
}

on_both!(in_two_places, |app| async {
    let owner = app.owner().await;
    let here = store_at(&owner, "上海店", 31.2, &[]).await;
    let near = store_at(&owner, "隔壁店", 31.21, &[]).await;
    let far = store_at(&owner, "南通店", 32.1, &[]).await;
    let shop = card(&app, here).await;
    let verifier = app.verifier(&[here, near, far]).await;
    let customer = app.customer("小王").await;
    let bought = app.buy(&customer, &shop, 5).await;
    verifier.redeem(&app, &customer, here, &bought.vouchers[0], 1).await.expect(201);
    verifier.redeem(&app, &customer, near, &bought.vouchers[1], 1).await.expect(201);
    told(&app, &owner, "", 0).await;
    let done = verifier.redeem(&app, &customer, far, &bought.vouchers[2], 1).await.expect(201);
    let found = told(&app, &owner, "?kind=impossible_travel", 1).await;
    assert_eq!((&found[0]["redemption_id"], &found[0]["store_id"]), (&done["id"], &json!(far)));
    assert_eq!(found[0]["detail"]["from_store_id"], json!(near));
    // There and back on the same day is one story.
    verifier.redeem(&app, &customer, near, &bought.vouchers[3], 1).await.expect(201);
    told(&app, &owner, "", 1).await;
    from_the_beginning(&app).await;
    assert_eq!(flags(&owner, "").await.len(), 1);
    app.advance(std::time::Duration::from_hours(2));
    let (verifier, customer) = (staff_again(&app, 0).await, app.customer("小王").await);
    verifier.redeem(&app, &customer, far, &bought.vouchers[4], 1).await.expect(201);
    told(&app, &owner_again(&app).await, "", 1).await;
    app.verify().await;
});

on_both!(whoever_is_stopped_from_typing, |app| async {
    let shop = app.shop(1, 1000, None).await;
    let verifier = app.verifier(&[shop.store]).await;
    let unknown = hexiao_core::code::VoucherCode::from_entropy([7; 16]);
    let input = json!({"code": unknown.digits()});
    let body = json!({"store_id": shop.store, "device_id": "till-1", "input": input});
    let prepare = async || verifier.post("/api/v1/staff/redemptions/prepare", body.clone()).await;
    let wrong = "SELECT COUNT(*) AS n FROM redemption_attempts WHERE reason = 'not_found'";
    let typed = async || {
        let row = sql::row(app.app.db.reader(), wrong, vec![]).await.unwrap().unwrap();
        row.get::<i64>("n").unwrap()
    };
    for n in 0..10 {
        assert_eq!(typed().await, n);
        refused(&prepare().await, 404, "not_found", "");
    }
    for _ in 0..3 {
        refused(&prepare().await, 429, "rate_limited", "");
    }
    let found = told(&app, &app.owner().await, "", 1).await;
    assert_eq!((&found[0]["kind"], &found[0]["detail"]["of"]), (&json!("lockout"), &json!("staff")));
    assert_eq!((&found[0]["staff_id"], &found[0]["device"]), (&json!(verifier.id), &json!("till-1")));
    app.verify().await;

    // Kept as long as the audit log.
    let left = async || -> i64 {
        while app.app.prune().await.unwrap() > 0 {}
        let row = sql::row(app.app.db.reader(), "SELECT COUNT(*) AS n FROM risk_flags", vec![]).await;
        row.unwrap().unwrap().get("n").unwrap()
    };
    app.advance(days(1_095));
    assert_eq!(left().await, 1);
    app.advance(days(2));
    assert_eq!(left().await, 0);
});
