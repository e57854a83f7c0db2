//! Backfill 补录: records a redemption that happened while nobody could scan, exactly once. A small one is redeemed in
//! its own transaction; a larger one waits for a second person ([`super::backfill_decide`]).

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use hexiao_core::backfill::{
    BackfillPolicy, BackfillState, FREE_WINDOW_HOURS, MAX_PENDING, check_occurred, decide_backfill,
};
use hexiao_core::id::{BackfillId, Id as _, StoreId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::picture::{BAD_PICTURE_URL, is_picture_url};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::redeem::{Allowed, Atomicity, Attention, check_acknowledged};
use hexiao_core::scope::MerchantScope;
use hexiao_core::time::Timestamp;
use hexiao_db::backfills::{self, Backfill, BackfillItem};
use hexiao_db::idempotency::{self, Claim, Key};
use hexiao_db::redemptions::{self, Method};
use hexiao_db::store_facts::StoreFacts;
use hexiao_db::vouchers::{self, Loaded};
use hexiao_db::{Tx, store_facts, transact};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Refused};
use super::confirm::{ConfirmItem, check_items, refused_as_a_whole};
use super::limits::Limits;
use super::prepare::{Input, Prepare};
use super::writes::{self, Act, Writes, redeem, write};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::keys::{entropy, new_id};

/// A request to record a redemption.
#[derive(Clone)]
pub struct RecordBackfill {
    /// By whom.
    pub staff: StaffPrincipal,
    /// Where it happened.
    pub store_id: StoreId,
    /// What was shown, and how many uses of it.
    pub items: Vec<(Input, u32)>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Why it was not redeemed then.
    pub reason: String,
    /// The address of a picture that shows it.
    pub photo_url: Option<String>,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// What the verifier has seen.
    pub acknowledge: Vec<Attention>,
    /// Its idempotency key.
    pub key: String,
}

/// A backfill and what it redeemed.
#[derive(Debug, Clone)]
pub struct Backfilled {
    /// The row.
    pub backfill: Backfill,
    /// What was redeemed; nothing yet while it waits, or when it came to nothing.
    pub answer: Option<Answer>,
    /// It was done before.
    pub replayed: bool,
}

/// Vouchers, not codes: a fingerprint must not be a way to search for a code.
#[derive(Serialize)]
struct Asked<'a> {
    store_id: StoreId,
    items: &'a [ConfirmItem],
    occurred_at: Timestamp,
    reason: &'a str,
    photo_url: &'a Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    answer: Option<Answer>,
}

impl App {
    /// Records a redemption that happened before, or asks for a second person.
    pub async fn backfill_redemption(&self, request: &RecordBackfill) -> Result<Result<Backfilled, Refused>> {
        check_occurred(request.occurred_at, self.now())?;
        if request.photo_url.as_deref().is_some_and(|url| !is_picture_url(url)) {
            return Err(Refusal::field("photo_url", BAD_PICTURE_URL).into());
        }
        let items = self.find_items(request).await?;
        check_items(&items)?;
        let done: Result<Result<Backfilled, Refused>> =
            transact!(self.db, |tx| record(self, &tx, request, &items));
        self.hold_at("backfill.after_commit").await;
        self.wake.notify_one();
        self.explained(request.staff.merchant(), request.store_id, done?).await
    }

    /// Says where else, in refusals that are about the place.
    pub(super) async fn explained(
        &self,
        merchant: MerchantScope,
        store_id: StoreId,
        done: Result<Backfilled, Refused>,
    ) -> Result<Result<Backfilled, Refused>> {
        let mut refused = match done {
            Ok(done) => return Ok(Ok(done)),
            Err(refused) => refused,
        };
        super::prepare::count_refusal(refused.refusal.reason);
        self.point_elsewhere(merchant, store_id, &mut refused.results).await?;
        Ok(Err(refused))
    }

