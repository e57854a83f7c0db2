//! Vouchers: what was bought, as rights to uses.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use hexiao_core::id::{
    CustomerId, LineId, LockId, MerchantId, OrderId, ProductId, RefundId, SkuId, StoreId, VoucherId,
};
use hexiao_core::money::Money;
use hexiao_core::order::OrderState;
use hexiao_core::redeem::{RecentUse, VoucherFacts};
use hexiao_core::rule::RedemptionRule;
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::{Counters, LockState, VoucherState};
use sea_orm::DbBackend;
use serde::Serialize;

use crate::page::{Cursor, Page, PageRequest};
use crate::pool::{Conn, DbError, Result, Tx};
use crate::row::{FromRow, Param, Row, json_text};
use crate::sql::{JsonType, bytes_set, for_update, id_set, in_bytes, in_ids, json_rows, json_table};
use crate::{bookings, catalog, expiry, new_row, params, sql};

/// A voucher.
#[derive(Debug, Clone)]
pub struct Voucher {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: VoucherId,
    /// Bought in which order.
    pub order_id: OrderId,
    /// On which line.
    pub line_id: LineId,
    /// Which unit of the line, from 1.
    pub unit_no: i64,
    /// Who holds it.
    pub customer_id: CustomerId,
    /// The store chosen at purchase.
    pub store_id: StoreId,
    /// What.
    pub product_id: ProductId,
    /// Which specification.
    pub sku_id: SkuId,
    /// What it was called.
    pub product_name: String,
    /// What the specification was called.
    pub sku_name: String,
    /// Its state.
    pub state: VoucherState,
    /// Where its uses are.
    pub counters: Counters,
    /// What all its uses cost.
    pub amount: Money,
    /// The rule it was bought with.
    pub rule_id: i64,
    /// Valid from (included).
    pub valid_from: Timestamp,
    /// Valid to (excluded).
    pub valid_to: Timestamp,
    /// Keyed hash of its code.
    pub code_hash: Vec<u8>,
    /// By which pepper.
    pub pepper_id: i64,
    /// Its code, encrypted.
    pub code_cipher: Vec<u8>,
    /// The last four digits.
    pub code_last4: String,
    /// Of its QR ticket.
    pub version: i64,
    /// How often uses of it were undone.
    pub undo_cycles: i64,
    /// Issued at.
    pub created_at: Timestamp,
}

impl Voucher {
    /// The scope of what belongs to this row.
    pub fn merchant(&self) -> MerchantScope {
        MerchantScope::of_row(self.merchant_id)
    }
}

impl FromRow for Voucher {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            order_id: row.get("order_id")?,
            line_id: row.get("line_id")?,
            unit_no: row.get("unit_no")?,
            customer_id: row.get("customer_id")?,
            store_id: row.get("store_id")?,
            product_id: row.get("product_id")?,
            sku_id: row.get("sku_id")?,
            product_name: row.get("product_name")?,
            sku_name: row.get("sku_name")?,
            state: row.get("state")?,
            counters: counters(row)?,
            amount: row.get("amount_fen")?,
            rule_id: row.get("rule_id")?,
            valid_from: row.get("valid_from")?,
            valid_to: row.get("valid_to")?,
            code_hash: row.get("code_hash")?,
            pepper_id: row.get("pepper_id")?,
            code_cipher: row.get("code_cipher")?,
            code_last4: row.get("code_last4")?,
            version: row.get("version")?,
            undo_cycles: row.get("undo_cycles")?,
            created_at: row.get("created_at")?,
        })
    }
}

fn counters(row: &Row) -> Result<Counters> {
    Ok(Counters {
        total: row.get("total")?,
        used: row.get("used")?,
        locked_refund: row.get("locked_refund")?,
        locked_booking: row.get("locked_booking")?,
        refunded: row.get("refunded")?,
        transferred: row.get("transferred")?,
        forfeited: row.get("forfeited")?,
    })
}

