//! Prepare: changes no voucher. Finds what was scanned or typed and explains what may be redeemed.

use chrono::Duration;
use hexiao_core::code::{CodeError, VoucherCode};
use hexiao_core::consent::MAX_LISTED;
use hexiao_core::id::{ConsentId, Id as _, OrderId, StoreId, VoucherId};
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::redeem::{Attention, PREPARE_TOKEN_S, StoreFacts, decide, least, redeemable};
use hexiao_core::risk::RiskKind;
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::ticket::{Ticket, TicketError, TicketKind};
use hexiao_core::time::Timestamp;
use hexiao_core::typing::{WINDOW_MINUTES, check_typing};
use hexiao_db::customers::{self, Customer};
use hexiao_db::redemptions::{self, Attempt, Method};
use hexiao_db::vouchers::{self, Loaded};
use hexiao_db::{merchants, refunds, store_facts, transact};

use super::answer::RefusalView;
use super::limits::{self, Limits, Tally};
use super::nearest::Search;
use super::token::{PrepareToken, seal};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::{entropy, new_id};
use crate::risk;

/// What the verifier scanned or typed.
#[derive(Clone)]
pub enum Input {
    /// A signed ticket.
    Qr(String),
    /// Twelve digits.
    Code(String),
    /// What the customer agreed to show.
    Consent(ConsentId),
}

/// A request to prepare.
#[derive(Clone)]
pub struct Prepare {
    /// By whom.
    pub staff: StaffPrincipal,
    /// Where.
    pub store_id: StoreId,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// What was scanned or typed.
    pub input: Input,
}

/// A voucher as the verifier sees it.
#[derive(Debug, Clone)]
pub struct PreparedVoucher {
    /// The voucher.
    pub loaded: Loaded,
    /// How many uses can be redeemed now; 0 when refused.
    pub redeemable: u32,
    /// What to look at before confirming.
    pub attention: Vec<Attention>,
    /// Why nothing can be redeemed.
    pub refusals: Vec<RefusalView>,
    /// How many uses refunds keep that the customer could take back now.
    pub withdrawable: u32,
}

/// What the verifier sees.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// For the confirm.
    pub prepare_token: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// Whose vouchers.
    pub customer: Customer,
    /// The vouchers.
    pub vouchers: Vec<PreparedVoucher>,
}

struct Found {
    method: Method,
    vouchers: Vec<VoucherId>,
    /// A scan that exists already: the one that the customer agreed to.
    nonce: Option<[u8; 16]>,
    /// The version that a voucher's ticket was signed for.
    version: Option<i64>,
}

impl App {
    /// Finds what was scanned or typed and explains it. Refusals are logged.
    pub async fn prepare_redemption(&self, request: &Prepare) -> Result<Prepared> {
        match self.prepare(request).await {
            Ok(prepared) => {
                let refused =
                    prepared.vouchers.iter().flat_map(|v| v.refusals.iter().map(|r| (&v.loaded.voucher, r)));
                let attempts: Vec<Attempt> = refused
                    .map(|(voucher, refusal)| Attempt {
                        voucher_id: Some(voucher.id),
                        code_last4: Some(voucher.code_last4.clone()),
                        ..attempt(request, &refusal.refusal(), self.now())
                    })
                    .collect();
                self.log_attempts(&attempts).await?;
                Ok(prepared)
            }
            Err(AppError::Refused(refusal)) => {
                self.log_attempts(&[attempt(request, &refusal, self.now())]).await?;
                Err(AppError::Refused(refusal))
            }
            Err(error) => Err(error),
        }
    }

    /// The vouchers that were shown, for another way to redeem. A refusal is logged like one of a prepare.
    pub(super) async fn find_logged(&self, request: &Prepare) -> Result<Vec<VoucherId>> {
        match self.find_fresh(request).await {
            Ok(vouchers) => Ok(vouchers),
            Err(AppError::Refused(refusal)) => {
                self.log_attempts(&[attempt(request, &refusal, self.now())]).await?;
                Err(AppError::Refused(refusal))
            }
            Err(error) => Err(error),
        }
    }

    /// Like [`Self::find`]; a ticket must be of the voucher's version.
    async fn find_fresh(&self, request: &Prepare) -> Result<Vec<VoucherId>> {
        let found = self.find(request, self.now()).await?;
        if let Some(version) = found.version {
            let merchant = request.staff.merchant();
            let loaded = vouchers::load(self.db.reader(), merchant, &found.vouchers, false).await?;
            let Some(first) = loaded.values().next() else {
                return Err(self.nothing_found(request).await);
            };
            if first.voucher.version != version {
                return Err(Reason::QrStale.into());
            }
        }
        Ok(found.vouchers)
    }

