//! The program as it is called from a shell: what it prints, what it refuses, how it exits.

mod jobs;
mod metrics;
mod seed;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hexiao_core::id::StockId;
use hexiao_db::{Db, DbError, sql, transact};
use hexiao_server::demo::data::DEMO_PASSWORD;
use hexiao_server::simulator;
use hexiao_testkit::{Answer, Client, PASSWORD, ServerProcess, TestDatabaseUrl, binary, prepare_data};
use serde_json::json;

use crate::support::{Port, eventually};

pub(crate) const OWNER: &str = "13812345678";

/// What a call came to.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// It must have failed, in words that contain all of these.
    #[track_caller]
    pub(crate) fn refused(self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

/// A folder to call the program in.
pub(crate) struct Place(pub(crate) tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With keys, which take a second to make.
    pub(crate) fn with_keys() -> Self {
        let place = Self::new();
        prepare_data(&place.data());
        place
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub(crate) fn database_url(&self) -> String {
        format!("sqlite://{}", self.data().join("hexiao.db").display())
    }

    pub(crate) fn configure(&self, toml: &str) {
        std::fs::write(self.0.path().join("hexiao.toml"), toml).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.0.path()).args(args).stdin(Stdio::null());
        command.env_remove("HEXIAO_DATABASE_URL").env("RUST_LOG", "warn");
        command
    }

    pub(crate) fn call(&self, args: &[&str]) -> Ended {
        ended(self.command(args))
    }

    pub(crate) fn call_with_input(&self, args: &[&str], input: &str) -> Ended {
        let file = self.0.path().join("input");
        std::fs::write(&file, input).unwrap();
        let mut command = self.command(args);
        command.stdin(std::fs::File::open(file).unwrap());
        ended(command)
    }

    /// `hexiao init` with everything that it would ask for.
    pub(crate) fn init(&self, secret: &str, more: &[&str]) -> Ended {
        let password = self.0.path().join("password");
        std::fs::write(&password, secret).unwrap();
        let mut command =
            self.command(&["init", "--name", "老王火锅", "--owner-name", "老王", "--owner-phone", OWNER]);
        command
            .args(["--mchid", simulator::DIRECT_MCHID])
            .arg("--owner-password-file")
            .arg(password)
            .args(more);
        ended(command)
    }

    async fn execute(&self, text: &'static str) {
        let db = Db::connect(&self.database_url(), 2).await.unwrap();
        let done: Result<(), DbError> =
            transact!(db, |tx| sql::execute_exactly(&tx, 1, "the row", text, vec![]));
        done.unwrap();
        db.close().await;
    }
}

fn ended(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A configuration that production accepts, but for one line.
pub(crate) fn production(line: &str) -> String {
    let mut lines = vec![
        "mode = \"production\"",
        "listen = \"127.0.0.1:0\"",
        "public_url = \"https://mall.example.com\"",
        "mini_appid = \"wx1234567890abcdef\"",
        "mini_secret = \"secret\"",
        "simulator = \"off\"",
    ];
    let key = line.split(' ').next().unwrap();
    lines.retain(|l| l.split(' ').next() != Some(key));
    lines.push(line);
    lines.join("\n")
}

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    let commands: [&[&str]; 14] = [
        &[],
        &["init"],
        &["serve"],
        &["migrate"],
        &["demo"],
        &["verify"],
        &["staff"],
        &["staff", "reset-password"],
        &["jobs"],
        &["jobs", "list"],
        &["jobs", "retry"],
        &["walk"],
        &["openapi"],
        &["errors"],
    ];
    for command in commands {
        let out = place.call(&[command, &["--help"]].concat()).success();
        let usage = format!("Usage: hexiao {}", command.join(" "));
        assert!(out.contains(usage.trim_end()), "{out}");
        assert!(out.contains("--config"), "{out}");
        let examples = out.split_once("例子：").or_else(|| out.split_once("Examples:"));
        assert!(examples.is_some_and(|(_, lines)| lines.contains("hexiao ")), "no example: {out}");
    }
    let help = place.call(&["serve", "--help"]).success();
    let Ok(serde_json::Value::Object(keys)) = serde_json::to_value(hexiao_server::config::Config::default())
    else {
        unreachable!()
    };
    for key in keys.keys() {
        assert!(help.contains(key), "`serve --help` does not name {key}");
    }
    let nothing = place.call(&[]);
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.err.contains("Usage"), "{}", nothing.err);
}

#[test]
fn a_misspelt_key_is_refused_in_the_file_and_in_the_environment() {
    let place = Place::new();
    let mut command = place.command(&["verify"]);
    command.env("HEXIAO_LISTN", "127.0.0.1:1");
    ended(command).refused(&["LISTN"]);
    place.configure("listn = \"127.0.0.1:1\"");
    place.call(&["verify"]).refused(&["listn"]);
    place.call(&["--config", "missing.toml", "verify"]).refused(&["missing.toml"]);
}