    /// The vouchers that were shown. Codes are typed under the same limits as at a prepare.
    async fn find_items(&self, request: &RecordBackfill) -> Result<Vec<ConfirmItem>> {
        let mut items = Vec::with_capacity(request.items.len());
        for (n, (input, quantity)) in request.items.iter().enumerate() {
            let lookup = Prepare {
                staff: request.staff.clone(),
                store_id: request.store_id,
                device: request.device.clone(),
                input: input.clone(),
            };
            let found = self.find_logged(&lookup).await?;
            let [voucher_id] = found[..] else {
                let text = "请逐张扫描券的二维码，不能用整单的二维码补录";
                return Err(Refusal::field(format!("items[{n}]"), text).into());
            };
            items.push(ConfirmItem { voucher_id, quantity: *quantity });
        }
        Ok(items)
    }
}

async fn record(
    app: &App,
    tx: &Tx,
    request: &RecordBackfill,
    items: &[ConfirmItem],
) -> Result<Result<Backfilled, Refused>> {
    let merchant = request.staff.merchant();
    let asked = Asked {
        store_id: request.store_id,
        items,
        occurred_at: request.occurred_at,
        reason: &request.reason,
        photo_url: &request.photo_url,
    };
    let key = Key {
        merchant,
        actor_id: request.staff.staff_id.into(),
        key: &request.key,
        operation: "redemption.backfill",
        fingerprint: fingerprint(&asked),
    };
    match idempotency::claim(tx, &key, app.now()).await? {
        Claim::Conflict => return Err(Reason::IdempotencyConflict.into()),
        Claim::Replay { subject_id, answer } => {
            let backfill = backfills::lock(tx, merchant, BackfillId::from_uuid(subject_id)).await?;
            let backfill = backfill.ok_or_else(|| AppError::Internal("key without backfill".to_owned()))?;
            let stored: Stored = serde_json::from_str(&answer)
                .map_err(|e| AppError::Internal(format!("stored answer: {e}")))?;
            return Ok(Ok(Backfilled { backfill, answer: stored.answer, replayed: true }));
        }
        Claim::New => {}
    }
    let ids: Vec<VoucherId> = items.iter().map(|i| i.voucher_id).collect();
    let mut vouchers = vouchers::load(tx, merchant, &ids, true).await?;
    // Read under the locks, like everything that decides.
    let now = app.now();
    check_occurred(request.occurred_at, now)?;
    let store = store_facts::get(tx, merchant, request.store_id).await?.ok_or(Reason::NotFound)?;
    // The verifier's row is locked also without a limit: what they record alone adds up.
    let today = store.business_day.date(now);
    let limits = Limits::lock(tx, merchant, &BTreeSet::from([(request.staff.staff_id, today)])).await?;
    let policy = backfills::policy(tx, merchant).await?.ok_or(Reason::NotFound)?;
    let mut tally = limits.tally(request.staff.staff_id, today);
    let judged: Vec<Result<Allowed, Refusal>> = items
        .iter()
        .map(|item| {
            let allowed = judge(item, &request.acknowledge, &store, &vouchers, request.occurred_at)?;
            tally.add(item.quantity, allowed.amount)?;
            Ok(allowed)
        })
        .collect();
    if let Some(refused) = refused_as_a_whole(items, Atomicity::All, &judged, &vouchers) {
        idempotency::release(tx, &key).await?;
        log_refused(tx, &request.staff, request.store_id, request.device.as_deref(), items, &refused, now)
            .await?;
        return Ok(Err(refused));
    }
    let mut backfill = new_backfill(request, items, &judged, &vouchers, now);
    let answer = if waits(tx, merchant, policy, &backfill, now).await? {
        None
    } else {
        let act = Act {
            staff: &request.staff,
            store: &store,
            device: request.device.as_deref(),
            method: Method::Backfill,
            key: &redemption_key(&backfill),
            fingerprint: key.fingerprint,
            nonce: entropy(),
            limited: tally.is_limited(),
            occurred_at: request.occurred_at,
            now,
        };
        let mut writes = Writes::default();
        let done = redeem(&act, items, &judged, &mut vouchers, &mut writes);
        write(tx, merchant, writes).await?;
        backfill.state = BackfillState::Recorded;
        backfill.redemption_id = Some(done.answer.id);
        Some(done.answer)
    };
    backfills::insert(tx, &backfill).await?;
    let stored = hexiao_db::row::json_text(&Stored { answer: answer.clone() });
    idempotency::store(tx, &key, backfill.id.into(), &stored).await?;
    app.hold_at("backfill.before_commit").await;
    Ok(Ok(Backfilled { backfill, answer, replayed: false }))
}

