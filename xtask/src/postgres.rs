//! A private PostgreSQL server in a temporary directory, on a free port of 127.0.0.1, gone when it is dropped.
//!
//! PostgreSQL refuses to run as root, so root starts it as `postgres` (or `nobody`); everybody else as
//! themselves. A small shell stands between this process and the server: it waits for its standard input to
//! close, which happens however this process ends (also by SIGKILL), then stops the server and removes the
//! directory. So there is one way to clean up, and it always runs.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::{run, signals, tools};

/// `$1` the folder with PostgreSQL's programs, `$2` the directory, the rest the server's arguments.
const KEEPER: &str = r#"
bin=$1; dir=$2; shift 2
( "$bin/postgres" "$@" >>"$dir/log" 2>&1 & echo $! >"$dir/pid"; wait $!; : >"$dir/ended" ) &
while read -r _; do :; done
kill -QUIT "$(cat "$dir/pid")" 2>/dev/null
wait
rm -rf "$dir"
"#;

/// Speed or durability.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// Tests: nothing needs to survive a power cut.
    Fast,
    /// Measurements: every commit reaches the disk.
    #[cfg_attr(not(feature = "bench"), expect(dead_code, reason = "only the bench measures durable commits"))]
    Durable,
}

impl Settings {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Fast => &[
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "wal_level=minimal",
                "max_wal_senders=0",
                "max_wal_size=4GB",
                "checkpoint_timeout=1h",
                "shared_buffers=128MB",
            ],
            Self::Durable => &[
                "fsync=on",
                "synchronous_commit=on",
                "full_page_writes=on",
                "max_wal_size=4GB",
                "shared_buffers=1GB",
            ],
        }
    }
}

/// A running server. Dropping it stops it and removes its directory.
pub struct PrivatePostgres {
    keeper: Child,
    #[cfg_attr(not(feature = "bench"), expect(dead_code, reason = "only the bench looks into it"))]
    dir: PathBuf,
    url: String,
    pub version: String,
}

impl PrivatePostgres {
    /// Installs PostgreSQL if needed, makes a cluster and starts it.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let bin = tools::ensure_postgres()?;
        let owner = Owner::find()?;
        let version = run::output(Command::new(bin.join("postgres")).arg("--version"))?;
        let mut log = String::new();
        // Somebody may take the port between our look and the server's start.
        for _ in 0..3 {
            let dir = make_directory(&owner)?;
            let port = free_port()?;
            let password = initialise(&bin, &dir, &owner).inspect_err(|_| {
                let _ = std::fs::remove_dir_all(&dir);
            })?;
            let server = Self {
                keeper: spawn_keeper(&bin, &dir, &owner, settings, port)?,
                dir: dir.clone(),
                url: format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres"),
                version: version.trim().to_owned(),
            };
            if is_ready_in_time(&bin, &dir, port)? {
                return Ok(server);
            }
            log = log_tail(&dir);
            if !log.contains("could not bind") {
                break;
            }
        }
        bail!("PostgreSQL did not start:\n{log}")
    }

    /// `postgres://…` of the maintenance database, as superuser.
    pub fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(feature = "bench")]
impl PrivatePostgres {
    /// The process that all others are children of.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let text = std::fs::read_to_string(self.dir.join("pid"))?;
        Ok(text.trim().parse()?)
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // The end of its input tells the keeper to stop the server and to tidy up.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Whom the server runs as.
enum Owner {
    Myself,
    Other { uid: u32, gid: u32 },
}

impl Owner {
    fn find() -> anyhow::Result<Self> {
        if !tools::is_root()? {
            return Ok(Self::Myself);
        }
        let id = |flag: &str, user: &str| -> Option<u32> {
            run::output(Command::new("id").args([flag, user])).ok()?.trim().parse().ok()
        };
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|user| Some(Self::Other { uid: id("-u", user)?, gid: id("-g", user)? }))
            .context(
                "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as",
            )
    }

    /// A program that runs as this owner, inside `dir`.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(dir).env("LC_ALL", "C");
        if let Self::Other { uid, gid } = *self {
            command.uid(uid).gid(gid);
        }
        command
    }
}

fn make_directory(owner: &Owner) -> anyhow::Result<PathBuf> {
    let dir = tempfile::Builder::new()
        .prefix("hexiao-pg-")
        .tempdir()
        .context("cannot make a temporary directory")?;
    // From here on the keeper removes it.
    let dir = dir.keep();
    std::fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
    if let Owner::Other { uid, gid } = *owner {
        chown(&dir, Some(uid), Some(gid))?;
    }
    Ok(dir)
}

/// Makes the cluster and returns its superuser's password.
fn initialise(bin: &Path, dir: &Path, owner: &Owner) -> anyhow::Result<String> {
    // A password, because any user of this machine can reach the port and a superuser can run programs.
    let password = random_hex()?;
    let password_file = dir.join("password");
    File::create(&password_file)?.write_all(password.as_bytes())?;
    if let Owner::Other { uid, gid } = *owner {
        chown(&password_file, Some(uid), Some(gid))?;
    }
    let mut initdb = owner.command(bin.join("initdb"), dir);
    initdb.arg("--pgdata").arg(dir.join("data")).arg("--pwfile").arg(&password_file);
    initdb.args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    run::output(&mut initdb).context("cannot make a PostgreSQL cluster")?;
    Ok(password)
}

fn spawn_keeper(
    bin: &Path,
    dir: &Path,
    owner: &Owner,
    settings: Settings,
    port: u16,
) -> anyhow::Result<Child> {
    let mut keeper = owner.command("sh", dir);
    keeper.args(["-c", KEEPER, "hexiao-pg-keeper"]).arg(bin).arg(dir).arg("-D").arg(dir.join("data"));
    keeper.args([
        "-p",
        &port.to_string(),
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "unix_socket_directories=",
    ]);
    keeper.args(["-c", "max_connections=400", "-c", "timezone=UTC", "-c", "log_min_messages=warning"]);
    for setting in settings.arguments() {
        keeper.args(["-c", setting]);
    }
    // Its own process group: a Ctrl-C in the terminal must not take the server away from running tests.
    keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    keeper.spawn().context("cannot start PostgreSQL's keeper")
}

/// Whether the server answers before the deadline and before it ends.
fn is_ready_in_time(bin: &Path, dir: &Path, port: u16) -> anyhow::Result<bool> {
    let deadline = Instant::now() + Duration::from_mins(1);
    let port = port.to_string();
    while !dir.join("ended").exists() && Instant::now() < deadline && !signals::interrupted() {
        let mut ready = Command::new(bin.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port]);
        if ready.status().context("cannot run pg_isready")?.success() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

fn log_tail(dir: &Path) -> String {
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// A port that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_server_answers_and_leaves_nothing_behind() {
        let server = PrivatePostgres::start(Settings::Fast).unwrap();
        let mut psql = Command::new(tools::ensure_postgres().unwrap().join("psql"));
        psql.arg(server.url()).args(["-Atc", "SHOW data_directory"]);
        let data = PathBuf::from(run::output(&mut psql).unwrap().trim());
        let dir = data.parent().unwrap().to_owned();
        assert!(dir.is_dir(), "{}", dir.display());
        drop(server);
        assert!(!dir.exists(), "{}", dir.display());
        run::output(&mut psql).unwrap_err();
    }
}
