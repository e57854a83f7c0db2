//! Sessions: opening, refreshing, ending, and finding who is behind an access token.
//!
//! The database is asked once a second for each session in use: a role that changed or a session that was revoked
//! on any node takes effect within that second, and an ordinary request costs no query.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use hexiao_core::device::DeviceState;
use hexiao_core::id::SessionId;
use hexiao_core::reason::Reason;
use hexiao_core::scope::{CustomerScope, MerchantScope, StoreScope, Stores};
use hexiao_core::time::Timestamp;
use hexiao_db::sessions::{self, Session, Subject};
use hexiao_db::{Conn, Tx, customers, devices, staff, transact};
use moka::sync::Cache;

use super::token;
use super::{CustomerPrincipal, Principal, StaffPrincipal};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::{entropy, new_id, sha256};

/// Days a session lives without a new sign-in.
const SESSION_DAYS: i64 = 30;
/// A refresh token that was replaced this recently still works: its answer may have been lost on the way.
const REPLACED_GRACE_S: i64 = 60;

/// What a sign-in or a refresh answers.
#[derive(Clone)]
pub struct Tokens {
    /// For requests.
    pub access_token: String,
    /// For a new access token; each works once.
    pub refresh_token: String,
    /// Seconds the access token lives.
    pub expires_in: i64,
}

/// Who was behind a session within the last second, and which tokens were verified.
#[derive(Clone)]
pub struct SessionCache {
    principals: Cache<SessionId, Arc<Principal>>,
    tokens: Cache<[u8; 32], (SessionId, i64)>,
}

impl Default for SessionCache {
    fn default() -> Self {
        Self {
            principals: Cache::builder().max_capacity(100_000).time_to_live(Duration::from_secs(1)).build(),
            // A signature check costs 50 µs; a token is good for 15 minutes.
            tokens: Cache::builder().max_capacity(100_000).time_to_live(Duration::from_mins(15)).build(),
        }
    }
}

/// Opens a session in the transaction of a sign-in.
pub(super) async fn open(app: &App, tx: &Tx, subject: Subject, now: Timestamp) -> Result<Tokens> {
    let id: SessionId = new_id();
    let refresh_token = new_refresh_token();
    let expires_at = now.plus(chrono::Duration::days(SESSION_DAYS));
    sessions::insert(tx, id, subject, sha256(refresh_token.as_bytes()), now, expires_at).await?;
    tokens(app, id, refresh_token, now)
}

fn tokens(app: &App, id: SessionId, refresh_token: String, now: Timestamp) -> Result<Tokens> {
    Ok(Tokens {
        access_token: token::sign(&app.keys, id, now)?,
        refresh_token,
        expires_in: token::ACCESS_TOKEN_S,
    })
}

fn new_refresh_token() -> String {
    format!("hxr_{}", HEXLOWER.encode(&entropy::<32>()))
}

impl App {
    /// Who is behind an access token.
    pub async fn authenticate(&self, access_token: &str) -> Result<Arc<Principal>> {
        let hash = sha256(access_token.as_bytes());
        let (session_id, expires) = match self.sessions.tokens.get(&hash) {
            Some(known) => known,
            None => {
                let verified = token::verify(&self.keys, access_token).ok_or(Reason::Unauthenticated)?;
                self.sessions.tokens.insert(hash, verified);
                verified
            }
        };
        if self.now().seconds() >= expires {
            return Err(Reason::SessionExpired.into());
        }
        if let Some(principal) = self.sessions.principals.get(&session_id) {
            return Ok(principal);
        }
        let principal = Arc::new(self.load_principal(session_id).await?);
        self.sessions.principals.insert(session_id, principal.clone());
        Ok(principal)
    }

    /// Whether a token was verified before: only such a caller counts as a session to the rate limit.
    pub fn knows_token(&self, access_token: &str) -> bool {
        self.sessions.tokens.contains_key(&sha256(access_token.as_bytes()))
    }

    /// Who is behind a session now.
    pub(crate) async fn load_principal(&self, session_id: SessionId) -> Result<Principal> {
        let reader = self.db.reader();
        let session = sessions::get(reader, session_id).await?.ok_or(Reason::SessionExpired)?;
        if !session.alive(self.now()) {
            return Err(ended(reader, &session).await?.into());
        }
        principal_of(reader, &session).await
    }

