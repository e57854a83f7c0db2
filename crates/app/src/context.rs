//! What every use case stands on: the database, the clock, the keys and the way to WeChat.

use std::sync::Arc;

use hexiao_core::time::Timestamp;
use hexiao_db::Db;
use tokio::sync::{Notify, Semaphore};

use crate::auth::SessionCache;
use crate::batch::Queues;
use crate::clock::Clock;
use crate::keys::SharedKeys;
use crate::webhooks::Outgoing;
use crate::wechat::Wechat;

/// What an installation sets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where WeChat reaches us, without a path: `https://mall.example.com`.
    pub public_url: String,
    /// Whether a refused sign-in may name the simulator, and so on.
    pub dev: bool,
    /// How long a job stays with the worker that claimed it before another one may take it over.
    pub job_lease: chrono::Duration,
    /// How long what is kept for its time is kept.
    pub retention: Retention,
}

/// How long rows are kept that are evidence for a time only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days for refused attempts to redeem: at least [`Retention::ATTEMPTS_DAYS`].
    pub attempts_days: u32,
    /// Days for the audit log: at least [`Retention::AUDIT_DAYS`].
    pub audit_days: u32,
}

impl Retention {
    /// Six months.
    pub const ATTEMPTS_DAYS: u32 = 184;
    /// Three years.
    pub const AUDIT_DAYS: u32 = 1_096;
}

impl Default for Retention {
    fn default() -> Self {
        Self { attempts_days: Self::ATTEMPTS_DAYS, audit_days: Self::AUDIT_DAYS }
    }
}

/// The use cases' context. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The secrets.
    pub keys: SharedKeys,
    /// Clients of WeChat, by account.
    pub wechat: Arc<Wechat>,
    /// What the installation sets.
    pub settings: Arc<Settings>,
    /// Sessions seen within the last second.
    pub sessions: SessionCache,
    /// Wakes the worker when a use case enqueued something.
    pub wake: Arc<Notify>,
    /// Password hashing takes 20 ms of a core: never more than two at once.
    pub(crate) hashing: Arc<Semaphore>,
    /// What sending webhooks needs.
    pub(crate) outgoing: Arc<Outgoing>,
    /// What waits to be written together.
    pub(crate) queues: Arc<Queues>,
    /// Batches of one use case that are written at the same time.
    pub(crate) lanes: usize,
}

/// SQLite has one writer. PostgreSQL writes a second batch while the first one waits for the disk.
const LANES_OF_POSTGRES: usize = 2;

impl App {
    /// Puts the parts together.
    pub fn new(db: Db, clock: Arc<dyn Clock>, keys: SharedKeys, wechat: Wechat, settings: Settings) -> Self {
        let lanes = if db.has_one_writer() { 1 } else { LANES_OF_POSTGRES };
        Self {
            db,
            clock,
            keys,
            wechat: Arc::new(wechat),
            settings: Arc::new(settings),
            sessions: SessionCache::default(),
            wake: Arc::new(Notify::new()),
            hashing: Arc::new(Semaphore::new(2)),
            outgoing: Arc::default(),
            queues: Arc::default(),
            lanes,
        }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
