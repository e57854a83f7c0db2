//! Payments: that their parts add up, whose they are, and what became of late ones.

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql("payment_sum", "A payment is the sum of its parts, and it has a part.", SUM),
        Check::sql("payment_part", "A payment's part for an order is what the order costs.", PART),
        Check::sql("payment_method", "A payment of nothing, and only that, has no method.", METHOD),
        Check::sql(
            "payment_customer",
            "A payment belongs to the customer and the checkout of its orders.",
            CUSTOMER,
        ),
        Check::sql(
            "late_payment",
            "Money that came for a closed order is refunded whole, once; it is all of a late payment, and no other is late.",
            LATE,
        ),
    ]
}

const SUM: &str = "
    SELECT 'payments' AS tbl, p.merchant_id, p.id, p.amount_fen || ' fen; its parts are ' || COALESCE(part.amount, 0) AS detail
    FROM payments p
    LEFT JOIN (SELECT merchant_id, payment_id, SUM(amount_fen) AS amount FROM payment_orders GROUP BY merchant_id, payment_id) part
        ON part.merchant_id = p.merchant_id AND part.payment_id = p.id
    WHERE part.amount IS NULL OR part.amount <> p.amount_fen";

const PART: &str = "
    SELECT 'payment_orders' AS tbl, part.merchant_id, part.order_id AS id, part.amount_fen || ' fen for an order of ' || o.pay_fen AS detail
    FROM payment_orders part JOIN orders o ON o.merchant_id = part.merchant_id AND o.id = part.order_id
    WHERE part.amount_fen <> o.pay_fen";

const METHOD: &str = "
    SELECT 'payments' AS tbl, merchant_id, id, amount_fen || ' fen by ' || method AS detail
    FROM payments WHERE (amount_fen = 0) <> (method = 'none')";

const CUSTOMER: &str = "
    SELECT 'payments' AS tbl, p.merchant_id, p.id, 'pays for another customer''s or another checkout''s order' AS detail
    FROM payments p
    JOIN payment_orders part ON part.merchant_id = p.merchant_id AND part.payment_id = p.id
    JOIN orders o ON o.merchant_id = part.merchant_id AND o.id = part.order_id
    WHERE p.customer_id <> o.customer_id OR p.checkout_id <> o.checkout_id";

// Money for an order that was closed before it came is late, also when other orders of its payment were open.
const LATE: &str = "
    SELECT 'payments' AS tbl, p.merchant_id, p.id,
        CASE WHEN p.late THEN 'late' ELSE 'not late' END || '; ' || q.alive || ' of its orders are not closed' AS detail
    FROM payments p
    JOIN (SELECT part.merchant_id, part.payment_id,
              SUM(CASE WHEN o.state = 'Closed' AND o.close_reason <> 'group_failed' THEN 0 ELSE 1 END) AS alive
          FROM payment_orders part JOIN orders o ON o.merchant_id = part.merchant_id AND o.id = part.order_id
          GROUP BY part.merchant_id, part.payment_id) q
        ON q.merchant_id = p.merchant_id AND q.payment_id = p.id
    WHERE p.late <> (p.state = 'Succeeded' AND q.alive = 0)
    UNION ALL
    SELECT 'payments' AS tbl, p.merchant_id, p.id,
        COALESCE(r.n, 0) || ' late refunds of ' || COALESCE(r.amount, 0) || ' fen for a closed order''s ' || part.amount_fen AS detail
    FROM payments p
    JOIN payment_orders part ON part.merchant_id = p.merchant_id AND part.payment_id = p.id
    JOIN orders o ON o.merchant_id = part.merchant_id AND o.id = part.order_id
    LEFT JOIN (SELECT merchant_id, payment_id, order_id, COUNT(*) AS n, SUM(amount_fen) AS amount
               FROM refunds WHERE cause = 'late_payment' GROUP BY merchant_id, payment_id, order_id) r
        ON r.merchant_id = part.merchant_id AND r.payment_id = part.payment_id AND r.order_id = part.order_id
    WHERE p.state = 'Succeeded' AND o.state = 'Closed' AND o.close_reason <> 'group_failed'
        AND (COALESCE(r.n, 0) <> 1 OR r.amount <> part.amount_fen)
    UNION ALL
    SELECT 'refunds' AS tbl, r.merchant_id, r.id, 'of a late payment, for an order ' || o.state AS detail
    FROM refunds r JOIN orders o ON o.merchant_id = r.merchant_id AND o.id = r.order_id
    WHERE r.cause = 'late_payment' AND (o.state <> 'Closed' OR o.close_reason = 'group_failed')";
