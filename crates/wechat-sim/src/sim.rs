//! The simulator behind its listener: shared state, and the control operations as plain methods.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::signature::ParsedPublicKey;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::SimClock,
    config::{SimConfig, SimMerchant, SimMiniProgram, SubMerchant},
    control_forge::{self, Forgery},
    crypto::public_key,
    delivery,
    error::SimError,
    faults::{Fault, Faults},
    journal::Mutation,
    miniprogram,
    model::{Delivery, NotificationRecord, NotifyKey, Refund, RefundOutcome, Transaction},
    payment::{self, PayArgs, PayReceipt},
    platform::PlatformKeys,
    refunds,
    state::Store,
    worker,
};

/// WeChat waits this long for the answer to a notification.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(5);

/// A merchant with its key ready.
#[derive(Debug)]
pub(crate) struct Merchant {
    pub(crate) config: SimMerchant,
    pub(crate) key: ParsedPublicKey,
}

impl Merchant {
    pub(crate) fn is_provider(&self) -> bool {
        !self.config.subs.is_empty()
    }

    pub(crate) fn sub(&self, mchid: &str) -> Option<&SubMerchant> {
        self.config.subs.iter().find(|sub| sub.mchid == mchid)
    }
}

#[derive(Debug)]
struct Inner {
    platform: PlatformKeys,
    merchants: HashMap<String, Merchant>,
    programs: HashMap<String, SimMiniProgram>,
    notify_speed: f64,
    notify_delay: TimeDelta,
    refund_delay_ms: AtomicI64,
    refund_interval: TimeDelta,
    clock: SimClock,
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    held: worker::Held,
    /// Notifications already late or held once, so that the rule does not strike them again.
    put_off: Mutex<HashSet<u64>>,
    /// Counts sendings, so that mixed keys alternate.
    turns: AtomicU64,
    wake: Notify,
    stop: CancellationToken,
    http: reqwest::Client,
}

/// A running simulator. Cheap to clone; all clones are the same simulator.
#[derive(Clone, Debug)]
pub struct Sim {
    inner: Arc<Inner>,
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX / 4)
}

