//! The customer's side: `/_sim/pay` checks what WeChat's client and server check.

use std::{collections::HashSet, time::Duration};

use hexiao_wechat_sim::PayArgs;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

fn request_payment(prepay_id: &str) -> Value {
    let package = format!("prepay_id={prepay_id}");
    let signature = sign(&format!("{APPID}\n1700000000\nnonce\n{package}\n"));
    json!({"timeStamp": "1700000000", "nonceStr": "nonce", "package": package, "signType": "RSA", "paySign": signature})
}

#[tokio::test]
async fn pay_sign_is_checked() {
    let bed = Bed::new().await;
    let prepay = bed.create("PAYSIGN_001").await;
    let other = bed.create("PAYSIGN_002").await;
    let good = request_payment(&prepay);
    let changed = |name: &str, value: Value| {
        let mut request = good.clone();
        request[name] = value;
        request
    };
    let pay = async |request: Value| {
        let body = json!({"out_trade_no": "PAYSIGN_001", "request_payment": request});
        bed.control(Method::POST, "/pay", &body).await
    };
    for (request, code) in [
        (changed("timeStamp", json!(1_700_000_000)), "request_payment_invalid"),
        (changed("timeStamp", json!("now")), "time_stamp_invalid"),
        (changed("timeStamp", json!("1700000001")), "pay_sign_invalid"),
        (changed("nonceStr", json!("nonc")), "pay_sign_invalid"),
        (changed("nonceStr", json!("n".repeat(33))), "nonce_str_invalid"),
        (changed("package", json!(prepay)), "package_invalid"),
        (changed("signType", json!("MD5")), "sign_type_invalid"),
        (changed("paySign", json!("AAAA")), "pay_sign_invalid"),
        (changed("appId", json!(SP_APPID)), "app_id_mismatch"),
        (changed("extra", json!(1)), "request_payment_invalid"),
        (request_payment(&other), "prepay_mismatch"),
    ] {
        let (status, body) = pay(request.clone()).await;
        assert_eq!((status, body["code"].as_str()), (400, Some(code)), "{request}: {body}");
    }
    assert_eq!(bed.query("PAYSIGN_001").await["trade_state"], "NOTPAY");
    let (status, body) = pay(changed("appId", json!(APPID))).await;
    assert_eq!((status, body["errMsg"].as_str()), (200, Some("requestPayment:ok")));
    let (status, body) = pay(good.clone()).await;
    assert_eq!((status, body["code"].as_str()), (400, Some("order_paid")));

    // A mini program knows the prepay only.
    let body = json!({"request_payment": request_payment(&other)});
    let (status, body) = bed.control(Method::POST, "/pay", &body).await;
    assert_eq!((status, body["out_trade_no"].as_str()), (200, Some("PAYSIGN_002")));
}

#[tokio::test]
async fn a_prepay_lives_two_hours() {
    let bed = Bed::new().await;
    let old = bed.create("PREPAY_0001").await;
    let pay = async |prepay: &str| {
        let body = json!({"out_trade_no": "PREPAY_0001", "request_payment": request_payment(prepay)});
        bed.control(Method::POST, "/pay", &body).await
    };
    bed.sim.advance_clock(Duration::from_secs(7201)).unwrap();
    let (status, body) = pay(&old).await;
    assert_eq!((status, body["code"].as_str()), (400, Some("prepay_expired")));
    let fresh = bed.create("PREPAY_0001").await;
    assert_eq!(pay(&fresh).await.0, 200);
}

#[tokio::test]
async fn whose_order_it_is() {
    let bed = Bed::new().await;
    bed.create("PAYER_00001").await;
    let pay = async |openid: String| {
        let body = json!({"out_trade_no": "PAYER_00001", "openid": openid});
        bed.control(Method::POST, "/pay", &body).await
    };
    let (status, body) = pay(bed.sim.openid(APPID, "bob")).await;
    assert_eq!((status, body["code"].as_str()), (400, Some("openid_mismatch")));
    assert_eq!(pay(bed.openid()).await.0, 200);
    let (status, _) = bed.control(Method::POST, "/pay", &json!({"out_trade_no": "NOBODY"})).await;
    assert_eq!(status, 404);
    assert!(bed.sim.pay(PayArgs::default()).is_err());
}

#[tokio::test]
async fn cancelling_changes_nothing() {
    let bed = Bed::new().await;
    bed.create("CANCEL_0001").await;
    let (status, body) = bed.control(Method::POST, "/cancel", &json!({"out_trade_no": "CANCEL_0001"})).await;
    assert_eq!((status, body["errMsg"].as_str()), (200, Some("requestPayment:fail cancel")));
    assert_eq!(bed.query("CANCEL_0001").await["trade_state"], "NOTPAY");
    bed.pay("CANCEL_0001");
    assert!(bed.sim.cancel("NOBODY").is_err());
}

#[tokio::test]
async fn browsers_may_pay() {
    let bed = Bed::new().await;
    let url = format!("{}/_sim/pay", bed.sim.url());
    let response = bed.http.request(Method::OPTIONS, url).send().await.unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn many_payments_are_no_load() {
    let bed = Bed::new().await;
    for index in 0..300 {
        bed.paid(&format!("LOAD_{index:06}")).await;
    }
    let received = bed.hook.wait(300).await;
    assert_eq!(received.iter().map(Received::order).collect::<HashSet<_>>().len(), 300);
    for _ in 0..120 {
        bed.create("PREPAYS_001").await;
    }
    assert_eq!(bed.sim.transaction("PREPAYS_001").unwrap().prepays.len(), 100, "bounded");
}
