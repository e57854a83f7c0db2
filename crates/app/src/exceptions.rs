//! The exception desk 异常处理: what came of offline redemptions that a person has to look at.

use hexiao_core::catalog::Capability;
use hexiao_core::id::ExceptionId;
use hexiao_core::offline::{ExceptionOutcome, ExceptionState};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::time::Timestamp;
use hexiao_db::offline::{self, Exception};
use hexiao_db::{Tx, audit, transact};
use serde_json::json;

use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::Result;

impl App {
    /// Writes what was done about an exception. The same again, by the same person, changes nothing.
    pub async fn resolve_exception(
        &self,
        by: &StaffPrincipal,
        id: ExceptionId,
        outcome: ExceptionOutcome,
        note: &str,
    ) -> Result<Exception> {
        by.require(Capability::ApproveBackfill)?;
        let now = self.now();
        transact!(self.db, |tx| resolve(&tx, by, id, outcome, note, now))
    }
}

async fn resolve(
    tx: &Tx,
    by: &StaffPrincipal,
    id: ExceptionId,
    outcome: ExceptionOutcome,
    note: &str,
    now: Timestamp,
) -> Result<Exception> {
    let missing = || Refusal::with_message(Reason::NotFound, "没有找到这条异常");
    let mut found = offline::lock_exception(tx, &by.scope, id).await?.ok_or_else(missing)?;
    if found.state == ExceptionState::Resolved {
        let same = found.resolved_by == Some(by.staff_id)
            && found.outcome == Some(outcome)
            && found.note.as_deref() == Some(note);
        return if same {
            Ok(found)
        } else {
            Err(Refusal::with_message(Reason::IllegalState, "这条异常已经处理").into())
        };
    }
    found.state = ExceptionState::Resolved;
    (found.outcome, found.note) = (Some(outcome), Some(note.to_owned()));
    (found.resolved_by, found.resolved_at) = (Some(by.staff_id), Some(now));
    offline::resolve(tx, &found).await?;
    let detail = json!({ "kind": found.kind, "outcome": outcome, "note": note });
    let subject = id.to_string();
    audit::record(tx, by.merchant(), Some(by.staff_id), "exception.resolve", &subject, &detail, now).await?;
    Ok(found)
}
