//! Confirm: one transaction, exactly once.
//!
//! Read the set: vouchers locked in the order of their ids, then everything that decides, then the keys. Decide in
//! core. Write the set: counters under their guard, uses, redemptions with their answer, events, books, outbox.

use std::collections::{BTreeMap, HashMap};

use hexiao_core::id::{StoreId, VoucherId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::redeem::{Allowed, Atomicity, Attention, MAX_ITEMS, StoreFacts, check_acknowledged, decide};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::redemptions::{self, Method};
use hexiao_db::vouchers::{self, Loaded};
use hexiao_db::{Conn, Tx, store_facts};
use serde::{Deserialize, Serialize};

use super::answer::{Confirmed, Refused, Verdict};
use super::limits::{self, Limits};
use super::prepare::count_refusal;
use super::token::{self, PrepareToken};
use super::writes::{self, Act, Writes, redeem, refused_item, write};
use crate::auth::StaffPrincipal;
use crate::batch::{Batched, Queue};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;

/// How many uses of a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

#[derive(Serialize)]
struct Asked<'a> {
    store_id: StoreId,
    items: &'a [ConfirmItem],
    atomicity: Atomicity,
}

impl App {
    /// Redeems.
    pub async fn confirm_redemption(&self, request: Confirm) -> Result<Verdict> {
        if let Err(refusal) = check_items(&request.items) {
            return Ok(Err(refusal.into()));
        }
        let (merchant, store_id) = (request.staff.merchant(), request.store_id);
        let mut verdict = self.in_batch(merchant, request).await?;
        self.explain(merchant, store_id, &mut verdict).await?;
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

impl App {
    /// What a confirm would answer: judged in the same way, but without locks, and nothing is written. Neither the
    /// key nor the token is consumed.
    pub async fn preview_redemption(&self, request: Confirm) -> Result<Verdict> {
        if let Err(refusal) = check_items(&request.items) {
            return Ok(Err(refusal.into()));
        }
        let (merchant, reader) = (request.staff.merchant(), self.db.reader());
        let ids: Vec<VoucherId> = request.items.iter().map(|i| i.voucher_id).collect();
        let mut vouchers = vouchers::load(reader, merchant, &ids, false).await?;
        let now = self.now();
        let request = std::slice::from_ref(&request);
        let tokens = [token::open(&self.keys.seal, &request[0].prepare_token)];
        let known = look_up(reader, merchant, request, &tokens).await?;
        let staff = &request[0].staff;
        let mut limits = match known.stores.get(&request[0].store_id) {
            Some(store) if staff.limited => {
                limits::look(reader, merchant, staff.staff_id, store.business_day.date(now)).await?
            }
            Some(_) | None => Limits::default(),
        };
        let mut scratch = Writes::default();
        let mut verdict = match earlier(0, request, &known, &[])? {
            Some(verdict) => verdict,
            None => match admit(merchant, (0, &request[0]), tokens[0].as_ref(), &known, now) {
                Ok((token, store)) => {
                    let (vouchers, limits) = (&mut vouchers, &mut limits);
                    decide_request(&request[0], token, store, vouchers, limits, &mut scratch, now)
                }
                Err(refusal) => Err(refusal.into()),
            },
        };
        self.explain(merchant, request[0].store_id, &mut verdict).await?;
        Ok(verdict)
    }

    /// Says where else, in refusals that are about the place.
    pub(super) async fn explain(
        &self,
        merchant: MerchantScope,
        store_id: StoreId,
        verdict: &mut Verdict,
    ) -> Result<()> {
        match verdict {
            Ok(done) => self.point_elsewhere(merchant, store_id, &mut done.answer.results).await,
            Err(refused) => {
                self.point_elsewhere(merchant, store_id, &mut refused.results).await?;
                let first = refused.results.iter().find_map(|r| r.refusal.as_ref());
                if let Some(first) = first.filter(|first| first.code == refused.refusal.reason) {
                    refused.refusal.message.clone_from(&first.message);
                }
                Ok(())
            }
        }
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

/// Each voucher once, at least one use of each.
pub(super) fn check_items(items: &[ConfirmItem]) -> Result<(), Refusal> {
    if items.is_empty() || items.len() > MAX_ITEMS {
        return Err(Refusal::field("items", format!("应为 1–{MAX_ITEMS} 张券")));
    }
    for (i, item) in items.iter().enumerate() {
        if item.quantity == 0 {
            return Err(Refusal::field(format!("items[{i}].quantity"), "次数至少为 1"));
        }
        if items[..i].iter().any(|other| other.voucher_id == item.voucher_id) {
            return Err(Refusal::field(format!("items[{i}].voucher_id"), "同一张券请合并为一项"));
        }
    }
    Ok(())
}

/// What is read under the vouchers' locks, beside the vouchers.
struct Known {
    /// By the request's position.
    seen: HashMap<usize, redemptions::Seen>,
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
    let mut limits = lock_limits(tx, merchant, requests, &known, now).await?;
    let mut writes = Writes::default();
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(requests.len());
    for (n, (request, token)) in requests.iter().zip(&tokens).enumerate() {
        // Keys are looked up under the locks, before the token is judged: a repeated confirm is answered even when
        // its token has expired meanwhile.
        let verdict = match earlier(n, requests, &known, &verdicts)? {
            Some(verdict) => verdict,
            None => match admit(merchant, (n, request), token.as_ref(), &known, now) {
                Ok((token, store)) => {
                    decide_request(request, token, store, &mut vouchers, &mut limits, &mut writes, now)
                }
                Err(refusal) => Err(refusal.into()),
            },
        };
        writes.attempts.extend(writes::attempts(&asked(request, token.as_ref().ok()), &verdict, now));
        verdicts.push(verdict);
    }
    write(tx, merchant, writes).await?;
    app.hold_at("confirm.before_commit").await;
    Ok(verdicts)
}

async fn look_up(
    c: &impl Conn,
    merchant: MerchantScope,
    requests: &[Confirm],
    tokens: &[Result<PrepareToken, Reason>],
) -> Result<Known> {
    let once: Vec<redemptions::Once<'_>> =
        requests.iter().zip(tokens).map(|(request, token)| once(request, token.as_ref().ok())).collect();
    let mut stores: Vec<StoreId> = requests.iter().map(|r| r.store_id).collect();
    stores.sort_unstable();
    stores.dedup();
    Ok(Known {
        seen: redemptions::seen(c, merchant, &once).await?,
        stores: store_facts::of(c, merchant, &stores).await?,
    })
}

/// Of those verifiers who have limits.
async fn lock_limits(
    tx: &Tx,
    merchant: MerchantScope,
    requests: &[Confirm],
    known: &Known,
    now: Timestamp,
) -> Result<Limits> {
    let limited = requests.iter().filter(|r| r.staff.limited);
    let wanted = limited.filter_map(|r| {
        let store = known.stores.get(&r.store_id)?;
        Some((r.staff.staff_id, store.business_day.date(now)))
    });
    Limits::lock(tx, merchant, &wanted.collect()).await
}

fn once<'a>(request: &'a Confirm, token: Option<&'a PrepareToken>) -> redemptions::Once<'a> {
    redemptions::Once { staff_id: request.staff.staff_id, key: &request.key, nonce: token.map(|t| &t.nonce) }
}

/// The verdict of the same key, in this batch or before it.
fn earlier(n: usize, requests: &[Confirm], known: &Known, verdicts: &[Verdict]) -> Result<Option<Verdict>> {
    let request = &requests[n];
    let same_key =
        |other: &Confirm| other.staff.staff_id == request.staff.staff_id && other.key == request.key;
    for (other, verdict) in requests[..n].iter().zip(verdicts) {
        if let (true, Ok(done)) = (same_key(other), verdict) {
            let same = fingerprint_of(other) == fingerprint_of(request);
            return Ok(Some(if same {
                Ok(Confirmed { replayed: true, ..done.clone() })
            } else {
                Err(Reason::IdempotencyConflict.into())
            }));
        }
    }
    let Some(replay) = known.seen.get(&n).and_then(|seen| seen.replay.as_ref()) else {
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
    (n, request): (usize, &Confirm),
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
    if known.seen.get(&n).is_some_and(|seen| seen.scan_used) {
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
    limits: &mut Limits,
    writes: &mut Writes,
    now: Timestamp,
) -> Verdict {
    if writes.redemptions.iter().any(|r| r.prepare_nonce == token.nonce) {
        return Err(Reason::TokenUsed.into());
    }
    let mut tally = limits.tally(request.staff.staff_id, store.business_day.date(now));
    let judged: Vec<Result<Allowed, Refusal>> = request
        .items
        .iter()
        .map(|item| {
            let allowed = judge(item, &request.acknowledge, store.place(), vouchers, now)?;
            tally.add(item.quantity, allowed.amount)?;
            Ok(allowed)
        })
        .collect();
    if let Some(refused) = refused_as_a_whole(&request.items, request.atomicity, &judged, vouchers) {
        return Err(refused);
    }
    let act = Act {
        staff: &request.staff,
        store,
        device: token.device.as_deref(),
        method: token.method,
        key: &request.key,
        fingerprint: fingerprint_of(request),
        nonce: token.nonce,
        limited: tally.is_limited(),
        occurred_at: now,
        now,
    };
    limits.keep(tally);
    Ok(redeem(&act, &request.items, &judged, vouchers, writes))
}

/// When everything is refused, or something of what must be done together.
pub(super) fn refused_as_a_whole(
    items: &[ConfirmItem],
    atomicity: Atomicity,
    judged: &[Result<Allowed, Refusal>],
    vouchers: &BTreeMap<VoucherId, Loaded>,
) -> Option<Refused> {
    let refusal = judged.iter().find_map(|j| j.as_ref().err())?.clone();
    if atomicity == Atomicity::Each && judged.iter().any(Result::is_ok) {
        return None;
    }
    let results =
        items.iter().zip(judged).map(|(item, j)| refused_item(item, j.as_ref().err(), vouchers)).collect();
    Some(Refused { refusal, results })
}

/// Judges one item at an instant.
pub(super) fn judge(
    item: &ConfirmItem,
    acknowledge: &[Attention],
    place: StoreFacts,
    vouchers: &BTreeMap<VoucherId, Loaded>,
    at: Timestamp,
) -> Result<Allowed, Refusal> {
    let loaded = vouchers.get(&item.voucher_id).ok_or(Reason::NotFound)?;
    let allowed = decide(&loaded.facts, place, at, item.quantity)?;
    check_acknowledged(&allowed, acknowledge)?;
    Ok(allowed)
}

fn asked<'a>(request: &'a Confirm, token: Option<&'a PrepareToken>) -> writes::Asked<'a> {
    writes::Asked {
        staff: &request.staff,
        store_id: request.store_id,
        device: token.and_then(|t| t.device.as_deref()),
        method: token.map_or(Method::Qr, |t| t.method),
        items: &request.items,
    }
}
