//! The ledger against what happened: each transfer, each order's uses and open worth, each merchant's accounts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use hexiao_core::id::MerchantId;
use hexiao_core::ledger::{LedgerEvent, accounts};

use super::{Check, Found, Proof};
use crate::pool::{Result, Snapshot};
use crate::sql;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check {
            name: "ledger_accounts",
            what: "A transfer moves a positive amount between the two accounts of its event.",
            proof: Proof::Sql(Cow::Owned(accounts_text())),
        },
        Check::sql(
            "ledger_source",
            "A transfer's order, store and source exist and belong together.",
            SOURCE,
        ),
        Check::sql(
            "ledger_payments",
            "A payment that succeeded is in the ledger with each order's part, any other is not.",
            PAYMENTS,
        ),
        Check::sql(
            "ledger_redemptions",
            "A redemption is in the ledger with what it redeemed of each order.",
            REDEMPTIONS,
        ),
        Check::sql(
            "ledger_reversals",
            "What an order's redemptions moved, less what reversals moved back, is the worth of its uses not reversed.",
            REVERSALS,
        ),
        Check::sql(
            "ledger_maturity",
            "What a redemption earned of each order is the worth of its uses that matured, and not before their time.",
            MATURITY,
        ),
        Check::sql(
            "ledger_expiry",
            "What an order forfeited at once is in the ledger with the worth of those uses.",
            EXPIRY,
        ),
        Check::sql(
            "ledger_refunds",
            "A refund is in the ledger when it was sent, and again when it was done.",
            REFUNDS,
        ),
        Check::sql(
            "ledger_liability",
            "What is owed to an order's customer is the worth of the uses that are open.",
            LIABILITY,
        ),
        Check {
            name: "ledger_identity",
            what: "A merchant's accounts are what payments, uses and refunds say, and together they are what was paid.",
            proof: Proof::Identity,
        },
        Check::sql("ledger_never_negative", "No account is overdrawn that cannot be.", NEGATIVE),
    ]
}

/// The legal pairs of accounts come from the domain.
fn accounts_text() -> String {
    let mut text = "
        SELECT 'ledger_transfers' AS tbl, merchant_id, id, event || ' of ' || amount_fen || ' to ' || debit || ' from ' || credit AS detail
        FROM ledger_transfers WHERE amount_fen <= 0 OR CASE event"
        .to_owned();
    for event in LedgerEvent::ALL {
        let (debit, credit) = accounts(*event);
        // Writing to a String cannot fail.
        let _ = write!(text, " WHEN '{event}' THEN debit <> '{debit}' OR credit <> '{credit}'");
    }
    text.push_str(" END");
    text
}

