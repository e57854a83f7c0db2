//! Devices: that a revoked one opens nothing, and that nobody's session is on somebody else's.

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![Check::sql(
        "device_sessions",
        "A session on a registered device is its member's, and has ended where the device is revoked.",
        SESSIONS,
    )]
}

const SESSIONS: &str = "
    SELECT 'devices' AS tbl, d.merchant_id, d.id,
        CASE WHEN s.staff_id <> d.staff_id THEN 'a session of somebody else' ELSE 'revoked, and a session goes on' END AS detail
    FROM sessions s
    JOIN devices d ON d.merchant_id = s.merchant_id AND d.id = s.device_id
    WHERE s.staff_id <> d.staff_id OR (d.state = 'Revoked' AND s.revoked_at IS NULL)
    GROUP BY d.merchant_id, d.id, CASE WHEN s.staff_id <> d.staff_id THEN 'a session of somebody else' ELSE 'revoked, and a session goes on' END";
