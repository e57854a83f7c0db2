//! Products over HTTP: written by headquarters, offered by stores, looked at by anybody.

use hexiao_core::id::{Id as _, StoreId};
use hexiao_testkit::{Answer, StaffClient, on_both};
use serde_json::{Value, json};

const PRODUCTS: &str = "/api/v1/merchant/products";

/// A store in use.
pub(crate) async fn store(owner: &StaffClient, name: &str) -> StoreId {
    let body = json!({
        "name": name, "address": "上海市静安区南京西路 1601 号", "lat": 31.2231, "lng": 121.4453,
        "phone": "021-62580000", "hours": [{"weekday": 1, "from": "09:00", "to": "21:00"}],
    });
    let answer = owner.post("/api/v1/merchant/stores", body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    StoreId::parse(answer.body["id"].as_str().unwrap()).unwrap()
}

/// The least a product needs.
pub(crate) fn minimal(name: &str) -> Value {
    json!({
        "name": name, "kind": "redeem", "store_scope": {"all": true},
        "skus": [{"name": "标准", "price_fen": 1280, "stock": 100, "uses": 1, "validity": {"days": 30}}],
    })
}

pub(crate) fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[field] = value;
    body
}

pub(crate) async fn create(owner: &StaffClient, body: Value) -> Value {
    let answer = owner.post(PRODUCTS, body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

pub(crate) async fn publish(owner: &StaffClient, product: &Value) -> Value {
    let answer = owner.post(&format!("{}/publish", path(product)), json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["state"], "Listed");
    answer.body
}

fn path(product: &Value) -> String {
    format!("{PRODUCTS}/{}", product["id"].as_str().unwrap())
}

fn sku_path(product: &Value) -> String {
    format!("/api/v1/merchant/skus/{}", product["skus"][0]["id"].as_str().unwrap())
}

fn shop(store: StoreId, query: &str) -> String {
    format!("/api/v1/customer/stores/{store}/products?{query}")
}

fn names(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

pub(crate) fn refused(answer: &Answer, status: u16, code: &str, field: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.body["error"]["code"], code, "{}", answer.body);
    if !field.is_empty() {
        assert_eq!(answer.body["error"]["fields"][0]["path"], field, "{}", answer.body);
    }
}

on_both!(a_minimal_product_is_created_published_and_seen, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "静安店").await;
    let product = create(&owner, minimal("双人火锅")).await;
    assert_eq!(product["state"], "Draft");
    assert_eq!(product["store_scope"], json!({"all": true, "store_ids": [], "except_store_ids": []}));
    assert_eq!(product["skus"][0]["stock_mode"], "shared");
    assert_eq!(product["skus"][0]["stock"], json!({"on_hand": 100, "reserved": 0, "available": 100}));
    assert_eq!(product["skus"][0]["rule"]["binding"], "any_in_scope");
    assert_eq!(product["skus"][0]["rule"]["refund"], "any_time");
    let customer = app.anonymous();
    assert!(names(&customer.get(&shop(store, "")).await).is_empty());
    publish(&owner, &product).await;
    publish(&owner, &product).await;

    let list = customer.get(&shop(store, "")).await;
    assert_eq!(names(&list), ["双人火锅"]);
    let card = &list.body["items"][0];
    assert_eq!(card["from_price_fen"], 1280);
    assert_eq!(card["list_price_fen"], Value::Null);
    assert_eq!(card["cover"], Value::Null);
    assert_eq!(card["category_id"], Value::Null);
    assert_eq!(card["rule_text"], json!(["有效期 30 天", "随时退", "过期自动退"]));

    let id = product["id"].as_str().unwrap();
    let detail = customer.get(&format!("/api/v1/customer/products/{id}?store_id={store}")).await;
    assert_eq!(detail.status, 200, "{}", detail.body);
    assert_eq!(detail.body["eligible_stores_count"], 1);
    let sku = &detail.body["skus"][0];
    assert_eq!(sku["stock"], json!({"mode": "shared", "available": 100, "sold_out": false}));
    assert_eq!(sku["rule"]["texts"], json!(["有效期 30 天", "随时退", "过期自动退"]));
    assert_eq!(
        sku["rule"]["validity"],
        json!({"days": 30, "activate_within_days": null, "from": null, "to": null})
    );
});

