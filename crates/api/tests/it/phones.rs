//! A customer's phone number: as WeChat tells it, kept so that nobody can read it, forgotten when asked.

use hexiao_db::sql;
use hexiao_testkit::{Answer, Client, TestApp, on_both};
use hexiao_wechat_sim::{Fault, FaultAction};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{broken, text};

const PHONE: &str = "/api/v1/customer/phone";

/// The customer taps the button that tells their number.
pub(crate) async fn bind(customer: &Client, number: &str) -> Answer {
    let code = format!("sim-phone-{number}-{}", uuid::Uuid::now_v7().simple());
    customer.post(PHONE, json!({"code": code})).await
}

async fn shown(customer: &Client) -> Value {
    customer.get("/api/v1/auth/me").await.expect(200)["customer"]["phone_masked"].clone()
}

async fn stored(app: &TestApp) -> Vec<(Option<Vec<u8>>, Option<Vec<u8>>)> {
    let text = "SELECT phone_hash, phone_cipher FROM customers ORDER BY id";
    let rows = sql::rows(app.app.db.reader(), text, vec![]).await.unwrap();
    rows.iter().map(|r| (r.get("phone_hash").unwrap(), r.get("phone_cipher").unwrap())).collect()
}

on_both!(a_number_is_bound_replaced_and_forgotten, |app| async {
    let customer = app.customer("小王").await;
    assert_eq!(shown(&customer).await, Value::Null);
    let bound = bind(&customer, "13812341234").await.expect(200);
    assert_eq!((text(&bound["phone_masked"]), shown(&customer).await), ("138****1234", json!("138****1234")));
    // Two people of one family may give the same number; what is stored of them differs but for the hash.
    bind(&app.customer("小红").await, "13812341234").await.expect(200);
    let rows = stored(&app).await;
    assert_eq!(rows[0].0, rows[1].0);
    assert_ne!(rows[0].1, rows[1].1);
    let clear = |bytes: &Vec<u8>| bytes.windows(11).any(|w| w == b"13812341234");
    assert!(
        !rows.iter().any(|(hash, cipher)| clear(hash.as_ref().unwrap()) || clear(cipher.as_ref().unwrap()))
    );
    bind(&customer, "13900000099").await.expect(200);
    assert_eq!(shown(&customer).await, "139****0099");
    customer.delete(PHONE).await.expect(204);
    assert_eq!(shown(&customer).await, Value::Null);
    assert_eq!(stored(&app).await.iter().filter(|(hash, _)| hash.is_none()).count(), 1);
    customer.delete(PHONE).await.expect(204);
});

on_both!(a_code_is_good_once_and_only_if_it_is_one, |app| async {
    let customer = app.customer("小王").await;
    let once = json!({"code": "sim-phone-13812341234-7"});
    customer.post(PHONE, once.clone()).await.expect(200);
    refused(&customer.post(PHONE, once).await, 422, "phone_code_invalid", "");
    for code in ["sim-小王", "081abc", "sim-phone-02112345678"] {
        refused(&customer.post(PHONE, json!({"code": code})).await, 422, "phone_code_invalid", "");
    }
    refused(&customer.post(PHONE, json!({"code": ""})).await, 400, "invalid_field", "");
    assert_eq!(shown(&customer).await, "138****1234", "what was there stays");
});

on_both!(a_wechat_that_fails_leaves_the_number_as_it_was, |app| async {
    let customer = app.customer("小王").await;
    bind(&customer, "13812341234").await.expect(200);
    broken(&app, "phone_number");
    refused(&bind(&customer, "13900000099").await, 503, "wechat_unavailable", "");
    app.sim.clear_faults();
    // Too many calls in a minute.
    let busy =
        FaultAction::Error { status: 400, code: "45011".to_owned(), message: "minute-quota".to_owned() };
    app.sim.set_fault(Fault::new(busy).kind("phone_number")).unwrap();
    refused(&bind(&customer, "13900000099").await, 503, "wechat_unavailable", "");
    assert_eq!(shown(&customer).await, "138****1234");
    bind(&customer, "13900000099").await.expect(200);
    assert_eq!(shown(&customer).await, "139****0099");
});

on_both!(the_verifier_sees_the_masked_number_of_whose_voucher_it_is, |app| async {
    let customer = app.customer("小王").await;
    let shop = app.shop(1, 100, None).await;
    let bought = app.buy(&customer, &shop, 1).await;
    bind(&customer, "13812341234").await.expect(200);
    let verifier = app.verifier(&[shop.store]).await;
    let qr = app.voucher(&customer, &bought.vouchers[0]).await["qr"].clone();
    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    assert_eq!(prepared["customer"]["phone_masked"], "138****1234");
    assert!(!prepared.to_string().contains("13812341234"));
});
