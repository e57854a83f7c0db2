//! What headquarters and store managers set up: the merchant, its stores, products, stock and staff. Each change leaves a row in the
//! audit log, in the same transaction.

mod agreements;
mod booking_plans;
mod init;
mod product_checks;
mod product_edit;
mod product_input;
mod products;
mod settings;
mod staff;
mod stock;
mod stores;

use hexiao_core::id::Id;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::text::MobilePhone;
use hexiao_db::staff::SealedPhone;
use serde_json::{Map, Value, json};

use crate::auth::password_problem;
use crate::keys::{Keys, entropy};

pub use booking_plans::{MAX_BOOKING_PLANS, NewBookingPlan};
pub use init::{Agreements, NewMerchant, NewOwner, NewPayAccount};
pub use product_input::{
    Edit, MAX_SKUS, MAX_STORES, NewProduct, NewSku, ProductPatch, SkuPatch, StockPlan, Terms, rule_id,
};
pub use settings::{MAX_REFUND_HOLD_S, SettingsEdit};
pub use staff::{NewStaff, StaffAccount, StaffEdit};
pub use stock::{NewCount, StockChange};
pub use stores::{NewStore, StoreEdit};

/// A phone number at rest. The cipher is bound to its account, so that it cannot be moved to another row.
pub(crate) fn seal_phone(keys: &Keys, phone: &MobilePhone, owner: impl Id) -> SealedPhone {
    SealedPhone {
        hash: keys.peppers.current().phone_hash(phone).0,
        cipher: keys.code_keys.seal_text(phone.as_str(), entropy(), owner.uuid().as_bytes()),
        masked: phone.masked(),
    }
}

fn check_password(password: &str) -> Result<(), Refusal> {
    password_problem(password).map_or(Ok(()), |problem| Err(Refusal::field("password", problem)))
}

/// Refuses an edit of a version that is not the stored one. Without a version the last writer wins.
pub(crate) fn check_version(given: Option<i64>, stored: i64) -> Result<(), Refusal> {
    if given.is_none_or(|given| given == stored) { Ok(()) } else { Err(Reason::Stale.into()) }
}

/// The members that differ, as `{name: [before, after]}`: the audit log's detail of an edit.
pub(crate) fn changes(before: &Value, after: &Value) -> Map<String, Value> {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return Map::new() };
    let differ = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    differ.map(|(name, value)| (name.clone(), json!([before.get(name), value]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_name_what_differs_only() {
        let before = json!({"name": "老王", "tags": ["a"], "resting": false});
        let after = json!({"name": "老王", "tags": ["a", "b"], "resting": true});
        let expected = json!({"tags": [["a"], ["a", "b"]], "resting": [false, true]});
        assert_eq!(Value::Object(changes(&before, &after)), expected);
        assert!(changes(&before, &before).is_empty());
    }

    #[test]
    fn an_edit_of_an_old_version_is_stale() {
        assert!(check_version(None, 3).is_ok());
        assert!(check_version(Some(3), 3).is_ok());
        assert_eq!(check_version(Some(2), 3).unwrap_err().reason, Reason::Stale);
    }
}