on_both!(everything_that_can_be_set_is_kept, |app| async {
    let owner = app.owner().await;
    let (first, second) = (store(&owner, "一店").await, store(&owner, "二店").await);
    let body = json!({
        "name": "理发次卡", "kind": "redeem", "category": "美发", "cover": "https://cdn.example/a.png",
        "images": ["/media/b.png"], "tags": ["热门"], "recommended": true,
        "description_html": "<p onclick=\"x()\">剪<b>发</b></p><script>alert(1)</script>",
        "store_scope": {"store_ids": [second, first]},
        "skus": [{
            "name": "十次", "specs": {"次数": "10"}, "price_fen": 30000, "list_price_fen": 50000, "uses": 10,
            "stock_mode": "own", "stock_by_store": [{"store_id": first, "quantity": 3}],
            "validity": {"days": 180},
            "usable": [{"weekdays": [5, 1, 2, 3, 4], "from": "10:00", "to": "20:00"}],
            "blackout_dates": ["2026-10-02", "2026-10-01"], "min_interval_minutes": 60, "daily_cap": 2,
            "min_quantity": 1, "refund": "before_expiry", "per_order_limit": 2, "per_customer_limit": 5,
            "return_on_refund": false,
        }],
    });
    let product = create(&owner, body).await;
    assert_eq!(product["category"], "美发");
    assert_eq!(product["description_html"], "<p>剪<b>发</b></p>");
    let sku = &product["skus"][0];
    assert_eq!(sku["rule"]["binding"], "chosen_store");
    assert_eq!(sku["rule"]["usable"][0]["weekdays"], json!([1, 2, 3, 4, 5]));
    assert_eq!(sku["rule"]["blackout_dates"], json!(["2026-10-01", "2026-10-02"]));
    assert_eq!(sku["specs"], json!({"次数": "10"}));
    assert_eq!((&sku["per_order_limit"], &sku["return_on_refund"]), (&json!(2), &json!(false)));
    publish(&owner, &product).await;

    let customer = app.anonymous();
    let id = product["id"].as_str().unwrap();
    let stock = async |query: &str| {
        let answer = customer.get(&format!("/api/v1/customer/products/{id}{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["skus"][0]["stock"].clone()
    };
    let own = |available: Value, sold_out: bool| json!({"mode": "own", "available": available, "sold_out": sold_out});
    assert_eq!(stock(&format!("?store_id={first}")).await, own(json!(3), false));
    assert_eq!(stock(&format!("?store_id={second}")).await, own(json!(0), true));
    assert_eq!(stock("").await, own(Value::Null, false));

    let categories = customer.get(&format!("/api/v1/customer/stores/{first}/categories")).await;
    assert_eq!(names(&categories), ["美发"]);
    let category = categories.body["items"][0]["id"].as_str().unwrap();
    assert_eq!(names(&customer.get(&shop(first, &format!("category_id={category}"))).await), ["理发次卡"]);
    let other = owner.get(&format!("{PRODUCTS}?category_id={category}&state=Listed")).await;
    assert_eq!(names(&other), ["理发次卡"]);
});

on_both!(lists_recommend_sort_and_find, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "静安店").await;
    for (name, recommended, list_price) in
        [("拿铁", true, json!(2000)), ("50%折扣券", false, json!(null)), ("美式", false, json!(null))]
    {
        let body = with(minimal(name), "/recommended", json!(recommended));
        let product = create(&owner, with(body, "/skus/0/list_price_fen", list_price)).await;
        publish(&owner, &product).await;
    }
    let customer = app.anonymous();
    let list = async |query: &str| customer.get(&shop(store, query)).await;
    assert_eq!(names(&list("").await), ["美式", "50%折扣券", "拿铁"]);
    assert_eq!(names(&list("list=recommended").await), ["拿铁"]);
    assert_eq!(names(&list("list=deals").await), ["拿铁"]);
    assert_eq!(names(&list("list=hot").await).len(), 3);
    assert_eq!(names(&list("q=%25").await), ["50%折扣券"]);
    assert_eq!(names(&list("q=%E7%BE%8E").await), ["美式"]);
    for query in ["", "list=hot"] {
        let first = list(&format!("{query}&limit=2")).await;
        let cursor = first.body["next_cursor"].as_str().unwrap().to_owned();
        let second = list(&format!("{query}&limit=2&cursor={cursor}")).await;
        assert_eq!((names(&first).len(), names(&second).len()), (2, 1));
        assert!(!names(&first).contains(&names(&second)[0]));
        assert_eq!(second.body["next_cursor"], Value::Null);
    }
    for (query, field) in [
        ("list=x", "list"),
        ("limit=0", "limit"),
        ("nonsense=1", "nonsense"),
        ("category_id=1", "category_id"),
    ] {
        refused(&list(query).await, 400, "invalid_field", field);
    }
    refused(&list("cursor=x").await, 400, "invalid_cursor", "");
});

