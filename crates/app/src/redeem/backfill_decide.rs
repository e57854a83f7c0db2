//! What becomes of a backfill that waits: another person approves it, which redeems, or rejects it; who asked may
//! take it back.

use hexiao_core::backfill::{BackfillEvent, BackfillPolicy, BackfillState, MAX_FREE};
use hexiao_core::catalog::Capability;
use hexiao_core::id::{BackfillId, VoucherId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::redeem::{Allowed, Atomicity, Attention};
use hexiao_core::time::Timestamp;
use hexiao_db::backfills::{self, Backfill};
use hexiao_db::redemptions::{self, Method};
use hexiao_db::{Tx, audit, store_facts, transact, vouchers};
use serde_json::json;

use super::answer::{Answer, Refused};
use super::backfill::{Backfilled, judge, log_refused, redemption_key};
use super::confirm::{ConfirmItem, refused_as_a_whole};
use super::writes::{Act, Writes, redeem, write};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::idempotency::fingerprint;
use crate::keys::entropy;

impl App {
    /// Approves a backfill of somebody else: it is judged again and redeemed. Repeating it answers the same.
    pub async fn approve_backfill(
        &self,
        by: &StaffPrincipal,
        id: BackfillId,
    ) -> Result<Result<Backfilled, Refused>> {
        by.require(Capability::ApproveBackfill)?;
        let found = self.backfill_of(by, id).await?;
        let done: Result<Result<Backfilled, Refused>> =
            transact!(self.db, |tx| approve(self, &tx, by, &found));
        self.hold_at("backfill_approve.after_commit").await;
        self.wake.notify_one();
        self.explained(by.merchant(), found.store_id, done?).await
    }

    /// Rejects a backfill of somebody else. Repeating it answers the same.
    pub async fn reject_backfill(&self, by: &StaffPrincipal, id: BackfillId, note: &str) -> Result<Backfill> {
        by.require(Capability::ApproveBackfill)?;
        self.end_backfill(by, id, BackfillEvent::Reject, Some(note)).await
    }

    /// Takes an own backfill back. Repeating it answers the same.
    pub async fn withdraw_backfill(&self, by: &StaffPrincipal, id: BackfillId) -> Result<Backfill> {
        by.require(Capability::Redeem)?;
        self.end_backfill(by, id, BackfillEvent::Withdraw, None).await
    }

    async fn backfill_of(&self, by: &StaffPrincipal, id: BackfillId) -> Result<Backfill> {
        let found = backfills::get(self.db.reader(), &by.scope, id).await?;
        Ok(found.ok_or_else(|| Refusal::with_message(Reason::NotFound, "没有找到这笔补录"))?)
    }

    async fn end_backfill(
        &self,
        by: &StaffPrincipal,
        id: BackfillId,
        event: BackfillEvent,
        note: Option<&str>,
    ) -> Result<Backfill> {
        self.backfill_of(by, id).await?;
        let now = self.now();
        let done: Result<Backfill> = transact!(self.db, |tx| end(&tx, by, id, event, note, now));
        done
    }

    /// Sets what one person may record alone.
    pub async fn set_backfill_policy(&self, by: &StaffPrincipal, policy: BackfillPolicy) -> Result<()> {
        by.require(Capability::ApproveBackfill)?;
        if !by.role.all_stores() {
            return Err(Refusal::with_message(Reason::Forbidden, "补录免审批额度由总部设置").into());
        }
        let (uses, fen) = MAX_FREE;
        if policy.free_uses > uses {
            return Err(Refusal::field("free_uses", "应为 0–100000 次").into());
        }
        if !(0..=fen).contains(&policy.free_amount.as_fen()) {
            return Err(Refusal::field("free_amount_fen", "应为 0–1 亿元").into());
        }
        let now = self.now();
        let detail = json!({"free_uses": policy.free_uses, "free_amount_fen": policy.free_amount});
        transact!(self.db, |tx| async {
            backfills::set_policy(&tx, by.merchant(), policy).await?;
            let subject = by.merchant_id.to_string();
            let who = Some(by.staff_id);
            audit::record(&tx, by.merchant(), who, "backfill.policy", &subject, &detail, now).await?;
            Ok::<_, AppError>(())
        })
    }
}

async fn approve(
    app: &App,
    tx: &Tx,
    by: &StaffPrincipal,
    found: &Backfill,
) -> Result<Result<Backfilled, Refused>> {
    let merchant = by.merchant();
    let items: Vec<ConfirmItem> =
        found.items.iter().map(|i| ConfirmItem { voucher_id: i.voucher_id, quantity: i.quantity }).collect();
    let ids: Vec<VoucherId> = items.iter().map(|i| i.voucher_id).collect();
    let mut vouchers = vouchers::load(tx, merchant, &ids, true).await?;
    let mut backfill = backfills::lock(tx, merchant, found.id).await?.ok_or(Reason::NotFound)?;
    if let (BackfillState::Approved, Some(redemption_id)) = (backfill.state, backfill.redemption_id) {
        let stored = redemptions::answer(tx, merchant, redemption_id).await?;
        let stored = stored.ok_or_else(|| AppError::Internal("backfill without redemption".to_owned()))?;
        let answer: Answer =
            serde_json::from_str(&stored).map_err(|e| AppError::Internal(format!("stored answer: {e}")))?;
        return Ok(Ok(Backfilled { backfill, answer: Some(answer), replayed: true }));
    }
    let state = next(&backfill, BackfillEvent::Approve)?;
    by_another(by, &backfill)?;
    let now = app.now();
    let store = store_facts::get(tx, merchant, backfill.store_id).await?.ok_or(Reason::NotFound)?;
    // The second person is the acknowledgement that another use of the voucher is close to this one.
    let seen = [Attention::JustRedeemed];
    let judged: Vec<Result<Allowed, Refusal>> =
        items.iter().map(|item| judge(item, &seen, &store, &vouchers, backfill.occurred_at)).collect();
    if let Some(refused) = refused_as_a_whole(&items, Atomicity::All, &judged, &vouchers) {
        log_refused(tx, by, backfill.store_id, None, &items, &refused, now).await?;
        return Ok(Err(refused));
    }
    // It is the verifier's redemption; who approved it is on the backfill.
    let verifier = StaffPrincipal {
        staff_id: backfill.staff_id,
        name: backfill.staff_name.as_str().into(),
        ..by.clone()
    };
    let key = redemption_key(&backfill);
    let act = Act {
        staff: &verifier,
        store: &store,
        device: backfill.device.as_deref(),
        method: Method::Backfill,
        key: &key,
        fingerprint: fingerprint(&items),
        nonce: entropy(),
        limited: false,
        occurred_at: backfill.occurred_at,
        now,
    };
    let mut writes = Writes::default();
    let done = redeem(&act, &items, &judged, &mut vouchers, &mut writes);
    write(tx, merchant, writes).await?;
    backfill.redemption_id = Some(done.answer.id);
    decide(tx, by, &mut backfill, state, None, now).await?;
    app.hold_at("backfill_approve.before_commit").await;
    Ok(Ok(Backfilled { backfill, answer: Some(done.answer), replayed: false }))
}

async fn end(
    tx: &Tx,
    by: &StaffPrincipal,
    id: BackfillId,
    event: BackfillEvent,
    note: Option<&str>,
    now: Timestamp,
) -> Result<Backfill> {
    let mut backfill = backfills::lock(tx, by.merchant(), id).await?.ok_or(Reason::NotFound)?;
    let state = match (event, backfill.state, backfill.decided_by) {
        (BackfillEvent::Reject, BackfillState::Rejected, Some(who))
        | (BackfillEvent::Withdraw, BackfillState::Withdrawn, Some(who))
            if who == by.staff_id =>
        {
            return Ok(backfill);
        }
        _ => next(&backfill, event)?,
    };
    match event {
        BackfillEvent::Approve | BackfillEvent::Reject => by_another(by, &backfill)?,
        BackfillEvent::Withdraw if by.staff_id != backfill.staff_id => {
            return Err(Refusal::with_message(Reason::IllegalState, "只能撤回自己提交的补录").into());
        }
        BackfillEvent::Withdraw => {}
    }
    decide(tx, by, &mut backfill, state, note, now).await?;
    Ok(backfill)
}

async fn decide(
    tx: &Tx,
    by: &StaffPrincipal,
    backfill: &mut Backfill,
    state: BackfillState,
    note: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    backfill.state = state;
    (backfill.decided_by, backfill.decided_at) = (Some(by.staff_id), Some(now));
    backfill.decision_note = note.map(str::to_owned);
    backfills::decide(tx, backfill).await?;
    let detail = json!({"state": state, "note": note, "redemption_id": backfill.redemption_id});
    let (subject, who) = (backfill.id.to_string(), Some(by.staff_id));
    Ok(audit::record(tx, by.merchant(), who, "backfill.decide", &subject, &detail, now).await?)
}

fn next(backfill: &Backfill, event: BackfillEvent) -> Result<BackfillState, Refusal> {
    backfill.state.after(event).map_err(|_| {
        let text = match backfill.state {
            BackfillState::Recorded => "这笔补录不需要审批，已经核销",
            BackfillState::Approved => "这笔补录已经通过",
            BackfillState::Rejected => "这笔补录已被驳回",
            BackfillState::Withdrawn => "这笔补录已撤回",
            BackfillState::Pending => "这笔补录正在等待审批",
        };
        Refusal::with_message(Reason::IllegalState, text)
    })
}

fn by_another(by: &StaffPrincipal, backfill: &Backfill) -> Result<(), Refusal> {
    if by.staff_id == backfill.staff_id {
        return Err(Refusal::with_message(
            Reason::Forbidden,
            "不能审批自己提交的补录，请另一位店长或总部审批",
        ));
    }
    Ok(())
}
