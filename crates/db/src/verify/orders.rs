//! Orders: their sums, their history, and what their state says of reservations, payment and vouchers.

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql(
            "line_sums",
            "A line's goods are price times quantity, and what is paid is goods less discount.",
            LINE_SUMS,
        ),
        Check::sql("order_sums", "An order's amounts are the sums of its lines.", ORDER_SUMS),
        Check::sql("order_number", "An order's number is 16 digits and unique in its merchant.", NUMBER),
        Check::sql("order_customer", "An order belongs to the customer of its checkout.", CUSTOMER),
        Check::sql(
            "order_events",
            "An order was created once, and its latest change of state led to the state it is in.",
            EVENTS,
        ),
        Check::sql(
            "order_payment",
            "An order is paid by one payment that succeeded in time; one that waits for its payment has none.",
            PAYMENT,
        ),
        Check::sql(
            "order_reservations",
            "A reservation fits its line, and is open, committed or released as its order is unpaid, paid or closed.",
            RESERVATIONS,
        ),
        Check::sql(
            "line_vouchers",
            "Each line of a paid order has one voucher for each unit.",
            LINE_VOUCHERS,
        ),
        Check::sql("unpaid_vouchers", "Only paid orders to redeem have vouchers.", UNPAID_VOUCHERS),
    ]
}

const LINE_SUMS: &str = "
    SELECT 'order_lines' AS tbl, merchant_id, id,
        quantity || ' at ' || unit_price_fen || ' fen: goods ' || goods_fen || ', discount ' || discount_fen || ', paid ' || pay_fen AS detail
    FROM order_lines
    WHERE goods_fen <> unit_price_fen * quantity OR pay_fen <> goods_fen - discount_fen OR pay_fen < 0";

const ORDER_SUMS: &str = "
    SELECT 'orders' AS tbl, o.merchant_id, o.id,
        'goods ' || o.goods_fen || ', discount ' || o.discount_fen || ', to pay ' || o.pay_fen || '; its ' || COALESCE(l.n, 0)
        || ' lines say ' || COALESCE(l.goods, 0) || ', ' || COALESCE(l.discount, 0) || ', ' || COALESCE(l.pay, 0) AS detail
    FROM orders o
    LEFT JOIN (SELECT merchant_id, order_id, COUNT(*) AS n, SUM(goods_fen) AS goods, SUM(discount_fen) AS discount, SUM(pay_fen) AS pay
               FROM order_lines GROUP BY merchant_id, order_id) l
        ON l.merchant_id = o.merchant_id AND l.order_id = o.id
    WHERE l.n IS NULL OR o.goods_fen <> l.goods OR o.discount_fen <> l.discount OR o.pay_fen <> l.pay";

// LTRIM leaves what does not begin with a digit: portable, unlike regular expressions.
const NUMBER: &str = "
    SELECT 'orders' AS tbl, o.merchant_id, o.id, 'number ' || o.number || ', ' || n.orders || ' times' AS detail
    FROM orders o
    JOIN (SELECT merchant_id, number, COUNT(*) AS orders FROM orders GROUP BY merchant_id, number) n
        ON n.merchant_id = o.merchant_id AND n.number = o.number
    WHERE n.orders > 1 OR LENGTH(o.number) <> 16 OR LTRIM(o.number, '0123456789') <> ''";

const CUSTOMER: &str = "
    SELECT 'orders' AS tbl, o.merchant_id, o.id, 'its checkout is another customer''s' AS detail
    FROM orders o LEFT JOIN checkouts c ON c.id = o.checkout_id
    WHERE c.id IS NULL OR c.customer_id <> o.customer_id";

