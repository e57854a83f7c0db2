//! The search over attempts, and the evidence sheet of a voucher.

use hexiao_db::sql;
use hexiao_testkit::{Client, TestApp, on_both};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{ask_refund, items, key, refund_in, text};
use crate::wire::{Request, Wire};

const STAFF: &str = "/api/v1/staff/redemption-attempts";
const MERCHANT: &str = "/api/v1/merchant/redemption-attempts";

async fn search(client: &Client, base: &str, query: &str) -> Vec<Value> {
    items(&client.get(&format!("{base}?limit=100&{query}")).await.expect(200)).clone()
}

async fn audited(app: &TestApp) -> i64 {
    let text = "SELECT COUNT(*) AS n FROM audit_log WHERE action = 'voucher.evidence'";
    sql::row(app.app.db.reader(), text, vec![]).await.unwrap().unwrap().get("n").unwrap()
}

struct Story {
    verifier: Client,
    store: String,
    voucher: String,
    last4: String,
    redemption: String,
}

/// A wrong code, a use, one too many, an undo, and the rest given back.
async fn story(app: &TestApp, customer: &Client) -> Story {
    let shop = app.shop(2, 2_001, None).await;
    let verifier = app.verifier(&[shop.store]).await;
    let bought = app.buy(customer, &shop, 1).await;
    let voucher = bought.vouchers[0].clone();
    let shown = app.voucher(customer, &voucher).await;
    let code = text(&shown["code"]).to_owned();
    let typed =
        |code: &str| json!({"store_id": shop.store, "device_id": "till-<1>", "input": {"code": code}});
    // A code that nobody has.
    let prepare = "/api/v1/staff/redemptions/prepare";
    let other = hexiao_core::code::VoucherCode::from_entropy([7; 16]).digits().to_owned();
    assert_eq!(verifier.post(prepare, typed(&other)).await.code(), "not_found");
    let done = verifier.redeem(app, customer, shop.store, &voucher, 1).await.expect(201);
    let prepared = verifier.prepare(shop.store, &shown["qr"]).await.expect(200);
    let too_many = verifier.confirm(shop.store, &prepared, &voucher, 2, &key()).await;
    assert_eq!(too_many.status, 409, "{}", too_many.body);
    let undo = format!("/api/v1/staff/redemptions/{}/reverse", text(&done["id"]));
    verifier.post_key(&undo, &key(), json!({"reason": "扫错了 <b>"})).await.expect(200);
    let again = verifier.redeem(app, customer, shop.store, &voucher, 1).await.expect(201);
    let asked = ask_refund(customer, &bought.order, Value::Null, &key()).await.expect(201);
    refund_in(&app.owner().await, text(&asked["id"]), "Succeeded").await;
    crate::snapshot::settled(app).await;
    let last4 = code[8..].to_owned();
    Story {
        verifier,
        store: shop.store.to_string(),
        voucher,
        last4,
        redemption: text(&again["id"]).to_owned(),
    }
}

on_both!(attempts_are_found_by_what_is_known_of_them, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("王小明").await);
    let s = story(&app, &customer).await;
    let verdicts = |rows: &[Value]| rows.iter().map(|r| text(&r["verdict"]).to_owned()).collect::<Vec<_>>();
    let all = search(&owner, MERCHANT, "verdict=all").await;
    assert_eq!(verdicts(&all), ["redeemed", "refused", "redeemed", "refused"]);
    assert_eq!(all[0]["redemption_id"], json!(s.redemption));
    assert_eq!(all[0]["items"][0]["voucher_id"], json!(s.voucher));
    assert!(all[0]["reason"].is_null() && all[1]["redemption_id"].is_null());
    assert_eq!((&all[1]["reason"], &all[1]["store_name"]), (&json!("not_enough_uses"), &json!("人民广场店")));
    assert_eq!((&all[3]["reason"], &all[3]["device"]), (&json!("not_found"), &json!("till-<1>")));
    assert_eq!(search(&s.verifier, STAFF, "verdict=all").await, all);
    for (query, expected) in [
        ("", 2),
        ("verdict=redeemed", 2),
        ("verdict=refused", 2),
        ("verdict=all&reason=not_found", 1),
        ("reason=used_up", 0),
        ("method=code", 1),
        ("verdict=all&method=qr", 3),
        ("verdict=all&from=2020-01-01T00:00:00Z", 4),
        ("verdict=all&to=2020-01-01T00:00:00Z", 0),
    ] {
        assert_eq!(search(&owner, MERCHANT, query).await.len(), expected, "{query}");
    }
    for (query, expected) in [
        (format!("verdict=all&voucher_id={}", s.voucher), 3),
        (format!("verdict=all&store_id={}", s.store), 4),
        (format!("verdict=all&verifier_id={}", s.verifier.id), 4),
        (format!("verdict=all&verifier_id={}", owner.id), 0),
        (format!("verdict=all&code_last4={}", s.last4), 3),
        (format!("verdict=all&code_last4={}", text(&all[3]["code_last4"])), 1),
    ] {
        assert_eq!(search(&owner, MERCHANT, &query).await.len(), expected, "{query}");
    }
    // Page by page it is the same list.
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = owner.get(&format!("{MERCHANT}?verdict=all&limit=1{cursor}")).await.expect(200);
        paged.extend(items(&page).clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);
    for (query, field) in [
        ("verdict=maybe", "verdict"),
        ("reason=because", "reason"),
        ("method=telepathy", "method"),
        ("code_last4=12a4", "code_last4"),
        ("voucher_id=1", "voucher_id"),
    ] {
        refused(&owner.get(&format!("{MERCHANT}?{query}")).await, 400, "invalid_field", field);
    }
    let elsewhere = app.verifier(&[app.store("二店").await]).await;
    assert_eq!(search(&elsewhere, STAFF, "verdict=all").await.len(), 0);
});