on_both!(wrong_fields_are_named, |app| async {
    let owner = app.owner().await;
    let there = store(&owner, "静安店").await;
    let elsewhere = store(&app.other_owner().await, "别家店").await;
    for (pointer, value, field) in [
        ("/name", json!(""), "name"),
        ("/name", json!("a\u{202e}b"), "name"),
        ("/kind", json!("gift"), "kind"),
        ("/skus", json!([]), "skus"),
        ("/cover", json!("javascript:alert(1)"), "cover"),
        ("/images", json!(["http://x/../a.png"]), "images[0]"),
        ("/tags", json!(vec!["标签"; 11]), "tags"),
        ("/description_html", json!("a&#x202e;b"), "description_html"),
        ("/store_scope", json!({"all": true, "store_ids": [there]}), "store_scope"),
        ("/store_scope", json!({"store_ids": []}), "store_scope.store_ids"),
        ("/store_scope", json!({"store_ids": [elsewhere]}), "store_scope.store_ids"),
        ("/nonsense", json!(1), "nonsense"),
        ("/skus/0/price_fen", json!(-1), "skus[0].price_fen"),
        ("/skus/0/price_fen", json!(100_000_001), "skus[0].price_fen"),
        ("/skus/0/price_fen", json!(1.5), "skus[0].price_fen"),
        ("/skus/0/list_price_fen", json!(1), "skus[0].list_price_fen"),
        ("/skus/0/stock", json!(-1), "skus[0].stock"),
        ("/skus/0/uses", json!(0), "skus[0].uses"),
        ("/skus/0/uses", json!(99_999_999_999u64), "skus[0].uses"),
        ("/skus/0/validity", json!({}), "skus[0].validity"),
        ("/skus/0/validity", json!({"days": 360}), "skus[0].validity.days"),
        ("/skus/0/validity", json!({"from": "2026-10-07", "to": "2026-10-01"}), "skus[0].validity.to"),
        ("/skus/0/validity", json!({"from": "2026-10-07", "to": "+262142-12-31"}), "skus[0].validity"),
        ("/skus/0/usable", json!([{"weekdays": [8], "from": "10:00", "to": "12:00"}]), "skus[0].usable"),
        ("/skus/0/blackout_dates", json!(["1900-01-01"]), "skus[0].blackout_dates"),
        ("/skus/0/min_quantity", json!(2), "skus[0].min_quantity"),
        ("/skus/0/daily_cap", json!(0), "skus[0].daily_cap"),
        ("/skus/0/per_order_limit", json!(51), "skus[0].per_order_limit"),
        ("/skus/0/specs", json!({"颜\u{0}色": "红"}), "skus[0].specs"),
        ("/skus/0/stock_mode", json!("own"), "skus[0].stock"),
        ("/skus/0/refund", json!("never"), "skus[0].refund"),
    ] {
        let answer = owner.post(PRODUCTS, with(minimal("双人火锅"), pointer, value.clone())).await;
        assert_eq!(answer.status, 400, "{pointer} {value}: {}", answer.body);
        refused(&answer, 400, "invalid_field", field);
    }
    let own = json!({
        "name": "标准", "price_fen": 1, "stock_mode": "own", "stock_by_store": [{"store_id": elsewhere, "quantity": 1}],
    });
    let answer = owner.post(PRODUCTS, with(minimal("双人火锅"), "/skus", json!([own]))).await;
    refused(&answer, 400, "invalid_field", "skus[0].stock_by_store[0].store_id");
    let many = vec![json!({"name": "标准", "price_fen": 1}); 51];
    refused(
        &owner.post(PRODUCTS, with(minimal("双人火锅"), "/skus", json!(many))).await,
        400,
        "invalid_field",
        "skus",
    );
    assert!(names(&owner.get(PRODUCTS).await).is_empty(), "nothing was written");
});

on_both!(hostile_text_is_kept_as_text, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "静安店").await;
    let name = "'; DROP TABLE products; -- <b>$1 ?1</b>";
    let body =
        with(with(minimal(name), "/category", json!(name.get(..20).unwrap())), "/tags", json!(["\"$2\""]));
    publish(&owner, &create(&owner, body).await).await;
    assert_eq!(names(&app.anonymous().get(&shop(store, "q=%3Cb%3E%241")).await), [name]);
});

