//! Stores over HTTP: set up by headquarters, run by their staff, found by customers.

use hexiao_core::id::{Id as _, StoreId};
use hexiao_testkit::{Answer, StaffClient, on_both};
use serde_json::{Value, json};

const STORES: &str = "/api/v1/merchant/stores";

/// The least a store needs.
fn minimal(name: &str) -> Value {
    json!({
        "name": name, "address": "上海市静安区南京西路 1601 号", "lat": 31.2231, "lng": 121.4453,
        "phone": "021-62580000", "hours": [{"weekday": 1, "from": "09:00", "to": "21:00"}],
    })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

/// Open from Monday to Sunday around the clock.
fn always() -> Value {
    (1..=7).map(|weekday| json!({"weekday": weekday, "from": "00:00", "to": "24:00"})).collect()
}

async fn create(client: &StaffClient, body: Value) -> StoreId {
    let answer = client.post(STORES, body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    id(&answer)
}

fn id(answer: &Answer) -> StoreId {
    StoreId::parse(answer.body["id"].as_str().unwrap()).unwrap()
}

/// A path with a query of any text.
fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

fn names(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn refused(answer: &Answer, status: u16, code: &str, field: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.body["error"]["code"], code, "{}", answer.body);
    if !field.is_empty() {
        assert_eq!(answer.body["error"]["fields"][0]["path"], field, "{}", answer.body);
    }
}

on_both!(a_minimal_store_is_created_and_read, |app| async {
    let owner = app.owner().await;
    let answer = owner.post(STORES, minimal("静安店")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let store = &answer.body;
    assert_eq!(store["city"], "上海市");
    assert_eq!(store["state"], "Approved");
    assert_eq!(store["hours"], json!([{"weekday": 1, "from": "09:00", "to": "21:00"}]));
    assert_eq!(store["exceptions"], json!([]));
    assert_eq!(store["hours_text"], "周一 09:00–21:00，周二至周日休息");
    assert_eq!((&store["zone"], &store["cutoff_hour"]), (&json!("Asia/Shanghai"), &json!(0)));
    assert_eq!((&store["resting"], &store["version"]), (&json!(false), &json!(1)));
    assert!(
        store.get("next_open_at").is_some() && store.get("closes_at").is_some(),
        "null, not left out: {store}"
    );
    let again = owner.get(&format!("{STORES}/{}", id(&answer))).await;
    assert_eq!((again.status, &again.body), (200, store));
});

on_both!(every_field_is_kept, |app| async {
    let owner = app.owner().await;
    let body = json!({
        "name": "<b>老王</b>'; DROP TABLE stores;--", "city": "深圳", "address": "科技园 \"A\" 座 & B 座", "lat": -1, "lng": 0.5,
        "phone": "4001234567", "description": "第一行\r\n第二行 100% _\\ ☕", "hours": always(),
        "exceptions": [{"date": "2027-02-06", "closed": true, "note": "春节"},
                       {"date": "2027-02-05", "spans": [{"from": "10:00", "to": "16:00"}]}],
        "photos": ["https://img.example/1.jpg", "/media/2.webp"], "tags": ["停车", "包间", "停车"],
        "zone": "Asia/Urumqi", "cutoff_hour": 4,
    });
    let store = owner.get(&format!("{STORES}/{}", create(&owner, body).await)).await.body;
    assert_eq!(store["name"], "<b>老王</b>'; DROP TABLE stores;--");
    assert_eq!(store["description"], "第一行\n第二行 100% _\\ ☕");
    assert_eq!((&store["city"], &store["phone"]), (&json!("深圳"), &json!("400-123-4567")));
    assert_eq!((store["lat"].as_f64(), store["lng"].as_f64()), (Some(-1.0), Some(0.5)));
    assert_eq!(
        store["exceptions"][0],
        json!({"date": "2027-02-05", "closed": false, "spans": [{"from": "10:00", "to": "16:00"}], "note": ""})
    );
    assert_eq!(store["exceptions"][1]["note"], "春节");
    assert_eq!(store["photos"], json!(["https://img.example/1.jpg", "/media/2.webp"]));
    assert_eq!(store["tags"], json!(["停车", "包间"]));
    assert_eq!((&store["zone"], &store["cutoff_hour"]), (&json!("Asia/Urumqi"), &json!(4)));
});

on_both!(bad_fields_are_named_and_nothing_is_written, |app| async {
    let owner = app.owner().await;
    let span = |weekday: Value, from: &str, to: &str| json!([{"weekday": weekday, "from": from, "to": to}]);
    let many = |n: usize| (0..n).map(|i| json!(i.to_string())).collect::<Value>();
    for (field, value, path) in [
        ("name", json!(""), "name"),
        ("name", json!("店".repeat(51)), "name"),
        ("name", json!("店\u{0}名"), "name"),
        ("name", json!("店\n名"), "name"),
        ("name", json!("店\u{202E}名"), "name"),
        ("name", json!("店\u{200B}名"), "name"),
        ("name", json!(7), "name"),
        ("address", json!(" "), "address"),
        ("address", json!("路".repeat(201)), "address"),
        ("lat", json!(90.01), "lat"),
        ("lat", json!("31.2"), "lat"),
        ("lng", json!(-180.5), "lng"),
        ("lng", json!(null), "lng"),
        ("phone", json!("12345"), "phone"),
        ("hours", span(json!(0), "09:00", "21:00"), "hours[0].weekday"),
        ("hours", span(json!(8), "09:00", "21:00"), "hours[0].weekday"),
        ("hours", span(json!(1), "9:00", "21:00"), "hours[0].from"),
        ("hours", span(json!(1), "09:00", "24:01"), "hours[0].to"),
        ("hours", span(json!(1), "24:00", "02:00"), "hours[0]"),
        (
            "hours",
            json!([{"weekday": 1, "from": "09:00", "to": "12:00"}, {"weekday": 1, "from": "11:00", "to": "13:00"}]),
            "hours[1]",
        ),
        ("hours", json!([{"weekday": 1, "from": "09:00", "to": "12:00", "note": "x"}]), "hours[0].note"),
        ("hours", json!("每天"), "hours"),
        ("exceptions", json!([{"date": "2027-02-30", "closed": true}]), "exceptions[0].date"),
        ("exceptions", json!([{"date": "2027-02-06"}]), "exceptions[0]"),
        ("photos", json!(["javascript:alert(1)"]), "photos[0]"),
        ("photos", json!(["https://a.example/../../etc passwd"]), "photos[0]"),
        ("tags", json!(["标签".repeat(11)]), "tags[0]"),
        ("tags", many(21), "tags"),
        ("zone", json!("Asia/Nowhere"), "zone"),
        ("cutoff_hour", json!(24), "cutoff_hour"),
        ("cutoff_hour", json!(-1), "cutoff_hour"),
        ("description", json!("字".repeat(2001)), "description"),
        ("state", json!("Approved"), "state"),
        ("merchant_id", json!("mch_00000000000000000000000000"), "merchant_id"),
    ] {
        let answer = owner.post(STORES, with(minimal("坏"), field, value.clone())).await;
        assert_eq!(answer.status, 400, "{field} = {value}: {}", answer.body);
        refused(&answer, 400, "invalid_field", path);
    }
    for field in ["name", "address", "lat", "lng", "phone", "hours"] {
        let mut body = minimal("缺");
        body.as_object_mut().unwrap().remove(field);
        refused(&owner.post(STORES, body).await, 400, "invalid_field", field);
    }
    assert_eq!(names(&owner.get(&with_query(STORES, &[("q", "坏")])).await), [""; 0]);
});

on_both!(an_edit_changes_what_it_names, |app| async {
    let owner = app.owner().await;
    let store =
        create(&owner, with(minimal("旧名"), "exceptions", json!([{"date": "2027-02-06", "closed": true}])))
            .await;
    let path = format!("{STORES}/{store}");
    let answer =
        owner.patch(&path, json!({"version": 1, "name": "新名", "hours": always(), "lat": 31.3})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((&answer.body["name"], &answer.body["version"]), (&json!("新名"), &json!(2)));
    assert_eq!((answer.body["lat"].as_f64(), answer.body["lng"].as_f64()), (Some(31.3), Some(121.4453)));
    assert_eq!(answer.body["hours_text"], "每天 24 小时");
    assert_eq!(answer.body["exceptions"].as_array().unwrap().len(), 1, "not named, so it stays");
    assert_eq!(owner.get(&path).await.body["name"], "新名");

    refused(&owner.patch(&path, json!({"version": 1, "name": "更新的名"})).await, 409, "stale", "");
    refused(&owner.patch(&path, json!({"nmae": "x"})).await, 400, "invalid_field", "nmae");
    refused(&owner.patch(&path, json!({"lat": 91})).await, 400, "invalid_field", "lat");
    refused(&owner.patch(&path, json!({"cutoff_hour": 99})).await, 400, "invalid_field", "cutoff_hour");
    let unchanged = owner.patch(&path, json!({"name": "新名"})).await;
    assert_eq!(
        (unchanged.status, &unchanged.body["version"]),
        (200, &json!(2)),
        "nothing changed, nothing is written"
    );
    refused(&owner.patch(&format!("{STORES}/nonsense"), json!({})).await, 404, "not_found", "");
    refused(
        &owner.patch(&format!("{STORES}/str_00000000000000000000000000"), json!({})).await,
        404,
        "not_found",
        "",
    );
});

on_both!(staff_reach_their_own_stores_only, |app| async {
    let owner = app.owner().await;
    let (mine, other) = (create(&owner, minimal("我的店")).await, create(&owner, minimal("别的店")).await);
    let manager = app.manager(&[mine]).await;
    let verifier = app.verifier(&[mine]).await;
    let stranger = app.other_owner().await;
    for client in [&manager, &verifier] {
        assert_eq!(names(&client.get("/api/v1/staff/stores").await), ["我的店"]);
        assert_eq!(names(&client.get(STORES).await), ["我的店"]);
        assert_eq!(client.get(&format!("/api/v1/staff/store?store_id={mine}")).await.body["name"], "我的店");
        refused(&client.get(&format!("/api/v1/staff/store?store_id={other}")).await, 404, "not_found", "");
        refused(&client.get(&format!("{STORES}/{other}")).await, 404, "not_found", "");
        refused(&client.post(STORES, minimal("新店")).await, 403, "forbidden", "");
    }
    assert_eq!(manager.patch(&format!("{STORES}/{mine}"), json!({"description": "改过"})).await.status, 200);
    refused(
        &manager.patch(&format!("{STORES}/{other}"), json!({"description": "改过"})).await,
        404,
        "not_found",
        "",
    );
    refused(
        &verifier.patch(&format!("{STORES}/{mine}"), json!({"description": "改过"})).await,
        403,
        "forbidden",
        "",
    );
    refused(
        &verifier.patch("/api/v1/staff/store", json!({"store_id": mine, "resting": true})).await,
        403,
        "forbidden",
        "",
    );
    refused(
        &manager.patch("/api/v1/staff/store", json!({"store_id": other, "resting": true})).await,
        404,
        "not_found",
        "",
    );
    assert_eq!(names(&stranger.get(STORES).await), [""; 0]);
    refused(&stranger.get(&format!("{STORES}/{mine}")).await, 404, "not_found", "");
    refused(
        &stranger.patch(&format!("{STORES}/{mine}"), json!({"resting": true})).await,
        404,
        "not_found",
        "",
    );
    let anonymous = app.anonymous();
    refused(&anonymous.get(STORES).await, 401, "unauthenticated", "");
    refused(&anonymous.post(STORES, minimal("x")).await, 401, "unauthenticated", "");
    refused(
        &anonymous.patch("/api/v1/staff/store", json!({"store_id": mine, "resting": true})).await,
        401,
        "unauthenticated",
        "",
    );
});

on_both!(a_resting_store_is_closed_whatever_its_hours_say, |app| async {
    let owner = app.owner().await;
    let store = create(&owner, with(minimal("通宵店"), "hours", always())).await;
    let manager = app.manager(&[store]).await;
    let public = format!("/api/v1/customer/stores/{store}");
    assert_eq!(app.anonymous().get(&public).await.body["open_now"], true);
    for _ in 0..2 {
        let answer = manager.patch("/api/v1/staff/store", json!({"store_id": store, "resting": true})).await;
        assert_eq!((answer.status, &answer.body["resting"]), (200, &json!(true)));
    }
    let seen = app.anonymous().get(&public).await.body;
    assert_eq!((&seen["open_now"], &seen["resting"]), (&json!(false), &json!(true)));
    assert_eq!((&seen["next_open_at"], &seen["closes_at"]), (&Value::Null, &Value::Null));
    assert_eq!(names(&owner.get(&format!("{STORES}?resting=true")).await), ["通宵店"]);
    assert_eq!(names(&owner.get(&format!("{STORES}?resting=false")).await), [""; 0]);
    manager.patch("/api/v1/staff/store", json!({"store_id": store, "resting": false})).await;
    assert_eq!(app.anonymous().get(&public).await.body["open_now"], true);
    refused(
        &manager.patch("/api/v1/staff/store", json!({"store_id": store})).await,
        400,
        "invalid_field",
        "resting",
    );
    refused(
        &manager.patch("/api/v1/staff/store", json!({"store_id": "ord_1", "resting": true})).await,
        400,
        "invalid_field",
        "store_id",
    );
});

on_both!(customers_find_the_nearest_stores_page_by_page, |app| async {
    let owner = app.owner().await;
    // 111 m, 1.1 km, 11 km, 111 km and 1,110 km north of the point; two at the same place.
    for (name, lat) in
        [("丙", 31.1), ("甲", 30.001), ("戊", 40.0), ("丁", 31.0), ("乙", 30.01), ("乙二", 30.01)]
    {
        create(&owner, with(with(minimal(name), "lat", json!(lat)), "lng", json!(120.0))).await;
    }
    let here = [("lat", "30"), ("lng", "120")];
    let customer = app.anonymous();
    let all = customer.get(&with_query("/api/v1/customer/stores", &here)).await;
    assert_eq!(names(&all), ["甲", "乙", "乙二", "丁", "丙", "戊"], "same distance: by id");
    let distances: Vec<i64> =
        all.body["items"].as_array().unwrap().iter().map(|s| s["distance_m"].as_i64().unwrap()).collect();
    assert_eq!(distances, [111, 1_112, 1_112, 111_195, 122_315, 1_111_951]);
    assert_eq!(all.body["next_cursor"], Value::Null);
    for limit in ["1", "2", "4", "6"] {
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![here[0], here[1], ("limit", limit)];
            query.extend(cursor.as_deref().map(|c| ("cursor", c)));
            let page = customer.get(&with_query("/api/v1/customer/stores", &query)).await;
            seen.extend(names(&page).into_iter().map(str::to_owned));
            cursor = page.body["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, names(&all), "{limit} a page");
    }
});

on_both!(customers_without_a_place_browse_by_city_and_name, |app| async {
    let owner = app.owner().await;
    for (name, city) in [("B 店", "深圳市"), ("A 店", "深圳市"), ("C 店", "杭州市"), ("D 店", "深圳市")]
    {
        create(&owner, with(minimal(name), "city", json!(city))).await;
    }
    let customer = app.anonymous();
    let cities = customer.get("/api/v1/customer/cities").await;
    assert_eq!(
        cities.body["items"],
        json!([{"city": "深圳市", "stores": 3}, {"city": "杭州市", "stores": 1}])
    );
    for city in ["深圳市", "深圳"] {
        let found = customer.get(&with_query("/api/v1/customer/stores", &[("city", city)])).await;
        assert_eq!(names(&found), ["A 店", "B 店", "D 店"]);
        assert_eq!(found.body["items"][0]["distance_m"], Value::Null);
    }
    let first =
        customer.get(&with_query("/api/v1/customer/stores", &[("city", "深圳"), ("limit", "2")])).await;
    assert_eq!(names(&first), ["A 店", "B 店"]);
    let cursor = first.body["next_cursor"].as_str().unwrap().to_owned();
    // A store that comes before the page does not move it.
    create(&owner, with(minimal("A 分店"), "city", json!("深圳市"))).await;
    let next = customer
        .get(&with_query("/api/v1/customer/stores", &[("city", "深圳"), ("limit", "2"), ("cursor", &cursor)]))
        .await;
    assert_eq!((names(&next), &next.body["next_cursor"]), (vec!["D 店"], &Value::Null));
    let all = customer.get("/api/v1/customer/stores").await;
    assert_eq!(names(&all).len(), 5);
});

on_both!(a_search_takes_its_words_as_they_are, |app| async {
    let owner = app.owner().await;
    for (name, address) in [("Café KTV 100%", "一号楼"), ("cafe_b\\c", "二号楼"), ("茶馆", "Main Street 3")]
    {
        create(&owner, with(with(minimal(name), "address", json!(address)), "city", json!("杭州市"))).await;
    }
    for (q, found) in [
        ("ktv", vec!["Café KTV 100%"]),
        ("CAFÉ", vec![]),
        ("cafÉ", vec![]),
        ("CAFé", vec!["Café KTV 100%"]),
        ("100%", vec!["Café KTV 100%"]),
        ("%", vec!["Café KTV 100%"]),
        ("_", vec!["cafe_b\\c"]),
        ("B\\C", vec!["cafe_b\\c"]),
        ("main street", vec!["茶馆"]),
        ("' OR 1=1 --", vec![]),
        ("号楼", vec!["Café KTV 100%", "cafe_b\\c"]),
        ("", vec!["Café KTV 100%", "cafe_b\\c", "茶馆"]),
    ] {
        for query in [vec![("q", q)], vec![("q", q), ("lat", "31.2231"), ("lng", "121.4453")]] {
            let answer = app.anonymous().get(&with_query("/api/v1/customer/stores", &query)).await;
            let mut seen = names(&answer);
            seen.sort_unstable();
            assert_eq!(seen, found, "{q}");
        }
        let answer = owner.get(&with_query(STORES, &[("q", q)])).await;
        assert_eq!(names(&answer).len(), found.len(), "{q}");
    }
});

on_both!(a_product_is_found_in_the_stores_that_sell_it, |app| async {
    let owner = app.owner().await;
    let (sells, _other) = (create(&owner, minimal("卖")).await, create(&owner, minimal("不卖")).await);
    let product = json!({
        "name": "双人火锅", "kind": "redeem", "store_scope": {"store_ids": [sells]},
        "skus": [{"name": "标准", "price_fen": 12_800, "stock": 10, "uses": 1, "validity": {"days": 30}}],
    });
    let answer = owner.post("/api/v1/merchant/products", product).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let product = answer.body["id"].as_str().unwrap();
    let queries =
        [vec![("product_id", product)], vec![("product_id", product), ("lat", "31"), ("lng", "121")]];
    for query in &queries {
        let found = app.anonymous().get(&with_query("/api/v1/customer/stores", query)).await;
        assert_eq!(names(&found), [""; 0], "not published yet");
    }
    let published = owner.post(&format!("/api/v1/merchant/products/{product}/publish"), json!({})).await;
    assert_eq!(published.status, 200, "{}", published.body);
    for query in &queries {
        let found = app.anonymous().get(&with_query("/api/v1/customer/stores", query)).await;
        assert_eq!(names(&found), ["卖"]);
    }
});

on_both!(customers_see_what_they_need_of_one_store, |app| async {
    let owner = app.owner().await;
    let body = with(
        minimal("详情店"),
        "exceptions",
        json!([{"date": "2027-02-06", "closed": true, "note": "春节"}]),
    );
    let store = create(&owner, with(body, "description", json!("老字号"))).await;
    let answer = app.anonymous().get(&format!("/api/v1/customer/stores/{store}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let seen = answer.body.as_object().unwrap();
    for field in ["distance_m", "next_open_at", "closes_at", "rating"] {
        assert!(seen.contains_key(field), "{field} is null, not left out");
    }
    assert_eq!((&seen["rating"], &seen["description"]), (&Value::Null, &json!("老字号")));
    assert_eq!(seen["hours"], json!([{"weekday": 1, "from": "09:00", "to": "21:00"}]));
    assert_eq!(seen["exceptions"][0]["note"], "春节");
    assert!(
        !seen.contains_key("version") && !seen.contains_key("state"),
        "staff's business: {}",
        answer.body
    );
    for missing in ["str_00000000000000000000000000", "ord_00000000000000000000000000", "1", "..%2F..%2Fetc"]
    {
        refused(
            &app.anonymous().get(&format!("/api/v1/customer/stores/{missing}")).await,
            404,
            "not_found",
            "",
        );
    }
});

on_both!(bad_queries_are_named, |app| async {
    let customer = app.anonymous();
    for (query, code, field) in [
        (vec![("lat", "31")], "invalid_field", "lng"),
        (vec![("lng", "121")], "invalid_field", "lat"),
        (vec![("lat", "91"), ("lng", "121")], "invalid_field", "lat"),
        (vec![("lat", "31"), ("lng", "181")], "invalid_field", "lng"),
        (vec![("lat", "NaN"), ("lng", "121")], "invalid_field", "lat"),
        (vec![("lat", "inf"), ("lng", "121")], "invalid_field", "lat"),
        (vec![("lat", "x"), ("lng", "121")], "invalid_field", "lat"),
        (vec![("limit", "0")], "invalid_field", "limit"),
        (vec![("limit", "101")], "invalid_field", "limit"),
        (vec![("limit", "1e2")], "invalid_field", "limit"),
        (vec![("q", "a\u{0}b")], "invalid_field", "q"),
        (vec![("q", "a\u{202E}b")], "invalid_field", "q"),
        (vec![("product_id", "str_00000000000000000000000000")], "invalid_field", "product_id"),
        (vec![("radius", "5")], "invalid_field", "radius"),
        (vec![("cursor", "'; DROP TABLE stores")], "invalid_cursor", ""),
        (vec![("cursor", "1.2"), ("lat", "31"), ("lng", "121")], "invalid_cursor", ""),
    ] {
        let answer = customer.get(&with_query("/api/v1/customer/stores", &query)).await;
        assert_eq!(answer.status, 400, "{query:?}: {}", answer.body);
        refused(&answer, 400, code, field);
    }
    let nothing = [("product_id", "prd_00000000000000000000000000"), ("lat", "31"), ("lng", "121")];
    assert_eq!(names(&customer.get(&with_query("/api/v1/customer/stores", &nothing)).await), [""; 0]);
    let long = "长".repeat(51);
    refused(
        &customer.get(&with_query("/api/v1/customer/stores", &[("q", &long)])).await,
        400,
        "invalid_field",
        "q",
    );
});
