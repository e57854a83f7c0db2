//! Files that are nobody else's business: the data folder, the database in it, the keys.
//!
//! Promise: what we make is open to its owner only, and what we find open to others is closed, with a word in the log,
//! or the start is refused with what to do.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context, bail};

/// Group and others.
const OTHERS: u32 = 0o077;

/// Creates a folder that only its owner may enter.
pub fn create_dir(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("不能创建目录 {}", dir.display()))
}

/// Makes the data folder, or closes an open one. One that holds something else than ours may be open on purpose
/// (somebody's home, the folder for temporary files): whether to close it is not ours to decide.
pub fn data_dir(dir: &Path) -> anyhow::Result<()> {
    create_dir(dir)?;
    if !is_open(dir)? || is_ours(dir)? {
        return close(dir);
    }
    bail!(
        "数据目录 {dir} 可以被其他用户访问，里面还有别的文件：请用 --data 换一个专用的目录；确定要用它，请先运行 chmod 700 {dir}",
        dir = dir.display()
    )
}

fn is_ours(dir: &Path) -> anyhow::Result<bool> {
    if dir.join("keys").exists() || dir.join("hexiao.db").exists() {
        return Ok(true);
    }
    let mut entries = fs::read_dir(dir).with_context(|| format!("不能读取目录 {}", dir.display()))?;
    Ok(entries.next().is_none())
}

fn mode(path: &Path) -> anyhow::Result<u32> {
    let found = fs::metadata(path).with_context(|| format!("不能读取 {} 的权限", path.display()))?;
    Ok(found.permissions().mode() & 0o777)
}

fn is_open(path: &Path) -> anyhow::Result<bool> {
    Ok(mode(path)? & OTHERS != 0)
}

/// Takes the rights of all others from a file or folder, and says so.
fn close(path: &Path) -> anyhow::Result<()> {
    let before = mode(path)?;
    if before & OTHERS == 0 {
        return Ok(());
    }
    let after = before & !OTHERS;
    let shown = path.display();
    fs::set_permissions(path, fs::Permissions::from_mode(after))
        .with_context(|| format!("{shown} 可以被其他用户访问，且不能收紧：请运行 chmod {after:o} {shown}"))?;
    tracing::warn!("{shown} 原来可以被其他用户访问（权限 {before:o}），已改为 {after:o}");
    Ok(())
}

/// Closes a folder with everything in it.
pub fn close_tree(dir: &Path) -> anyhow::Result<()> {
    close(dir)?;
    let entries = fs::read_dir(dir).with_context(|| format!("不能读取目录 {}", dir.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("不能读取目录 {}", dir.display()))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            close_tree(&entry.path())?;
        } else {
            close(&entry.path())?;
        }
    }
    Ok(())
}

/// Closes a SQLite database and its log files. They come and go: what is not there is fine.
pub fn close_database(url: &str) -> anyhow::Result<()> {
    let Some(path) = url.strip_prefix("sqlite://") else { return Ok(()) };
    for path in ["", "-wal", "-shm"].map(|tail| format!("{path}{tail}")) {
        if Path::new(&path).exists() {
            close(Path::new(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new() -> Self {
            let dir = std::env::temp_dir().join(format!("hexiao-private-{}", uuid::Uuid::now_v7()));
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }

        fn with(&self, name: &str, mode: u32) -> std::path::PathBuf {
            let path = self.0.join(name);
            if name.ends_with('/') {
                fs::create_dir(&path).unwrap();
            } else {
                fs::write(&path, "x").unwrap();
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_data_folder_is_made_closed_or_refused() {
        let scratch = Scratch::new();
        let made = scratch.0.join("made/data");
        data_dir(&made).unwrap();
        assert_eq!(mode(&made).unwrap(), 0o700);
        let empty = scratch.with("empty/", 0o755);
        data_dir(&empty).unwrap();
        assert_eq!(mode(&empty).unwrap(), 0o700);
        let ours = scratch.with("ours/", 0o775);
        scratch.with("ours/hexiao.db", 0o600);
        scratch.with("ours/notes.txt", 0o644);
        data_dir(&ours).unwrap();
        assert_eq!(mode(&ours).unwrap(), 0o700);
        let theirs = scratch.with("theirs/", 0o755);
        scratch.with("theirs/notes.txt", 0o644);
        let refused = data_dir(&theirs).unwrap_err().to_string();
        assert!(refused.contains("chmod 700") && refused.contains("--data"), "{refused}");
        assert_eq!(mode(&theirs).unwrap(), 0o755, "left as it was");
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o700)).unwrap();
        data_dir(&theirs).unwrap();
    }

    #[test]
    fn keys_and_databases_are_closed() {
        let scratch = Scratch::new();
        let folder = scratch.with("wechat/", 0o755);
        let key = scratch.with("wechat/merchant_key.pem", 0o644);
        let read_only = scratch.with("secrets.toml", 0o440);
        let wal = scratch.with("x.db-wal", 0o664);
        close_tree(&scratch.0).unwrap();
        assert_eq!((mode(&folder).unwrap(), mode(&key).unwrap()), (0o700, 0o600));
        assert_eq!(mode(&read_only).unwrap(), 0o400);
        fs::set_permissions(&wal, fs::Permissions::from_mode(0o664)).unwrap();
        close_database(&format!("sqlite://{}", scratch.0.join("x.db").display())).unwrap();
        assert_eq!(mode(&wal).unwrap(), 0o600);
        close_database("postgres://nobody@127.0.0.1/x").unwrap();
    }
}
