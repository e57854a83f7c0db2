//! The way to WeChat: one client for each pay account and mini-program, made from the account's row and the key
//! files it names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hexiao_core::id::PayAccountId;
use hexiao_db::merchants::PayAccount;
pub use hexiao_wechat::Account;
use hexiao_wechat::{MiniClient, MiniConfig, PayClient, PayConfig, PlatformKey};
use secrecy::SecretString;
use tokio::sync::RwLock;

use crate::clock::Clock;
use crate::error::{AppError, Result};

/// Where WeChat is and where the key files are.
#[derive(Debug, Clone)]
pub struct WechatSettings {
    /// `https://api.mch.weixin.qq.com`, or the simulator.
    pub pay_base_url: String,
    /// `https://api2.mch.weixin.qq.com`.
    pub pay_backup_url: Option<String>,
    /// `https://api.weixin.qq.com`, or the simulator.
    pub api_base_url: String,
    /// A folder with one folder for each `key_ref`.
    pub key_dir: PathBuf,
    /// Our mini-program.
    pub mini_appid: String,
    /// Its secret.
    pub mini_secret: SecretString,
}

/// The clients.
pub struct Wechat {
    settings: WechatSettings,
    clock: Arc<dyn Clock>,
    mini: MiniClient,
    pay: RwLock<HashMap<PayAccountId, Arc<PayClient>>>,
    refreshed: moka::sync::Cache<PayAccountId, ()>,
}

impl Wechat {
    /// Makes the mini-program's client; pay clients are made when first used.
    pub fn new(settings: WechatSettings, clock: Arc<dyn Clock>) -> Result<Self> {
        let mini = MiniClient::new(MiniConfig {
            base_url: settings.api_base_url.clone(),
            appid: settings.mini_appid.clone(),
            secret: settings.mini_secret.clone(),
            timeout: Duration::from_secs(5),
        })
        .map_err(|e| AppError::Internal(format!("mini-program configuration: {e}")))?;
        let refreshed =
            moka::sync::Cache::builder().max_capacity(10_000).time_to_live(Duration::from_mins(1)).build();
        Ok(Self { settings, clock, mini, pay: RwLock::default(), refreshed })
    }

    /// Whether an account's platform certificates may be fetched again: once a minute, whatever is sent to us.
    pub(crate) fn may_refresh(&self, account: PayAccountId) -> bool {
        // Only a refresh begins a new minute: a stream of bad messages must not put it off for ever.
        self.refreshed.entry(account).or_insert(()).is_fresh()
    }

    /// The mini-program's client.
    pub fn mini(&self) -> &MiniClient {
        &self.mini
    }

    /// The mini-program's appid: openids belong to it.
    pub fn mini_appid(&self) -> &str {
        &self.settings.mini_appid
    }

    /// The client of a pay account.
    pub async fn pay(&self, account: &PayAccount) -> Result<Arc<PayClient>> {
        if let Some(client) = self.pay.read().await.get(&account.id) {
            return Ok(client.clone());
        }
        let clock = self.clock.clone();
        let folder = self.settings.key_dir.join(&account.key_ref);
        let client = Arc::new(
            PayClient::new(PayConfig {
                account: identity(account)?,
                base_url: self.settings.pay_base_url.clone(),
                backup_base_url: self.settings.pay_backup_url.clone(),
                merchant_serial: key_file(&folder, "merchant_serial.txt")?.trim().to_owned(),
                merchant_private_key_pem: key_file(&folder, "merchant_key.pem")?.into(),
                api_v3_key: key_file(&folder, "api_v3_key.txt")?.trim().to_owned().into(),
                platform_keys: platform_keys(&folder)?,
                clock: Arc::new(move || clock.now().seconds()),
                timeout: Duration::from_secs(10),
                refund_timeout: Duration::from_secs(30),
            })
            .map_err(|e| AppError::Internal(format!("pay account {}: {e}", account.id)))?,
        );
        Ok(self.pay.write().await.entry(account.id).or_insert(client).clone())
    }
}

/// The account's identity in WeChat's terms.
pub fn identity(account: &PayAccount) -> Result<Account> {
    Ok(match &account.sub_mchid {
        None => Account::Direct { appid: account.appid.clone(), mchid: account.mchid.clone() },
        Some(sub_mchid) => Account::Partner {
            sp_appid: account.appid.clone(),
            sp_mchid: account.mchid.clone(),
            sub_appid: account.sub_appid.clone(),
            sub_mchid: sub_mchid.clone(),
        },
    })
}

fn key_file(folder: &Path, name: &str) -> Result<String> {
    std::fs::read_to_string(folder.join(name))
        .map_err(|e| AppError::Internal(format!("key file {}/{name}: {e}", folder.display())))
}

/// `platform_public_key.pem` with its id in `platform_public_key_id.txt`, and any `platform_cert*.pem`.
fn platform_keys(folder: &Path) -> Result<Vec<PlatformKey>> {
    let mut keys = Vec::new();
    if folder.join("platform_public_key.pem").exists() {
        let id = key_file(folder, "platform_public_key_id.txt")?.trim().to_owned();
        keys.push(PlatformKey::PublicKey { id, pem: key_file(folder, "platform_public_key.pem")? });
    }
    let entries = std::fs::read_dir(folder)
        .map_err(|e| AppError::Internal(format!("key folder {}: {e}", folder.display())))?;
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    for name in names.iter().filter(|n| n.starts_with("platform_cert")) {
        keys.push(PlatformKey::Certificate { pem: key_file(folder, name)? });
    }
    Ok(keys)
}
