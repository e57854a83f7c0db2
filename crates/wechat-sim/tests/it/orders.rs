//! Create, query and close an order.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hexiao_wechat_sim::{PayArgs, SimError};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

const CREATE: &str = "/v3/pay/transactions/jsapi";

/// Sets a field by JSON pointer; null removes it.
fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(name.to_owned(), value);
    body
}

fn without(mut body: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    body
}

#[tokio::test]
async fn every_field_rule() {
    let bed = Bed::new().await;
    let order = || bed.order("FIELD_00001");
    let no_program = bed.sim.openid("wx9", "ann");
    let bad = [
        ("/appid", json!(7)),
        ("/mchid", json!("1900000002")),
        ("/mchid", json!("19")),
        ("/description", json!("")),
        ("/description", json!("券".repeat(43))),
        ("/description", Value::Null),
        ("/out_trade_no", json!("SHORT")),
        ("/out_trade_no", json!("L".repeat(33))),
        ("/out_trade_no", json!("space in it")),
        ("/out_trade_no", json!("中文号码")),
        ("/out_trade_no", json!("AT@NOT_ALLOWED")),
        ("/time_expire", json!("2030-01-01 00:00:00")),
        ("/time_expire", json!(1_700_000_000)),
        ("/attach", json!("a".repeat(129))),
        ("/attach", Value::Null),
        ("/notify_url", json!("http://shop.example.com/n")),
        ("/notify_url", json!("https://shop.example.com/n?x=1")),
        ("/notify_url", json!(format!("https://shop.example.com/{}", "n".repeat(255)))),
        ("/goods_tag", json!("g".repeat(33))),
        ("/support_fapiao", json!("true")),
        ("/amount", json!(100)),
        ("/amount/total", json!(0)),
        ("/amount/total", json!(-1)),
        ("/amount/total", json!("100")),
        ("/amount/total", json!(1.5)),
        ("/amount/total", Value::Null),
        ("/amount/currency", json!("USD")),
        ("/amount/extra", json!(1)),
        ("/payer/openid", json!("o".repeat(129))),
        ("/payer/openid", json!("o-made-up")),
        ("/payer/openid", json!(no_program)),
        ("/payer/sp_openid", json!("o")),
        ("/sub_mchid", json!(SUB)),
        ("/trade_type", json!("JSAPI")),
        ("/scene_info", json!({"device_id": "d"})),
        ("/settle_info", json!({"profit_sharing": 1})),
        ("/detail", json!({"goods_detail": []})),
        ("/detail", json!({"goods_detail": [{"merchant_goods_id": "1", "quantity": 0, "unit_price": 1}]})),
    ];
    for (pointer, value) in bad {
        let body = bed.post(CREATE, &with(order(), pointer, value.clone())).await.refused(400, "PARAM_ERROR");
        let field = body["detail"]["field"].as_str().unwrap();
        assert!(field.starts_with(pointer), "{pointer} = {value}: reported {field}");
        assert_eq!(body["detail"]["location"], "body");
    }
    for pointer in [
        "/appid",
        "/mchid",
        "/description",
        "/out_trade_no",
        "/notify_url",
        "/amount",
        "/amount/total",
        "/payer",
        "/payer/openid",
    ] {
        let body = bed.post(CREATE, &without(order(), pointer)).await.refused(400, "PARAM_ERROR");
        assert_eq!(body["detail"]["field"], pointer);
    }
    assert!(bed.sim.transactions().is_empty(), "a refused call leaves nothing");

    let full = with(
        order(),
        "/detail",
        json!({"cost_price": 100, "invoice_id": "i", "goods_detail": [
        {"merchant_goods_id": "1", "wechatpay_goods_id": "2", "goods_name": "n", "quantity": 1, "unit_price": 100}]}),
    );
    let full = with(
        full,
        "/scene_info",
        json!({"payer_client_ip": "::1", "device_id": "d",
        "store_info": {"id": "1", "name": "n", "area_code": "440305", "address": "a"}}),
    );
    let full = with(full, "/settle_info", json!({"profit_sharing": false}));
    let full = with(full, "/description", json!("券".repeat(42)));
    let full = with(full, "/out_trade_no", json!("A_-|*9"));
    bed.post(CREATE, &full).await.ok();
    let view = bed.get(&format!("/v3/pay/transactions/out-trade-no/A_-%7C*9?mchid={MCHID}")).await.ok();
    assert_eq!(view["out_trade_no"], "A_-|*9");
}

