//! A real merchant's beginning: the merchant, its first owner, its account at WeChat Pay, its four agreement texts.

use chrono_tz::Tz;
use hexiao_core::agreement::{AgreementKind, clean_agreement};
use hexiao_core::catalog::Role;
use hexiao_core::id::{MerchantId, PayAccountId, StaffId};
use hexiao_core::limit::VerifierLimit;
use hexiao_core::money::Money;
use hexiao_core::offline::OfflinePolicy;
use hexiao_core::reason::Refusal;
use hexiao_core::scope::MerchantScope;
use hexiao_core::text::MobilePhone;
use hexiao_core::time::{BusinessDay, Timestamp};
use hexiao_db::agreements::{Agreement, Heading};
use hexiao_db::merchants::{self, Merchant, PayAccount};
use hexiao_db::staff::{self, SealedPhone, Staff};
use hexiao_db::{Tx, agreements, audit, transact};
use hexiao_wechat::Account;
use serde_json::json;

use super::{check_password, seal_phone};
use crate::context::App;
use crate::error::{AppError, Result};
use crate::keys::{entropy, new_id};

/// Seconds an order waits for its payment, until the merchant says otherwise.
const ORDER_TTL_S: i64 = 15 * 60;
/// Seconds a one-tap refund waits before it is sent, until the merchant says otherwise.
const REFUND_HOLD_S: i64 = 0;

/// A merchant to create.
#[derive(Clone)]
pub struct NewMerchant {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: Tz,
    /// Its first owner.
    pub owner: NewOwner,
    /// How it is paid.
    pub pay_account: NewPayAccount,
    /// What its customers agree to.
    pub agreements: Agreements,
}

/// The first owner.
#[derive(Clone)]
pub struct NewOwner {
    /// Their name.
    pub name: String,
    /// What they sign in with.
    pub phone: MobilePhone,
    /// Their password.
    pub password: String,
}

/// An account at WeChat Pay.
#[derive(Debug, Clone)]
pub struct NewPayAccount {
    /// The merchant's own, or a provider's with the merchant below it.
    pub account: Account,
    /// The folder of its key files.
    pub key_ref: String,
}

/// The four texts.
#[derive(Debug, Clone)]
pub struct Agreements {
    /// 用户协议
    pub user_agreement: String,
    /// 隐私政策
    pub privacy_policy: String,
    /// 核销规则
    pub redemption_rules: String,
    /// 售后政策
    pub after_sales_policy: String,
}

impl Agreements {
    fn first_versions(&self, now: Timestamp) -> Result<Vec<Agreement>, Refusal> {
        let first = |kind: &AgreementKind| {
            let body = match kind {
                AgreementKind::UserAgreement => &self.user_agreement,
                AgreementKind::PrivacyPolicy => &self.privacy_policy,
                AgreementKind::RedemptionRules => &self.redemption_rules,
                AgreementKind::AfterSalesPolicy => &self.after_sales_policy,
            };
            let body = clean_agreement(body).map_err(|e| Refusal::field(kind.title(), e.to_string()))?;
            Ok(Agreement { heading: Heading { kind: *kind, version: 1, published_at: now }, body })
        };
        AgreementKind::ALL.iter().map(first).collect()
    }
}

impl App {
    /// Creates a merchant with everything it needs to open its first store.
    pub async fn create_merchant(&self, new: NewMerchant) -> Result<(MerchantId, StaffId, PayAccountId)> {
        check_password(&new.owner.password)?;
        let (merchant_id, now) = (new_id(), self.now());
        let merchant = Merchant {
            require_device: false,
            offline: OfflinePolicy { uses: 20, amount: Money::fen(50_000) },
            id: merchant_id,
            tag: entropy(),
            name: new.name,
            business_day: BusinessDay { zone: new.zone, ..BusinessDay::default() },
            order_ttl_s: ORDER_TTL_S,
            refund_hold_s: REFUND_HOLD_S,
        };
        let owner = Staff {
            merchant_id,
            id: new_id(),
            name: new.owner.name,
            role: Role::Owner,
            phone_masked: new.owner.phone.masked(),
            password_hash: self.hash_password(new.owner.password).await?,
            active: true,
            limit: VerifierLimit::default(),
            failed_attempts: 0,
            locked_until: None,
            version: 1,
            created_at: now,
        };
        let phone = seal_phone(&self.keys, &new.owner.phone, owner.id);
        let account = pay_account(merchant_id, new.pay_account);
        let texts = new.agreements.first_versions(now)?;
        let done: Result<()> =
            transact!(self.db, |tx| create(&tx, &merchant, (&owner, &phone), &account, &texts, now));
        done?;
        Ok((merchant_id, owner.id, account.id))
    }
}

fn pay_account(merchant_id: MerchantId, new: NewPayAccount) -> PayAccount {
    let (appid, mchid, sub_appid, sub_mchid) = match new.account {
        Account::Direct { appid, mchid } => (appid, mchid, None, None),
        Account::Partner { sp_appid, sp_mchid, sub_appid, sub_mchid } => {
            (sp_appid, sp_mchid, sub_appid, Some(sub_mchid))
        }
    };
    PayAccount { merchant_id, id: new_id(), appid, mchid, sub_appid, sub_mchid, key_ref: new.key_ref }
}

async fn create(
    tx: &Tx,
    merchant: &Merchant,
    (owner, phone): (&Staff, &SealedPhone),
    account: &PayAccount,
    texts: &[Agreement],
    now: Timestamp,
) -> Result<()> {
    merchants::insert(tx, merchant, now).await?;
    staff::insert(tx, owner, phone, &[]).await?;
    merchants::insert_pay_account(tx, account, now).await?;
    let scope = MerchantScope::of_system(merchant.id);
    for text in texts {
        agreements::insert(tx, scope, new_id(), text).await?;
    }
    let detail = json!({"name": merchant.name, "owner_id": owner.id, "pay_account_id": account.id});
    audit::record(tx, scope, None, "merchant.create", &merchant.id.to_string(), &detail, now).await?;
    Ok::<(), AppError>(())
}
