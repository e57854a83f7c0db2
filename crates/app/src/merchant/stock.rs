//! Counting and correcting stock. Orders take from it elsewhere.

use hexiao_core::catalog::{Capability, StockMode};
use hexiao_core::id::{SkuId, StockId, StoreId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::Stores;
use hexiao_core::time::Timestamp;
use hexiao_db::stock_admin::{self, Change, NewStock, Stock};
use hexiao_db::{Tx, audit, catalog, transact};
use serde_json::json;

use super::product_input::MAX_STOCK;
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::new_id;

/// How a stock row changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockChange {
    /// By so many units, up or down.
    Delta(i64),
    /// To what was counted, reserved units included.
    Counted(i64),
}

/// The first count for a store (or for all stores) that has none yet.
#[derive(Debug, Clone, Copy)]
pub struct NewCount {
    /// Of which SKU.
    pub sku_id: SkuId,
    /// In which store; none = shared by all.
    pub store_id: Option<StoreId>,
    /// Units.
    pub quantity: i64,
    /// Warn at this many.
    pub low_at: Option<i64>,
}

impl App {
    /// Corrects a stock row. Units that are reserved for orders cannot be taken away.
    pub async fn adjust_stock(
        &self,
        staff: &StaffPrincipal,
        id: StockId,
        change: StockChange,
        reason: &str,
    ) -> Result<Stock> {
        staff.require(Capability::ManageStock)?;
        let now = self.now();
        transact!(self.db, |tx| adjust(&tx, staff, id, change, reason, now))
    }

    /// Sets when a stock row counts as low; `None` = when nothing is left.
    pub async fn set_stock_low_at(
        &self,
        staff: &StaffPrincipal,
        id: StockId,
        low_at: Option<i64>,
    ) -> Result<Stock> {
        staff.require(Capability::ManageStock)?;
        check_count("low_at", low_at.unwrap_or(0))?;
        let now = self.now();
        transact!(self.db, |tx| set_low_at(&tx, staff, id, low_at, now))
    }

    /// Counts a SKU for the first time in a store.
    pub async fn create_stock(&self, staff: &StaffPrincipal, new: NewCount) -> Result<Stock> {
        staff.require(Capability::ManageStock)?;
        check_count("quantity", new.quantity)?;
        check_count("low_at", new.low_at.unwrap_or(0))?;
        let now = self.now();
        transact!(self.db, |tx| create(&tx, staff, new, now))
    }
}

fn check_count(field: &str, n: i64) -> Result<(), Refusal> {
    if (0..=MAX_STOCK).contains(&n) { Ok(()) } else { Err(Refusal::field(field, "应为 0–10000000")) }
}

/// The new number of units, unless it leaves the range or takes reserved units away.
fn decide(stock: &Stock, change: StockChange) -> Result<i64, Refusal> {
    let facts = stock.facts;
    let on_hand = match change {
        StockChange::Counted(n) => {
            check_count("counted", n)?;
            n
        }
        StockChange::Delta(0) => return Err(Refusal::field("delta", "不能为 0")),
        StockChange::Delta(delta) => {
            let sum = facts.on_hand.checked_add(delta).filter(|n| *n <= MAX_STOCK);
            sum.ok_or_else(|| Refusal::field("delta", "库存最多 10000000"))?
        }
    };
    if on_hand >= facts.reserved {
        Ok(on_hand)
    } else if facts.reserved > 0 {
        let message = format!("已被订单占用 {} 份，库存不能少于这个数", facts.reserved);
        Err(Refusal::with_message(Reason::IllegalState, message))
    } else {
        Err(Refusal::with_message(Reason::IllegalState, format!("现有库存只有 {} 份", facts.on_hand)))
    }
}

/// A stock row this member of staff may change: all of them, or those of their own stores.
async fn lock(tx: &Tx, staff: &StaffPrincipal, id: StockId) -> Result<Stock> {
    let missing = || Refusal::with_message(Reason::NotFound, "没有找到这条库存");
    let stock = stock_admin::lock(tx, &staff.scope, id).await?.ok_or_else(missing)?;
    may_write(staff, stock.store_id)?;
    Ok(stock)
}

fn may_write(staff: &StaffPrincipal, store_id: Option<StoreId>) -> Result<(), Refusal> {
    match (staff.scope.stores(), store_id) {
        (Stores::All, _) => Ok(()),
        (Stores::Only(_), Some(store_id)) => staff.require_store(store_id),
        (Stores::Only(_), None) => Err(Refusal::with_message(Reason::Forbidden, "共享库存由总部调整")),
    }
}

async fn reload(tx: &Tx, staff: &StaffPrincipal, id: StockId) -> Result<Stock> {
    let stock = stock_admin::get(tx, &staff.scope, id).await?;
    stock.ok_or_else(|| AppError::Internal("a stock row vanished".to_owned()))
}

