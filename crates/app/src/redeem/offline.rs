//! Uploading what a device redeemed offline: each entry is judged as it was, once, and nothing is dropped silently.
//!
//! The device's row is locked after the vouchers and the verifier, so of the same upload sent twice the second finds
//! the verdicts of the first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::Duration;
use hexiao_core::device::DeviceState;
use hexiao_core::id::{DeviceId, Id as _, RedemptionId, StoreId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::offline::{
    ExceptionKind, ExceptionState, Judged, LIMIT_HOURS, MAX_ENTRIES, MAX_QUANTITY, MAX_SEQ, OfflinePolicy,
    OfflineVerdict, Signed, decide_offline, instant,
};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::redeem::Allowed;
use hexiao_core::scope::MerchantScope;
use hexiao_core::ticket::{Ticket, TicketKind};
use hexiao_core::time::Timestamp;
use hexiao_db::offline::{self, Entry, Exception, Winner};
use hexiao_db::redemptions::{Attempt, Method};
use hexiao_db::store_facts::StoreFacts;
use hexiao_db::vouchers::{self, Loaded};
use hexiao_db::{Tx, devices, merchants, store_facts, transact};

use super::confirm::ConfirmItem;
use super::limits::Limits;
use super::writes::{Act, Writes, redeem, write};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::Result;
use crate::keys::{entropy, new_id, sha256};

/// What a device queued.
#[derive(Debug, Clone)]
pub struct OfflineEntry {
    /// Its number on the device, from 1 without gaps.
    pub seq: i64,
    /// The ticket that was scanned.
    pub ticket: String,
    /// Uses.
    pub quantity: u32,
    /// When, by the device's clock.
    pub occurred_at: Timestamp,
    /// Random.
    pub nonce: String,
    /// By the device's key, over [`Signed::text`].
    pub signature: Vec<u8>,
}

/// An upload.
#[derive(Clone)]
pub struct UploadOffline {
    /// By whom.
    pub staff: StaffPrincipal,
    /// Where it happened.
    pub store_id: StoreId,
    /// When the device sent it, by its own clock.
    pub sent_at: Timestamp,
    /// What it queued, by ascending numbers.
    pub entries: Vec<OfflineEntry>,
}

/// What became of one entry of an upload.
#[derive(Debug, Clone)]
pub struct OfflineResult {
    /// Its number.
    pub seq: i64,
    /// What became of it.
    pub verdict: OfflineVerdict,
    /// Why it is not simply accepted.
    pub reason: Option<String>,
    /// The same in words.
    pub message: Option<String>,
    /// What was redeemed.
    pub redemption_id: Option<RedemptionId>,
    /// What took the uses instead.
    pub winner: Option<Winner>,
    /// It came before.
    pub replayed: bool,
}

/// The answer to an upload.
#[derive(Debug, Clone)]
pub struct UploadedOffline {
    /// Entry by entry.
    pub results: Vec<OfflineResult>,
    /// The number that we had expected next.
    pub expected_seq: i64,
    /// The number that we expect now.
    pub next_seq: i64,
    /// Numbers between them that did not come: first and last.
    pub missing: Vec<(i64, i64)>,
}

/// A voucher's ticket that we signed.
type Shown = Result<(VoucherId, i64), Refusal>;

impl App {
    /// Takes what the session's device queued.
    pub async fn upload_offline(&self, request: &UploadOffline) -> Result<UploadedOffline> {
        check_entries(&request.entries)?;
        let merchant = request.staff.merchant();
        store_facts::get(self.db.reader(), merchant, request.store_id).await?.ok_or(Reason::NotFound)?;
        let device = request.staff.device.ok_or_else(|| {
            Refusal::with_message(Reason::DeviceRequired, "离线核销只能由登记的设备上传，请先登记这台设备")
        })?;
        let found = devices::get(self.db.reader(), merchant, device).await?.ok_or(Reason::DeviceRevoked)?;
        if found.state == DeviceState::Revoked {
            return Err(Reason::DeviceRevoked.into());
        }
        let shown: Vec<Shown> = request.entries.iter().map(|e| self.read_ticket(&e.ticket)).collect();
        let done: Result<UploadedOffline> =
            transact!(self.db, |tx| upload(self, &tx, request, device, found.public_key, &shown));
        self.hold_at("offline.after_commit").await;
        self.wake.notify_one();
        let done = done?;
        for result in done.results.iter().filter(|r| !r.replayed) {
            metrics::counter!("offline_entries_total", "verdict" => result.verdict.as_str()).increment(1);
        }
        Ok(done)
    }

    fn read_ticket(&self, text: &str) -> Shown {
        let forged = |_| Refusal::new(Reason::InvalidSignature);
        let ticket = Ticket::parse_and_verify(text, &self.keys.ticket_verifiers).map_err(forged)?;
        match ticket.kind {
            TicketKind::Voucher => Ok((VoucherId::from_uuid(ticket.subject_id), i64::from(ticket.version))),
            TicketKind::Order => {
                let text = "离线时只能核销单张券的二维码，不能用整单的二维码";
                Err(Refusal::with_message(Reason::InvalidSignature, text))
            }
        }
    }
}

fn check_entries(entries: &[OfflineEntry]) -> Result<(), Refusal> {
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        return Err(Refusal::field("entries", format!("应为 1–{MAX_ENTRIES} 条")));
    }
    let mut last = 0;
    for (n, entry) in entries.iter().enumerate() {
        if !(1..=MAX_SEQ).contains(&entry.seq) || entry.seq <= last {
            return Err(Refusal::field(format!("entries[{n}].seq"), "应从 1 开始，由小到大"));
        }
        if !(1..=MAX_QUANTITY).contains(&entry.quantity) {
            let text = format!("应为 1–{MAX_QUANTITY} 次");
            return Err(Refusal::field(format!("entries[{n}].quantity"), text));
        }
        last = entry.seq;
    }
    Ok(())
}

