//! Where a voucher can be used that can't be used here: computed when somebody was refused, and only then, outside of
//! any transaction.

use hexiao_core::id::{StoreId, VoucherId};
use hexiao_core::reason::Reason;
use hexiao_core::redeem::VoucherFacts;
use hexiao_core::rule::{Binding, StoreSet};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::stores::{self, Store};
use hexiao_db::vouchers;
use serde::{Deserialize, Serialize};

use super::answer::{ItemResult, RefusalView};
use crate::context::App;
use crate::error::Result;

/// A store at which a voucher can be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearestStore {
    /// Which.
    pub id: StoreId,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// From the store at which somebody asked.
    pub distance_m: i64,
    /// Whether it is open by its hours.
    pub open_now: bool,
}

impl NearestStore {
    /// For a refusal's text.
    fn words(&self) -> String {
        let Self { name, distance_m, open_now, .. } = self;
        let distance = if *distance_m < 1_000 {
            format!("{distance_m} 米")
        } else {
            format!("{}.{} 公里", distance_m / 1_000, distance_m % 1_000 / 100)
        };
        format!(
            "；最近的可用门店：「{name}」，距本店 {distance}，{}",
            if *open_now { "营业中" } else { "休息中" }
        )
    }
}

/// Whether another store would help.
fn elsewhere(reason: Reason) -> bool {
    matches!(reason, Reason::WrongStore | Reason::StoreClosed)
}

/// The stores that redeem a voucher.
fn eligible(facts: &VoucherFacts) -> StoreSet {
    match (facts.rule.binding, &facts.rule.stores) {
        (Binding::ChosenStore, stores) if stores.contains(facts.chosen_store) => {
            StoreSet::Only(vec![facts.chosen_store])
        }
        (Binding::ChosenStore, _) => StoreSet::Only(Vec::new()),
        (Binding::AnyInScope, stores) => stores.clone(),
    }
}

impl App {
    /// Adds the nearest store to the refusals that are about the place.
    pub(super) async fn point_elsewhere(
        &self,
        merchant: MerchantScope,
        here: StoreId,
        results: &mut [ItemResult],
    ) -> Result<()> {
        let refused = |r: &ItemResult| r.refusal.as_ref().is_some_and(|refusal| elsewhere(refusal.code));
        let ids: Vec<VoucherId> = results.iter().filter(|r| refused(r)).map(|r| r.voucher_id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let reader = self.db.reader();
        let loaded = vouchers::load(reader, merchant, &ids, false).await?;
        let mut search = Search::from(self, merchant, here).await?;
        for result in results.iter_mut() {
            if let (Some(refusal), Some(found)) = (&mut result.refusal, loaded.get(&result.voucher_id)) {
                search.add_to(refusal, &found.facts).await?;
            }
        }
        Ok(())
    }
}

/// The search from one store. Vouchers of one order mostly have the same stores, which are searched once.
pub(super) struct Search<'a> {
    app: &'a App,
    merchant: MerchantScope,
    here: Option<Store>,
    now: Timestamp,
    known: Vec<(StoreSet, Option<NearestStore>)>,
}

impl<'a> Search<'a> {
    pub(super) async fn from(app: &'a App, merchant: MerchantScope, here: StoreId) -> Result<Self> {
        let here = stores::get_of_merchant(app.db.reader(), merchant, here).await?;
        Ok(Self { app, merchant, here, now: app.now(), known: Vec::new() })
    }

    /// Adds to a refusal about the place where else to go.
    pub(super) async fn add_to(&mut self, refusal: &mut RefusalView, facts: &VoucherFacts) -> Result<()> {
        if !elsewhere(refusal.code) {
            return Ok(());
        }
        if let Some(nearest) = self.nearest(eligible(facts)).await? {
            refusal.message.push_str(&nearest.words());
            refusal.nearest_store = Some(nearest);
        }
        Ok(())
    }

    async fn nearest(&mut self, among: StoreSet) -> Result<Option<NearestStore>> {
        if let Some((_, known)) = self.known.iter().find(|(set, _)| *set == among) {
            return Ok(known.clone());
        }
        let Some(here) = &self.here else { return Ok(None) };
        let found = stores::nearest(self.app.db.reader(), self.merchant, here, &among).await?;
        let nearest = found.map(|(store, distance_m)| NearestStore {
            open_now: store.hours.is_open(store.business_day.zone, self.now.datetime()),
            id: store.id,
            name: store.name,
            address: store.address,
            distance_m,
        });
        self.known.push((among, nearest.clone()));
        Ok(nearest)
    }
}
