//! What customers do: see what is asked of them, say yes or no.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::Duration;
use hexiao_core::consent::{CONSENT_S, ConsentEvent, ConsentKind, ConsentState, check_tap};
use hexiao_core::id::{ConsentId, MerchantId, VoucherId};
use hexiao_core::money::Money;
use hexiao_core::reason::Reason;
use hexiao_core::redeem::open_at;
use hexiao_core::scope::{CustomerScope, MerchantScope};
use hexiao_core::time::Timestamp;
use hexiao_db::consents::{self, Consent};
use hexiao_db::{Tx, merchants, refunds, staff, store_facts, transact, vouchers};

use super::ask::MAX_LOOKED_AT;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::redeem::{Answer, ConfirmItem};

/// A request as its customer sees it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The request.
    pub consent: Consent,
    /// Who asks.
    pub merchant_name: String,
    /// Where.
    pub store_name: String,
    /// The verifier.
    pub verifier_name: String,
    /// What would be redeemed: which voucher, what it is called, how many uses.
    pub items: Vec<(VoucherId, String, u32)>,
    /// What the refunds that would be taken back come to.
    pub withdrawn: Money,
}

/// What became of a tap.
#[derive(Debug, Clone)]
pub struct Tapped {
    /// The request's state.
    pub state: ConsentState,
    /// Good until.
    pub expires_at: Timestamp,
    /// What was redeemed by it.
    pub redeemed: Option<Answer>,
}

impl App {
    /// What waits for this customer's answer, the most urgent first.
    pub async fn consents_for(&self, customer: CustomerScope) -> Result<Vec<Shown>> {
        let (reader, now) = (self.db.reader(), self.now());
        let mut waiting = consents::waiting_for(reader, customer, now).await?;
        let hashes = self.last4_hashes_of(customer).await?;
        if !hashes.is_empty() {
            let mut open: BTreeMap<MerchantId, Vec<vouchers::Loaded>> = BTreeMap::new();
            for consent in consents::waiting_for_phone(reader, &hashes, now).await? {
                let vouchers = match open.entry(consent.merchant_id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => {
                        unknown.insert(self.open_vouchers(consent.merchant(), customer, now).await?)
                    }
                };
                if vouchers.iter().any(|l| open_at(&l.facts, consent.store_id, now)) {
                    waiting.push(consent);
                }
            }
        }
        let mut shown = Vec::with_capacity(waiting.len());
        for consent in waiting {
            shown.push(self.show(consent).await?);
        }
        Ok(shown)
    }

    async fn show(&self, consent: Consent) -> Result<Shown> {
        let (reader, merchant) = (self.db.reader(), consent.merchant());
        let missing = || AppError::Internal("consent of nobody".to_owned());
        let owner = merchants::get(reader, merchant).await?.ok_or_else(missing)?;
        let store = store_facts::get(reader, merchant, consent.store_id).await?.ok_or_else(missing)?;
        let verifier = staff::get(reader, merchant, consent.staff_id).await?.ok_or_else(missing)?;
        let mut withdrawn = Money::ZERO;
        let mut items = Vec::new();
        if consent.kind == ConsentKind::WithdrawRefund {
            for id in consents::refunds_of(reader, merchant, consent.id).await? {
                let refund = refunds::get(reader, merchant, id).await?.ok_or_else(missing)?;
                withdrawn = Money::sum([withdrawn, refund.amount])?;
            }
            let asked = items_of(&consent)?;
            let ids: Vec<VoucherId> = asked.iter().map(|i| i.voucher_id).collect();
            let loaded = vouchers::load(reader, merchant, &ids, false).await?;
            let name = |id: &VoucherId| loaded.get(id).map(|l| l.voucher.product_name.clone());
            items = asked
                .iter()
                .map(|i| (i.voucher_id, name(&i.voucher_id).unwrap_or_default(), i.quantity))
                .collect();
        }
        Ok(Shown {
            consent,
            merchant_name: owner.name,
            store_name: store.name,
            verifier_name: verifier.name,
            items,
            withdrawn,
        })
    }

