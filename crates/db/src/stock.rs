//! Stock rows on the paths of orders: reserve → commit → release → return. Decided in core, guarded here.

use std::collections::BTreeMap;

use hexiao_core::id::{CustomerId, LineId, MerchantId, OrderId, RecordId, SkuId, StockId, VoucherId};
use hexiao_core::scope::MerchantScope;
use hexiao_core::stock::{ReservationState, StockFacts};
use hexiao_core::time::Timestamp;
use serde::Serialize;

use crate::pool::{Result, Tx};
use crate::row::{FromRow, Row};
use crate::sql::{JsonType, for_update, id_set, in_ids, json_rows, json_table};
use crate::{new_row, params, sql};

/// Units reserved for a line.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// Which merchant.
    pub merchant_id: MerchantId,
    /// For which line.
    pub line_id: LineId,
    /// Of which order.
    pub order_id: OrderId,
    /// From which stock row.
    pub stock_id: StockId,
    /// How many.
    pub quantity: i64,
    /// What became of it.
    pub state: ReservationState,
}

impl FromRow for Reservation {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            line_id: row.get("line_id")?,
            order_id: row.get("order_id")?,
            stock_id: row.get("stock_id")?,
            quantity: row.get("quantity")?,
            state: row.get("state")?,
        })
    }
}

#[derive(Serialize)]
struct Delta {
    id: String,
    n: i64,
}

fn deltas(changes: &BTreeMap<StockId, i64>) -> Vec<Delta> {
    use hexiao_core::id::Id as _;
    changes.iter().map(|(id, n)| Delta { id: id.uuid().simple().to_string(), n: *n }).collect()
}

const DELTA: &[(&str, JsonType)] = &[("id", JsonType::Uuid), ("n", JsonType::Int)];

/// Locks stock rows in the order of their ids and reads them.
pub async fn lock(
    tx: &Tx,
    merchant: MerchantScope,
    ids: &[StockId],
) -> Result<BTreeMap<StockId, StockFacts>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let text = format!(
        "SELECT id, on_hand, reserved FROM stocks s WHERE merchant_id = $1 AND id {} ORDER BY id{}",
        in_ids(tx, 2),
        for_update(tx, "s")
    );
    let rows =
        sql::rows(tx, &text, vec![crate::row::Param::value(&merchant.merchant_id()), id_set(ids)]).await?;
    rows.iter()
        .map(|r| Ok((r.get("id")?, StockFacts { on_hand: r.get("on_hand")?, reserved: r.get("reserved")? })))
        .collect()
}

/// Reserves units; the guard refuses what is not there.
pub async fn reserve(
    tx: &Tx,
    merchant: MerchantScope,
    changes: &BTreeMap<StockId, i64>,
    reservations: &[Reservation],
) -> Result<()> {
    let text = format!(
        "UPDATE stocks SET reserved = stocks.reserved + q.n FROM {}
         WHERE stocks.merchant_id = q.merchant_id AND stocks.id = q.id AND stocks.on_hand - stocks.reserved >= q.n",
        json_table(tx, 2, "q", DELTA)
    );
    apply(tx, merchant, changes, "stock to reserve", &text).await?;
    let row = |r: &Reservation| {
        new_row! {
            merchant_id: r.merchant_id, line_id: r.line_id, order_id: r.order_id, stock_id: r.stock_id, quantity: r.quantity, state: r.state,
        }
    };
    sql::insert(tx, "stock_reservations", reservations.iter().map(row).collect()).await
}

async fn apply(
    tx: &Tx,
    merchant: MerchantScope,
    changes: &BTreeMap<StockId, i64>,
    what: &'static str,
    text: &str,
) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let values = vec![crate::row::Param::value(&merchant.merchant_id()), json_rows(&deltas(changes))];
    sql::execute_exactly(tx, changes.len(), what, text, values).await
}