#[test]
fn production_refuses_the_simulator_and_everything_else_of_development() {
    let place = Place::new();
    for (line, word) in [
        ("wechat_pay_url = \"http://127.0.0.1:8090\"", "wechat_pay_url"),
        ("wechat_api_url = \"https://127.0.0.1:8090\"", "wechat_api_url"),
        ("simulator = \"on\"", "simulator"),
        ("rate_limits = \"off\"", "rate_limits"),
        ("public_url = \"http://mall.example.com\"", "public_url"),
        ("mini_appid = \"wxdemo0000000001\"", "mini_appid"),
        ("job_lease_s = 10", "job_lease_s"),
    ] {
        place.configure(&production(line));
        place.call(&["serve"]).refused(&["production", word]);
    }
    place.configure(&production("log_format = \"text\""));
    place.call(&["serve", "--wechat-url", "http://127.0.0.1:8090"]).refused(&["wechat_pay_url"]);
    place.call(&["demo", "--load-only"]).refused(&["dev"]);
    assert!(!place.data().join("keys").exists(), "a refused start leaves no keys");
}

#[test]
fn production_refuses_keys_that_were_made_for_development() {
    let place = Place::with_keys();
    place.call(&["migrate"]).success();
    place.configure(&production("log_format = \"text\""));
    place.call(&["serve"]).refused(&["开发用的密钥", "hexiao init --production"]);
}

#[test]
fn development_serves_this_machine_only() {
    let place = Place::new();
    place.call(&["serve", "--listen", "0.0.0.0:0"]).refused(&["dev", "127.0.0.1"]);
    place.call(&["serve", "--listen", "[::]:0"]).refused(&["dev", "127.0.0.1"]);
}

#[tokio::test]
async fn production_refuses_a_schema_that_it_does_not_know() {
    let place = Place::new();
    place.configure(&production("log_format = \"text\""));
    place.call(&["serve"]).refused(&["older", "hexiao migrate"]);
    place.call(&["verify"]).refused(&["older"]);
    place.call(&["migrate"]).success();
    place.call(&["migrate"]).success();
    place
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', TRUE, x'00', 0)",
        )
        .await;
    place.call(&["serve"]).refused(&["newer"]);
    place.call(&["migrate"]).refused(&["9999"]);
}

#[test]
fn init_makes_a_real_merchant_once_and_says_what_is_next() {
    let place = Place::new();
    place.call(&["init", "--name", "老王火锅"]).refused(&["老板姓名", "--help"]);
    let out = place.init(PASSWORD, &[]).success();
    for word in ["老王火锅", "mch_", "merchant_key.pem", "下一步", "hexiao serve"] {
        assert!(out.contains(word), "no {word} in: {out}");
    }
    place.init(PASSWORD, &[]).refused(&["已经有商家了"]);
    let out = place.call(&["verify"]).success();
    assert!(out.contains("数据完整"), "{out}");

    let place = Place::new();
    place.configure(&production("log_format = \"text\""));
    place.init(DEMO_PASSWORD, &["--production"]).refused(&["演示密码"]);
    let out = place.init("gh7-Kx2pQ", &["--production"]).success();
    assert!(out.contains("mini_secret.txt"), "{out}");
    let written = std::fs::read_to_string(place.data().join("keys/secrets.toml")).unwrap();
    assert!(written.contains("origin = \"production\""));
}

#[test]
fn production_does_not_start_without_the_keys_of_a_pay_account() {
    let place = Place::with_keys();
    let samples = place.0.path().join("samples");
    let demo = place.data().join("keys/wechat").join(simulator::DIRECT_REF);
    std::fs::rename(demo, &samples).unwrap();
    std::fs::remove_dir_all(place.data()).unwrap();
    place.configure(&production("log_format = \"text\""));
    place.init("gh7-Kx2pQ", &["--production"]).success();
    let words =
        ["pac_", simulator::DIRECT_MCHID, "merchant_key.pem", "merchant_serial.txt", "api_v3_key.txt"];
    place.call(&["serve"]).refused(&words);
    place.call(&["serve", "--check"]).refused(&words);

    let folder = place.data().join("keys/wechat/main");
    let put = |name: &str| std::fs::copy(samples.join(name), folder.join(name)).map(|_| ()).unwrap();
    put("merchant_key.pem");
    put("merchant_serial.txt");
    place.call(&["serve"]).refused(&["pac_", "keys/wechat/main/api_v3_key.txt"]);
    std::fs::write(folder.join("api_v3_key.txt"), "too short").unwrap();
    place.call(&["serve"]).refused(&["pac_", "keys/wechat/main/api_v3_key.txt", "32"]);
    put("api_v3_key.txt");
    put("platform_public_key.pem");
    place.call(&["serve"]).refused(&["pac_", "keys/wechat/main/platform_public_key_id.txt"]);
    put("platform_public_key_id.txt");
    let out = place.call(&["serve", "--check"]).success();
    assert!(out.contains("可以启动"), "{out}");
}

#[test]
fn documents_are_those_of_this_program() {
    let place = Place::new();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let committed = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
    // Not `assert_eq!`, which would print both.
    assert!(place.call(&["openapi"]).success() == committed("openapi.json"), "run `cargo xtask openapi`");
    assert!(place.call(&["errors"]).success() == committed("ERRORS.md"), "run `cargo xtask errors`");
}