/// Issues vouchers.
pub async fn insert(tx: &Tx, vouchers: &[Voucher]) -> Result<()> {
    let row = |v: &Voucher| {
        new_row! {
            merchant_id: v.merchant_id, id: v.id, order_id: v.order_id, line_id: v.line_id, unit_no: v.unit_no, customer_id: v.customer_id,
            store_id: v.store_id, product_id: v.product_id, sku_id: v.sku_id, product_name: &v.product_name, sku_name: &v.sku_name,
            state: v.state, total: v.counters.total, used: 0i64, locked_refund: 0i64, locked_booking: 0i64, refunded: 0i64, transferred: 0i64,
            forfeited: 0i64, amount_fen: v.amount, rule_id: v.rule_id, valid_from: v.valid_from, valid_to: v.valid_to,
            code_hash: v.code_hash, pepper_id: v.pepper_id, code_cipher: v.code_cipher, code_last4: &v.code_last4, version: v.version,
            undo_cycles: 0i64, created_at: v.created_at,
        }
    };
    sql::insert(tx, "vouchers", vouchers.iter().map(row).collect()).await
}

/// Which of the hashes are taken at the merchant.
pub async fn taken_hashes(
    c: &impl Conn,
    merchant: MerchantScope,
    hashes: &[Vec<u8>],
) -> Result<HashSet<Vec<u8>>> {
    let text =
        format!("SELECT code_hash FROM vouchers WHERE merchant_id = $1 AND code_hash {}", in_bytes(c, 2));
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), bytes_set(hashes)]).await?;
    rows.iter().map(|r| r.get("code_hash")).collect()
}

/// A voucher as the redemption rules see it, and the row itself.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The row.
    pub voucher: Voucher,
    /// What is decided on.
    pub facts: VoucherFacts,
}

/// Loads vouchers with all that decides over them. With `lock` their rows are locked first, in the order of their
/// ids, and everything else is read after the locks are held.
pub async fn load(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[VoucherId],
    lock: bool,
) -> Result<BTreeMap<VoucherId, Loaded>> {
    // PostgreSQL reads the row again that it has waited for, but what is joined to it may be older than the lock.
    let apart = lock && c.backend() != DbBackend::Sqlite;
    let order_state = if apart {
        "NULL AS order_state"
    } else {
        "(SELECT o.state FROM orders o WHERE o.merchant_id = v.merchant_id AND o.id = v.order_id) AS order_state"
    };
    let text = format!(
        "SELECT v.*, {order_state},
           (SELECT s.name FROM stores s WHERE s.merchant_id = v.merchant_id AND s.id = v.store_id) AS store_name
         FROM vouchers v WHERE v.merchant_id = $1 AND v.id {} ORDER BY v.id{}",
        in_ids(c, 2),
        if lock { for_update(c, "v") } else { String::new() }
    );
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await?;
    let found: Vec<Voucher> = rows.iter().map(Voucher::from_row).collect::<Result<_>>()?;
    let states = if apart { order_states(c, merchant, &found).await? } else { HashMap::new() };
    let rules = catalog::rules(c, merchant, found.iter().map(|v| v.rule_id)).await?;
    let touched: Vec<VoucherId> = found.iter().filter(|v| v.counters.taken() > 0).map(|v| v.id).collect();
    let mut taken = taken_serials(c, merchant, &touched).await?;
    let mut loaded = BTreeMap::new();
    for (row, voucher) in rows.iter().zip(found) {
        let order_state = match states.get(&voucher.order_id) {
            Some(state) => *state,
            None => row.get("order_state")?,
        };
        let rule = rules.get(&voucher.rule_id).ok_or_else(|| DbError::Corrupt {
            column: "vouchers.rule_id".to_owned(),
            detail: format!("no rule {}", voucher.rule_id),
        })?;
        let (taken, recent) = taken.remove(&voucher.id).unwrap_or_default();
        let facts = VoucherFacts {
            state: voucher.state,
            counters: voucher.counters,
            order_state,
            chosen_store: voucher.store_id,
            chosen_store_name: row.get("store_name")?,
            valid_from: voucher.valid_from,
            valid_to: voucher.valid_to,
            rule: RedemptionRule::clone(rule),
            amount: voucher.amount,
            taken,
            recent,
            bookings: Vec::new(),
        };
        loaded.insert(voucher.id, Loaded { voucher, facts });
    }
    bookings::attach(c, merchant, &mut loaded).await?;
    Ok(loaded)
}

async fn order_states(
    c: &impl Conn,
    merchant: MerchantScope,
    vouchers: &[Voucher],
) -> Result<HashMap<OrderId, OrderState>> {
    let mut orders: Vec<OrderId> = vouchers.iter().map(|v| v.order_id).collect();
    orders.sort_unstable();
    orders.dedup();
    let text = format!("SELECT id, state FROM orders WHERE merchant_id = $1 AND id {}", in_ids(c, 2));
    let rows = sql::rows(c, &text, vec![merchant.merchant_id().value(), id_set(&orders)]).await?;
    rows.iter().map(|r| Ok((r.get("id")?, r.get("state")?))).collect()
}