/// Judges one item as it was when it happened.
pub(super) fn judge(
    item: &ConfirmItem,
    acknowledge: &[Attention],
    store: &StoreFacts,
    vouchers: &BTreeMap<VoucherId, Loaded>,
    occurred_at: Timestamp,
) -> Result<Allowed, Refusal> {
    let loaded = vouchers.get(&item.voucher_id).ok_or(Reason::NotFound)?;
    let issued_at = loaded.voucher.created_at;
    let allowed = decide_backfill(&loaded.facts, store.place(), issued_at, occurred_at, item.quantity)?;
    check_acknowledged(&allowed, acknowledge)?;
    Ok(allowed)
}

/// A redemption's own key: a caller can't know it before.
pub(super) fn redemption_key(backfill: &Backfill) -> String {
    format!("backfill:{}", backfill.id)
}

/// Logs what was refused, in the transaction that refused it.
pub(super) async fn log_refused(
    tx: &Tx,
    staff: &StaffPrincipal,
    store_id: StoreId,
    device: Option<&str>,
    items: &[ConfirmItem],
    refused: &Refused,
    now: Timestamp,
) -> Result<()> {
    let asked = writes::Asked { staff, store_id, device, method: Method::Backfill, items };
    let attempts = writes::attempts(&asked, &Err(refused.clone()), now);
    Ok(redemptions::insert_attempts(tx, &attempts).await?)
}

/// Whether it needs a second person, together with what was recorded alone shortly before.
async fn waits(
    tx: &Tx,
    merchant: MerchantScope,
    policy: BackfillPolicy,
    backfill: &Backfill,
    now: Timestamp,
) -> Result<bool> {
    let since = now.minus(Duration::hours(FREE_WINDOW_HOURS));
    let before = backfills::recorded_since(tx, merchant, backfill.staff_id, since).await?;
    let all = before.plus(backfill.quantity, backfill.amount);
    if !policy.needs_approval(all.uses, all.amount) {
        return Ok(false);
    }
    if backfills::pending(tx, merchant, backfill.store_id).await? >= MAX_PENDING {
        let text = "本店待审批的补录太多，请先处理";
        return Err(Refusal::with_message(Reason::ApprovalRequired, text).into());
    }
    Ok(true)
}

fn new_backfill(
    request: &RecordBackfill,
    items: &[ConfirmItem],
    judged: &[Result<Allowed, Refusal>],
    vouchers: &BTreeMap<VoucherId, Loaded>,
    now: Timestamp,
) -> Backfill {
    let item = |i: &ConfirmItem| {
        let voucher = &vouchers.get(&i.voucher_id)?.voucher;
        Some(BackfillItem {
            voucher_id: i.voucher_id,
            quantity: i.quantity,
            product_name: voucher.product_name.clone(),
            code_last4: voucher.code_last4.clone(),
        })
    };
    let amount: i64 = judged.iter().flatten().map(|allowed| allowed.amount.as_fen()).sum();
    Backfill {
        merchant_id: request.staff.merchant_id,
        id: new_id(),
        store_id: request.store_id,
        staff_id: request.staff.staff_id,
        staff_name: request.staff.name.to_string(),
        device: request.device.clone(),
        state: BackfillState::Pending,
        items: items.iter().filter_map(item).collect(),
        quantity: items.iter().map(|i| i64::from(i.quantity)).sum(),
        amount: Money::fen(amount),
        occurred_at: request.occurred_at,
        reason: request.reason.clone(),
        photo_url: request.photo_url.clone(),
        created_at: now,
        decided_by: None,
        decided_at: None,
        decision_note: None,
        redemption_id: None,
    }
}
