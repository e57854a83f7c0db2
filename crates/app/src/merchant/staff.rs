//! Accounts of staff: who may create and edit whom, and where they work.
//!
//! **Invariant:** nobody gains by editing an account: a role is given only by those who may manage it, a store only by
//! those who reach it, and an account that also works elsewhere is not taken over by one store's manager.

use std::collections::BTreeSet;

use hexiao_core::catalog::{Capability, Role};
use hexiao_core::id::{StaffId, StoreId};
use hexiao_core::limit::{MAX_AMOUNT_A_DAY_FEN, MAX_USES_A_DAY, VerifierLimit};
use hexiao_core::money::Money;
use hexiao_core::reason::{Reason, Refusal};
use hexiao_core::text::MobilePhone;
use hexiao_core::time::Timestamp;
use hexiao_db::staff::{self, SealedPhone, Staff, StaffStore};
use hexiao_db::{Tx, audit, sessions, stores, transact};
use serde_json::{Value, json};

use super::{Edit, changes, check_password, check_version, seal_phone};
use crate::auth::StaffPrincipal;
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::new_id;

/// The most stores one account is given by name.
const MAX_STORES: usize = 1_000;

/// An account to create. Texts are clean already.
#[derive(Clone)]
pub struct NewStaff {
    /// Their name.
    pub name: String,
    /// What they sign in with.
    pub phone: MobilePhone,
    /// Their first password.
    pub password: String,
    /// What they may do.
    pub role: Role,
    /// Where they work.
    pub store_ids: Vec<StoreId>,
    /// The most they may redeem a day.
    pub limit: VerifierLimit,
}

/// What to change of an account; the rest stays.
#[derive(Clone, Default)]
pub struct StaffEdit {
    /// The version the editor saw.
    pub version: Option<i64>,
    /// Their name.
    pub name: Option<String>,
    /// What they may do.
    pub role: Option<Role>,
    /// Where they work. Stores outside the editor's scope stay as they are.
    pub store_ids: Option<Vec<StoreId>>,
    /// Whether they can sign in.
    pub active: Option<bool>,
    /// A new password; it also ends the lock after wrong ones.
    pub password: Option<String>,
    /// The most uses they may redeem a day, or any.
    pub uses_a_day: Edit<u32>,
    /// The most they may redeem a day in money, or any.
    pub amount_a_day: Edit<Money>,
}

/// An account and the stores it works for.
#[derive(Debug, Clone)]
pub struct StaffAccount {
    /// The account.
    pub staff: Staff,
    /// Its stores, by name.
    pub stores: Vec<StaffStore>,
}

impl App {
    /// Creates an account.
    pub async fn create_staff(&self, by: &StaffPrincipal, new: NewStaff) -> Result<StaffAccount> {
        by.require(Capability::ManageStaff)?;
        require_manages(by, new.role)?;
        check_password(&new.password)?;
        let store_ids = distinct(&new.store_ids)?;
        check_limits(by, VerifierLimit::default(), new.limit)?;
        let staff = Staff {
            merchant_id: by.merchant_id,
            id: new_id(),
            name: new.name,
            role: new.role,
            phone_masked: new.phone.masked(),
            password_hash: self.hash_password(new.password).await?,
            active: true,
            limit: new.limit,
            failed_attempts: 0,
            locked_until: None,
            version: 1,
            created_at: self.now(),
        };
        let hashes: Vec<[u8; 32]> =
            self.keys.peppers.phone_hashes(&new.phone).into_iter().map(|(_, h)| h.0).collect();
        let phone = seal_phone(&self.keys, &new.phone, staff.id);
        transact!(self.db, |tx| create(&tx, by, &staff, &phone, &hashes, &store_ids))
    }

    /// Edits an account, closes it, or gives it a new password. What changes its rights ends its sessions.
    pub async fn edit_staff(
        &self,
        by: &StaffPrincipal,
        id: StaffId,
        edit: StaffEdit,
    ) -> Result<StaffAccount> {
        by.require(Capability::ManageStaff)?;
        if let Some(role) = edit.role {
            require_manages(by, role)?;
        }
        let mut password_hash = None;
        if let Some(password) = edit.password.clone() {
            check_password(&password)?;
            password_hash = Some(self.hash_password(password).await?);
        }
        let now = self.now();
        transact!(self.db, |tx| edit_in(&tx, by, id, &edit, password_hash.as_deref(), now))
    }
}

fn require_manages(by: &StaffPrincipal, role: Role) -> Result<(), Refusal> {
    if by.role.may_manage(role) {
        Ok(())
    } else {
        Err(Refusal::with_message(Reason::Forbidden, "您不能管理这个角色的员工"))
    }
}