    /// Looks again at who is behind some sessions, here and now; other processes do within a second.
    pub(crate) fn forget_sessions(&self, ids: &[SessionId]) {
        for id in ids {
            self.sessions.principals.invalidate(id);
        }
    }

    /// Replaces a refresh token. One that was replaced long ago must have been stolen: it ends the session.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens> {
        let (hash, now) = (sha256(refresh_token.as_bytes()), self.now());
        let outcome: Result<Option<Tokens>> = transact!(self.db, |tx| refresh_in(self, &tx, hash, now));
        // The revocation of a stolen session must be committed, so the refusal comes after the transaction.
        outcome?.ok_or_else(|| Reason::SessionExpired.into())
    }

    /// Signs out.
    pub async fn sign_out(&self, session_id: SessionId) -> Result<()> {
        let now = self.now();
        let done: Result<()> = transact!(self.db, |tx| async {
            Ok::<(), AppError>(sessions::revoke(&tx, session_id, now).await?)
        });
        self.sessions.principals.invalidate(&session_id);
        done
    }
}

/// Why a session is over: an app whose device was revoked must not only ask for the password again.
async fn ended(c: &impl Conn, session: &Session) -> Result<Reason> {
    if let (Subject::Staff(merchant_id, _), Some(device)) = (session.subject, session.device_id) {
        let device = devices::get(c, MerchantScope::of_session(merchant_id), device).await?;
        if device.is_some_and(|d| d.state == DeviceState::Revoked) {
            return Ok(Reason::DeviceRevoked);
        }
    }
    Ok(Reason::SessionExpired)
}

async fn refresh_in(app: &App, tx: &Tx, hash: [u8; 32], now: Timestamp) -> Result<Option<Tokens>> {
    let Some(session) = sessions::lock_by_refresh_hash(tx, hash).await? else { return Ok(None) };
    if !session.alive(now) {
        return Ok(None);
    }
    match principal_of(tx, &session).await {
        Ok(_) => {}
        Err(AppError::Refused(_)) => return Ok(None),
        Err(error) => return Err(error),
    }
    let replaced = session.refresh_hash != hash;
    if replaced && now.since(session.rotated_at).num_seconds() > REPLACED_GRACE_S {
        sessions::revoke(tx, session.id, now).await?;
        return Ok(None);
    }
    let refresh_token = new_refresh_token();
    sessions::rotate(tx, session.id, &session.refresh_hash, sha256(refresh_token.as_bytes()), now).await?;
    if let (Subject::Staff(merchant_id, _), Some(device)) = (session.subject, session.device_id) {
        devices::seen(tx, MerchantScope::of_session(merchant_id), device, now).await?;
    }
    tokens(app, session.id, refresh_token, now).map(Some)
}

async fn principal_of(c: &impl Conn, session: &Session) -> Result<Principal> {
    match session.subject {
        Subject::Customer(customer_id) => {
            let customer = customers::get(c, CustomerScope::of_session(customer_id)).await?;
            customer.filter(|c| c.active).ok_or(Reason::AccountDisabled)?;
            Ok(Principal::Customer(CustomerPrincipal { session_id: session.id, customer_id }))
        }
        Subject::Staff(merchant_id, staff_id) => {
            let merchant = MerchantScope::of_session(merchant_id);
            let member = staff::get(c, merchant, staff_id)
                .await?
                .filter(|s| s.active)
                .ok_or(Reason::AccountDisabled)?;
            let stores = if member.role.all_stores() {
                Stores::All
            } else {
                Stores::Only(
                    staff::stores_of(c, merchant, &[staff_id])
                        .await?
                        .into_iter()
                        .map(|s| s.store_id)
                        .collect(),
                )
            };
            Ok(Principal::Staff(StaffPrincipal {
                session_id: session.id,
                merchant_id,
                staff_id,
                name: member.name.into(),
                role: member.role,
                scope: StoreScope::of_session(merchant_id, stores),
                limited: member.limit.is_set(),
                device: session.device_id,
                device_required: session.device_required,
            }))
        }
    }
}
