//! Accounts of staff over HTTP: who may make and change whom.

use hexiao_core::catalog::{Capability, Role};
use hexiao_core::id::{Id as _, StoreId};
use hexiao_testkit::{Answer, StaffClient, on_both};
use serde_json::{Value, json};

const STAFF: &str = "/api/v1/merchant/staff";
const PASSWORD: &str = "hexiao2026";

fn account(phone: &str, role: &str, stores: &[StoreId]) -> Value {
    json!({"name": "小李", "phone": phone, "password": PASSWORD, "role": role, "store_ids": stores})
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

async fn store(client: &StaffClient, name: &str) -> StoreId {
    let body = json!({
        "name": name, "address": "上海市静安区", "lat": 31.2, "lng": 121.4, "phone": "021-62580000",
        "hours": [{"weekday": 1, "from": "09:00", "to": "21:00"}],
    });
    let answer = client.post("/api/v1/merchant/stores", body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    StoreId::parse(answer.body["id"].as_str().unwrap()).unwrap()
}

/// The path of a new account.
async fn create(client: &StaffClient, body: Value) -> String {
    let answer = client.post(STAFF, body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    format!("{STAFF}/{}", answer.body["id"].as_str().unwrap())
}

fn refused(answer: &Answer, status: u16, code: &str, field: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.body["error"]["code"], code, "{}", answer.body);
    if !field.is_empty() {
        assert_eq!(answer.body["error"]["fields"][0]["path"], field, "{}", answer.body);
    }
}

async fn me(client: &StaffClient) -> Answer {
    client.get("/api/v1/auth/me").await
}

/// The path of the account that a client is signed in with.
async fn own_path(client: &StaffClient) -> String {
    format!("{STAFF}/{}", me(client).await.body["staff"]["id"].as_str().unwrap())
}

/// An ended session is refused within the second that it may be remembered.
async fn is_signed_out(client: &StaffClient) -> bool {
    for _ in 0..40 {
        if me(client).await.status != 200 {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    false
}

on_both!(an_account_is_created_and_signs_in, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "静安店").await;
    let answer = owner.post(STAFF, account("138 0000 1111", "verifier", &[store, store])).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["phone_masked"], "138****1111");
    assert_eq!(answer.body["stores"], json!([{"id": store, "name": "静安店"}]));
    assert_eq!((&answer.body["active"], &answer.body["version"]), (&json!(true), &json!(1)));
    assert_eq!(answer.body.get("locked_until"), Some(&Value::Null));
    let text = answer.body.to_string();
    assert!(
        !text.contains("argon2") && !text.contains("password") && !text.contains("13800001111"),
        "{text}"
    );
    let signed_in = app.sign_in("13800001111", PASSWORD).await.unwrap();
    assert_eq!(me(&signed_in).await.body["staff"]["stores"][0]["name"], "静安店");
    let path = format!("{STAFF}/{}", answer.body["id"].as_str().unwrap());
    assert_eq!(owner.get(&path).await.body, answer.body);
    let listed = owner.get(STAFF).await;
    assert_eq!(listed.body["items"][0], answer.body, "newest first");
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 2, "and the owner");
});

on_both!(bad_fields_are_named, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "店").await;
    let good = account("13800001111", "verifier", &[store]);
    for (field, value, path) in [
        ("name", json!(""), "name"),
        ("name", json!("名".repeat(31)), "name"),
        ("name", json!("小\u{202E}李"), "name"),
        ("name", json!("小\u{7}李"), "name"),
        ("phone", json!("12800001111"), "phone"),
        ("phone", json!(13_800_001_111_i64), "phone"),
        ("password", json!("short1"), "password"),
        ("password", json!("onlyletters"), "password"),
        ("password", json!("1234567890"), "password"),
        ("role", json!("root"), "role"),
        ("store_ids", json!([]), "store_ids"),
        ("store_ids", json!(["x"]), "store_ids[0]"),
        ("password_hash", json!("x"), "password_hash"),
        ("active", json!(true), "active"),
    ] {
        let answer = owner.post(STAFF, with(good.clone(), field, value.clone())).await;
        assert_eq!(answer.status, 400, "{field} = {value}: {}", answer.body);
        refused(&answer, 400, "invalid_field", path);
    }
    let nowhere = json!(["str_00000000000000000000000000"]);
    refused(
        &owner.post(STAFF, with(good.clone(), "store_ids", nowhere)).await,
        404,
        "not_found",
        "store_ids",
    );
    let path = create(&owner, with(good.clone(), "name", json!("<script>'; DROP TABLE staff;--"))).await;
    assert_eq!(owner.get(&path).await.body["name"], "<script>'; DROP TABLE staff;--");
    refused(&owner.post(STAFF, good).await, 409, "duplicate", "phone");
    assert_eq!(
        owner.post(STAFF, account("13800003333", "finance", &[])).await.status,
        201,
        "headquarters need no store"
    );
});

