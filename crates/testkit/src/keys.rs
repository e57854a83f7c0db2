//! One set of keys for all tests of a machine: RSA keys take a second to make, and tests share no data by sharing them.

use std::fs;
use std::path::{Path, PathBuf};

use hexiao_server::config::Mode;
use hexiao_server::{secrets, simulator};

/// Copies the keys into a data folder.
pub(crate) fn copy_into(data: &Path) {
    let source = shared();
    copy(&source, &data.join("keys"));
}

fn shared() -> PathBuf {
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    let dir = std::env::temp_dir().join(format!("hexiao-test-keys-1-{user}"));
    fs::create_dir_all(&dir).unwrap();
    let lock = fs::File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let keys = dir.join("keys");
    secrets::ensure_generated(&keys, Mode::Dev).unwrap();
    simulator::ensure_keys(&keys).unwrap();
    keys
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
