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
        Check::sql("message_source", "Every message comes from a row of the outbox.", MESSAGES),
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

const MESSAGES: &str = "
    SELECT 'messages' AS tbl, m.merchant_id, m.id, 'no row ' || m.source_seq || ' of its merchant in the outbox' AS detail
    FROM messages m LEFT JOIN outbox o ON o.seq = m.source_seq AND o.merchant_id = m.merchant_id
    WHERE o.seq IS NULL";
