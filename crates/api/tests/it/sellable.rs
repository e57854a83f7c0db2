//! What order placement reads of SKUs and stock, on rows made over HTTP. Needs the app's database: `app.app.db`.

use hexiao_core::catalog::StockMode;
use hexiao_core::id::{Id as _, SkuId, StoreId};
use hexiao_core::money::Money;
use hexiao_db::catalog::{SellableSku, sellable};
use hexiao_db::{params, sql, transact};
use hexiao_testkit::{TestApp, on_both};
use serde_json::{Value, json};

use crate::products::{create, minimal, publish, refused, store, with};

fn sku_id(product: &Value) -> SkuId {
    SkuId::parse(product["skus"][0]["id"].as_str().unwrap()).unwrap()
}

async fn sku(app: &TestApp, store: StoreId, product: &Value) -> SellableSku {
    sellable(app.app.db.reader(), store, &[sku_id(product)]).await.unwrap().remove(0)
}

on_both!(a_sku_is_read_as_its_store_sells_it, |app| async {
    let owner = app.owner().await;
    let (first, second) = (store(&owner, "一店").await, store(&owner, "二店").await);
    let elsewhere = store(&app.other_owner().await, "别家店").await;
    let own = json!([{
        "name": "标准", "price_fen": 100, "stock_mode": "own", "stock_by_store": [{"store_id": first, "quantity": 3}],
        "per_order_limit": 2, "return_on_refund": false, "uses": 5,
    }]);
    let body = with(with(minimal("双人火锅"), "/skus", own), "/store_scope", json!({"store_ids": [first]}));
    let product = create(&owner, body).await;
    assert!(!sku(&app, first, &product).await.listed, "a draft");
    publish(&owner, &product).await;
    let here = sku(&app, first, &product).await;
    assert!(here.listed);
    assert_eq!((here.stock_mode, here.on_hand, here.reserved), (StockMode::Own, 3, 0));
    assert_eq!((here.price, here.store_price, here.uses, here.rule.uses), (Money::fen(100), None, 5, 5));
    assert_eq!((here.per_order_limit, here.return_on_refund), (Some(2), false));
    assert!(here.stock_id.is_some());
    let there = sku(&app, second, &product).await;
    assert_eq!((there.listed, there.stock_id, there.on_hand), (false, None, 0));
    assert!(sellable(app.app.db.reader(), elsewhere, &[sku_id(&product)]).await.unwrap().is_empty());

    let listing = json!({"store_id": first, "sku_id": sku_id(&product), "listed": false, "price_fen": 90});
    let path = format!("/api/v1/merchant/products/{}/listings", product["id"].as_str().unwrap());
    assert_eq!(owner.put(&path, json!({"items": [listing]})).await.status, 204);
    let off = sku(&app, first, &product).await;
    assert_eq!((off.listed, off.store_price), (false, Some(Money::fen(90))));
    let shared = create(&owner, minimal("四人火锅")).await;
    assert_eq!(sku(&app, second, &shared).await.on_hand, 100);
});

on_both!(reserved_units_cannot_be_taken_away, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "一店").await;
    let product = create(&owner, minimal("双人火锅")).await;
    let stock = sku(&app, store, &product).await.stock_id.unwrap();
    let reserve = async |tx: &hexiao_db::Tx| {
        sql::execute_exactly(
            tx,
            1,
            "reserve",
            "UPDATE stocks SET reserved = 40 WHERE id = $1",
            params![stock],
        )
        .await
    };
    transact!(app.app.db, |tx| reserve(&tx)).unwrap();
    let path = format!("/api/v1/merchant/stock/{stock}/adjust");
    let answer = owner.post(&path, json!({"counted": 39, "reason": "盘点"})).await;
    refused(&answer, 409, "illegal_state", "");
    assert!(answer.body["error"]["message"].as_str().unwrap().contains("已被订单占用 40 份"));
    let answer = owner.post(&path, json!({"counted": 40, "reason": "盘点"})).await;
    assert_eq!((&answer.body["on_hand"], &answer.body["available"]), (&json!(40), &json!(0)));

    // The sum of the entries is the stock, and each change is in the audit log.
    let text = "SELECT CAST(SUM(delta) AS BIGINT) AS n FROM stock_entries WHERE stock_id = $1";
    let row = sql::row(app.app.db.reader(), text, params![stock]).await.unwrap().unwrap();
    assert_eq!(row.get::<i64>("n").unwrap(), 40);
    let text = "SELECT COUNT(*) AS n FROM audit_log WHERE action = 'stock.adjust' AND subject = $1";
    let row = sql::row(app.app.db.reader(), text, params![stock.to_string()]).await.unwrap().unwrap();
    assert_eq!(row.get::<i64>("n").unwrap(), 1);
});

on_both!(a_new_rule_leaves_the_old_one_in_place, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "一店").await;
    let product = create(&owner, minimal("双人火锅")).await;
    let before = sku(&app, store, &product).await;
    let path = format!("/api/v1/merchant/skus/{}", sku_id(&product));
    assert_eq!(owner.patch(&path, json!({"uses": 3})).await.status, 200);
    let after = sku(&app, store, &product).await;
    assert_ne!(before.rule_id, after.rule_id);
    assert_eq!(after.uses, 3);
    let count = async || {
        let row = sql::row(app.app.db.reader(), "SELECT COUNT(*) AS n FROM redemption_rules", vec![])
            .await
            .unwrap();
        row.unwrap().get::<i64>("n").unwrap()
    };
    assert_eq!(count().await, 2, "the old rule stays for the vouchers that have it");
    assert_eq!(owner.patch(&path, json!({"uses": 1})).await.status, 200);
    assert_eq!(sku(&app, store, &product).await.rule_id, before.rule_id, "the same content, the same rule");
    assert_eq!(count().await, 2);
});
