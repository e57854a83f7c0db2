//! Merchants and their accounts at WeChat Pay.

use hexiao_core::id::{MerchantId, PayAccountId};
use hexiao_core::offline::OfflinePolicy;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::{BusinessDay, Timestamp};

use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::sql::{self, in_ids};
use crate::{new_row, params};

/// What use cases need to know of a merchant.
#[derive(Debug, Clone)]
pub struct Merchant {
    /// Its id.
    pub id: MerchantId,
    /// The eight bytes that name it in QR tickets.
    pub tag: [u8; 8],
    /// Its name.
    pub name: String,
    /// Zone and cut-off, for what belongs to no store.
    pub business_day: BusinessDay,
    /// Seconds an order waits for its payment.
    pub order_ttl_s: i64,
    /// Seconds a one-tap refund waits before it is sent.
    pub refund_hold_s: i64,
    /// Whether only registered devices may redeem.
    pub require_device: bool,
    /// What one device may redeem offline.
    pub offline: OfflinePolicy,
}

impl FromRow for Merchant {
    fn from_row(row: &Row) -> Result<Self> {
        let tag: Vec<u8> = row.get("tag")?;
        Ok(Self {
            id: row.get("id")?,
            tag: tag.try_into().map_err(|_| crate::DbError::Corrupt {
                column: "tag".into(),
                detail: "not 8 bytes".into(),
            })?,
            name: row.get("name")?,
            business_day: business_day(row)?,
            order_ttl_s: row.get("order_ttl_s")?,
            refund_hold_s: row.get("refund_hold_s")?,
            require_device: row.get("require_device")?,
            offline: OfflinePolicy { uses: row.get("offline_uses")?, amount: row.get("offline_fen")? },
        })
    }
}

/// Zone and cut-off hour of a row that has both.
pub(crate) fn business_day(row: &Row) -> Result<BusinessDay> {
    Ok(BusinessDay { zone: row.get("zone")?, cutoff_hour: row.get("cutoff_hour")? })
}

/// An account at WeChat Pay: the merchant's own (direct) or a provider's with the merchant below it (partner).
#[derive(Debug, Clone)]
pub struct PayAccount {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: PayAccountId,
    /// The mini-program (provider's in partner mode).
    pub appid: String,
    /// The merchant number (provider's in partner mode).
    pub mchid: String,
    /// Partner mode: the merchant's own mini-program, if it has one.
    pub sub_appid: Option<String>,
    /// Partner mode: the merchant's number below the provider's.
    pub sub_mchid: Option<String>,
    /// The folder of its key files.
    pub key_ref: String,
}

impl FromRow for PayAccount {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            appid: row.get("appid")?,
            mchid: row.get("mchid")?,
            sub_appid: row.get("sub_appid")?,
            sub_mchid: row.get("sub_mchid")?,
            key_ref: row.get("key_ref")?,
        })
    }
}

/// Adds a merchant.
pub async fn insert(tx: &Tx, merchant: &Merchant, now: Timestamp) -> Result<()> {
    let row = new_row! {
        id: merchant.id, tag: merchant.tag, name: &merchant.name, state: "Approved",
        zone: merchant.business_day.zone.name(), cutoff_hour: merchant.business_day.cutoff_hour,
        order_ttl_s: merchant.order_ttl_s, refund_hold_s: merchant.refund_hold_s,
        require_device: merchant.require_device, offline_uses: merchant.offline.uses, offline_fen: merchant.offline.amount,
        created_at: now,
    };
    sql::insert_one(tx, "merchants", row).await
}

/// Adds a pay account.
pub async fn insert_pay_account(tx: &Tx, account: &PayAccount, now: Timestamp) -> Result<()> {
    let mode = if account.sub_mchid.is_some() { "partner" } else { "direct" };
    let row = new_row! {
        merchant_id: account.merchant_id, id: account.id, mode: mode, appid: &account.appid, mchid: &account.mchid,
        sub_appid: account.sub_appid, sub_mchid: account.sub_mchid, key_ref: &account.key_ref, active: true, created_at: now,
    };
    sql::insert_one(tx, "pay_accounts", row).await
}

