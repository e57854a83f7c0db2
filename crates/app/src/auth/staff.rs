//! Staff sign in with phone and password. Five wrong passwords lock an account for a quarter of an hour.

use hexiao_core::id::MerchantId;
use hexiao_core::reason::Reason;
use hexiao_core::scope::MerchantScope;
use hexiao_core::text::MobilePhone;
use hexiao_core::time::Timestamp;
use hexiao_db::sessions::Subject;
use hexiao_db::staff::{self, Staff};
use hexiao_db::{Tx, merchants, transact};

use super::session::{self, Tokens};
use crate::context::App;
use crate::error::{AppError, Result};

const LOCK_FROM: i64 = 5;
const LOCK_MINUTES: i64 = 15;

/// What a member of staff gives to sign in.
#[derive(Clone)]
pub struct StaffSignIn {
    /// Their number.
    pub phone: MobilePhone,
    /// Their password.
    pub password: String,
    /// For whom, if they work for several.
    pub merchant_id: Option<MerchantId>,
}

/// They work for several merchants and named none.
#[derive(Debug, Clone)]
pub struct ChooseMerchant {
    /// Which.
    pub merchants: Vec<(MerchantId, String)>,
}

impl App {
    /// Signs a member of staff in, or lists the merchants to choose from.
    pub async fn sign_in_staff(
        &self,
        request: StaffSignIn,
    ) -> Result<Result<(Staff, Tokens), ChooseMerchant>> {
        let hashes: Vec<[u8; 32]> =
            self.keys.peppers.phone_hashes(&request.phone).into_iter().map(|(_, h)| h.0).collect();
        let mut accounts = staff::by_phone_for_sign_in(self.db.reader(), &hashes).await?;
        accounts.retain(|s| request.merchant_id.is_none_or(|m| s.merchant_id == m));
        let now = self.now();
        if !accounts.is_empty() && accounts.iter().all(|s| locked(s, now)) {
            return Err(Reason::AccountLocked.into());
        }
        accounts.retain(|s| !locked(s, now));
        let fits = self
            .check_password(request.password, accounts.iter().map(|s| s.password_hash.clone()).collect())
            .await?;
        let (right, wrong): (Vec<_>, Vec<_>) = accounts.into_iter().zip(fits).partition(|(_, fits)| *fits);
        let mut right: Vec<Staff> = right.into_iter().map(|(s, _)| s).filter(|s| s.active).collect();
        if right.is_empty() {
            let wrong: Vec<Staff> = wrong.into_iter().map(|(s, _)| s).collect();
            let counted: Result<()> = transact!(self.db, |tx| count_failures(&tx, &wrong, now));
            counted?;
            return Err(Reason::BadCredentials.into());
        }
        if right.len() > 1 {
            let ids: Vec<MerchantId> = right.iter().map(|s| s.merchant_id).collect();
            return Ok(Err(ChooseMerchant { merchants: merchants::names(self.db.reader(), &ids).await? }));
        }
        let member = right.remove(0);
        let tokens: Result<Tokens> = transact!(self.db, |tx| sign_in(self, &tx, &member, now));
        Ok(Ok((member, tokens?)))
    }
}

fn locked(staff: &Staff, now: Timestamp) -> bool {
    staff.locked_until.is_some_and(|until| now < until)
}

async fn count_failures(tx: &Tx, wrong: &[Staff], now: Timestamp) -> Result<()> {
    let until = now.plus(chrono::Duration::minutes(LOCK_MINUTES));
    // In the order of their ids, since several accounts may share a phone number.
    for member in wrong {
        // A lock that ended starts a new count.
        let scope = MerchantScope::of_system(member.merchant_id);
        if member.locked_until.is_some() {
            staff::clear_failures(tx, scope, member.id).await?;
        }
        staff::count_failure(tx, scope, member.id, LOCK_FROM, until).await?;
    }
    Ok::<(), AppError>(())
}

async fn sign_in(app: &App, tx: &Tx, member: &Staff, now: Timestamp) -> Result<Tokens> {
    let merchant = MerchantScope::of_system(member.merchant_id);
    // Guesses made at the same time may have locked it since we looked; a right one among them must not pass.
    let current = staff::lock(tx, merchant, member.id).await?.ok_or(Reason::BadCredentials)?;
    if locked(&current, now) || current.failed_attempts >= LOCK_FROM {
        return Err(Reason::AccountLocked.into());
    }
    staff::clear_failures(tx, merchant, member.id).await?;
    session::open(app, tx, Subject::Staff(member.merchant_id, member.id), now).await
}
