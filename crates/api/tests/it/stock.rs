//! Stock over HTTP: counted by headquarters and store managers, looked up by a store's staff.

use hexiao_core::id::StoreId;
use hexiao_testkit::{Answer, StaffClient, on_both};
use serde_json::{Value, json};

use crate::products::{create, minimal, refused, store, with};

const STOCK: &str = "/api/v1/merchant/stock";

fn rows(answer: &Answer) -> &Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["items"].as_array().unwrap()
}

fn adjust_path(row: &Value) -> String {
    format!("{STOCK}/{}/adjust", row["id"].as_str().unwrap())
}

/// A product with its own stock in some stores.
async fn own(owner: &StaffClient, counts: &[(StoreId, i64)]) -> Value {
    let counts: Vec<Value> =
        counts.iter().map(|(store, n)| json!({"store_id": store, "quantity": n})).collect();
    let sku = json!({"name": "标准", "price_fen": 100, "stock_mode": "own", "stock_by_store": counts});
    create(owner, with(minimal("本店特供"), "/skus", json!([sku]))).await
}

on_both!(stock_is_counted_and_corrected, |app| async {
    let owner = app.owner().await;
    create(&owner, minimal("双人火锅")).await;
    let list = owner.get(STOCK).await;
    let row = &rows(&list)[0];
    assert_eq!((&row["on_hand"], &row["available"], &row["low"]), (&json!(100), &json!(100), &json!(false)));
    assert_eq!((&row["store_id"], &row["store_name"]), (&Value::Null, &Value::Null));
    let adjust = adjust_path(row);
    let less = owner.post(&adjust, json!({"delta": -30, "reason": "破损"})).await;
    assert_eq!((less.status, &less.body["on_hand"]), (200, &json!(70)), "{}", less.body);
    let counted = owner.post(&adjust, json!({"counted": 5, "reason": "盘点"})).await;
    assert_eq!(counted.body["on_hand"], 5);
    assert_eq!(owner.post(&adjust, json!({"counted": 5, "reason": "盘点"})).await.status, 200);

    refused(&owner.post(&adjust, json!({"delta": -6, "reason": "破损"})).await, 409, "illegal_state", "");
    for (body, field) in [
        (json!({"reason": "x"}), "delta"),
        (json!({"delta": 0, "reason": "x"}), "delta"),
        (json!({"delta": i64::MAX, "reason": "x"}), "delta"),
        (json!({"delta": 1, "counted": 1, "reason": "x"}), "counted"),
        (json!({"counted": -1, "reason": "x"}), "counted"),
        (json!({"delta": 1}), "reason"),
        (json!({"delta": 1, "reason": " "}), "reason"),
        (json!({"delta": "1", "reason": "x"}), "delta"),
    ] {
        refused(&owner.post(&adjust, body).await, 400, "invalid_field", field);
    }
    assert_eq!(rows(&owner.get(STOCK).await)[0]["on_hand"], 5);
});

on_both!(few_left_is_flagged, |app| async {
    let owner = app.owner().await;
    create(&owner, minimal("双人火锅")).await;
    create(&owner, with(minimal("四人火锅"), "/skus/0/stock", json!(0))).await;
    let low = owner.get(&format!("{STOCK}?low=true")).await;
    assert_eq!(rows(&low).len(), 1);
    assert_eq!(rows(&low)[0]["product_name"], "四人火锅");
    let list = owner.get(STOCK).await;
    let row = rows(&list).iter().find(|r| r["product_name"] == "双人火锅").unwrap();
    let path = format!("{STOCK}/{}", row["id"].as_str().unwrap());
    let set = owner.patch(&path, json!({"low_at": 100})).await;
    assert_eq!((&set.body["low_at"], &set.body["low"]), (&json!(100), &json!(true)), "{}", set.body);
    assert_eq!(rows(&owner.get(&format!("{STOCK}?low=true")).await).len(), 2);
    refused(&owner.patch(&path, json!({})).await, 400, "invalid_field", "low_at");
    refused(&owner.patch(&path, json!({"low_at": -1})).await, 400, "invalid_field", "low_at");
    assert_eq!(owner.patch(&path, json!({"low_at": null})).await.body["low"], false);
    let first = owner.get(&format!("{STOCK}?limit=1")).await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = owner.get(&format!("{STOCK}?limit=1&cursor={cursor}")).await;
    assert_ne!(rows(&first)[0]["id"], rows(&second)[0]["id"]);
    assert_eq!(second.body["next_cursor"], Value::Null);
});

