//! Everything that is recorded of one voucher, for its evidence sheet.

use hexiao_core::id::{LockId, MessageId, OrderId, RedemptionId, StaffId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::scope::{MerchantScope, StoreScope};
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::{LockState, UseState};
use uuid::Uuid;

use crate::ledger::TransferRow;
use crate::orders::{self, EventRow, Order};
use crate::payments::{self, Payment};
use crate::pool::{Conn, Result};
use crate::refunds::{self, Refund};
use crate::row::{FromRow, Row};
use crate::vouchers::Voucher;
use crate::{params, sql, stores};

/// The most rows of one kind on a sheet.
pub const MAX_ROWS: i64 = 1_000;

/// A use, with who, where and how.
#[derive(Debug, Clone)]
pub struct UsedRow {
    /// Which.
    pub serial: u32,
    /// Where it is.
    pub state: UseState,
    /// What it is worth.
    pub amount: Money,
    /// In which redemption.
    pub redemption_id: RedemptionId,
    /// Where.
    pub store_name: String,
    /// By whom.
    pub staff_id: StaffId,
    /// Their name then.
    pub staff_name: String,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// How the voucher was shown.
    pub method: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// When it was undone.
    pub reversed_at: Option<Timestamp>,
    /// By whom.
    pub reversed_by: Option<String>,
    /// Why.
    pub reverse_reason: Option<String>,
}

impl FromRow for UsedRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            serial: row.get("serial")?,
            state: row.get("state")?,
            amount: row.get("amount_fen")?,
            redemption_id: row.get("redemption_id")?,
            store_name: row.get("store_name")?,
            staff_id: row.get("staff_id")?,
            staff_name: row.get("staff_name")?,
            device: row.get("device")?,
            method: row.get("method")?,
            occurred_at: row.get("occurred_at")?,
            recorded_at: row.get("recorded_at")?,
            reversed_at: row.get("reversed_at")?,
            reversed_by: row.get("reversed_by")?,
            reverse_reason: row.get("reverse_reason")?,
        })
    }
}

/// Uses that are or were kept for something.
#[derive(Debug, Clone)]
pub struct LockRow {
    /// Its id.
    pub id: LockId,
    /// For a refund or a booking.
    pub kind: String,
    /// For which.
    pub owner_id: Uuid,
    /// Which uses.
    pub serials: Vec<u32>,
    /// What they are worth.
    pub amount: Money,
    /// What became of it.
    pub state: LockState,
}

impl FromRow for LockRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            kind: row.get("kind")?,
            owner_id: row.get("owner_id")?,
            serials: row.json("serials")?,
            amount: row.get("amount_fen")?,
            state: row.get("state")?,
        })
    }
}

/// A refused attempt.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    /// Where.
    pub store_name: String,
    /// By whom.
    pub staff_id: StaffId,
    /// Their name.
    pub staff_name: String,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// At which step.
    pub step: String,
    /// How the voucher was shown.
    pub method: String,
    /// Why.
    pub reason: String,
    /// Why, in words.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

impl FromRow for AttemptRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            store_name: row.get("store_name")?,
            staff_id: row.get("staff_id")?,
            staff_name: row.get("staff_name")?,
            device: row.get("device")?,
            step: row.get("step")?,
            method: row.get("method")?,
            reason: row.get("reason")?,
            message: row.get("message")?,
            at: row.get("at")?,
        })
    }
}

/// What the customer was told.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its id.
    pub id: MessageId,
    /// In a few words.
    pub title: String,
    /// When.
    pub at: Timestamp,
    /// When they read it.
    pub read_at: Option<Timestamp>,
}

impl FromRow for Told {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            title: row.get("title")?,
            at: row.get("at")?,
            read_at: row.get("read_at")?,
        })
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The voucher.
    pub voucher: Voucher,
    /// What the customer calls themselves, and their phone number as it may be shown.
    pub customer: (String, Option<String>),
    /// The order.
    pub order: Order,
    /// Where it was bought.
    pub store_name: String,
    /// How it was paid.
    pub payment: Option<Payment>,
    /// What happened to the order.
    pub events: Vec<EventRow>,
    /// What was used, also what was undone.
    pub uses: Vec<UsedRow>,
    /// What was refused, in whichever store of the merchant.
    pub attempts: Vec<AttemptRow>,
    /// Refunds of the order.
    pub refunds: Vec<Refund>,
    /// What is or was kept.
    pub locks: Vec<LockRow>,
    /// The movements of money of the order.
    pub transfers: Vec<TransferRow>,
    /// What the customer was told of the order.
    pub told: Vec<Told>,
}