/// The open reservations of orders.
pub async fn open_reservations(
    tx: &Tx,
    merchant: MerchantScope,
    orders: &[OrderId],
) -> Result<Vec<Reservation>> {
    let text = format!(
        "SELECT * FROM stock_reservations WHERE merchant_id = $1 AND order_id {} AND state = 'Open' ORDER BY stock_id, line_id",
        in_ids(tx, 2)
    );
    sql::list(tx, &text, vec![crate::row::Param::value(&merchant.merchant_id()), id_set(orders)]).await
}

fn by_stock(reservations: &[Reservation]) -> BTreeMap<StockId, i64> {
    let mut sums = BTreeMap::new();
    for r in reservations {
        *sums.entry(r.stock_id).or_insert(0) += r.quantity;
    }
    sums
}

async fn close_reservations(
    tx: &Tx,
    merchant: MerchantScope,
    reservations: &[Reservation],
    state: ReservationState,
) -> Result<()> {
    let lines: Vec<LineId> = reservations.iter().map(|r| r.line_id).collect();
    let text = format!(
        "UPDATE stock_reservations SET state = $3 WHERE merchant_id = $1 AND line_id {} AND state = 'Open'",
        in_ids(tx, 2)
    );
    let values = vec![
        crate::row::Param::value(&merchant.merchant_id()),
        id_set(&lines),
        crate::row::Param::value(&state),
    ];
    sql::execute_exactly(tx, reservations.len(), "open reservations", &text, values).await
}

/// Frees what closed orders had reserved.
pub async fn release(tx: &Tx, merchant: MerchantScope, reservations: &[Reservation]) -> Result<()> {
    if reservations.is_empty() {
        return Ok(());
    }
    let changes = by_stock(reservations);
    lock(tx, merchant, &changes.keys().copied().collect::<Vec<_>>()).await?;
    close_reservations(tx, merchant, reservations, ReservationState::Released).await?;
    let text = format!(
        "UPDATE stocks SET reserved = stocks.reserved - q.n FROM {} WHERE stocks.merchant_id = q.merchant_id AND stocks.id = q.id AND stocks.reserved >= q.n",
        json_table(tx, 2, "q", DELTA)
    );
    apply(tx, merchant, &changes, "stock to release", &text).await
}

/// Takes what paid orders had reserved out of the stock.
pub async fn commit(
    tx: &Tx,
    merchant: MerchantScope,
    reservations: &[Reservation],
    entry_ids: &[RecordId],
    now: Timestamp,
) -> Result<()> {
    if reservations.is_empty() {
        return Ok(());
    }
    let changes = by_stock(reservations);
    lock(tx, merchant, &changes.keys().copied().collect::<Vec<_>>()).await?;
    close_reservations(tx, merchant, reservations, ReservationState::Committed).await?;
    let text = format!(
        "UPDATE stocks SET reserved = stocks.reserved - q.n, on_hand = stocks.on_hand - q.n FROM {}
         WHERE stocks.merchant_id = q.merchant_id AND stocks.id = q.id AND stocks.reserved >= q.n",
        json_table(tx, 2, "q", DELTA)
    );
    apply(tx, merchant, &changes, "stock to commit", &text).await?;
    let row = |(r, id): (&Reservation, &RecordId)| {
        new_row! {
            merchant_id: r.merchant_id, id: *id, stock_id: r.stock_id, kind: "commit", delta: -r.quantity, order_id: Some(r.order_id), at: now,
        }
    };
    sql::insert(tx, "stock_entries", reservations.iter().zip(entry_ids).map(row).collect()).await
}

/// A unit that comes back because its whole unused voucher was refunded.
#[derive(Debug, Clone, Copy)]
pub struct Return {
    /// A fresh id for its entry.
    pub entry_id: RecordId,
    /// To which stock row.
    pub stock_id: StockId,
    /// Of which order.
    pub order_id: OrderId,
    /// Which voucher; it returns its unit once.
    pub voucher_id: VoucherId,
}

