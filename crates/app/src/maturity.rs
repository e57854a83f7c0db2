//! Maturity: a use that can't be undone any more becomes the merchant's revenue.
//!
//! Undoing locks the voucher first, and so does this: of the two, one always comes too late.

use std::collections::BTreeMap;

use hexiao_core::id::{MerchantId, OrderId, RedemptionId, StoreId, UseId};
use hexiao_core::ledger::LedgerEvent;
use hexiao_core::money::Money;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::{Tx, ledger, maturity, store_facts};

use crate::bulk::{self, Bulk};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::ledger::{Place, posting};

/// Uses of one round.
const ROUND: u32 = 500;

struct Maturity;

impl Bulk for Maturity {
    type Row = RedemptionId;
    const NAME: &'static str = "maturity";
    const SET: usize = 500;
    const AFTER_COMMIT: &'static str = "maturity.after_commit";

    async fn due(app: &App, now: Timestamp) -> Result<Vec<(MerchantId, RedemptionId)>> {
        Ok(maturity::due(app.db.reader(), now, ROUND).await?)
    }

    async fn run(
        app: &App,
        tx: &Tx,
        merchant: MerchantScope,
        rows: &[RedemptionId],
        now: Timestamp,
    ) -> Result<usize> {
        mature(app, tx, merchant, rows, now).await
    }
}

impl App {
    /// Lets uses mature whose time has come; how many. Called by the worker, one round for each tick.
    pub async fn mature_uses(&self) -> Result<usize> {
        bulk::round::<Maturity>(self).await
    }
}

/// All due uses of the redemptions, so that a redemption earns once for each order. Order of locks: vouchers, uses.
async fn mature(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    redemptions: &[RedemptionId],
    now: Timestamp,
) -> Result<usize> {
    let uses = maturity::lock(tx, merchant, redemptions, now).await?;
    if uses.is_empty() {
        return Ok(0);
    }
    let ids: Vec<UseId> = uses.iter().map(|u| u.id).collect();
    maturity::mark(tx, merchant, &ids).await?;
    let mut earned: BTreeMap<(RedemptionId, OrderId, StoreId), Vec<Money>> = BTreeMap::new();
    for u in &uses {
        earned.entry((u.redemption_id, u.order_id, u.store_id)).or_default().push(u.amount);
    }
    let stores: Vec<StoreId> = earned.keys().map(|(_, _, store)| *store).collect();
    let stores = store_facts::of(tx, merchant, &stores).await?;
    let mut postings = Vec::with_capacity(earned.len());
    for ((redemption_id, order_id, store_id), amounts) in earned {
        let store =
            stores.get(&store_id).ok_or_else(|| AppError::Internal("use without store".to_owned()))?;
        let place = Place {
            merchant_id: store.merchant_id,
            store_id,
            business_date: store.business_day.date(now),
            at: now,
        };
        let amount = Money::sum(amounts)?;
        postings.push(posting(place, LedgerEvent::Maturity, order_id, redemption_id.into(), amount));
    }
    ledger::post(tx, &postings).await?;
    app.hold_at("maturity.before_commit").await;
    Ok(ids.len())
}