    async fn prepare(&self, request: &Prepare) -> Result<Prepared> {
        let merchant = request.staff.merchant();
        let reader = self.db.reader();
        let now = self.now();
        let store = store_facts::get(reader, merchant, request.store_id).await?.ok_or(Reason::NotFound)?;
        let found = self.find(request, now).await?;
        let loaded = vouchers::load(reader, merchant, &found.vouchers, false).await?;
        let Some(first) = loaded.values().next().map(|l| &l.voucher) else {
            return Err(self.nothing_found(request).await);
        };
        if found.version.is_some_and(|version| version != first.version) {
            return Err(Reason::QrStale.into());
        }
        let holder = first.customer_id;
        let customer =
            customers::get(reader, CustomerScope::of_session(holder)).await?.ok_or(Reason::NotFound)?;
        let staff = &request.staff;
        let limits = if staff.limited {
            limits::look(reader, merchant, staff.staff_id, store.business_day.date(now)).await?
        } else {
            Limits::default()
        };
        let tally = || limits.tally(staff.staff_id, store.business_day.date(now));
        let place = store.place();
        let mut vouchers: Vec<PreparedVoucher> =
            loaded.into_values().map(|l| explain(l, place, now, tally())).collect();
        let place_in_order = |v: &PreparedVoucher| (v.loaded.voucher.line_id, v.loaded.voucher.unit_no);
        if found.method == Method::Consent {
            // May be all that a customer has: what can be redeemed here and now comes first.
            vouchers.sort_by_key(|v| (v.redeemable == 0, v.loaded.voucher.valid_to, place_in_order(v)));
            vouchers.truncate(MAX_LISTED);
        } else {
            vouchers.sort_by_key(place_in_order);
        }
        self.explain_refunds(merchant, &mut vouchers).await?;
        if vouchers.iter().any(|v| !v.refusals.is_empty()) {
            let mut search = Search::from(self, merchant, store.id).await?;
            for voucher in &mut vouchers {
                for refusal in &mut voucher.refusals {
                    search.add_to(refusal, &voucher.loaded.facts).await?;
                }
            }
        }
        let expires_at = now.plus(Duration::seconds(PREPARE_TOKEN_S));
        let token = PrepareToken {
            merchant_id: merchant.merchant_id(),
            staff_id: request.staff.staff_id,
            store_id: request.store_id,
            device: request.device.clone(),
            vouchers: vouchers.iter().map(|v| v.loaded.voucher.id).collect(),
            method: found.method,
            expires_s: expires_at.seconds(),
            nonce: found.nonce.unwrap_or_else(entropy),
        };
        Ok(Prepared { prepare_token: seal(&self.keys.seal, &token), expires_at, customer, vouchers })
    }

