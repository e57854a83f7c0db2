//! Expiry: vouchers whose time is over, found by index and written in sets.

use std::collections::BTreeMap;

use chrono::Duration;
use hexiao_core::id::{LockId, MerchantId, OrderId, PaymentId, RecordId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use serde::Serialize;

use crate::pool::{Conn, Result, Tx};
use crate::row::{Param as _, json_text};
use crate::sql::{JsonType, id_set, in_ids, json_rows, json_table};
use crate::{new_row, params, sql};

/// Orders with vouchers whose time is over, at whatever merchant, those of the first `limit` vouchers: the reconciler's
/// work list, the longest due first. What was looked at before and comes again has its own half of it, so that neither
/// keeps the other waiting.
pub async fn due(c: &impl Conn, now: Timestamp, limit: u32) -> Result<Vec<(MerchantId, OrderId)>> {
    let live = "SELECT merchant_id, order_id FROM vouchers WHERE state = 'Live' AND valid_to <= $1
                ORDER BY valid_to, merchant_id, order_id LIMIT $2";
    let again = "SELECT merchant_id, order_id FROM vouchers WHERE expire_again_at <= $1 ORDER BY expire_again_at LIMIT $2";
    let mut due: Vec<(MerchantId, OrderId)> = Vec::new();
    for text in [live, again] {
        for row in sql::rows(c, text, params![now, limit.div_ceil(2)]).await? {
            due.push((row.get("merchant_id")?, row.get("order_id")?));
        }
    }
    due.sort_unstable();
    due.dedup();
    Ok(due)
}

/// The payments of orders.
pub async fn payments(
    c: &impl Conn,
    merchant: MerchantScope,
    orders: &[OrderId],
) -> Result<BTreeMap<OrderId, PaymentId>> {
    let text = format!(
        "SELECT order_id, payment_id FROM payment_orders WHERE merchant_id = $1 AND order_id {}",
        in_ids(c, 2)
    );
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(orders)]).await?;
    rows.iter().map(|r| Ok((r.get("order_id")?, r.get("payment_id")?))).collect()
}

/// The vouchers of orders whose time is over.
pub async fn vouchers(
    c: &impl Conn,
    merchant: MerchantScope,
    orders: &[OrderId],
    now: Timestamp,
) -> Result<Vec<VoucherId>> {
    let text = format!(
        "SELECT id FROM vouchers WHERE merchant_id = $1 AND order_id {}
         AND ((state = 'Live' AND valid_to <= $3) OR expire_again_at <= $3) ORDER BY id",
        in_ids(c, 2)
    );
    let values = vec![merchant.merchant_id().value(), id_set(orders), now.value()];
    let rows = sql::rows(c, &text, values).await?;
    rows.iter().map(|r| r.get("id")).collect()
}

/// How many numbers at WeChat the refunds of payments have taken or will take, where there are any: see
/// [`crate::refunds::numbers_of_payment`].
pub async fn refund_numbers(
    c: &impl Conn,
    merchant: MerchantScope,
    payments: &[PaymentId],
) -> Result<BTreeMap<PaymentId, i64>> {
    let text = format!(
        "SELECT payment_id, CAST(SUM(attempt) AS BIGINT) AS n FROM refunds
         WHERE merchant_id = $1 AND payment_id {} AND method = 'wechat' AND state <> 'Withdrawn' GROUP BY payment_id",
        in_ids(c, 2)
    );
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(payments)]).await?;
    rows.iter().map(|r| Ok((r.get("payment_id")?, r.get("n")?))).collect()
}

/// What becomes of a voucher.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ending {
    /// Uses that a refund keeps from now on.
    pub refund: i64,
    /// Uses that are forfeited.
    pub forfeit: i64,
    /// When it is looked at again, if it is.
    pub again_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct EndingRow {
    id: String,
    refund: i64,
    forfeit: i64,
    again_at: Option<i64>,
}