const SOURCE: &str = "
    SELECT 'ledger_transfers' AS tbl, t.merchant_id, t.id, t.event || ' for an order or store that is not the merchant''s' AS detail
    FROM ledger_transfers t
    LEFT JOIN orders o ON o.merchant_id = t.merchant_id AND o.id = t.order_id
    LEFT JOIN stores s ON s.merchant_id = t.merchant_id AND s.id = t.store_id
    WHERE o.id IS NULL OR s.id IS NULL
    UNION ALL
    SELECT 'ledger_transfers' AS tbl, t.merchant_id, t.id, t.event || ' of no payment for this order' AS detail
    FROM ledger_transfers t
    LEFT JOIN payment_orders part ON part.merchant_id = t.merchant_id AND part.payment_id = t.source_id AND part.order_id = t.order_id
    WHERE t.event IN ('payment', 'late_payment') AND part.order_id IS NULL
    UNION ALL
    SELECT 'ledger_transfers' AS tbl, t.merchant_id, t.id, t.event || ' of no uses of this order' AS detail
    FROM ledger_transfers t
    LEFT JOIN (SELECT DISTINCT u.merchant_id, u.redemption_id, v.order_id
               FROM uses u JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id) q
        ON q.merchant_id = t.merchant_id AND q.redemption_id = t.source_id AND q.order_id = t.order_id
    WHERE t.event IN ('redemption', 'maturity') AND q.order_id IS NULL
    UNION ALL
    SELECT 'ledger_transfers' AS tbl, t.merchant_id, t.id, t.event || ' of no refund of this order' AS detail
    FROM ledger_transfers t
    LEFT JOIN refunds r ON r.merchant_id = t.merchant_id AND r.id = t.source_id AND r.order_id = t.order_id
    WHERE t.event IN ('refund_submitted', 'late_refund_submitted', 'refund_succeeded', 'refund_paid_manually') AND r.id IS NULL
    UNION ALL
    SELECT 'ledger_transfers' AS tbl, t.merchant_id, t.id, t.event || ' of no forfeited uses of this order' AS detail
    FROM ledger_transfers t
    LEFT JOIN (SELECT DISTINCT k.merchant_id, k.owner_id, v.order_id
               FROM voucher_locks k JOIN vouchers v ON v.merchant_id = k.merchant_id AND v.id = k.voucher_id WHERE k.kind = 'expiry') q
        ON q.merchant_id = t.merchant_id AND q.owner_id = t.source_id AND q.order_id = t.order_id
    WHERE t.event = 'expiry' AND q.order_id IS NULL";

// Money for an order that was closed before it came is late, whatever became of the payment's other orders.
const PAYMENTS: &str = "
    SELECT 'payments' AS tbl, q.merchant_id, q.id,
        q.state || ', ' || q.amount_fen || ' fen for an order ' || q.order_state || '; the ledger has '
        || COALESCE(t.amount_fen, 0) || ', and ' || COALESCE(late.amount_fen, 0) || ' late' AS detail
    FROM (SELECT p.merchant_id, p.id, p.state, part.order_id, part.amount_fen, o.state AS order_state,
              p.state = 'Succeeded' AND o.state = 'Closed' AND o.close_reason <> 'group_failed' AS is_late
          FROM payments p
          JOIN payment_orders part ON part.merchant_id = p.merchant_id AND part.payment_id = p.id
          JOIN orders o ON o.merchant_id = part.merchant_id AND o.id = part.order_id) q
    LEFT JOIN ledger_transfers t
        ON t.merchant_id = q.merchant_id AND t.event = 'payment' AND t.source_id = q.id AND t.order_id = q.order_id
    LEFT JOIN ledger_transfers late
        ON late.merchant_id = q.merchant_id AND late.event = 'late_payment' AND late.source_id = q.id AND late.order_id = q.order_id
    WHERE COALESCE(t.amount_fen, 0) <> CASE WHEN q.state = 'Succeeded' AND NOT q.is_late THEN q.amount_fen ELSE 0 END
        OR COALESCE(late.amount_fen, 0) <> CASE WHEN q.is_late THEN q.amount_fen ELSE 0 END";

const REDEMPTIONS: &str = "
    SELECT 'redemptions' AS tbl, q.merchant_id, q.redemption_id AS id,
        q.amount || ' fen of an order; the ledger has ' || COALESCE(t.amount_fen, 0) AS detail
    FROM (SELECT u.merchant_id, u.redemption_id, v.order_id, SUM(u.amount_fen) AS amount
          FROM uses u JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
          GROUP BY u.merchant_id, u.redemption_id, v.order_id) q
    LEFT JOIN ledger_transfers t
        ON t.merchant_id = q.merchant_id AND t.event = 'redemption' AND t.source_id = q.redemption_id AND t.order_id = q.order_id
    WHERE COALESCE(t.amount_fen, 0) <> q.amount";

