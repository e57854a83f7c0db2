//! Staff: who works for a merchant, as what, in which stores.

use hexiao_core::catalog::Role;
use hexiao_core::id::{MerchantId, StaffId, StoreId};
use hexiao_core::limit::VerifierLimit;
use hexiao_core::scope::{MerchantScope, StoreScope, Stores};
use hexiao_core::time::Timestamp;
use sea_orm::Value;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::sql::{for_update, id_set, in_ids};
use crate::{new_row, params, sql};

/// A member of staff.
#[derive(Debug, Clone)]
pub struct Staff {
    /// For whom.
    pub merchant_id: MerchantId,
    /// Their id.
    pub id: StaffId,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// `138****1234`.
    pub phone_masked: String,
    /// Argon2id, PHC string.
    pub password_hash: String,
    /// Can sign in.
    pub active: bool,
    /// The most they may redeem on one business day.
    pub limit: VerifierLimit,
    /// Wrong passwords since the last right one.
    pub failed_attempts: i64,
    /// No sign-in before this.
    pub locked_until: Option<Timestamp>,
    /// For optimistic editing.
    pub version: i64,
    /// Since when.
    pub created_at: Timestamp,
}

impl FromRow for Staff {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            name: row.get("name")?,
            role: row.get("role")?,
            phone_masked: row.get("phone_masked")?,
            password_hash: row.get("password_hash")?,
            active: row.get("active")?,
            limit: limit(row)?,
            failed_attempts: row.get("failed_attempts")?,
            locked_until: row.get("locked_until")?,
            version: row.get("version")?,
            created_at: row.get("created_at")?,
        })
    }
}

fn limit(row: &Row) -> Result<VerifierLimit> {
    Ok(VerifierLimit { uses_a_day: row.get("daily_uses_limit")?, amount_a_day: row.get("daily_fen_limit")? })
}

/// A store that a member of staff works for.
#[derive(Debug, Clone)]
pub struct StaffStore {
    /// Who.
    pub staff_id: StaffId,
    /// Where.
    pub store_id: StoreId,
    /// Its name.
    pub store_name: String,
}

impl FromRow for StaffStore {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            staff_id: row.get("staff_id")?,
            store_id: row.get("store_id")?,
            store_name: row.get("store_name")?,
        })
    }
}

/// A phone number at rest: hash to find it, cipher to read it, mask to show it.
#[derive(Debug, Clone)]
pub struct SealedPhone {
    /// Keyed hash.
    pub hash: [u8; 32],
    /// Encrypted.
    pub cipher: Vec<u8>,
    /// `138****1234`.
    pub masked: String,
}

/// Adds a member of staff and their stores. A phone number that the merchant knows already violates
/// `staff_merchant_id_phone_hash_key`.
pub async fn insert(tx: &Tx, staff: &Staff, phone: &SealedPhone, stores: &[StoreId]) -> Result<()> {
    let row = new_row! {
        merchant_id: staff.merchant_id, id: staff.id, name: &staff.name, role: staff.role, phone_hash: phone.hash,
        phone_cipher: phone.cipher, phone_masked: &phone.masked, password_hash: &staff.password_hash, active: staff.active,
        daily_uses_limit: staff.limit.uses_a_day, daily_fen_limit: staff.limit.amount_a_day, failed_attempts: 0i64,
        version: 1i64, created_at: staff.created_at, updated_at: staff.created_at,
    };
    sql::insert_one(tx, "staff", row).await?;
    insert_stores(tx, staff.merchant_id, staff.id, stores).await
}

async fn insert_stores(
    tx: &Tx,
    merchant_id: MerchantId,
    staff_id: StaffId,
    stores: &[StoreId],
) -> Result<()> {
    let rows = stores
        .iter()
        .map(|store| new_row! { merchant_id: merchant_id, staff_id: staff_id, store_id: *store })
        .collect();
    sql::insert(tx, "staff_stores", rows).await
}

