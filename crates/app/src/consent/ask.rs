//! What staff do: ask, look whether it was answered, and list what the customer agreed to show.

use chrono::Duration;
use hexiao_core::consent::{CONSENT_S, ConsentKind, ConsentState, check_ask, check_lookup};
use hexiao_core::id::{ConsentId, StoreId, VoucherId};
use hexiao_core::number::OrderNumber;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::text::PhoneLast4;
use hexiao_core::time::Timestamp;
use hexiao_db::consents::{self, Consent};
use hexiao_db::redemptions::{self, Attempt, Method};
use hexiao_db::{Tx, orders, staff, store_facts, transact, vouchers};

use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::{entropy, new_id};
use crate::redeem::Answer;

/// Vouchers of a customer that are looked at to answer one lookup.
pub(super) const MAX_LOOKED_AT: u32 = 100;

/// What a verifier looks a customer up by.
#[derive(Clone)]
pub enum LookupBy {
    /// The last four digits of their phone.
    Phone(PhoneLast4),
    /// The number of their order.
    Order(OrderNumber),
}

/// A request to be shown a customer's vouchers.
#[derive(Clone)]
pub struct AskLookup {
    /// By whom.
    pub staff: StaffPrincipal,
    /// Where.
    pub store_id: StoreId,
    /// With which device, as it claims.
    pub device: Option<String>,
    /// Whose.
    pub by: LookupBy,
}

/// What was asked. The same whether or not there is anybody who could answer.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The request.
    pub id: ConsentId,
    /// Until when it can be answered.
    pub expires_at: Timestamp,
}

impl App {
    /// Asks to be shown the vouchers of whoever has a number.
    pub async fn ask_lookup(&self, request: &AskLookup) -> Result<Asked> {
        let now = self.now();
        let store = store_facts::get(self.db.reader(), request.staff.merchant(), request.store_id).await?;
        store.ok_or_else(|| Refusal::with_message(Reason::NotFound, "没有找到这个门店"))?;
        let mut consent = new_consent(&request.staff, request.store_id, request.device.clone(), now);
        match &request.by {
            LookupBy::Phone(last4) => {
                consent.phone_hash = Some(self.keys.peppers.current().last4_hash(last4).0.to_vec());
            }
            LookupBy::Order(number) => {
                let merchant = request.staff.merchant();
                let found = orders::by_number(self.db.reader(), merchant, number.as_str()).await?;
                consent.order_number = Some(number.to_string());
                (consent.order_id, consent.asked_of) = found.unzip();
            }
        }
        let asked: Result<()> = transact!(self.db, |tx| async {
            check_limits(&tx, &request.staff, request.store_id, now).await?;
            Ok::<_, AppError>(consents::insert(&tx, &consent, &[]).await?)
        });
        if let Err(AppError::Refused(refusal)) = &asked {
            let refused = refused(&request.staff, request.store_id, request.device.clone(), refusal, now);
            self.log_consent_refusal(refused).await?;
        }
        asked.map(|()| Asked { id: consent.id, expires_at: consent.expires_at })
    }

    /// A request of one's stores, and what was redeemed with it.
    pub async fn consent_in_stores(
        &self,
        staff: &StaffPrincipal,
        id: ConsentId,
    ) -> Result<(Consent, ConsentState, Option<Answer>)> {
        let reader = self.db.reader();
        let found = consents::in_stores(reader, &staff.scope, id).await?.ok_or(Reason::NotFound)?;
        let answer = self.answer_of(&found).await?;
        let state = found.state_at(self.now());
        Ok((found, state, answer))
    }

    /// What was redeemed with a request.
    pub(crate) async fn answer_of(&self, consent: &Consent) -> Result<Option<Answer>> {
        let Some(redemption) = consent.redemption_id else { return Ok(None) };
        let text = redemptions::answer(self.db.reader(), consent.merchant(), redemption).await?;
        let text = text.ok_or_else(|| AppError::Internal("consent without its redemption".to_owned()))?;
        let answer =
            serde_json::from_str(&text).map_err(|e| AppError::Internal(format!("stored answer: {e}")))?;
        Ok(Some(answer))
    }

