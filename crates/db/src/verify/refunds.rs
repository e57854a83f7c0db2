//! Refunds: never more than was paid, one at a time, and for exactly the uses that they hold.

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql("refund_order", "A refund gives back an order's payment to the order's customer.", ORDER),
        Check::sql(
            "refund_amount",
            "A refund is worth the uses it holds; one of a late payment holds none.",
            AMOUNT,
        ),
        Check::sql(
            "refund_locks",
            "Uses kept by a refund are locked while it lasts, gone when it is done, free when it was withdrawn.",
            LOCKS,
        ),
        Check::sql("refund_total", "What is refunded of a payment is not above what was paid.", TOTAL),
        Check::sql(
            "refund_in_flight",
            "The refund a payment names as in flight is one of its own, and in flight.",
            IN_FLIGHT,
        ),
        Check::sql("refunds_in_flight", "A payment has at most one refund in flight.", ALL_IN_FLIGHT),
        Check::sql(
            "refund_count",
            "A payment counts the numbers of its refunds that were sent: at most 50.",
            COUNT,
        ),
        Check::sql("refund_booked", "A refund is booked if, and only if, it was sent.", BOOKED),
    ]
}

const ORDER: &str = "
    SELECT 'refunds' AS tbl, r.merchant_id, r.id, 'not the order''s customer or payment, or not paid' AS detail
    FROM refunds r
    JOIN orders o ON o.merchant_id = r.merchant_id AND o.id = r.order_id
    JOIN payments p ON p.merchant_id = r.merchant_id AND p.id = r.payment_id
    LEFT JOIN payment_orders part ON part.merchant_id = r.merchant_id AND part.payment_id = r.payment_id AND part.order_id = r.order_id
    WHERE r.customer_id <> o.customer_id OR part.order_id IS NULL OR p.state <> 'Succeeded'";

// A failed group-buy has issued no vouchers.
const AMOUNT: &str = "
    SELECT 'refunds' AS tbl, r.merchant_id, r.id, r.amount_fen || ' fen; its locks hold ' || COALESCE(k.amount, 0) AS detail
    FROM refunds r
    LEFT JOIN (SELECT merchant_id, owner_id, SUM(amount_fen) AS amount FROM voucher_locks WHERE kind = 'refund' GROUP BY merchant_id, owner_id) k
        ON k.merchant_id = r.merchant_id AND k.owner_id = r.id
    WHERE CASE WHEN r.cause IN ('late_payment', 'group_failed') THEN k.amount IS NOT NULL
               ELSE k.amount IS NULL OR k.amount <> r.amount_fen END";

const LOCKS: &str = "
    SELECT 'voucher_locks' AS tbl, k.merchant_id, k.id,
        k.state || ' for ' || CASE WHEN r.id IS NULL THEN 'no refund' WHEN r.order_id <> v.order_id THEN 'a refund of another order'
            ELSE 'a refund ' || r.state END AS detail
    FROM voucher_locks k
    JOIN vouchers v ON v.merchant_id = k.merchant_id AND v.id = k.voucher_id
    LEFT JOIN refunds r ON r.merchant_id = k.merchant_id AND r.id = k.owner_id
    WHERE k.kind = 'refund' AND (r.id IS NULL OR r.order_id <> v.order_id
        OR k.state <> CASE WHEN r.state IN ('Succeeded', 'ManuallyDone') THEN 'Consumed' WHEN r.state = 'Withdrawn' THEN 'Released' ELSE 'Active' END)";

const TOTAL: &str = "
    SELECT 'payments' AS tbl, p.merchant_id, p.id, r.amount || ' fen refunded of ' || p.amount_fen AS detail
    FROM payments p
    JOIN (SELECT merchant_id, payment_id, SUM(amount_fen) AS amount FROM refunds WHERE state <> 'Withdrawn' GROUP BY merchant_id, payment_id) r
        ON r.merchant_id = p.merchant_id AND r.payment_id = p.id
    WHERE r.amount > p.amount_fen";

const IN_FLIGHT: &str = "
    SELECT 'payments' AS tbl, p.merchant_id, p.id,
        'names ' || CASE WHEN r.id IS NULL THEN 'no refund' WHEN r.payment_id <> p.id THEN 'another payment''s refund' ELSE 'a refund ' || r.state END AS detail
    FROM payments p LEFT JOIN refunds r ON r.merchant_id = p.merchant_id AND r.id = p.refund_in_flight
    WHERE p.refund_in_flight IS NOT NULL
        AND (r.id IS NULL OR r.payment_id <> p.id OR r.state NOT IN ('Submitted', 'Processing', 'AbnormalSubmitted'))";

const ALL_IN_FLIGHT: &str = "
    SELECT 'payments' AS tbl, merchant_id, payment_id AS id, COUNT(*) || ' refunds in flight' AS detail
    FROM refunds WHERE state IN ('Submitted', 'Processing', 'AbnormalSubmitted')
    GROUP BY merchant_id, payment_id HAVING COUNT(*) > 1";

const COUNT: &str = "
    SELECT 'payments' AS tbl, p.merchant_id, p.id, 'counts ' || p.refund_count || '; ' || COALESCE(r.n, 0) || ' numbers were sent' AS detail
    FROM payments p
    LEFT JOIN (SELECT merchant_id, payment_id, SUM(attempt) AS n FROM refunds WHERE submitted_at IS NOT NULL GROUP BY merchant_id, payment_id) r
        ON r.merchant_id = p.merchant_id AND r.payment_id = p.id
    WHERE p.refund_count <> COALESCE(r.n, 0) OR p.refund_count > 50";

// A refund of nothing completes without being sent.
const BOOKED: &str = "
    SELECT 'refunds' AS tbl, merchant_id, id,
        state || CASE WHEN booked THEN ', booked' ELSE ', not booked' END || CASE WHEN submitted_at IS NULL THEN ', never sent' ELSE ', sent' END AS detail
    FROM refunds
    WHERE amount_fen > 0 AND (booked <> (state NOT IN ('Created', 'Withdrawn')) OR booked <> (submitted_at IS NOT NULL))";
