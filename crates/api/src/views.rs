//! Shapes that several answers share.

use chrono::{DateTime, FixedOffset};
use hexiao_app::redeem::NearestStore;
use hexiao_core::id::StoreId;
use hexiao_core::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// An instant as the API shows it: RFC 3339 in China's time, where the people are.
pub type At = String;

/// Shows an instant.
pub fn at(t: Timestamp) -> At {
    let zone = FixedOffset::east_opt(8 * 3600);
    zone.map_or_else(
        || t.to_string(),
        |zone| {
            DateTime::with_timezone(&t.datetime(), &zone)
                .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, false)
        },
    )
}

/// Shows an instant that may be missing.
pub fn at_opt(t: Option<Timestamp>) -> Option<At> {
    t.map(at)
}

/// A refusal as staff see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusalBody {
    /// The closed code.
    #[schema(example = "used_up")]
    pub code: String,
    /// What happened, in Chinese.
    pub message: String,
    /// `customer`, `staff` or `system`.
    pub fault: String,
    /// What to do next, in Chinese.
    pub next_action: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// When the voucher can be used next, where that is what is wrong.
    #[schema(required)]
    pub next_usable_at: Option<At>,
    /// The nearest store at which it can be used, where that is what is wrong.
    #[schema(required)]
    pub nearest_store: Option<NearestStoreView>,
    /// The refund in the way was not sent: the customer can take it back by a tap.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub can_withdraw: bool,
}

/// A store at which a voucher can be used.
#[derive(Debug, Serialize, ToSchema)]
pub struct NearestStoreView {
    #[schema(value_type = String)]
    pub id: StoreId,
    pub name: String,
    pub address: String,
    /// From the store at which somebody asked.
    pub distance_m: i64,
    /// Whether it is open by its hours.
    pub open_now: bool,
}

impl From<NearestStore> for NearestStoreView {
    fn from(s: NearestStore) -> Self {
        Self { id: s.id, name: s.name, address: s.address, distance_m: s.distance_m, open_now: s.open_now }
    }
}

impl From<hexiao_app::redeem::RefusalView> for RefusalBody {
    fn from(r: hexiao_app::redeem::RefusalView) -> Self {
        Self {
            code: r.code.code().to_owned(),
            message: r.message,
            fault: r.fault,
            next_action: r.next_action,
            retryable: r.retryable,
            next_usable_at: at_opt(r.next_usable_at),
            nearest_store: r.nearest_store.map(Into::into),
            can_withdraw: r.can_withdraw,
        }
    }
}
