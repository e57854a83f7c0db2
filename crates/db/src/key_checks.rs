//! The keys that the data was written with: a server with others must not start.

use crate::pool::{Result, Tx};
use crate::{new_row, params, sql};

/// A value that only the right key gives.
#[derive(Debug, Clone)]
pub struct KeyCheck {
    /// `pepper` or `code_key`.
    pub kind: &'static str,
    /// Which key.
    pub key_id: i64,
    /// The value.
    pub value: [u8; 32],
}

/// Records keys that the data has not seen; whether those it has seen are the same.
pub async fn agree(tx: &Tx, checks: &[KeyCheck]) -> Result<bool> {
    for check in checks {
        let row = new_row! { kind: check.kind, key_id: check.key_id, check_value: check.value };
        sql::insert_with(tx, "key_checks", vec![row], "ON CONFLICT (kind, key_id) DO NOTHING").await?;
        let text = "SELECT check_value FROM key_checks WHERE kind = $1 AND key_id = $2";
        let stored = sql::row(tx, text, params![check.kind, check.key_id]).await?;
        let stored: Option<Vec<u8>> = stored.map(|r| r.get("check_value")).transpose()?;
        if stored.as_deref() != Some(check.value.as_slice()) {
            return Ok(false);
        }
    }
    Ok(true)
}
