//! What the tests of processes share: ports that survive a restart, and waiting with a deadline.

use std::fs::File;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A port of our own until this is dropped. It lies below those that systems hand out by themselves, so that nobody
/// gets it while the server is being restarted.
pub struct Port {
    pub number: u16,
    _lock: File,
}

impl Port {
    /// Reserves one, among all tests of this machine.
    pub fn reserve() -> Self {
        Self::candidates().find_map(Self::take).expect("no free port")
    }

    /// Reserves two at a distance from each other.
    pub fn reserve_pair(distance: u16) -> (Self, Self) {
        let pair = |number| Some((Self::take(number)?, Self::take(number + distance)?));
        Self::candidates().find_map(pair).expect("no free ports")
    }

    fn candidates() -> impl Iterator<Item = u16> {
        let start = u16::try_from(std::process::id() % 15_000).unwrap();
        (0..15_000).map(move |n| 15_000 + (start + n) % 15_000)
    }

    fn take(number: u16) -> Option<Self> {
        let dir = std::env::temp_dir().join("hexiao-test-ports");
        std::fs::create_dir_all(&dir).unwrap();
        let lock = File::create(dir.join(number.to_string())).unwrap();
        let free = lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok();
        free.then_some(Self { number, _lock: lock })
    }
}

/// Waits for something that is to happen by itself.
pub async fn eventually(what: &str, limit: Duration, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many seeds a random test runs with: `HEXIAO_SEEDS`, or this.
pub fn seeds(default: u64) -> u64 {
    std::env::var("HEXIAO_SEEDS").ok().map_or(default, |text| text.parse().expect("HEXIAO_SEEDS is a number"))
}