on_both!(a_phone_number_may_work_for_two_merchants, |app| async {
    let (owner, other) = (app.owner().await, app.other_owner().await);
    create(&owner, account("13800001111", "operator", &[])).await;
    create(&other, account("13800001111", "operator", &[])).await;
});

on_both!(roles_decide_who_makes_whom, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "店").await;
    let mut phone = 13_700_000_000_i64;
    for by in Role::ALL {
        let client = app.staff(*by, &[store]).await;
        for role in Role::ALL {
            phone += 1;
            let answer = client.post(STAFF, account(&phone.to_string(), role.as_str(), &[store])).await;
            let expected = if by.may_manage(*role) { 201 } else { 403 };
            assert_eq!(answer.status, expected, "{by} makes {role}: {}", answer.body);
        }
        let may_look = by.may(Capability::ManageStaff);
        assert_eq!(client.get(STAFF).await.status, if may_look { 200 } else { 403 }, "{by}");
        assert_eq!(
            client.get(&own_path(&client).await).await.status,
            if may_look { 200 } else { 403 },
            "{by}"
        );
    }
    refused(&app.anonymous().get(STAFF).await, 401, "unauthenticated", "");
});

on_both!(nobody_edits_above_their_role, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "店").await;
    let operator = app.staff(Role::Operator, &[]).await;
    let manager = app.manager(&[store]).await;
    let owner_path = own_path(&owner).await;
    let finance = create(&owner, account("13800001111", "finance", &[])).await;
    let verifier = create(&owner, account("13800002222", "verifier", &[store])).await;
    for path in [&owner_path, &finance] {
        refused(&operator.patch(path, json!({"password": "newpass2026"})).await, 403, "forbidden", "");
        refused(&manager.patch(path, json!({"name": "x"})).await, 404, "not_found", "");
    }
    refused(&operator.patch(&verifier, json!({"role": "owner"})).await, 403, "forbidden", "");
    refused(&manager.patch(&verifier, json!({"role": "store_manager"})).await, 403, "forbidden", "");
    refused(&manager.patch(&own_path(&manager).await, json!({"name": "x"})).await, 403, "forbidden", "");
    assert_eq!(manager.patch(&verifier, json!({"name": "小张"})).await.status, 200);
});

on_both!(managers_stay_in_their_stores, |app| async {
    let owner = app.owner().await;
    let (mine, other) = (store(&owner, "我的店").await, store(&owner, "别的店").await);
    let manager = app.manager(&[mine]).await;
    let of_mine = create(&owner, account("13800001111", "verifier", &[mine])).await;
    let of_other = create(&owner, account("13800002222", "verifier", &[other])).await;
    let of_both = create(&owner, account("13800003333", "verifier", &[mine, other])).await;

    refused(
        &manager.post(STAFF, account("13800004444", "verifier", &[other])).await,
        404,
        "not_found",
        "store_ids",
    );
    refused(&manager.get(&of_other).await, 404, "not_found", "");
    refused(&manager.patch(&of_other, json!({"active": false})).await, 404, "not_found", "");
    refused(
        &manager.patch(&of_mine, json!({"store_ids": [mine, other]})).await,
        404,
        "not_found",
        "store_ids",
    );
    let listed = manager.get(STAFF).await;
    assert_eq!(
        listed.body["items"].as_array().unwrap().len(),
        3,
        "both verifiers and the manager: {}",
        listed.body
    );

    // Whoever could sign in as them could redeem in the other store.
    assert_eq!(manager.get(&of_both).await.body["stores"], json!([{"id": mine, "name": "我的店"}]));
    refused(&manager.patch(&of_both, json!({"password": "newpass2026"})).await, 403, "forbidden", "");
    refused(&manager.patch(&of_both, json!({"active": false})).await, 403, "forbidden", "");
    // Sent away from mine, they stay where I have no say.
    assert_eq!(manager.patch(&of_both, json!({"store_ids": []})).await.status, 200);
    assert_eq!(owner.get(&of_both).await.body["stores"], json!([{"id": other, "name": "别的店"}]));
    refused(&manager.get(&of_both).await, 404, "not_found", "");

    let stranger = app.other_owner().await;
    refused(&stranger.get(&of_mine).await, 404, "not_found", "");
    refused(&stranger.patch(&of_mine, json!({"active": false})).await, 404, "not_found", "");
    refused(
        &stranger.post(STAFF, account("13800005555", "verifier", &[mine])).await,
        404,
        "not_found",
        "store_ids",
    );
    assert_eq!(stranger.get(STAFF).await.body["items"].as_array().unwrap().len(), 1, "themselves");
});