/// Limits are the headquarters' word: a manager who could lift them could redeem without any.
fn check_limits(by: &StaffPrincipal, before: VerifierLimit, after: VerifierLimit) -> Result<(), Refusal> {
    if before == after {
        return Ok(());
    }
    if !by.role.all_stores() {
        return Err(Refusal::with_message(Reason::Forbidden, "每日核销上限由总部设置"));
    }
    if after.uses_a_day.is_some_and(|uses| uses > MAX_USES_A_DAY) {
        return Err(Refusal::field("daily_uses_limit", "每日核销次数上限应为 0–100000"));
    }
    if after.amount_a_day.is_some_and(|fen| !(0..=MAX_AMOUNT_A_DAY_FEN).contains(&fen.as_fen())) {
        return Err(Refusal::field("daily_amount_limit_fen", "每日核销金额上限应为 0–1 亿元"));
    }
    Ok(())
}

fn distinct(ids: &[StoreId]) -> Result<BTreeSet<StoreId>, Refusal> {
    if ids.len() > MAX_STORES {
        return Err(Refusal::field("store_ids", format!("最多 {MAX_STORES} 个门店")));
    }
    Ok(ids.iter().copied().collect())
}

async fn create(
    tx: &Tx,
    by: &StaffPrincipal,
    staff: &Staff,
    phone: &SealedPhone,
    hashes: &[[u8; 32]],
    store_ids: &BTreeSet<StoreId>,
) -> Result<StaffAccount> {
    check_stores(tx, by, staff.role, store_ids, store_ids).await?;
    // The unique key knows the current hash of a number; accounts from before a new pepper have another.
    let known = staff::by_phone_for_sign_in(tx, hashes).await?;
    if known.iter().any(|s| s.merchant_id == by.merchant_id) {
        return Err(duplicate_phone());
    }
    let ids: Vec<StoreId> = store_ids.iter().copied().collect();
    staff::insert(tx, staff, phone, &ids)
        .await
        .map_err(|e| if e.is_unique_violation("phone_hash") { duplicate_phone() } else { e.into() })?;
    let (subject, detail) = (staff.id.to_string(), editable(staff, store_ids));
    audit::record(tx, by.merchant(), Some(by.staff_id), "staff.create", &subject, &detail, staff.created_at)
        .await?;
    account(tx, by, staff.clone()).await
}

fn duplicate_phone() -> AppError {
    Refusal::new(Reason::Duplicate).and_field("phone", "该手机号已有账号").into()
}

/// `all` are the stores the account will have, `given` those the editor names: each must exist in their scope.
async fn check_stores(
    tx: &Tx,
    by: &StaffPrincipal,
    role: Role,
    all: &BTreeSet<StoreId>,
    given: &BTreeSet<StoreId>,
) -> Result<()> {
    if all.is_empty() && !role.all_stores() {
        return Err(Refusal::field("store_ids", "请至少选择一个门店").into());
    }
    let ids: Vec<StoreId> = given.iter().copied().collect();
    let known: BTreeSet<StoreId> =
        stores::names(tx, by.merchant(), &ids).await?.into_iter().map(|(id, _)| id).collect();
    match ids.iter().find(|id| !by.scope.contains(**id) || !known.contains(id)) {
        None => Ok(()),
        Some(id) => {
            let refusal = Refusal::with_message(Reason::NotFound, "没有找到这个门店");
            Err(refusal.and_field("store_ids", format!("没有找到门店 {id}")).into())
        }
    }
}

async fn edit_in(
    tx: &Tx,
    by: &StaffPrincipal,
    id: StaffId,
    edit: &StaffEdit,
    password_hash: Option<&str>,
    now: Timestamp,
) -> Result<StaffAccount> {
    // Two owners who demote each other at once must wait for each other, so all owners are locked before anybody.
    let owners = if edit.role.is_some() || edit.active.is_some() {
        staff::lock_active_owners(tx, by.merchant()).await?
    } else {
        Vec::new()
    };
    let missing = || Refusal::with_message(Reason::NotFound, "没有找到这个员工");
    let before = staff::lock_in(tx, &by.scope, id).await?.ok_or_else(missing)?;
    check_version(edit.version, before.version)?;
    require_manages(by, before.role)?;
    let stores_before: BTreeSet<StoreId> =
        staff::stores_of(tx, by.merchant(), &[id]).await?.into_iter().map(|s| s.store_id).collect();
    let mut after = apply(&before, edit, password_hash);
    let stores_after = new_stores(by, edit, &stores_before)?;
    check_edit(by, &before, &after, &stores_before, &owners)?;
    check_limits(by, before.limit, after.limit)?;
    let added = stores_after.difference(&stores_before).copied().collect();
    check_stores(tx, by, after.role, &stores_after, &added).await?;

    let mut detail = changes(&editable(&before, &stores_before), &editable(&after, &stores_after));
    let quiet = ["name", "daily_uses_limit", "daily_amount_limit_fen"];
    let same_rights = detail.keys().all(|name| quiet.contains(&name.as_str()));
    if password_hash.is_some() {
        detail.insert("password".to_owned(), json!("replaced"));
    }
    if detail.is_empty() {
        return account(tx, by, before).await;
    }
    let ids: Vec<StoreId> = stores_after.into_iter().collect();
    staff::update(tx, &after, &ids, now).await?;
    (after.version, after.failed_attempts, after.locked_until) = (after.version + 1, 0, None);
    if !same_rights || password_hash.is_some() {
        sessions::revoke_of_staff(tx, by.merchant(), id, now).await?;
    }
    let subject = id.to_string();
    audit::record(tx, by.merchant(), Some(by.staff_id), "staff.edit", &subject, &detail.into(), now).await?;
    account(tx, by, after).await
}