/// Puts units back.
pub async fn give_back(tx: &Tx, merchant: MerchantScope, returns: &[Return], now: Timestamp) -> Result<()> {
    let mut changes = BTreeMap::new();
    for r in returns {
        *changes.entry(r.stock_id).or_insert(0) += 1;
    }
    if changes.is_empty() {
        return Ok(());
    }
    lock(tx, merchant, &changes.keys().copied().collect::<Vec<_>>()).await?;
    let text = format!(
        "UPDATE stocks SET on_hand = stocks.on_hand + q.n FROM {} WHERE stocks.merchant_id = q.merchant_id AND stocks.id = q.id",
        json_table(tx, 2, "q", DELTA)
    );
    apply(tx, merchant, &changes, "stock to return", &text).await?;
    let row = |r: &Return| {
        new_row! {
            merchant_id: merchant.merchant_id(), id: r.entry_id, stock_id: r.stock_id, kind: "return", delta: 1i64,
            order_id: Some(r.order_id), voucher_id: Some(r.voucher_id), at: now,
        }
    };
    sql::insert(tx, "stock_entries", returns.iter().map(row).collect()).await
}

/// The stock row each line of some orders took its units from.
pub async fn stock_of_lines(
    tx: &Tx,
    merchant: MerchantScope,
    lines: &[LineId],
) -> Result<BTreeMap<LineId, StockId>> {
    let text = format!(
        "SELECT line_id, stock_id FROM stock_reservations WHERE merchant_id = $1 AND line_id {} AND state = 'Committed'",
        in_ids(tx, 2)
    );
    let rows =
        sql::rows(tx, &text, vec![crate::row::Param::value(&merchant.merchant_id()), id_set(lines)]).await?;
    rows.iter().map(|r| Ok((r.get("line_id")?, r.get("stock_id")?))).collect()
}

/// Counts units that a customer orders of a limited SKU; whether the limit allowed it. Units that are refunded later
/// stay counted: the limit is on what is bought, or a scarce offer could be held and given back for ever.
pub async fn count_purchase(
    tx: &Tx,
    merchant: MerchantScope,
    customer: CustomerId,
    sku: SkuId,
    quantity: i64,
    limit: i64,
) -> Result<bool> {
    let row =
        new_row! { merchant_id: merchant.merchant_id(), customer_id: customer, sku_id: sku, quantity: 0i64 };
    sql::insert_with(
        tx,
        "purchase_counters",
        vec![row],
        "ON CONFLICT (merchant_id, customer_id, sku_id) DO NOTHING",
    )
    .await?;
    let text = "UPDATE purchase_counters SET quantity = quantity + $4
                WHERE merchant_id = $1 AND customer_id = $2 AND sku_id = $3 AND quantity + $4 <= $5";
    Ok(sql::execute(tx, text, params![merchant.merchant_id(), customer, sku, quantity, limit]).await? == 1)
}

/// Gives back what a closed order had counted, and only that: a SKU may have got its limit, or lost it, meanwhile.
/// Row by row in the order of the SKUs' ids, as placing an order locks them.
pub async fn uncount_purchases(
    tx: &Tx,
    merchant: MerchantScope,
    order: OrderId,
    customer: CustomerId,
) -> Result<()> {
    let text = "SELECT sku_id, quantity FROM order_lines WHERE merchant_id = $1 AND order_id = $2 AND counted ORDER BY sku_id";
    for row in sql::rows(tx, text, params![merchant.merchant_id(), order]).await? {
        let (sku, quantity): (SkuId, i64) = (row.get("sku_id")?, row.get("quantity")?);
        let text = "UPDATE purchase_counters SET quantity = quantity - $4
                    WHERE merchant_id = $1 AND customer_id = $2 AND sku_id = $3 AND quantity >= $4";
        let values = params![merchant.merchant_id(), customer, sku, quantity];
        sql::execute_exactly(tx, 1, "counted purchases", text, values).await?;
    }
    Ok(())
}
