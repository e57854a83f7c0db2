//! The fuse between a refund and a redemption: while a refund has not been sent, the customer's tap at the counter takes
//! it back and redeems its uses, in one transaction. Of that and the job that sends the refund one comes first: both
//! lock the refund's row.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use hexiao_core::catalog::Capability;
use hexiao_core::consent::{ConsentKind, check_tap, refund_pending, refunds_to_withdraw, release_refunded};
use hexiao_core::id::{ConsentId, CustomerId, Id as _, OrderId, PaymentId, RefundId, StoreId, VoucherId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::redeem::{Allowed, decide};
use hexiao_core::refund::RefundState;
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::time::Timestamp;
use hexiao_db::consents::{self, Consent};
use hexiao_db::idempotency::{self, Claim, Key};
use hexiao_db::redemptions::{self, Attempt, Method};
use hexiao_db::refunds::{self, Refund};
use hexiao_db::vouchers::{self, Loaded, RefundLock};
use hexiao_db::{Tx, orders, payments, store_facts, transact};
use serde::Serialize;

use super::answer::Answer;
use super::confirm::{ConfirmItem, check_items};
use super::limits::{self, Limits, Tally};
use super::token::{self, PrepareToken};
use super::writes::{Act, Writes, redeem, write};
use crate::auth::{Principal, StaffPrincipal};
use crate::consent::Asked;
use crate::consent::ask::{check_limits, new_consent, refused};
use crate::consent::items_of;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::keys::entropy;
use crate::refund::withdraw;

/// A verifier's request that the customer take refunds back.
#[derive(Clone)]
pub struct AskWithdrawal {
    /// By whom.
    pub staff: StaffPrincipal,
    /// Where.
    pub store_id: StoreId,
    /// From the prepare.
    pub prepare_token: String,
    /// What to redeem.
    pub items: Vec<ConfirmItem>,
    /// Its idempotency key.
    pub key: String,
}

#[derive(Serialize)]
struct AskedFor<'a> {
    store_id: StoreId,
    items: &'a [ConfirmItem],
}

impl App {
    /// Asks the customer to take refunds back and have their uses redeemed.
    pub async fn ask_withdrawal(&self, request: &AskWithdrawal) -> Result<Asked> {
        check_items(&request.items)?;
        let now = self.now();
        let asked: Result<Asked> = transact!(self.db, |tx| async {
            let asked = ask(self, &tx, request, now).await?;
            self.hold_at("consent.before_commit").await;
            Ok::<_, AppError>(asked)
        });
        self.hold_at("consent.after_commit").await;
        if let Err(AppError::Refused(refusal)) = &asked {
            let attempt = Attempt {
                step: "confirm",
                voucher_id: request.items.first().map(|i| i.voucher_id),
                ..refused(&request.staff, request.store_id, None, refusal, now)
            };
            self.log_consent_refusal(attempt).await?;
        }
        asked
    }

    /// The customer's tap: takes the refunds back and redeems, as the verifier who asked.
    pub(crate) async fn redeem_withdrawn(
        &self,
        customer: CustomerScope,
        consent: &Consent,
    ) -> Result<Answer> {
        // A second tap is answered, also when the verifier has gone home.
        if let Some(done) = self.answer_of(consent).await? {
            return Ok(done);
        }
        let staff = self.still_asking(consent).await?;
        let done: Result<Answer> = transact!(self.db, |tx| async {
            let answer = redeem_in(self, &tx, customer, consent.id, &staff).await?;
            self.hold_at("fuse.before_commit").await;
            Ok::<_, AppError>(answer)
        });
        self.hold_at("fuse.after_commit").await;
        match &done {
            Ok(_) => {
                metrics::counter!("redemptions_total", "result" => "redeemed", "fault" => "none")
                    .increment(1);
                self.wake.notify_one();
            }
            Err(AppError::Refused(refusal)) => {
                super::prepare::count_refusal(refusal.reason);
                let attempt = Attempt {
                    step: "confirm",
                    ..refused(&staff, consent.store_id, consent.device.clone(), refusal, self.now())
                };
                self.log_consent_refusal(attempt).await?;
            }
            Err(_) => {}
        }
        done
    }