/// Writes what an edit may change; fails as stale when `staff.version` is not the stored one.
pub async fn update(tx: &Tx, staff: &Staff, stores: &[StoreId], now: Timestamp) -> Result<()> {
    let text = "UPDATE staff SET name = $4, role = $5, active = $6, password_hash = $7, failed_attempts = 0, locked_until = NULL,
                daily_uses_limit = $9, daily_fen_limit = $10, version = version + 1, updated_at = $8 WHERE merchant_id = $1 AND id = $2 AND version = $3";
    let values = params![
        staff.merchant_id,
        staff.id,
        staff.version,
        &staff.name,
        staff.role,
        staff.active,
        &staff.password_hash,
        now,
        staff.limit.uses_a_day,
        staff.limit.amount_a_day,
    ];
    sql::execute_exactly(tx, 1, "staff version", text, values).await?;
    sql::execute(
        tx,
        "DELETE FROM staff_stores WHERE merchant_id = $1 AND staff_id = $2",
        params![staff.merchant_id, staff.id],
    )
    .await?;
    insert_stores(tx, staff.merchant_id, staff.id, stores).await
}

/// Accounts with a phone number, at whatever merchant: sign-in knows no merchant yet.
pub async fn by_phone_for_sign_in(c: &impl Conn, hashes: &[[u8; 32]]) -> Result<Vec<Staff>> {
    let mut found = Vec::new();
    for hash in hashes {
        found.extend(
            sql::list::<Staff>(
                c,
                "SELECT * FROM staff WHERE phone_hash = $1 ORDER BY merchant_id LIMIT 20",
                params![*hash],
            )
            .await?,
        );
    }
    Ok(found)
}

/// Counts a wrong password; locks the account from the fifth on.
pub async fn count_failure(
    tx: &Tx,
    merchant: MerchantScope,
    id: StaffId,
    lock_from: i64,
    locked_until: Timestamp,
) -> Result<()> {
    let text = "UPDATE staff SET failed_attempts = failed_attempts + 1,
                locked_until = CASE WHEN failed_attempts + 1 >= $3 THEN $4 ELSE locked_until END WHERE merchant_id = $1 AND id = $2";
    sql::execute(tx, text, params![merchant.merchant_id(), id, lock_from, locked_until]).await?;
    Ok(())
}

/// Forgets wrong passwords after a right one.
pub async fn clear_failures(tx: &Tx, merchant: MerchantScope, id: StaffId) -> Result<()> {
    let text = "UPDATE staff SET failed_attempts = 0, locked_until = NULL WHERE merchant_id = $1 AND id = $2 AND (failed_attempts > 0 OR locked_until IS NOT NULL)";
    sql::execute(tx, text, params![merchant.merchant_id(), id]).await?;
    Ok(())
}

/// A member of staff of the merchant.
pub async fn get(c: &impl Conn, merchant: MerchantScope, id: StaffId) -> Result<Option<Staff>> {
    sql::find(
        c,
        "SELECT * FROM staff WHERE merchant_id = $1 AND id = $2",
        params![merchant.merchant_id(), id],
    )
    .await
}

/// The same, locked.
pub async fn lock(tx: &Tx, merchant: MerchantScope, id: StaffId) -> Result<Option<Staff>> {
    let text = format!("SELECT * FROM staff s WHERE merchant_id = $1 AND id = $2{}", for_update(tx, "s"));
    sql::find(tx, &text, params![merchant.merchant_id(), id]).await
}