on_both!(publishing_needs_a_store_a_sku_and_time, |app| async {
    let owner = app.owner().await;
    let product = create(&owner, minimal("双人火锅")).await;
    let publish_path = format!("{}/publish", path(&product));
    refused(&owner.post(&publish_path, json!({})).await, 409, "publish_incomplete", "store_scope");
    store(&owner, "静安店").await;
    assert_eq!(owner.patch(&sku_path(&product), json!({"active": false})).await.status, 200);
    refused(&owner.post(&publish_path, json!({})).await, 409, "publish_incomplete", "skus");
    let over = json!({"active": true, "validity": {"from": "2020-01-01", "to": "2020-01-31"}});
    assert_eq!(owner.patch(&sku_path(&product), over).await.status, 200);
    refused(&owner.post(&publish_path, json!({})).await, 409, "publish_incomplete", "skus[0].validity.to");
    let far = json!({"validity": {"from": "2020-01-01", "to": "2199-12-31"}});
    assert_eq!(owner.patch(&sku_path(&product), far).await.status, 200);
    refused(&owner.post(&publish_path, json!({})).await, 409, "publish_incomplete", "skus[0].validity.to");
    assert_eq!(owner.patch(&sku_path(&product), json!({"validity": {"days": 30}})).await.status, 200);
    publish(&owner, &product).await;
    // What an offered product needs cannot be edited away.
    refused(
        &owner.patch(&sku_path(&product), json!({"active": false})).await,
        409,
        "publish_incomplete",
        "skus",
    );

    let delivery = create(&owner, with(minimal("礼盒"), "/kind", json!("delivery"))).await;
    let answer = owner.post(&format!("{}/publish", path(&delivery)), json!({})).await;
    refused(&answer, 409, "illegal_state", "");
    assert_eq!(answer.body["error"]["message"], "目前只能上架到店核销商品");
});

on_both!(an_offered_product_keeps_to_what_wechat_refunds, |app| async {
    let owner = app.owner().await;
    store(&owner, "静安店").await;
    let day = |n: i64| (chrono::Utc::now() + chrono::Duration::days(n)).date_naive().to_string();
    let dates = |to: i64| json!({"validity": {"from": day(-30), "to": day(to)}});
    let product = create(&owner, minimal("双人火锅")).await;
    // While nobody can buy it, its dates are nobody's business.
    assert_eq!(owner.patch(&sku_path(&product), dates(400)).await.status, 200);
    assert_eq!(owner.patch(&sku_path(&product), dates(300)).await.status, 200);
    publish(&owner, &product).await;

    let edit = async |patch: Value| owner.patch(&sku_path(&product), patch).await;
    refused(&edit(dates(400)).await, 400, "invalid_field", "validity.to");
    refused(&edit(dates(-2)).await, 400, "invalid_field", "validity.to");
    let mut far = dates(400);
    far["refund"] = json!("none");
    assert_eq!(edit(far).await.status, 200, "what is not refunded may be far away");
    refused(&edit(json!({"refund": "any_time"})).await, 400, "invalid_field", "validity.to");
    let mut near = dates(300);
    near["refund"] = json!("any_time");
    assert_eq!(edit(near).await.status, 200);

    let add = async |to: i64| {
        let sku = with(minimal("x")["skus"][0].clone(), "/validity", dates(to)["validity"].clone());
        owner.post(&format!("{}/skus", path(&product)), sku).await
    };
    refused(&add(400).await, 400, "invalid_field", "validity.to");
    refused(&add(-2).await, 400, "invalid_field", "validity.to");
    let added = add(5).await.expect(201);
    let added = format!("/api/v1/merchant/skus/{}", added["skus"][1]["id"].as_str().unwrap());

    // Dates that are over keep nothing else from being edited; but such a SKU is not offered anew.
    app.advance(std::time::Duration::from_hours(24 * 10));
    let owner = app.sign_in("13800000001", hexiao_testkit::PASSWORD).await.unwrap();
    owner.patch(&added, json!({"price_fen": 900})).await.expect(200);
    owner.patch(&sku_path(&product), json!({"price_fen": 900})).await.expect(200);
    owner.patch(&added, json!({"active": false})).await.expect(200);
    refused(&owner.patch(&added, json!({"active": true})).await, 400, "invalid_field", "validity.to");
});

