//! Risk flags: that each is about what it says.

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql(
            "risk_redemption",
            "A risk flag about a redemption names its store and verifier; one about undoing names who undid.",
            REDEMPTION,
        ),
        Check::sql(
            "risk_undo_loop",
            "A voucher that is flagged for being undone again and again was undone three times.",
            UNDO_LOOP,
        ),
        Check::sql("risk_place", "Where a verifier was seen last, they redeemed at that instant.", PLACE),
    ]
}

const REDEMPTION: &str = "
    SELECT 'risk_flags' AS tbl, f.merchant_id, f.id, f.kind || ' says other things than its redemption' AS detail
    FROM risk_flags f JOIN redemptions r ON r.merchant_id = f.merchant_id AND r.id = f.redemption_id
    LEFT JOIN (SELECT DISTINCT merchant_id, redemption_id, reversed_by, reversed_at FROM uses WHERE reversed_at IS NOT NULL) u
      ON f.kind = 'undo_loop' AND u.merchant_id = f.merchant_id AND u.redemption_id = f.redemption_id
        AND u.reversed_by = f.staff_id AND u.reversed_at = f.created_at
    WHERE f.store_id <> r.store_id
      OR (f.kind <> 'undo_loop' AND (f.staff_id <> r.staff_id OR f.created_at <> r.occurred_at))
      OR (f.kind = 'undo_loop' AND u.redemption_id IS NULL)";

const UNDO_LOOP: &str = "
    SELECT 'risk_flags' AS tbl, f.merchant_id, f.id, 'its voucher was undone ' || COUNT(u.redemption_id) || ' times' AS detail
    FROM risk_flags f
    LEFT JOIN (SELECT DISTINCT merchant_id, voucher_id, redemption_id, reversed_at FROM uses WHERE reversed_at IS NOT NULL) u
      ON u.merchant_id = f.merchant_id AND u.voucher_id = f.voucher_id AND u.reversed_at <= f.created_at
    WHERE f.kind = 'undo_loop' AND f.voucher_id IS NOT NULL
    GROUP BY f.merchant_id, f.id HAVING COUNT(u.redemption_id) < 3";

const PLACE: &str = "
    SELECT 'risk_places' AS tbl, p.merchant_id, p.staff_id AS id, 'redeemed nothing there and then' AS detail
    FROM risk_places p
    LEFT JOIN redemptions r ON r.merchant_id = p.merchant_id AND r.staff_id = p.staff_id AND r.store_id = p.store_id AND r.occurred_at = p.at
    WHERE r.id IS NULL";
