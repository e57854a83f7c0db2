//! Undoing redemptions: the verifier within ten minutes, a manager until it matures. Exactly once, like redeeming.

use std::collections::BTreeMap;

use hexiao_core::catalog::Capability;
use hexiao_core::id::{OrderId, RecordId, RedemptionId, UseId, VoucherId};
use hexiao_core::ledger::LedgerEvent;
use hexiao_core::money::Money;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::redeem::{UseFacts, decide_reversal};
use hexiao_core::rule::BookingRule;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::UseState;
use hexiao_db::idempotency::{self, Claim, Key};
use hexiao_db::orders::{self, Actor};
use hexiao_db::redemptions::{self, Attempt, Recorded, Use};
use hexiao_db::vouchers::{self, Change, Loaded};
use hexiao_db::{Tx, ledger, outbox, store_facts, transact};
use serde::{Deserialize, Serialize};

use crate::auth::StaffPrincipal;
use crate::booking;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::keys::new_id;
use crate::ledger::{Place, posting};
use crate::messages::{self, Happened};

/// Some uses of a voucher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReverseItem {
    /// Which voucher.
    pub voucher_id: VoucherId,
    /// Which uses.
    pub serials: Vec<u32>,
}

/// A request to undo.
#[derive(Debug, Clone)]
pub struct Reverse {
    /// By whom.
    pub staff: StaffPrincipal,
    /// What.
    pub redemption_id: RedemptionId,
    /// Which uses of it; none named = all that stand.
    pub items: Option<Vec<ReverseItem>>,
    /// Why.
    pub reason: String,
    /// Its idempotency key.
    pub key: String,
}

/// What was undone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reversed {
    /// Of which redemption.
    pub redemption_id: RedemptionId,
    /// Which uses.
    pub items: Vec<ReverseItem>,
    /// When.
    pub at: Timestamp,
}

#[derive(Serialize)]
struct Asked<'a> {
    redemption_id: RedemptionId,
    items: &'a Option<Vec<ReverseItem>>,
}

impl App {
    /// Undoes a redemption or some of its uses.
    pub async fn reverse_redemption(&self, request: &Reverse) -> Result<(Reversed, bool)> {
        let found = redemptions::get(self.db.reader(), &request.staff.scope, request.redemption_id)
            .await?
            .ok_or(Reason::NotFound)?;
        let now = self.now();
        let done: Result<(Reversed, bool)> =
            transact!(self.db, |tx| reverse_in(self, &tx, request, &found, now));
        self.hold_at("reverse.after_commit").await;
        if let Err(AppError::Refused(refusal)) = &done {
            let attempt = attempt(request, &found, refusal, now);
            let logged: Result<()> = transact!(self.db, |tx| async {
                Ok::<_, AppError>(redemptions::insert_attempts(&tx, std::slice::from_ref(&attempt)).await?)
            });
            logged?;
        }
        self.wake.notify_one();
        done
    }
}

fn attempt(request: &Reverse, found: &Recorded, refusal: &Refusal, now: Timestamp) -> Attempt {
    Attempt {
        merchant_id: request.staff.merchant_id,
        id: new_id(),
        store_id: found.store_id,
        staff_id: request.staff.staff_id,
        device: None,
        step: "reverse",
        method: found.method,
        voucher_id: request.items.iter().flatten().map(|i| i.voucher_id).next(),
        code_last4: None,
        refusal: refusal.clone(),
        at: now,
    }
}

async fn reverse_in(
    app: &App,
    tx: &Tx,
    request: &Reverse,
    found: &Recorded,
    now: Timestamp,
) -> Result<(Reversed, bool)> {
    let merchant = request.staff.merchant();
    let asked = Asked { redemption_id: request.redemption_id, items: &request.items };
    let key = Key {
        merchant,
        actor_id: request.staff.staff_id.into(),
        key: &request.key,
        operation: "redemption.reverse",
        fingerprint: fingerprint(&asked),
    };
    match idempotency::claim(tx, &key, now).await? {
        Claim::Conflict => return Err(Reason::IdempotencyConflict.into()),
        Claim::Replay { answer, .. } => {
            let answer = serde_json::from_str(&answer)
                .map_err(|e| AppError::Internal(format!("stored answer: {e}")))?;
            return Ok((answer, true));
        }
        Claim::New => {}
    }
    let ids = redemptions::voucher_ids(tx, merchant, request.redemption_id).await?;
    let vouchers = vouchers::load(tx, merchant, &ids, true).await?;
    let uses = redemptions::lock_uses(tx, merchant, request.redemption_id).await?;
    let chosen = choose(request, &uses)?;
    let may_reverse_any = request.staff.role.may(Capability::ReverseAny);
    for u in &chosen {
        let facts = UseFacts {
            state: u.state,
            matures_at: u.matures_at,
            recorded_at: found.recorded_at,
            own: found.staff_id == request.staff.staff_id,
        };
        let cycles = vouchers.get(&u.voucher_id).map_or(0, |l| l.voucher.undo_cycles);
        decide_reversal(&facts, cycles, may_reverse_any, now)?;
    }
    let reversed = write(tx, request, found, &chosen, &vouchers, now).await?;
    if vouchers.values().any(|l| l.facts.rule.booking != BookingRule::None) {
        let by = (Actor::Staff(request.staff.staff_id), request.reason.as_str());
        booking::note_undone(tx, merchant, request.redemption_id, by, now).await?;
    }
    idempotency::store(tx, &key, request.redemption_id.into(), &hexiao_db::row::json_text(&reversed)).await?;
    app.hold_at("reverse.before_commit").await;
    Ok((reversed, false))
}

