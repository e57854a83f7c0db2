//! Redemption rules: immutable, addressed by their content, never deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use hexiao_core::id::MerchantId;
use hexiao_core::rule::RedemptionRule;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use moka::sync::Cache;

use crate::pool::{Conn, DbError, Result, Tx};
use crate::row::{Param as _, json_text};
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

/// Rules that were read, by merchant and id. Their ids are their contents: what is remembered cannot become wrong.
static READ: LazyLock<Cache<(MerchantId, i64), Arc<RedemptionRule>>> =
    LazyLock::new(|| Cache::builder().max_capacity(20_000).build());

/// Rules by their ids; only those are read that this process has not seen yet.
pub async fn rules(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Arc<RedemptionRule>>> {
    let of = merchant.merchant_id();
    let mut rules = BTreeMap::new();
    let mut unseen = BTreeSet::new();
    for id in ids {
        match READ.get(&(of, id)) {
            Some(rule) => drop(rules.insert(id, rule)),
            None => drop(unseen.insert(id)),
        }
    }
    if unseen.is_empty() {
        return Ok(rules);
    }
    let wanted = sql::json_table(c, 2, "q", &[("id", sql::JsonType::Int)]);
    let text = format!(
        "SELECT r.id, r.body FROM {wanted} JOIN redemption_rules r ON r.merchant_id = q.merchant_id AND r.id = q.id"
    );
    let unseen: Vec<_> = unseen.iter().map(|id| serde_json::json!({ "id": id })).collect();
    for row in sql::rows(c, &text, vec![of.value(), sql::json_rows(&unseen)]).await? {
        let (id, rule) = (row.get("id")?, Arc::new(row.json("body")?));
        READ.insert((of, id), Arc::clone(&rule));
        rules.insert(id, rule);
    }
    Ok(rules)
}
