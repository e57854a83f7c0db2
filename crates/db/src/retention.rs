//! How long what nobody works with any more is kept: deleting the oldest rows, a few at a time.

use hexiao_core::time::Timestamp;

use crate::pool::{Result, Tx};
use crate::{params, sql};

/// What is deleted for its age alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Refused attempts to redeem.
    Attempts,
    /// The audit log.
    Audit,
    /// Risk flags.
    Flags,
    /// Idempotency keys: nobody repeats a request that is so old.
    Keys,
}

impl Kept {
    /// Its table, the columns of its primary key, and the time of its rows.
    const fn table(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Attempts => ("redemption_attempts", "merchant_id, id", "at"),
            Self::Audit => ("audit_log", "merchant_id, id", "at"),
            Self::Flags => ("risk_flags", "merchant_id, id", "created_at"),
            Self::Keys => {
                ("idempotency_keys", "merchant_id, actor_id, operation, idempotency_key", "created_at")
            }
        }
    }
}

/// Deletes some rows from before an instant, the oldest first; how many.
pub async fn prune(tx: &Tx, kept: Kept, before: Timestamp, limit: u32) -> Result<u64> {
    let (table, key, at) = kept.table();
    let text = format!(
        "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {at} < $1 ORDER BY {at} LIMIT $2 {})",
        sql::skip_locked(tx)
    );
    sql::execute(tx, &text, params![before, limit]).await
}
