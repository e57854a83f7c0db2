//! What stands behind outbox rows, for consumers that tell or count it: the uses of redemptions, the vouchers of
//! orders.

use hexiao_core::id::{OrderId, ProductId, RedemptionId, StaffId, StoreId, UseId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::{BusinessDate, Timestamp};

use crate::pool::{Conn, Result};
use crate::row::{FromRow, Param as _, Row};
use crate::sql;
use crate::sql::{id_set, in_ids};
use crate::vouchers::Voucher;

/// A use that was redeemed, whatever became of it.
#[derive(Debug, Clone)]
pub struct Used {
    /// Its id.
    pub id: UseId,
    /// In which redemption.
    pub redemption_id: RedemptionId,
    /// How the voucher was shown.
    pub method: String,
    /// Of which order.
    pub order_id: OrderId,
    /// Of which voucher.
    pub voucher_id: VoucherId,
    /// Of what.
    pub product_id: ProductId,
    /// Which use of the voucher.
    pub serial: u32,
    /// What it is worth.
    pub worth: Money,
    /// Where.
    pub store_id: StoreId,
    /// By whom.
    pub staff_id: StaffId,
    /// When.
    pub at: Timestamp,
    /// On which business day.
    pub business_date: BusinessDate,
    /// When it can't be undone any more.
    pub matures_at: Timestamp,
    /// When it was undone.
    pub reversed_at: Option<Timestamp>,
}

impl FromRow for Used {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            redemption_id: row.get("redemption_id")?,
            method: row.get("method")?,
            order_id: row.get("order_id")?,
            voucher_id: row.get("voucher_id")?,
            product_id: row.get("product_id")?,
            serial: row.get("serial")?,
            worth: row.get("amount_fen")?,
            store_id: row.get("store_id")?,
            staff_id: row.get("staff_id")?,
            at: row.get("redeemed_at")?,
            business_date: row.get("business_date")?,
            matures_at: row.get("matures_at")?,
            reversed_at: row.get("reversed_at")?,
        })
    }
}

/// All uses of some redemptions, also those that were undone.
pub async fn of_redemptions(
    c: &impl Conn,
    merchant: MerchantScope,
    ids: &[RedemptionId],
) -> Result<Vec<Used>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT u.id, u.redemption_id, r.method, v.order_id, u.voucher_id, v.product_id, u.serial, u.amount_fen, u.store_id, u.staff_id,
         u.redeemed_at, u.business_date, u.matures_at, u.reversed_at FROM uses u
         JOIN redemptions r ON r.merchant_id = u.merchant_id AND r.id = u.redemption_id
         JOIN vouchers v ON v.merchant_id = u.merchant_id AND v.id = u.voucher_id
         WHERE u.merchant_id = $1 AND u.redemption_id {} ORDER BY u.redemption_id, u.voucher_id, u.serial, u.id",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(ids)]).await
}

/// All vouchers of some orders.
pub async fn vouchers_of(c: &impl Conn, merchant: MerchantScope, orders: &[OrderId]) -> Result<Vec<Voucher>> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT * FROM vouchers WHERE merchant_id = $1 AND order_id {} ORDER BY order_id, line_id, unit_no",
        in_ids(c, 2)
    );
    sql::list(c, &text, vec![merchant.merchant_id().value(), id_set(orders)]).await
}
