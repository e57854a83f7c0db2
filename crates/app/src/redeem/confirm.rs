//! Confirm: one transaction, exactly once.
//!
//! Read the set: vouchers locked in the order of their ids, then everything that decides, then the keys. Decide in
//! core. Write the set: counters under their guard, uses, redemptions with their answer, events, books, outbox.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::Duration;
use hexiao_core::id::{CustomerId, OrderId, RedemptionId, StaffId, StoreId, VoucherId};
use hexiao_core::ledger::LedgerEvent;
use hexiao_core::money::Money;
use hexiao_core::reason::{Fault, Reason, Refusal};
use hexiao_core::redeem::{
    Allowed, Atomicity, Attention, MAX_ITEMS, RecentUse, StoreFacts, UNDO_MINUTES, check_acknowledged, decide,
};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_core::voucher::UseState;
use hexiao_db::orders::{self, Actor};
use hexiao_db::redemptions::{self, Attempt, Redemption, Use};
use hexiao_db::vouchers::{self, Change, Loaded};
use hexiao_db::{DbError, Tx, ledger, outbox, store_facts};
use serde::{Deserialize, Serialize};

use super::prepare::count_refusal;
use super::token::{self, PrepareToken};
use crate::auth::StaffPrincipal;
use crate::batch::{Batched, Queue};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::keys::new_id;
use crate::ledger::{Place, posting};
use crate::messages::{self, Happened};

/// How many uses of a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConfirmItem {
    /// Which.
    pub voucher_id: VoucherId,
    /// How many.
    pub quantity: u32,
}

/// A request to confirm.
#[derive(Clone)]
pub struct Confirm {
    /// By whom.
    pub staff: StaffPrincipal,
    /// Where.
    pub store_id: StoreId,
    /// From the prepare.
    pub prepare_token: String,
    /// What.
    pub items: Vec<ConfirmItem>,
    /// All or each.
    pub atomicity: Atomicity,
    /// What the verifier has seen.
    pub acknowledge: Vec<Attention>,
    /// Its idempotency key.
    pub key: String,
}

/// What a confirm answers, and answers again when it is repeated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The redemption.
    pub id: RedemptionId,
    /// Item by item.
    pub results: Vec<ItemResult>,
    /// Until when the verifier can undo it.
    pub undo_until: Timestamp,
}

/// What became of one item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ItemResult {
    /// Which voucher.
    pub voucher_id: VoucherId,
    /// `redeemed` or `refused`.
    pub result: String,
    /// How many uses.
    pub quantity: u32,
    /// Which.
    pub serials: Vec<u32>,
    /// How many are left to redeem.
    pub remaining: u32,
    /// Why not.
    pub refusal: Option<RefusalView>,
}

/// A refusal as staff see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefusalView {
    /// The closed code.
    pub code: Reason,
    /// What happened.
    pub message: String,
    /// `customer`, `staff` or `system`.
    pub fault: String,
    /// What to do next.
    pub next_action: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
}

impl From<&Refusal> for RefusalView {
    fn from(refusal: &Refusal) -> Self {
        let fault = match refusal.reason.fault() {
            Fault::Customer => "customer",
            Fault::Staff => "staff",
            Fault::System => "system",
        };
        Self {
            code: refusal.reason,
            message: refusal.message.clone(),
            fault: fault.to_owned(),
            next_action: refusal.reason.next_action().to_owned(),
            retryable: refusal.reason.retryable(),
        }
    }
}

/// A confirm that redeemed something, now or before.
#[derive(Debug, Clone)]
pub struct Confirmed {
    /// The answer.
    pub answer: Answer,
    /// It was done before.
    pub replayed: bool,
}

/// A confirm that redeemed nothing.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The first reason.
    pub refusal: Refusal,
    /// Item by item, where the items were looked at.
    pub results: Vec<ItemResult>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, results: Vec::new() }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason).into()
    }
}

type Verdict = Result<Confirmed, Refused>;

#[derive(Serialize)]
struct Asked<'a> {
    store_id: StoreId,
    items: &'a [ConfirmItem],
    atomicity: Atomicity,
}

