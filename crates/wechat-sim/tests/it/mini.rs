//! Login code, access token, telephone number.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

async fn get(bed: &Bed, path: &str) -> Value {
    let response = bed.http.get(format!("{}{path}", bed.sim.url())).send().await.unwrap();
    assert_eq!(response.status(), 200);
    Answer::read(response).await.json
}

async fn post(bed: &Bed, path: &str, body: impl Into<String>) -> Value {
    let request = bed.http.post(format!("{}{path}", bed.sim.url())).body(body.into());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    Answer::read(response).await.json
}

async fn login(bed: &Bed, appid: &str, secret: &str, code: &str) -> Value {
    let query = format!("appid={appid}&secret={secret}&js_code={code}&grant_type=authorization_code");
    get(bed, &format!("/sns/jscode2session?{query}")).await
}

async fn token(bed: &Bed, force: bool) -> Value {
    let body = json!({"grant_type": "client_credential", "appid": APPID, "secret": "secret", "force_refresh": force});
    post(bed, "/cgi-bin/stable_token", body.to_string()).await
}

#[tokio::test]
async fn codes() {
    let bed = Bed::new().await;
    for _ in 0..2 {
        let session = login(&bed, APPID, "secret", "sim-ann").await;
        assert_eq!(session["openid"], bed.openid());
        assert!(session.get("errcode").is_none());
        assert_eq!(session["session_key"].as_str().unwrap().len(), 24);
    }
    let once = login(&bed, APPID, "secret", "sim-ann-77").await;
    assert_eq!(once["openid"], bed.openid());
    for (appid, secret, code, errcode) in [
        (APPID, "secret", "sim-ann-77", 40163),
        (APPID, "secret", "081abc", 40029),
        (APPID, "secret", "", 41008),
        (APPID, "wrong", "sim-ann", 40125),
        ("wx9", "secret", "sim-ann", 40013),
        ("", "secret", "sim-ann", 41002),
        (APPID, "", "sim-ann", 41004),
    ] {
        let answer = login(&bed, appid, secret, code).await;
        assert_eq!(answer["errcode"], errcode, "{code}");
        assert!(answer["errmsg"].as_str().unwrap().contains("rid: "));
    }
    assert_eq!(get(&bed, "/sns/jscode2session?appid=x").await["errcode"], 40002);
    assert_eq!(post(&bed, "/sns/jscode2session", "").await["errcode"], 43001);
}

#[tokio::test]
async fn the_stable_token() {
    let bed = Bed::new().await;
    let first = token(&bed, false).await;
    assert_eq!(first["expires_in"], 7200);
    assert_eq!(first["access_token"].as_str().unwrap().len(), 512);
    bed.sim.advance_clock(Duration::from_mins(114)).unwrap();
    let same = token(&bed, false).await;
    assert_eq!(same["access_token"], first["access_token"]);
    assert!(same["expires_in"].as_i64().unwrap() <= 360);
    bed.sim.advance_clock(Duration::from_mins(1)).unwrap();
    let second = token(&bed, false).await;
    assert_ne!(second["access_token"], first["access_token"]);

    let phone = async |token: &Value, digits: &str| {
        let path = format!(
            "/wxa/business/getuserphonenumber?access_token={}",
            token["access_token"].as_str().unwrap()
        );
        post(&bed, &path, json!({"code": format!("sim-phone-{digits}")}).to_string()).await["errcode"].clone()
    };
    assert_eq!(phone(&first, "13800138001").await, 0, "the old one overlaps");
    bed.sim.advance_clock(Duration::from_mins(5)).unwrap();
    assert_eq!(phone(&first, "13800138002").await, 42001);

    let forced = token(&bed, true).await;
    assert_ne!(forced["access_token"], second["access_token"]);
    assert_eq!(phone(&second, "13800138003").await, 40001, "forcing kills the one before");
    assert_eq!(phone(&forced, "13800138003").await, 0);
    assert_eq!(token(&bed, true).await["errcode"], 45011);
    for _ in 0..19 {
        bed.sim.advance_clock(Duration::from_secs(30)).unwrap();
        assert!(token(&bed, true).await.get("errcode").is_none());
    }
    bed.sim.advance_clock(Duration::from_secs(30)).unwrap();
    assert_eq!(token(&bed, true).await["errcode"], 45009);
}

