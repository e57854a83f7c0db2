//! How the merchant as a whole works: what headquarters set once and every store follows.

use hexiao_core::catalog::Capability;
use hexiao_core::money::Money;
use hexiao_core::offline::{MAX_LIMITS, OfflinePolicy};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::time::Timestamp;
use hexiao_db::merchants::{self, Merchant};
use hexiao_db::{Tx, audit, transact};
use serde_json::json;

use super::changes;
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::Result;

/// The longest that a one-tap refund may wait before it is sent.
pub const MAX_REFUND_HOLD_S: i64 = 3600;

/// What changes; what is not named stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct SettingsEdit {
    /// Seconds a one-tap refund waits before it is sent: until then it can be taken back.
    pub refund_hold_s: Option<i64>,
    /// Whether only registered devices may redeem.
    pub require_device: Option<bool>,
    /// Uses that one device may redeem offline within a day.
    pub offline_uses: Option<u32>,
    /// Their worth.
    pub offline_amount: Option<Money>,
}

impl App {
    /// Changes the merchant's settings. Refunds that were asked for before keep their time.
    pub async fn edit_settings(&self, by: &StaffPrincipal, edit: SettingsEdit) -> Result<Merchant> {
        by.require(Capability::ManageSettings)?;
        if edit.refund_hold_s.is_some_and(|s| !(0..=MAX_REFUND_HOLD_S).contains(&s)) {
            return Err(Refusal::field("refund_hold_s", format!("应为 0–{MAX_REFUND_HOLD_S} 秒")).into());
        }
        let (uses, fen) = MAX_LIMITS;
        if edit.offline_uses.is_some_and(|n| n > uses) {
            return Err(Refusal::field("offline_uses", format!("应为 0–{uses} 次")).into());
        }
        if edit.offline_amount.is_some_and(|a| !(0..=fen).contains(&a.as_fen())) {
            return Err(Refusal::field("offline_amount_fen", "应为 0–1 亿元").into());
        }
        let now = self.now();
        transact!(self.db, |tx| edit_in(&tx, by, edit, now))
    }
}

async fn edit_in(tx: &Tx, by: &StaffPrincipal, edit: SettingsEdit, now: Timestamp) -> Result<Merchant> {
    let merchant = by.merchant();
    merchants::lock(tx, merchant).await?;
    let before = merchants::get(tx, merchant).await?.ok_or(Reason::NotFound)?;
    let after = Merchant {
        refund_hold_s: edit.refund_hold_s.unwrap_or(before.refund_hold_s),
        require_device: edit.require_device.unwrap_or(before.require_device),
        offline: OfflinePolicy {
            uses: edit.offline_uses.unwrap_or(before.offline.uses),
            amount: edit.offline_amount.unwrap_or(before.offline.amount),
        },
        ..before.clone()
    };
    let detail = changes(&editable(&before), &editable(&after));
    if detail.is_empty() {
        return Ok(before);
    }
    merchants::set_refund_hold(tx, merchant, after.refund_hold_s).await?;
    merchants::set_require_device(tx, merchant, after.require_device).await?;
    merchants::set_offline(tx, merchant, after.offline).await?;
    let subject = by.merchant_id.to_string();
    audit::record(tx, merchant, Some(by.staff_id), "settings.edit", &subject, &detail.into(), now).await?;
    Ok(after)
}

fn editable(merchant: &Merchant) -> serde_json::Value {
    json!({
        "refund_hold_s": merchant.refund_hold_s, "require_device": merchant.require_device,
        "offline_uses": merchant.offline.uses, "offline_amount_fen": merchant.offline.amount,
    })
}
