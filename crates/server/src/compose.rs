//! Putting the use cases together from a configuration.

use std::sync::Arc;

use anyhow::{Context, ensure};
use hexiao_app::clock::SystemClock;
use hexiao_app::wechat::{Wechat, WechatSettings};
use hexiao_app::{App, Clock, Retention, Settings};
use hexiao_db::{Db, migrate};

use crate::config::{Config, Mode, Switch};
use crate::simulator::{self, MINI_SECRET};
use crate::{private, secrets};

/// Opens the database of a configuration.
pub async fn open_db(config: &Config) -> anyhow::Result<Db> {
    if config.database_url.is_none() {
        private::data_dir(&config.data)?;
    }
    private::close_database(&config.database_url())?;
    Ok(Db::connect(&config.database_url(), config.database_connections).await?)
}

/// Makes the data folder of a development installation complete: keys and schema.
pub async fn prepare_dev(config: &Config) -> anyhow::Result<Db> {
    private::data_dir(&config.data)?;
    secrets::ensure_generated(&config.keys_dir(), Mode::Dev)?;
    simulator::ensure_keys(&config.keys_dir())?;
    let db = open_db(config).await?;
    migrate::migrate(&db).await?;
    Ok(db)
}

/// The use cases. `pay_url` and `api_url` say where WeChat is.
pub async fn app(
    config: &Config,
    db: Db,
    wechat_urls: (String, String),
    public_url: String,
) -> anyhow::Result<App> {
    app_with_clock(config, db, wechat_urls, public_url, Arc::new(SystemClock)).await
}

/// The same with another clock, for tests.
pub async fn app_with_clock(
    config: &Config,
    db: Db,
    (pay_url, api_url): (String, String),
    public_url: String,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<App> {
    migrate::check(&db).await?;
    let keys = secrets::load(&config.keys_dir(), config.mode)?;
    let secret = match &config.mini_secret {
        Some(secret) => secret.clone(),
        None if config.mode == Mode::Dev => MINI_SECRET.to_owned().into(),
        None => {
            let path = config.keys_dir().join("mini_secret.txt");
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("没有找到小程序密钥 {}", path.display()))?;
            text.trim().to_owned().into()
        }
    };
    let settings = WechatSettings {
        pay_backup_url: (config.mode == Mode::Production && config.wechat_pay_url.is_none())
            .then(|| "https://api2.mch.weixin.qq.com".to_owned()),
        pay_base_url: pay_url,
        api_base_url: api_url,
        key_dir: config.keys_dir().join("wechat"),
        mini_appid: config.mini_appid.clone(),
        mini_secret: secret,
    };
    let wechat = Wechat::new(settings, clock.clone()).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    let settings = Settings {
        public_url,
        dev: config.mode == Mode::Dev,
        job_lease: chrono::Duration::seconds(i64::from(config.job_lease_s)),
        retention: Retention {
            attempts_days: config.retention_attempts_days,
            audit_days: config.retention_audit_days,
        },
    };
    let app = App::new(db, clock, Arc::new(keys), wechat, settings);
    app.check_keys().await.map_err(|e| anyhow::anyhow!("{}", e.log_text()))?;
    app.rebase_outbox().await.map_err(|e| anyhow::anyhow!("{}", e.log_text()))?;
    Ok(app)
}

/// Refuses to go on while customers could not pay: a pay account's keys are missing or are not what they should be.
pub async fn check_pay_accounts(app: &App) -> anyhow::Result<()> {
    let problems = app.pay_account_problems().await.map_err(|e| anyhow::anyhow!("{}", e.log_text()))?;
    ensure!(
        problems.is_empty(),
        "支付账号的密钥不完整，顾客会无法付款：\n  {}\n请放好这些文件再启动，各文件的内容见 docs/CONFIGURATION.md",
        problems.join("\n  ")
    );
    Ok(())
}

/// Where WeChat is: configured, the simulator, or the real one.
pub fn wechat_urls(config: &Config, simulator: Option<&str>) -> (String, String) {
    let default = |real: &str| match (simulator, config.mode, config.simulator) {
        (Some(url), _, _) => url.to_owned(),
        (None, Mode::Dev, _) => format!("http://{}", config.simulator_listen),
        (None, Mode::Production, Switch::On | Switch::Off) => real.to_owned(),
    };
    let pay = config.wechat_pay_url.clone().unwrap_or_else(|| default("https://api.mch.weixin.qq.com"));
    let api = config.wechat_api_url.clone().unwrap_or_else(|| default("https://api.weixin.qq.com"));
    (pay, api)
}