async fn adjust(
    tx: &Tx,
    staff: &StaffPrincipal,
    id: StockId,
    how: StockChange,
    reason: &str,
    now: Timestamp,
) -> Result<Stock> {
    let stock = lock(tx, staff, id).await?;
    let on_hand = decide(&stock, how)?;
    let change = Change { staff_id: Some(staff.staff_id), reason, at: now };
    let merchant = staff.merchant();
    stock_admin::adjust(tx, merchant, id, on_hand - stock.facts.on_hand, change).await?;
    let detail = json!({ "on_hand": [stock.facts.on_hand, on_hand], "reason": reason });
    audit::record(tx, merchant, Some(staff.staff_id), "stock.adjust", &id.to_string(), &detail, now).await?;
    reload(tx, staff, id).await
}

async fn set_low_at(
    tx: &Tx,
    staff: &StaffPrincipal,
    id: StockId,
    low_at: Option<i64>,
    now: Timestamp,
) -> Result<Stock> {
    let stock = lock(tx, staff, id).await?;
    let merchant = staff.merchant();
    stock_admin::set_low_at(tx, merchant, id, low_at).await?;
    let detail = json!({ "low_at": [stock.low_at, low_at] });
    audit::record(tx, merchant, Some(staff.staff_id), "stock.update", &id.to_string(), &detail, now).await?;
    reload(tx, staff, id).await
}

async fn create(tx: &Tx, staff: &StaffPrincipal, new: NewCount, now: Timestamp) -> Result<Stock> {
    let merchant = staff.merchant();
    let missing = || Refusal::field("sku_id", "没有找到这个规格");
    let product_id = catalog::product_of_sku(tx, merchant, new.sku_id).await?.ok_or_else(missing)?;
    // The product is the lock under which its SKUs and their stock rows are made.
    catalog::lock(tx, merchant, product_id).await?.ok_or_else(missing)?;
    let product = catalog::detail(tx, &staff.scope, product_id).await?.ok_or_else(missing)?;
    let sku = product.skus.iter().find(|sku| sku.id == new.sku_id).ok_or_else(missing)?;
    match (sku.stock_mode, new.store_id) {
        (StockMode::Unlimited, _) => return Err(Refusal::field("sku_id", "该规格不限库存").into()),
        (StockMode::Own, None) => return Err(Refusal::field("store_id", "请选择门店").into()),
        (StockMode::Shared, Some(_)) => return Err(Refusal::field("store_id", "该规格使用共享库存").into()),
        (StockMode::Own, Some(store_id)) => {
            let known = !catalog::stores_known(tx, merchant, &[store_id]).await?.is_empty();
            if !known || !product.stores().contains(store_id) || !staff.scope.contains(store_id) {
                return Err(Refusal::field("store_id", "不在适用门店中").into());
            }
        }
        (StockMode::Shared, None) => may_write(staff, None)?,
    }
    if stock_admin::exists(tx, merchant, new.sku_id, new.store_id).await? {
        return Err(Refusal::with_message(Reason::Duplicate, "这条库存已存在，请直接调整").into());
    }
    let id: StockId = new_id();
    let row = NewStock {
        id,
        sku_id: new.sku_id,
        store_id: new.store_id,
        on_hand: new.quantity,
        low_at: new.low_at,
    };
    let change = Change { staff_id: Some(staff.staff_id), reason: "初始库存", at: now };
    stock_admin::insert(tx, merchant, &[row], change).await?;
    let detail = json!({ "sku_id": new.sku_id, "store_id": new.store_id, "on_hand": new.quantity });
    audit::record(tx, merchant, Some(staff.staff_id), "stock.create", &id.to_string(), &detail, now).await?;
    reload(tx, staff, id).await
}

#[cfg(test)]
mod tests {
    use hexiao_core::id::{Id, ProductId};
    use hexiao_core::stock::StockFacts;
    use uuid::Uuid;

    use super::*;

    fn stock(on_hand: i64, reserved: i64) -> Stock {
        let id = Uuid::from_u128(1);
        Stock {
            id: StockId::from_uuid(id),
            product_id: ProductId::from_uuid(id),
            product_name: String::new(),
            sku_id: SkuId::from_uuid(id),
            sku_name: String::new(),
            store_id: None,
            store_name: None,
            facts: StockFacts { on_hand, reserved },
            low_at: None,
        }
    }

    #[test]
    fn reserved_units_stay() {
        let stock = stock(10, 4);
        assert_eq!(decide(&stock, StockChange::Delta(-6)), Ok(4));
        assert_eq!(decide(&stock, StockChange::Counted(4)), Ok(4));
        for change in [StockChange::Delta(-7), StockChange::Counted(3)] {
            let refusal = decide(&stock, change).unwrap_err();
            assert_eq!(refusal.reason, Reason::IllegalState);
            assert!(refusal.message.contains("已被订单占用 4 份"), "{}", refusal.message);
        }
    }

    #[test]
    fn numbers_stay_in_range() {
        let stock = stock(10, 0);
        for change in [
            StockChange::Delta(0),
            StockChange::Delta(i64::MAX),
            StockChange::Delta(MAX_STOCK),
            StockChange::Counted(-1),
            StockChange::Counted(MAX_STOCK + 1),
        ] {
            assert_eq!(decide(&stock, change).unwrap_err().reason, Reason::InvalidField, "{change:?}");
        }
        assert_eq!(decide(&stock, StockChange::Delta(i64::MIN)).unwrap_err().reason, Reason::IllegalState);
    }
}