impl App {
    /// Redeems.
    pub async fn confirm_redemption(&self, request: Confirm) -> Result<Verdict> {
        if let Err(refusal) = check_shape(&request) {
            return Ok(Err(refusal.into()));
        }
        let verdict = self.in_batch(request.staff.merchant(), request).await?;
        match &verdict {
            Ok(done) if !done.replayed => {
                metrics::counter!("redemptions_total", "result" => "redeemed", "fault" => "none")
                    .increment(1);
            }
            Ok(_) => {}
            Err(refused) => count_refusal(refused.refusal.reason),
        }
        Ok(verdict)
    }
}

impl Batched for Confirm {
    type Verdict = Verdict;
    const NAME: &'static str = "confirm";
    const AFTER_COMMIT: &'static str = "confirm.after_commit";

    fn queue(app: &App) -> &Queue<Self> {
        &app.queues.confirms
    }

    async fn run(app: &App, tx: &Tx, merchant: MerchantScope, requests: &[Self]) -> Result<Vec<Verdict>> {
        confirm_redemptions(app, tx, merchant, requests).await
    }
}

fn check_shape(request: &Confirm) -> Result<(), Refusal> {
    if request.items.is_empty() || request.items.len() > MAX_ITEMS {
        return Err(Refusal::field("items", format!("应为 1–{MAX_ITEMS} 张券")));
    }
    for (i, item) in request.items.iter().enumerate() {
        if item.quantity == 0 {
            return Err(Refusal::field(format!("items[{i}].quantity"), "次数至少为 1"));
        }
        if request.items[..i].iter().any(|other| other.voucher_id == item.voucher_id) {
            return Err(Refusal::field(format!("items[{i}].voucher_id"), "同一张券请合并为一项"));
        }
    }
    Ok(())
}

/// What is decided and not yet written.
#[derive(Default)]
struct Writes {
    redemptions: Vec<Redemption>,
    uses: Vec<Use>,
    changes: BTreeMap<VoucherId, Change>,
    events: Vec<orders::NewEvent>,
    postings: Vec<ledger::Posting>,
    outbox: Vec<outbox::NewEvent>,
    attempts: Vec<Attempt>,
}

/// What is read under the vouchers' locks, beside the vouchers.
struct Known {
    replays: HashMap<(StaffId, String), redemptions::Replay>,
    nonces: HashSet<Vec<u8>>,
    stores: HashMap<StoreId, store_facts::StoreFacts>,
}

/// Confirms at one merchant; each request has its own verdict, and requests for the same voucher see each other.
async fn confirm_redemptions(
    app: &App,
    tx: &Tx,
    merchant: MerchantScope,
    requests: &[Confirm],
) -> Result<Vec<Verdict>> {
    let mut ids: Vec<VoucherId> =
        requests.iter().flat_map(|r| r.items.iter().map(|i| i.voucher_id)).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut vouchers = vouchers::load(tx, merchant, &ids, true).await?;
    // Read under the locks: what another request wrote before us is not in our future.
    let now = app.now();
    let tokens: Vec<Result<PrepareToken, Reason>> =
        requests.iter().map(|r| token::open(&app.keys.seal, &r.prepare_token)).collect();
    let known = look_up(tx, merchant, requests, &tokens).await?;
    let mut writes = Writes::default();
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(requests.len());
    for (n, (request, token)) in requests.iter().zip(&tokens).enumerate() {
        // Keys are looked up under the locks, before the token is judged: a repeated confirm is answered even when
        // its token has expired meanwhile.
        let verdict = match earlier(request, &known, &requests[..n], &verdicts)? {
            Some(verdict) => verdict,
            None => match admit(merchant, request, token.as_ref(), &known, now) {
                Ok((token, store)) => decide_request(request, token, store, &mut vouchers, &mut writes, now),
                Err(refusal) => Err(refusal.into()),
            },
        };
        writes.attempts.extend(attempts(request, token.as_ref().ok(), &verdict, now));
        verdicts.push(verdict);
    }
    write(tx, merchant, writes).await?;
    app.hold_at("confirm.before_commit").await;
    Ok(verdicts)
}

