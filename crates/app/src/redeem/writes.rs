//! What a redemption writes: counters under their guard, uses, the redemption with its answer, events, books, outbox,
//! and the attempts that were refused. The same for every way to redeem.

use std::collections::BTreeMap;

use chrono::Duration;
use hexiao_core::id::{CustomerId, OrderId, RedemptionId, StoreId, VoucherId};
use hexiao_core::ledger::LedgerEvent;
use hexiao_core::money::Money;
use hexiao_core::reason::Refusal;
use hexiao_core::redeem::{Allowed, RecentUse, UNDO_MINUTES};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::UseState;
use hexiao_db::orders::{self, Actor};
use hexiao_db::redemptions::{self, Attempt, Method, Redemption, Use};
use hexiao_db::store_facts::StoreFacts;
use hexiao_db::vouchers::{self, Change, Loaded};
use hexiao_db::{DbError, Tx, ledger, outbox};

use super::answer::{Answer, Confirmed, ItemResult, RefusalView, Verdict};
use super::booked::Booked;
use super::confirm::ConfirmItem;
use crate::auth::StaffPrincipal;
use crate::error::Result;
use crate::keys::new_id;
use crate::ledger::{Place, posting};
use crate::messages::{self, Happened};

/// Who redeems where, how and when.
pub(super) struct Act<'a> {
    pub(super) staff: &'a StaffPrincipal,
    pub(super) store: &'a StoreFacts,
    /// With which device, as it claims.
    pub(super) device: Option<&'a str>,
    pub(super) method: Method,
    pub(super) key: &'a str,
    pub(super) fingerprint: [u8; 32],
    pub(super) nonce: [u8; 16],
    /// Whether it counts against a daily limit of the verifier.
    pub(super) limited: bool,
    /// When it happened: now, unless it is recorded later.
    pub(super) occurred_at: Timestamp,
    pub(super) now: Timestamp,
}

/// What is decided and not yet written.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) redemptions: Vec<Redemption>,
    uses: Vec<Use>,
    changes: BTreeMap<VoucherId, Change>,
    /// Until when vouchers are valid whose first use this is.
    ends: BTreeMap<VoucherId, Timestamp>,
    events: Vec<orders::NewEvent>,
    postings: Vec<ledger::Posting>,
    outbox: Vec<outbox::NewEvent>,
    bookings: Booked,
    pub(super) attempts: Vec<Attempt>,
}

/// Of a refused item, or of one that was fine but fell with its neighbours.
pub(super) fn refused_item(
    item: &ConfirmItem,
    refusal: Option<&Refusal>,
    vouchers: &BTreeMap<VoucherId, Loaded>,
) -> ItemResult {
    ItemResult {
        voucher_id: item.voucher_id,
        result: "refused".to_owned(),
        quantity: item.quantity,
        serials: Vec::new(),
        remaining: vouchers.get(&item.voucher_id).map_or(0, |l| l.facts.counters.free()),
        refusal: refusal.map(RefusalView::from),
    }
}

/// What a redemption takes of one order.
struct OrderShare {
    amount: Money,
    items: Vec<(String, i64)>,
    customer_id: CustomerId,
}

/// Notes what to write for the allowed items, and changes the vouchers in memory so that the next request of the
/// batch sees them redeemed.
pub(super) fn redeem(
    act: &Act<'_>,
    items: &[ConfirmItem],
    judged: &[Result<Allowed, Refusal>],
    vouchers: &mut BTreeMap<VoucherId, Loaded>,
    writes: &mut Writes,
) -> Confirmed {
    let Act { staff, store, occurred_at, now, .. } = *act;
    let id: RedemptionId = new_id();
    let place = Place {
        merchant_id: store.merchant_id,
        store_id: store.id,
        business_date: store.business_day.date(now),
        at: now,
    };
    let matures_at = store.business_day.matures_at(now);
    let mut results = Vec::new();
    let mut by_order: BTreeMap<OrderId, OrderShare> = BTreeMap::new();
    let (mut total_quantity, mut total_amount) = (0i64, 0i64);
    for (item, judged) in items.iter().zip(judged) {
        let (Ok(allowed), Some(loaded)) = (judged, vouchers.get_mut(&item.voucher_id)) else {
            results.push(refused_item(item, judged.as_ref().err(), vouchers));
            continue;
        };
        for serial in &allowed.serials {
            let amount = hexiao_core::refund::uses_worth(
                loaded.voucher.amount,
                loaded.voucher.counters.total,
                &[*serial],
            );
            writes.uses.push(Use {
                merchant_id: place.merchant_id,
                id: new_id(),
                voucher_id: item.voucher_id,
                serial: *serial,
                redemption_id: id,
                store_id: store.id,
                staff_id: staff.staff_id,
                state: UseState::Done,
                amount,
                redeemed_at: occurred_at,
                business_date: place.business_date,
                matures_at,
            });
        }
        writes.changes.entry(item.voucher_id).or_default().used += i64::from(item.quantity);
        writes.bookings.consume(act, id, &allowed.booked, loaded);
        loaded.facts.counters.used += item.quantity;
        loaded.facts.taken.extend(&allowed.serials);
        let uses = allowed.serials.iter().map(|_| RecentUse { at: occurred_at, store_id: store.id });
        loaded.facts.recent.extend(uses);
        if let Some(valid_to) = loaded.facts.begun_until().filter(|end| *end != loaded.facts.valid_to) {
            loaded.facts.valid_to = valid_to;
            writes.ends.insert(item.voucher_id, valid_to);
        }
        let entry = by_order.entry(loaded.voucher.order_id).or_insert_with(|| OrderShare {
            amount: Money::ZERO,
            items: Vec::new(),
            customer_id: loaded.voucher.customer_id,
        });
        entry.amount = Money::fen(entry.amount.as_fen() + allowed.amount.as_fen());
        entry.items.push((loaded.voucher.product_name.clone(), i64::from(item.quantity)));
        total_quantity += i64::from(item.quantity);
        total_amount += allowed.amount.as_fen();
        results.push(ItemResult {
            voucher_id: item.voucher_id,
            result: "redeemed".to_owned(),
            quantity: item.quantity,
            serials: allowed.serials.clone(),
            remaining: loaded.facts.counters.free(),
            refusal: None,
        });
    }
    for (order_id, share) in by_order {
        writes.postings.push(posting(place, LedgerEvent::Redemption, order_id, id.into(), share.amount));
        writes.events.push(order_event(act, order_id, &share.items));
        let what = Happened::Redeemed { items: share.items, store_name: store.name.clone() };
        writes.outbox.push(messages::event_for(
            place.merchant_id,
            share.customer_id,
            order_id,
            id.into(),
            &what,
            now,
        ));
    }
    let undo_until = now.plus(Duration::minutes(UNDO_MINUTES));
    let answer = Answer { id, results, undo_until };
    writes.redemptions.push(Redemption {
        merchant_id: place.merchant_id,
        id,
        store_id: store.id,
        staff_id: staff.staff_id,
        staff_name: staff.name.to_string(),
        device: act.device.map(str::to_owned),
        method: act.method,
        key: act.key.to_owned(),
        fingerprint: act.fingerprint,
        prepare_nonce: act.nonce,
        answer: hexiao_db::row::json_text(&answer),
        quantity: total_quantity,
        amount: Money::fen(total_amount),
        occurred_at,
        at: now,
        undo_until,
        business_date: place.business_date,
        limited: act.limited,
    });
    Confirmed { answer, replayed: false }
}

