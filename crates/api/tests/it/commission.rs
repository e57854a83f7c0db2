//! The verifiers' commission: by the rule of its time, once for each use, taken back when a use is undone.

use hexiao_db::{DbError, params, sql, transact};
use hexiao_testkit::{Client, TestApp, on_both, wait_until};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{days, items, key, owner_again, shop_of, staff_again, text};

const RULES: &str = "/api/v1/merchant/commission-rules";
const OWN: &str = "/api/v1/staff/commission";
const ALL: &str = "/api/v1/merchant/commission";

async fn rule(owner: &Client, product: Option<&str>, basis_points: u32, per_use_fen: u32) -> Value {
    let mut body = json!({"basis_points": basis_points, "per_use_fen": per_use_fen});
    if let Some(product) = product {
        body["product_id"] = json!(product);
    }
    owner.post(RULES, body).await.expect(201)
}

/// Pending, matured and reversed of the only period.
async fn own(client: &Client) -> (i64, i64, i64) {
    let found = client.get(OWN).await.expect(200);
    let Some(sums) = items(&found).first() else { return (0, 0, 0) };
    assert_eq!(items(&found).len(), 1, "{found}");
    let fen = |name: &str| sums[name].as_i64().unwrap();
    (fen("pending_fen"), fen("matured_fen"), fen("reversed_fen"))
}

async fn wait_own(client: &Client, expected: (i64, i64, i64)) {
    wait_until(&format!("{expected:?}"), async || own(client).await == expected).await;
}

on_both!(each_use_earns_by_the_rule_of_its_time, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(10, 10_050, None).await;
    let verifier = app.verifier(&[shop.store]).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    // Without a rule nothing is earned, also not later.
    verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    crate::snapshot::settled(&app).await;
    let general = rule(&owner, None, 1_000, 0).await;
    // 1,005 fen each: a tenth is 100.5, rounded up use by use.
    verifier.redeem(&app, &customer, shop.store, voucher, 2).await.expect(201);
    wait_own(&verifier, (202, 0, 0)).await;
    rule(&owner, Some(&shop.product), 0, 30).await;
    let done = verifier.redeem(&app, &customer, shop.store, voucher, 3).await.expect(201);
    wait_own(&verifier, (292, 0, 0)).await;
    // The same terms again are the same rule.
    let again = rule(&owner, None, 1_000, 0).await;
    assert_eq!((&again["id"], &again["ended_at"]), (&general["id"], &Value::Null));
    let serials = json!([done["results"][0]["serials"][1]]);
    let undo = json!({"reason": "扫错了", "items": [{"voucher_id": voucher, "serials": serials}]});
    let path = format!("/api/v1/staff/redemptions/{}/reverse", text(&done["id"]));
    verifier.post_key(&path, &key(), undo).await.expect(200);
    wait_own(&verifier, (262, 0, 30)).await;
    let listed = owner.get(RULES).await.expect(200);
    let special = items(&listed).iter().find(|r| r["product_id"] == json!(shop.product)).unwrap();
    owner.delete(&format!("{RULES}/{}", text(&special["id"]))).await.expect(204);
    owner.delete(&format!("{RULES}/{}", text(&general["id"]))).await.expect(204);
    assert_eq!(owner.delete(&format!("{RULES}/{}", text(&general["id"]))).await.status, 404);
    verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    crate::snapshot::settled(&app).await;
    assert_eq!(own(&verifier).await, (262, 0, 30));

    let all = owner.get(ALL).await.expect(200);
    let of = |id: &str| items(&all).iter().find(|v| v["verifier_id"] == json!(id)).unwrap().clone();
    let sums = of(&verifier.id);
    assert_eq!((&sums["uses"], &sums["worth_fen"]), (&json!(4), &json!(4 * 1_005)));
    assert_eq!((&sums["reversed_uses"], &sums["pending_fen"]), (&json!(1), &json!(262)));
    assert_eq!(of(&owner.id)["uses"], 0);
    app.verify().await;
    // What can't be undone any more is earned for good.
    app.advance(days(3));
    let verifier = staff_again(&app, 0).await;
    wait_own(&verifier, (0, 262, 30)).await;
    let by_month = verifier.get(&format!("{OWN}?by=month")).await.expect(200);
    assert_eq!(items(&by_month)[0]["matured_fen"], 262);
    assert_eq!(text(&items(&by_month)[0]["period"]).len(), 7);
    let later = chrono::Utc::now().date_naive() + chrono::Days::new(2);
    let none = verifier.get(&format!("{OWN}?from={later}&to={later}")).await.expect(200);
    assert_eq!(items(&none).len(), 0);
    let owner = owner_again(&app).await;
    assert_eq!(items(&owner.get(RULES).await.expect(200)).len(), 2);
    app.verify().await;
});

