//! Vouchers: what they copy from their line, what their counters count, and the serials behind them.

use hexiao_core::id::{Id as _, MerchantId, VoucherId};
use hexiao_core::rule::RedemptionRule;
use hexiao_core::time::Timestamp;
use uuid::Uuid;

use super::{Check, Found, Proof};
use crate::params;
use crate::pool::{Result, Snapshot};
use crate::sql;

/// Vouchers of one page.
const PAGE: i64 = 2_000;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql("voucher_line", "A voucher has the order, goods, uses and rule of its line.", LINE),
        Check::sql(
            "voucher_amount",
            "A voucher is worth its unit's share of what was paid for its line.",
            AMOUNT,
        ),
        Check::sql(
            "voucher_customer",
            "A voucher that was not given away belongs to the customer of its order.",
            CUSTOMER,
        ),
        Check::sql("voucher_rule", "A voucher's rule exists.", RULE),
        Check::sql("voucher_validity", "A voucher's validity begins before it ends.", VALIDITY),
        Check {
            name: "voucher_begun",
            what: "A voucher that is valid from its first use ends so many days after the first use that stands.",
            proof: Proof::Begun,
        },
        Check::sql("voucher_code", "A voucher shows the last four digits of its code.", CODE),
        Check::sql(
            "voucher_counters",
            "A voucher's counters are not below zero and do not exceed its uses.",
            COUNTERS,
        ),
        Check::sql("voucher_used", "A voucher counts as used the uses that stand.", USED),
        Check::sql(
            "voucher_undo_cycles",
            "A voucher was undone at least once and at most once for each reversed use.",
            UNDO_CYCLES,
        ),
        Check::sql(
            "voucher_locks",
            "A voucher's locked, refunded and forfeited uses are the sums of its locks.",
            LOCKS,
        ),
        Check::sql(
            "voucher_expired",
            "An expired voucher with free uses is looked at again, and none expired before its time.",
            EXPIRED,
        ),
        Check {
            name: "serials",
            what: "Each serial of a voucher is redeemed, locked or refunded at most once, and for its exact share.",
            proof: Proof::Serials,
        },
    ]
}

const LINE: &str = "
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id,
        v.total || ' uses and rule ' || v.rule_id || '; its line has ' || l.uses || ' and ' || l.rule_id
        || CASE WHEN v.order_id <> l.order_id THEN '; another order' WHEN v.sku_id <> l.sku_id OR v.product_id <> l.product_id THEN '; other goods' ELSE '' END AS detail
    FROM vouchers v JOIN order_lines l ON l.merchant_id = v.merchant_id AND l.id = v.line_id
    WHERE v.order_id <> l.order_id OR v.sku_id <> l.sku_id OR v.product_id <> l.product_id OR v.total <> l.uses OR v.rule_id <> l.rule_id";

// The largest remainder of equal shares: the first units get the fen that are left over.
const AMOUNT: &str = "
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id,
        v.amount_fen || ' fen for unit ' || v.unit_no || ' of ' || l.quantity || ' units for ' || l.pay_fen AS detail
    FROM vouchers v JOIN order_lines l ON l.merchant_id = v.merchant_id AND l.id = v.line_id
    WHERE v.amount_fen <> l.pay_fen / NULLIF(l.quantity, 0) + CASE WHEN v.unit_no <= l.pay_fen % NULLIF(l.quantity, 0) THEN 1 ELSE 0 END";

const CUSTOMER: &str = "
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id, 'its order is another customer''s' AS detail
    FROM vouchers v JOIN orders o ON o.merchant_id = v.merchant_id AND o.id = v.order_id
    WHERE v.customer_id <> o.customer_id AND v.transferred = 0 AND v.state NOT IN ('Transferring', 'Transferred')";

const RULE: &str = "
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id, 'no rule ' || v.rule_id AS detail
    FROM vouchers v LEFT JOIN redemption_rules r ON r.merchant_id = v.merchant_id AND r.id = v.rule_id
    WHERE r.id IS NULL";

const VALIDITY: &str = "
    SELECT 'vouchers' AS tbl, merchant_id, id, 'valid from ' || valid_from || ' to ' || valid_to AS detail
    FROM vouchers WHERE valid_from >= valid_to";

const BEGUN: &str = "
    SELECT v.merchant_id, v.id, v.valid_from, v.valid_to, r.body,
        (SELECT MIN(u.redeemed_at) FROM uses u WHERE u.merchant_id = v.merchant_id AND u.voucher_id = v.id AND u.state <> 'Reversed') AS begun_at
    FROM vouchers v JOIN redemption_rules r ON r.merchant_id = v.merchant_id AND r.id = v.rule_id
    WHERE (v.merchant_id, v.id) > ($1, $2) AND r.body LIKE '%activate_within_days%' ORDER BY v.merchant_id, v.id LIMIT $3";

pub(super) async fn prove_begun(snapshot: &Snapshot) -> Result<Found> {
    let mut found = Found::default();
    let mut after = (Uuid::nil(), Uuid::nil());
    loop {
        let rows = sql::rows(snapshot, BEGUN, params![after.0, after.1, PAGE]).await?;
        if rows.is_empty() {
            return Ok(found);
        }
        for row in rows {
            let (merchant_id, id): (MerchantId, VoucherId) = (row.get("merchant_id")?, row.get("id")?);
            let (valid_from, valid_to): (Timestamp, Timestamp) =
                (row.get("valid_from")?, row.get("valid_to")?);
            let rule: RedemptionRule = row.json("body")?;
            let expected = rule.valid_to_by_use(valid_from, row.get("begun_at")?);
            if expected.is_some_and(|expected| expected != valid_to) {
                found.push(
                    "vouchers",
                    merchant_id,
                    &id,
                    format!("valid to {valid_to}, not by its first use"),
                );
            }
            after = (merchant_id.uuid(), id.uuid());
        }
    }
}