on_both!(a_delisted_product_is_gone_for_customers, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "静安店").await;
    let product = create(&owner, minimal("双人火锅")).await;
    let delist = format!("{}/delist", path(&product));
    refused(&owner.post(&delist, json!({})).await, 409, "illegal_state", "");
    publish(&owner, &product).await;
    assert_eq!(owner.post(&delist, json!({})).await.body["state"], "Delisted");
    assert_eq!(owner.post(&delist, json!({})).await.status, 200);
    let customer = app.anonymous();
    let id = product["id"].as_str().unwrap();
    refused(&customer.get(&format!("/api/v1/customer/products/{id}")).await, 404, "not_found", "");
    assert!(names(&customer.get(&shop(store, "")).await).is_empty());
    publish(&owner, &product).await;
    assert_eq!(names(&customer.get(&shop(store, "")).await), ["双人火锅"]);
});

on_both!(edits_keep_the_rest_and_refuse_old_versions, |app| async {
    let owner = app.owner().await;
    let (first, second) = (store(&owner, "一店").await, store(&owner, "二店").await);
    let product = create(&owner, with(minimal("双人火锅"), "/category", json!("火锅"))).await;
    let edited =
        owner.patch(&path(&product), json!({"version": 1, "name": "四人火锅", "tags": ["新"]})).await;
    assert_eq!(edited.status, 200, "{}", edited.body);
    assert_eq!((&edited.body["name"], &edited.body["category"]), (&json!("四人火锅"), &json!("火锅")));
    assert_eq!(edited.body["version"], 2);
    refused(&owner.patch(&path(&product), json!({"version": 1, "name": "x"})).await, 409, "stale", "");
    let cleared = owner.patch(&path(&product), json!({"category": null, "cover": "/a.png"})).await;
    assert_eq!((&cleared.body["category"], &cleared.body["cover"]), (&Value::Null, &json!("/a.png")));
    refused(&owner.patch(&path(&product), json!({"cover": "x"})).await, 400, "invalid_field", "cover");
    refused(&owner.patch(&path(&product), json!({"kind": "delivery"})).await, 400, "invalid_field", "kind");

    let narrowed = owner.patch(&path(&product), json!({"store_scope": {"store_ids": [first]}})).await;
    assert_eq!(
        narrowed.body["store_scope"],
        json!({"all": false, "store_ids": [first], "except_store_ids": []})
    );
    assert_eq!(narrowed.body["skus"][0]["version"], 2, "another rule");
    publish(&owner, &product).await;
    let id = product["id"].as_str().unwrap();
    let at = async |store: StoreId| {
        app.anonymous().get(&format!("/api/v1/customer/products/{id}?store_id={store}")).await
    };
    assert_eq!(at(first).await.status, 200);
    refused(&at(second).await, 404, "not_found", "");

    let sku = json!({"version": 2, "price_fen": 990, "list_price_fen": 1280, "uses": 3, "daily_cap": 1});
    let edited = owner.patch(&sku_path(&product), sku).await;
    assert_eq!(edited.status, 200, "{}", edited.body);
    let sku = &edited.body["skus"][0];
    assert_eq!(
        (&sku["price_fen"], &sku["rule"]["uses"], &sku["version"]),
        (&json!(990), &json!(3), &json!(3))
    );
    let cleared = owner.patch(&sku_path(&product), json!({"list_price_fen": null, "daily_cap": null})).await;
    assert_eq!(cleared.body["skus"][0]["list_price_fen"], Value::Null);
    refused(&owner.patch(&sku_path(&product), json!({"version": 2, "price_fen": 1})).await, 409, "stale", "");
    refused(&owner.patch(&sku_path(&product), json!({"uses": 0})).await, 400, "invalid_field", "uses");
    refused(
        &owner.patch(&sku_path(&product), json!({"stock_mode": "own"})).await,
        400,
        "invalid_field",
        "stock_mode",
    );

    let added =
        owner.post(&format!("{}/skus", path(&product)), json!({"name": "豪华", "price_fen": 5000})).await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(added.body["skus"][1]["stock"], Value::Null);
});

