//! What customers agree to: read by anybody, edited by the owner, every version kept.

use hexiao_core::catalog::Role;
use hexiao_db::{params, sql};
use hexiao_testkit::{Answer, Client, TestApp, on_both};
use serde_json::{Value, json};

use crate::products::refused;
use crate::steps::{items, text};
use crate::wire::{Request, Wire};

const KINDS: [(&str, &str); 4] = [
    ("user_agreement", "用户协议"),
    ("privacy_policy", "隐私政策"),
    ("redemption_rules", "核销规则"),
    ("after_sales_policy", "售后政策"),
];

/// Where the texts of somebody's merchant are read.
async fn public(owner: &Client) -> String {
    let me = owner.get("/api/v1/auth/me").await.expect(200);
    format!("/api/v1/customer/merchants/{}/agreements", text(&me["staff"]["merchant_id"]))
}

fn own(kind: &str) -> String {
    format!("/api/v1/merchant/agreements/{kind}")
}

async fn publish(owner: &Client, kind: &str, body: Value) -> Answer {
    owner.put(&own(kind), body).await
}

async fn count(app: &TestApp, from: &str) -> i64 {
    let row = sql::row(app.app.db.reader(), &format!("SELECT COUNT(*) AS n FROM {from}"), params![]).await;
    row.unwrap().unwrap().get("n").unwrap()
}

on_both!(anybody_reads_them_and_may_keep_them_a_while, |app| async {
    let all = public(&app.owner().await).await;
    let wire = Wire::new(&app);
    let list = wire.send(Request::get(&all, None)).await;
    assert_eq!((list.status, list.header("cache-control")), (200, "public, max-age=60"), "{}", list.text);
    let shown: Vec<_> = items(&list.body).iter().map(|i| (text(&i["kind"]), text(&i["title"]))).collect();
    assert_eq!(shown, KINDS);
    assert!(items(&list.body).iter().all(|i| i["version"] == 1 && i.get("body").is_none()), "{}", list.text);
    for (kind, title) in KINDS {
        let one = wire.send(Request::get(format!("{all}/{kind}"), None)).await;
        assert_eq!((one.status, one.header("cache-control")), (200, "public, max-age=60"), "{}", one.text);
        assert_eq!((&one.body["kind"], &one.body["title"]), (&json!(kind), &json!(title)));
        assert!(text(&one.body["body"]).contains("老王火锅"), "{}", one.text);
        assert!(text(&one.body["updated_at"]).starts_with("20"), "{}", one.text);
    }
    let anonymous = app.anonymous();
    refused(&anonymous.get(&format!("{all}/imprint")).await, 404, "not_found", "");
    let nobody = "/api/v1/customer/merchants/mch_00000000000000000000000007/agreements";
    refused(&anonymous.get(nobody).await, 404, "not_found", "");
    refused(&anonymous.get(&format!("{nobody}/privacy_policy")).await, 404, "not_found", "");
});

on_both!(an_edit_is_a_new_version_of_the_owners, |app| async {
    let (owner, other) = (app.owner().await, app.other_owner().await);
    let anonymous = app.anonymous();
    let (mine, theirs) = (public(&owner).await, public(&other).await);
    let before = anonymous.get(&format!("{theirs}/privacy_policy")).await.expect(200);
    let body = "# 隐私政策\r\n\r\n我们只保存 <手机号>。\n";
    let edited = publish(&owner, "privacy_policy", json!({"version": 1, "body": body})).await.expect(200);
    assert_eq!(edited["version"], 2);
    assert_eq!(edited["body"], "# 隐私政策\n\n我们只保存 <手机号>。", "plain text, as it was written");
    assert_eq!(owner.get(&own("privacy_policy")).await.expect(200), edited);
    assert_eq!(anonymous.get(&format!("{mine}/privacy_policy")).await.expect(200), edited);
    assert_eq!(anonymous.get(&format!("{theirs}/privacy_policy")).await.expect(200), before);
    let list = anonymous.get(&mine).await.expect(200);
    let versions: Vec<_> = items(&list).iter().map(|i| i["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, [1, 2, 1, 1]);

    // The same again is no new version; an edit of an old one is refused.
    let again = publish(&owner, "privacy_policy", json!({"body": body})).await.expect(200);
    assert_eq!(again["version"], 2);
    let stale = publish(&owner, "privacy_policy", json!({"version": 1, "body": "另一份"})).await;
    refused(&stale, 409, "stale", "");
    for wrong in ["", " \n ", "隐\u{202E}私", "隐\u{0}私", &"长".repeat(50_001)] {
        let answer = publish(&owner, "privacy_policy", json!({"body": wrong})).await;
        refused(&answer, 400, "invalid_field", "body");
    }
    publish(&owner, "privacy_policy", json!({"body": "长".repeat(50_000)})).await.expect(200);
    refused(&publish(&owner, "imprint", json!({"body": "x"})).await, 404, "not_found", "");
    for role in [Role::Operator, Role::Finance] {
        let staff = app.staff(role, &[]).await;
        refused(&publish(&staff, "privacy_policy", json!({"body": "x"})).await, 403, "forbidden", "");
    }
    assert_eq!(
        count(&app, "agreements WHERE kind = 'privacy_policy'").await,
        4,
        "three of ours, one of theirs"
    );
    assert_eq!(count(&app, "audit_log WHERE action = 'agreement.publish'").await, 2);
});

on_both!(edits_at_once_are_versions_one_after_the_other, |app| async {
    let owner = app.owner().await;
    let edits = (0..12).map(|n| {
        let owner = owner.clone();
        async move { publish(&owner, "redemption_rules", json!({"body": format!("第 {n} 份")})).await }
    });
    let mut versions: Vec<i64> = Vec::new();
    for answer in futures::future::join_all(edits).await {
        versions.push(answer.expect(200)["version"].as_i64().unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..=13).collect::<Vec<_>>());
});