type Taken = BTreeMap<VoucherId, (BTreeSet<u32>, Vec<RecentUse>)>;

/// Serials that are redeemed, locked or refunded (those of a booking that was redeemed are its uses), and the redemptions that stand.
async fn taken_serials(c: &impl Conn, merchant: MerchantScope, ids: &[VoucherId]) -> Result<Taken> {
    let mut taken = Taken::new();
    if ids.is_empty() {
        return Ok(taken);
    }
    let set = in_ids(c, 2);
    let values = || vec![merchant.merchant_id().value(), id_set(ids)];
    let text = format!(
        "SELECT voucher_id, serial, redeemed_at, store_id FROM uses WHERE merchant_id = $1 AND voucher_id {set} AND state <> 'Reversed'"
    );
    for row in sql::rows(c, &text, values()).await? {
        let entry = taken.entry(row.get("voucher_id")?).or_default();
        entry.0.insert(row.get("serial")?);
        entry.1.push(RecentUse { at: row.get("redeemed_at")?, store_id: row.get("store_id")? });
    }
    let text = format!(
        "SELECT voucher_id, serials FROM voucher_locks WHERE merchant_id = $1 AND voucher_id {set}
           AND (state = 'Active' OR (state = 'Consumed' AND kind <> 'booking'))"
    );
    for row in sql::rows(c, &text, values()).await? {
        let serials: Vec<u32> = row.json("serials")?;
        taken.entry(row.get("voucher_id")?).or_default().0.extend(serials);
    }
    Ok(taken)
}

/// A change to a voucher's counters; each is added.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Redeemed, or undone when negative.
    pub used: i64,
    /// Locked for a refund, or freed when negative.
    pub locked_refund: i64,
    /// Refunded.
    pub refunded: i64,
    /// Undone once more.
    pub undo_cycles: i64,
}

impl Change {
    /// Whether uses come free by it.
    const fn frees(&self) -> bool {
        self.used + self.locked_refund + self.refunded < 0
    }
}

#[derive(Serialize)]
struct ChangeRow {
    id: String,
    used: i64,
    locked_refund: i64,
    refunded: i64,
    undo_cycles: i64,
}

/// Applies changes under the guard that all uses still add up; the CHECK `uses_add_up` says the same again. Uses that
/// come free although their time is over are expiry's.
pub async fn change(tx: &Tx, merchant: MerchantScope, changes: &BTreeMap<VoucherId, Change>) -> Result<()> {
    use hexiao_core::id::Id as _;
    if changes.is_empty() {
        return Ok(());
    }
    let rows: Vec<ChangeRow> = changes
        .iter()
        .map(|(id, c)| ChangeRow {
            id: id.uuid().simple().to_string(),
            used: c.used,
            locked_refund: c.locked_refund,
            refunded: c.refunded,
            undo_cycles: c.undo_cycles,
        })
        .collect();
    let columns = [
        ("id", JsonType::Uuid),
        ("used", JsonType::Int),
        ("locked_refund", JsonType::Int),
        ("refunded", JsonType::Int),
        ("undo_cycles", JsonType::Int),
    ];
    let text = format!(
        "UPDATE vouchers SET used = vouchers.used + q.used, locked_refund = vouchers.locked_refund + q.locked_refund,
           refunded = vouchers.refunded + q.refunded, undo_cycles = vouchers.undo_cycles + q.undo_cycles FROM {}
         WHERE vouchers.merchant_id = q.merchant_id AND vouchers.id = q.id AND vouchers.used + q.used >= 0 AND vouchers.locked_refund + q.locked_refund >= 0
           AND vouchers.used + q.used + vouchers.locked_refund + q.locked_refund + vouchers.locked_booking + vouchers.refunded + q.refunded
             + vouchers.transferred + vouchers.forfeited <= vouchers.total",
        json_table(tx, 2, "q", &columns)
    );
    sql::execute_exactly(
        tx,
        changes.len(),
        "voucher counters",
        &text,
        vec![merchant.merchant_id().value(), json_rows(&rows)],
    )
    .await?;
    let freed: Vec<VoucherId> = changes.iter().filter(|(_, c)| c.frees()).map(|(id, _)| *id).collect();
    if freed.is_empty() { Ok(()) } else { expiry::look_again(tx, merchant, &freed).await }
}

