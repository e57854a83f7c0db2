//! Redemptions: that they are the sum of their uses, made where and by whom they say, and can be answered again.

use hexiao_core::id::{Id as _, MerchantId, RedemptionId};
use uuid::Uuid;

use super::{Check, Found, Proof};
use crate::params;
use crate::pool::{Result, Snapshot};
use crate::sql;

/// Answers of one page.
const PAGE: i64 = 2_000;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql(
            "redemption_sums",
            "A redemption is the sum of its uses, also of those reversed later.",
            SUMS,
        ),
        Check::sql(
            "use_place",
            "A use was redeemed at the store and by the person of its redemption.",
            PLACE,
        ),
        Check::sql(
            "redemption_times",
            "A redemption is recorded when it happens, later only where it says so; its uses happened with it.",
            TIMES,
        ),
        Check::sql(
            "redemption_backfill",
            "A redemption that was recorded later has the backfill that says why, and no other has one.",
            BACKFILL,
        ),
        Check::sql(
            "backfill_redemption",
            "A backfill that was redeemed is the redemption it names.",
            BACKFILLED,
        ),
        Check {
            name: "redemption_answers",
            what: "The answer of every redemption is JSON, so that it can be given again.",
            proof: Proof::Answers,
        },
    ]
}

const SUMS: &str = "
    SELECT 'redemptions' AS tbl, r.merchant_id, r.id,
        r.quantity || ' uses for ' || r.amount_fen || ' fen; there are ' || COALESCE(u.n, 0) || ' for ' || COALESCE(u.amount, 0) AS detail
    FROM redemptions r
    LEFT JOIN (SELECT merchant_id, redemption_id, COUNT(*) AS n, SUM(amount_fen) AS amount FROM uses GROUP BY merchant_id, redemption_id) u
        ON u.merchant_id = r.merchant_id AND u.redemption_id = r.id
    WHERE r.quantity <> COALESCE(u.n, 0) OR r.amount_fen <> COALESCE(u.amount, 0)";

const PLACE: &str = "
    SELECT 'uses' AS tbl, u.merchant_id, u.id, 'at another store or by another person than its redemption' AS detail
    FROM uses u JOIN redemptions r ON r.merchant_id = u.merchant_id AND r.id = u.redemption_id
    WHERE u.store_id <> r.store_id OR u.staff_id <> r.staff_id";

const TIMES: &str = "
    SELECT 'redemptions' AS tbl, r.merchant_id, r.id, 'by ' || r.method || ' at ' || r.occurred_at || ', recorded at ' || r.recorded_at AS detail
    FROM redemptions r
    WHERE r.occurred_at > r.recorded_at OR (r.occurred_at <> r.recorded_at AND r.method NOT IN ('backfill', 'offline'))
    UNION ALL
    SELECT 'uses' AS tbl, u.merchant_id, u.id, 'redeemed at ' || u.redeemed_at || ', its redemption at ' || r.occurred_at AS detail
    FROM uses u JOIN redemptions r ON r.merchant_id = u.merchant_id AND r.id = u.redemption_id
    WHERE u.redeemed_at <> r.occurred_at";

const BACKFILL: &str = "
    SELECT 'redemptions' AS tbl, r.merchant_id, r.id, 'by ' || r.method || CASE WHEN b.id IS NULL THEN ', without' ELSE ', with' END || ' a backfill' AS detail
    FROM redemptions r LEFT JOIN backfills b ON b.merchant_id = r.merchant_id AND b.redemption_id = r.id
    WHERE (r.method = 'backfill') <> (b.id IS NOT NULL)";

const BACKFILLED: &str = "
    SELECT 'backfills' AS tbl, b.merchant_id, b.id, b.quantity || ' uses at ' || b.occurred_at || '; redeemed were ' || r.quantity || ' at ' || r.occurred_at AS detail
    FROM backfills b JOIN redemptions r ON r.merchant_id = b.merchant_id AND r.id = b.redemption_id
    WHERE r.store_id <> b.store_id OR r.staff_id <> b.staff_id OR r.quantity <> b.quantity OR r.occurred_at <> b.occurred_at";

const ANSWERS: &str = "
    SELECT merchant_id, id, answer FROM redemptions WHERE (merchant_id, id) > ($1, $2) ORDER BY merchant_id, id LIMIT $3";

pub(super) async fn prove_answers(snapshot: &Snapshot) -> Result<Found> {
    let mut found = Found::default();
    let mut after = (Uuid::nil(), Uuid::nil());
    loop {
        let rows = sql::rows(snapshot, ANSWERS, params![after.0, after.1, PAGE]).await?;
        if rows.is_empty() {
            return Ok(found);
        }
        for row in rows {
            let (merchant_id, id): (MerchantId, RedemptionId) = (row.get("merchant_id")?, row.get("id")?);
            let answer: String = row.get("answer")?;
            if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&answer) {
                found.push("redemptions", merchant_id, &id, format!("its answer is no JSON: {error}"));
            }
            after = (merchant_id.uuid(), id.uuid());
        }
    }
}
