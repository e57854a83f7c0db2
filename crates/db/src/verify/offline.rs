//! Offline: that each entry is what was redeemed by it, and that nothing was passed over in silence.

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql(
            "offline_redemptions",
            "A redemption by an offline entry is what the entry says, and no other has one.",
            REDEMPTIONS,
        ),
        Check::sql(
            "offline_exceptions",
            "Every offline entry that was not simply accepted waits for a person, or one has looked at it.",
            EXCEPTIONS,
        ),
    ]
}

const REDEMPTIONS: &str = "
    SELECT 'redemptions' AS tbl, r.merchant_id, r.id, 'by ' || r.method || CASE WHEN e.seq IS NULL THEN ', without an entry' ELSE ', entry ' || e.seq || ' says otherwise' END AS detail
    FROM redemptions r
    LEFT JOIN offline_entries e ON e.merchant_id = r.merchant_id AND e.redemption_id = r.id
    WHERE (r.method = 'offline') <> (e.seq IS NOT NULL)
        OR (e.seq IS NOT NULL AND (r.store_id <> e.store_id OR r.staff_id <> e.staff_id OR r.quantity <> e.quantity OR r.amount_fen <> e.amount_fen))";

const EXCEPTIONS: &str = "
    SELECT 'devices' AS tbl, e.merchant_id, e.device_id AS id, 'entry ' || e.seq || ' was ' || e.verdict || ', and nobody is told' AS detail
    FROM offline_entries e
    LEFT JOIN exceptions x ON x.merchant_id = e.merchant_id AND x.device_id = e.device_id AND x.seq = e.seq
        AND x.kind = CASE e.verdict WHEN 'accepted_forced' THEN 'offline_forced' WHEN 'conflict' THEN 'offline_conflict' ELSE 'offline_rejected' END
    WHERE e.verdict <> 'accepted' AND x.id IS NULL";
