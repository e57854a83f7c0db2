//! Two people change the same thing, or use the same refresh token, at once.

use std::time::Duration;

use hexiao_core::catalog::Role;
use hexiao_testkit::{Answer, Backend, Client, PASSWORD};
use serde_json::{Value, json};

use super::{World, at_once, count, in_one_process, told};

const ROUNDS: usize = 6;
const STAFF: &str = "/api/v1/merchant/staff";

in_one_process!(of_one_version_one_is_stale, of_one_version_one_is_stale);
in_one_process!(two_owners_cannot_both_demote_the_other, two_owners_cannot_both_demote_the_other);
in_one_process!(counts_of_stock_add_up, counts_of_stock_add_up);
in_one_process!(a_refresh_token_used_twice_keeps_the_session, a_refresh_token_used_twice_keeps_the_session);

async fn patch_at_once(requests: Vec<(Client, String, Value)>) -> Vec<Answer> {
    let racers = requests
        .into_iter()
        .map(|(client, path, body)| (Duration::ZERO, async move { client.patch(&path, body).await }));
    at_once(racers.collect()).await
}

async fn of_one_version_one_is_stale(world: &World) {
    let app = &world.app;
    let shop = app.shop(1, 900, Some(10)).await;
    let member = app.verifier(&[shop.store]).await;
    let editors = [app.owner().await, app.staff(Role::Owner, &[]).await];
    let paths = [
        format!("{STAFF}/{}", member.id),
        format!("/api/v1/merchant/stores/{}", shop.store),
        format!("/api/v1/merchant/products/{}", shop.product),
    ];
    for round in 0..ROUNDS {
        for path in &paths {
            let version = editors[0].get(path).await.expect(200)["version"].clone();
            let body = |n: usize| json!({"version": version, "name": format!("改名{round}{n}")});
            let requests = editors.iter().enumerate().map(|(n, e)| (e.clone(), path.clone(), body(n)));
            let answers = patch_at_once(requests.collect()).await;
            let counts = (count(&answers, 200, ""), count(&answers, 409, "stale"));
            assert_eq!(counts, (1, 1), "{path}: {:?}", told(&answers));
            let won = answers.iter().position(|a| a.status == 200).unwrap();
            let after = editors[0].get(path).await.expect(200);
            assert_eq!(after["name"], format!("改名{round}{won}"), "{path}");
            assert_eq!(after["version"], version.as_i64().unwrap() + 1, "{path}");
        }
    }
}

/// Each takes the other's rights: one is refused, because somebody must be left who can sign in.
async fn two_owners_cannot_both_demote_the_other(world: &World) {
    let app = &world.app;
    let mut remaining = app.owner().await;
    for round in 0..ROUNDS {
        let other = app_owner(world, &remaining, round).await;
        let demote = |by: &Client, whom: &Client| {
            (by.clone(), format!("{STAFF}/{}", whom.id), json!({"role": "operator"}))
        };
        let answers = patch_at_once(vec![demote(&remaining, &other), demote(&other, &remaining)]).await;
        assert_eq!(count(&answers, 200, ""), 1, "{:?}", told(&answers));
        // The one who lost was told so, or found their session ended already.
        assert!(answers.iter().all(|a| [200, 401, 403, 409].contains(&a.status)), "{:?}", told(&answers));
        if answers[1].status == 200 {
            remaining = other;
        }
        let list = remaining.get(&format!("{STAFF}?limit=100")).await.expect(200);
        let owners = list["items"].as_array().unwrap().iter().filter(|s| s["role"] == "owner").count();
        assert_eq!(owners, 1, "round {round}");
    }
}

async fn app_owner(world: &World, by: &Client, round: usize) -> Client {
    let phone = format!("137{round:08}");
    let body = json!({"name": "合伙人", "phone": phone, "password": PASSWORD, "role": "owner"});
    by.post(STAFF, body).await.expect(201);
    world.app.sign_in(&phone, PASSWORD).await.unwrap()
}

/// Deliveries are booked by two people while customers buy.
async fn counts_of_stock_add_up(world: &World) {
    let app = &world.app;
    let shop = app.shop(1, 900, Some(5)).await;
    let owner = app.owner().await;
    let list = owner.get("/api/v1/merchant/stock").await.expect(200);
    let adjust = format!("/api/v1/merchant/stock/{}/adjust", list["items"][0]["id"].as_str().unwrap());
    let customer = app.customer("wang").await;
    let mut racers = Vec::new();
    for n in 0..30 {
        let (client, path, body) = if n % 2 == 0 {
            let delta = if n % 4 == 0 { 3 } else { -1 };
            (owner.clone(), adjust.clone(), json!({"delta": delta, "reason": "盘点"}))
        } else {
            let body = json!({"store_id": shop.store, "lines": [{"sku_id": shop.sku, "quantity": 1}]});
            (customer.clone(), "/api/v1/customer/orders".to_owned(), body)
        };
        let request = async move { client.post_key(&path, &super::fresh_key(), body).await };
        racers.push((Duration::ZERO, request));
    }
    let answers = at_once(racers).await;
    let (mut on_hand, mut reserved) = (5, 0);
    for (n, answer) in answers.iter().enumerate() {
        match (n % 2, answer.status, answer.code()) {
            (0, 200, _) => on_hand += if n % 4 == 0 { 3 } else { -1 },
            (1, 201, _) => reserved += 1,
            // What is reserved cannot be taken away, and what is not there cannot be reserved.
            (0, 409, "illegal_state") | (1, 409, "out_of_stock") => {}
            _ => panic!("{}", answer.body),
        }
    }
    assert_eq!(world.stock(&shop.sku).await, (on_hand, reserved));
}

async fn a_refresh_token_used_twice_keeps_the_session(world: &World) {
    let app = &world.app;
    for round in 0..ROUNDS {
        let anonymous = app.anonymous();
        let body = json!({"code": format!("sim-c{round}")});
        let session = anonymous.post("/api/v1/auth/customer", body).await.expect(201);
        let refresh = |token: &Value| {
            let (client, body) = (anonymous.clone(), json!({"refresh_token": token}));
            async move { client.post("/api/v1/auth/refresh", body).await }
        };
        let token = &session["refresh_token"];
        let answers = at_once((0..2).map(|_| (Duration::ZERO, refresh(token))).collect()).await;
        assert_eq!(count(&answers, 200, ""), 2, "an answer that was lost must not end the session");
        let tokens: Vec<&Value> = answers.iter().map(|a| &a.body["refresh_token"]).collect();
        assert!(tokens[0] != tokens[1] && tokens.iter().all(|t| *t != token), "each is new");
        for answer in &answers {
            let mut client = anonymous.clone();
            client.token = Some(answer.body["access_token"].as_str().unwrap().to_owned());
            client.get("/api/v1/auth/me").await.expect(200);
        }
        // Whichever answer the phone kept, it goes on from there.
        let kept = refresh(tokens[round % 2]).await.expect(200);
        refresh(&kept["refresh_token"]).await.expect(200);
    }
}
