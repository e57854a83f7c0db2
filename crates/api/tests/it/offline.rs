//! Redeeming offline: what a device signed is taken once, judged as it was, and what is wrong waits for a person.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use chrono::Duration;
use data_encoding::HEXLOWER;
use hexiao_core::id::{DeviceId, Id as _, StoreId};
use hexiao_core::offline::Signed;
use hexiao_core::time::Timestamp;
use hexiao_testkit::{Client, TestApp, on_both};
use serde_json::{Value, json};

use crate::products::refused;

pub(crate) const UPLOAD: &str = "/api/v1/staff/redemptions/offline-batch";
const DESK: &str = "/api/v1/merchant/exceptions";

/// A registered phone with its key.
pub(crate) struct Phone {
    key: Ed25519KeyPair,
    id: DeviceId,
    store: StoreId,
}

impl Phone {
    pub(crate) async fn register(who: &Client, store: StoreId, seed: u8) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = HEXLOWER.encode(key.public_key().as_ref());
        let body = json!({"name": "手机", "platform": "android", "public_key": public});
        let made = who.post("/api/v1/staff/devices", body).await.expect(201);
        Self { key, id: DeviceId::parse(made["id"].as_str().unwrap()).unwrap(), store }
    }

    /// A signed entry.
    pub(crate) fn entry(&self, seq: i64, qr: &Value, quantity: u32, occurred_at: Timestamp) -> Value {
        let (ticket, nonce) = (qr.as_str().unwrap(), "n0nce");
        let signed = Signed { device: self.id, store: self.store, seq, ticket, quantity, occurred_at, nonce };
        let signature = HEXLOWER.encode(self.key.sign(signed.text().as_bytes()).as_ref());
        json!({
            "seq": seq, "ticket": ticket, "quantity": quantity, "occurred_at": occurred_at.to_string(), "nonce": nonce,
            "signature": signature,
        })
    }

    pub(crate) fn batch(&self, app: &TestApp, entries: &[Value]) -> Value {
        json!({"store_id": self.store, "sent_at": app.app.now().to_string(), "entries": entries})
    }
}

async fn upload(app: &TestApp, who: &Client, phone: &Phone, entries: &[Value]) -> Value {
    who.post(UPLOAD, phone.batch(app, entries)).await.expect(200)
}

/// `verdict reason` of each entry.
fn verdicts(answer: &Value) -> Vec<String> {
    let one = |r: &Value| {
        let text = |name: &str| r[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("verdict"), text("reason")).trim().to_owned()
    };
    answer["results"].as_array().unwrap().iter().map(one).collect()
}

async fn desk(who: &Client, query: &str) -> Vec<Value> {
    who.get(&format!("{DESK}{query}")).await.expect(200)["items"].as_array().unwrap().clone()
}

on_both!(entries_are_judged_as_they_were_and_only_once, |app| async {
    let shop = app.shop(3, 3000, None).await;
    let (verifier, manager) = (app.verifier(&[shop.store]).await, app.manager(&[shop.store]).await);
    let customer = app.customer("小明").await;
    let bought = app.buy(&customer, &shop, 2).await;
    let (first, second) = (&bought.vouchers[0], &bought.vouchers[1]);
    let phone = Phone::register(&verifier, shop.store, 1).await;
    let qr = app.voucher(&customer, first).await["qr"].clone();
    let other = app.voucher(&customer, second).await["qr"].clone();
    verifier.redeem(&app, &customer, shop.store, second, 2).await.expect(201);
    app.advance(std::time::Duration::from_mins(10));
    let ago = |minutes: i64| app.app.now().minus(Duration::minutes(minutes));
    let entries = [
        phone.entry(1, &qr, 1, ago(9)),
        phone.entry(2, &qr, 1, ago(5)),
        // A minute later: somebody has to look whether it was one visit.
        phone.entry(3, &qr, 1, ago(4)),
        // Used up by the three before; the other one has one use left.
        phone.entry(4, &qr, 1, ago(3)),
        phone.entry(5, &other, 2, ago(2)),
        phone.entry(8, &json!("HX1FORGED"), 1, ago(1)),
    ];
    let done = upload(&app, &verifier, &phone, &entries).await;
    let expected = [
        "accepted",
        "accepted",
        "accepted_forced acknowledge_required",
        "conflict used_up",
        "conflict not_enough_uses",
        "rejected invalid_signature",
    ];
    assert_eq!(verdicts(&done), expected, "{done}");
    assert_eq!((&done["expected_seq"], &done["next_seq"]), (&json!(1), &json!(9)));
    assert_eq!(done["missing"], json!([{"from": 6, "to": 7}]));
    // What took the uses: an entry of the same upload, and what was redeemed online.
    let winner = |n: usize| &done["results"][n]["winner"];
    assert_eq!(winner(3)["redemption_id"], done["results"][2]["redemption_id"]);
    assert_eq!((&winner(4)["kind"], &winner(4)["store_id"]), (&json!("redemption"), &json!(shop.store)));
    assert_eq!(app.voucher(&customer, first).await["used"], 3);
    assert_eq!(app.voucher(&customer, second).await["used"], 2);

    let again = upload(&app, &verifier, &phone, &entries).await;
    assert_eq!(verdicts(&again), expected);
    assert!(again["results"].as_array().unwrap().iter().all(|r| r["replayed"] == true), "{again}");
    assert_eq!(app.voucher(&customer, first).await["used"], 3);
    // A number is one entry: another one under it is refused, and somebody hears of it.
    let altered = upload(&app, &verifier, &phone, &[phone.entry(2, &qr, 1, ago(5))]).await;
    assert_eq!(verdicts(&altered), ["rejected idempotency_conflict"]);
    // What was lost on the way may still come.
    let late = upload(&app, &verifier, &phone, &[phone.entry(6, &other, 1, ago(1))]).await;
    assert_eq!((verdicts(&late), &late["next_seq"]), (vec!["accepted".to_owned()], &json!(9)));

    let kinds = |items: &[Value]| -> Vec<String> {
        let mut kinds: Vec<String> = items
            .iter()
            .map(|e| e["kind"].as_str().unwrap().trim_start_matches("offline_").to_owned())
            .collect();
        kinds.sort();
        kinds
    };
    let open = desk(&manager, "?state=Open").await;
    assert_eq!(kinds(&open), ["altered", "conflict", "conflict", "forced", "gap", "rejected"]);
    app.verify().await;
});