    /// The verifier who asked, if they may still redeem there.
    async fn still_asking(&self, consent: &Consent) -> Result<StaffPrincipal> {
        let gone = || AppError::from(Refusal::with_message(Reason::ConsentExpired, "发起的店员已退出登录"));
        let staff = match self.load_principal(consent.session_id).await {
            Ok(Principal::Staff(staff)) => staff,
            Ok(Principal::Customer(_)) | Err(AppError::Refused(_)) => return Err(gone()),
            Err(error) => return Err(error),
        };
        staff
            .require(Capability::Redeem)
            .and_then(|()| staff.require_store(consent.store_id))
            .map_err(|_| gone())?;
        Ok(staff)
    }
}

async fn ask(app: &App, tx: &Tx, request: &AskWithdrawal, now: Timestamp) -> Result<Asked> {
    let merchant = request.staff.merchant();
    let asked_for = AskedFor { store_id: request.store_id, items: &request.items };
    let key = Key {
        merchant,
        actor_id: request.staff.staff_id.into(),
        key: &request.key,
        operation: "consent.withdraw",
        fingerprint: fingerprint(&asked_for),
    };
    match idempotency::claim(tx, &key, now).await? {
        Claim::Conflict => return Err(Reason::IdempotencyConflict.into()),
        Claim::Replay { subject_id, .. } => {
            let id = ConsentId::from_uuid(subject_id);
            let found = consents::of_staff(tx, merchant, request.staff.staff_id, id).await?;
            let found = found.ok_or(Reason::ConsentExpired)?;
            return Ok(Asked { id, expires_at: found.expires_at });
        }
        Claim::New => {}
    }
    check_limits(tx, &request.staff, request.store_id, now).await?;
    let store = store_facts::get(tx, merchant, request.store_id).await?.ok_or(Reason::NotFound)?;
    let token = admit(app, tx, request, now).await?;
    let ids: Vec<VoucherId> = request.items.iter().map(|i| i.voucher_id).collect();
    let mut loaded = vouchers::load(tx, merchant, &ids, false).await?;
    let customer = holder(&loaded)?;
    let refunds = choose(tx, merchant, request, &loaded).await?;
    // Nothing is locked: it is judged again when the customer taps. This only spares them a tap for nothing.
    let locks = vouchers::locks_of_refunds(tx, merchant, &refunds).await?;
    release(&mut loaded, &locks);
    let date = store.business_day.date(now);
    let limits = limits::look(tx, merchant, request.staff.staff_id, date).await?;
    let mut tally = limits.tally(request.staff.staff_id, date);
    judge(&request.items, &loaded, &store, &mut tally, now)?;
    let mut consent = new_consent(&request.staff, request.store_id, token.device.clone(), now);
    consent.kind = ConsentKind::WithdrawRefund;
    consent.asked_of = Some(customer);
    consent.items = Some(hexiao_db::row::json_text(&request.items));
    consent.prepare_nonce = Some(token.nonce.to_vec());
    consents::insert(tx, &consent, &refunds).await?;
    idempotency::store(tx, &key, consent.id.into(), "{}").await?;
    Ok(Asked { id: consent.id, expires_at: consent.expires_at })
}

async fn admit(app: &App, tx: &Tx, request: &AskWithdrawal, now: Timestamp) -> Result<PrepareToken> {
    let merchant = request.staff.merchant();
    let token = token::open(&app.keys.seal, &request.prepare_token)?;
    let fits = token.merchant_id == merchant.merchant_id()
        && token.staff_id == request.staff.staff_id
        && token.store_id == request.store_id
        && request.items.iter().all(|i| token.vouchers.contains(&i.voucher_id));
    if !fits {
        return Err(Reason::TokenMismatch.into());
    }
    if redemptions::scan_used(tx, merchant, &token.nonce).await? {
        return Err(Reason::TokenUsed.into());
    }
    if token::expired(&token, now) {
        return Err(Reason::TokenExpired.into());
    }
    Ok(token)
}