const CODE: &str = "
    SELECT 'vouchers' AS tbl, merchant_id, id, 'shows ' || code_last4 AS detail
    FROM vouchers WHERE LENGTH(code_last4) <> 4 OR LTRIM(code_last4, '0123456789') <> ''";

const COUNTERS: &str = "
    SELECT 'vouchers' AS tbl, merchant_id, id,
        used || ' used, ' || locked_refund || ' + ' || locked_booking || ' locked, ' || refunded || ' refunded, '
        || transferred || ' transferred, ' || forfeited || ' forfeited of ' || total AS detail
    FROM vouchers
    WHERE used < 0 OR locked_refund < 0 OR locked_booking < 0 OR refunded < 0 OR transferred < 0 OR forfeited < 0
        OR used + locked_refund + locked_booking + refunded + transferred + forfeited > total";

const USED: &str = "
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id, v.used || ' used; ' || COALESCE(u.standing, 0) || ' uses stand' AS detail
    FROM vouchers v
    LEFT JOIN (SELECT merchant_id, voucher_id, COUNT(*) AS standing
               FROM uses WHERE state IN ('Done', 'Matured', 'Settled') GROUP BY merchant_id, voucher_id) u
        ON u.merchant_id = v.merchant_id AND u.voucher_id = v.id
    WHERE v.used <> COALESCE(u.standing, 0)";

// Undoing several uses of a voucher at once is one cycle.
const UNDO_CYCLES: &str = "
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id, v.undo_cycles || ' cycles; ' || COALESCE(u.reversed, 0) || ' uses reversed' AS detail
    FROM vouchers v
    LEFT JOIN (SELECT merchant_id, voucher_id, COUNT(*) AS reversed
               FROM uses WHERE state = 'Reversed' GROUP BY merchant_id, voucher_id) u
        ON u.merchant_id = v.merchant_id AND u.voucher_id = v.id
    WHERE v.undo_cycles > COALESCE(u.reversed, 0) OR (v.undo_cycles = 0 AND u.reversed > 0)";

const LOCKS: &str = "
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id,
        v.locked_refund || ' + ' || v.locked_booking || ' locked, ' || v.refunded || ' refunded; its locks say '
        || COALESCE(k.refund, 0) || ' + ' || COALESCE(k.booking, 0) || ', ' || COALESCE(k.refunded, 0) || '; ' || v.forfeited || ' forfeited of '
        || COALESCE(k.forfeited, 0) AS detail
    FROM vouchers v
    LEFT JOIN (SELECT merchant_id, voucher_id,
                   SUM(CASE WHEN kind = 'refund' AND state = 'Active' THEN quantity ELSE 0 END) AS refund,
                   SUM(CASE WHEN kind = 'booking' AND state = 'Active' THEN quantity ELSE 0 END) AS booking,
                   SUM(CASE WHEN kind = 'refund' AND state = 'Consumed' THEN quantity ELSE 0 END) AS refunded,
                   SUM(CASE WHEN kind = 'expiry' THEN quantity ELSE 0 END) AS forfeited
               FROM voucher_locks GROUP BY merchant_id, voucher_id) k
        ON k.merchant_id = v.merchant_id AND k.voucher_id = v.id
    WHERE v.locked_refund <> COALESCE(k.refund, 0) OR v.locked_booking <> COALESCE(k.booking, 0) OR v.refunded <> COALESCE(k.refunded, 0)
        OR v.forfeited <> COALESCE(k.forfeited, 0)";

// A forfeit's time is its transfer's; one that is worth nothing has none. An end that runs from the first use may have
// been earlier, before that use was undone.
const EXPIRED: &str = "
    SELECT 'vouchers' AS tbl, merchant_id, id, 'expired with free uses, and nobody looks at it again' AS detail
    FROM vouchers WHERE state = 'Expired' AND expire_again_at IS NULL
        AND used + locked_refund + locked_booking + refunded + transferred + forfeited < total
    UNION ALL
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id, 'valid to ' || v.valid_to || '; uses were forfeited at ' || t.at AS detail
    FROM voucher_locks k
    JOIN vouchers v ON v.merchant_id = k.merchant_id AND v.id = k.voucher_id
    JOIN ledger_transfers t ON t.merchant_id = k.merchant_id AND t.event = 'expiry' AND t.source_id = k.owner_id AND t.order_id = v.order_id
    JOIN redemption_rules r ON r.merchant_id = v.merchant_id AND r.id = v.rule_id
    WHERE k.kind = 'expiry' AND t.at < v.valid_to AND r.body NOT LIKE '%activate_within_days%'
    UNION ALL
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id, 'valid to ' || v.valid_to || '; expiry refunded it at ' || r.created_at AS detail
    FROM voucher_locks k
    JOIN vouchers v ON v.merchant_id = k.merchant_id AND v.id = k.voucher_id
    JOIN refunds r ON r.merchant_id = k.merchant_id AND r.id = k.owner_id
    JOIN redemption_rules rule ON rule.merchant_id = v.merchant_id AND rule.id = v.rule_id
    WHERE k.kind = 'refund' AND r.cause = 'expiry' AND r.created_at < v.valid_to AND rule.body NOT LIKE '%activate_within_days%'";