/// Until when vouchers are valid that run from their first use: it came, or was undone. Their rows are locked.
pub async fn set_valid_to(
    tx: &Tx,
    merchant: MerchantScope,
    ends: &BTreeMap<VoucherId, Timestamp>,
) -> Result<()> {
    for (id, valid_to) in ends {
        let text = "UPDATE vouchers SET valid_to = $3 WHERE merchant_id = $1 AND id = $2";
        sql::execute_exactly(tx, 1, "voucher", text, params![merchant.merchant_id(), *id, *valid_to]).await?;
    }
    Ok(())
}

/// Uses of a voucher that a refund keeps.
#[derive(Debug, Clone)]
pub struct RefundLock {
    /// Whose books.
    pub merchant_id: MerchantId,
    /// A fresh id.
    pub id: LockId,
    /// Of which voucher.
    pub voucher_id: VoucherId,
    /// For which refund.
    pub refund_id: RefundId,
    /// Which uses.
    pub serials: Vec<u32>,
    /// What they are worth.
    pub amount: Money,
    /// What became of it.
    pub state: LockState,
}

impl RefundLock {
    /// How many uses.
    pub fn quantity(&self) -> i64 {
        i64::try_from(self.serials.len()).unwrap_or(i64::MAX)
    }
}

impl FromRow for RefundLock {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            voucher_id: row.get("voucher_id")?,
            refund_id: row.get("owner_id")?,
            serials: row.json("serials")?,
            amount: row.get("amount_fen")?,
            state: row.get("state")?,
        })
    }
}

/// Adds refund locks.
pub async fn insert_locks(tx: &Tx, locks: &[RefundLock]) -> Result<()> {
    let row = |l: &RefundLock| {
        new_row! {
            merchant_id: l.merchant_id, id: l.id, voucher_id: l.voucher_id, kind: "refund", owner_id: l.refund_id,
            serials: json_text(&l.serials), quantity: l.quantity(), amount_fen: l.amount, state: l.state,
        }
    };
    sql::insert(tx, "voucher_locks", locks.iter().map(row).collect()).await
}

/// The locks of refunds.
pub async fn locks_of_refunds(
    c: &impl Conn,
    merchant: MerchantScope,
    refunds: &[RefundId],
) -> Result<Vec<RefundLock>> {
    let text = format!(
        "SELECT * FROM voucher_locks WHERE merchant_id = $1 AND kind = 'refund' AND owner_id {} ORDER BY owner_id, voucher_id",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(refunds)]).await
}

/// Ends the active locks of a refund.
pub async fn end_locks(
    tx: &Tx,
    merchant: MerchantScope,
    refund: RefundId,
    expected: usize,
    to: LockState,
) -> Result<()> {
    let text = "UPDATE voucher_locks SET state = $3 WHERE merchant_id = $1 AND kind = 'refund' AND owner_id = $2 AND state = 'Active'";
    sql::execute_exactly(tx, expected, "active locks", text, params![merchant.merchant_id(), refund, to])
        .await
}

/// The voucher that a code's hash names, under any of the peppers in use.
pub async fn by_code(
    c: &impl Conn,
    merchant: MerchantScope,
    hashes: &[[u8; 32]],
) -> Result<Option<VoucherId>> {
    for hash in hashes {
        let text = "SELECT id FROM vouchers WHERE merchant_id = $1 AND code_hash = $2";
        if let Some(row) = sql::row(c, text, params![merchant.merchant_id(), *hash]).await? {
            return Ok(Some(row.get("id")?));
        }
    }
    Ok(None)
}

/// Ids of the vouchers of an order.
pub async fn ids_of_order(c: &impl Conn, merchant: MerchantScope, order: OrderId) -> Result<Vec<VoucherId>> {
    let rows = sql::rows(
        c,
        "SELECT id FROM vouchers WHERE merchant_id = $1 AND order_id = $2 ORDER BY line_id, unit_no",
        params![merchant.merchant_id(), order],
    )
    .await?;
    rows.iter().map(|r| r.get("id")).collect()
}

