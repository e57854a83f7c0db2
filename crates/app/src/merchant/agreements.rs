//! Editing what customers agree to: each edit is a new version, and the old ones stay.

use hexiao_core::agreement::{AgreementKind, MAX_AGREEMENT_VERSIONS, clean_agreement};
use hexiao_core::catalog::Capability;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::time::Timestamp;
use hexiao_db::agreements::{self, Agreement, Heading};
use hexiao_db::{Tx, audit, merchants, transact};
use serde_json::json;

use super::check_version;
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::Result;
use crate::keys::new_id;

impl App {
    /// Puts another text in force. The same text again changes nothing.
    pub async fn publish_agreement(
        &self,
        by: &StaffPrincipal,
        kind: AgreementKind,
        version: Option<i64>,
        body: &str,
    ) -> Result<Agreement> {
        by.require(Capability::ManageAgreements)?;
        let body = clean_agreement(body).map_err(|e| Refusal::field("body", e.to_string()))?;
        let now = self.now();
        transact!(self.db, |tx| publish(&tx, by, kind, version, body.clone(), now))
    }
}

async fn publish(
    tx: &Tx,
    by: &StaffPrincipal,
    kind: AgreementKind,
    version: Option<i64>,
    body: String,
    now: Timestamp,
) -> Result<Agreement> {
    let merchant = by.merchant();
    merchants::lock(tx, merchant).await?;
    let before = agreements::get(tx, by.merchant_id, kind).await?;
    let stored = before.as_ref().map_or(0, |agreement| agreement.heading.version);
    check_version(version, stored)?;
    if let Some(same) = before.filter(|agreement| agreement.body == body) {
        return Ok(same);
    }
    if stored >= MAX_AGREEMENT_VERSIONS {
        let text = format!("一份协议最多保存 {MAX_AGREEMENT_VERSIONS} 个版本");
        return Err(Refusal::with_message(Reason::IllegalState, text).into());
    }
    let heading = Heading { kind, version: stored + 1, published_at: now };
    let after = Agreement { heading, body };
    agreements::insert(tx, merchant, new_id(), &after).await?;
    // The words themselves are kept, version by version.
    let detail = json!({ "version": [stored, stored + 1], "chars": after.body.chars().count() });
    audit::record(tx, merchant, Some(by.staff_id), "agreement.publish", kind.as_str(), &detail, now).await?;
    Ok(after)
}
