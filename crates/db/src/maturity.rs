//! Maturity: uses that can't be undone any more become the merchant's.

use std::collections::BTreeMap;

use hexiao_core::id::{MerchantId, OrderId, RedemptionId, StoreId, UseId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;

use crate::pool::{Conn, Result, Tx};
use crate::row::Param as _;
use crate::sql::{for_update, id_set, in_ids};
use crate::{params, sql};

/// A use that matures.
#[derive(Debug, Clone, Copy)]
pub struct Maturing {
    /// Its id.
    pub id: UseId,
    /// Redeemed by which request.
    pub redemption_id: RedemptionId,
    /// Bought in which order.
    pub order_id: OrderId,
    /// Redeemed where.
    pub store_id: StoreId,
    /// What it is worth.
    pub amount: Money,
}

/// Redemptions with uses that mature now, at whatever merchant, those of the first `limit` uses: the reconciler's work
/// list, the longest due first.
pub async fn due(c: &impl Conn, now: Timestamp, limit: u32) -> Result<Vec<(MerchantId, RedemptionId)>> {
    let text = "SELECT merchant_id, redemption_id FROM uses WHERE state = 'Done' AND matures_at <= $1 ORDER BY matures_at LIMIT $2";
    let rows = sql::rows(c, text, params![now, limit]).await?;
    let mut due: Vec<(MerchantId, RedemptionId)> =
        rows.iter().map(|r| Ok((r.get("merchant_id")?, r.get("redemption_id")?))).collect::<Result<_>>()?;
    due.sort_unstable();
    due.dedup();
    Ok(due)
}

/// Locks the vouchers of redemptions, in the order of their ids, and reads which of their uses mature now.
pub async fn lock(
    tx: &Tx,
    merchant: MerchantScope,
    redemptions: &[RedemptionId],
    now: Timestamp,
) -> Result<Vec<Maturing>> {
    let merchant_id = merchant.merchant_id().value();
    let text = format!(
        "SELECT DISTINCT voucher_id FROM uses WHERE merchant_id = $1 AND redemption_id {}",
        in_ids(tx, 2)
    );
    let rows = sql::rows(tx, &text, vec![merchant_id.clone(), id_set(redemptions)]).await?;
    let vouchers: Vec<VoucherId> = rows.iter().map(|r| r.get("voucher_id")).collect::<Result<_>>()?;
    let text = format!(
        "SELECT v.id, v.order_id FROM vouchers v WHERE v.merchant_id = $1 AND v.id {} ORDER BY v.id{}",
        in_ids(tx, 2),
        for_update(tx, "v")
    );
    let rows = sql::rows(tx, &text, vec![merchant_id.clone(), id_set(&vouchers)]).await?;
    let orders: BTreeMap<VoucherId, OrderId> =
        rows.iter().map(|r| Ok((r.get("id")?, r.get("order_id")?))).collect::<Result<_>>()?;
    let text = format!(
        "SELECT id, voucher_id, redemption_id, store_id, amount_fen FROM uses
         WHERE merchant_id = $1 AND redemption_id {} AND state = 'Done' AND matures_at <= $3",
        in_ids(tx, 2)
    );
    let rows = sql::rows(tx, &text, vec![merchant_id, id_set(redemptions), now.value()]).await?;
    let mut maturing = Vec::with_capacity(rows.len());
    for row in rows {
        // A use's voucher is locked with it: both were found by the same redemption.
        let Some(order_id) = orders.get(&row.get::<VoucherId>("voucher_id")?) else { continue };
        maturing.push(Maturing {
            id: row.get("id")?,
            redemption_id: row.get("redemption_id")?,
            order_id: *order_id,
            store_id: row.get("store_id")?,
            amount: row.get("amount_fen")?,
        });
    }
    Ok(maturing)
}

/// Marks uses as matured.
pub async fn mark(tx: &Tx, merchant: MerchantScope, ids: &[UseId]) -> Result<()> {
    let text = format!(
        "UPDATE uses SET state = 'Matured' WHERE merchant_id = $1 AND id {} AND state = 'Done'",
        in_ids(tx, 2)
    );
    let values = vec![merchant.merchant_id().value(), id_set(ids)];
    sql::execute_exactly(tx, ids.len(), "uses to mature", &text, values).await
}