/// The limits of some members of staff, whose rows are locked in the order of their ids: what one of them redeems
/// meanwhile waits. Lock the vouchers first.
pub async fn lock_limits(
    tx: &Tx,
    merchant: MerchantScope,
    ids: &[StaffId],
) -> Result<Vec<(StaffId, VerifierLimit)>> {
    let text = format!(
        "SELECT s.id, s.daily_uses_limit, s.daily_fen_limit FROM staff s WHERE s.merchant_id = $1 AND s.id {} ORDER BY s.id{}",
        in_ids(tx, 2),
        for_update(tx, "s")
    );
    let rows =
        sql::rows(tx, &text, vec![crate::row::Param::value(&merchant.merchant_id()), id_set(ids)]).await?;
    rows.iter().map(|r| Ok((r.get("id")?, limit(r)?))).collect()
}

/// The stores of some members of staff, by name.
pub async fn stores_of(c: &impl Conn, merchant: MerchantScope, staff: &[StaffId]) -> Result<Vec<StaffStore>> {
    let text = format!(
        "SELECT ss.staff_id, ss.store_id, s.name AS store_name FROM staff_stores ss
         JOIN stores s ON s.merchant_id = ss.merchant_id AND s.id = ss.store_id
         WHERE ss.merchant_id = $1 AND ss.staff_id {} ORDER BY s.name, s.id",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![crate::row::Param::value(&merchant.merchant_id()), id_set(staff)]).await
}

/// A member of staff who works in the scope.
pub async fn get_in(c: &impl Conn, scope: &StoreScope, id: StaffId) -> Result<Option<Staff>> {
    find_in(c, scope, id, "").await
}

/// The same, locked.
pub async fn lock_in(tx: &Tx, scope: &StoreScope, id: StaffId) -> Result<Option<Staff>> {
    find_in(tx, scope, id, &for_update(tx, "s")).await
}

async fn find_in(c: &impl Conn, scope: &StoreScope, id: StaffId, suffix: &str) -> Result<Option<Staff>> {
    let mut values = params![scope.merchant_id(), id];
    let within = works_within(c, scope, &mut values);
    let text = format!("SELECT s.* FROM staff s WHERE s.merchant_id = $1 AND s.id = $2 {within}{suffix}");
    sql::find(c, &text, values).await
}

/// Those who work for one of the scope's stores; with all stores in scope also those who work for none.
fn works_within(c: &impl Conn, scope: &StoreScope, values: &mut Vec<Value>) -> String {
    match scope.stores() {
        Stores::All => String::new(),
        Stores::Only(ids) => {
            values.push(id_set(ids));
            format!(
                "AND EXISTS (SELECT 1 FROM staff_stores ss WHERE ss.merchant_id = s.merchant_id AND ss.staff_id = s.id AND ss.store_id {})",
                in_ids(c, values.len())
            )
        }
    }
}

/// The owners who can sign in, locked in the order of their ids: an edit that might take the last one away holds them all.
pub async fn lock_active_owners(tx: &Tx, merchant: MerchantScope) -> Result<Vec<StaffId>> {
    let text = format!(
        "SELECT s.id FROM staff s WHERE s.merchant_id = $1 AND s.role = $2 AND s.active ORDER BY s.id{}",
        for_update(tx, "s")
    );
    let rows = sql::rows(tx, &text, params![merchant.merchant_id(), Role::Owner]).await?;
    rows.iter().map(|r| r.get("id")).collect()
}

/// Staff of the stores in scope, newest first; with all stores in scope also those who work for none.
pub async fn list(c: &impl Conn, scope: &StoreScope, page: &PageRequest) -> Result<Page<Staff>> {
    let (at, id) = page.bounds();
    let mut values = params![scope.merchant_id(), at, id, page.fetch()];
    let within = works_within(c, scope, &mut values);
    let text = format!(
        "SELECT s.* FROM staff s WHERE s.merchant_id = $1 AND (s.created_at < $2 OR (s.created_at = $2 AND s.id < $3)) {within}
         ORDER BY s.created_at DESC, s.id DESC LIMIT $4"
    );
    let items = sql::list::<Staff>(c, &text, values).await?;
    Ok(Page::new(items, page, |s| Cursor { at: s.created_at, id: s.id.into() }))
}