async fn look_up(
    tx: &Tx,
    merchant: MerchantScope,
    requests: &[Confirm],
    tokens: &[Result<PrepareToken, Reason>],
) -> Result<Known> {
    let keys: Vec<(StaffId, &str)> = requests.iter().map(|r| (r.staff.staff_id, r.key.as_str())).collect();
    let nonces: Vec<[u8; 16]> = tokens.iter().flatten().map(|token| token.nonce).collect();
    let mut stores: Vec<StoreId> = requests.iter().map(|r| r.store_id).collect();
    stores.sort_unstable();
    stores.dedup();
    Ok(Known {
        replays: redemptions::by_keys(tx, merchant, &keys).await?,
        nonces: redemptions::nonces_used(tx, merchant, &nonces).await?,
        stores: store_facts::of(tx, merchant, &stores).await?,
    })
}

/// The verdict of the same key, in this batch or before it.
fn earlier(
    request: &Confirm,
    known: &Known,
    before: &[Confirm],
    verdicts: &[Verdict],
) -> Result<Option<Verdict>> {
    let same_key =
        |other: &Confirm| other.staff.staff_id == request.staff.staff_id && other.key == request.key;
    for (other, verdict) in before.iter().zip(verdicts) {
        if let (true, Ok(done)) = (same_key(other), verdict) {
            let same = fingerprint_of(other) == fingerprint_of(request);
            return Ok(Some(if same {
                Ok(Confirmed { replayed: true, ..done.clone() })
            } else {
                Err(Reason::IdempotencyConflict.into())
            }));
        }
    }
    let Some(replay) = known.replays.get(&(request.staff.staff_id, request.key.clone())) else {
        return Ok(None);
    };
    if replay.fingerprint != fingerprint_of(request) {
        return Ok(Some(Err(Reason::IdempotencyConflict.into())));
    }
    let answer = serde_json::from_str(&replay.answer)
        .map_err(|e| AppError::Internal(format!("stored answer: {e}")))?;
    Ok(Some(Ok(Confirmed { answer, replayed: true })))
}

fn fingerprint_of(request: &Confirm) -> [u8; 32] {
    fingerprint(&Asked { store_id: request.store_id, items: &request.items, atomicity: request.atomicity })
}

/// The token and the store: what must be right before any voucher is looked at.
fn admit<'k>(
    merchant: MerchantScope,
    request: &Confirm,
    token: Result<&'k PrepareToken, &Reason>,
    known: &'k Known,
    now: Timestamp,
) -> Result<(&'k PrepareToken, &'k store_facts::StoreFacts), Refusal> {
    let token = token.map_err(|reason| *reason)?;
    let fits = token.merchant_id == merchant.merchant_id()
        && token.staff_id == request.staff.staff_id
        && token.store_id == request.store_id
        && request.items.iter().all(|i| token.vouchers.contains(&i.voucher_id));
    if !fits {
        return Err(Reason::TokenMismatch.into());
    }
    if known.nonces.contains(token.nonce.as_slice()) {
        return Err(Reason::TokenUsed.into());
    }
    if token::expired(token, now) {
        return Err(Reason::TokenExpired.into());
    }
    let store = known.stores.get(&request.store_id).ok_or(Reason::NotFound)?;
    Ok((token, store))
}

fn decide_request(
    request: &Confirm,
    token: &PrepareToken,
    store: &store_facts::StoreFacts,
    vouchers: &mut BTreeMap<VoucherId, Loaded>,
    writes: &mut Writes,
    now: Timestamp,
) -> Verdict {
    if writes.redemptions.iter().any(|r| r.prepare_nonce == token.nonce) {
        return Err(Reason::TokenUsed.into());
    }
    let place = StoreFacts { store_id: store.id, in_use: store.in_use && !store.resting };
    let judged: Vec<Result<Allowed, Refusal>> =
        request.items.iter().map(|item| judge(item, request, place, vouchers, now)).collect();
    let first_refusal = judged.iter().find_map(|j| j.as_ref().err()).cloned();
    let all_refused = judged.iter().all(Result::is_err);
    if let Some(refusal) = first_refusal.filter(|_| all_refused || request.atomicity == Atomicity::All) {
        let results = request
            .items
            .iter()
            .zip(&judged)
            .map(|(item, j)| refused_item(item, j.as_ref().err(), vouchers))
            .collect();
        return Err(Refused { refusal, results });
    }
    Ok(redeem(request, token, store, &judged, vouchers, writes, now))
}

