//! Bookings: the places they take, the uses they lock, and the vouchers they are of.

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql(
            "slot_taken",
            "The taken places of a slot are the sum of the bookings that hold places of it.",
            TAKEN,
        ),
        Check::sql("slot_never_oversold", "A slot has at least as many places as are taken.", OVERSOLD),
        Check::sql(
            "booking_voucher",
            "A booking has the customer, order and product of its voucher.",
            VOUCHER,
        ),
        Check::sql(
            "booking_locks",
            "A booking that is not over locks the uses that were not redeemed yet, any other none.",
            LOCKS,
        ),
        Check::sql("booking_lock_owner", "A lock of a booking is of its booking's voucher.", OWNER),
        Check::sql("booking_events", "A booking is in a state that an event of it led to.", EVENTS),
    ]
}

const TAKEN: &str = "
    SELECT 'booking_slots' AS tbl, s.merchant_id, s.plan_id AS id,
        'at ' || s.slot_start || ': ' || s.taken || ' taken; its bookings hold ' || COALESCE(b.held, 0) AS detail
    FROM booking_slots s
    LEFT JOIN (SELECT merchant_id, plan_id, slot_start, SUM(quantity) AS held FROM bookings
               WHERE state IN ('Held', 'Booked', 'Arrived', 'Completed', 'NoShow') GROUP BY merchant_id, plan_id, slot_start) b
        ON b.merchant_id = s.merchant_id AND b.plan_id = s.plan_id AND b.slot_start = s.slot_start
    WHERE s.taken <> COALESCE(b.held, 0)";

const OVERSOLD: &str = "
    SELECT 'booking_slots' AS tbl, merchant_id, plan_id AS id,
        'at ' || slot_start || ': ' || taken || ' taken of ' || capacity AS detail
    FROM booking_slots WHERE taken < 0 OR taken > capacity";

// A voucher that was given away has another customer than its bookings of before.
const VOUCHER: &str = "
    SELECT 'bookings' AS tbl, b.merchant_id, b.id,
        CASE WHEN b.order_id <> v.order_id THEN 'another order' WHEN b.product_id <> v.product_id THEN 'another product'
             ELSE 'another customer' END AS detail
    FROM bookings b JOIN vouchers v ON v.merchant_id = b.merchant_id AND v.id = b.voucher_id
    WHERE b.order_id <> v.order_id OR b.product_id <> v.product_id
        OR (b.customer_id <> v.customer_id AND b.state IN ('Held', 'Booked', 'Arrived'))";

const LOCKS: &str = "
    SELECT 'bookings' AS tbl, b.merchant_id, b.id,
        b.state || ', ' || b.redeemed || ' of ' || b.quantity || ' redeemed; ' || COALESCE(k.locked, 0) || ' locked' AS detail
    FROM bookings b
    LEFT JOIN (SELECT merchant_id, owner_id, SUM(quantity) AS locked FROM voucher_locks
               WHERE kind = 'booking' AND state = 'Active' GROUP BY merchant_id, owner_id) k
        ON k.merchant_id = b.merchant_id AND k.owner_id = b.id
    WHERE COALESCE(k.locked, 0) <> CASE WHEN b.state IN ('Held', 'Booked', 'Arrived') THEN b.quantity - b.redeemed ELSE 0 END";

const OWNER: &str = "
    SELECT 'voucher_locks' AS tbl, k.merchant_id, k.id, 'no booking of its voucher' AS detail
    FROM voucher_locks k LEFT JOIN bookings b
        ON b.merchant_id = k.merchant_id AND b.id = k.owner_id AND b.voucher_id = k.voucher_id
    WHERE k.kind = 'booking' AND b.id IS NULL";

// Clocks of two servers may differ, so the last event is not always the one with the greatest time.
const EVENTS: &str = "
    SELECT 'bookings' AS tbl, b.merchant_id, b.id, b.state || '; no event of it led there' AS detail
    FROM bookings b
    LEFT JOIN (SELECT DISTINCT merchant_id, booking_id, to_state FROM booking_events) e
        ON e.merchant_id = b.merchant_id AND e.booking_id = b.id AND e.to_state = b.state
    WHERE e.booking_id IS NULL";
