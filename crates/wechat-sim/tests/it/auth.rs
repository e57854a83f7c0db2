//! Who may call, and how answers are signed.

use chrono::DateTime;
use hexiao_wechat_sim::SimConfig;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

const CREATE: &str = "/v3/pay/transactions/jsapi";

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/vectors.json")).unwrap()
}

fn header(signature: &str) -> String {
    let v = vectors();
    format!(
        "WECHATPAY2-SHA256-RSA2048 mchid=\"{MCHID}\",nonce_str=\"{}\",signature=\"{signature}\",timestamp=\"{}\",serial_no=\"{SERIAL}\"",
        v["nonce"].as_str().unwrap(),
        v["timestamp"]
    )
}

#[tokio::test]
async fn accepts_requests_that_openssl_signed() {
    // The fixed body names an openid the simulator did not make, so the program is not configured.
    let bed = Bed::with(SimConfig { mini_programs: Vec::new(), ..config() }).await;
    let v = vectors();
    bed.sim.set_clock(DateTime::from_timestamp(v["timestamp"].as_i64().unwrap(), 0).unwrap()).unwrap();

    let mut call = bed.call(Method::POST, CREATE, &Value::Null);
    call.body = v["post"]["body"].as_str().unwrap().as_bytes().to_vec();
    call.authorization = Some(header(v["post"]["signature"].as_str().unwrap()));
    assert!(bed.send(call).await.ok()["prepay_id"].as_str().unwrap().starts_with("wx"));

    let mut call = bed.call(Method::GET, v["get"]["url"].as_str().unwrap(), &Value::Null);
    call.authorization = Some(header(v["get"]["signature"].as_str().unwrap()));
    bed.send(call).await.refused(404, "ORDER_NOT_EXIST");

    let mut call = bed.call(Method::GET, v["get"]["url"].as_str().unwrap(), &Value::Null);
    call.authorization = Some(header(v["post"]["signature"].as_str().unwrap()));
    bed.send(call).await.refused(401, "SIGN_ERROR");
}

#[tokio::test]
async fn refuses_whoever_it_does_not_know() {
    let bed = Bed::new().await;
    let call = || bed.call(Method::POST, CREATE, &bed.order("AUTH_000001"));
    let spoiled = [
        Call { authorization: Some(String::new()), ..call() },
        Call { authorization: Some("Bearer x".into()), ..call() },
        Call { mchid: "1900009999".into(), ..call() },
        Call { serial: "00".into(), ..call() },
        Call { nonce: "n".repeat(33), ..call() },
        Call { timestamp: call().timestamp - 302, ..call() },
        Call { timestamp: call().timestamp + 302, ..call() },
        Call { signed_body: Some(b"{}".to_vec()), ..call() },
    ];
    for call in spoiled {
        bed.send(call).await.refused(401, "SIGN_ERROR");
    }
    bed.send(Call { timestamp: call().timestamp - 298, ..call() }).await.ok();
}

#[tokio::test]
async fn a_wrong_signature_is_explained() {
    let bed = Bed::new().await;
    let call = bed.call(Method::POST, CREATE, &bed.order("AUTH_000001"));
    let body = bed.send(Call { signed_body: Some(b"{}".to_vec()), ..call }).await.refused(401, "SIGN_ERROR");
    let detail = &body["detail"];
    assert_eq!(detail["field"], "signature");
    assert_eq!(detail["location"], "authorization");
    assert_eq!(detail["detail"]["issue"], "sign not match");
    assert_eq!(detail["sign_information"]["method"], "POST");
    assert_eq!(detail["sign_information"]["url"], CREATE);
    assert!(detail["sign_information"]["sign_message_length"].as_u64().unwrap() > 100);
    let quoted = detail["sign_information"]["truncated_sign_message"].as_str().unwrap();
    assert!(quoted.starts_with("POST\n/v3/pay/transactions/jsapi\n"), "{quoted}");
}

#[tokio::test]
async fn follows_its_own_clock() {
    let bed = Bed::new().await;
    let before = bed.sim.now().timestamp();
    bed.sim.advance_clock(std::time::Duration::from_hours(1)).unwrap();
    let call = bed.call(Method::POST, CREATE, &bed.order("AUTH_000001"));
    bed.send(Call { timestamp: before, ..call }).await.refused(401, "SIGN_ERROR");
    bed.create("AUTH_000001").await;
}