impl Sim {
    pub(crate) fn open(config: SimConfig) -> Result<Self, SimError> {
        if !config.notify_speed.is_finite() || config.notify_speed <= 0.0 {
            return Err(SimError::Config("notify_speed must be above zero".into()));
        }
        let mut merchants = HashMap::new();
        for merchant in config.merchants {
            if merchant.api_v3_key.len() != 32 {
                return Err(SimError::Config(format!("APIv3 key of {}: not 32 bytes", merchant.mchid)));
            }
            let key = public_key(&merchant.public_key_pem)?;
            let mchid = merchant.mchid.clone();
            if merchants.insert(mchid.clone(), Merchant { config: merchant, key }).is_some() {
                return Err(SimError::Config(format!("merchant {mchid} twice")));
            }
        }
        let store = Store::open(config.state_file.as_deref())?;
        let clock = SimClock::default();
        clock.set_offset_ms(store.clock_offset_ms);
        // A redirect or a proxy would take a notification elsewhere; WeChat follows none.
        let http = reqwest::Client::builder()
            .timeout(NOTIFY_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| SimError::Config(format!("HTTP client: {e}")))?;
        Ok(Self {
            inner: Arc::new(Inner {
                platform: config.platform,
                merchants,
                programs: config.mini_programs.into_iter().map(|p| (p.appid.clone(), p)).collect(),
                notify_speed: config.notify_speed,
                notify_delay: delta(config.notify_delay),
                refund_delay_ms: AtomicI64::new(delta(config.refund_delay).num_milliseconds()),
                refund_interval: delta(config.refund_interval),
                clock,
                store: Mutex::new(store),
                faults: Mutex::default(),
                held: worker::Held::default(),
                put_off: Mutex::default(),
                turns: AtomicU64::default(),
                wake: Notify::new(),
                stop: CancellationToken::new(),
                http,
            }),
        })
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.inner.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn held(&self) -> &worker::Held {
        &self.inner.held
    }

    fn put_off(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.inner.put_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_put_off(&self, sequence: u64) -> bool {
        self.put_off().contains(&sequence)
    }

    pub(crate) fn mark_put_off(&self, sequence: u64) {
        self.put_off().insert(sequence);
    }

    pub(crate) fn forget_put_off(&self, sequence: u64) {
        self.put_off().remove(&sequence);
    }

    pub(crate) fn next_turn(&self) -> u64 {
        self.inner.turns.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn platform(&self) -> &PlatformKeys {
        &self.inner.platform
    }

    pub(crate) fn merchant(&self, mchid: &str) -> Option<&Merchant> {
        self.inner.merchants.get(mchid)
    }

    pub(crate) fn program(&self, appid: &str) -> Option<&SimMiniProgram> {
        self.inner.programs.get(appid)
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.inner.http
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.inner.stop
    }

    /// Tells the worker that something may be due.
    pub(crate) fn wake(&self) {
        self.inner.wake.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.inner.wake.notified().await;
    }

    pub(crate) fn notify_speed(&self) -> f64 {
        self.inner.notify_speed
    }

    pub(crate) fn notify_delay(&self) -> TimeDelta {
        self.inner.notify_delay
    }

    pub(crate) fn refund_delay(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.inner.refund_delay_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn refund_interval(&self) -> TimeDelta {
        self.inner.refund_interval
    }

    /// The simulator's time.
    pub fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    /// Moves the clock forward. Whatever falls due, happens.
    pub fn advance_clock(&self, by: Duration) -> Result<DateTime<Utc>, SimError> {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.set_clock_offset(self.inner.clock.offset_ms().saturating_add(by_ms))
    }

    /// Sets the clock; it runs on from there.
    pub fn set_clock(&self, to: DateTime<Utc>) -> Result<DateTime<Utc>, SimError> {
        self.set_clock_offset((to - Utc::now()).num_milliseconds())
    }

    fn set_clock_offset(&self, offset_ms: i64) -> Result<DateTime<Utc>, SimError> {
        // A century either way is more than any test needs and keeps all arithmetic in range.
        const LIMIT_MS: i64 = 100 * 365 * 86_400_000;
        if offset_ms.abs() > LIMIT_MS {
            return Err(SimError::refused("clock_out_of_range", "the clock moves at most a century"));
        }
        self.store().commit(Mutation::ClockMoved { offset_ms })?;
        self.inner.clock.set_offset_ms(offset_ms);
        self.wake();
        Ok(self.now())
    }

    /// The customer pays an order; the payment is announced to its `notify_url`.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the arguments in place")]
    pub fn pay(&self, args: PayArgs) -> Result<PayReceipt, SimError> {
        payment::pay(self, &args)
    }

    /// The customer dismisses the payment of an order, which stays payable.
    pub fn cancel(&self, out_trade_no: &str) -> Result<(), SimError> {
        payment::cancel(self, out_trade_no)
    }

    /// Adds a rule of misbehaviour.
    pub fn set_fault(&self, fault: Fault) -> Result<(), SimError> {
        self.faults().set(fault).map_err(|message| SimError::refused("fault_invalid", message))
    }

    /// Removes all rules and releases the notifications that a `reorder` holds back.
    pub fn clear_faults(&self) {
        self.faults().clear();
        worker::release_held(self, None);
    }

    /// A merchant's balance in fen; `None` is without limit.
    pub fn balance(&self, mchid: &str) -> Option<i64> {
        self.store().balances.get(mchid).copied()
    }

    /// Sets a merchant's balance in fen. From then on payments add to it and refunds take from it.
    /// `None` makes it limitless again.
    pub fn set_balance(&self, mchid: &str, fen: impl Into<Option<i64>>) -> Result<(), SimError> {
        if self.merchant(mchid).is_none() {
            return Err(SimError::NotFound(format!("merchant {mchid}")));
        }
        self.store().commit(Mutation::BalanceSet { mchid: mchid.to_owned(), fen: fen.into() })
    }

    /// How long refunds that are accepted from now on stay PROCESSING before they end by themselves.
    pub fn set_refund_delay(&self, delay: Duration) {
        self.inner.refund_delay_ms.store(delta(delay).num_milliseconds(), Ordering::Relaxed);
    }

    /// Chooses the key that signs notifications.
    pub fn set_notify_key(&self, key: NotifyKey) -> Result<(), SimError> {
        self.store().commit(Mutation::NotifyKeySet { key })
    }

    /// All notifications, the oldest first.
    pub fn notifications(&self) -> Vec<NotificationRecord> {
        self.store().notifications.values().cloned().collect()
    }

    /// Sends a notification once more, now, outside its schedule.
    pub async fn resend(&self, id: &str) -> Result<Delivery, SimError> {
        worker::resend(self, id).await
    }

    /// Sends a SIGNTEST probe, as WeChat does to find receivers that do not verify.
    pub async fn probe(&self, out_trade_no: &str) -> Result<Delivery, SimError> {
        delivery::probe(self, out_trade_no).await
    }

    /// Sends one forged notification.
    pub async fn forge(&self, forgery: Forgery) -> Result<Delivery, SimError> {
        control_forge::forge(self, &forgery).await
    }

    /// All orders, in no particular order.
    pub fn transactions(&self) -> Vec<Transaction> {
        self.store().orders.values().cloned().collect()
    }

    /// All refunds, in no particular order.
    pub fn refunds(&self) -> Vec<Refund> {
        self.store().refunds.values().cloned().collect()
    }

    /// Ends a PROCESSING refund now.
    pub fn settle_refund(&self, out_refund_no: &str, outcome: RefundOutcome) -> Result<Refund, SimError> {
        refunds::settle(self, out_refund_no, outcome)
    }

    /// The openid that the login code `sim-<name>` gives in a mini program.
    pub fn openid(&self, appid: &str, name: &str) -> String {
        miniprogram::openid(appid, name)
    }
}