/// The one customer who holds all of them.
fn holder(loaded: &BTreeMap<VoucherId, Loaded>) -> Result<CustomerId, Refusal> {
    let mut holders = loaded.values().map(|l| l.voucher.customer_id);
    let first = holders.next().ok_or(Reason::NotFound)?;
    if holders.all(|other| other == first) {
        Ok(first)
    } else {
        Err(Refusal::field("items", "只能请一位顾客撤回自己的退款"))
    }
}

/// The refunds to take back, so that there are enough uses.
async fn choose(
    tx: &Tx,
    merchant: MerchantScope,
    request: &AskWithdrawal,
    loaded: &BTreeMap<VoucherId, Loaded>,
) -> Result<Vec<RefundId>> {
    let free = |id: &VoucherId| loaded.get(id).map_or(0, |l| l.facts.counters.free());
    let lacking: Vec<(VoucherId, u32)> = request
        .items
        .iter()
        .map(|i| (i.voucher_id, i.quantity.saturating_sub(free(&i.voucher_id))))
        .filter(|(_, lacks)| *lacks > 0)
        .collect();
    if lacking.is_empty() {
        let text = "剩余次数够用，不需要撤回退款，请直接核销";
        return Err(Refusal::with_message(Reason::IllegalState, text).into());
    }
    let ids: Vec<VoucherId> = lacking.iter().map(|(id, _)| *id).collect();
    let held = refunds::held(tx, merchant, &ids).await?;
    if let Some(refunds) = refunds_to_withdraw(&lacking, &held) {
        return Ok(refunds);
    }
    let locked = |id: &VoucherId| loaded.get(id).is_some_and(|l| l.facts.counters.locked_refund > 0);
    let on_its_way = held.is_empty() && ids.iter().any(locked);
    Err(if on_its_way { refund_pending(false) } else { Reason::NotEnoughUses.into() }.into())
}

fn release(loaded: &mut BTreeMap<VoucherId, Loaded>, locks: &[RefundLock]) {
    for lock in locks {
        if let Some(l) = loaded.get_mut(&lock.voucher_id) {
            release_refunded(&mut l.facts, &lock.serials);
        }
    }
}

/// All or none. The customer's tap for so many uses is the acknowledgement that others were just redeemed.
fn judge(
    items: &[ConfirmItem],
    loaded: &BTreeMap<VoucherId, Loaded>,
    store: &store_facts::StoreFacts,
    tally: &mut Tally,
    now: Timestamp,
) -> Result<Vec<Result<Allowed, Refusal>>, Refusal> {
    let mut one = |item: &ConfirmItem| {
        let l = loaded.get(&item.voucher_id).ok_or(Reason::NotFound)?;
        let allowed = decide(&l.facts, store.place(), now, item.quantity)?;
        tally.add(item.quantity, allowed.amount)?;
        Ok::<_, Refusal>(allowed)
    };
    items.iter().map(|item| one(item).map(Ok)).collect()
}