/// A merchant.
pub async fn get(c: &impl Conn, merchant: MerchantScope) -> Result<Option<Merchant>> {
    sql::find(c, "SELECT * FROM merchants WHERE id = $1", params![merchant.merchant_id()]).await
}

/// Sets how long a one-tap refund waits before it is sent.
pub async fn set_refund_hold(tx: &Tx, merchant: MerchantScope, seconds: i64) -> Result<()> {
    let text = "UPDATE merchants SET refund_hold_s = $2 WHERE id = $1";
    sql::execute_exactly(tx, 1, "merchant", text, params![merchant.merchant_id(), seconds]).await
}

/// Sets whether only registered devices may redeem.
pub async fn set_require_device(tx: &Tx, merchant: MerchantScope, required: bool) -> Result<()> {
    let text = "UPDATE merchants SET require_device = $2 WHERE id = $1";
    sql::execute_exactly(tx, 1, "merchant", text, params![merchant.merchant_id(), required]).await
}

/// Sets what one device may redeem offline.
pub async fn set_offline(tx: &Tx, merchant: MerchantScope, policy: OfflinePolicy) -> Result<()> {
    let text = "UPDATE merchants SET offline_uses = $2, offline_fen = $3 WHERE id = $1";
    let values = params![merchant.merchant_id(), policy.uses, policy.amount];
    sql::execute_exactly(tx, 1, "merchant", text, values).await
}

/// Locks a merchant's row: what belongs to it as a whole is edited by one at a time.
pub async fn lock(tx: &Tx, merchant: MerchantScope) -> Result<()> {
    let text = format!("SELECT id FROM merchants m WHERE id = $1{}", sql::for_update(tx, "m"));
    sql::row(tx, &text, params![merchant.merchant_id()]).await?;
    Ok(())
}

/// The first merchant of the installation, for the CLI.
pub async fn first(c: &impl Conn) -> Result<Option<Merchant>> {
    sql::find(c, "SELECT * FROM merchants ORDER BY created_at, id LIMIT 1", vec![]).await
}

/// Names of merchants, for somebody who works for several.
pub async fn names(c: &impl Conn, ids: &[MerchantId]) -> Result<Vec<(MerchantId, String)>> {
    let text = format!("SELECT id, name FROM merchants WHERE id {} ORDER BY name, id", in_ids(c, 1));
    let rows = sql::rows(c, &text, vec![sql::id_set(ids)]).await?;
    rows.iter().map(|r| Ok((r.get("id")?, r.get("name")?))).collect()
}

/// The account a merchant is paid through: the newest active one.
pub async fn pay_account(c: &impl Conn, merchant: MerchantScope) -> Result<Option<PayAccount>> {
    let text = "SELECT * FROM pay_accounts WHERE merchant_id = $1 AND active ORDER BY created_at DESC, id DESC LIMIT 1";
    sql::find(c, text, params![merchant.merchant_id()]).await
}

/// Every account that is paid through, of all merchants: what a server must have the keys of.
pub async fn active_pay_accounts(c: &impl Conn) -> Result<Vec<PayAccount>> {
    sql::list(c, "SELECT * FROM pay_accounts WHERE active ORDER BY merchant_id, id", vec![]).await
}

/// An account by its id, as WeChat's callback address names it: no session tells the merchant there.
pub async fn pay_account_of_callback(c: &impl Conn, id: PayAccountId) -> Result<Option<PayAccount>> {
    sql::find(c, "SELECT * FROM pay_accounts WHERE id = $1", params![id]).await
}

/// The only account of the installation, if there is exactly one: for callback addresses without an id.
pub async fn only_pay_account(c: &impl Conn) -> Result<Option<PayAccount>> {
    let mut found: Vec<PayAccount> =
        sql::list(c, "SELECT * FROM pay_accounts ORDER BY id LIMIT 2", vec![]).await?;
    Ok(if found.len() == 1 { found.pop() } else { None })
}