/// The vouchers of an order.
pub async fn of_order(c: &impl Conn, merchant: MerchantScope, order: OrderId) -> Result<Vec<Voucher>> {
    sql::list(
        c,
        "SELECT * FROM vouchers WHERE merchant_id = $1 AND order_id = $2 ORDER BY line_id, unit_no",
        params![merchant.merchant_id(), order],
    )
    .await
}

/// A customer's voucher.
pub async fn of_customer(c: &impl Conn, customer: CustomerScope, id: VoucherId) -> Result<Option<Voucher>> {
    sql::find(
        c,
        "SELECT * FROM vouchers WHERE customer_id = $1 AND id = $2",
        params![customer.customer_id(), id],
    )
    .await
}

/// A customer's vouchers at a merchant that have something left and have not expired, the newest first.
pub async fn open_of_customer(
    c: &impl Conn,
    merchant: MerchantScope,
    customer: CustomerScope,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<VoucherId>> {
    let text = "SELECT id FROM vouchers WHERE customer_id = $1 AND merchant_id = $2 AND state = 'Live' AND valid_to > $3
                  AND used + refunded + transferred + forfeited < total
                ORDER BY created_at DESC, id DESC LIMIT $4";
    let values = params![customer.customer_id(), merchant.merchant_id(), now, limit];
    sql::rows(c, text, values).await?.iter().map(|r| r.get("id")).collect()
}

/// What a customer's list is narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustomerFilter {
    /// Can be used now or later.
    Usable,
    /// Redeemed to the end.
    Used,
    /// Expired with uses left.
    Expired,
    /// Refunded or being refunded.
    Refunded,
}

/// A customer's vouchers, newest first.
pub async fn list_of_customer(
    c: &impl Conn,
    customer: CustomerScope,
    filter: Option<CustomerFilter>,
    order: Option<OrderId>,
    now: Timestamp,
    page: &PageRequest,
) -> Result<Page<Voucher>> {
    const FREE: &str = "(total - used - locked_refund - refunded - transferred - forfeited) > 0";
    let (at, id) = page.bounds();
    let condition = match filter {
        None => "$5 > 0".to_owned(),
        Some(CustomerFilter::Usable) => format!("state = 'Live' AND {FREE} AND valid_to > $5"),
        Some(CustomerFilter::Used) => {
            format!("used > 0 AND NOT {FREE} AND locked_refund = 0 AND forfeited = 0 AND $5 > 0")
        }
        Some(CustomerFilter::Expired) => format!("(({FREE} AND valid_to <= $5) OR forfeited > 0)"),
        Some(CustomerFilter::Refunded) => "(refunded > 0 OR locked_refund > 0) AND $5 > 0".to_owned(),
    };
    let text = format!(
        "SELECT * FROM vouchers WHERE customer_id = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) AND {condition}
           AND ($6 OR order_id = $7) ORDER BY created_at DESC, id DESC LIMIT $4"
    );
    let wanted = order.map_or(uuid::Uuid::nil(), uuid::Uuid::from);
    let values = params![customer.customer_id(), at, id, page.fetch(), now, order.is_none(), wanted];
    let items = sql::list(c, &text, values).await?;
    Ok(Page::new(items, page, |v: &Voucher| Cursor { at: v.created_at, id: v.id.into() }))
}

/// A use of a voucher, as its customer sees it.
#[derive(Debug, Clone)]
pub struct UseRow {
    /// Which.
    pub serial: u32,
    /// Where.
    pub store_name: String,
    /// When.
    pub at: Timestamp,
    /// Whether it was undone.
    pub reversed: bool,
}

impl FromRow for UseRow {
    fn from_row(row: &Row) -> Result<Self> {
        let state: String = row.get("state")?;
        Ok(Self {
            serial: row.get("serial")?,
            store_name: row.get("store_name")?,
            at: row.get("redeemed_at")?,
            reversed: state == "Reversed",
        })
    }
}

/// The uses of a voucher, undone ones too, first to last.
pub async fn uses(c: &impl Conn, merchant: MerchantScope, voucher: VoucherId) -> Result<Vec<UseRow>> {
    let text = "SELECT u.serial, u.redeemed_at, u.state, s.name AS store_name FROM uses u
                JOIN stores s ON s.merchant_id = u.merchant_id AND s.id = u.store_id
                WHERE u.merchant_id = $1 AND u.voucher_id = $2 ORDER BY u.redeemed_at, u.serial LIMIT 2000";
    sql::list(c, text, params![merchant.merchant_id(), voucher]).await
}