#[tokio::test]
async fn the_demo_is_loaded_once_and_verify_names_a_broken_row() {
    let place = Place::with_keys();
    let out = place.call(&["demo", "--load-only"]).success();
    assert!(out.contains("演示数据已载入"), "{out}");
    let out = place.call(&["demo", "--load-only"]).success();
    assert!(out.contains("沿用已有的数据"), "{out}");
    let db = Db::connect(&place.database_url(), 2).await.unwrap();
    let count = async |text: &str| {
        sql::row(db.reader(), text, vec![]).await.unwrap().unwrap().get::<i64>("n").unwrap()
    };
    assert_eq!(count("SELECT COUNT(*) AS n FROM merchants").await, 1);
    assert_eq!(count("SELECT COUNT(*) AS n FROM stores").await, 100);
    let first = "SELECT id FROM stocks ORDER BY id LIMIT 1";
    let stock: StockId = sql::row(db.reader(), first, vec![]).await.unwrap().unwrap().get("id").unwrap();
    db.close().await;

    let out = place.call(&["verify"]).success();
    assert!(out.contains("数据完整"), "{out}");
    place
        .execute(
            "UPDATE stocks SET on_hand = on_hand + 1 WHERE id = (SELECT id FROM stocks ORDER BY id LIMIT 1)",
        )
        .await;
    let broken = place.call(&["verify"]);
    assert!(broken.out.contains('✗') && broken.out.contains(&stock.to_string()), "{}", broken.out);
    broken.refused(&["第一处", "stocks", &stock.to_string()]);
}

#[tokio::test]
async fn a_password_is_reset_from_the_command_line() {
    let place = Place::with_keys();
    place.init(PASSWORD, &[]).success();
    let url = place.database_url();
    let server = ServerProcess::start(&place.data(), &url, "http://127.0.0.1:9", &[]).await;
    let nobody = Client::anonymous(&server.url);
    let sign_in = async |password: &str| -> Answer {
        nobody.post("/api/v1/auth/staff", json!({"phone": OWNER, "password": password})).await
    };
    let mut before = nobody.clone();
    let session = sign_in(PASSWORD).await.expect(201);
    before.token = session["access_token"].as_str().map(str::to_owned);
    before.get("/api/v1/auth/me").await.expect(200);

    let reset = ["staff", "reset-password", "--phone", OWNER];
    place.call_with_input(&reset, "short\n").refused(&["错误"]);
    place
        .call_with_input(&["staff", "reset-password", "--phone", "13900000000"], "newPassw0rd\n")
        .refused(&["没有"]);
    let out = place.call_with_input(&reset, "newPassw0rd\n").success();
    assert!(out.contains("138****5678"), "{out}");

    assert_eq!(sign_in(PASSWORD).await.status, 401);
    sign_in("newPassw0rd").await.expect(201);
    eventually("the old session ends", Duration::from_secs(10), async || {
        before.get("/api/v1/auth/me").await.status == 401
    })
    .await;
}

/// A demo server, interrupted when the test fails.
struct Demo(Option<Child>);

impl Demo {
    /// Ctrl-C; it must end well.
    fn interrupt(mut self) {
        let mut child = self.0.take().unwrap();
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn walks(database_url: Option<&str>) {
    let place = Place::with_keys();
    let (port, simulator) = Port::reserve_pair(10);
    let with_database = |args: &[&str]| {
        let mut command = place.command(args);
        command.envs(database_url.map(|url| ("HEXIAO_DATABASE_URL", url)));
        command
    };
    let mut command = with_database(&["demo", "--port", &port.number.to_string()]);
    let mut demo = Demo(Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()));
    let server = format!("http://127.0.0.1:{}", port.number);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    eventually("the demo is ready", Duration::from_secs(90), async || {
        assert!(demo.0.as_mut().unwrap().try_wait().unwrap().is_none(), "the demo ended");
        http.get(format!("{server}/readyz")).send().await.is_ok_and(|r| r.status().is_success())
    })
    .await;
    let simulator = format!("http://127.0.0.1:{}", simulator.number);
    let walk = ["walk", "--server", &server, "--simulator", &simulator];
    let walked = |args: Vec<String>| {
        let command = with_database(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || ended(command))
    };
    for _ in 0..2 {
        let out = walked(walk.map(str::to_owned).to_vec()).await.unwrap().success();
        assert!(out.contains("顾客") && out.contains("退款"), "{out}");
    }
    ended(with_database(&["verify"])).success();
    let wrong = [&walk[..], &["--staff-password", "wrong-one-1"]].concat();
    let wrong = walked(wrong.into_iter().map(str::to_owned).collect()).await.unwrap();
    assert_eq!(wrong.code, Some(1), "{}", wrong.out);
    demo.interrupt();
}

#[tokio::test]
async fn the_walk_succeeds_on_sqlite() {
    walks(None).await;
}

#[tokio::test]
async fn the_walk_succeeds_on_postgres() {
    let database = TestDatabaseUrl::postgres().await;
    walks(Some(&database.url)).await;
}
