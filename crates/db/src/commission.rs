//! The verifiers' commission: rules, and one entry for each use that was redeemed while a rule was in force.

use hexiao_core::commission::{CommissionState, Terms};
use hexiao_core::id::{CommissionRuleId, MerchantId, ProductId, RedemptionId, StaffId, StoreId, UseId};
use hexiao_core::money::Money;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::{BusinessDate, Timestamp};

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Param as _, Row};
use crate::sql::{for_update, id_set, in_ids};
use crate::{new_row, params, sql};

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its id.
    pub id: CommissionRuleId,
    /// For which product; none: for all that have no rule of their own.
    pub product_id: Option<ProductId>,
    /// What it gives.
    pub terms: Terms,
    /// In force from (included).
    pub started_at: Timestamp,
    /// In force to (excluded).
    pub ended_at: Option<Timestamp>,
}

impl FromRow for Rule {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            product_id: row.get("product_id")?,
            terms: terms(row)?,
            started_at: row.get("started_at")?,
            ended_at: row.get("ended_at")?,
        })
    }
}

fn terms(row: &Row) -> Result<Terms> {
    Ok(Terms { basis_points: row.get("basis_points")?, per_use: row.get("per_use_fen")? })
}

/// Adds a rule.
pub async fn insert_rule(tx: &Tx, merchant: MerchantScope, rule: &Rule) -> Result<()> {
    let row = new_row! {
        merchant_id: merchant.merchant_id(), id: rule.id, product_id: rule.product_id, basis_points: rule.terms.basis_points,
        per_use_fen: rule.terms.per_use, started_at: rule.started_at,
    };
    sql::insert_one(tx, "commission_rules", row).await
}

/// Ends a rule that is in force; whether there was one to end.
pub async fn end_rule(
    tx: &Tx,
    merchant: MerchantScope,
    id: CommissionRuleId,
    now: Timestamp,
) -> Result<bool> {
    let text =
        "UPDATE commission_rules SET ended_at = $3 WHERE merchant_id = $1 AND id = $2 AND ended_at IS NULL";
    Ok(sql::execute(tx, text, params![merchant.merchant_id(), id, now]).await? == 1)
}

/// A merchant's rules, newest first, also those that ended.
pub async fn rules(c: &impl Conn, merchant: MerchantScope, page: &PageRequest) -> Result<Page<Rule>> {
    let (at, id) = page.bounds();
    let text = "SELECT * FROM commission_rules WHERE merchant_id = $1 AND (started_at < $2 OR (started_at = $2 AND id < $3))
                ORDER BY started_at DESC, id DESC LIMIT $4";
    let items = sql::list(c, text, params![merchant.merchant_id(), at, id, page.fetch()]).await?;
    Ok(Page::new(items, page, |r: &Rule| Cursor { at: r.started_at, id: r.id.into() }))
}

/// The rules of a merchant that were in force at an instant or at any time after it.
pub async fn rules_since(c: &impl Conn, merchant: MerchantScope, since: Timestamp) -> Result<Vec<Rule>> {
    let text =
        "SELECT * FROM commission_rules WHERE merchant_id = $1 AND (ended_at IS NULL OR ended_at > $2)";
    sql::list(c, text, params![merchant.merchant_id(), since]).await
}

/// Those of some merchants that ever had a rule. Locks them all: a rule that is being written is waited for, and one
/// that comes after is not in force yet for what the caller has read.
pub async fn merchants_with_rules(tx: &Tx, merchants: &[MerchantId]) -> Result<Vec<MerchantId>> {
    let text = format!(
        "SELECT m.id FROM merchants m WHERE m.id {} ORDER BY m.id{}",
        in_ids(tx, 1),
        for_update(tx, "m")
    );
    sql::rows(tx, &text, vec![id_set(merchants)]).await?;
    let text = format!(
        "SELECT m.id FROM merchants m WHERE m.id {} AND EXISTS (SELECT 1 FROM commission_rules r WHERE r.merchant_id = m.id)",
        in_ids(tx, 1)
    );
    let rows = sql::rows(tx, &text, vec![id_set(merchants)]).await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// What a use earned.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// For which use.
    pub use_id: UseId,
    /// In which redemption.
    pub redemption_id: RedemptionId,
    /// Where.
    pub store_id: StoreId,
    /// For whom.
    pub staff_id: StaffId,
    /// Of what.
    pub product_id: ProductId,
    /// By which rule.
    pub rule_id: CommissionRuleId,
    /// What the rule gave then.
    pub terms: Terms,
    /// What the use was worth.
    pub worth: Money,
    /// What it earned.
    pub amount: Money,
    /// Where it is.
    pub state: CommissionState,
    /// On which business day.
    pub business_date: BusinessDate,
    /// When the use can't be undone any more.
    pub matures_at: Timestamp,
    /// When the use was redeemed.
    pub at: Timestamp,
}

/// Adds entries; one that is there already is left alone.
pub async fn insert_entries(tx: &Tx, entries: &[Entry]) -> Result<u64> {
    let row = |e: &Entry| {
        new_row! {
            merchant_id: e.merchant_id, use_id: e.use_id, redemption_id: e.redemption_id, store_id: e.store_id, staff_id: e.staff_id,
            product_id: e.product_id, rule_id: e.rule_id, basis_points: e.terms.basis_points, per_use_fen: e.terms.per_use,
            worth_fen: e.worth, amount_fen: e.amount, state: e.state, business_date: e.business_date, matures_at: e.matures_at,
            created_at: e.at,
        }
    };
    let conflict = "ON CONFLICT (merchant_id, use_id) DO NOTHING";
    sql::insert_with(tx, "commission_entries", entries.iter().map(row).collect(), conflict).await
}

