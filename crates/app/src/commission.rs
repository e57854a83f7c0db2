//! The verifiers' commission 提成: its rules, and an entry for each use, counted behind the redemptions.
//!
//! A consumer of the outbox writes the entries, so that redeeming waits for nothing. A use counts by the rule that was
//! in force when it was redeemed, whenever that is; what the rule gave is kept with the entry.

use std::collections::{BTreeMap, BTreeSet};

use hexiao_core::catalog::Capability;
use hexiao_core::commission::{CommissionState, MAX_BASIS_POINTS, MAX_PER_USE_FEN, MAX_RULES, Terms};
use hexiao_core::id::{CommissionRuleId, Id as _, MerchantId, ProductId, RedemptionId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::commission::{self, Entry, Rule};
use hexiao_db::outbox::{self, Event};
use hexiao_db::used::{self, Used};
use hexiao_db::{Tx, audit, catalog, merchants, transact};
use serde_json::json;

use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::new_id;

/// The name under which commission keeps its position in the outbox.
pub(crate) const CONSUMER: &str = "commission";
const BATCH: u32 = 500;

const REDEEMED: &str = "redemption.created";
const REVERSED: &str = "redemption.reversed";

impl App {
    /// Counts what was redeemed and undone; how many outbox rows were read. Called by the worker until it answers 0.
    pub async fn count_commission(&self) -> Result<usize> {
        if !outbox::any_new(self.db.reader(), CONSUMER).await? {
            return Ok(0);
        }
        let counted: Result<(usize, u64)> = transact!(self.db, |tx| count(self, &tx));
        let (read, changed) = counted?;
        if changed > 0 {
            self.hold_at("commission.after_commit").await;
        }
        Ok(read)
    }

    /// Marks what can't be undone any more; how much there was.
    pub async fn mature_commission(&self) -> Result<usize> {
        let now = self.now();
        if !commission::any_mature(self.db.reader(), now).await? {
            return Ok(0);
        }
        let matured: Result<u64> =
            transact!(self.db, |tx| async { Ok::<_, AppError>(commission::mature(&tx, now, BATCH).await?) });
        Ok(usize::try_from(matured?).unwrap_or(usize::MAX))
    }

    /// Puts a rule in force, in the place of the one for the same products.
    pub async fn set_commission_rule(
        &self,
        by: &StaffPrincipal,
        product_id: Option<ProductId>,
        terms: Terms,
    ) -> Result<Rule> {
        by.require(Capability::ManageCommission)?;
        if terms.basis_points > MAX_BASIS_POINTS {
            return Err(Refusal::field("basis_points", "应为 0–10000（万分比）").into());
        }
        if !(0..=MAX_PER_USE_FEN).contains(&terms.per_use.as_fen()) {
            return Err(Refusal::field("per_use_fen", "应为 0–100000 分").into());
        }
        transact!(self.db, |tx| set(self, &tx, by, product_id, terms))
    }

    /// Ends a rule. What was redeemed before keeps what it earned.
    pub async fn end_commission_rule(&self, by: &StaffPrincipal, id: CommissionRuleId) -> Result<()> {
        by.require(Capability::ManageCommission)?;
        transact!(self.db, |tx| end(self, &tx, by, id))
    }
}

/// The redemptions that rows of one merchant and topic are about.
fn subjects(events: &[Event], merchant: MerchantId, topic: &str) -> Vec<RedemptionId> {
    let of = |e: &&Event| e.merchant_id == merchant && e.topic == topic;
    let ids: BTreeSet<_> = events.iter().filter(of).map(|e| RedemptionId::from_uuid(e.subject_id)).collect();
    ids.into_iter().collect()
}

async fn count(app: &App, tx: &Tx) -> Result<(usize, u64)> {
    let events = outbox::take(tx, CONSUMER, BATCH).await?;
    let ours = |e: &&Event| e.topic == REDEEMED || e.topic == REVERSED;
    let merchants: BTreeSet<MerchantId> = events.iter().filter(ours).map(|e| e.merchant_id).collect();
    if merchants.is_empty() {
        return Ok((events.len(), 0));
    }
    let mut changed = 0;
    for merchant_id in commission::merchants_with_rules(tx, &Vec::from_iter(merchants)).await? {
        let merchant = MerchantScope::of_system(merchant_id);
        let redeemed = subjects(&events, merchant_id, REDEEMED);
        let entries = entries(tx, merchant, &redeemed).await?;
        changed += commission::insert_entries(tx, &entries).await?;
        let reversed = subjects(&events, merchant_id, REVERSED);
        changed += commission::reverse(tx, merchant, &reversed).await?;
    }
    if changed > 0 {
        app.hold_at("commission.before_commit").await;
    }
    Ok((events.len(), changed))
}

/// What the uses of some redemptions earned by the rules of their time. Those that were undone meanwhile too: the row
/// that tells of it comes later.
async fn entries(tx: &Tx, merchant: MerchantScope, redemptions: &[RedemptionId]) -> Result<Vec<Entry>> {
    let uses = used::of_redemptions(tx, merchant, redemptions).await?;
    let Some(first) = uses.iter().map(|u| u.at).min() else { return Ok(Vec::new()) };
    let mut rules: BTreeMap<Option<ProductId>, Vec<Rule>> = BTreeMap::new();
    for rule in commission::rules_since(tx, merchant, first).await? {
        rules.entry(rule.product_id).or_default().push(rule);
    }
    let in_force = |product: Option<ProductId>, at: Timestamp| {
        let of = rules.get(&product)?;
        of.iter().find(|r| r.started_at <= at && r.ended_at.is_none_or(|end| at < end))
    };
    let entry = |u: &Used| {
        let rule = in_force(Some(u.product_id), u.at).or_else(|| in_force(None, u.at))?;
        Some(Entry {
            merchant_id: merchant.merchant_id(),
            use_id: u.id,
            redemption_id: u.redemption_id,
            store_id: u.store_id,
            staff_id: u.staff_id,
            product_id: u.product_id,
            rule_id: rule.id,
            terms: rule.terms,
            worth: u.worth,
            amount: rule.terms.commission(u.worth),
            state: CommissionState::Pending,
            business_date: u.business_date,
            matures_at: u.matures_at,
            at: u.at,
        })
    };
    Ok(uses.iter().filter_map(entry).collect())
}

fn seen(rule: &Rule) -> serde_json::Value {
    json!({
        "product": rule.product_id, "basis_points": rule.terms.basis_points, "per_use_fen": rule.terms.per_use,
    })
}

async fn set(
    app: &App,
    tx: &Tx,
    by: &StaffPrincipal,
    product_id: Option<ProductId>,
    terms: Terms,
) -> Result<Rule> {
    let merchant = by.merchant();
    merchants::lock(tx, merchant).await?;
    // Read behind the lock, so that rules follow each other without a gap.
    let now = app.now();
    if let Some(product) = product_id {
        let found = catalog::get(tx, &by.scope, product).await?;
        found.ok_or_else(|| Refusal::field("product_id", "没有这个商品"))?;
    }
    let rules = commission::rules_since(tx, merchant, now).await?;
    let before = rules.iter().find(|r| r.product_id == product_id && r.ended_at.is_none());
    if let Some(same) = before.filter(|rule| rule.terms == terms) {
        return Ok(same.clone());
    }
    if before.is_none() && rules.len() >= MAX_RULES {
        let text = format!("最多 {MAX_RULES} 条提成规则，请先停用不用的");
        return Err(Refusal::with_message(Reason::IllegalState, text).into());
    }
    if let Some(before) = before {
        commission::end_rule(tx, merchant, before.id, now).await?;
    }
    let rule = Rule { id: new_id(), product_id, terms, started_at: now, ended_at: None };
    commission::insert_rule(tx, merchant, &rule).await?;
    let detail = json!({"before": before.map(seen), "after": seen(&rule)});
    let id = rule.id.to_string();
    audit::record(tx, merchant, Some(by.staff_id), "commission_rule.set", &id, &detail, now).await?;
    Ok(rule)
}

async fn end(app: &App, tx: &Tx, by: &StaffPrincipal, id: CommissionRuleId) -> Result<()> {
    let merchant = by.merchant();
    merchants::lock(tx, merchant).await?;
    let now = app.now();
    if !commission::end_rule(tx, merchant, id, now).await? {
        return Err(Reason::NotFound.into());
    }
    let detail = json!({});
    Ok(audit::record(tx, merchant, Some(by.staff_id), "commission_rule.end", &id.to_string(), &detail, now)
        .await?)
}
