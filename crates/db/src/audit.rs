//! The audit log: every change that staff make, written in the same transaction.

use hexiao_core::id::{Id as _, RecordId, StaffId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use uuid::Uuid;

use crate::pool::{Result, Tx};
use crate::{new_row, sql};

/// Adds a row.
pub async fn record(
    tx: &Tx,
    merchant: MerchantScope,
    staff_id: Option<StaffId>,
    action: &str,
    subject: &str,
    detail: &serde_json::Value,
    now: Timestamp,
) -> Result<()> {
    let id = RecordId::from_uuid(Uuid::now_v7());
    let row = new_row! {
        merchant_id: merchant.merchant_id(), id: id, staff_id: staff_id, action: action, subject: subject,
        detail: detail.to_string(), at: now,
    };
    sql::insert_one(tx, "audit_log", row).await
}
