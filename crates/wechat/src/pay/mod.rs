//! WeChat Pay APIv3 for a mini program: orders, refunds, notifications, platform certificates.
//!
//! The same client serves a direct merchant and a service provider acting for a sub-merchant ([`Account`]); the
//! signing identity, the certificate and the APIv3 key are then the provider's.

mod certificates;
mod keys;
mod notification;
mod order;
mod refund;
mod transport;
mod wire;

pub use notification::{Notification, NotificationHeaders, NotificationKind};
pub use order::{Prepay, RequestPayment, TradeState, Transaction};
pub use refund::{AbnormalRefund, AbnormalRefundTo, Refund, RefundNotice, RefundRequest, RefundStatus};

use crate::UnixClock;
use crate::crypto::{ApiV3Key, MerchantKey};
use crate::error::ConfigError;
use crate::http;
use keys::PlatformKeys;
use secrecy::SecretString;
use std::fmt;
use std::time::Duration;
use transport::Hosts;

/// What a [`PayClient`] needs to know.
pub struct PayConfig {
    /// In whose name calls are made.
    pub account: Account,
    /// `https://api.mch.weixin.qq.com`, or a simulator's origin.
    pub base_url: String,
    /// `https://api2.mch.weixin.qq.com`; used after two failed connections to the first.
    pub backup_base_url: Option<String>,
    /// Serial of the merchant API certificate: 40 hexadecimal digits.
    pub merchant_serial: String,
    /// The merchant API certificate's private key, PKCS#8 PEM.
    pub merchant_private_key_pem: SecretString,
    /// The APIv3 key: 32 ASCII bytes.
    pub api_v3_key: SecretString,
    /// WeChat's keys. Both kinds may be present, as notifications come mixed while a merchant changes over. May be
    /// empty only until [`PayClient::fetch_platform_certificates`] has run.
    pub platform_keys: Vec<PlatformKey>,
    /// Unix seconds now.
    pub clock: UnixClock,
    /// Longest time for a call on an order (or a query), attempts included; 10 s is usual.
    pub timeout: Duration,
    /// Longest time for a refund call, attempts included; 30 s is usual.
    pub refund_timeout: Duration,
}

impl fmt::Debug for PayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayConfig")
            .field("account", &self.account)
            .field("base_url", &self.base_url)
            .field("backup_base_url", &self.backup_base_url)
            .field("merchant_serial", &self.merchant_serial)
            .finish_non_exhaustive()
    }
}

/// In whose name calls are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A merchant of its own.
    Direct {
        /// The mini program's appid.
        appid: String,
        /// The merchant number.
        mchid: String,
    },
    /// A service provider acting for a sub-merchant.
    Partner {
        /// The provider's appid.
        sp_appid: String,
        /// The provider's merchant number.
        sp_mchid: String,
        /// The sub-merchant's mini program, when it is the one that pays.
        sub_appid: Option<String>,
        /// The sub-merchant's number.
        sub_mchid: String,
    },
}

impl Account {
    /// The merchant number that signs.
    pub fn signing_mchid(&self) -> &str {
        match self {
            Self::Direct { mchid, .. } => mchid,
            Self::Partner { sp_mchid, .. } => sp_mchid,
        }
    }

    /// The appid of the mini program that calls `wx.requestPayment`.
    pub fn paying_appid(&self) -> &str {
        match self {
            Self::Direct { appid, .. } => appid,
            Self::Partner { sp_appid, sub_appid, .. } => sub_appid.as_ref().unwrap_or(sp_appid),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let mchid = |name, text: &str| {
            let good = (8..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            good.then_some(()).ok_or(ConfigError::Identity(name))
        };
        let appid = |name, text: &str| {
            let good = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
            good.then_some(()).ok_or(ConfigError::Identity(name))
        };
        match self {
            Self::Direct { appid: app, mchid: mch } => {
                appid("appid", app)?;
                mchid("mchid", mch)
            }
            Self::Partner { sp_appid, sp_mchid, sub_appid, sub_mchid } => {
                appid("sp_appid", sp_appid)?;
                mchid("sp_mchid", sp_mchid)?;
                sub_appid.as_ref().map_or(Ok(()), |app| appid("sub_appid", app))?;
                mchid("sub_mchid", sub_mchid)
            }
        }
    }
}

/// A key WeChat signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlatformKey {
    /// A platform certificate; its serial is read from it.
    Certificate {
        /// X.509 PEM.
        pem: String,
    },
    /// A WeChat Pay public key (微信支付公钥), the only kind new merchants get.
    PublicKey {
        /// `PUB_KEY_ID_…`.
        id: String,
        /// `BEGIN PUBLIC KEY` PEM.
        pem: String,
    },
}

/// The client of one account. Share it behind an `Arc`; it keeps its connections.
pub struct PayClient {
    account: Account,
    merchant_serial: String,
    merchant_key: MerchantKey,
    api_v3_key: ApiV3Key,
    keys: PlatformKeys,
    clock: UnixClock,
    timeout: Duration,
    refund_timeout: Duration,
    hosts: Hosts,
    http: reqwest::Client,
}

impl PayClient {
    /// Checks the configuration and builds the client. Touches no network.
    pub fn new(config: PayConfig) -> Result<Self, ConfigError> {
        config.account.check()?;
        let serial = config.merchant_serial.to_ascii_uppercase();
        if serial.len() != 40 || !serial.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ConfigError::MerchantSerial);
        }
        let primary = http::base_url(&config.base_url).ok_or(ConfigError::BaseUrl("base URL"))?;
        let backup = match &config.backup_base_url {
            Some(text) => Some(http::base_url(text).ok_or(ConfigError::BaseUrl("backup base URL"))?),
            None => None,
        };
        Ok(Self {
            merchant_key: MerchantKey::from_pem(&config.merchant_private_key_pem)
                .ok_or(ConfigError::MerchantKey)?,
            api_v3_key: ApiV3Key::new(&config.api_v3_key).ok_or(ConfigError::ApiV3Key)?,
            keys: PlatformKeys::load(&config.platform_keys)?,
            http: http::client().ok_or(ConfigError::HttpClient)?,
            hosts: Hosts::new(primary, backup),
            account: config.account,
            merchant_serial: serial,
            clock: config.clock,
            timeout: config.timeout,
            refund_timeout: config.refund_timeout,
        })
    }

    /// The account calls are made for.
    pub fn account(&self) -> &Account {
        &self.account
    }

    fn now(&self) -> i64 {
        (self.clock)()
    }
}

impl fmt::Debug for PayClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayClient").field("account", &self.account).finish_non_exhaustive()
    }
}