fn judge(
    item: &ConfirmItem,
    request: &Confirm,
    place: StoreFacts,
    vouchers: &BTreeMap<VoucherId, Loaded>,
    now: Timestamp,
) -> Result<Allowed, Refusal> {
    let loaded = vouchers.get(&item.voucher_id).ok_or(Reason::NotFound)?;
    let allowed = decide(&loaded.facts, place, now, item.quantity)?;
    check_acknowledged(&allowed, &request.acknowledge)?;
    Ok(allowed)
}

/// Of a refused item, or of one that was fine but fell with its neighbours.
fn refused_item(
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
fn redeem(
    request: &Confirm,
    token: &PrepareToken,
    store: &store_facts::StoreFacts,
    judged: &[Result<Allowed, Refusal>],
    vouchers: &mut BTreeMap<VoucherId, Loaded>,
    writes: &mut Writes,
    now: Timestamp,
) -> Confirmed {
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
    for (item, judged) in request.items.iter().zip(judged) {
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
                staff_id: request.staff.staff_id,
                state: UseState::Done,
                amount,
                redeemed_at: now,
                business_date: place.business_date,
                matures_at,
            });
        }
        writes.changes.entry(item.voucher_id).or_default().used += i64::from(item.quantity);
        loaded.facts.counters.used += item.quantity;
        loaded.facts.taken.extend(&allowed.serials);
        loaded.facts.recent.extend(allowed.serials.iter().map(|_| RecentUse { at: now, store_id: store.id }));
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
        writes.events.push(order_event(request, order_id, store, &share.items, now));
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
        staff_id: request.staff.staff_id,
        staff_name: request.staff.name.to_string(),
        device: token.device.clone(),
        method: token.method,
        key: request.key.clone(),
        fingerprint: fingerprint_of(request),
        prepare_nonce: token.nonce,
        answer: hexiao_db::row::json_text(&answer),
        quantity: total_quantity,
        amount: Money::fen(total_amount),
        at: now,
        undo_until,
        business_date: place.business_date,
    });
    Confirmed { answer, replayed: false }
}

fn order_event(
    request: &Confirm,
    order_id: OrderId,
    store: &store_facts::StoreFacts,
    items: &[(String, i64)],
    now: Timestamp,
) -> orders::NewEvent {
    let note: Vec<String> = items.iter().map(|(name, n)| format!("{name} × {n}")).collect();
    orders::NewEvent {
        merchant_id: store.merchant_id,
        id: new_id(),
        order_id,
        event: "redeem",
        from: None,
        to: None,
        actor: Actor::Staff(request.staff.staff_id),
        store_id: Some(store.id),
        device: None,
        note: Some(note.join("，")),
        at: now,
    }
}

/// What was refused, item by item, also beside items that were redeemed. A replay is no new attempt.
fn attempts(
    request: &Confirm,
    token: Option<&PrepareToken>,
    verdict: &Verdict,
    now: Timestamp,
) -> Vec<Attempt> {
    let attempt = |voucher_id: Option<VoucherId>, refusal: Refusal| Attempt {
        merchant_id: request.staff.merchant_id,
        id: new_id(),
        store_id: request.store_id,
        staff_id: request.staff.staff_id,
        device: token.and_then(|t| t.device.clone()),
        step: "confirm",
        method: token.map_or(redemptions::Method::Qr, |t| t.method),
        voucher_id,
        code_last4: None,
        refusal,
        at: now,
    };
    let results = match verdict {
        Ok(done) if done.replayed => return Vec::new(),
        Ok(done) => &done.answer.results,
        Err(refused) if refused.results.is_empty() => {
            return vec![attempt(request.items.first().map(|i| i.voucher_id), refused.refusal.clone())];
        }
        Err(refused) => &refused.results,
    };
    let view = |r: &ItemResult| {
        let refusal = r.refusal.as_ref()?;
        Some(attempt(Some(r.voucher_id), Refusal::with_message(refusal.code, refusal.message.clone())))
    };
    results.iter().filter_map(view).collect()
}

async fn write(tx: &Tx, merchant: MerchantScope, writes: Writes) -> Result<()> {
    vouchers::change(tx, merchant, &writes.changes).await?;
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