    /// The customer says yes. A request that takes refunds back is carried out by it.
    pub async fn approve_consent(&self, customer: CustomerScope, id: ConsentId) -> Result<Tapped> {
        let found = self.concerning(customer, id).await?;
        match found.kind {
            ConsentKind::Lookup => self.answer_consent(customer, &found, ConsentEvent::Approve).await,
            ConsentKind::WithdrawRefund => {
                let redeemed = self.redeem_withdrawn(customer, &found).await?;
                let state = ConsentState::Used;
                Ok(Tapped { state, expires_at: found.expires_at, redeemed: Some(redeemed) })
            }
        }
    }

    /// The customer says no.
    pub async fn deny_consent(&self, customer: CustomerScope, id: ConsentId) -> Result<Tapped> {
        let found = self.concerning(customer, id).await?;
        self.answer_consent(customer, &found, ConsentEvent::Deny).await
    }

    async fn answer_consent(
        &self,
        customer: CustomerScope,
        found: &Consent,
        event: ConsentEvent,
    ) -> Result<Tapped> {
        let (merchant, now) = (MerchantScope::of_system(found.merchant_id), self.now());
        let done: Result<Tapped> = transact!(self.db, |tx| async {
            let done = answer(&tx, merchant, customer, found.id, event, now).await?;
            self.hold_at("consent.before_commit").await;
            Ok::<_, AppError>(done)
        });
        self.hold_at("consent.after_commit").await;
        done
    }

    /// A request that this customer may answer or has answered; another's does not exist.
    async fn concerning(&self, customer: CustomerScope, id: ConsentId) -> Result<Consent> {
        let found = consents::for_customer(self.db.reader(), id).await?.ok_or(Reason::NotFound)?;
        let me = Some(customer.customer_id());
        if found.customer_id == me || (found.customer_id.is_none() && found.asked_of == me) {
            return Ok(found);
        }
        let hashes = self.last4_hashes_of(customer).await?;
        let fits = hashes.iter().any(|h| found.phone_hash.as_deref() == Some(h.as_slice()));
        let now = self.now();
        if found.customer_id.is_none() && fits {
            let open = self.open_vouchers(found.merchant(), customer, now).await?;
            if open.iter().any(|l| open_at(&l.facts, found.store_id, now)) {
                return Ok(found);
            }
        }
        Err(Reason::NotFound.into())
    }

    async fn last4_hashes_of(&self, customer: CustomerScope) -> Result<Vec<[u8; 32]>> {
        let phone = self.phone_of(customer).await?;
        let hashes = phone.map(|phone| self.keys.peppers.last4_hashes(&phone.last4()));
        Ok(hashes.unwrap_or_default().into_iter().map(|h| h.0).collect())
    }

    async fn open_vouchers(
        &self,
        merchant: MerchantScope,
        customer: CustomerScope,
        now: Timestamp,
    ) -> Result<Vec<vouchers::Loaded>> {
        let reader = self.db.reader();
        let ids = vouchers::open_of_customer(reader, merchant, customer, now, MAX_LOOKED_AT).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vouchers::load(reader, merchant, &ids, false).await?.into_values().collect())
    }
}

/// What a request to take refunds back would redeem.
pub(crate) fn items_of(consent: &Consent) -> Result<Vec<ConfirmItem>> {
    let text = consent.items.as_deref().unwrap_or("[]");
    serde_json::from_str(text).map_err(|e| AppError::Internal(format!("stored items: {e}")))
}

/// The first tap decides; the same customer's second one is answered with what the first one did.
async fn answer(
    tx: &Tx,
    merchant: MerchantScope,
    customer: CustomerScope,
    id: ConsentId,
    event: ConsentEvent,
    now: Timestamp,
) -> Result<Tapped> {
    let found = consents::lock(tx, merchant, id).await?.ok_or(Reason::NotFound)?;
    let wanted = ConsentState::Pending.after(event)?;
    if let Some(by) = found.customer_id {
        if by != customer.customer_id() {
            return Err(Reason::NotFound.into());
        }
        let used_since = wanted == ConsentState::Approved && found.state == ConsentState::Used;
        if found.state == wanted || used_since {
            let state = found.state_at(now);
            return Ok(Tapped { state, expires_at: found.expires_at, redeemed: None });
        }
    }
    check_tap(found.state_at(now))?;
    let expires_at = if wanted == ConsentState::Approved {
        now.plus(Duration::seconds(CONSENT_S))
    } else {
        found.expires_at
    };
    consents::decide(tx, &found, wanted, customer.customer_id(), now, expires_at).await?;
    Ok(Tapped { state: wanted, expires_at, redeemed: None })
}