fn apply(before: &Staff, edit: &StaffEdit, password_hash: Option<&str>) -> Staff {
    let mut limit = before.limit;
    edit.uses_a_day.apply(&mut limit.uses_a_day);
    edit.amount_a_day.apply(&mut limit.amount_a_day);
    Staff {
        limit,
        name: edit.name.clone().unwrap_or_else(|| before.name.clone()),
        role: edit.role.unwrap_or(before.role),
        active: edit.active.unwrap_or(before.active),
        password_hash: password_hash.unwrap_or(&before.password_hash).to_owned(),
        ..before.clone()
    }
}

/// The stores after an edit: those named, and those of before that the editor cannot reach.
fn new_stores(
    by: &StaffPrincipal,
    edit: &StaffEdit,
    before: &BTreeSet<StoreId>,
) -> Result<BTreeSet<StoreId>, Refusal> {
    let Some(ids) = &edit.store_ids else { return Ok(before.clone()) };
    let mut after = distinct(ids)?;
    after.extend(before.iter().filter(|id| !by.scope.contains(**id)));
    Ok(after)
}

fn check_edit(
    by: &StaffPrincipal,
    before: &Staff,
    after: &Staff,
    stores: &BTreeSet<StoreId>,
    owners: &[StaffId],
) -> Result<(), Refusal> {
    let account_differs = (&before.name, before.role, before.active, &before.password_hash)
        != (&after.name, after.role, after.active, &after.password_hash);
    if account_differs && stores.iter().any(|id| !by.scope.contains(*id)) {
        return Err(Refusal::with_message(
            Reason::Forbidden,
            "该员工也在您管理范围以外的门店任职，请由总部修改账号",
        ));
    }
    if by.staff_id == before.id && !after.active {
        return Err(Refusal::with_message(Reason::IllegalState, "不能停用自己的账号")
            .and_field("active", "不能停用自己的账号"));
    }
    let owns = |s: &Staff| s.role == Role::Owner && s.active;
    if owns(before) && !owns(after) && owners.iter().all(|id| *id == before.id) {
        let text = "这是最后一个可登录的老板账号，不能停用或更改角色";
        return Err(Refusal::with_message(Reason::IllegalState, text));
    }
    Ok(())
}

/// What an edit can change, for the audit log; the password is never in it.
fn editable(staff: &Staff, stores: &BTreeSet<StoreId>) -> Value {
    json!({"name": staff.name, "role": staff.role, "active": staff.active, "store_ids": stores, "phone": staff.phone_masked,
        "daily_uses_limit": staff.limit.uses_a_day, "daily_amount_limit_fen": staff.limit.amount_a_day})
}

/// An account with those of its stores that the caller reaches.
async fn account(tx: &Tx, by: &StaffPrincipal, staff: Staff) -> Result<StaffAccount> {
    let mut stores = staff::stores_of(tx, by.merchant(), &[staff.id]).await?;
    stores.retain(|s| by.scope.contains(s.store_id));
    Ok(StaffAccount { staff, stores })
}

impl App {
    /// Gives every account with a phone number a new password and ends its sessions: for the command line, which
    /// somebody with access to the machine uses when nobody can sign in. How many accounts there were.
    pub async fn reset_password_by_phone(&self, phone: &MobilePhone, password: &str) -> Result<usize> {
        check_password(password)?;
        let hash = self.hash_password(password.to_owned()).await?;
        let hashes: Vec<[u8; 32]> =
            self.keys.peppers.phone_hashes(phone).into_iter().map(|(_, h)| h.0).collect();
        let accounts = staff::by_phone_for_sign_in(self.db.reader(), &hashes).await?;
        let now = self.now();
        let done: Result<()> = transact!(self.db, |tx| async {
            for account in &accounts {
                let merchant = hexiao_core::scope::MerchantScope::of_system(account.merchant_id);
                let Some(mut member) = staff::lock(&tx, merchant, account.id).await? else { continue };
                let stores: Vec<_> = staff::stores_of(&tx, merchant, &[member.id])
                    .await?
                    .into_iter()
                    .map(|s| s.store_id)
                    .collect();
                member.password_hash.clone_from(&hash);
                staff::update(&tx, &member, &stores, now).await?;
                hexiao_db::sessions::revoke_of_staff(&tx, merchant, member.id, now).await?;
                hexiao_db::audit::record(
                    &tx,
                    merchant,
                    None,
                    "staff.reset_password",
                    &member.id.to_string(),
                    &serde_json::json!({}),
                    now,
                )
                .await?;
            }
            Ok(())
        });
        done.map(|()| accounts.len())
    }
}