/// What is recorded of a voucher of the stores in scope.
pub async fn collect(c: &impl Conn, scope: &StoreScope, id: VoucherId) -> Result<Option<Evidence>> {
    let merchant = scope.merchant();
    let text = "SELECT * FROM vouchers WHERE merchant_id = $1 AND id = $2";
    let voucher: Option<Voucher> = sql::find(c, text, params![merchant.merchant_id(), id]).await?;
    let Some(voucher) = voucher.filter(|v| scope.contains(v.store_id)) else { return Ok(None) };
    let Some(order) = orders::get(c, scope, voucher.order_id).await? else { return Ok(None) };
    let text = "SELECT nickname, phone_masked FROM customers WHERE id = $1";
    let customer = match sql::row(c, text, params![voucher.customer_id]).await? {
        Some(row) => (row.get("nickname")?, row.get("phone_masked")?),
        None => (String::new(), None),
    };
    let names = stores::names(c, merchant, &[order.store_id]).await?;
    Ok(Some(Evidence {
        customer,
        store_name: names.into_iter().map(|(_, name)| name).next().unwrap_or_default(),
        payment: payments::of_order(c, merchant, order.id).await?,
        events: orders::events(c, merchant, order.id).await?,
        uses: uses(c, merchant, id).await?,
        attempts: attempts(c, merchant, id).await?,
        refunds: refunds::of_orders(c, merchant, &[order.id]).await?,
        locks: locks(c, merchant, id).await?,
        transfers: transfers(c, merchant, order.id).await?,
        told: told(c, &voucher).await?,
        voucher,
        order,
    }))
}

async fn uses(c: &impl Conn, merchant: MerchantScope, id: VoucherId) -> Result<Vec<UsedRow>> {
    let text = "SELECT u.serial, u.state, u.amount_fen, u.redemption_id, u.staff_id, u.reversed_at, u.reverse_reason, t.name AS reversed_by,
                  s.name AS store_name, r.staff_name, r.device, r.method, r.occurred_at, r.recorded_at
                FROM uses u
                JOIN stores s ON s.merchant_id = u.merchant_id AND s.id = u.store_id
                JOIN redemptions r ON r.merchant_id = u.merchant_id AND r.id = u.redemption_id
                LEFT JOIN staff t ON t.merchant_id = u.merchant_id AND t.id = u.reversed_by
                WHERE u.merchant_id = $1 AND u.voucher_id = $2 ORDER BY u.redeemed_at, u.serial, u.id LIMIT $3";
    sql::list(c, text, params![merchant.merchant_id(), id, MAX_ROWS]).await
}

async fn attempts(c: &impl Conn, merchant: MerchantScope, id: VoucherId) -> Result<Vec<AttemptRow>> {
    let text = "SELECT a.staff_id, a.device, a.step, a.method, a.reason, a.message, a.at, s.name AS store_name, t.name AS staff_name
                FROM redemption_attempts a
                JOIN stores s ON s.merchant_id = a.merchant_id AND s.id = a.store_id
                JOIN staff t ON t.merchant_id = a.merchant_id AND t.id = a.staff_id
                WHERE a.merchant_id = $1 AND a.voucher_id = $2 ORDER BY a.at, a.id LIMIT $3";
    sql::list(c, text, params![merchant.merchant_id(), id, MAX_ROWS]).await
}

async fn locks(c: &impl Conn, merchant: MerchantScope, id: VoucherId) -> Result<Vec<LockRow>> {
    let text = "SELECT * FROM voucher_locks WHERE merchant_id = $1 AND voucher_id = $2 ORDER BY id LIMIT $3";
    sql::list(c, text, params![merchant.merchant_id(), id, MAX_ROWS]).await
}

async fn transfers(c: &impl Conn, merchant: MerchantScope, order: OrderId) -> Result<Vec<TransferRow>> {
    let text = "SELECT * FROM ledger_transfers WHERE merchant_id = $1 AND order_id = $2 ORDER BY id LIMIT $3";
    sql::list(c, text, params![merchant.merchant_id(), order, MAX_ROWS]).await
}

async fn told(c: &impl Conn, voucher: &Voucher) -> Result<Vec<Told>> {
    let text = "SELECT id, title, at, read_at FROM messages WHERE customer_id = $1 AND merchant_id = $2 AND order_id = $3
                ORDER BY at, id LIMIT $4";
    let values = params![voucher.customer_id, voucher.merchant_id, voucher.order_id, MAX_ROWS];
    sql::list(c, text, values).await
}