on_both!(limits_clocks_and_signatures, |app| async {
    let shop = app.shop(9, 9000, None).await;
    let verifier = app.verifier(&[shop.store]).await;
    let customer = app.customer("小明").await;
    let bought = app.buy(&customer, &shop, 1).await;
    let voucher = &bought.vouchers[0];
    let settings = json!({"offline_uses": 2, "offline_amount_fen": 100_000});
    app.owner().await.patch("/api/v1/merchant/settings", settings).await.expect(200);
    refused(&verifier.post(UPLOAD, json!({"store_id": shop.store, "sent_at": app.app.now().to_string(),
        "entries": [{"seq": 1, "ticket": "x", "quantity": 1, "occurred_at": app.app.now().to_string(), "nonce": "n", "signature": "00".repeat(64)}]})).await,
        403, "device_required", "");
    let phone = Phone::register(&verifier, shop.store, 1).await;
    let qr = app.voucher(&customer, voucher).await["qr"].clone();
    app.advance(std::time::Duration::from_mins(10));
    let now = app.app.now();
    let entries = [
        phone.entry(1, &qr, 2, now.minus(Duration::minutes(8))),
        phone.entry(2, &qr, 1, now.minus(Duration::minutes(4))),
        phone.entry(3, &qr, 1, now.minus(Duration::hours(80))),
        phone.entry(4, &qr, 1, now.plus(Duration::minutes(20))),
    ];
    let done = upload(&app, &verifier, &phone, &entries).await;
    let expected = [
        "accepted",
        "accepted_forced limit_exceeded",
        "rejected approval_required",
        "rejected invalid_field",
    ];
    assert_eq!(verdicts(&done), expected, "{done}");
    // A signature that is not the device's takes no number.
    let mut forged = phone.entry(5, &qr, 1, now);
    forged["quantity"] = json!(2);
    let answer = upload(&app, &verifier, &phone, &[forged]).await;
    assert_eq!(
        (verdicts(&answer), &answer["next_seq"]),
        (vec!["rejected invalid_signature".to_owned()], &json!(5))
    );
    for (field, value) in [("seq", json!(0)), ("quantity", json!(0)), ("signature", json!("zz"))] {
        let mut wrong = phone.entry(5, &qr, 1, now);
        wrong[field] = value;
        let path = format!("entries[0].{field}");
        refused(&verifier.post(UPLOAD, phone.batch(&app, &[wrong])).await, 400, "invalid_field", &path);
    }
    let twice = [phone.entry(5, &qr, 1, now), phone.entry(5, &qr, 1, now)];
    refused(&verifier.post(UPLOAD, phone.batch(&app, &twice)).await, 400, "invalid_field", "entries[1].seq");
    refused(&verifier.post(UPLOAD, phone.batch(&app, &[])).await, 400, "invalid_field", "entries");
    assert_eq!(app.voucher(&customer, voucher).await["used"], 3);
    app.verify().await;
});

on_both!(the_desk_belongs_to_the_stores, |app| async {
    let shop = app.shop(1, 1000, None).await;
    let there = app.store("二店").await;
    let (verifier, manager) = (app.verifier(&[shop.store]).await, app.manager(&[shop.store]).await);
    let elsewhere = app.manager(&[there]).await;
    let phone = Phone::register(&verifier, shop.store, 1).await;
    upload(&app, &verifier, &phone, &[phone.entry(1, &json!("HX1"), 1, app.app.now())]).await;
    assert_eq!(desk(&elsewhere, "").await.len(), 0);
    assert_eq!(desk(&verifier, "?kind=offline_rejected").await.len(), 1);
    refused(&elsewhere.get(&format!("{DESK}?store_id={}", shop.store)).await, 404, "not_found", "");
    let found = desk(&manager, &format!("?store_id={}", shop.store)).await;
    let path = format!("{DESK}/{}/resolve", found[0]["id"].as_str().unwrap());
    let body = json!({"outcome": "written_off", "note": "伪造的码，已报警"});
    refused(&elsewhere.post(&path, body.clone()).await, 404, "not_found", "");
    refused(&verifier.post(&path, body.clone()).await, 403, "forbidden", "");
    let done = manager.post(&path, body.clone()).await.expect(200);
    assert_eq!((&done["state"], &done["resolved_by"]), (&json!("Resolved"), &json!(manager.id)));
    assert_eq!(manager.post(&path, body.clone()).await.expect(200), done);
    refused(&app.owner().await.post(&path, body).await, 409, "illegal_state", "");
    assert_eq!(desk(&manager, "?state=Open").await.len(), 0);
    app.verify().await;
});