#[tokio::test]
async fn another_merchants_program() {
    let bed = Bed::new().await;
    let body = with(bed.order("APPID_00001"), "/appid", json!(SP_APPID));
    bed.post(CREATE, &body).await.refused(400, "APPID_MCHID_NOT_MATCH");
    bed.post(&format!("{CREATE}?a=1"), &bed.order("APPID_00001")).await.refused(400, "PARAM_ERROR");
}

#[tokio::test]
async fn same_number_again() {
    let bed = Bed::new().await;
    let first = bed.create("AGAIN_00001").await;
    assert!(first.len() <= 64 && first.starts_with("wx"));
    let second = bed.create("AGAIN_00001").await;
    assert_ne!(first, second);
    let order = bed.order("AGAIN_00001");
    for (pointer, value) in
        [("/amount/total", json!(101)), ("/description", json!("other")), ("/attach", json!("b"))]
    {
        bed.post(CREATE, &with(order.clone(), pointer, value)).await.refused(400, "INVALID_REQUEST");
    }
    bed.post(CREATE, &without(order.clone(), "/attach")).await.refused(400, "INVALID_REQUEST");
    bed.pay("AGAIN_00001");
    bed.post(CREATE, &order).await.refused(400, "ORDERPAID");
}

#[tokio::test]
async fn views() {
    let bed = Bed::new().await;
    bed.create("VIEW_000001").await;
    let unpaid = bed.query("VIEW_000001").await;
    assert_eq!(unpaid["trade_state"], "NOTPAY");
    assert_eq!(unpaid["amount"], json!({"total": 100, "currency": "CNY"}));
    for absent in ["transaction_id", "trade_type", "success_time", "payer", "attach"] {
        assert!(unpaid.get(absent).is_none(), "{absent}");
    }
    let id = bed.pay("VIEW_000001");
    assert_eq!(id.len(), 28);
    assert!(id.starts_with("42") && id.bytes().all(|b| b.is_ascii_digit()));
    let paid = bed.query("VIEW_000001").await;
    assert_eq!(paid["trade_state"], "SUCCESS");
    assert_eq!(paid["transaction_id"], id);
    assert_eq!(paid["trade_type"], "JSAPI");
    assert_eq!(paid["payer"], json!({"openid": bed.openid()}));
    assert_eq!(paid["attach"], "a");
    assert_eq!((&paid["appid"], &paid["mchid"]), (&json!(APPID), &json!(MCHID)));
    assert_eq!(paid["amount"]["payer_total"], 100);
    let success_time = paid["success_time"].as_str().unwrap();
    assert!(success_time.ends_with("+08:00"), "{success_time}");
    let age = bed.sim.now() - success_time.parse::<DateTime<Utc>>().unwrap();
    assert!(age < TimeDelta::seconds(10));

    let by_id = bed.get(&format!("/v3/pay/transactions/id/{id}?mchid={MCHID}")).await.ok();
    assert_eq!(by_id, paid);
}

#[tokio::test]
async fn query_refusals() {
    let bed = Bed::new().await;
    bed.create("QUERY_00001").await;
    let path = "/v3/pay/transactions/out-trade-no/QUERY_00001";
    bed.get(path).await.refused(400, "PARAM_ERROR");
    bed.get(&format!("{path}?mchid=1900000002")).await.refused(400, "PARAM_ERROR");
    bed.get(&format!("{path}?mchid={MCHID}&x=1")).await.refused(400, "PARAM_ERROR");
    bed.get(&format!("/v3/pay/transactions/out-trade-no/NOBODY?mchid={MCHID}"))
        .await
        .refused(404, "ORDER_NOT_EXIST");
    bed.get(&format!("/v3/pay/transactions/id/42?mchid={MCHID}")).await.refused(404, "ORDER_NOT_EXIST");
}