on_both!(a_store_is_counted_for_the_first_time, |app| async {
    let owner = app.owner().await;
    let (first, second) = (store(&owner, "一店").await, store(&owner, "二店").await);
    let elsewhere = store(&app.other_owner().await, "别家店").await;
    let product = own(&owner, &[(first, 3)]).await;
    let sku = product["skus"][0]["id"].clone();
    let body = |store: Value| json!({"sku_id": sku, "store_id": store, "quantity": 7});
    let made = owner.post(STOCK, body(json!(second))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!((&made.body["on_hand"], &made.body["store_name"]), (&json!(7), &json!("二店")));
    refused(&owner.post(STOCK, body(json!(second))).await, 409, "duplicate", "");
    refused(&owner.post(STOCK, body(json!(elsewhere))).await, 400, "invalid_field", "store_id");
    refused(&owner.post(STOCK, body(Value::Null)).await, 400, "invalid_field", "store_id");
    let shared = create(&owner, minimal("双人火锅")).await;
    let wrong = json!({"sku_id": shared["skus"][0]["id"], "store_id": first, "quantity": 1});
    refused(&owner.post(STOCK, wrong).await, 400, "invalid_field", "store_id");
    let twice = json!({"sku_id": shared["skus"][0]["id"], "quantity": 1});
    refused(&owner.post(STOCK, twice).await, 409, "duplicate", "");
    let negative = with(body(json!(first)), "/quantity", json!(-1));
    refused(&owner.post(STOCK, negative).await, 400, "invalid_field", "quantity");
});

on_both!(managers_change_their_own_stores_only, |app| async {
    let owner = app.owner().await;
    let (first, second) = (store(&owner, "一店").await, store(&owner, "二店").await);
    own(&owner, &[(first, 3), (second, 4)]).await;
    create(&owner, minimal("双人火锅")).await;
    let all = owner.get(STOCK).await;
    assert_eq!(rows(&all).len(), 3);
    let row_of = |store: Value| rows(&all).iter().find(|r| r["store_id"] == store).unwrap().clone();
    let (mine, theirs, shared) = (row_of(json!(first)), row_of(json!(second)), row_of(Value::Null));

    let manager = app.manager(&[first]).await;
    assert_eq!(rows(&manager.get(STOCK).await).len(), 2, "their own and the shared row");
    let one = json!({"delta": 1, "reason": "补货"});
    assert_eq!(manager.post(&adjust_path(&mine), one.clone()).await.body["on_hand"], 4);
    refused(&manager.post(&adjust_path(&theirs), one.clone()).await, 404, "not_found", "");
    refused(&manager.post(&adjust_path(&shared), one.clone()).await, 403, "forbidden", "");
    refused(&manager.get(&format!("{STOCK}?store_id={second}")).await, 404, "not_found", "");

    let verifier = app.verifier(&[first]).await;
    let mine_only = verifier.get(&format!("/api/v1/staff/stock?store_id={first}")).await;
    assert_eq!(rows(&mine_only).len(), 2);
    refused(&verifier.get(&format!("/api/v1/staff/stock?store_id={second}")).await, 404, "not_found", "");
    refused(&verifier.get("/api/v1/staff/stock").await, 400, "invalid_field", "store_id");
    refused(&verifier.get(STOCK).await, 403, "forbidden", "");
    refused(&verifier.post(&adjust_path(&mine), one.clone()).await, 403, "forbidden", "");
    refused(&app.anonymous().get(STOCK).await, 401, "unauthenticated", "");

    let other = app.other_owner().await;
    assert!(rows(&other.get(STOCK).await).is_empty());
    refused(&other.post(&adjust_path(&mine), one).await, 404, "not_found", "");
    refused(&other.get(&format!("{STOCK}?store_id={first}")).await, 404, "not_found", "");
});
