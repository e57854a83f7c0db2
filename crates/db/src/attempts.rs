//! The search over everything that was tried with vouchers: what was refused, and what was redeemed.

use std::cmp::Reverse;

use hexiao_core::id::{Id as _, RedemptionId, StaffId, StoreId, VoucherId};
use hexiao_core::reason::Reason;
use hexiao_core::scope::{StoreScope, Stores};
use hexiao_core::time::Timestamp;
use sea_orm::Value;
use uuid::Uuid;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result};
use crate::redemptions::Method;
use crate::row::{FromRow, Param as _, Row};
use crate::sql::{id_set, in_ids};
use crate::{params, sql};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing happened.
    Refused,
    /// Uses were redeemed.
    Redeemed,
}

/// What the search is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One way to end; both when not given.
    pub verdict: Option<Verdict>,
    /// One store.
    pub store_id: Option<StoreId>,
    /// One member of staff.
    pub verifier_id: Option<StaffId>,
    /// One voucher.
    pub voucher_id: Option<VoucherId>,
    /// One reason; only what was refused has one.
    pub reason: Option<Reason>,
    /// One way to show the voucher.
    pub method: Option<Method>,
    /// The last digits of a code, typed or the voucher's.
    pub code_last4: Option<String>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// An attempt as it is shown.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    /// Its id; of what was redeemed the redemption's.
    pub id: Uuid,
    /// How it ended.
    pub verdict: Verdict,
    /// Where.
    pub store_id: StoreId,
    /// The store's name.
    pub store_name: String,
    /// By whom.
    pub staff_id: StaffId,
    /// Their name.
    pub staff_name: String,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// At which step.
    pub step: String,
    /// How the voucher was shown.
    pub method: String,
    /// Which voucher, if it was found. What was redeemed names its vouchers by itself.
    pub voucher_id: Option<VoucherId>,
    /// The last digits typed or shown.
    pub code_last4: Option<String>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// Why, in words.
    pub message: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl AttemptRow {
    /// The redemption, if it is one.
    pub fn redemption_id(&self) -> Option<RedemptionId> {
        (self.verdict == Verdict::Redeemed).then(|| RedemptionId::from_uuid(self.id))
    }
}

impl FromRow for AttemptRow {
    fn from_row(row: &Row) -> Result<Self> {
        let reason: Option<String> = row.get("reason")?;
        Ok(Self {
            id: row.get("id")?,
            verdict: if reason.is_some() { Verdict::Refused } else { Verdict::Redeemed },
            store_id: row.get("store_id")?,
            store_name: row.get("store_name")?,
            staff_id: row.get("staff_id")?,
            staff_name: row.get("staff_name")?,
            device: row.get("device")?,
            step: row.get("step")?,
            method: row.get("method")?,
            voucher_id: row.get("voucher_id")?,
            code_last4: row.get("code_last4")?,
            reason,
            message: row.get("message")?,
            at: row.get("at")?,
        })
    }
}

/// Conditions and their values, numbered after those that every statement has.
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    fn and(&mut self, text: &str, value: Value) {
        self.values.push(value);
        self.text.push_str(&format!(" AND {}", text.replace('?', &format!("${}", self.values.len()))));
    }
}

/// What both kinds of rows are narrowed by, in the words of one: the columns of time, staff and store.
fn common(c: &impl Conn, scope: &StoreScope, filter: &Filter, page: &PageRequest, at: &str) -> Conditions {
    let (before, id) = page.bounds();
    let mut conditions = Conditions {
        text: format!("x.merchant_id = $1 AND (x.{at} < $2 OR (x.{at} = $2 AND x.id < $3))"),
        values: params![scope.merchant_id(), before, id, page.fetch()],
    };
    if let Some(store) = filter.store_id {
        conditions.and("x.store_id = ?", store.value());
    }
    if let Some(verifier) = filter.verifier_id {
        conditions.and("x.staff_id = ?", verifier.value());
    }
    if let Some(method) = filter.method {
        conditions.and("x.method = ?", method.as_str().value());
    }
    if let Some(from) = filter.from {
        conditions.and(&format!("x.{at} >= ?"), from.value());
    }
    if let Some(to) = filter.to {
        conditions.and(&format!("x.{at} < ?"), to.value());
    }
    if let Stores::Only(ids) = scope.stores() {
        conditions.values.push(id_set(ids));
        let within = in_ids(c, conditions.values.len());
        conditions.text.push_str(&format!(" AND x.store_id {within}"));
    }
    conditions
}

