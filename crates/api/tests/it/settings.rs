//! How the merchant as a whole works: set by its owner, written down.

use hexiao_core::catalog::Role;
use hexiao_db::sql;
use hexiao_testkit::{TestApp, on_both};
use serde_json::json;

use crate::products::refused;

const SETTINGS: &str = "/api/v1/merchant/settings";

async fn audited(app: &TestApp) -> Vec<String> {
    let text = "SELECT detail FROM audit_log WHERE action = 'settings.edit' ORDER BY id";
    let rows = sql::rows(app.app.db.reader(), text, vec![]).await.unwrap();
    rows.iter().map(|r| r.get("detail").unwrap()).collect()
}

on_both!(the_owner_sets_how_long_refunds_wait, |app| async {
    let owner = app.owner().await;
    assert_eq!(
        owner.get(SETTINGS).await.expect(200),
        json!({"name": "老王火锅", "refund_hold_s": 0, "require_device": false, "offline_uses": 20, "offline_amount_fen": 50_000})
    );
    let after = owner.patch(SETTINGS, json!({"refund_hold_s": 600})).await.expect(200);
    assert_eq!(after["refund_hold_s"], 600);
    // The same again, and nothing at all, change nothing.
    owner.patch(SETTINGS, json!({"refund_hold_s": 600})).await.expect(200);
    assert_eq!(owner.patch(SETTINGS, json!({})).await.expect(200)["refund_hold_s"], 600);
    assert_eq!(audited(&app).await, [r#"{"refund_hold_s":[0,600]}"#]);
    for wrong in [json!(-1), json!(3601)] {
        refused(&owner.patch(SETTINGS, json!({"refund_hold_s": wrong})).await, 400, "invalid_field", "");
    }
    let operator = app.staff(Role::Operator, &[]).await;
    refused(&operator.patch(SETTINGS, json!({"refund_hold_s": 0})).await, 403, "forbidden", "");
    let stranger = app.other_owner().await;
    assert_eq!(stranger.get(SETTINGS).await.expect(200)["refund_hold_s"], 0);
});