#[tokio::test]
async fn close() {
    let bed = Bed::new().await;
    let close = |number: &str| format!("/v3/pay/transactions/out-trade-no/{number}/close");
    let body = json!({"mchid": MCHID});
    bed.create("CLOSE_00001").await;
    for _ in 0..2 {
        let answer = bed.post(&close("CLOSE_00001"), &body).await;
        assert_eq!((answer.status, answer.raw.len()), (204, 0));
        assert!(answer.verifies());
    }
    assert_eq!(bed.query("CLOSE_00001").await["trade_state"], "CLOSED");
    bed.post(CREATE, &bed.order("CLOSE_00001")).await.refused(400, "ORDER_CLOSED");
    let args = PayArgs { out_trade_no: "CLOSE_00001".into(), ..PayArgs::default() };
    assert!(matches!(bed.sim.pay(args), Err(SimError::Refused { code: "order_closed", .. })));

    bed.paid("CLOSE_00002").await;
    bed.post(&close("CLOSE_00002"), &body).await.refused(400, "ORDERPAID");

    for bad in [json!({}), json!({"mchid": "1900000002"}), json!({"mchid": MCHID, "x": 1})] {
        bed.post(&close("CLOSE_00001"), &bad).await.refused(400, "PARAM_ERROR");
    }
}

#[tokio::test]
async fn closing_a_number_that_never_was_burns_it() {
    let bed = Bed::new().await;
    let url = "/v3/pay/transactions/out-trade-no/BURN_000001/close";
    for _ in 0..2 {
        assert_eq!(bed.post(url, &json!({"mchid": MCHID})).await.status, 204);
    }
    bed.post(CREATE, &bed.order("BURN_000001")).await.refused(400, "INVALID_REQUEST");
    bed.get(&format!("/v3/pay/transactions/out-trade-no/BURN_000001?mchid={MCHID}"))
        .await
        .refused(404, "ORDER_NOT_EXIST");
}

#[tokio::test]
async fn the_deadline_comes_from_the_first_call() {
    let bed = Bed::new().await;
    let expire = |from_now: TimeDelta| json!((bed.sim.now() + from_now).to_rfc3339());
    let deadline = |number: &str| {
        let order = bed.sim.transaction(number).unwrap();
        (order.time_expire - order.created_at).num_seconds()
    };
    bed.create("EXPIRE_0001").await;
    assert_eq!(deadline("EXPIRE_0001"), 7 * 86400);

    let near = with(bed.order("EXPIRE_0002"), "/time_expire", expire(TimeDelta::seconds(5)));
    bed.post(CREATE, &near).await.ok();
    assert_eq!(deadline("EXPIRE_0002"), 60);
    let far = with(bed.order("EXPIRE_0003"), "/time_expire", expire(TimeDelta::days(100)));
    bed.post(CREATE, &far).await.ok();
    assert_eq!(deadline("EXPIRE_0003"), 90 * 86400);

    let later = with(bed.order("EXPIRE_0002"), "/time_expire", expire(TimeDelta::days(1)));
    bed.post(CREATE, &later).await.ok();
    assert_eq!(deadline("EXPIRE_0002"), 60, "a later call does not move it");

    bed.sim.advance_clock(Duration::from_secs(61)).unwrap();
    let args = PayArgs { out_trade_no: "EXPIRE_0002".into(), ..PayArgs::default() };
    assert!(matches!(bed.sim.pay(args), Err(SimError::Refused { code: "order_expired", .. })));
    bed.post(CREATE, &near).await.refused(400, "INVALID_REQUEST");
    assert_eq!(bed.query("EXPIRE_0002").await["trade_state"], "NOTPAY", "a deadline does not close");
}

#[tokio::test]
async fn numbers_are_unique_and_other_merchants_see_nothing() {
    let bed = Bed::new().await;
    let id = bed.paid("UNIQUE_0001").await;
    assert_ne!(id, bed.paid("UNIQUE_0002").await);
    let url = format!("/v3/pay/partner/transactions/id/{id}?sp_mchid={PROVIDER}&sub_mchid={SUB}");
    bed.provider(Method::GET, &url, &Value::Null).await.refused(404, "ORDER_NOT_EXIST");
}
