//! Redemption rules: immutable, addressed by their content, never deleted.

use hexiao_core::rule::RedemptionRule;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;

use crate::pool::{Conn, DbError, Result, Tx};
use crate::row::json_text;
use crate::{new_row, params, sql};

/// Stores a rule under the id its content has (the caller computes it); one that is there already stays as it is.
pub async fn put_rule(
    tx: &Tx,
    merchant: MerchantScope,
    id: i64,
    rule: &RedemptionRule,
    now: Timestamp,
) -> Result<()> {
    let body = json_text(rule);
    let row = new_row! { merchant_id: merchant.merchant_id(), id: id, body: &body, created_at: now };
    let conflict = "ON CONFLICT (merchant_id, id) DO NOTHING";
    if sql::insert_with(tx, "redemption_rules", vec![row], conflict).await? == 1 {
        return Ok(());
    }
    let text = "SELECT body FROM redemption_rules WHERE merchant_id = $1 AND id = $2";
    let stored: Option<String> =
        sql::row(tx, text, params![merchant.merchant_id(), id]).await?.map(|r| r.get("body")).transpose()?;
    match stored {
        Some(stored) if stored == body => Ok(()),
        _ => Err(DbError::Corrupt {
            column: "redemption_rules.id".to_owned(),
            detail: format!("{id} stands for another rule"),
        }),
    }
}

/// Rules by their ids.
pub async fn rules(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[i64],
) -> Result<Vec<(i64, RedemptionRule)>> {
    let mut values = params![merchant.merchant_id()];
    values.push(sql::json_rows(&ids.iter().map(|id| serde_json::json!({ "id": id })).collect::<Vec<_>>()));
    let wanted = sql::json_table(c, 2, "q", &[("id", sql::JsonType::Int)]);
    let text = format!(
        "SELECT r.id, r.body FROM redemption_rules r WHERE r.merchant_id = $1 AND r.id IN (SELECT q.id FROM {wanted})
         ORDER BY r.id"
    );
    sql::rows(c, &text, values).await?.iter().map(|r| Ok((r.get("id")?, r.json("body")?))).collect()
}