const REVERSALS: &str = "
    SELECT 'orders' AS tbl, o.merchant_id, o.id,
        COALESCE(t.redeemed, 0) || ' redeemed, ' || COALESCE(t.reversed, 0) || ' reversed; uses not reversed are worth ' || COALESCE(u.amount, 0) AS detail
    FROM orders o
    LEFT JOIN (SELECT merchant_id, order_id,
                   SUM(CASE WHEN event = 'redemption' THEN amount_fen ELSE 0 END) AS redeemed,
                   SUM(CASE WHEN event = 'reversal' THEN amount_fen ELSE 0 END) AS reversed
               FROM ledger_transfers WHERE event IN ('redemption', 'reversal') GROUP BY merchant_id, order_id) t
        ON t.merchant_id = o.merchant_id AND t.order_id = o.id
    LEFT JOIN (SELECT v.merchant_id, v.order_id, SUM(u.amount_fen) AS amount
               FROM uses u JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
               WHERE u.state <> 'Reversed' GROUP BY v.merchant_id, v.order_id) u
        ON u.merchant_id = o.merchant_id AND u.order_id = o.id
    WHERE COALESCE(t.redeemed, 0) - COALESCE(t.reversed, 0) <> COALESCE(u.amount, 0)";

// A use taken back by review may have matured or not.
const MATURITY: &str = "
    SELECT 'redemptions' AS tbl, q.merchant_id, q.redemption_id AS id,
        COALESCE(t.amount_fen, 0) || ' fen of an order earned' || COALESCE(' at ' || t.at, '') || '; uses matured by '
        || COALESCE(q.matures_at, 0) || ' are worth ' || q.matured AS detail
    FROM (SELECT u.merchant_id, u.redemption_id, v.order_id,
              SUM(CASE WHEN u.state IN ('Matured', 'Settled') THEN u.amount_fen ELSE 0 END) AS matured,
              SUM(CASE WHEN u.state = 'ClawedBack' THEN u.amount_fen ELSE 0 END) AS clawed,
              MAX(CASE WHEN u.state IN ('Matured', 'Settled') THEN u.matures_at END) AS matures_at
          FROM uses u JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
          GROUP BY u.merchant_id, u.redemption_id, v.order_id) q
    LEFT JOIN ledger_transfers t
        ON t.merchant_id = q.merchant_id AND t.event = 'maturity' AND t.source_id = q.redemption_id AND t.order_id = q.order_id
    WHERE COALESCE(t.amount_fen, 0) NOT BETWEEN q.matured AND q.matured + q.clawed OR t.at < q.matures_at";

const EXPIRY: &str = "
    SELECT 'orders' AS tbl, q.merchant_id, q.order_id AS id,
        q.amount || ' fen forfeited at once; the ledger has ' || COALESCE(t.amount_fen, 0) AS detail
    FROM (SELECT k.merchant_id, k.owner_id, v.order_id, SUM(k.amount_fen) AS amount
          FROM voucher_locks k JOIN vouchers v ON v.merchant_id = k.merchant_id AND v.id = k.voucher_id
          WHERE k.kind = 'expiry' GROUP BY k.merchant_id, k.owner_id, v.order_id) q
    LEFT JOIN ledger_transfers t
        ON t.merchant_id = q.merchant_id AND t.event = 'expiry' AND t.source_id = q.owner_id AND t.order_id = q.order_id
    WHERE COALESCE(t.amount_fen, 0) <> q.amount";