fn order_event(act: &Act<'_>, order_id: OrderId, items: &[(String, i64)]) -> orders::NewEvent {
    let note: Vec<String> = items.iter().map(|(name, n)| format!("{name} × {n}")).collect();
    orders::NewEvent {
        merchant_id: act.store.merchant_id,
        id: new_id(),
        order_id,
        event: "redeem",
        from: None,
        to: None,
        actor: Actor::Staff(act.staff.staff_id),
        store_id: Some(act.store.id),
        device: None,
        note: Some(note.join("，")),
        at: act.now,
    }
}

/// Who asked for what, whether or not it was granted.
pub(super) struct Asked<'a> {
    pub(super) staff: &'a StaffPrincipal,
    pub(super) store_id: StoreId,
    pub(super) device: Option<&'a str>,
    pub(super) method: Method,
    pub(super) items: &'a [ConfirmItem],
}

/// What was refused, item by item, also beside items that were redeemed. A replay is no new attempt.
pub(super) fn attempts(asked: &Asked<'_>, verdict: &Verdict, now: Timestamp) -> Vec<Attempt> {
    let attempt = |voucher_id: Option<VoucherId>, refusal: Refusal| Attempt {
        merchant_id: asked.staff.merchant_id,
        id: new_id(),
        store_id: asked.store_id,
        staff_id: asked.staff.staff_id,
        device: asked.device.map(str::to_owned),
        step: if asked.method == Method::Backfill { "backfill" } else { "confirm" },
        method: asked.method,
        voucher_id,
        code_last4: None,
        refusal,
        at: now,
    };
    let results = match verdict {
        Ok(done) if done.replayed => return Vec::new(),
        Ok(done) => &done.answer.results,
        Err(refused) if refused.results.is_empty() => {
            return vec![attempt(asked.items.first().map(|i| i.voucher_id), refused.refusal.clone())];
        }
        Err(refused) => &refused.results,
    };
    let view = |r: &ItemResult| {
        let refusal = r.refusal.as_ref()?;
        Some(attempt(Some(r.voucher_id), Refusal::with_message(refusal.code, refusal.message.clone())))
    };
    results.iter().filter_map(view).collect()
}

pub(super) async fn write(tx: &Tx, merchant: MerchantScope, writes: Writes) -> Result<()> {
    // What a booking keeps is free before it is used.
    writes.bookings.write(tx, merchant).await?;
    vouchers::change(tx, merchant, &writes.changes).await?;
    vouchers::set_valid_to(tx, merchant, &writes.ends).await?;
    redemptions::insert(tx, &writes.redemptions, &writes.uses).await.map_err(raced)?;
    orders::append_events(tx, writes.events).await?;
    ledger::post(tx, &writes.postings).await?;
    redemptions::insert_attempts(tx, &writes.attempts).await?;
    Ok(outbox::append(tx, writes.outbox).await?)
}

/// The same key or token, for other vouchers, committed since we looked: look again.
fn raced(error: DbError) -> DbError {
    let again = ["idempotency_key", "prepare_nonce", "uses_once", "uses.serial"]
        .iter()
        .any(|hint| error.is_unique_violation(hint));
    if again { DbError::Stale("redemption") } else { error }
}
