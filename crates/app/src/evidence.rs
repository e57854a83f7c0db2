//! The evidence sheet of a voucher: everything that is recorded of it, for a dispute. Whoever looks leaves a row in the
//! audit log.

use hexiao_core::catalog::Capability;
use hexiao_core::id::VoucherId;
use hexiao_core::reason::Reason;
use hexiao_db::evidence::{self, Evidence};
use hexiao_db::{audit, transact};
use serde_json::json;

use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};

impl App {
    /// What is recorded of a voucher of the caller's stores, as of one instant.
    pub async fn voucher_evidence(&self, by: &StaffPrincipal, id: VoucherId) -> Result<Evidence> {
        by.require(Capability::ReadEvidence)?;
        let snapshot = self.db.snapshot().await?;
        let found = evidence::collect(&snapshot, &by.scope, id).await?.ok_or(Reason::NotFound)?;
        // Nothing is read any more, and the row in the log needs the writer.
        drop(snapshot);
        let (merchant, now) = (by.merchant(), self.now());
        let detail = json!({"order": found.order.id});
        let logged: Result<()> = transact!(self.db, |tx| async {
            let (staff, subject) = (Some(by.staff_id), id.to_string());
            audit::record(&tx, merchant, staff, "voucher.evidence", &subject, &detail, now).await?;
            Ok::<_, AppError>(())
        });
        logged.map(|()| found)
    }
}
