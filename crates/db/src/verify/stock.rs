//! Stock: counts and reservations against the entries and orders they come from, and the limits of customers.

use hexiao_core::id::{CustomerId, MerchantId, SkuId};

use super::{Check, Found, MAX_BROKEN, Proof};
use crate::pool::{Result, Snapshot};
use crate::sql;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql("stock_on_hand", "Stock on hand is the sum of its entries.", ON_HAND),
        Check::sql("stock_reserved", "Stock reserved is the sum of its open reservations.", RESERVED),
        Check::sql(
            "stock_never_below_zero",
            "Reserved stock is never below zero nor above what is on hand.",
            BOUNDS,
        ),
        Check::sql(
            "stock_commits",
            "What an order took out of a stock is what it had reserved there, and only paid orders took any.",
            COMMITS,
        ),
        Check::sql(
            "stock_returns",
            "Only a voucher that was refunded whole and never used returned its unit, to a stock of its SKU.",
            RETURNS,
        ),
        Check {
            name: "purchase_counters",
            what: "What a customer is counted to have bought of a SKU is the sum of the counted lines of their orders that are not closed.",
            proof: Proof::PurchaseCounters,
        },
    ]
}

const ON_HAND: &str = "
    SELECT 'stocks' AS tbl, s.merchant_id, s.id, s.on_hand || ' on hand; its entries say ' || COALESCE(e.delta, 0) AS detail
    FROM stocks s
    LEFT JOIN (SELECT merchant_id, stock_id, SUM(delta) AS delta FROM stock_entries GROUP BY merchant_id, stock_id) e
        ON e.merchant_id = s.merchant_id AND e.stock_id = s.id
    WHERE s.on_hand <> COALESCE(e.delta, 0)";

const RESERVED: &str = "
    SELECT 'stocks' AS tbl, s.merchant_id, s.id, s.reserved || ' reserved; open reservations say ' || COALESCE(r.quantity, 0) AS detail
    FROM stocks s
    LEFT JOIN (SELECT merchant_id, stock_id, SUM(quantity) AS quantity FROM stock_reservations WHERE state = 'Open' GROUP BY merchant_id, stock_id) r
        ON r.merchant_id = s.merchant_id AND r.stock_id = s.id
    WHERE s.reserved <> COALESCE(r.quantity, 0)";

const BOUNDS: &str = "
    SELECT 'stocks' AS tbl, merchant_id, id, reserved || ' reserved of ' || on_hand AS detail
    FROM stocks WHERE reserved < 0 OR reserved > on_hand";

// Compared by order and stock: several lines of an order may take from one stock, with one entry or several.
const COMMITS: &str = "
    SELECT 'stock_reservations' AS tbl, r.merchant_id, r.line_id AS id,
        q.quantity || ' committed by its order, entries took ' || COALESCE(-e.delta, 0) AS detail
    FROM stock_reservations r
    JOIN (SELECT merchant_id, order_id, stock_id, SUM(quantity) AS quantity
          FROM stock_reservations WHERE state = 'Committed' GROUP BY merchant_id, order_id, stock_id) q
        ON q.merchant_id = r.merchant_id AND q.order_id = r.order_id AND q.stock_id = r.stock_id
    LEFT JOIN (SELECT merchant_id, order_id, stock_id, SUM(delta) AS delta
               FROM stock_entries WHERE kind = 'commit' GROUP BY merchant_id, order_id, stock_id) e
        ON e.merchant_id = r.merchant_id AND e.order_id = r.order_id AND e.stock_id = r.stock_id
    WHERE r.state = 'Committed' AND q.quantity + COALESCE(e.delta, 0) <> 0
    UNION ALL
    SELECT 'stock_entries' AS tbl, e.merchant_id, e.id, 'took ' || -e.delta || ' for no committed reservation' AS detail
    FROM stock_entries e
    LEFT JOIN (SELECT DISTINCT merchant_id, order_id, stock_id FROM stock_reservations WHERE state = 'Committed') q
        ON q.merchant_id = e.merchant_id AND q.order_id = e.order_id AND q.stock_id = e.stock_id
    WHERE e.kind = 'commit' AND (q.order_id IS NULL OR e.delta >= 0)";

const RETURNS: &str = "
    SELECT 'stock_entries' AS tbl, e.merchant_id, e.id,
        'returned ' || e.delta || CASE WHEN v.id IS NULL THEN ' for no voucher'
            ELSE ' for a voucher with ' || v.used || ' used and ' || v.refunded || ' refunded of ' || v.total END AS detail
    FROM stock_entries e
    LEFT JOIN vouchers v ON v.merchant_id = e.merchant_id AND v.id = e.voucher_id
    JOIN stocks s ON s.merchant_id = e.merchant_id AND s.id = e.stock_id
    WHERE e.kind = 'return' AND (v.id IS NULL OR v.used <> 0 OR v.refunded <> v.total OR e.delta <> 1 OR s.sku_id <> v.sku_id)";

// Both sides in one list: a counter may be missing as well as wrong.
const PURCHASE_COUNTERS: &str = "
    SELECT q.merchant_id, q.customer_id, q.sku_id, CAST(SUM(q.counter) AS BIGINT) AS quantity, CAST(SUM(q.line) AS BIGINT) AS counted,
        COUNT(*) OVER () AS total
    FROM (SELECT merchant_id, customer_id, sku_id, quantity AS counter, 0 AS line FROM purchase_counters
          UNION ALL
          SELECT l.merchant_id, o.customer_id, l.sku_id, 0 AS counter, l.quantity AS line
          FROM order_lines l JOIN orders o ON o.merchant_id = l.merchant_id AND o.id = l.order_id
          WHERE l.counted AND o.state <> 'Closed') q
    GROUP BY q.merchant_id, q.customer_id, q.sku_id
    HAVING SUM(q.counter) <> SUM(q.line)
    ORDER BY q.merchant_id, q.customer_id, q.sku_id";

pub(super) async fn prove_purchase_counters(snapshot: &Snapshot) -> Result<Found> {
    let mut found = Found::default();
    let text = format!("{PURCHASE_COUNTERS} LIMIT {MAX_BROKEN}");
    for row in sql::rows(snapshot, &text, vec![]).await? {
        let (customer, sku): (CustomerId, SkuId) = (row.get("customer_id")?, row.get("sku_id")?);
        let (quantity, lines): (i64, i64) = (row.get("quantity")?, row.get("counted")?);
        let merchant_id: MerchantId = row.get("merchant_id")?;
        let detail = format!("counts {quantity}; lines say {lines}");
        found.push("purchase_counters", merchant_id, &format!("{customer}/{sku}"), detail);
        found.total = u64::try_from(row.get::<i64>("total")?).unwrap_or(found.total);
    }
    Ok(found)
}