/// Marks vouchers as expired, under the guard that all uses still add up.
pub async fn mark(tx: &Tx, merchant: MerchantScope, endings: &BTreeMap<VoucherId, Ending>) -> Result<()> {
    use hexiao_core::id::Id as _;
    let row = |(id, e): (&VoucherId, &Ending)| EndingRow {
        id: id.uuid().simple().to_string(),
        refund: e.refund,
        forfeit: e.forfeit,
        again_at: e.again_at.map(Timestamp::micros),
    };
    let rows: Vec<EndingRow> = endings.iter().map(row).collect();
    let columns = [
        ("id", JsonType::Uuid),
        ("refund", JsonType::Int),
        ("forfeit", JsonType::Int),
        ("again_at", JsonType::Int),
    ];
    let text = format!(
        "UPDATE vouchers SET state = 'Expired', locked_refund = vouchers.locked_refund + q.refund,
           forfeited = vouchers.forfeited + q.forfeit, expire_again_at = q.again_at FROM {}
         WHERE vouchers.merchant_id = q.merchant_id AND vouchers.id = q.id AND vouchers.state IN ('Live', 'Expired')
           AND vouchers.used + vouchers.locked_refund + q.refund + vouchers.locked_booking + vouchers.refunded
             + vouchers.transferred + vouchers.forfeited + q.forfeit <= vouchers.total",
        json_table(tx, 2, "q", &columns)
    );
    let values = vec![merchant.merchant_id().value(), json_rows(&rows)];
    sql::execute_exactly(tx, rows.len(), "vouchers to expire", &text, values).await
}

/// Uses of an expired voucher came free: expiry looks at it again.
pub async fn look_again(tx: &Tx, merchant: MerchantScope, ids: &[VoucherId]) -> Result<()> {
    let text = format!(
        "UPDATE vouchers SET expire_again_at = valid_to WHERE merchant_id = $1 AND id {} AND state = 'Expired'",
        in_ids(tx, 2)
    );
    sql::execute(tx, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await?;
    Ok(())
}

/// Uses that are forfeited.
#[derive(Debug, Clone)]
pub struct Forfeit {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// A fresh id.
    pub id: LockId,
    /// Of which voucher.
    pub voucher_id: VoucherId,
    /// What its order forfeited with them: the source of the ledger's transfer.
    pub expiry_id: RecordId,
    /// Which uses.
    pub serials: Vec<u32>,
    /// What they are worth.
    pub amount: Money,
}

impl Forfeit {
    /// How many uses.
    pub fn quantity(&self) -> i64 {
        i64::try_from(self.serials.len()).unwrap_or(i64::MAX)
    }
}

/// Keeps forfeited uses from everybody, for ever.
pub async fn insert_forfeits(tx: &Tx, forfeits: &[Forfeit]) -> Result<()> {
    let row = |f: &Forfeit| {
        new_row! {
            merchant_id: f.merchant_id, id: f.id, voucher_id: f.voucher_id, kind: "expiry", owner_id: f.expiry_id,
            serials: json_text(&f.serials), quantity: f.quantity(), amount_fen: f.amount, state: "Consumed",
        }
    };
    sql::insert(tx, "voucher_locks", forfeits.iter().map(row).collect()).await
}

/// Takes the next `count` moments at which refunds of expired uses are sent for a merchant; the first of them. Locked
/// until the transaction ends: the last thing that it does.
pub async fn reserve_slots(
    tx: &Tx,
    merchant: MerchantScope,
    count: usize,
    spacing: Duration,
    now: Timestamp,
) -> Result<Timestamp> {
    let span = spacing * i32::try_from(count).unwrap_or(i32::MAX);
    let text = "INSERT INTO refund_paces (merchant_id, next_at) VALUES ($1, $2)
                ON CONFLICT (merchant_id) DO UPDATE SET next_at = $4 +
                  CASE WHEN refund_paces.next_at > $3 THEN refund_paces.next_at ELSE $3 END RETURNING next_at";
    let span_us = span.num_microseconds().unwrap_or(i64::MAX);
    let row = sql::row(tx, text, params![merchant.merchant_id(), now.plus(span), now, span_us]).await?;
    let next: Option<Timestamp> = row.map(|r| r.get("next_at")).transpose()?;
    Ok(next.map_or(now, |next| next.minus(span)))
}
