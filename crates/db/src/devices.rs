//! Registered devices of the staff.

use hexiao_core::device::{DevicePlatform, DeviceState};
use hexiao_core::id::{DeviceId, MerchantId, StaffId};
use hexiao_core::scope::{MerchantScope, StoreScope, Stores};
use hexiao_core::time::Timestamp;
use sea_orm::Value;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, DbError, Result, Tx};
use crate::row::{FromRow, Param as _, Row};
use crate::sql::{for_update, id_set, in_ids};
use crate::{new_row, params, sql};

/// A device.
#[derive(Debug, Clone)]
pub struct Device {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: DeviceId,
    /// Who redeems with it.
    pub staff_id: StaffId,
    /// Their name now; empty where it was not read.
    pub staff_name: String,
    /// What it is called.
    pub name: String,
    /// What it runs.
    pub platform: DevicePlatform,
    /// The Ed25519 key that verifies what it signs.
    pub public_key: [u8; 32],
    /// Whether it may be used.
    pub state: DeviceState,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When one of its sessions was last opened or continued.
    pub seen_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// By whom.
    pub revoked_by: Option<StaffId>,
}

impl FromRow for Device {
    fn from_row(row: &Row) -> Result<Self> {
        let key: Vec<u8> = row.get("public_key")?;
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            staff_id: row.get("staff_id")?,
            staff_name: row.get("staff_name")?,
            name: row.get("name")?,
            platform: row.get("platform")?,
            public_key: key.try_into().map_err(|_| DbError::Corrupt {
                column: "public_key".into(),
                detail: "not 32 bytes".into(),
            })?,
            state: row.get("state")?,
            created_at: row.get("created_at")?,
            seen_at: row.get("seen_at")?,
            revoked_at: row.get("revoked_at")?,
            revoked_by: row.get("revoked_by")?,
        })
    }
}

const SELECT: &str = "SELECT d.*, t.name AS staff_name FROM devices d
    JOIN staff t ON t.merchant_id = d.merchant_id AND t.id = d.staff_id WHERE d.merchant_id = $1";

/// Adds one.
pub async fn insert(tx: &Tx, d: &Device) -> Result<()> {
    let row = new_row! {
        merchant_id: d.merchant_id, id: d.id, staff_id: d.staff_id, name: &d.name, platform: d.platform,
        public_key: d.public_key, state: d.state, created_at: d.created_at, seen_at: d.seen_at,
    };
    sql::insert_one(tx, "devices", row).await
}

/// A device of the merchant.
pub async fn get(c: &impl Conn, merchant: MerchantScope, id: DeviceId) -> Result<Option<Device>> {
    sql::find(c, &format!("{SELECT} AND d.id = $2"), params![merchant.merchant_id(), id]).await
}

/// The device with a key, locked. Lock its member's row first.
pub async fn lock_by_key(tx: &Tx, merchant: MerchantScope, key: [u8; 32]) -> Result<Option<Device>> {
    let text = format!("{SELECT} AND d.public_key = $2{}", for_update(tx, "d"));
    sql::find(tx, &text, params![merchant.merchant_id(), key]).await
}

/// A device of somebody who works in the scope, locked.
pub async fn lock_in(tx: &Tx, scope: &StoreScope, id: DeviceId) -> Result<Option<Device>> {
    let mut values = params![scope.merchant_id(), id];
    let within = works_within(tx, scope, &mut values);
    let text = format!("{SELECT} AND d.id = $2{within}{}", for_update(tx, "d"));
    sql::find(tx, &text, values).await
}

/// A member's own device, locked.
pub async fn lock_own(
    tx: &Tx,
    merchant: MerchantScope,
    staff: StaffId,
    id: DeviceId,
) -> Result<Option<Device>> {
    let text = format!("{SELECT} AND d.id = $2 AND d.staff_id = $3{}", for_update(tx, "d"));
    sql::find(tx, &text, params![merchant.merchant_id(), id, staff]).await
}

/// Devices of those who work for one of the scope's stores; with all stores in scope also of those who work for none.
fn works_within(c: &impl Conn, scope: &StoreScope, values: &mut Vec<Value>) -> String {
    match scope.stores() {
        Stores::All => String::new(),
        Stores::Only(ids) => {
            values.push(id_set(ids));
            format!(
                " AND EXISTS (SELECT 1 FROM staff_stores ss WHERE ss.merchant_id = d.merchant_id AND ss.staff_id = d.staff_id AND ss.store_id {})",
                in_ids(c, values.len())
            )
        }
    }
}

/// How many a member of staff has in use. Lock their row first.
pub async fn active_of(c: &impl Conn, merchant: MerchantScope, staff: StaffId) -> Result<i64> {
    let text =
        "SELECT COUNT(*) AS n FROM devices WHERE merchant_id = $1 AND staff_id = $2 AND state = 'Active'";
    sql::row(c, text, params![merchant.merchant_id(), staff]).await?.map_or(Ok(0), |r| r.get("n"))
}

/// Notes that it is in use.
pub async fn seen(tx: &Tx, merchant: MerchantScope, id: DeviceId, now: Timestamp) -> Result<()> {
    let text = "UPDATE devices SET seen_at = $3 WHERE merchant_id = $1 AND id = $2 AND seen_at < $3";
    sql::execute(tx, text, params![merchant.merchant_id(), id, now]).await?;
    Ok(())
}

/// Gives it another name.
pub async fn rename(tx: &Tx, merchant: MerchantScope, id: DeviceId, name: &str) -> Result<()> {
    let text = "UPDATE devices SET name = $3 WHERE merchant_id = $1 AND id = $2";
    sql::execute_exactly(tx, 1, "device", text, params![merchant.merchant_id(), id, name]).await
}

/// Revokes it, once and for good.
pub async fn revoke(
    tx: &Tx,
    merchant: MerchantScope,
    id: DeviceId,
    by: StaffId,
    now: Timestamp,
) -> Result<()> {
    let text = "UPDATE devices SET state = 'Revoked', revoked_at = $3, revoked_by = $4
                WHERE merchant_id = $1 AND id = $2 AND state = 'Active'";
    sql::execute_exactly(tx, 1, "active device", text, params![merchant.merchant_id(), id, now, by]).await
}

/// What devices are looked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Of whom.
    pub staff: Option<StaffId>,
    /// Whether in use.
    pub state: Option<DeviceState>,
}

/// Devices of the staff in scope, newest first.
pub async fn list(
    c: &impl Conn,
    scope: &StoreScope,
    filter: Filter,
    page: &PageRequest,
) -> Result<Page<Device>> {
    let (at, id) = page.bounds();
    let mut values = params![scope.merchant_id(), at, id, page.fetch()];
    let mut parts = works_within(c, scope, &mut values);
    if let Some(staff) = filter.staff {
        values.push(staff.value());
        parts.push_str(&format!(" AND d.staff_id = ${}", values.len()));
    }
    if let Some(state) = filter.state {
        values.push(state.value());
        parts.push_str(&format!(" AND d.state = ${}", values.len()));
    }
    let text = format!(
        "{SELECT} AND (d.created_at < $2 OR (d.created_at = $2 AND d.id < $3)){parts}
         ORDER BY d.created_at DESC, d.id DESC LIMIT $4"
    );
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |d: &Device| Cursor { at: d.created_at, id: d.id.into() }))
}
