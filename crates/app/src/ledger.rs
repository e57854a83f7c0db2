//! Postings of one event to one order's books.

use hexiao_core::id::{MerchantId, OrderId, StoreId};
use hexiao_core::ledger::LedgerEvent;
use hexiao_core::money::Money;
use hexiao_core::time::{BusinessDate, Timestamp};
use hexiao_db::ledger::Posting;
use uuid::Uuid;

use crate::keys::new_id;

/// Where and when a posting counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) merchant_id: MerchantId,
    pub(crate) store_id: StoreId,
    pub(crate) business_date: BusinessDate,
    pub(crate) at: Timestamp,
}

pub(crate) fn posting(
    place: Place,
    event: LedgerEvent,
    order_id: OrderId,
    source_id: Uuid,
    amount: Money,
) -> Posting {
    Posting {
        merchant_id: place.merchant_id,
        id: new_id(),
        event,
        amount,
        source_id,
        order_id,
        store_id: place.store_id,
        business_date: place.business_date,
        at: place.at,
    }
}
