//! Idempotency keys, inside the transaction of the request they protect: the key and what it did commit together.

use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use uuid::Uuid;

use crate::pool::{DbError, Result, Tx};
use crate::{new_row, params, sql};

/// A request as its key knows it.
#[derive(Debug, Clone)]
pub struct Key<'a> {
    /// The merchant whose rows it touches.
    pub merchant: MerchantScope,
    /// Who sent it.
    pub actor_id: Uuid,
    /// The `Idempotency-Key` header.
    pub key: &'a str,
    /// Which operation.
    pub operation: &'static str,
    /// SHA-256 of what was asked.
    pub fingerprint: [u8; 32],
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is ours: do the work, then call [`store`].
    New,
    /// The same request was done before; this is what it made and answered.
    Replay {
        /// The row it made.
        subject_id: Uuid,
        /// What it answered, as JSON.
        answer: String,
    },
    /// The key belongs to another request.
    Conflict,
}

/// Claims a key. A second request with the same key waits here until the first one commits or rolls back.
pub async fn claim(tx: &Tx, key: &Key<'_>, now: Timestamp) -> Result<Claim> {
    let row = new_row! {
        merchant_id: key.merchant.merchant_id(), actor_id: key.actor_id, idempotency_key: key.key, operation: key.operation,
        fingerprint: key.fingerprint, subject_id: Uuid::nil(), answer: "", created_at: now,
    };
    let conflict = "ON CONFLICT (merchant_id, actor_id, operation, idempotency_key) DO NOTHING";
    if sql::insert_with(tx, "idempotency_keys", vec![row], conflict).await? == 1 {
        return Ok(Claim::New);
    }
    let text = "SELECT fingerprint, subject_id, answer FROM idempotency_keys WHERE merchant_id = $1 AND actor_id = $2 AND idempotency_key = $3 AND operation = $4";
    let row =
        sql::row(tx, text, params![key.merchant.merchant_id(), key.actor_id, key.key, key.operation]).await?;
    // The first request rolled back between our insert and this read: start over.
    let row = row.ok_or(DbError::Stale("idempotency key"))?;
    if row.get::<Vec<u8>>("fingerprint")? != key.fingerprint {
        return Ok(Claim::Conflict);
    }
    Ok(Claim::Replay { subject_id: row.get("subject_id")?, answer: row.get("answer")? })
}

/// Stores what the request made and answered.
pub async fn store(tx: &Tx, key: &Key<'_>, subject_id: Uuid, answer: &str) -> Result<()> {
    let text = "UPDATE idempotency_keys SET subject_id = $4, answer = $5 
                WHERE merchant_id = $1 AND actor_id = $2 AND idempotency_key = $3 AND operation = $6";
    let values =
        params![key.merchant.merchant_id(), key.actor_id, key.key, subject_id, answer, key.operation];
    sql::execute_exactly(tx, 1, "idempotency key", text, values).await
}

/// Gives a key back: the request was refused, and a refusal consumes no key.
pub async fn release(tx: &Tx, key: &Key<'_>) -> Result<()> {
    let text =
        "DELETE FROM idempotency_keys WHERE merchant_id = $1 AND actor_id = $2 AND idempotency_key = $3
                AND operation = $4 AND answer = ''";
    sql::execute(tx, text, params![key.merchant.merchant_id(), key.actor_id, key.key, key.operation]).await?;
    Ok(())
}
