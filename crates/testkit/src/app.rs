//! The server in the test's own process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hexiao_app::App;
use hexiao_app::clock::{Clock as _, ShiftedClock, SystemClock};
use hexiao_app::merchant::{NewMerchant, NewOwner, NewPayAccount};
use hexiao_app::wechat::Account;
use hexiao_core::catalog::Role;
use hexiao_core::id::StoreId;
use hexiao_core::text::MobilePhone;
use hexiao_db::{Db, migrate};
use hexiao_server::config::{Config, Switch};
use hexiao_server::{compose, init, serve, simulator};
use hexiao_wechat_sim::SimHandle;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Client};
use crate::{keys, postgres};

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file of its own.
    Sqlite,
    /// A database of its own in the run's server.
    Postgres,
}

/// The password of every account of tests.
pub const PASSWORD: &str = "hexiao2026";

/// A running server with its own database and simulator, and a merchant with an owner.
pub struct TestApp {
    /// The use cases.
    pub app: App,
    /// Moves the server's time; [`TestApp::advance`] moves the simulator's with it.
    pub clock: Arc<ShiftedClock>,
    /// WeChat.
    pub sim: SimHandle,
    /// Where the API listens.
    pub url: String,
    /// Which database.
    pub backend: Backend,
    /// Where the database is.
    pub database_url: String,
    /// The configuration it was composed from.
    pub config: Config,
    owner: Client,
    next_phone: AtomicU32,
    stop: CancellationToken,
    dir: tempfile::TempDir,
    // Dropped last: the server must be gone before its database is.
    _database: Option<postgres::TestDatabase>,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TestApp {
    /// Starts one.
    pub async fn start(backend: Backend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        keys::copy_into(dir.path());
        let (database_url, database) = match backend {
            Backend::Sqlite => (format!("sqlite://{}/hexiao.db", dir.path().display()), None),
            Backend::Postgres => {
                let database = test_database().await;
                (database.url.clone(), Some(database))
            }
        };
        let config = Config {
            data: dir.path().to_owned(),
            database_url: Some(database_url.clone()),
            rate_limits: Switch::Off,
            ..Config::default()
        };
        let mut sim_config = simulator::config(&config.keys_dir(), &config.mini_appid).unwrap();
        sim_config.notify_speed = 100.0;
        sim_config.notify_delay = Duration::from_millis(5);
        sim_config.refund_delay = Duration::from_millis(20);
        let sim = hexiao_wechat_sim::start(sim_config).await.unwrap();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let db = Db::connect(&database_url, 12).await.unwrap();
        migrate::migrate(&db).await.unwrap();
        let clock = Arc::new(ShiftedClock::default());
        let urls = (sim.url(), sim.url());
        let app = compose::app_with_clock(&config, db, urls, url.clone(), clock.clone()).await.unwrap();
        let (stop, _tasks) = serve::run(app.clone(), listener, serve::http_settings(&config)).unwrap();
        let owner = merchant(&app, &url, "老王火锅", "13800000001", direct(&config)).await;
        Self {
            app,
            clock,
            sim,
            url,
            backend,
            database_url,
            config,
            owner,
            next_phone: AtomicU32::new(0),
            stop,
            dir,
            _database: database,
        }
    }

    /// The data folder.
    pub fn data(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The owner of the first merchant.
    #[expect(clippy::unused_async, reason = "reads like its siblings, which do sign in")]
    pub async fn owner(&self) -> Client {
        self.owner.clone()
    }

    /// The owner of another merchant, which is below a service provider.
    pub async fn other_owner(&self) -> Client {
        let account = Account::Partner {
            sp_appid: self.config.mini_appid.clone(),
            sp_mchid: simulator::PARTNER_MCHID.to_owned(),
            sub_appid: None,
            sub_mchid: simulator::SUB_MCHID.to_owned(),
        };
        let account = NewPayAccount { account, key_ref: simulator::PARTNER_REF.to_owned() };
        merchant(&self.app, &self.url, "别家烘焙", "13800000002", account).await
    }

    /// Somebody who is not signed in.
    pub fn anonymous(&self) -> Client {
        Client::anonymous(&self.url)
    }

    /// A verifier of stores.
    pub async fn verifier(&self, stores: &[StoreId]) -> Client {
        self.staff(Role::Verifier, stores).await
    }

    /// A manager of stores.
    pub async fn manager(&self, stores: &[StoreId]) -> Client {
        self.staff(Role::StoreManager, stores).await
    }

    /// A new member of staff.
    pub async fn staff(&self, role: Role, stores: &[StoreId]) -> Client {
        let phone = format!("139{:08}", self.next_phone.fetch_add(1, Ordering::SeqCst));
        let body =
            json!({"name": "员工", "phone": phone, "password": PASSWORD, "role": role, "store_ids": stores});
        self.owner.post("/api/v1/merchant/staff", body).await.expect(201);
        self.sign_in(&phone, PASSWORD).await.unwrap()
    }

    /// Signs a member of staff in.
    pub async fn sign_in(&self, phone: &str, password: &str) -> Result<Client, Answer> {
        sign_in(&self.url, phone, password).await
    }

    /// Signs a customer in; the same name is the same customer.
    pub async fn customer(&self, name: &str) -> Client {
        let client = self.anonymous();
        let body =
            client.post("/api/v1/auth/customer", json!({"code": format!("sim-{name}")})).await.expect(201);
        let id = body["customer"]["id"].as_str().unwrap().to_owned();
        Client { token: Some(body["access_token"].as_str().unwrap().to_owned()), id, ..client }
    }

    /// The use cases on the same database as another process has them whose clock is ahead: without a worker, so that
    /// a test says what happens when.
    pub async fn ahead(&self, by: Duration) -> App {
        let clock = Arc::new(ShiftedClock::default());
        let ours = self.app.now().since(SystemClock.now());
        clock.shift(ours + chrono::Duration::from_std(by).unwrap());
        let urls = (self.sim.url(), self.sim.url());
        compose::app_with_clock(&self.config, self.app.db.clone(), urls, self.url.clone(), clock)
            .await
            .unwrap()
    }

    /// Moves the server's clock and the simulator's.
    pub fn advance(&self, by: Duration) {
        self.sim.advance_clock(by).unwrap();
        self.clock.shift(chrono::Duration::from_std(by).unwrap());
        self.app.wake.notify_one();
    }

    /// Stops the test unless every invariant of the data holds.
    pub async fn verify(&self) {
        verify(&self.app.db).await;
    }
}

/// Stops the test unless every invariant of a database holds.
pub async fn verify(db: &Db) {
    let report = hexiao_db::verify::verify(db, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.first_broken());
}

/// Waits for something with a deadline; never sleeps for luck.
pub async fn wait_until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done().await {
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn test_database() -> postgres::TestDatabase {
    postgres::create_database(&migrate::fingerprint(), async |url| {
        let db = Db::connect(url, 4).await?;
        migrate::migrate(&db).await?;
        db.close().await;
        Ok(())
    })
    .await
    .unwrap()
}

fn direct(config: &Config) -> NewPayAccount {
    let account =
        Account::Direct { appid: config.mini_appid.clone(), mchid: simulator::DIRECT_MCHID.to_owned() };
    NewPayAccount { account, key_ref: simulator::DIRECT_REF.to_owned() }
}

async fn merchant(app: &App, url: &str, name: &str, phone: &str, pay_account: NewPayAccount) -> Client {
    let new = NewMerchant {
        name: name.to_owned(),
        zone: chrono_tz::Asia::Shanghai,
        owner: NewOwner {
            name: "老板".to_owned(),
            phone: MobilePhone::parse(phone).unwrap(),
            password: PASSWORD.to_owned(),
        },
        pay_account,
        agreements: init::agreements(name),
    };
    app.create_merchant(new).await.unwrap();
    sign_in(url, phone, PASSWORD).await.unwrap()
}

async fn sign_in(url: &str, phone: &str, password: &str) -> Result<Client, Answer> {
    let client = Client::anonymous(url);
    let answer = client.post("/api/v1/auth/staff", json!({"phone": phone, "password": password})).await;
    if answer.status != 201 {
        return Err(answer);
    }
    let id = answer.body["staff"]["id"].as_str().unwrap().to_owned();
    Ok(Client { token: Some(answer.body["access_token"].as_str().unwrap().to_owned()), id, ..client })
}