    /// Says of uses that refunds keep whether the customer can still take them back, or that the money is on its way.
    async fn explain_refunds(&self, merchant: MerchantScope, vouchers: &mut [PreparedVoucher]) -> Result<()> {
        let keeps = |v: &PreparedVoucher| v.loaded.facts.counters.locked_refund > 0;
        let ids: Vec<VoucherId> = vouchers.iter().filter(|v| keeps(v)).map(|v| v.loaded.voucher.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let held = refunds::held(self.db.reader(), merchant, &ids).await?;
        for v in vouchers.iter_mut().filter(|v| keeps(v)) {
            let of_voucher = held.iter().filter(|h| h.voucher_id == v.loaded.voucher.id);
            v.withdrawable = of_voucher.map(|h| h.quantity).sum();
            for refusal in v.refusals.iter_mut().filter(|r| r.code == Reason::RefundPending) {
                *refusal = RefusalView::refund_pending(v.withdrawable > 0);
            }
        }
        Ok(())
    }

    async fn find(&self, request: &Prepare, now: Timestamp) -> Result<Found> {
        let merchant = request.staff.merchant();
        match &request.input {
            Input::Code(text) => {
                let since = now.minus(Duration::minutes(WINDOW_MINUTES));
                let (staff, device) = (request.staff.staff_id, request.device.as_deref());
                let reader = self.db.reader();
                let store = request.store_id;
                check_typing(
                    redemptions::wrong_codes_since(reader, merchant, staff, store, device, since).await?,
                )?;
                let code = VoucherCode::parse(text).map_err(|e| match e {
                    CodeError::CheckDigit => Refusal::new(Reason::BadCheckDigit),
                    CodeError::Malformed => Refusal::field("input.code", "券码是 12 位数字"),
                })?;
                let hashes: Vec<[u8; 32]> =
                    self.keys.peppers.hashes(&code).into_iter().map(|(_, h)| h.0).collect();
                let id = vouchers::by_code(self.db.reader(), merchant, &hashes).await?;
                let id =
                    id.ok_or_else(|| Refusal::with_message(Reason::NotFound, "没有这张券，请核对券码"))?;
                Ok(Found { method: Method::Code, vouchers: vec![id], version: None, nonce: None })
            }
            Input::Qr(text) => self.find_by_ticket(request, text).await,
            Input::Consent(id) => {
                let (vouchers, nonce) =
                    self.list_consented(&request.staff, request.store_id, *id, now).await?;
                Ok(Found { method: Method::Consent, vouchers, version: None, nonce: Some(nonce) })
            }
        }
    }

    async fn find_by_ticket(&self, request: &Prepare, text: &str) -> Result<Found> {
        let merchant = request.staff.merchant();
        let reader = self.db.reader();
        let ticket = Ticket::parse_and_verify(text, &self.keys.ticket_verifiers).map_err(|e| match e {
            TicketError::Malformed => Refusal::with_message(Reason::InvalidSignature, "这不是券码的二维码"),
            TicketError::UnknownKey(_) | TicketError::BadSignature => Refusal::new(Reason::InvalidSignature),
        })?;
        match ticket.kind {
            TicketKind::Voucher => Ok(Found {
                method: Method::Qr,
                vouchers: vec![VoucherId::from_uuid(ticket.subject_id)],
                version: Some(i64::from(ticket.version)),
                nonce: None,
            }),
            TicketKind::Order => {
                let ids =
                    vouchers::ids_of_order(reader, merchant, OrderId::from_uuid(ticket.subject_id)).await?;
                if ids.is_empty() {
                    self.check_issuer(merchant, &ticket).await?;
                    return Err(Refusal::with_message(Reason::Unpaid, "该订单还没有可用的券").into());
                }
                Ok(Found { method: Method::Order, vouchers: ids, version: None, nonce: None })
            }
        }
    }

    /// Of a ticket that led to nothing: whether another merchant had issued it.
    async fn check_issuer(&self, merchant: MerchantScope, ticket: &Ticket) -> Result<()> {
        let owner = merchants::get(self.db.reader(), merchant).await?.ok_or(Reason::NotFound)?;
        if ticket.merchant_tag == owner.tag { Ok(()) } else { Err(Reason::InvalidSignature.into()) }
    }

    async fn nothing_found(&self, request: &Prepare) -> AppError {
        if let Input::Qr(text) = &request.input
            && let Ok(ticket) = Ticket::parse_and_verify(text, &self.keys.ticket_verifiers)
            && let Err(refused) = self.check_issuer(request.staff.merchant(), &ticket).await
        {
            return refused;
        }
        Reason::NotFound.into()
    }

    async fn log_attempts(&self, attempts: &[Attempt]) -> Result<()> {
        if attempts.is_empty() {
            return Ok(());
        }
        for attempt in attempts {
            count_refusal(attempt.refusal.reason);
        }
        let flagged: Result<u64> = transact!(self.db, |tx| async {
            redemptions::insert_attempts(&tx, attempts).await?;
            risk::flag_lockouts(&tx, attempts).await
        });
        risk::told(&[(RiskKind::Lockout, flagged?)]);
        Ok(())
    }
}

fn attempt(request: &Prepare, refusal: &Refusal, at: Timestamp) -> Attempt {
    let (method, code_last4) = match &request.input {
        Input::Code(text) => (Method::Code, last_digits(text)),
        Input::Qr(_) => (Method::Qr, None),
        Input::Consent(_) => (Method::Consent, None),
    };
    Attempt {
        merchant_id: request.staff.merchant_id,
        id: new_id(),
        store_id: request.store_id,
        staff_id: request.staff.staff_id,
        device: request.device.clone(),
        step: "prepare",
        method,
        voucher_id: None,
        code_last4,
        refusal: refusal.clone(),
        at,
    }
}

pub(super) fn count_refusal(reason: Reason) {
    let fault = match reason.fault() {
        hexiao_core::reason::Fault::Customer => "customer",
        hexiao_core::reason::Fault::Staff => "staff",
        hexiao_core::reason::Fault::System => "system",
    };
    metrics::counter!("redemptions_total", "result" => reason.code(), "fault" => fault).increment(1);
}

fn last_digits(text: &str) -> Option<String> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
    (digits.len() >= 4).then(|| digits[digits.len() - 4..].iter().collect())
}

/// What the least redemption would be told.
fn explain(loaded: Loaded, store: StoreFacts, now: Timestamp, mut tally: Tally) -> PreparedVoucher {
    let least = least(&loaded.facts);
    let judged = decide(&loaded.facts, store, now, least)
        .and_then(|allowed| tally.add(least, allowed.amount).map(|()| allowed));
    match judged {
        Ok(allowed) => {
            let redeemable = redeemable(&loaded.facts, store, now);
            let attention = allowed.attention;
            PreparedVoucher { loaded, redeemable, attention, refusals: Vec::new(), withdrawable: 0 }
        }
        Err(refusal) => {
            let refusals = vec![RefusalView::from(&refusal)];
            PreparedVoucher { loaded, redeemable: 0, attention: Vec::new(), refusals, withdrawable: 0 }
        }
    }
}