const REFUNDS: &str = "
    SELECT 'refunds' AS tbl, r.merchant_id, r.id,
        r.state || CASE WHEN r.booked THEN ', booked, ' ELSE ', not booked, ' END || r.amount_fen || ' fen; the ledger has '
        || COALESCE(t.sent, 0) || ' sent, ' || COALESCE(t.late, 0) || ' sent as late, ' || COALESCE(t.done, 0) || ' done, '
        || COALESCE(t.by_hand, 0) || ' paid by hand' AS detail
    FROM refunds r
    LEFT JOIN (SELECT merchant_id, source_id,
                   SUM(CASE WHEN event = 'refund_submitted' THEN amount_fen ELSE 0 END) AS sent,
                   SUM(CASE WHEN event = 'late_refund_submitted' THEN amount_fen ELSE 0 END) AS late,
                   SUM(CASE WHEN event = 'refund_succeeded' THEN amount_fen ELSE 0 END) AS done,
                   SUM(CASE WHEN event = 'refund_paid_manually' THEN amount_fen ELSE 0 END) AS by_hand
               FROM ledger_transfers
               WHERE event IN ('refund_submitted', 'late_refund_submitted', 'refund_succeeded', 'refund_paid_manually')
               GROUP BY merchant_id, source_id) t
        ON t.merchant_id = r.merchant_id AND t.source_id = r.id
    WHERE COALESCE(t.sent, 0) <> CASE WHEN r.booked AND r.cause <> 'late_payment' THEN r.amount_fen ELSE 0 END
        OR COALESCE(t.late, 0) <> CASE WHEN r.booked AND r.cause = 'late_payment' THEN r.amount_fen ELSE 0 END
        OR COALESCE(t.done, 0) <> CASE WHEN r.state = 'Succeeded' THEN r.amount_fen ELSE 0 END
        OR COALESCE(t.by_hand, 0) <> CASE WHEN r.state = 'ManuallyDone' THEN r.amount_fen ELSE 0 END";

// Open is what is neither redeemed, nor on its way back, nor forfeited. Locked uses leave only when their refund is
// booked.
const LIABILITY: &str = "
    SELECT 'orders' AS tbl, o.merchant_id, o.id,
        COALESCE(t.owed, 0) || ' fen owed; ' || (COALESCE(v.amount, 0) - COALESCE(u.amount, 0) - COALESCE(k.amount, 0) - COALESCE(e.amount, 0))
        || ' fen of uses are open' AS detail
    FROM orders o
    LEFT JOIN (SELECT merchant_id, order_id,
                   SUM(CASE WHEN credit = 'customer_liability' THEN amount_fen WHEN debit = 'customer_liability' THEN -amount_fen ELSE 0 END) AS owed
               FROM ledger_transfers GROUP BY merchant_id, order_id) t
        ON t.merchant_id = o.merchant_id AND t.order_id = o.id
    LEFT JOIN (SELECT merchant_id, order_id, SUM(amount_fen) AS amount FROM vouchers GROUP BY merchant_id, order_id) v
        ON v.merchant_id = o.merchant_id AND v.order_id = o.id
    LEFT JOIN (SELECT v.merchant_id, v.order_id, SUM(u.amount_fen) AS amount
               FROM uses u JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
               WHERE u.state IN ('Done', 'Matured', 'Settled') GROUP BY v.merchant_id, v.order_id) u
        ON u.merchant_id = o.merchant_id AND u.order_id = o.id
    LEFT JOIN (SELECT r.merchant_id, r.order_id, SUM(k.amount_fen) AS amount
               FROM voucher_locks k JOIN refunds r ON r.merchant_id = k.merchant_id AND r.id = k.owner_id
               WHERE k.kind = 'refund' AND k.state <> 'Released' AND r.booked GROUP BY r.merchant_id, r.order_id) k
        ON k.merchant_id = o.merchant_id AND k.order_id = o.id
    LEFT JOIN (SELECT v.merchant_id, v.order_id, SUM(k.amount_fen) AS amount
               FROM voucher_locks k JOIN vouchers v ON v.merchant_id = k.merchant_id AND v.id = k.voucher_id
               WHERE k.kind = 'expiry' GROUP BY v.merchant_id, v.order_id) e
        ON e.merchant_id = o.merchant_id AND e.order_id = o.id
    WHERE o.kind = 'redeem' AND o.state NOT IN ('Grouping', 'Refunding') AND COALESCE(o.close_reason, '') <> 'group_failed'
        AND COALESCE(t.owed, 0) <> COALESCE(v.amount, 0) - COALESCE(u.amount, 0) - COALESCE(k.amount, 0) - COALESCE(e.amount, 0)";

