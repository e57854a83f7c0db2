//! Sign-in sessions: what a refresh token opens and what an access token leans on.

use hexiao_core::id::{CustomerId, DeviceId, MerchantId, SessionId, StaffId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;

use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::sql::for_update;
use crate::{new_row, params, sql};

/// Who signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A customer.
    Customer(CustomerId),
    /// A member of staff.
    Staff(MerchantId, StaffId),
}

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub subject: Subject,
    /// SHA-256 of the current refresh token.
    pub refresh_hash: Vec<u8>,
    /// When the refresh token was last replaced.
    pub rotated_at: Timestamp,
    /// When it ends for good.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
    /// The registered device it was opened on.
    pub device_id: Option<DeviceId>,
    /// Whether its merchant lets only registered devices redeem.
    pub device_required: bool,
}

impl Session {
    /// Whether it is still good.
    pub fn alive(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

impl FromRow for Session {
    fn from_row(row: &Row) -> Result<Self> {
        let customer: Option<CustomerId> = row.get("customer_id")?;
        let subject = match customer {
            Some(id) => Subject::Customer(id),
            None => Subject::Staff(row.get("merchant_id")?, row.get("staff_id")?),
        };
        Ok(Self {
            id: row.get("id")?,
            subject,
            refresh_hash: row.get("refresh_hash")?,
            rotated_at: row.get("rotated_at")?,
            expires_at: row.get("expires_at")?,
            revoked_at: row.get("revoked_at")?,
            device_id: row.get("device_id")?,
            device_required: row.get::<Option<bool>>("device_required")?.unwrap_or_default(),
        })
    }
}

const COLUMNS: &str =
    "s.*, (SELECT m.require_device FROM merchants m WHERE m.id = s.merchant_id) AS device_required";

/// Opens a session.
pub async fn insert(
    tx: &Tx,
    id: SessionId,
    subject: Subject,
    refresh_hash: [u8; 32],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<()> {
    let (audience, merchant, staff, customer) = match subject {
        Subject::Customer(id) => ("customer", None, None, Some(id)),
        Subject::Staff(merchant, id) => ("staff", Some(merchant), Some(id), None),
    };
    let row = new_row! {
        id: id, audience: audience, merchant_id: merchant, staff_id: staff, customer_id: customer,
        refresh_hash: refresh_hash, rotated_at: now, created_at: now, expires_at: expires_at,
    };
    sql::insert_one(tx, "sessions", row).await
}

/// A session by its id, for an access token whose signature was verified.
pub async fn get(c: &impl Conn, id: SessionId) -> Result<Option<Session>> {
    sql::find(c, &format!("SELECT {COLUMNS} FROM sessions s WHERE s.id = $1"), params![id]).await
}

/// The session whose current or previous refresh token has this hash, locked.
pub async fn lock_by_refresh_hash(tx: &Tx, hash: [u8; 32]) -> Result<Option<Session>> {
    let text = format!(
        "SELECT {COLUMNS} FROM sessions s WHERE s.refresh_hash = $1 OR s.previous_refresh_hash = $1{}",
        for_update(tx, "s")
    );
    sql::find(tx, &text, params![hash]).await
}

/// Replaces the refresh token.
pub async fn rotate(
    tx: &Tx,
    id: SessionId,
    old_hash: &[u8],
    new_hash: [u8; 32],
    now: Timestamp,
) -> Result<()> {
    let text = "UPDATE sessions SET previous_refresh_hash = refresh_hash, refresh_hash = $3, rotated_at = $4
                WHERE id = $1 AND refresh_hash = $2 AND revoked_at IS NULL";
    sql::execute_exactly(tx, 1, "session rotation", text, params![id, old_hash, new_hash, now]).await
}

/// Ends a session; ending it again changes nothing.
pub async fn revoke(tx: &Tx, id: SessionId, now: Timestamp) -> Result<()> {
    sql::execute(
        tx,
        "UPDATE sessions SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        params![id, now],
    )
    .await?;
    Ok(())
}

/// Ends all sessions of a member of staff: after a new password, another role or a leave.
pub async fn revoke_of_staff(tx: &Tx, merchant: MerchantScope, staff: StaffId, now: Timestamp) -> Result<()> {
    let text =
        "UPDATE sessions SET revoked_at = $3 WHERE merchant_id = $1 AND staff_id = $2 AND revoked_at IS NULL";
    sql::execute(tx, text, params![merchant.merchant_id(), staff, now]).await?;
    Ok(())
}

/// Notes that a member's session is used on one of their devices; or on none any more.
pub async fn set_device(
    tx: &Tx,
    merchant: MerchantScope,
    id: SessionId,
    staff: StaffId,
    device: Option<DeviceId>,
) -> Result<()> {
    let text = "UPDATE sessions SET device_id = $4 WHERE id = $2 AND merchant_id = $1 AND staff_id = $3 AND revoked_at IS NULL";
    sql::execute_exactly(tx, 1, "session", text, params![merchant.merchant_id(), id, staff, device]).await
}

/// Ends all sessions of a device; which.
pub async fn revoke_of_device(
    tx: &Tx,
    merchant: MerchantScope,
    device: DeviceId,
    now: Timestamp,
) -> Result<Vec<SessionId>> {
    let text = "UPDATE sessions SET revoked_at = $3 WHERE merchant_id = $1 AND device_id = $2 AND revoked_at IS NULL RETURNING id";
    let rows = sql::rows(tx, text, params![merchant.merchant_id(), device, now]).await?;
    rows.iter().map(|r| r.get("id")).collect()
}

/// Deletes some sessions that were ended or expired before an instant; how many. Their tokens mean nothing any more.
pub async fn prune(tx: &Tx, before: Timestamp, limit: u32) -> Result<u64> {
    let text = format!(
        "DELETE FROM sessions WHERE id IN
         (SELECT id FROM sessions WHERE expires_at < $1 OR revoked_at < $1 LIMIT $2 {})",
        sql::skip_locked(tx)
    );
    sql::execute(tx, &text, params![before, limit]).await
}