    /// The vouchers that the customer agreed to show, and the scan that the request stands for: however often it is
    /// read, it can be redeemed once.
    pub(crate) async fn list_consented(
        &self,
        staff: &StaffPrincipal,
        store_id: StoreId,
        id: ConsentId,
        now: Timestamp,
    ) -> Result<(Vec<VoucherId>, [u8; 16])> {
        let merchant = staff.merchant();
        let found: Result<(Consent, [u8; 16])> = transact!(self.db, |tx| async {
            let found = use_lookup(&tx, merchant, staff, store_id, id, now).await?;
            self.hold_at("consent.before_commit").await;
            Ok::<_, AppError>(found)
        });
        self.hold_at("consent.after_commit").await;
        let (consent, nonce) = found?;
        let reader = self.db.reader();
        let ids = match (consent.order_id, consent.customer_id) {
            (Some(order), _) => vouchers::ids_of_order(reader, merchant, order).await?,
            (None, Some(customer)) => {
                let customer = CustomerScope::of_session(customer);
                vouchers::open_of_customer(reader, merchant, customer, now, MAX_LOOKED_AT).await?
            }
            (None, None) => Vec::new(),
        };
        if ids.is_empty() {
            return Err(Refusal::with_message(Reason::NotFound, "没有可用的券").into());
        }
        Ok((ids, nonce))
    }

    pub(crate) async fn log_consent_refusal(&self, attempt: Attempt) -> Result<()> {
        transact!(self.db, |tx| async {
            Ok::<_, AppError>(redemptions::insert_attempts(&tx, std::slice::from_ref(&attempt)).await?)
        })
    }
}

/// A request that is about to be made, by a lookup unless the caller says otherwise.
pub(crate) fn new_consent(
    staff: &StaffPrincipal,
    store_id: StoreId,
    device: Option<String>,
    now: Timestamp,
) -> Consent {
    Consent {
        merchant_id: staff.merchant_id,
        id: new_id(),
        kind: ConsentKind::Lookup,
        state: ConsentState::Pending,
        store_id,
        staff_id: staff.staff_id,
        session_id: staff.session_id,
        device,
        phone_hash: None,
        order_number: None,
        order_id: None,
        asked_of: None,
        items: None,
        prepare_nonce: None,
        customer_id: None,
        redemption_id: None,
        created_at: now,
        expires_at: now.plus(Duration::seconds(CONSENT_S)),
    }
}

/// Refuses when this member of staff or their store has asked enough. Two requests at once are counted one by one.
pub(crate) async fn check_limits(
    tx: &Tx,
    by: &StaffPrincipal,
    store_id: StoreId,
    now: Timestamp,
) -> Result<()> {
    let merchant = by.merchant();
    staff::lock(tx, merchant, by.staff_id).await?.ok_or(Reason::NotFound)?;
    Ok(check_ask(consents::asked(tx, merchant, by.staff_id, store_id, now).await?)?)
}

pub(crate) fn refused(
    staff: &StaffPrincipal,
    store_id: StoreId,
    device: Option<String>,
    refusal: &Refusal,
    at: Timestamp,
) -> Attempt {
    Attempt {
        merchant_id: staff.merchant_id,
        id: new_id(),
        store_id,
        staff_id: staff.staff_id,
        device,
        step: "prepare",
        method: Method::Consent,
        voucher_id: None,
        code_last4: None,
        refusal: refusal.clone(),
        at,
    }
}

async fn use_lookup(
    tx: &Tx,
    merchant: MerchantScope,
    staff: &StaffPrincipal,
    store_id: StoreId,
    id: ConsentId,
    now: Timestamp,
) -> Result<(Consent, [u8; 16])> {
    let found = consents::lock(tx, merchant, id).await?;
    let found = found.filter(|c| c.staff_id == staff.staff_id && c.kind == ConsentKind::Lookup);
    let found = found.ok_or_else(|| Refusal::with_message(Reason::NotFound, "没有这个请求"))?;
    if found.store_id != store_id {
        return Err(Refusal::with_message(Reason::TokenMismatch, "这个请求是在另一家门店发起的").into());
    }
    check_lookup(found.state_at(now), now < found.expires_at)?;
    let Some(nonce) = &found.prepare_nonce else {
        let nonce = entropy();
        consents::use_lookup(tx, &found, nonce).await?;
        return Ok((found, nonce));
    };
    let nonce =
        <[u8; 16]>::try_from(nonce.as_slice()).map_err(|_| AppError::Internal("stored nonce".to_owned()))?;
    if redemptions::scan_used(tx, merchant, &nonce).await? {
        return Err(Refusal::with_message(Reason::TokenUsed, "这次同意已经核销过").into());
    }
    Ok((found, nonce))
}
