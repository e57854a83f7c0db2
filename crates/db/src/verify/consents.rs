//! Consent: that nothing was redeemed in a customer's name without their tap, and what their tap took back.

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql(
            "consent_redemptions",
            "A redemption by consent was agreed to: for that scan, that store and that verifier.",
            REDEMPTIONS,
        ),
        Check::sql(
            "consent_customer",
            "What was redeemed by consent was the customer's who agreed.",
            CUSTOMER,
        ),
        Check::sql(
            "consent_withdrawals",
            "A tap that took refunds back redeemed by the scan it was asked for, and the refunds are withdrawn.",
            WITHDRAWALS,
        ),
    ]
}

const REDEMPTIONS: &str = "
    SELECT 'redemptions' AS tbl, r.merchant_id, r.id, 'by consent, which nobody gave for it' AS detail
    FROM redemptions r
    LEFT JOIN consent_requests c ON c.merchant_id = r.merchant_id AND c.prepare_nonce = r.prepare_nonce AND c.state = 'Used'
        AND c.staff_id = r.staff_id AND c.store_id = r.store_id
    WHERE r.method = 'consent' AND c.id IS NULL";

// A voucher that was given away since is somebody else's by now.
const CUSTOMER: &str = "
    SELECT 'consent_requests' AS tbl, c.merchant_id, c.id, 'another customer''s voucher was redeemed with it' AS detail
    FROM consent_requests c
    JOIN redemptions r ON r.merchant_id = c.merchant_id AND r.prepare_nonce = c.prepare_nonce
    JOIN uses u ON u.merchant_id = r.merchant_id AND u.redemption_id = r.id
    JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
    WHERE c.state = 'Used' AND v.customer_id <> c.customer_id AND v.transferred = 0 AND v.state NOT IN ('Transferring', 'Transferred')
    GROUP BY c.merchant_id, c.id";

const WITHDRAWALS: &str = "
    SELECT 'consent_requests' AS tbl, c.merchant_id, c.id,
        CASE WHEN r.id IS NULL THEN 'redeemed nothing' WHEN r.prepare_nonce <> c.prepare_nonce THEN 'redeemed by another scan'
             ELSE COALESCE(x.withdrawn, 0) || ' of ' || COALESCE(x.n, 0) || ' refunds withdrawn' END AS detail
    FROM consent_requests c
    LEFT JOIN redemptions r ON r.merchant_id = c.merchant_id AND r.id = c.redemption_id
    LEFT JOIN (SELECT w.merchant_id, w.consent_id, COUNT(*) AS n, SUM(CASE WHEN f.state = 'Withdrawn' THEN 1 ELSE 0 END) AS withdrawn
               FROM consent_refunds w JOIN refunds f ON f.merchant_id = w.merchant_id AND f.id = w.refund_id
               GROUP BY w.merchant_id, w.consent_id) x ON x.merchant_id = c.merchant_id AND x.consent_id = c.id
    WHERE c.kind = 'withdraw_refund' AND c.state = 'Used'
        AND (r.id IS NULL OR r.prepare_nonce <> c.prepare_nonce OR COALESCE(x.n, 0) = 0 OR x.withdrawn <> x.n)";