/// Reverses the entries of those uses of some redemptions that were undone; how many.
pub async fn reverse(tx: &Tx, merchant: MerchantScope, redemptions: &[RedemptionId]) -> Result<u64> {
    if redemptions.is_empty() {
        return Ok(0);
    }
    let text = format!(
        "UPDATE commission_entries SET state = 'Reversed', reversed_at = (SELECT u.reversed_at FROM uses u
           WHERE u.merchant_id = commission_entries.merchant_id AND u.id = commission_entries.use_id)
         WHERE merchant_id = $1 AND redemption_id {} AND state IN ('Pending', 'Matured') AND EXISTS (SELECT 1 FROM uses u
           WHERE u.merchant_id = commission_entries.merchant_id AND u.id = commission_entries.use_id AND u.state = 'Reversed')",
        in_ids(tx, 2)
    );
    sql::execute(tx, &text, vec![merchant.merchant_id().value(), id_set(redemptions)]).await
}

/// Whether entries have matured and do not say so.
pub async fn any_mature(c: &impl Conn, now: Timestamp) -> Result<bool> {
    let text = "SELECT use_id FROM commission_entries WHERE state = 'Pending' AND matures_at <= $1 LIMIT 1";
    Ok(sql::row(c, text, params![now]).await?.is_some())
}

/// Marks some entries as matured whose time has come; how many.
pub async fn mature(tx: &Tx, now: Timestamp, limit: u32) -> Result<u64> {
    let text = format!(
        "UPDATE commission_entries SET state = 'Matured' WHERE state = 'Pending' AND (merchant_id, use_id) IN
           (SELECT merchant_id, use_id FROM commission_entries WHERE state = 'Pending' AND matures_at <= $1
            ORDER BY matures_at LIMIT $2 {})",
        sql::skip_locked(tx)
    );
    sql::execute(tx, &text, params![now, limit]).await
}

/// Sums of one verifier's entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Uses that stand.
    pub uses: i64,
    /// What they were worth.
    pub worth: Money,
    /// Earned, and still to be undone.
    pub pending: Money,
    /// Earned for good.
    pub matured: Money,
    /// Uses that were undone.
    pub reversed_uses: i64,
    /// What those would have earned.
    pub reversed: Money,
}

impl FromRow for Sums {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            uses: row.get("uses")?,
            worth: row.get("worth_fen")?,
            pending: row.get("pending_fen")?,
            matured: row.get("matured_fen")?,
            reversed_uses: row.get("reversed_uses")?,
            reversed: row.get("reversed_fen")?,
        })
    }
}

const SUMS: &str = "COUNT(CASE WHEN state <> 'Reversed' THEN 1 END) AS uses,
    CAST(SUM(CASE WHEN state <> 'Reversed' THEN worth_fen ELSE 0 END) AS BIGINT) AS worth_fen,
    CAST(SUM(CASE WHEN state = 'Pending' THEN amount_fen ELSE 0 END) AS BIGINT) AS pending_fen,
    CAST(SUM(CASE WHEN state = 'Matured' THEN amount_fen ELSE 0 END) AS BIGINT) AS matured_fen,
    COUNT(CASE WHEN state = 'Reversed' THEN 1 END) AS reversed_uses,
    CAST(SUM(CASE WHEN state = 'Reversed' THEN amount_fen ELSE 0 END) AS BIGINT) AS reversed_fen";

/// Days of business, the last one included.
#[derive(Debug, Clone, Copy)]
pub struct Days {
    /// The first.
    pub from: BusinessDate,
    /// The last.
    pub to: BusinessDate,
}

/// How sums over time are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `2026-11-23`.
    Day,
    /// `2026-11`.
    Month,
}

/// One verifier's sums by day or month, the newest first.
pub async fn of_staff(
    c: &impl Conn,
    merchant: MerchantScope,
    staff: StaffId,
    days: Days,
    by: By,
) -> Result<Vec<(String, Sums)>> {
    let period = match by {
        By::Day => "business_date",
        By::Month => "substr(business_date, 1, 7)",
    };
    let text = format!(
        "SELECT {period} AS period, {SUMS} FROM commission_entries
         WHERE merchant_id = $1 AND staff_id = $2 AND business_date >= $3 AND business_date <= $4
         GROUP BY {period} ORDER BY period DESC"
    );
    let rows = sql::rows(c, &text, params![merchant.merchant_id(), staff, days.from, days.to]).await?;
    rows.iter().map(|row| Ok((row.get("period")?, Sums::from_row(row)?))).collect()
}

/// The sums of several verifiers.
pub async fn by_staff(
    c: &impl Conn,
    merchant: MerchantScope,
    staff: &[StaffId],
    days: Days,
) -> Result<Vec<(StaffId, Sums)>> {
    let text = format!(
        "SELECT staff_id, {SUMS} FROM commission_entries
         WHERE merchant_id = $1 AND staff_id {} AND business_date >= $3 AND business_date <= $4 GROUP BY staff_id",
        in_ids(c, 2)
    );
    let values = vec![merchant.merchant_id().value(), id_set(staff), days.from.value(), days.to.value()];
    let rows = sql::rows(c, &text, values).await?;
    rows.iter().map(|row| Ok((row.get("staff_id")?, Sums::from_row(row)?))).collect()
}