#[tokio::test]
async fn answers_are_signed_with_the_key_the_caller_names() {
    let bed = Bed::new().await;
    for serial in [CERT_SERIAL, PUBLIC_KEY_ID] {
        let call = bed.call(Method::POST, CREATE, &bed.order("AUTH_000001"));
        let answer = bed.send(Call { wechatpay_serial: Some(serial.into()), ..call }).await;
        assert_eq!(answer.header("Wechatpay-Serial"), serial);
        assert_eq!(answer.header("Wechatpay-Signature-Type"), "WECHATPAY2-SHA256-RSA2048");
        assert!(answer.header("Request-ID").ends_with("-0"));
        answer.ok();
    }
    let call = bed.call(Method::POST, CREATE, &bed.order("AUTH_000001"));
    let answer = bed.send(Call { wechatpay_serial: None, ..call }).await;
    assert_eq!(answer.header("Wechatpay-Serial"), CERT_SERIAL);
    answer.ok();
    let call = bed.call(Method::POST, CREATE, &bed.order("AUTH_000001"));
    let call = Call { wechatpay_serial: Some("PUB_KEY_ID_0".into()), ..call };
    bed.send(call).await.refused(400, "PARAM_ERROR");
}

#[tokio::test]
async fn headers_and_bodies_wechat_does_not_take() {
    let bed = Bed::new().await;
    for missing in ["Accept", "User-Agent", "Content-Type"] {
        let mut call = bed.call(Method::POST, CREATE, &bed.order("AUTH_000001"));
        call.headers.retain(|(name, _)| *name != missing);
        // reqwest would send Accept by itself.
        if missing == "Accept" {
            call.headers.push(("Accept", "text/html"));
        }
        let body = bed.send(call).await.refused(400, "PARAM_ERROR");
        assert_eq!(body["detail"]["field"], missing);
    }
    let send_raw = async |raw: &[u8]| {
        let mut call = bed.call(Method::POST, CREATE, &Value::Null);
        call.body = raw.to_vec();
        bed.send(call).await
    };
    send_raw(b"{").await.refused(400, "PARAM_ERROR");
    send_raw(b"").await.refused(400, "PARAM_ERROR");
    send_raw(b"[]").await.refused(400, "PARAM_ERROR");
    let huge = format!("\"{}\"", "x".repeat(1024 * 1024));
    send_raw(huge.as_bytes()).await.refused(413, "PARAM_ERROR");
}

#[tokio::test]
async fn bytes_that_are_not_utf8() {
    let bed = Bed::new().await;
    let key_message = |body: &[u8], timestamp: i64| {
        [format!("POST\n{CREATE}\n{timestamp}\nn\n").as_bytes(), body, b"\n"].concat()
    };
    let mut call = bed.call(Method::POST, CREATE, &Value::Null);
    call.body = b"{\"a\":\"\xff\"}".to_vec();
    let signature = sign_bytes(&key_message(&call.body, call.timestamp));
    call.authorization = Some(format!(
        "WECHATPAY2-SHA256-RSA2048 mchid=\"{MCHID}\",nonce_str=\"n\",timestamp=\"{}\",serial_no=\"{SERIAL}\",signature=\"{signature}\"",
        call.timestamp
    ));
    bed.send(call).await.refused(400, "PARAM_ERROR");
}

#[tokio::test]
async fn platform_certificates() {
    let bed = Bed::new().await;
    let call = Call { wechatpay_serial: None, ..bed.call(Method::GET, "/v3/certificates", &Value::Null) };
    let body = bed.send(call).await.ok();
    let item = &body["data"][0];
    assert_eq!(item["serial_no"], CERT_SERIAL);
    let pem = open_text(&item["encrypt_certificate"]);
    assert_eq!(pem, include_str!("../vectors/platform_cert.pem"));
    assert!(item["effective_time"].as_str().unwrap().ends_with("+08:00"));
    bed.get("/v3/certificates?x=1").await.refused(400, "PARAM_ERROR");
}

#[tokio::test]
async fn unknown_paths() {
    let bed = Bed::new().await;
    bed.get("/v3/nothing").await.refused(404, "RESOURCE_NOT_EXISTS");
    bed.get(CREATE).await.refused(404, "RESOURCE_NOT_EXISTS");
    let help = bed.http.get(bed.sim.url()).send().await.unwrap().text().await.unwrap();
    assert!(help.contains("/_sim/pay"));
    let (status, body) = bed.control(Method::POST, "/clock", &json!({"advance_ms": 1, "set": null})).await;
    assert_eq!((status, body["code"].as_str()), (400, Some("body_invalid")));
}
