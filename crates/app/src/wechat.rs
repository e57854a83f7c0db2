//! The way to WeChat: one client for each pay account and mini-program, made from the account's row and the key
//! files it names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hexiao_core::id::PayAccountId;
use hexiao_db::merchants::{self, PayAccount};
pub use hexiao_wechat::Account;
use hexiao_wechat::{ConfigError, MiniClient, MiniConfig, PayClient, PayConfig, PlatformKey};
use secrecy::SecretString;
use tokio::sync::RwLock;

use crate::clock::Clock;
use crate::context::App;
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
        let client = Arc::new(
            PayClient::new(self.pay_config(account)?)
                .map_err(|e| AppError::Internal(format!("pay account {}: {e}", account.id)))?,
        );
        Ok(self.pay.write().await.entry(account.id).or_insert(client).clone())
    }

    fn pay_config(&self, account: &PayAccount) -> Result<PayConfig> {
        let clock = self.clock.clone();
        let folder = self.key_folder(account);
        Ok(PayConfig {
            account: identity(account)?,
            base_url: self.settings.pay_base_url.clone(),
            backup_base_url: self.settings.pay_backup_url.clone(),
            merchant_serial: key_file(&folder, MERCHANT_SERIAL)?.trim().to_owned(),
            merchant_private_key_pem: key_file(&folder, MERCHANT_KEY)?.into(),
            api_v3_key: key_file(&folder, API_V3_KEY)?.trim().to_owned().into(),
            platform_keys: platform_keys(&folder)?,
            clock: Arc::new(move || clock.now().seconds()),
            timeout: Duration::from_secs(10),
            refund_timeout: Duration::from_secs(30),
        })
    }

    fn key_folder(&self, account: &PayAccount) -> PathBuf {
        self.settings.key_dir.join(&account.key_ref)
    }

    /// What is wrong with the key files of an account, in Chinese: each file that is not there, or the one that does
    /// not hold what it should.
    fn key_problems(&self, account: &PayAccount) -> Vec<String> {
        let folder = self.key_folder(account);
        let unreadable = |name: &&str| {
            let path = folder.join(name);
            let error = std::fs::read_to_string(&path).err()?;
            Some(format!("不能读取 {}（{error}）", path.display()))
        };
        let missing: Vec<String> = MERCHANT_FILES.iter().filter_map(unreadable).collect();
        if !missing.is_empty() {
            return missing;
        }
        let config = match self.pay_config(account) {
            Ok(config) => config,
            Err(error) => return vec![format!("密钥文件不能用：{}", error.log_text())],
        };
        let wrong = PayClient::new(config).err().map(|error| {
            let place = file_of(&error).map_or(folder.clone(), |name| folder.join(name));
            format!("{} 的内容不对（{error}）", place.display())
        });
        wrong.into_iter().collect()
    }
}

impl App {
    /// What keeps accounts from being paid through, a line for each account and file. Asked at the start, so that it
    /// is not the first customer who finds out.
    pub async fn pay_account_problems(&self) -> Result<Vec<String>> {
        let accounts = merchants::active_pay_accounts(self.db.reader()).await?;
        let of = |account: &PayAccount| {
            let whose = format!("支付账号 {}（商户号 {}）", account.id, account.mchid);
            let problems = self.wechat.key_problems(account).into_iter();
            problems.map(move |problem| format!("{whose}：{problem}")).collect::<Vec<_>>()
        };
        Ok(accounts.iter().flat_map(of).collect())
    }
}

/// The merchant's API private key.
const MERCHANT_KEY: &str = "merchant_key.pem";
/// The serial of the merchant's API certificate.
const MERCHANT_SERIAL: &str = "merchant_serial.txt";
/// The APIv3 key.
const API_V3_KEY: &str = "api_v3_key.txt";
/// What every pay account must have in its folder.
pub const MERCHANT_FILES: [&str; 3] = [MERCHANT_KEY, MERCHANT_SERIAL, API_V3_KEY];

/// The file that a configuration error is about, if it is one.
fn file_of(error: &ConfigError) -> Option<&'static str> {
    match error {
        ConfigError::MerchantSerial => Some(MERCHANT_SERIAL),
        ConfigError::MerchantKey => Some(MERCHANT_KEY),
        ConfigError::ApiV3Key => Some(API_V3_KEY),
        ConfigError::PublicKeyId(_) => Some("platform_public_key_id.txt"),
        ConfigError::PlatformKey(_) => Some("platform_*.pem"),
        ConfigError::BaseUrl(_) | ConfigError::Identity(_) | ConfigError::HttpClient => None,
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