// Two events of one transaction have the same instant, and nothing orders them: any of the latest may be the last.
const EVENTS: &str = "
    SELECT 'orders' AS tbl, o.merchant_id, o.id,
        'state ' || o.state || ', ' || COALESCE(e.creates, 0) || ' create events; no latest event leads there' AS detail
    FROM orders o
    LEFT JOIN (SELECT merchant_id, order_id, SUM(CASE WHEN event = 'create' THEN 1 ELSE 0 END) AS creates, MAX(at) AS last_at
               FROM order_events
               WHERE event IN ('create', 'pay', 'pay_into_group', 'group_succeed', 'group_fail', 'group_refunded', 'close')
               GROUP BY merchant_id, order_id) e
        ON e.merchant_id = o.merchant_id AND e.order_id = o.id
    WHERE COALESCE(e.creates, 0) <> 1
        OR NOT EXISTS (SELECT 1 FROM order_events x
            WHERE x.merchant_id = o.merchant_id AND x.order_id = o.id AND x.at = e.last_at
                AND x.event IN ('create', 'pay', 'pay_into_group', 'group_succeed', 'group_fail', 'group_refunded', 'close')
                AND COALESCE(x.to_state, 'PendingPayment') = o.state)";

const PAYMENT: &str = "
    SELECT 'orders' AS tbl, o.merchant_id, o.id, 'an order ' || o.state || ' with '
        || CASE WHEN p.id IS NULL THEN 'no payment' WHEN p.late THEN 'a late payment' ELSE 'a payment ' || p.state END AS detail
    FROM orders o
    LEFT JOIN payment_orders part ON part.merchant_id = o.merchant_id AND part.order_id = o.id
    LEFT JOIN payments p ON p.merchant_id = part.merchant_id AND p.id = part.payment_id
    WHERE CASE WHEN o.state IN ('Grouping', 'Paid', 'Refunding') OR o.close_reason = 'group_failed'
            THEN p.id IS NULL OR p.state <> 'Succeeded' OR p.late OR o.paid_at IS NULL
            ELSE o.state = 'PendingPayment' AND p.state = 'Succeeded' END";

const RESERVATIONS: &str = "
    SELECT 'stock_reservations' AS tbl, r.merchant_id, r.line_id AS id,
        r.state || ', ' || r.quantity || ' units, for a line of ' || l.quantity || ' in an order ' || o.state AS detail
    FROM stock_reservations r
    JOIN order_lines l ON l.merchant_id = r.merchant_id AND l.id = r.line_id
    JOIN orders o ON o.merchant_id = l.merchant_id AND o.id = l.order_id
    JOIN stocks s ON s.merchant_id = r.merchant_id AND s.id = r.stock_id
    WHERE r.order_id <> l.order_id OR r.quantity <> l.quantity OR s.sku_id <> l.sku_id
        OR r.state <> CASE WHEN o.state = 'PendingPayment' THEN 'Open' WHEN o.state = 'Paid' THEN 'Committed'
                           WHEN o.state = 'Closed' AND o.close_reason <> 'group_failed' THEN 'Released' ELSE r.state END";

const LINE_VOUCHERS: &str = "
    SELECT 'order_lines' AS tbl, l.merchant_id, l.id, l.quantity || ' units, ' || COALESCE(v.n, 0) || ' vouchers' AS detail
    FROM order_lines l
    JOIN orders o ON o.merchant_id = l.merchant_id AND o.id = l.order_id
    LEFT JOIN (SELECT merchant_id, line_id, COUNT(*) AS n, MIN(unit_no) AS low, MAX(unit_no) AS high
               FROM vouchers GROUP BY merchant_id, line_id) v
        ON v.merchant_id = l.merchant_id AND v.line_id = l.id
    WHERE o.kind = 'redeem' AND o.state = 'Paid' AND (v.n IS NULL OR v.n <> l.quantity OR v.low <> 1 OR v.high <> l.quantity)";

const UNPAID_VOUCHERS: &str = "
    SELECT 'vouchers' AS tbl, v.merchant_id, v.id, 'of an order ' || o.state || ' to ' || o.kind AS detail
    FROM vouchers v JOIN orders o ON o.merchant_id = v.merchant_id AND o.id = v.order_id
    WHERE o.kind <> 'redeem' OR o.state = 'PendingPayment' OR (o.state = 'Closed' AND o.close_reason <> 'group_failed')";
