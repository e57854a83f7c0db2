//! What runs behind the requests: jobs and messages.

use std::borrow::Cow;

use super::{Check, Proof};
use crate::jobs::MAX_ATTEMPTS;

pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::sql("job_lease", "A running job has a lease that ends.", LEASE),
        Check {
            name: "job_attempts",
            what: "A job that failed as often as it may does not wait for another attempt.",
            proof: Proof::Sql(Cow::Owned(attempts_text())),
        },
        Check::sql(
            "message_source",
            "Every message comes from a row of the outbox, or is older than those that were deleted for their age.",
            MESSAGES,
        ),
    ]
}

/// The limit is the queue's.
fn attempts_text() -> String {
    format!(
        "SELECT 'jobs' AS tbl, merchant_id, id, kind || ' waits after ' || attempts || ' attempts' AS detail
         FROM jobs WHERE state = 'Ready' AND attempts >= {MAX_ATTEMPTS}"
    )
}

const LEASE: &str = "
    SELECT 'jobs' AS tbl, merchant_id, id, kind || ' runs without a lease' AS detail
    FROM jobs WHERE state = 'Running' AND lease_until IS NULL";

/// A message stays when its source is deleted for its age; how far that went is written down where it is done.
const MESSAGES: &str = "
    SELECT 'messages' AS tbl, m.merchant_id, m.id,
      CASE WHEN o.seq IS NULL THEN 'no row ' || m.source_seq || ' in the outbox, which has all rows from its time'
           ELSE 'row ' || m.source_seq || ' of the outbox is another merchant''s' END AS detail
    FROM messages m LEFT JOIN outbox o ON o.seq = m.source_seq
    WHERE o.merchant_id <> m.merchant_id OR (o.seq IS NULL
      AND m.at >= COALESCE((SELECT before_at FROM prunings WHERE what = 'outbox'), 0))";
