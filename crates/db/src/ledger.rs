//! The ledger's rows: append-only.

use hexiao_core::id::{MerchantId, OrderId, RecordId, StoreId};
use hexiao_core::ledger::{LedgerEvent, transfer};
use hexiao_core::money::Money;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::{BusinessDate, Timestamp};
use uuid::Uuid;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, Result, Tx};
use crate::row::{FromRow, Row};
use crate::{new_row, params, sql};

/// What moved money.
#[derive(Debug, Clone)]
pub struct Posting {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// A fresh id.
    pub id: RecordId,
    /// What happened.
    pub event: LedgerEvent,
    /// How much; nothing is written for zero.
    pub amount: Money,
    /// The row that moved it; it does so once for each order.
    pub source_id: Uuid,
    /// For which order.
    pub order_id: OrderId,
    /// In which store.
    pub store_id: StoreId,
    /// On which business day.
    pub business_date: BusinessDate,
    /// When.
    pub at: Timestamp,
}

/// Writes postings.
pub async fn post(tx: &Tx, postings: &[Posting]) -> Result<()> {
    let row = |p: &Posting| {
        let t = transfer(p.event, p.amount)?;
        Some(new_row! {
            merchant_id: p.merchant_id, id: p.id, event: t.event.as_str(), debit: t.debit.as_str(), credit: t.credit.as_str(),
            amount_fen: t.amount, source_id: p.source_id, order_id: p.order_id, store_id: p.store_id,
            business_date: p.business_date, at: p.at,
        })
    };
    sql::insert(tx, "ledger_transfers", postings.iter().filter_map(row).collect()).await
}

/// A transfer as it is shown.
#[derive(Debug, Clone)]
pub struct TransferRow {
    /// Its id.
    pub id: RecordId,
    /// What happened.
    pub event: String,
    /// Where the value arrived.
    pub debit: String,
    /// Where it came from.
    pub credit: String,
    /// How much.
    pub amount: Money,
    /// For which order.
    pub order_id: OrderId,
    /// In which store.
    pub store_id: StoreId,
    /// On which business day.
    pub business_date: String,
    /// When.
    pub at: Timestamp,
}

impl FromRow for TransferRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            event: row.get("event")?,
            debit: row.get("debit")?,
            credit: row.get("credit")?,
            amount: row.get("amount_fen")?,
            order_id: row.get("order_id")?,
            store_id: row.get("store_id")?,
            business_date: row.get("business_date")?,
            at: row.get("at")?,
        })
    }
}

/// Transfers of a merchant, newest first; of one order if given.
pub async fn list(
    c: &impl Conn,
    merchant: MerchantScope,
    order: Option<OrderId>,
    page: &PageRequest,
) -> Result<Page<TransferRow>> {
    let (at, id) = page.bounds();
    let text = "SELECT * FROM ledger_transfers WHERE merchant_id = $1 AND (at < $2 OR (at = $2 AND id < $3)) AND ($5 OR order_id = $6)
                ORDER BY at DESC, id DESC LIMIT $4";
    let wanted = order.map_or(Uuid::nil(), Uuid::from);
    let values = params![merchant.merchant_id(), at, id, page.fetch(), order.is_none(), wanted];
    let items = sql::list(c, text, values).await?;
    Ok(Page::new(items, page, |t: &TransferRow| Cursor { at: t.at, id: t.id.into() }))
}

/// Debits minus credits of each account of a merchant.
pub async fn balances(c: &impl Conn, merchant: MerchantScope) -> Result<Vec<(String, i64)>> {
    let text = "SELECT account, CAST(SUM(amount) AS BIGINT) AS balance FROM (
                  SELECT debit AS account, amount_fen AS amount FROM ledger_transfers WHERE merchant_id = $1
                  UNION ALL SELECT credit, -amount_fen FROM ledger_transfers WHERE merchant_id = $1) t GROUP BY account ORDER BY account";
    let rows = sql::rows(c, text, params![merchant.merchant_id()]).await?;
    rows.iter().map(|r| Ok((r.get("account")?, r.get("balance")?))).collect()
}