/// The uses that are asked for; without names, all that stand.
fn choose<'a>(request: &Reverse, uses: &'a [Use]) -> Result<Vec<&'a Use>, Refusal> {
    let Some(items) = &request.items else {
        let standing: Vec<&Use> = uses.iter().filter(|u| u.state != UseState::Reversed).collect();
        return if standing.is_empty() { Err(Reason::AlreadyReversed.into()) } else { Ok(standing) };
    };
    let mut chosen: Vec<&Use> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        for serial in &item.serials {
            // A serial may have been redeemed, undone and redeemed again: the standing one is meant.
            let of_serial = |u: &&Use| u.voucher_id == item.voucher_id && u.serial == *serial;
            let found = uses.iter().filter(of_serial).max_by_key(|u| u.state != UseState::Reversed);
            let found =
                found.ok_or_else(|| Refusal::field(format!("items[{i}].serials"), "这次核销里没有这一次"))?;
            if chosen.iter().any(|u| u.id == found.id) {
                return Err(Refusal::field(format!("items[{i}].serials"), "次数重复"));
            }
            chosen.push(found);
        }
    }
    if chosen.is_empty() { Err(Refusal::field("items", "请选择要撤销的次数")) } else { Ok(chosen) }
}

/// Until when vouchers are valid that run from the first use that stands.
fn ends(chosen: &[&Use], vouchers: &BTreeMap<VoucherId, Loaded>) -> BTreeMap<VoucherId, Timestamp> {
    let end = |id: &VoucherId| {
        let mut facts = vouchers.get(id)?.facts.clone();
        for u in chosen.iter().filter(|u| u.voucher_id == *id) {
            let gone = facts.recent.iter().position(|r| r.at == u.redeemed_at && r.store_id == u.store_id);
            gone.map(|n| facts.recent.swap_remove(n));
        }
        Some((*id, facts.begun_until().filter(|end| *end != facts.valid_to)?))
    };
    chosen.iter().filter_map(|u| end(&u.voucher_id)).collect()
}

async fn write(
    tx: &Tx,
    request: &Reverse,
    found: &Recorded,
    chosen: &[&Use],
    vouchers: &BTreeMap<VoucherId, Loaded>,
    now: Timestamp,
) -> Result<Reversed> {
    let merchant = request.staff.merchant();
    let reversal_id: RecordId = new_id();
    let mut changes: BTreeMap<VoucherId, Change> = BTreeMap::new();
    let mut worth: BTreeMap<OrderId, (i64, i64, VoucherId)> = BTreeMap::new();
    let mut items: BTreeMap<VoucherId, Vec<u32>> = BTreeMap::new();
    for u in chosen {
        let loaded = vouchers
            .get(&u.voucher_id)
            .ok_or_else(|| AppError::Internal("use without voucher".to_owned()))?;
        let change = changes.entry(u.voucher_id).or_insert(Change { undo_cycles: 1, ..Change::default() });
        change.used -= 1;
        let entry = worth.entry(loaded.voucher.order_id).or_insert((0, 0, u.voucher_id));
        entry.0 += u.amount.as_fen();
        entry.1 += 1;
        items.entry(u.voucher_id).or_default().push(u.serial);
    }
    let ids: Vec<UseId> = chosen.iter().map(|u| u.id).collect();
    redemptions::reverse_uses(tx, merchant, &ids, request.staff.staff_id, &request.reason, now).await?;
    vouchers::change(tx, merchant, &changes).await?;
    vouchers::set_valid_to(tx, merchant, &ends(chosen, vouchers)).await?;
    let store = store_facts::get(tx, merchant, found.store_id)
        .await?
        .ok_or_else(|| AppError::Internal("redemption without store".to_owned()))?;
    let place = Place {
        merchant_id: store.merchant_id,
        store_id: store.id,
        business_date: store.business_day.date(now),
        at: now,
    };
    let (mut postings, mut events, mut happened) = (Vec::new(), Vec::new(), Vec::new());
    for (order_id, (fen, quantity, voucher_id)) in worth {
        postings.push(posting(place, LedgerEvent::Reversal, order_id, reversal_id.into(), Money::fen(fen)));
        events.push(orders::NewEvent {
            merchant_id: store.merchant_id,
            id: new_id(),
            order_id,
            event: "reverse",
            from: None,
            to: None,
            actor: Actor::Staff(request.staff.staff_id),
            store_id: Some(store.id),
            device: None,
            note: Some(request.reason.clone()),
            at: now,
        });
        if let Some(loaded) = vouchers.get(&voucher_id) {
            let expired = now >= loaded.voucher.valid_to;
            let what = Happened::Reversed { quantity, store_name: store.name.clone(), expired };
            let customer = loaded.voucher.customer_id;
            happened.push(messages::event_for(
                store.merchant_id,
                customer,
                order_id,
                request.redemption_id.into(),
                &what,
                now,
            ));
        }
    }
    ledger::post(tx, &postings).await?;
    orders::append_events(tx, events).await?;
    outbox::append(tx, happened).await?;
    let items = items.into_iter().map(|(voucher_id, serials)| ReverseItem { voucher_id, serials }).collect();
    Ok(Reversed { redemption_id: request.redemption_id, items, at: now })
}