on_both!(versions_and_bad_edits, |app| async {
    let owner = app.owner().await;
    let store = store(&owner, "店").await;
    let path = create(&owner, account("13800001111", "verifier", &[store])).await;
    let answer = owner.patch(&path, json!({"version": 1, "name": "小王"})).await;
    assert_eq!((answer.status, &answer.body["version"]), (200, &json!(2)), "{}", answer.body);
    refused(&owner.patch(&path, json!({"version": 1, "name": "小赵"})).await, 409, "stale", "");
    assert_eq!(owner.patch(&path, json!({})).await.body["version"], 2, "nothing changed");
    refused(&owner.patch(&path, json!({"phone": "13800009999"})).await, 400, "invalid_field", "phone");
    refused(&owner.patch(&path, json!({"store_ids": []})).await, 400, "invalid_field", "store_ids");
    refused(&owner.patch(&path, json!({"password": "weak"})).await, 400, "invalid_field", "password");
    refused(&owner.patch(&format!("{STAFF}/nonsense"), json!({})).await, 404, "not_found", "");
    refused(&owner.get(&format!("{STAFF}/stf_00000000000000000000000000")).await, 404, "not_found", "");
});

on_both!(what_changes_rights_ends_the_sessions, |app| async {
    let owner = app.owner().await;
    let (a, b) = (store(&owner, "甲店").await, store(&owner, "乙店").await);
    let path = create(&owner, account("13800001111", "verifier", &[a])).await;
    for (edit, password) in [
        (json!({"role": "store_manager"}), PASSWORD),
        (json!({"store_ids": [b]}), PASSWORD),
        (json!({"password": "another2026"}), "another2026"),
    ] {
        let password_before = if password == PASSWORD { password } else { PASSWORD };
        let signed_in = app.sign_in("13800001111", password_before).await.unwrap();
        assert_eq!(owner.patch(&path, edit.clone()).await.status, 200, "{edit}");
        assert!(is_signed_out(&signed_in).await, "{edit}");
        assert!(app.sign_in("13800001111", password).await.is_ok(), "{edit}");
    }
    assert!(app.sign_in("13800001111", PASSWORD).await.is_err(), "the old password");
    let signed_in = app.sign_in("13800001111", "another2026").await.unwrap();
    assert_eq!(owner.patch(&path, json!({"name": "改名"})).await.status, 200);
    assert_eq!(owner.patch(&path, json!({"active": false})).await.status, 200);
    assert!(is_signed_out(&signed_in).await);
    assert!(app.sign_in("13800001111", "another2026").await.is_err(), "closed");
    assert_eq!(owner.patch(&path, json!({"active": true})).await.status, 200);
    assert!(app.sign_in("13800001111", "another2026").await.is_ok());
});

on_both!(the_last_owner_stays, |app| async {
    let owner = app.owner().await;
    let path = own_path(&owner).await;
    refused(&owner.patch(&path, json!({"role": "finance"})).await, 409, "illegal_state", "");
    refused(&owner.patch(&path, json!({"active": false})).await, 409, "illegal_state", "");
    let second = create(&owner, account("13800001111", "owner", &[])).await;
    let partner = app.sign_in("13800001111", PASSWORD).await.unwrap();
    refused(&owner.patch(&path, json!({"active": false})).await, 409, "illegal_state", "active");

    // Each demotes the other at once: one of them stays.
    let (a, b) = tokio::join!(
        owner.patch(&second, json!({"role": "finance"})),
        partner.patch(&path, json!({"role": "finance"}))
    );
    let won = [&a, &b].into_iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1, "{} {}", a.body, b.body);
    let lost = if a.status == 200 { b } else { a };
    assert!((400..500).contains(&lost.status), "{}", lost.body);
});
