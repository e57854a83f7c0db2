//! Customers: platform-wide, known by their openid at one mini-program.

use hexiao_core::id::CustomerId;
use hexiao_core::scope::CustomerScope;
use hexiao_core::time::Timestamp;
use sea_orm::DbBackend;

use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::sql::{for_update, id_set, in_ids};
use crate::staff::SealedPhone;
use crate::{new_row, params, sql};

/// A customer.
#[derive(Debug, Clone)]
pub struct Customer {
    /// Their id.
    pub id: CustomerId,
    /// The mini-program.
    pub appid: String,
    /// Who they are there.
    pub openid: String,
    /// What they call themselves.
    pub nickname: String,
    /// `138****1234`, once they gave their number.
    pub phone_masked: Option<String>,
    /// Not blocked or erased.
    pub active: bool,
}

impl FromRow for Customer {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            appid: row.get("appid")?,
            openid: row.get("openid")?,
            nickname: row.get("nickname")?,
            phone_masked: row.get("phone_masked")?,
            active: row.get("active")?,
        })
    }
}

/// The customer behind an openid; adds them when they are new. Two first sign-ins at once give one customer.
pub async fn find_or_insert(
    tx: &Tx,
    new: &Customer,
    unionid: Option<&str>,
    now: Timestamp,
) -> Result<Customer> {
    let row = new_row! {
        id: new.id, appid: &new.appid, openid: &new.openid, unionid: unionid, nickname: &new.nickname, active: true, created_at: now,
    };
    sql::insert_with(tx, "customers", vec![row], "ON CONFLICT (appid, openid) DO NOTHING").await?;
    let text = "SELECT * FROM customers WHERE appid = $1 AND openid = $2";
    let found = sql::find(tx, text, params![&new.appid, &new.openid]).await?;
    found.ok_or(crate::DbError::Stale("customer just inserted"))
}

/// Locks customers' rows, in the order of their ids: what they do one at a time.
pub async fn lock(tx: &Tx, ids: &[CustomerId]) -> Result<()> {
    // On SQLite the transaction itself is the lock.
    if tx.backend() == DbBackend::Sqlite {
        return Ok(());
    }
    let text =
        format!("SELECT id FROM customers c WHERE id {} ORDER BY id{}", in_ids(tx, 1), for_update(tx, "c"));
    sql::rows(tx, &text, vec![id_set(ids)]).await?;
    Ok(())
}

/// A customer, by themselves.
pub async fn get(c: &impl Conn, customer: CustomerScope) -> Result<Option<Customer>> {
    sql::find(c, "SELECT * FROM customers WHERE id = $1", params![customer.customer_id()]).await
}

/// A customer's phone number, encrypted; nothing while they gave none.
pub async fn phone_cipher(c: &impl Conn, customer: CustomerScope) -> Result<Option<Vec<u8>>> {
    let text = "SELECT phone_cipher FROM customers WHERE id = $1";
    sql::row(c, text, params![customer.customer_id()]).await?.map_or(Ok(None), |r| r.get("phone_cipher"))
}

/// Keeps a customer's phone number, or forgets it.
pub async fn set_phone(tx: &Tx, customer: CustomerScope, phone: Option<&SealedPhone>) -> Result<()> {
    let text =
        "UPDATE customers SET phone_hash = $2, phone_cipher = $3, phone_masked = $4 WHERE id = $1 AND active";
    let values = params![
        customer.customer_id(),
        phone.map(|p| p.hash.to_vec()),
        phone.map(|p| p.cipher.clone()),
        phone.map(|p| p.masked.clone())
    ];
    sql::execute_exactly(tx, 1, "active customer", text, values).await
}
