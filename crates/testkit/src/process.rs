//! `hexiao serve` as a process of its own: to be killed, or to race with another one on the same database.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::app::test_database;
use crate::{keys, postgres};

/// A server process. Killed when dropped.
pub struct ServerProcess {
    /// Where it listens.
    pub url: String,
    child: Child,
}

/// A database for server processes: a file in a data folder, or a PostgreSQL database that is dropped with this.
pub struct TestDatabaseUrl {
    /// Its address.
    pub url: String,
    _postgres: Option<postgres::TestDatabase>,
}

impl TestDatabaseUrl {
    /// A file in the data folder.
    pub fn sqlite(data: &Path) -> Self {
        Self { url: format!("sqlite://{}/hexiao.db", data.display()), _postgres: None }
    }

    /// A PostgreSQL database.
    pub async fn postgres() -> Self {
        let database = test_database().await;
        Self { url: database.url.clone(), _postgres: Some(database) }
    }
}

/// The program under test: `HEXIAO_BIN`, or the one beside the test's own.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HEXIAO_BIN") {
        return path.into();
    }
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("hexiao");
    assert!(
        path.exists(),
        "{} is missing: run `cargo build -p hexiao-server` or set HEXIAO_BIN",
        path.display()
    );
    path
}

/// Makes a data folder ready for server processes: the keys that all tests share.
pub fn prepare_data(data: &Path) {
    keys::copy_into(data);
}

impl ServerProcess {
    /// Starts one and waits until it is ready. `wechat` is the simulator's address.
    pub async fn start(data: &Path, database_url: &str, wechat: &str, env: &[(&str, &str)]) -> Self {
        let port = free_port();
        Self::start_on(port, data, database_url, wechat, env).await
    }

    /// The same on a given port, so that WeChat's callbacks find it again after a restart.
    pub async fn start_on(
        port: u16,
        data: &Path,
        database_url: &str,
        wechat: &str,
        env: &[(&str, &str)],
    ) -> Self {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(data.join("server.log")).unwrap();
        let mut command = Command::new(binary());
        command
            .arg("serve")
            .args(["--data".as_ref(), data.as_os_str()])
            .args([
                "--database-url",
                database_url,
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--wechat-url",
                wechat,
            ])
            .env("HEXIAO_RATE_LIMITS", "off")
            .env("RUST_LOG", "info")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let child = command.spawn().unwrap();
        let mut process = Self { url: format!("http://127.0.0.1:{port}"), child };
        process.wait_ready(data).await;
        process
    }

    async fn wait_ready(&mut self, data: &Path) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let exited = self.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(data.join("server.log")).unwrap_or_default();
            assert!(exited.is_none(), "the server exited: {}", log());
            if client.get(format!("{}/readyz", self.url)).send().await.is_ok_and(|r| r.status().is_success())
            {
                return;
            }
            assert!(Instant::now() < deadline, "the server did not become ready: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub async fn terminate(&self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    }

    /// The exit code once it has ended by itself.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(Duration::from_mins(1), self.child.wait()).await;
        ended.expect("the server goes on").unwrap().code()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
