//! Configuration: defaults, then `hexiao.toml`, then `HEXIAO_*`. Unknown keys are refused; secrets are never printed.
//!
//! No configuration at all is a development installation: SQLite and keys under `./data`, the WeChat simulator on,
//! loopback only. Production refuses everything that is made for development.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use hexiao_app::Retention;
use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// What an installation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Trying and developing: loopback, simulator, generated keys.
    Dev,
    /// Real money.
    Production,
}

/// Whether callers are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Yes.
    On,
    /// No; in development only.
    Off,
}

/// The configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `dev` or `production`.
    pub mode: Mode,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where the metrics are, and nowhere else; without it they are on `listen`, for this machine only.
    pub metrics_listen: Option<SocketAddr>,
    /// How WeChat reaches us, without a path; by default the listening address.
    pub public_url: Option<String>,
    /// The data folder: database, keys, the simulator's journal.
    pub data: PathBuf,
    /// `sqlite://…` or `postgres://…`; by default SQLite in the data folder.
    pub database_url: Option<String>,
    /// Connections to the database.
    pub database_connections: u32,
    /// Seconds after which the jobs of a dead process are taken over by another one.
    pub job_lease_s: u32,
    /// Seconds that requests and jobs under way have to finish when a stop is asked for.
    pub drain_s: u32,
    /// Days for which refused attempts to redeem are kept.
    pub retention_attempts_days: u32,
    /// Days for which the audit log is kept.
    pub retention_audit_days: u32,
    /// Start the WeChat simulator with the server.
    pub simulator: Switch,
    /// Where the simulator listens.
    pub simulator_listen: SocketAddr,
    /// WeChat Pay; by default the simulator in development, WeChat in production.
    pub wechat_pay_url: Option<String>,
    /// The mini-program APIs; by default like `wechat_pay_url`.
    pub wechat_api_url: Option<String>,
    /// Our mini-program.
    pub mini_appid: String,
    /// Its secret; the file `mini_secret.txt` in the keys folder when not given.
    #[serde(skip_serializing)]
    pub mini_secret: Option<SecretString>,
    /// Limits of requests a second.
    pub rate_limits: Switch,
    /// The proxies in front of us: addresses or networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// `text` for people, `json` for machines.
    pub log_format: LogFormat,
}

/// An address or a network: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let text = text.trim();
        let address = || text.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        let network = text.parse().or_else(|_| address());
        network.map(Self).map_err(|_| format!("{text} 不是 IP 地址或网段（如 10.0.0.0/8）"))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Dev,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            metrics_listen: None,
            public_url: None,
            data: PathBuf::from("data"),
            database_url: None,
            database_connections: 16,
            job_lease_s: 120,
            drain_s: 20,
            retention_attempts_days: Retention::ATTEMPTS_DAYS,
            retention_audit_days: Retention::AUDIT_DAYS,
            simulator: Switch::On,
            simulator_listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            wechat_pay_url: None,
            wechat_api_url: None,
            mini_appid: "wxdemo0000000001".to_owned(),
            mini_secret: None,
            rate_limits: Switch::On,
            trusted_proxies: Vec::new(),
            log_format: LogFormat::Text,
        }
    }
}