on_both!(rules_and_figures_refuse_what_makes_no_sense, |app| async {
    let owner = app.owner().await;
    let theirs = shop_of(&app.other_owner().await, 500, 1).await;
    for (body, field) in [
        (json!({"basis_points": 10_001, "per_use_fen": 0}), "basis_points"),
        (json!({"basis_points": -1, "per_use_fen": 0}), "basis_points"),
        (json!({"basis_points": 1, "per_use_fen": 100_001}), "per_use_fen"),
        (json!({"basis_points": 1, "per_use_fen": 1, "product_id": theirs.product}), "product_id"),
    ] {
        refused(&owner.post(RULES, body).await, 400, "invalid_field", field);
    }
    for (query, field) in [
        ("from=2026-01-02&to=2026-01-01", "to"),
        ("from=2020-01-01&to=2026-01-01", "from"),
        ("from=gestern", "from"),
        ("to=9999999-01-01", "to"),
    ] {
        refused(&owner.get(&format!("{ALL}?{query}")).await, 400, "invalid_field", field);
        refused(&owner.get(&format!("{OWN}?{query}")).await, 400, "invalid_field", field);
    }
    refused(&owner.get(&format!("{OWN}?by=year")).await, 400, "invalid_field", "by");
    assert_eq!(items(&owner.get(RULES).await.expect(200)).len(), 0);
});

async fn back_to_the_beginning(app: &TestApp) {
    let back: Result<u64, DbError> = transact!(app.app.db, |tx| async {
        let text = "UPDATE consumer_positions SET tx = 0, seq = 0 WHERE consumer = $1";
        sql::execute(&tx, text, params!["commission"]).await
    });
    assert_eq!(back.unwrap(), 1);
}

on_both!(a_use_counts_once_however_often_it_is_read, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("小王").await);
    let shop = app.shop(6, 6_000, None).await;
    let verifier = app.verifier(&[shop.store]).await;
    rule(&owner, None, 500, 10).await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let interrupted = async {
        for _ in 0..60 {
            let app = app.app.clone();
            let task = tokio::spawn(async move { app.count_commission().await });
            tokio::task::yield_now().await;
            task.abort();
            let _ = task.await;
        }
    };
    let redeemed = async {
        for _ in 0..2 {
            verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
        }
        // Undone before anybody may have counted it.
        let done = verifier.redeem(&app, &customer, shop.store, voucher, 2).await.expect(201);
        let path = format!("/api/v1/staff/redemptions/{}/reverse", text(&done["id"]));
        verifier.post_key(&path, &key(), json!({"reason": "扫错了"})).await.expect(200);
        // The same serials once more.
        verifier.redeem(&app, &customer, shop.store, voucher, 2).await.expect(201);
    };
    tokio::join!(redeemed, interrupted);
    wait_own(&verifier, (240, 0, 120)).await;
    back_to_the_beginning(&app).await;
    let all = futures::future::join_all((0..8).map(|_| app.app.count_commission())).await;
    assert!(all.into_iter().all(|read| read.is_ok()));
    assert_eq!(own(&verifier).await, (240, 0, 120));
    app.verify().await;
});
