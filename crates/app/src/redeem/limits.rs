//! The daily limits of verifiers, judged under a lock on the verifier's own row: two confirms of one verifier at the
//! same time can't both have the last use. Verifiers without a limit cost nothing.

use std::collections::{BTreeSet, HashMap};

use hexiao_core::id::StaffId;
use hexiao_core::limit::{Spent, VerifierLimit, check_limit};
use hexiao_core::money::Money;
use hexiao_core::reason::Refusal;
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::BusinessDate;
use hexiao_db::{Tx, redemptions, staff};

use crate::error::Result;

/// What the limited verifiers of a batch may do and have done.
#[derive(Default)]
pub(super) struct Limits {
    of: HashMap<StaffId, VerifierLimit>,
    spent: HashMap<(StaffId, BusinessDate), Spent>,
}

impl Limits {
    /// Locks the verifiers and reads what they redeemed on their business days. Lock the vouchers first.
    pub(super) async fn lock(
        tx: &Tx,
        merchant: MerchantScope,
        wanted: &BTreeSet<(StaffId, BusinessDate)>,
    ) -> Result<Self> {
        let mut limits = Self::default();
        if wanted.is_empty() {
            return Ok(limits);
        }
        let mut ids: Vec<StaffId> = wanted.iter().map(|(id, _)| *id).collect();
        ids.dedup();
        for (id, limit) in staff::lock_limits(tx, merchant, &ids).await? {
            if limit.is_set() {
                limits.of.insert(id, limit);
            }
        }
        for (id, date) in wanted.iter().filter(|(id, _)| limits.of.contains_key(id)) {
            limits.spent.insert((*id, *date), redemptions::spent_on(tx, merchant, *id, *date).await?);
        }
        Ok(limits)
    }

    /// The account of one redemption.
    pub(super) fn tally(&self, staff: StaffId, date: BusinessDate) -> Tally {
        let spent = self.spent.get(&(staff, date)).copied().unwrap_or_default();
        Tally { staff, date, limit: self.of.get(&staff).copied(), spent }
    }

    /// Keeps what was redeemed, for the next request of the batch.
    pub(super) fn keep(&mut self, tally: Tally) {
        if tally.limit.is_some() {
            self.spent.insert((tally.staff, tally.date), tally.spent);
        }
    }
}

/// What one verifier comes to while the items of a redemption are judged.
pub(super) struct Tally {
    staff: StaffId,
    date: BusinessDate,
    limit: Option<VerifierLimit>,
    spent: Spent,
}

impl Tally {
    /// Whether there is a limit.
    pub(super) const fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Adds an item, or refuses it.
    pub(super) fn add(&mut self, quantity: u32, amount: Money) -> Result<(), Refusal> {
        let Some(limit) = self.limit else { return Ok(()) };
        check_limit(limit, self.spent, i64::from(quantity), amount)?;
        self.spent = self.spent.plus(i64::from(quantity), amount);
        Ok(())
    }
}

/// What a verifier would be told before they try, without a lock.
pub(super) async fn look(
    c: &impl hexiao_db::Conn,
    merchant: MerchantScope,
    id: StaffId,
    date: BusinessDate,
) -> Result<Limits> {
    let Some(member) = staff::get(c, merchant, id).await?.filter(|s| s.limit.is_set()) else {
        return Ok(Limits::default());
    };
    let spent = redemptions::spent_on(c, merchant, id, date).await?;
    Ok(Limits { of: HashMap::from([(id, member.limit)]), spent: HashMap::from([((id, date), spent)]) })
}