/// Order of locks: the request, refunds, payments, orders, vouchers, the verifier.
async fn redeem_in(
    app: &App,
    tx: &Tx,
    customer: CustomerScope,
    id: ConsentId,
    staff: &StaffPrincipal,
) -> Result<Answer> {
    let merchant = MerchantScope::of_system(staff.merchant_id);
    let consent = consents::lock(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
    if let Some(done) = consent.redemption_id {
        return earlier(tx, merchant, done).await;
    }
    check_tap(consent.state_at(app.now()))?;
    let refunds = lock_refunds(tx, merchant, id).await?;
    let ids: Vec<RefundId> = refunds.iter().map(|r| r.id).collect();
    let locks = vouchers::locks_of_refunds(tx, merchant, &ids).await?;
    let items = items_of(&consent)?;
    let mut touched: Vec<VoucherId> =
        items.iter().map(|i| i.voucher_id).chain(locks.iter().map(|l| l.voucher_id)).collect();
    touched.sort_unstable();
    touched.dedup();
    let mut loaded = vouchers::load(tx, merchant, &touched, true).await?;
    let now = app.now();
    let store = store_facts::get(tx, merchant, consent.store_id).await?.ok_or(Reason::NotFound)?;
    let nonce = nonce_of(tx, merchant, &consent).await?;
    release(&mut loaded, &locks);
    let date = store.business_day.date(now);
    let wanted = if staff.limited { BTreeSet::from([(staff.staff_id, date)]) } else { BTreeSet::new() };
    let mut tally = Limits::lock(tx, merchant, &wanted).await?.tally(staff.staff_id, date);
    let judged = judge(&items, &loaded, &store, &mut tally, now)?;
    for refund in &refunds {
        let own: Vec<RefundLock> = locks.iter().filter(|l| l.refund_id == refund.id).cloned().collect();
        withdraw::write(tx, merchant, refund, &own, now).await?;
    }
    let key = format!("consent-{}", HEXLOWER.encode(&entropy::<16>()));
    let act = Act {
        staff,
        store: &store,
        device: consent.device.as_deref(),
        method: Method::Consent,
        key: &key,
        fingerprint: fingerprint(&AskedFor { store_id: store.id, items: &items }),
        nonce,
        limited: tally.is_limited(),
        occurred_at: now,
        now,
    };
    let mut writes = Writes::default();
    let done = redeem(&act, &items, &judged, &mut loaded, &mut writes);
    write(tx, merchant, writes).await?;
    consents::use_withdrawal(tx, &consent, customer.customer_id(), done.answer.id, now).await?;
    Ok(done.answer)
}

/// Those of the request that are still to be taken back. One that was sent meanwhile makes it too late.
async fn lock_refunds(tx: &Tx, merchant: MerchantScope, id: ConsentId) -> Result<Vec<Refund>> {
    let mut held = Vec::new();
    for refund_id in consents::refunds_of(tx, merchant, id).await? {
        let refund = refunds::lock(tx, merchant, refund_id).await?.ok_or(Reason::NotFound)?;
        match refund.state {
            RefundState::Created => held.push(refund),
            // The customer took it back by themselves meanwhile.
            RefundState::Withdrawn => {}
            RefundState::Submitted
            | RefundState::Processing
            | RefundState::Blocked
            | RefundState::Closed
            | RefundState::Abnormal
            | RefundState::AbnormalSubmitted
            | RefundState::Succeeded
            | RefundState::ManuallyDone => return Err(refund_pending(false).into()),
        }
    }
    let mut paid: Vec<PaymentId> = held.iter().map(|r| r.payment_id).collect();
    let mut ordered: Vec<OrderId> = held.iter().map(|r| r.order_id).collect();
    paid.sort_unstable();
    paid.dedup();
    ordered.sort_unstable();
    ordered.dedup();
    payments::lock(tx, merchant, &paid).await?;
    orders::lock(tx, merchant, &ordered).await?;
    Ok(held)
}

async fn nonce_of(tx: &Tx, merchant: MerchantScope, consent: &Consent) -> Result<[u8; 16]> {
    let bytes = consent.prepare_nonce.as_deref().unwrap_or_default();
    let nonce = <[u8; 16]>::try_from(bytes).map_err(|_| AppError::Internal("stored nonce".to_owned()))?;
    if redemptions::scan_used(tx, merchant, &nonce).await? {
        return Err(Refusal::with_message(Reason::TokenUsed, "店员已经用这次扫码核销过，请重新发起").into());
    }
    Ok(nonce)
}

async fn earlier(
    tx: &Tx,
    merchant: MerchantScope,
    redemption: hexiao_core::id::RedemptionId,
) -> Result<Answer> {
    let text = redemptions::answer(tx, merchant, redemption).await?;
    let text = text.ok_or_else(|| AppError::Internal("consent without its redemption".to_owned()))?;
    serde_json::from_str(&text).map_err(|e| AppError::Internal(format!("stored answer: {e}")))
}