#[tokio::test]
async fn token_refusals() {
    let bed = Bed::new().await;
    let good = json!({"grant_type": "client_credential", "appid": APPID, "secret": "secret"});
    let changed = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body.to_string()
    };
    for (body, errcode) in [
        (String::new(), 44002),
        ("{".into(), 47001),
        (changed("grant_type", json!("x")), 40002),
        (changed("appid", json!("wx9")), 40013),
        (changed("secret", json!("x")), 40125),
        (changed("force_refresh", json!("true")), 47001),
    ] {
        assert_eq!(post(&bed, "/cgi-bin/stable_token", body.clone()).await["errcode"], errcode, "{body}");
    }
    assert_eq!(get(&bed, "/cgi-bin/stable_token").await["errcode"], 43002);
}

#[tokio::test]
async fn telephone_numbers() {
    let bed = Bed::new().await;
    let token = token(&bed, false).await["access_token"].as_str().unwrap().to_owned();
    let phone = async |token: &str, code: &str| {
        let path = format!("/wxa/business/getuserphonenumber?access_token={token}");
        post(&bed, &path, json!({"code": code}).to_string()).await
    };
    let answer = phone(&token, "sim-phone-13800138000").await;
    assert_eq!(answer["errcode"], 0);
    let info = &answer["phone_info"];
    assert_eq!(info["purePhoneNumber"], "13800138000");
    assert_eq!(info["countryCode"], "86");
    assert_eq!(info["watermark"]["appid"], APPID);
    assert_eq!(phone(&token, "sim-phone-13800138000-2").await["phone_info"]["phoneNumber"], "13800138000");
    for code in [
        "sim-phone-13800138000-2",
        "sim-phone-13800138000-",
        "sim-phone-13800138000",
        "sim-phone-12800138000",
        "sim-phone-1380013800",
        "sim-ann",
        "",
    ] {
        assert_eq!(phone(&token, code).await["errcode"], 40029, "{code}");
    }
    assert_eq!(phone("", "sim-phone-13800138001").await["errcode"], 41001);
    assert_eq!(phone("nonsense", "sim-phone-13800138001").await["errcode"], 40001);
}

#[tokio::test]
async fn messages_need_acceptance() {
    let bed = Bed::new().await;
    let token = token(&bed, false).await["access_token"].as_str().unwrap().to_owned();
    let template = "A".repeat(43);
    let good =
        json!({"touser": bed.openid(), "template_id": template, "data": {"thing1": {"value": "双人套餐"}}});
    let send = async |token: &str, body: &Value| {
        let path = format!("/cgi-bin/message/subscribe/send?access_token={token}");
        post(&bed, &path, body.to_string()).await["errcode"].clone()
    };
    assert_eq!(send(&token, &good).await, 43101);
    let accept = json!({"openid": bed.openid(), "template_id": template, "count": 2}).to_string();
    let accepted = bed.http.post(format!("{}/_sim/subscribe", bed.sim.url())).body(accept);
    assert_eq!(accepted.send().await.unwrap().status(), 200);
    let changed = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, errcode) in [
        (changed("touser", json!("somebody")), 40003),
        (changed("template_id", json!("short")), 40037),
        (changed("data", json!({})), 47003),
        (changed("data", json!({"number1": {"value": "两"}})), 47003),
        (changed("miniprogram_state", json!("other")), 47003),
    ] {
        assert_eq!(send(&token, &body).await, errcode, "{body}");
    }
    assert_eq!(send("", &good).await, 41001);
    assert_eq!(send("nonsense", &good).await, 40001);
    for _ in 0..2 {
        assert_eq!(send(&token, &good).await, 0);
    }
    assert_eq!(send(&token, &good).await, 43101, "each acceptance is one message");
    assert_eq!(bed.sim.messages().len(), 2);
    let list = get(&bed, &format!("/_sim/messages?openid={}", bed.openid())).await;
    assert_eq!(list["items"][1]["data"]["thing1"]["value"], "双人套餐");
    assert_eq!(get(&bed, "/_sim/messages?openid=o").await["items"], json!([]));
    bed.sim.accept_messages(&bed.openid(), &template, 5).unwrap();
    bed.sim.accept_messages(&bed.openid(), &template, 0).unwrap();
    assert_eq!(send(&token, &good).await, 43101);
}
