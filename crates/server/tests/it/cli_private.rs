//! What is nobody else's business: passwords that are typed, the data folder, the database, the keys.

use std::fs;
use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hexiao_server::simulator::DIRECT_MCHID;
use hexiao_testkit::{PASSWORD, binary};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::cli::{OWNER, Place};

const INIT: [&str; 9] =
    ["init", "--name", "老王火锅", "--owner-name", "老王", "--owner-phone", OWNER, "--mchid", DIRECT_MCHID];

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open_to_all(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What a terminal shows.
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[test]
fn a_password_typed_at_a_terminal_is_not_shown_and_must_be_a_good_one() {
    let place = Place::with_keys();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let line = fs::OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let echoes = || tcgetattr(&line).unwrap().local_modes.contains(LocalModes::ECHO);
    assert!(echoes());

    // The line becomes the terminal of the program, as in a shell's window.
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(binary()).args(INIT).current_dir(place.0.path());
    command
        .stdin(line.try_clone().unwrap())
        .stdout(line.try_clone().unwrap())
        .stderr(line.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let screen = Screen(Arc::default());
    let (mut output, mut input) = (fs::File::from(terminal.try_clone().unwrap()), fs::File::from(terminal));
    let shown = screen.0.clone();
    std::thread::spawn(move || {
        let mut some = [0; 4096];
        while let Ok(n @ 1..) = output.read(&mut some) {
            shown.lock().unwrap().extend_from_slice(&some[..n]);
        }
    });
    let mut type_after = |prompt: &str, times: usize, text: &str| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while screen.text().matches(prompt).count() < times || echoes() {
            assert!(Instant::now() < deadline, "no {prompt:?}, {times} times: {}", screen.text());
            std::thread::sleep(Duration::from_millis(5));
        }
        input.write_all(format!("{text}\n").as_bytes()).unwrap();
    };
    type_after("老板密码", 1, "onlyletters");
    type_after("老板密码", 2, PASSWORD);
    type_after("再输入一次", 1, "hexiao2027");
    type_after("老板密码", 3, PASSWORD);
    type_after("再输入一次", 2, PASSWORD);
    let code = child.wait().unwrap().code();
    let deadline = Instant::now() + Duration::from_secs(30);
    while code == Some(0) && !screen.text().contains("下一步") {
        assert!(Instant::now() < deadline, "{}", screen.text());
        std::thread::sleep(Duration::from_millis(5));
    }
    let text = screen.text();
    assert_eq!(code, Some(0), "{text}");
    for word in ["密码应同时包含字母和数字", "两次输入的不一样", "已创建"] {
        assert!(text.contains(word), "no {word} in: {text}");
    }
    for secret in ["onlyletters", PASSWORD, "hexiao2027"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(echoes(), "the terminal is as it was");
}

#[test]
fn a_piped_password_is_taken_and_a_weak_one_refused() {
    let place = Place::with_keys();
    place.call(&INIT).refused(&["老板密码", "标准输入"]);
    place.call_with_input(&INIT, "12345678\n").refused(&["字母和数字"]);
    place.init("short1", &[]).refused(&["8–72"]);
    place.call_with_input(&INIT, &format!("{PASSWORD}\n")).success();
    place.init(PASSWORD, &[]).refused(&["已经有商家了"]);
}

#[test]
fn what_init_makes_is_open_to_its_owner_only() {
    let place = Place::new();
    place.init(PASSWORD, &[]).success();
    let data = place.data();
    for folder in ["", "keys", "keys/wechat", "keys/wechat/main"] {
        assert_eq!(mode(data.join(folder)), 0o700, "{folder}");
    }
    for entry in fs::read_dir(&data).unwrap().chain(fs::read_dir(data.join("keys")).unwrap()) {
        let path = entry.unwrap().path();
        if path.is_file() {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

#[test]
fn what_is_open_to_others_is_closed_or_refused() {
    let place = Place::new();
    place.init(PASSWORD, &[]).success();
    let data = place.data();
    open_to_all(&data, 0o755);
    let files = ["keys/secrets.toml", "keys/wechat/main/merchant_key.pem", "hexiao.db"];
    fs::write(data.join(files[1]), "not read by this command").unwrap();
    for file in files {
        open_to_all(data.join(file), 0o644);
    }
    let reset = ["staff", "reset-password", "--phone", OWNER];
    let ended = place.call_with_input(&reset, &format!("{PASSWORD}\n"));
    for word in ["已改为 700", "已改为 600", "secrets.toml", "merchant_key.pem", "hexiao.db"] {
        assert!(
            ended.out.contains(word) || ended.err.contains(word),
            "no {word} in: {}{}",
            ended.out,
            ended.err
        );
    }
    ended.success();
    assert_eq!(mode(&data), 0o700);
    for file in files {
        assert_eq!(mode(data.join(file)), 0o600, "{file}");
    }

    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::write(place.data().join("照片.txt"), "").unwrap();
    open_to_all(place.data(), 0o755);
    place.init(PASSWORD, &[]).refused(&["chmod 700", "--data"]);
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 1, "nothing was written there");
}