async fn refused(
    c: &impl Conn,
    scope: &StoreScope,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Vec<AttemptRow>> {
    let mut conditions = common(c, scope, filter, page, "at");
    if let Some(voucher) = filter.voucher_id {
        conditions.and("x.voucher_id = ?", voucher.value());
    }
    if let Some(reason) = filter.reason {
        conditions.and("x.reason = ?", reason.code().value());
    }
    if let Some(last4) = &filter.code_last4 {
        let of_voucher = "SELECT v.id FROM vouchers v WHERE v.merchant_id = $1 AND v.code_last4 = ?";
        conditions.and(&format!("(x.code_last4 = ? OR x.voucher_id IN ({of_voucher}))"), last4.value());
    }
    let text = format!(
        "SELECT x.*, s.name AS store_name, t.name AS staff_name FROM redemption_attempts x
         JOIN stores s ON s.merchant_id = x.merchant_id AND s.id = x.store_id
         JOIN staff t ON t.merchant_id = x.merchant_id AND t.id = x.staff_id
         WHERE {} ORDER BY x.at DESC, x.id DESC LIMIT $4",
        conditions.text
    );
    sql::list(c, &text, conditions.values).await
}

async fn redeemed(
    c: &impl Conn,
    scope: &StoreScope,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Vec<AttemptRow>> {
    let mut conditions = common(c, scope, filter, page, "recorded_at");
    if let Some(voucher) = filter.voucher_id {
        let uses = "SELECT u.redemption_id FROM uses u WHERE u.merchant_id = $1 AND u.voucher_id = ?";
        conditions.and(&format!("x.id IN ({uses})"), voucher.value());
    }
    if let Some(last4) = &filter.code_last4 {
        let uses = "SELECT u.redemption_id FROM vouchers v JOIN uses u ON u.merchant_id = v.merchant_id AND u.voucher_id = v.id
                    WHERE v.merchant_id = $1 AND v.code_last4 = ?";
        conditions.and(&format!("x.id IN ({uses})"), last4.value());
    }
    let text = format!(
        "SELECT x.id, x.store_id, s.name AS store_name, x.staff_id, x.staff_name, x.device, 'confirm' AS step, x.method,
           CAST(NULL AS UUID) AS voucher_id, CAST(NULL AS TEXT) AS code_last4, CAST(NULL AS TEXT) AS reason,
           CAST(NULL AS TEXT) AS message, x.recorded_at AS at
         FROM redemptions x JOIN stores s ON s.merchant_id = x.merchant_id AND s.id = x.store_id
         WHERE {} ORDER BY x.recorded_at DESC, x.id DESC LIMIT $4",
        conditions.text
    );
    sql::list(c, &text, conditions.values).await
}

/// What was tried in the stores in scope, newest first.
pub async fn search(
    c: &impl Conn,
    scope: &StoreScope,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<AttemptRow>> {
    let mut items = Vec::new();
    if filter.verdict != Some(Verdict::Redeemed) {
        items.extend(refused(c, scope, filter, page).await?);
    }
    if filter.verdict != Some(Verdict::Refused) && filter.reason.is_none() {
        items.extend(redeemed(c, scope, filter, page).await?);
    }
    // Each came in this order; together they are sorted once more, and what is too much falls behind the page.
    items.sort_by_key(|row| Reverse((row.at, row.id)));
    Ok(Page::new(items, page, |row: &AttemptRow| Cursor { at: row.at, id: row.id }))
}
