//! Devices over HTTP: registered by who redeems, revoked by who manages, and what a revoked one may still do: nothing.

use hexiao_core::catalog::Role;
use hexiao_testkit::{Answer, Client, on_both, wait_until};
use serde_json::{Value, json};

use crate::products::refused;

const OWN: &str = "/api/v1/staff/devices";
const ALL: &str = "/api/v1/merchant/devices";
const CURRENT: &str = "/api/v1/staff/devices/current";

/// A public key: any 32 bytes look like one.
pub(crate) fn key(n: u8) -> String {
    format!("{n:02x}").repeat(32)
}

fn phone(n: u8) -> Value {
    json!({"name": format!("手机{n}"), "platform": "android", "public_key": key(n)})
}

async fn register(who: &Client, n: u8) -> String {
    who.post(OWN, phone(n)).await.expect(201)["id"].as_str().unwrap().to_owned()
}

async fn ids(who: &Client, path: &str) -> Vec<String> {
    let list = who.get(path).await.expect(200);
    list["items"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect()
}

on_both!(a_device_is_registered_once_for_one_person, |app| async {
    let store = app.store("一店").await;
    let (verifier, colleague) = (app.verifier(&[store]).await, app.verifier(&[store]).await);
    let first = register(&verifier, 1).await;
    let again = verifier.post(OWN, phone(1)).await.expect(200);
    assert_eq!((&again["id"], &again["state"]), (&json!(first), &json!("Active")));
    refused(&colleague.post(OWN, phone(1)).await, 409, "duplicate", "");
    for n in 2..=5 {
        register(&verifier, n).await;
    }
    refused(&verifier.post(OWN, phone(6)).await, 409, "device_limit", "");
    for bad in ["", "zz", &key(1)[2..]] {
        let body = json!({"name": "手机", "platform": "ios", "public_key": bad});
        refused(&verifier.post(OWN, body).await, 400, "invalid_field", "public_key");
    }
    assert_eq!(ids(&verifier, OWN).await.len(), 5);
    assert_eq!(ids(&colleague, OWN).await.len(), 0);
    // The session is on the one registered last; giving it up makes room and leaves the session.
    verifier.delete(CURRENT).await.expect(204);
    refused(&verifier.delete(CURRENT).await, 409, "illegal_state", "");
    refused(&verifier.post(OWN, phone(5)).await, 403, "device_revoked", "");
    register(&verifier, 6).await;
    app.verify().await;
});

on_both!(managers_see_and_revoke_the_devices_of_their_stores, |app| async {
    let (here, there) = (app.store("一店").await, app.store("二店").await);
    let (verifier, manager) = (app.verifier(&[here]).await, app.manager(&[here]).await);
    let (elsewhere, operator) = (app.manager(&[there]).await, app.staff(Role::Operator, &[]).await);
    let device = register(&verifier, 1).await;
    let of_headquarters = register(&operator, 2).await;
    assert_eq!(ids(&manager, ALL).await, std::slice::from_ref(&device));
    assert_eq!(ids(&operator, ALL).await, [of_headquarters.clone(), device.clone()]);
    assert_eq!(ids(&elsewhere, ALL).await, Vec::<String>::new());
    assert_eq!(
        ids(&operator, &format!("{ALL}?staff_id={}", verifier.id)).await,
        std::slice::from_ref(&device)
    );
    refused(&verifier.get(ALL).await, 403, "forbidden", "");

    let path = format!("{ALL}/{device}");
    refused(&elsewhere.patch(&path, json!({"name": "x"})).await, 404, "not_found", "");
    assert_eq!(manager.patch(&path, json!({"name": "收银台"})).await.expect(200)["name"], "收银台");
    refused(&elsewhere.post(&format!("{path}/revoke"), json!({})).await, 404, "not_found", "");
    refused(&manager.post(&format!("{ALL}/{of_headquarters}/revoke"), json!({})).await, 404, "not_found", "");
    let revoked = manager.post(&format!("{path}/revoke"), json!({})).await.expect(200);
    assert_eq!((&revoked["state"], &revoked["revoked_by"]), (&json!("Revoked"), &json!(manager.id)));
    assert_eq!(manager.post(&format!("{path}/revoke"), json!({})).await.expect(200), revoked);
    assert_eq!(ids(&manager, &format!("{ALL}?state=Active")).await, Vec::<String>::new());
    app.verify().await;
});

/// What a counter asks for, with a device it names.
async fn prepare(who: &Client, store: &str, device: Option<&str>) -> Answer {
    let mut body = json!({"store_id": store, "input": {"code": "000000000000"}});
    if let Some(device) = device {
        body["device_id"] = json!(device);
    }
    who.post("/api/v1/staff/redemptions/prepare", body).await
}

on_both!(a_revoked_device_redeems_nothing, |app| async {
    let shop = app.shop(3, 1000, None).await;
    let (verifier, manager) = (app.verifier(&[shop.store]).await, app.manager(&[shop.store]).await);
    let customer = app.customer("小明").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let qr = app.voucher(&customer, voucher).await["qr"].clone();
    let device = register(&verifier, 1).await;
    // The device of the session is noted without being named, and may be named.
    let done = verifier.redeem(&app, &customer, shop.store, voucher, 1).await.expect(201);
    let prepared = verifier.prepare(shop.store, &qr).await.expect(200);
    manager.post(&format!("{ALL}/{device}/revoke"), json!({})).await.expect(200);
    let confirm = verifier.confirm(shop.store, &prepared, voucher, 1, "after").await;
    refused(&confirm, 403, "device_revoked", "");
    refused(&verifier.prepare(shop.store, &qr).await, 403, "device_revoked", "");
    let undo = json!({"reason": "扫错了", "items": [{"voucher_id": voucher, "serials": [1]}]});
    let path = format!("/api/v1/staff/redemptions/{}/reverse", done["id"].as_str().unwrap());
    refused(&verifier.post_key(&path, "undo", undo).await, 403, "device_revoked", "");
    assert_eq!(app.voucher(&customer, voucher).await["used"], 1);

    // Another session may go on, but not in the device's name; nor may somebody else use it.
    let store = shop.store.to_string();
    refused(&prepare(&manager, &store, Some(&device)).await, 403, "device_revoked", "");
    let own = register(&manager, 2).await;
    let colleague = app.verifier(&[shop.store]).await;
    refused(&prepare(&colleague, &store, Some(&own)).await, 400, "invalid_field", "device_id");
    let unknown = "dev_01h455vb4pex5vsknk084sn02q";
    refused(&prepare(&colleague, &store, Some(unknown)).await, 400, "invalid_field", "device_id");
    refused(&prepare(&colleague, &store, Some("till-1")).await, 404, "not_found", "");
    refused(&prepare(&manager, &store, Some(&own)).await, 404, "not_found", "");
    let evidence = format!("/api/v1/merchant/vouchers/{voucher}/evidence");
    assert!(manager.get(&evidence).await.expect(200).to_string().contains(&device));
    app.verify().await;
});

on_both!(a_merchant_may_let_only_registered_devices_redeem, |app| async {
    let shop = app.shop(1, 1000, None).await;
    let verifier = app.verifier(&[shop.store]).await;
    let settings = json!({"require_device": true});
    app.owner().await.patch("/api/v1/merchant/settings", settings).await.expect(200);
    let store = shop.store.to_string();
    // Asked for nothing that is counted as a wrong code.
    let looks = json!({"store_id": store, "input": {"qr": "HX1"}});
    wait_until("the setting is known", async || {
        verifier.post("/api/v1/staff/redemptions/prepare", looks.clone()).await.code() == "device_required"
    })
    .await;
    register(&verifier, 1).await;
    refused(&prepare(&verifier, &store, None).await, 404, "not_found", "");
});
