//! Signing in and out, on a clock that can be moved.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Body;
use hexiao_api::{HttpSettings, Limits};
use hexiao_core::catalog::Role;
use hexiao_testkit::{Answer, Client, PASSWORD, TestApp, on_both, wait_until};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const STAFF: &str = "/api/v1/auth/staff";
const OWNER: &str = "13800000001";

async fn customer_sign_in(app: &TestApp, code: &str) -> Answer {
    app.anonymous().post("/api/v1/auth/customer", json!({"code": code})).await
}

async fn staff_sign_in(app: &TestApp, phone: &str, password: &str) -> Answer {
    app.anonymous().post(STAFF, json!({"phone": phone, "password": password})).await
}

async fn refresh(app: &TestApp, token: &Value) -> Answer {
    app.anonymous().post("/api/v1/auth/refresh", json!({"refresh_token": token})).await
}

async fn me(client: &Client) -> Answer {
    client.get("/api/v1/auth/me").await
}

fn bearer(app: &TestApp, tokens: &Value) -> Client {
    let mut client = app.anonymous();
    client.token = Some(tokens["access_token"].as_str().unwrap().to_owned());
    client
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.body);
}

on_both!(the_same_wechat_user_is_the_same_customer, |app| async {
    let first = customer_sign_in(&app, "sim-小明").await.expect(201);
    assert_eq!(first["customer"]["nickname"], "微信用户");
    assert_eq!(first["customer"].get("phone_masked"), Some(&Value::Null));
    assert_eq!(first["expires_in"], 900);
    let again = customer_sign_in(&app, "sim-小明-1").await.expect(201);
    assert_eq!(again["customer"]["id"], first["customer"]["id"]);
    assert_ne!(again["refresh_token"], first["refresh_token"]);
    let other = customer_sign_in(&app, "sim-小红").await.expect(201);
    assert_ne!(other["customer"]["id"], first["customer"]["id"]);
    let seen = me(&bearer(&app, &again)).await.expect(200);
    assert_eq!((&seen["audience"], &seen["customer"]["id"]), (&json!("customer"), &first["customer"]["id"]));
    let text = format!("{first}{seen}");
    assert!(!text.contains("openid") && !text.contains("session_key"), "WeChat's secrets stay here: {text}");
});

on_both!(a_login_code_works_once, |app| async {
    customer_sign_in(&app, "sim-小明-once").await.expect(201);
    refused(&customer_sign_in(&app, "sim-小明-once").await, 401, "login_code_invalid");
    refused(&customer_sign_in(&app, "made up").await, 401, "login_code_invalid");
});

on_both!(staff_sign_in_with_phone_and_password, |app| async {
    let store = app.store("静安店").await;
    let verifier = app.verifier(&[store]).await;
    let body = staff_sign_in(&app, "139 0000 0000", PASSWORD).await.expect(201);
    let staff = &body["staff"];
    assert_eq!((&staff["id"], &staff["roles"]), (&json!(verifier.id), &json!(["verifier"])));
    assert_eq!(staff["stores"], json!([{"id": store, "name": "静安店", "role": "verifier"}]));
    assert!(body["refresh_token"].as_str().unwrap().starts_with("hxr_"));
    assert_eq!(me(&bearer(&app, &body)).await.expect(200)["staff"], *staff);
    let owner = staff_sign_in(&app, OWNER, PASSWORD).await.expect(201);
    assert_eq!((&owner["staff"]["roles"], &owner["staff"]["stores"]), (&json!(["owner"]), &json!([])));
    // The same words, whether the number or the password is wrong.
    let (wrong, unknown) =
        (staff_sign_in(&app, OWNER, "hexiao2027").await, staff_sign_in(&app, "13899999999", PASSWORD).await);
    for answer in [&wrong, &unknown] {
        refused(answer, 401, "bad_credentials");
    }
    assert_eq!(wrong.body["error"]["message"], unknown.body["error"]["message"]);
});