// A clawback after a payout may overdraw what was earned, and fees, promotions and clearing go both ways.
const NEGATIVE: &str = "
    SELECT 'merchants' AS tbl, a.merchant_id, a.merchant_id AS id, a.account || ' is overdrawn: its credits less its debits are ' || a.fen AS detail
    FROM (SELECT merchant_id, account, SUM(fen) AS fen
          FROM (SELECT merchant_id, credit AS account, amount_fen AS fen FROM ledger_transfers
                UNION ALL SELECT merchant_id, debit AS account, -amount_fen AS fen FROM ledger_transfers) moves
          GROUP BY merchant_id, account) a
    WHERE (a.account = 'wechat_receivable' AND a.fen > 0)
        OR (a.account IN ('customer_liability', 'delivery_liability', 'merchant_pending', 'refund_in_transit', 'suspense', 'breakage',
                          'payable', 'stored_value_principal', 'stored_value_bonus', 'platform_commission') AND a.fen < 0)";

/// The sums of one side, ledger or facts: by merchant and name.
type Sums = BTreeMap<MerchantId, BTreeMap<String, i64>>;

// What happened, from the rows themselves. An order that was paid and has no vouchers (a group that is not full, a
// delivery) is owed as a whole.
const FACTS: &str = "
    SELECT merchant_id, name, CAST(SUM(fen) AS BIGINT) AS fen FROM (
        SELECT merchant_id, 'paid' AS name, amount_fen AS fen FROM payments WHERE state = 'Succeeded'
        UNION ALL SELECT p.merchant_id, 'suspense' AS name, part.amount_fen AS fen FROM payments p
            JOIN payment_orders part ON part.merchant_id = p.merchant_id AND part.payment_id = p.id
            JOIN orders o ON o.merchant_id = part.merchant_id AND o.id = part.order_id
            WHERE p.state = 'Succeeded' AND o.state = 'Closed' AND o.close_reason <> 'group_failed'
        UNION ALL SELECT merchant_id, 'suspense' AS name, -amount_fen AS fen FROM refunds WHERE booked AND cause = 'late_payment'
        UNION ALL SELECT merchant_id, 'pending' AS name, amount_fen AS fen FROM uses WHERE state = 'Done'
        UNION ALL SELECT merchant_id, 'earned' AS name, amount_fen AS fen FROM uses WHERE state IN ('Matured', 'Settled')
        UNION ALL SELECT merchant_id, 'refund in transit' AS name, amount_fen AS fen FROM refunds
            WHERE booked AND state NOT IN ('Succeeded', 'ManuallyDone', 'Withdrawn')
        UNION ALL SELECT merchant_id, 'refunded' AS name, amount_fen AS fen FROM refunds WHERE state IN ('Succeeded', 'ManuallyDone')
        UNION ALL SELECT merchant_id, 'breakage' AS name, amount_fen AS fen FROM voucher_locks WHERE kind = 'expiry'
        UNION ALL SELECT merchant_id, 'liabilities' AS name, -amount_fen AS fen FROM voucher_locks WHERE kind = 'expiry'
        UNION ALL SELECT merchant_id, 'liabilities' AS name, amount_fen AS fen FROM vouchers
        UNION ALL SELECT merchant_id, 'liabilities' AS name, pay_fen AS fen FROM orders
            WHERE state IN ('Grouping', 'Refunding') OR close_reason = 'group_failed' OR (kind = 'delivery' AND state = 'Paid')
        UNION ALL SELECT merchant_id, 'liabilities' AS name, -amount_fen AS fen FROM uses WHERE state IN ('Done', 'Matured', 'Settled')
        UNION ALL SELECT merchant_id, 'liabilities' AS name, -amount_fen AS fen FROM refunds WHERE booked AND cause <> 'late_payment'
    ) facts GROUP BY merchant_id, name";