impl Config {
    /// Reads it. `file` must exist when given; `hexiao.toml` in the working folder is read when it is there.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        match file {
            Some(path) => {
                ensure!(path.exists(), "没有找到配置文件 {}", path.display());
                figment = figment.merge(Toml::file_exact(path));
            }
            None => figment = figment.merge(Toml::file("hexiao.toml")),
        }
        // Variables of the test tools share the prefix; they are no configuration.
        let ours = Env::prefixed("HEXIAO_").filter(|key| {
            !key.starts_with("test_") && !["bin", "seeds", "hold_at"].iter().any(|other| key == *other)
        });
        figment.merge(ours).extract().context("配置有误（未知的键会被拒绝，键名见 hexiao serve --help）")
    }

    /// The database's address.
    pub fn database_url(&self) -> String {
        self.database_url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.data.join("hexiao.db").display()))
    }

    /// Where the keys are.
    pub fn keys_dir(&self) -> PathBuf {
        self.data.join("keys")
    }

    /// Refuses what would be dangerous.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.retention_attempts_days >= Retention::ATTEMPTS_DAYS,
            "retention_attempts_days 不能小于 {}：核销记录至少保存六个月",
            Retention::ATTEMPTS_DAYS
        );
        ensure!(
            self.retention_audit_days >= Retention::AUDIT_DAYS,
            "retention_audit_days 不能小于 {}：操作记录至少保存三年",
            Retention::AUDIT_DAYS
        );
        ensure!((1..=300).contains(&self.drain_s), "drain_s 必须在 1 到 300 秒之间");
        match self.mode {
            Mode::Dev => ensure!(
                self.listen.ip().is_loopback()
                    && self.simulator_listen.ip().is_loopback()
                    && self.metrics_listen.is_none_or(|address| address.ip().is_loopback()),
                "dev 模式只能监听本机地址（127.0.0.1）。要对外服务，请设置 mode = \"production\" 并运行 hexiao init"
            ),
            Mode::Production => self.check_production()?,
        }
        Ok(())
    }

    fn check_production(&self) -> anyhow::Result<()> {
        ensure!(
            self.simulator == Switch::Off,
            "production 模式不能启动微信模拟器：请设置 simulator = \"off\""
        );
        // A refund call takes up to 30 s, and it may be made on two hosts.
        ensure!(self.job_lease_s >= 60, "production 模式的 job_lease_s 不能小于 60");
        ensure!(self.rate_limits == Switch::On, "production 模式不能关闭限流：请去掉 rate_limits = \"off\"");
        ensure!(
            self.trusted_proxies.iter().all(|network| network.0.prefix_len() > 0),
            "production 模式的 trusted_proxies 不能是所有地址：那样每个人都能伪造自己的地址"
        );
        for (name, url) in
            [("wechat_pay_url", &self.wechat_pay_url), ("wechat_api_url", &self.wechat_api_url)]
        {
            let Some(url) = url else { continue };
            let host =
                url.strip_prefix("https://").map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
            let Some(host) = host else {
                bail!("production 模式的 {name} 必须是 https 地址，不能是模拟器")
            };
            ensure!(
                host == "weixin.qq.com" || host.ends_with(".weixin.qq.com"),
                "production 模式的 {name} 必须是微信的地址（*.weixin.qq.com），不能是模拟器"
            );
        }
        let public = self.public_url.as_deref().unwrap_or_default();
        ensure!(
            public.starts_with("https://"),
            "production 模式需要 public_url：微信回调用的 https 地址，如 https://mall.example.com"
        );
        ensure!(!public.contains('?'), "public_url 不能带参数");
        ensure!(self.mini_appid != Config::default().mini_appid, "production 模式需要您自己的 mini_appid");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn production() -> Config {
        Config {
            mode: Mode::Production,
            simulator: Switch::Off,
            public_url: Some("https://mall.example.com".into()),
            mini_appid: "wx1234567890abcdef".into(),
            listen: SocketAddr::from(([0, 0, 0, 0], 443)),
            ..Config::default()
        }
    }

    #[test]
    fn production_refuses_what_is_made_for_development() {
        production().check().unwrap();
        let refused = |change: fn(&mut Config)| {
            let mut config = production();
            change(&mut config);
            config.check().is_err()
        };
        assert!(refused(|c| c.simulator = Switch::On));
        assert!(refused(|c| c.rate_limits = Switch::Off));
        assert!(refused(|c| c.wechat_pay_url = Some("http://127.0.0.1:8090".into())));
        assert!(refused(|c| c.wechat_pay_url = Some("https://127.0.0.1:8090".into())));
        assert!(refused(|c| c.wechat_api_url = Some("https://evil.example.com/weixin.qq.com".into())));
        assert!(refused(|c| c.wechat_api_url = Some("https://evilweixin.qq.com".into())));
        assert!(refused(|c| c.trusted_proxies = vec![network("0.0.0.0/0")]));
        assert!(refused(|c| c.public_url = None));
        assert!(refused(|c| c.job_lease_s = 59));
        assert!(refused(|c| c.public_url = Some("http://mall.example.com".into())));
        assert!(refused(|c| c.mini_appid = Config::default().mini_appid));
    }

    fn network(text: &str) -> Network {
        Network::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn proxies_are_addresses_or_networks() {
        let figment = Figment::from(Serialized::defaults(Config::default()));
        assert_eq!(figment.extract::<Config>().unwrap().trusted_proxies, []);
        let read = |text: &str| {
            figment.clone().merge(Toml::string(text)).extract::<Config>().map_err(|e| e.to_string())
        };
        let some =
            read(r#"trusted_proxies = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::ffff:192.0.2.8"]"#);
        let some = some.unwrap().trusted_proxies;
        assert_eq!(some, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "192.0.2.8/32"].map(network));
        for bad in ["", "10.0.0.0/33", "proxy", "10.0.0"] {
            let error = read(&format!("trusted_proxies = [\"{bad}\"]")).unwrap_err();
            assert!(error.contains("网段"), "{error}");
        }
    }

    #[test]
    fn evidence_is_kept_as_long_as_the_law_asks() {
        assert!(Config { retention_attempts_days: 183, ..Config::default() }.check().is_err());
        assert!(Config { retention_audit_days: 1_095, ..Config::default() }.check().is_err());
        Config { retention_attempts_days: 400, retention_audit_days: 4_000, ..Config::default() }
            .check()
            .unwrap();
    }

    #[test]
    fn a_stop_waits_and_not_for_ever() {
        assert!(Config { drain_s: 0, ..Config::default() }.check().is_err());
        assert!(Config { drain_s: 301, ..Config::default() }.check().is_err());
        Config { drain_s: 300, ..Config::default() }.check().unwrap();
    }

    #[test]
    fn dev_listens_on_loopback_only() {
        Config::default().check().unwrap();
        let open = Config { listen: SocketAddr::from(([0, 0, 0, 0], 8080)), ..Config::default() };
        assert!(open.check().is_err());
        let metrics = Some(SocketAddr::from(([0, 0, 0, 0], 9091)));
        assert!(Config { metrics_listen: metrics, ..Config::default() }.check().is_err());
    }
}