on_both!(five_wrong_passwords_lock_for_a_quarter_of_an_hour, |app| async {
    for _ in 0..5 {
        refused(&staff_sign_in(&app, OWNER, "wrong1234").await, 401, "bad_credentials");
    }
    refused(&staff_sign_in(&app, OWNER, PASSWORD).await, 429, "account_locked");
    assert_eq!(me(&app.owner().await).await.status, 200, "who is signed in stays so");
    app.advance(Duration::from_mins(14));
    refused(&staff_sign_in(&app, OWNER, PASSWORD).await, 429, "account_locked");
    app.advance(Duration::from_mins(2));
    // A wrong one does not lock at once again: the count starts anew.
    refused(&staff_sign_in(&app, OWNER, "wrong1234").await, 401, "bad_credentials");
    staff_sign_in(&app, OWNER, PASSWORD).await.expect(201);
    // And a right one forgets the wrong ones.
    for _ in 0..4 {
        refused(&staff_sign_in(&app, OWNER, "wrong1234").await, 401, "bad_credentials");
    }
    staff_sign_in(&app, OWNER, PASSWORD).await.expect(201);
});

on_both!(who_works_for_two_merchants_chooses_one, |app| async {
    let (one, other) = (app.owner().await, app.other_owner().await);
    let phone = "13712345678";
    let account = json!({"name": "代运营", "phone": phone, "password": PASSWORD, "role": "operator"});
    for owner in [&one, &other] {
        owner.post("/api/v1/merchant/staff", account.clone()).await.expect(201);
    }
    let answer = staff_sign_in(&app, phone, PASSWORD).await;
    refused(&answer, 409, "choose_merchant");
    let merchants = answer.body["merchants"].as_array().unwrap();
    let mut names: Vec<_> = merchants.iter().map(|m| m["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["别家烘焙", "老王火锅"]);
    for merchant in merchants {
        let body = json!({"phone": phone, "password": PASSWORD, "merchant_id": merchant["id"]});
        let signed_in = app.anonymous().post(STAFF, body).await.expect(201);
        assert_eq!(signed_in["staff"]["merchant_id"], merchant["id"]);
    }
    // Somebody with the wrong password does not learn where they work.
    let answer = staff_sign_in(&app, phone, "wrong1234").await;
    refused(&answer, 401, "bad_credentials");
    assert_eq!(answer.body.get("merchants"), None);
    let nowhere =
        json!({"phone": phone, "password": PASSWORD, "merchant_id": "mch_00000000000000000000000000"});
    refused(&app.anonymous().post(STAFF, nowhere).await, 401, "bad_credentials");
});

on_both!(access_tokens_live_for_a_quarter_of_an_hour, |app| async {
    let session = staff_sign_in(&app, OWNER, PASSWORD).await.expect(201);
    let client = bearer(&app, &session);
    app.advance(Duration::from_mins(14));
    assert_eq!(me(&client).await.status, 200);
    app.advance(Duration::from_mins(2));
    refused(&me(&client).await, 401, "session_expired");
    let renewed = refresh(&app, &session["refresh_token"]).await.expect(200);
    assert_eq!(me(&bearer(&app, &renewed)).await.status, 200);
    refused(&me(&client).await, 401, "session_expired");
    // Thirty days after the sign-in the session is over, however often it was refreshed.
    app.advance(Duration::from_hours(30 * 24));
    refused(&refresh(&app, &renewed["refresh_token"]).await, 401, "session_expired");
});

on_both!(refresh_tokens_rotate_and_a_stolen_one_ends_the_session, |app| async {
    let session = customer_sign_in(&app, "sim-小明").await.expect(201);
    let second = refresh(&app, &session["refresh_token"]).await.expect(200);
    assert_ne!(second["refresh_token"], session["refresh_token"]);
    // The answer may have been lost on the way: the old one still works for a minute.
    let third = refresh(&app, &session["refresh_token"]).await.expect(200);
    let fourth = refresh(&app, &third["refresh_token"]).await.expect(200);
    assert_eq!(me(&bearer(&app, &fourth)).await.status, 200);
    app.advance(Duration::from_secs(61));
    refused(&refresh(&app, &third["refresh_token"]).await, 401, "session_expired");
    refused(&refresh(&app, &fourth["refresh_token"]).await, 401, "session_expired");
    let client = bearer(&app, &fourth);
    wait_until("the session has ended", async || me(&client).await.status == 401).await;
    refused(&me(&client).await, 401, "session_expired");
    refused(&refresh(&app, &json!("hxr_00")).await, 401, "session_expired");
    let another = customer_sign_in(&app, "sim-小明").await.expect(201);
    assert_eq!(me(&bearer(&app, &another)).await.status, 200, "signing in again is always possible");
});

on_both!(signing_out_ends_one_session_at_once, |app| async {
    let (phone, tablet) = (
        staff_sign_in(&app, OWNER, PASSWORD).await.expect(201),
        staff_sign_in(&app, OWNER, PASSWORD).await.expect(201),
    );
    let client = bearer(&app, &phone);
    assert_eq!(me(&client).await.status, 200);
    client.delete("/api/v1/auth/session").await.expect(204);
    refused(&me(&client).await, 401, "session_expired");
    refused(&client.delete("/api/v1/auth/session").await, 401, "session_expired");
    refused(&refresh(&app, &phone["refresh_token"]).await, 401, "session_expired");
    assert_eq!(me(&bearer(&app, &tablet)).await.status, 200, "the other one goes on");
});

on_both!(another_role_or_store_takes_effect_soon, |app| async {
    let (first, second) = (app.store("一店").await, app.store("二店").await);
    let owner = app.owner().await;
    for edit in [json!({"role": "finance"}), json!({"store_ids": [second]}), json!({"active": false})] {
        let manager = app.manager(&[first]).await;
        let path = format!("/api/v1/merchant/stores/{first}");
        manager.patch(&path, json!({"resting": false})).await.expect(200);
        owner.patch(&format!("/api/v1/merchant/staff/{}", manager.id), edit).await.expect(200);
        let changed = std::time::Instant::now();
        wait_until("the old rights are gone", async || {
            manager.patch(&path, json!({"resting": false})).await.status != 200
        })
        .await;
        assert!(
            changed.elapsed() < Duration::from_secs(15),
            "within about a second: {:?}",
            changed.elapsed()
        );
    }
    let manager = app.staff(Role::StoreManager, &[first]).await;
    let answer = manager.patch(&format!("/api/v1/merchant/stores/{second}"), json!({"resting": true})).await;
    refused(&answer, 404, "not_found");
});

/// The statuses of forty calls of a router with limits of its own: one a second, four at once.
async fn statuses(app: &TestApp, path: &str, token: Option<&str>) -> Vec<u16> {
    let one = NonZeroU32::MIN;
    let limits = Limits {
        per_session: one,
        sign_in_per_address: one,
        anonymous_per_address: one,
        notify_per_address: one,
    };
    let settings = HttpSettings { limits, ..HttpSettings::default() };
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let router = hexiao_api::router(app.app.clone(), settings, metrics);
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let mut request = axum::http::Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let limited = response.status().as_u16() == 429;
        assert_eq!(response.headers().contains_key("retry-after"), limited);
        statuses.push(response.status().as_u16());
    }
    statuses
}

on_both!(callers_are_limited_but_machines_are_not, |app| async {
    let owner = app.owner().await;
    for (path, token, status) in [
        ("/api/v1/auth/me", owner.token.as_deref(), 200),
        ("/api/v1/customer/cities", None, 200),
        ("/api/v1/nowhere", None, 404),
        ("/api/v1/auth/staff", None, 405),
    ] {
        let statuses = statuses(&app, path, token).await;
        assert_eq!(statuses[..4], [status; 4], "{path}");
        assert!(statuses.contains(&429), "{path}: {statuses:?}");
        assert!(statuses.iter().all(|s| [status, 429].contains(s)), "{path}: {statuses:?}");
    }
    assert_eq!(statuses(&app, "/healthz", None).await, [200; 40]);
});