on_both!(a_store_may_have_its_own_price_or_leave_a_sku_out, |app| async {
    let owner = app.owner().await;
    let (first, second) = (store(&owner, "一店").await, store(&owner, "二店").await);
    let elsewhere = store(&app.other_owner().await, "别家店").await;
    let product = create(&owner, with(minimal("双人火锅"), "/skus/0/list_price_fen", json!(1280))).await;
    publish(&owner, &product).await;
    let listings = format!("{}/listings", path(&product));
    let sku = product["skus"][0]["id"].as_str().unwrap();
    let item = |store: StoreId, listed: bool, price: Value| json!({"store_id": store, "sku_id": sku, "listed": listed, "price_fen": price});
    let body = json!({"items": [item(first, true, json!(990)), item(second, false, Value::Null)]});
    assert_eq!(owner.put(&listings, body.clone()).await.status, 204);
    assert_eq!(owner.put(&listings, body).await.status, 204, "the same again");
    let read = owner.get(&listings).await;
    let stores = read.body["items"].as_array().unwrap();
    assert_eq!(stores.len(), 2);
    let of = |store: StoreId| stores.iter().find(|s| s["store_id"] == json!(store)).unwrap();
    assert_eq!(of(first)["overrides"], json!([{"sku_id": sku, "listed": true, "price_fen": 990}]));
    assert_eq!(of(second)["overrides"], json!([{"sku_id": sku, "listed": false, "price_fen": null}]));

    let customer = app.anonymous();
    let here = customer.get(&shop(first, "list=deals")).await;
    assert_eq!(here.body["items"][0]["from_price_fen"], 990);
    assert_eq!(here.body["items"][0]["list_price_fen"], 1280);
    assert!(names(&customer.get(&shop(second, "")).await).is_empty());

    for (items, field) in [
        (json!([]), "items"),
        (json!([item(elsewhere, true, Value::Null)]), "items[0].store_id"),
        (json!([item(first, true, json!(-1))]), "items[0].price_fen"),
        (json!([item(first, true, Value::Null), item(first, true, Value::Null)]), "items[1]"),
        (json!([{"store_id": first, "sku_id": sku, "listed": true}]), "items[0].price_fen"),
    ] {
        refused(&owner.put(&listings, json!({ "items": items })).await, 400, "invalid_field", field);
    }
    let other = create(&owner, minimal("别的")).await;
    let foreign = with(item(first, true, Value::Null), "/sku_id", other["skus"][0]["id"].clone());
    refused(
        &owner.put(&listings, json!({ "items": [foreign] })).await,
        400,
        "invalid_field",
        "items[0].sku_id",
    );
});

on_both!(only_who_may_writes_and_other_merchants_see_nothing, |app| async {
    let owner = app.owner().await;
    let (first, second) = (store(&owner, "一店").await, store(&owner, "二店").await);
    let product =
        create(&owner, with(minimal("双人火锅"), "/store_scope", json!({"store_ids": [first]}))).await;
    let (manager, stranger) = (app.manager(&[first]).await, app.manager(&[second]).await);
    let verifier = app.verifier(&[first]).await;
    let other = app.other_owner().await;
    let read = path(&product);

    assert_eq!(manager.get(&read).await.status, 200);
    assert_eq!(names(&manager.get(PRODUCTS).await), ["双人火锅"]);
    refused(&stranger.get(&read).await, 404, "not_found", "");
    assert!(names(&stranger.get(PRODUCTS).await).is_empty());
    refused(&verifier.get(PRODUCTS).await, 403, "forbidden", "");
    refused(&app.anonymous().get(PRODUCTS).await, 401, "unauthenticated", "");
    refused(&other.get(&read).await, 404, "not_found", "");

    for client in [&manager, &verifier] {
        refused(&client.post(PRODUCTS, minimal("x")).await, 403, "forbidden", "");
        refused(&client.patch(&read, json!({"name": "x"})).await, 403, "forbidden", "");
        refused(&client.patch(&sku_path(&product), json!({"price_fen": 1})).await, 403, "forbidden", "");
        refused(&client.post(&format!("{read}/publish"), json!({})).await, 403, "forbidden", "");
        refused(&client.post(&format!("{read}/delist"), json!({})).await, 403, "forbidden", "");
        refused(&client.put(&format!("{read}/listings"), json!({"items": []})).await, 403, "forbidden", "");
    }
    refused(&other.patch(&read, json!({"name": "x"})).await, 404, "not_found", "");
    refused(&other.patch(&sku_path(&product), json!({"price_fen": 1})).await, 404, "not_found", "");
    refused(&other.post(&format!("{read}/publish"), json!({})).await, 404, "not_found", "");
    refused(
        &other.post(&format!("{read}/skus"), json!({"name": "x", "price_fen": 1})).await,
        404,
        "not_found",
        "",
    );
    refused(&owner.get(&format!("{PRODUCTS}/prd_nonsense")).await, 404, "not_found", "");
    refused(
        &app.anonymous().get(&shop(StoreId::from_uuid(uuid::Uuid::nil()), "")).await,
        404,
        "not_found",
        "",
    );
});
