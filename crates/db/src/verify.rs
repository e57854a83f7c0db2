//! Proves the invariants of the stored data and names the first row that breaks one.
//!
//! All checks read one snapshot, so they may run on a live server. Each is one set-based statement where SQL can
//! say it, else a stream of bounded pages. Nothing here trusts a counter, an amount or a state that can be
//! recomputed from the rows below it.
//!
//! **Invariant:** this module only reads, and shares no statement with the code whose work it proves.

mod bookings;
mod commission;
mod consents;
mod devices;
mod ledger;
mod offline;
mod operations;
mod orders;
mod payments;
mod redemptions;
mod refunds;
mod risk;
mod serials;
mod stock;
mod vouchers;
mod webhooks;

use std::borrow::Cow;

use hexiao_core::id::{self, Id, MerchantId};
use sea_orm::{ConnectionTrait as _, DbBackend};
use uuid::Uuid;

use crate::pool::{Conn, Db, Result, Snapshot};
use crate::row::{FromRow, Row};
use crate::sql;

/// The most broken rows that one check reports; the rest is only counted.
pub const MAX_BROKEN: usize = 20;
/// Statements here read whole tables: the pool's time limit is meant for requests, and a hash join is the only plan
/// that cannot turn quadratic. PostgreSQL takes others where it has no statistics yet.
const POSTGRES_SETTINGS: &str = "SET LOCAL statement_timeout = '30min'; SET LOCAL enable_nestloop = off;
    SET LOCAL enable_mergejoin = off";

/// What [`verify`] found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Every check, in the order in which they ran.
    pub checks: Vec<CheckResult>,
}

impl Report {
    /// Whether no row breaks an invariant.
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|check| check.total_broken == 0)
    }

    /// The first broken row and the check that found it.
    pub fn first_broken(&self) -> Option<(&CheckResult, &BrokenRow)> {
        self.checks.iter().find_map(|check| Some((check, check.broken.first()?)))
    }
}

/// What one check found.
#[derive(Debug, Clone)]
pub struct CheckResult {
    /// Its name, unique among the checks.
    pub name: &'static str,
    /// The invariant, in one sentence.
    pub what: &'static str,
    /// The first rows that break it, at most [`MAX_BROKEN`].
    pub broken: Vec<BrokenRow>,
    /// How many rows break it.
    pub total_broken: u64,
}

/// A row that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRow {
    /// Its table.
    pub table: String,
    /// Its merchant.
    pub merchant_id: MerchantId,
    /// Its TypeID. Rows without an id of their own carry that of what they belong to.
    pub id: String,
    /// What it says and what it should say.
    pub detail: String,
}

/// A check: an invariant and how it is proved.
struct Check {
    name: &'static str,
    what: &'static str,
    proof: Proof,
}