// What the ledger says. What was paid out counts as earned.
const BOOKS: &str = "
    SELECT merchant_id, name, CAST(SUM(fen) AS BIGINT) AS fen FROM (
        SELECT merchant_id, 'paid' AS name, amount_fen AS fen FROM ledger_transfers WHERE event IN ('payment', 'late_payment')
        UNION ALL SELECT merchant_id, 'refunded' AS name, amount_fen AS fen FROM ledger_transfers WHERE event IN ('refund_succeeded', 'refund_paid_manually')
        UNION ALL SELECT merchant_id, 'earned' AS name, amount_fen AS fen FROM ledger_transfers WHERE event = 'payout'
        UNION ALL SELECT merchant_id, CASE WHEN credit = 'suspense' THEN 'suspense' WHEN credit = 'merchant_pending' THEN 'pending'
            WHEN credit = 'merchant_earned' THEN 'earned' WHEN credit = 'refund_in_transit' THEN 'refund in transit'
            WHEN credit = 'breakage' THEN 'breakage' ELSE 'liabilities' END AS name, amount_fen AS fen
            FROM ledger_transfers
            WHERE credit IN ('suspense', 'merchant_pending', 'merchant_earned', 'refund_in_transit', 'breakage', 'customer_liability', 'delivery_liability')
        UNION ALL SELECT merchant_id, CASE WHEN debit = 'suspense' THEN 'suspense' WHEN debit = 'merchant_pending' THEN 'pending'
            WHEN debit = 'merchant_earned' THEN 'earned' WHEN debit = 'refund_in_transit' THEN 'refund in transit'
            WHEN debit = 'breakage' THEN 'breakage' ELSE 'liabilities' END AS name, -amount_fen AS fen
            FROM ledger_transfers
            WHERE debit IN ('suspense', 'merchant_pending', 'merchant_earned', 'refund_in_transit', 'breakage', 'customer_liability', 'delivery_liability')
    ) books GROUP BY merchant_id, name";

/// Where paid money is: these sum to what was paid.
const PARTS: [&str; 7] =
    ["earned", "pending", "breakage", "refunded", "refund in transit", "liabilities", "suspense"];

pub(super) async fn prove_identity(snapshot: &Snapshot) -> Result<Found> {
    let facts = sums(snapshot, FACTS).await?;
    let books = sums(snapshot, BOOKS).await?;
    let mut merchants: Vec<MerchantId> = facts.keys().chain(books.keys()).copied().collect();
    merchants.sort_unstable();
    merchants.dedup();
    let mut found = Found::default();
    for merchant in merchants {
        let get = |sums: &Sums, name| sums.get(&merchant).and_then(|m| m.get(name)).copied().unwrap_or(0);
        let mut wrong = Vec::new();
        for name in ["paid"].into_iter().chain(PARTS) {
            let (fact, book) = (get(&facts, name), get(&books, name));
            if fact != book {
                wrong.push(format!("{name}: {fact} happened, {book} in the ledger"));
            }
        }
        let (paid, parts) = (get(&facts, "paid"), PARTS.map(|name| get(&facts, name)));
        let sum = parts.into_iter().fold(0, i64::saturating_add);
        if paid != sum {
            wrong.push(format!("paid {paid}, but {sum} is where money can be"));
        }
        if !wrong.is_empty() {
            found.push("merchants", merchant, &merchant, wrong.join("; "));
        }
    }
    Ok(found)
}

async fn sums(snapshot: &Snapshot, text: &str) -> Result<Sums> {
    let mut sums = Sums::new();
    for row in sql::rows(snapshot, text, vec![]).await? {
        sums.entry(row.get("merchant_id")?).or_default().insert(row.get("name")?, row.get("fen")?);
    }
    Ok(sums)
}