/// What entries are judged by, and what comes of them.
struct Desk<'a> {
    request: &'a UploadOffline,
    device: DeviceId,
    device_text: String,
    store: StoreFacts,
    policy: OfflinePolicy,
    spent: (i64, Money),
    limits: Limits,
    now: Timestamp,
    vouchers: BTreeMap<VoucherId, Loaded>,
    writes: Writes,
    entries: Vec<Entry>,
    exceptions: Vec<Exception>,
}

async fn upload(
    app: &App,
    tx: &Tx,
    request: &UploadOffline,
    device: DeviceId,
    public_key: [u8; 32],
    shown: &[Shown],
) -> Result<UploadedOffline> {
    let (staff, merchant) = (&request.staff, request.staff.merchant());
    let ids: BTreeSet<VoucherId> = shown.iter().flatten().map(|(id, _)| *id).collect();
    let ids: Vec<VoucherId> = ids.into_iter().collect();
    let vouchers = vouchers::load(tx, merchant, &ids, true).await?;
    let now = app.now();
    let store = store_facts::get(tx, merchant, request.store_id).await?.ok_or(Reason::NotFound)?;
    let mut wanted = BTreeSet::new();
    if staff.limited {
        wanted.insert((staff.staff_id, store.business_day.date(now)));
    }
    let limits = Limits::lock(tx, merchant, &wanted).await?;
    let last_seq =
        offline::lock_device(tx, merchant, staff.staff_id, device).await?.ok_or(Reason::DeviceRevoked)?;
    let seqs: Vec<i64> = request.entries.iter().map(|e| e.seq).collect();
    let known = offline::known(tx, merchant, device, &seqs).await?;
    let since = now.minus(Duration::hours(LIMIT_HOURS));
    let mut desk = Desk {
        request,
        device,
        device_text: device.to_string(),
        store,
        policy: merchants::get(tx, merchant).await?.ok_or(Reason::NotFound)?.offline,
        spent: offline::spent_since(tx, merchant, device, since).await?,
        limits,
        now,
        vouchers,
        writes: Writes::default(),
        entries: Vec::new(),
        exceptions: Vec::new(),
    };
    let mut results: Vec<OfflineResult> = Vec::with_capacity(request.entries.len());
    let (mut next, mut missing) = (last_seq + 1, Vec::new());
    for (entry, shown) in request.entries.iter().zip(shown) {
        let result = desk.take(entry, public_key, shown, &known);
        let stored = desk.entries.last().is_some_and(|e| e.seq == entry.seq);
        if stored && entry.seq >= next {
            if entry.seq > next {
                missing.push((next, entry.seq - 1));
            }
            next = entry.seq + 1;
        }
        results.push(result);
    }
    for (from, to) in &missing {
        desk.gap(*from, *to);
    }
    let Desk { writes, mut entries, exceptions, .. } = desk;
    write(tx, merchant, writes).await?;
    name_winners(tx, merchant, &mut entries, &mut results).await?;
    offline::insert(tx, &entries).await?;
    offline::insert_exceptions(tx, &exceptions).await?;
    offline::advance(tx, merchant, device, next - 1, now).await?;
    app.hold_at("offline.before_commit").await;
    Ok(UploadedOffline { results, expected_seq: last_seq + 1, next_seq: next, missing })
}

