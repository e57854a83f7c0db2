//! What webhooks are told: what happened, at their own merchant, and as it is said to be.

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql(
            "delivery_source",
            "Every delivery comes from a row of the outbox of its merchant and event, or is older than those that were deleted for their age.",
            SOURCE,
        ),
        Check::sql("delivery_event", "An event has one id and one body, for whichever webhook.", EVENT),
    ]
}

/// A delivery says when its event happened, so that it may outlive its source as a message may.
const SOURCE: &str = "
    SELECT 'webhook_deliveries' AS tbl, d.merchant_id, d.id,
      CASE WHEN o.seq IS NULL THEN 'no row ' || d.source_seq || ' in the outbox, which has all rows from its time'
           ELSE 'row ' || d.source_seq || ' of the outbox is another merchant''s or says ' || o.topic END AS detail
    FROM webhook_deliveries d LEFT JOIN outbox o ON o.seq = d.source_seq
    WHERE d.source_seq IS NOT NULL AND (o.merchant_id <> d.merchant_id OR o.topic <> d.event OR (o.seq IS NULL
      AND d.created_at >= COALESCE((SELECT before_at FROM prunings WHERE what = 'outbox'), 0)))";

const EVENT: &str = "
    SELECT 'webhook_deliveries' AS tbl, d.merchant_id, d.id, 'the event is told in two ways' AS detail FROM
      (SELECT merchant_id, id, event_id, body, event,
         LAG(event_id) OVER w AS other_id, LAG(body) OVER w AS other_body, LAG(event) OVER w AS other_event
       FROM webhook_deliveries WHERE source_seq IS NOT NULL WINDOW w AS (PARTITION BY merchant_id, source_seq ORDER BY id)) d
    WHERE d.event_id <> d.other_id OR d.body <> d.other_body OR d.event <> d.other_event";
