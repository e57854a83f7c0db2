//! The few facts of a store that orders and redemptions stand on.

use std::collections::HashMap;

use hexiao_core::catalog::ReviewState;
use hexiao_core::id::{MerchantId, StoreId};
use hexiao_core::redeem::StoreFacts as Place;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::BusinessDay;

use crate::merchants::business_day;
use crate::pool::{Conn, Result};
use crate::row::{FromRow, Param as _, Row};
use crate::sql::{id_set, in_ids};
use crate::{params, sql};

/// What an order or a redemption needs to know of its store.
#[derive(Debug, Clone)]
pub struct StoreFacts {
    /// Whose.
    pub merchant_id: MerchantId,
    /// Its id.
    pub id: StoreId,
    /// Its name.
    pub name: String,
    /// In use: approved and not suspended.
    pub in_use: bool,
    /// Closed for the time being by its own staff.
    pub resting: bool,
    /// Its zone and cut-off.
    pub business_day: BusinessDay,
}

impl FromRow for StoreFacts {
    fn from_row(row: &Row) -> Result<Self> {
        let state: ReviewState = row.get("state")?;
        Ok(Self {
            merchant_id: row.get("merchant_id")?,
            id: row.get("id")?,
            name: row.get("name")?,
            in_use: state.in_use(),
            resting: row.get("resting")?,
            business_day: business_day(row)?,
        })
    }
}

impl StoreFacts {
    /// The store as the rules of redemption see it.
    pub fn place(&self) -> Place {
        Place { store_id: self.id, in_use: self.in_use, resting: self.resting, day: self.business_day }
    }
}

const COLUMNS: &str = "merchant_id, id, name, state, resting, zone, cutoff_hour";

/// A store that a customer names: it tells whose customer they are about to be.
pub async fn for_customer(c: &impl Conn, id: StoreId) -> Result<Option<StoreFacts>> {
    sql::find(c, &format!("SELECT {COLUMNS} FROM stores WHERE id = $1"), params![id]).await
}

/// A store of the merchant.
pub async fn get(c: &impl Conn, merchant: MerchantScope, id: StoreId) -> Result<Option<StoreFacts>> {
    let text = format!("SELECT {COLUMNS} FROM stores WHERE merchant_id = $1 AND id = $2");
    sql::find(c, &text, params![merchant.merchant_id(), id]).await
}

/// Stores of the merchant, by their ids.
pub async fn of(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[StoreId],
) -> Result<HashMap<StoreId, StoreFacts>> {
    let text = format!("SELECT {COLUMNS} FROM stores WHERE merchant_id = $1 AND id {}", in_ids(c, 2));
    let found: Vec<StoreFacts> =
        sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await?;
    Ok(found.into_iter().map(|store| (store.id, store)).collect())
}