/// How an invariant is proved.
enum Proof {
    /// A query for the rows that break it, with the columns `tbl`, `merchant_id`, `id` and `detail`.
    Sql(Cow<'static, str>),
    /// A stream over the serials of every voucher.
    Serials,
    /// A stream over the answers of redemptions.
    Answers,
    /// A stream over the vouchers that are valid from their first use.
    Begun,
    /// The accounts of each merchant.
    Identity,
    /// Rows that are named by a customer and a SKU.
    PurchaseCounters,
}

impl Check {
    /// A check that is one statement.
    const fn sql(name: &'static str, what: &'static str, text: &'static str) -> Self {
        Self { name, what, proof: Proof::Sql(Cow::Borrowed(text)) }
    }
}

/// Runs every check in one snapshot. `progress` hears the name of each check before it runs.
///
/// Broken data is a report, not an error; an error means that the database could not be read.
pub async fn verify(db: &Db, mut progress: impl FnMut(&'static str)) -> Result<Report> {
    let snapshot = db.snapshot().await?;
    if snapshot.backend() == DbBackend::Postgres {
        snapshot.inner().execute_unprepared(POSTGRES_SETTINGS).await?;
    }
    let mut checks = Vec::new();
    for check in all() {
        progress(check.name);
        let found = prove(&snapshot, &check.proof).await?;
        checks.push(CheckResult {
            name: check.name,
            what: check.what,
            broken: found.broken,
            total_broken: found.total,
        });
    }
    Ok(Report { checks })
}

/// Every check. What others build on comes first, so that the first broken row is close to the cause.
fn all() -> Vec<Check> {
    let mut checks = orders::checks();
    checks.extend(payments::checks());
    checks.extend(stock::checks());
    checks.extend(vouchers::checks());
    checks.extend(bookings::checks());
    checks.extend(redemptions::checks());
    checks.extend(refunds::checks());
    checks.extend(consents::checks());
    checks.extend(ledger::checks());
    checks.extend(operations::checks());
    checks.extend(commission::checks());
    checks.extend(webhooks::checks());
    checks.extend(devices::checks());
    checks.extend(offline::checks());
    checks.extend(risk::checks());
    checks
}

async fn prove(snapshot: &Snapshot, proof: &Proof) -> Result<Found> {
    match proof {
        Proof::Sql(text) => from_sql(snapshot, text).await,
        Proof::Serials => serials::prove(snapshot).await,
        Proof::Answers => redemptions::prove_answers(snapshot).await,
        Proof::Begun => vouchers::prove_begun(snapshot).await,
        Proof::Identity => ledger::prove_identity(snapshot).await,
        Proof::PurchaseCounters => stock::prove_purchase_counters(snapshot).await,
    }
}

/// Broken rows as they are found: the first ones, and how many.
#[derive(Default)]
struct Found {
    broken: Vec<BrokenRow>,
    total: u64,
}

impl Found {
    fn push(&mut self, table: &str, merchant_id: MerchantId, id: &impl ToString, detail: impl Into<String>) {
        self.total += 1;
        if self.broken.len() < MAX_BROKEN {
            self.broken.push(BrokenRow {
                table: table.to_owned(),
                merchant_id,
                id: id.to_string(),
                detail: detail.into(),
            });
        }
    }
}

/// What every statement of a check answers.
struct SqlRow {
    row: BrokenRow,
    total: i64,
}

impl FromRow for SqlRow {
    fn from_row(row: &Row) -> Result<Self> {
        let table: String = row.get("tbl")?;
        let id = type_id(&table, row.get("id")?);
        let broken =
            BrokenRow { table, merchant_id: row.get("merchant_id")?, id, detail: row.get("detail")? };
        Ok(Self { row: broken, total: row.get("total")? })
    }
}

async fn from_sql(snapshot: &Snapshot, text: &str) -> Result<Found> {
    let text = format!(
        "SELECT q.tbl, q.merchant_id, q.id, q.detail, COUNT(*) OVER () AS total FROM ({text}) AS q
         ORDER BY q.merchant_id, q.id, q.detail LIMIT {MAX_BROKEN}"
    );
    let rows: Vec<SqlRow> = sql::list(snapshot, &text, vec![]).await?;
    let total = rows.first().and_then(|row| u64::try_from(row.total).ok()).unwrap_or(0);
    Ok(Found { broken: rows.into_iter().map(|row| row.row).collect(), total })
}

/// The id of a row of a table, as the API writes it.
fn type_id(table: &str, uuid: Uuid) -> String {
    match table {
        "merchants" => MerchantId::from_uuid(uuid).to_string(),
        // A payment's part belongs to its order.
        "orders" | "payment_orders" => id::OrderId::from_uuid(uuid).to_string(),
        // A reservation belongs to its line.
        "order_lines" | "stock_reservations" => id::LineId::from_uuid(uuid).to_string(),
        "payments" => id::PaymentId::from_uuid(uuid).to_string(),
        "stocks" => id::StockId::from_uuid(uuid).to_string(),
        "vouchers" => id::VoucherId::from_uuid(uuid).to_string(),
        "voucher_locks" => id::LockId::from_uuid(uuid).to_string(),
        "bookings" => id::BookingId::from_uuid(uuid).to_string(),
        // A slot belongs to its plan.
        "booking_plans" | "booking_slots" => id::BookingPlanId::from_uuid(uuid).to_string(),
        "devices" => id::DeviceId::from_uuid(uuid).to_string(),
        "backfills" => id::BackfillId::from_uuid(uuid).to_string(),
        "redemptions" => id::RedemptionId::from_uuid(uuid).to_string(),
        // What a use earned belongs to that use.
        "uses" | "commission_entries" => id::UseId::from_uuid(uuid).to_string(),
        "refunds" => id::RefundId::from_uuid(uuid).to_string(),
        "consent_requests" => id::ConsentId::from_uuid(uuid).to_string(),
        "jobs" => id::JobId::from_uuid(uuid).to_string(),
        "messages" => id::MessageId::from_uuid(uuid).to_string(),
        "commission_rules" => id::CommissionRuleId::from_uuid(uuid).to_string(),
        "risk_flags" => id::RiskFlagId::from_uuid(uuid).to_string(),
        // A place is that of its verifier.
        "risk_places" => id::StaffId::from_uuid(uuid).to_string(),
        "webhook_deliveries" => id::DeliveryId::from_uuid(uuid).to_string(),
        _ => id::RecordId::from_uuid(uuid).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn checks_have_names_of_their_own_and_say_what_they_prove() {
        let checks = all();
        let names: BTreeSet<_> = checks.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), checks.len());
        assert!(checks.iter().all(|check| check.what.ends_with('.')));
    }
}