/// Says what took the uses, where it was another redemption; also one of the same upload.
async fn name_winners(
    tx: &Tx,
    merchant: MerchantScope,
    entries: &mut [Entry],
    results: &mut [OfflineResult],
) -> Result<()> {
    for entry in entries.iter_mut().filter(|e| e.verdict == OfflineVerdict::Conflict) {
        let taken = [Reason::UsedUp.code(), Reason::NotEnoughUses.code()];
        let reason = entry.reason.clone().unwrap_or_default();
        let mut winner = None;
        if let (true, Some(voucher)) = (taken.contains(&reason.as_str()), entry.voucher_id) {
            winner = offline::last_use(tx, merchant, voucher).await?;
        }
        let other = || Winner { kind: reason.clone(), redemption_id: None, store_id: None, at: None };
        entry.winner = Some(winner.unwrap_or_else(other));
        if let Some(result) = results.iter_mut().find(|r| r.seq == entry.seq) {
            result.winner.clone_from(&entry.winner);
        }
    }
    Ok(())
}

impl Desk<'_> {
    fn take(
        &mut self,
        entry: &OfflineEntry,
        public_key: [u8; 32],
        shown: &Shown,
        known: &HashMap<i64, Entry>,
    ) -> OfflineResult {
        let signed = Signed {
            device: self.device,
            store: self.request.store_id,
            seq: entry.seq,
            ticket: &entry.ticket,
            quantity: entry.quantity,
            occurred_at: entry.occurred_at,
            nonce: &entry.nonce,
        };
        let fingerprint = sha256(signed.text().as_bytes());
        if !signed.verify(public_key, &entry.signature) {
            // Not the device's word: its number is not taken by it.
            let refusal = Refusal::with_message(Reason::InvalidSignature, "这条离线记录的设备签名不正确");
            self.except(ExceptionKind::Rejected, entry.seq, None, &refusal);
            return refused(entry.seq, &refusal);
        }
        if let Some(before) = known.get(&entry.seq) {
            if before.fingerprint == fingerprint {
                return result_of(before, true);
            }
            let text = format!("序号 {} 已用于另一条内容不同的离线记录", entry.seq);
            let refusal = Refusal::with_message(Reason::IdempotencyConflict, text);
            self.except(ExceptionKind::Altered, entry.seq, None, &refusal);
            return refused(entry.seq, &refusal);
        }
        let done = self.judge(entry, shown, fingerprint);
        let result = result_of(&done, false);
        self.entries.push(done);
        result
    }

    fn judge(&mut self, entry: &OfflineEntry, shown: &Shown, fingerprint: [u8; 32]) -> Entry {
        let staff = &self.request.staff;
        let mut row = Entry {
            merchant_id: staff.merchant_id,
            device_id: self.device,
            seq: entry.seq,
            store_id: self.request.store_id,
            staff_id: staff.staff_id,
            fingerprint,
            signature: entry.signature.clone(),
            ticket: entry.ticket.clone(),
            voucher_id: None,
            quantity: entry.quantity,
            amount: Money::ZERO,
            occurred_at: entry.occurred_at,
            leased: false,
            verdict: OfflineVerdict::Rejected,
            reason: None,
            message: None,
            redemption_id: None,
            winner: None,
            recorded_at: self.now,
        };
        let skew = self.now.since(self.request.sent_at);
        let (id, version, at) = match (shown, instant(entry.occurred_at, skew, self.now)) {
            (Ok((id, version)), Ok(at)) if self.vouchers.contains_key(id) => (*id, *version, at),
            (Ok(_), Ok(_)) => return self.refuse(row, &Refusal::new(Reason::InvalidSignature)),
            (Err(refusal), _) => return self.refuse(row, refusal),
            (_, Err(refusal)) => return self.refuse(row, &refusal),
        };
        row.voucher_id = Some(id);
        let Some(loaded) = self.vouchers.get(&id) else { return row };
        if loaded.voucher.version != version {
            return self.conflict(row, &Refusal::new(Reason::QrStale));
        }
        // No clock can put it before the voucher was issued.
        let at = at.max(loaded.voucher.created_at).min(self.now);
        match decide_offline(&loaded.facts, self.store.place(), at, entry.quantity) {
            Judged::Conflict(refusal) => self.conflict(row, &refusal),
            Judged::Accepted(allowed) => self.redeem(row, allowed, None, id, at),
            Judged::Forced(allowed, refusal) => self.redeem(row, allowed, Some(refusal), id, at),
        }
    }

    fn redeem(
        &mut self,
        mut row: Entry,
        allowed: Allowed,
        against: Option<Refusal>,
        voucher_id: VoucherId,
        at: Timestamp,
    ) -> Entry {
        let staff = &self.request.staff;
        row.amount = allowed.amount;
        row.leased = !allowed.booked.is_empty();
        let mut tally = self.limits.tally(staff.staff_id, self.store.business_day.date(self.now));
        let mut against = against.or_else(|| tally.add(row.quantity, allowed.amount).err());
        if !row.leased {
            let uses = self.spent.0 + i64::from(row.quantity);
            let amount = Money::fen(self.spent.1.as_fen() + allowed.amount.as_fen());
            self.spent = (uses, amount);
            if self.policy.exceeded(uses, amount) {
                let text = format!("超过这台设备 {LIMIT_HOURS} 小时内的离线核销额度");
                against = against.or(Some(Refusal::with_message(Reason::LimitExceeded, text)));
            }
        }
        let key = format!("offline:{}", uuid::Uuid::now_v7());
        let act = Act {
            staff,
            store: &self.store,
            device: Some(&self.device_text),
            method: Method::Offline,
            key: &key,
            fingerprint: row.fingerprint,
            nonce: entropy(),
            limited: tally.is_limited(),
            occurred_at: at,
            now: self.now,
        };
        let items = [ConfirmItem { voucher_id, quantity: row.quantity }];
        let done = redeem(&act, &items, &[Ok(allowed)], &mut self.vouchers, &mut self.writes);
        self.limits.keep(tally);
        row.redemption_id = Some(done.answer.id);
        match against {
            None => row.verdict = OfflineVerdict::Accepted,
            Some(refusal) => {
                row.verdict = OfflineVerdict::Forced;
                explain(&mut row, &refusal);
                self.except(ExceptionKind::Forced, row.seq, Some(&row), &refusal);
            }
        }
        row
    }

    fn conflict(&mut self, mut row: Entry, refusal: &Refusal) -> Entry {
        row.verdict = OfflineVerdict::Conflict;
        explain(&mut row, refusal);
        self.except(ExceptionKind::Conflict, row.seq, Some(&row), refusal);
        self.attempt(&row, refusal);
        row
    }

    fn refuse(&mut self, mut row: Entry, refusal: &Refusal) -> Entry {
        explain(&mut row, refusal);
        self.except(ExceptionKind::Rejected, row.seq, Some(&row), refusal);
        self.attempt(&row, refusal);
        row
    }

    fn attempt(&mut self, row: &Entry, refusal: &Refusal) {
        let loaded = row.voucher_id.and_then(|id| self.vouchers.get(&id));
        self.writes.attempts.push(Attempt {
            merchant_id: row.merchant_id,
            id: new_id(),
            store_id: row.store_id,
            staff_id: row.staff_id,
            device: Some(self.device_text.clone()),
            step: "confirm",
            method: Method::Offline,
            voucher_id: row.voucher_id,
            code_last4: loaded.map(|l| l.voucher.code_last4.clone()),
            refusal: refusal.clone(),
            at: self.now,
        });
    }

    fn gap(&mut self, from: i64, to: i64) {
        let text = format!("离线记录 {from}–{to} 没有上传，请让店员检查这台设备");
        self.except(ExceptionKind::Gap, from, None, &Refusal::with_message(Reason::NotFound, text));
        if let Some(last) = self.exceptions.last_mut() {
            (last.to_seq, last.reason) = (Some(to), None);
        }
    }

    fn except(&mut self, kind: ExceptionKind, seq: i64, row: Option<&Entry>, refusal: &Refusal) {
        self.exceptions.push(Exception {
            merchant_id: self.request.staff.merchant_id,
            id: new_id(),
            kind,
            state: ExceptionState::Open,
            store_id: self.request.store_id,
            staff_id: self.request.staff.staff_id,
            device_id: self.device,
            seq,
            to_seq: None,
            voucher_id: row.and_then(|r| r.voucher_id),
            redemption_id: row.and_then(|r| r.redemption_id),
            reason: Some(refusal.reason.code().to_owned()),
            message: refusal.message.clone(),
            created_at: self.now,
            outcome: None,
            note: None,
            resolved_by: None,
            resolved_at: None,
        });
    }
}

fn explain(row: &mut Entry, refusal: &Refusal) {
    row.reason = Some(refusal.reason.code().to_owned());
    row.message = Some(refusal.message.clone());
}

fn refused(seq: i64, refusal: &Refusal) -> OfflineResult {
    OfflineResult {
        seq,
        verdict: OfflineVerdict::Rejected,
        reason: Some(refusal.reason.code().to_owned()),
        message: Some(refusal.message.clone()),
        redemption_id: None,
        winner: None,
        replayed: false,
    }
}

fn result_of(row: &Entry, replayed: bool) -> OfflineResult {
    OfflineResult {
        seq: row.seq,
        verdict: row.verdict,
        reason: row.reason.clone(),
        message: row.message.clone(),
        redemption_id: row.redemption_id,
        winner: row.winner.clone(),
        replayed,
    }
}
