//! Service providers: the partner paths and nothing else.

use hexiao_wechat_sim::RefundOutcome;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

const CREATE: &str = "/v3/pay/partner/transactions/jsapi";

fn order(bed: &Bed, number: &str) -> Value {
    json!({
        "sp_appid": SP_APPID,
        "sp_mchid": PROVIDER,
        "sub_appid": SUB_APPID,
        "sub_mchid": SUB,
        "description": "d",
        "out_trade_no": number,
        "notify_url": bed.hook.url,
        "amount": {"total": 100},
        "payer": {"sub_openid": "oSub"},
    })
}

#[tokio::test]
async fn order_to_refund() {
    let bed = Bed::new().await;
    let post = async |url: &str, body: &Value| bed.provider(Method::POST, url, body).await;
    let get = async |url: &str| bed.provider(Method::GET, url, &Value::Null).await;
    let prepay = post(CREATE, &order(&bed, "PARTNER_001")).await.ok()["prepay_id"].clone();

    // The message of paySign names the program the customer is in: the sub-merchant's.
    let package = format!("prepay_id={}", prepay.as_str().unwrap());
    let pay_sign = |appid: &str| sign(&format!("{appid}\n1700000000\nn\n{package}\n"));
    let pay = |signature: String| {
        json!({"out_trade_no": "PARTNER_001", "openid": "oSub", "request_payment":
        {"timeStamp": "1700000000", "nonceStr": "n", "package": package, "signType": "RSA", "paySign": signature}})
    };
    let (status, body) = bed.control(Method::POST, "/pay", &pay(pay_sign(SP_APPID))).await;
    assert_eq!((status, body["code"].as_str()), (400, Some("pay_sign_invalid")));
    let (status, _) = bed.control(Method::POST, "/pay", &pay(pay_sign(SUB_APPID))).await;
    assert_eq!(status, 200);

    let notified = bed.hook.wait(1).await[0].plain();
    assert_eq!(notified["sp_mchid"], PROVIDER);
    assert_eq!(notified["sub_mchid"], SUB);
    assert_eq!(notified["payer"], json!({"sub_openid": "oSub"}));
    assert!(notified.get("mchid").is_none());

    let path = "/v3/pay/partner/transactions/out-trade-no/PARTNER_001";
    let view = get(&format!("{path}?sp_mchid={PROVIDER}&sub_mchid={SUB}")).await.ok();
    assert_eq!(view, notified);
    get(&format!("{path}?sp_mchid={PROVIDER}")).await.refused(400, "PARAM_ERROR");
    get(&format!("{path}?sp_mchid={PROVIDER}&sub_mchid=1900000999")).await.refused(404, "ORDER_NOT_EXIST");

    let refund = bed.refund("PARTNER_001", "R1", 40);
    post("/v3/refund/domestic/refunds", &refund).await.refused(400, "PARAM_ERROR");
    let mut refund = refund;
    refund["sub_mchid"] = json!(SUB);
    post("/v3/refund/domestic/refunds", &refund).await.ok();
    bed.sim.settle_refund("R1", RefundOutcome::Success).unwrap();
    let notified = bed.hook.wait(2).await[1].plain();
    assert_eq!((&notified["sp_mchid"], &notified["sub_mchid"]), (&json!(PROVIDER), &json!(SUB)));
    get("/v3/refund/domestic/refunds/R1").await.refused(400, "PARAM_ERROR");
    let view = get(&format!("/v3/refund/domestic/refunds/R1?sub_mchid={SUB}")).await.ok();
    assert_eq!(view["status"], "SUCCESS");
}

#[tokio::test]
async fn refusals() {
    let bed = Bed::new().await;
    let post = async |change: &dyn Fn(&mut Value)| {
        let mut body = order(&bed, "PARTNER_001");
        change(&mut body);
        bed.provider(Method::POST, CREATE, &body).await
    };
    post(&|b| b["payer"] = json!({})).await.refused(400, "PARAM_ERROR");
    post(&|b| b["payer"]["sp_openid"] = json!("o")).await.refused(400, "PARAM_ERROR");
    post(&|b| drop(b.as_object_mut().unwrap().remove("sub_appid"))).await.refused(400, "PARAM_ERROR");
    post(&|b| b["sub_appid"] = json!(APPID)).await.refused(400, "APPID_MCHID_NOT_MATCH");
    post(&|b| b["sp_appid"] = json!(APPID)).await.refused(400, "APPID_MCHID_NOT_MATCH");
    post(&|b| b["sub_mchid"] = json!("1900000999")).await.refused(403, "NO_AUTH");
    post(&|b| b["sp_mchid"] = json!(MCHID)).await.refused(400, "PARAM_ERROR");

    // Each kind of merchant has its own paths.
    let mut direct = bed.order("DIRECT_0001");
    direct["mchid"] = json!(PROVIDER);
    bed.provider(Method::POST, "/v3/pay/transactions/jsapi", &direct).await.refused(403, "NO_AUTH");
    let mut partner = order(&bed, "DIRECT_0001");
    partner["sp_mchid"] = json!(MCHID);
    bed.post(CREATE, &partner).await.refused(403, "NO_AUTH");
}

#[tokio::test]
async fn close() {
    let bed = Bed::new().await;
    bed.provider(Method::POST, CREATE, &order(&bed, "PARTNER_001")).await.ok();
    let url = "/v3/pay/partner/transactions/out-trade-no/PARTNER_001/close";
    let close = async |body: Value| bed.provider(Method::POST, url, &body).await;
    close(json!({"sp_mchid": PROVIDER})).await.refused(400, "PARAM_ERROR");
    close(json!({"sp_mchid": PROVIDER, "sub_mchid": "1900000999"})).await.refused(403, "NO_AUTH");
    assert_eq!(close(json!({"sp_mchid": PROVIDER, "sub_mchid": SUB})).await.status, 204);
}