on_both!(an_evidence_sheet_tells_all_that_happened, |app| async {
    let (owner, customer) = (app.owner().await, app.customer("王小明").await);
    let s = story(&app, &customer).await;
    let path = format!("/api/v1/merchant/vouchers/{}/evidence", s.voucher);
    let sheet = owner.get(&path).await.expect(200);
    let facts = &sheet["facts"];
    assert_eq!(facts["voucher"]["code_last4"], json!(s.last4));
    assert_eq!((&facts["voucher"]["used"], &facts["voucher"]["refunded"]), (&json!(1), &json!(1)));
    assert_eq!(facts["complete"], true);
    let uses = facts["uses"].as_array().unwrap();
    assert_eq!(uses.len(), 2);
    assert_eq!((&uses[0]["state"], &uses[0]["reverse_reason"]), (&json!("Reversed"), &json!("扫错了 <b>")));
    assert_eq!((&uses[1]["state"], &uses[1]["verifier_id"]), (&json!("Done"), &json!(s.verifier.id)));
    assert_eq!(uses[1]["redemption_id"], json!(s.redemption));
    let attempts = facts["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0]["reason"], "not_enough_uses");
    assert!(text(&facts["payment"]["transaction_id"]).len() > 5 && facts["payment"]["state"] == "Succeeded");
    let refund = &facts["refunds"][0];
    assert!(text(&refund["out_refund_no"]).starts_with("rfd_") && refund["wechat_refund_id"].is_string());
    assert_eq!(facts["locks"][0]["serials"], json!([2]));
    let ledger: Vec<&str> =
        facts["transfers"].as_array().unwrap().iter().map(|t| text(&t["event"])).collect();
    for event in ["payment", "redemption", "reversal", "refund_submitted", "refund_succeeded"] {
        assert!(ledger.contains(&event), "{event}: {ledger:?}");
    }
    let events: Vec<&str> =
        facts["order_events"].as_array().unwrap().iter().map(|t| text(&t["event"])).collect();
    assert!(events.starts_with(&["create", "pay"]), "{events:?}");
    assert_eq!(facts["messages"].as_array().unwrap().len(), 6);
    // Nobody's name, number or code is on it but the staff's.
    let nickname = facts["order"]["customer"].as_str().unwrap();
    assert!(nickname.ends_with('*') && nickname.chars().count() <= 3, "{nickname}");
    let code = text(&app.voucher(&customer, &s.voucher).await["code"]).to_owned();
    assert!(!sheet.to_string().contains(&code), "the code is not printed");
    // The digest is of the facts, whoever prints them and when.
    let canonical = serde_json::to_string(facts).unwrap();
    let bytes = <sha2::Sha256 as sha2::Digest>::digest(canonical.as_bytes());
    let digest = bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat();
    assert_eq!(sheet["digest"], json!(digest));
    let manager = app.manager(&[hexiao_core::id::Id::parse(&s.store).unwrap()]).await;
    assert_eq!(manager.get(&path).await.expect(200)["digest"], json!(digest));
    assert_eq!(audited(&app).await, 2);

    let request = Request::get(format!("{path}.html"), owner.token.as_deref());
    let page = Wire::new(&app).send(request).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    for part in [&digest, "券码凭证单", "扫错了 &lt;b&gt;", "lang=\"zh-CN\"", "@media print", &s.redemption]
    {
        assert!(page.text.contains(part), "{part}");
    }
    for no in ["<script", "<b>", "http://", "https://", &code] {
        assert!(!page.text.contains(no), "{no}");
    }
    assert_eq!(audited(&app).await, 3);
    // Something more happened: another digest.
    let qr = app.voucher(&customer, &s.voucher).await["qr"].clone();
    let store = hexiao_core::id::Id::parse(&s.store).unwrap();
    let prepared = s.verifier.prepare(store, &qr).await.expect(200);
    s.verifier.confirm(store, &prepared, &s.voucher, 1, &key()).await;
    assert_ne!(owner.get(&path).await.expect(200)["digest"], json!(digest));

    let elsewhere = app.manager(&[app.store("二店").await]).await;
    assert_eq!(elsewhere.get(&path).await.status, 404);
    assert_eq!(app.other_owner().await.get(&path).await.status, 404);
    assert_eq!(s.verifier.get(&path).await.status, 403);
    assert_eq!(audited(&app).await, 4);
});
