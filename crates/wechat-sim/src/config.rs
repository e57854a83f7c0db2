//! What a simulator is started with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::platform::PlatformKeys;

/// Everything a simulator needs to run.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Address to listen on; port 0 takes a free one (see `SimHandle::url`).
    pub listen: SocketAddr,
    /// Merchants that may call the payment APIs.
    pub merchants: Vec<SimMerchant>,
    /// Mini programs that may call the login APIs.
    pub mini_programs: Vec<SimMiniProgram>,
    /// The platform's keys: they sign answers and notifications.
    pub platform: PlatformKeys,
    /// Divides WeChat's retry table: 1.0 is real time, 1000.0 a thousand times faster.
    pub notify_speed: f64,
    /// Time between a payment (or a settled refund) and its first notification.
    pub notify_delay: Duration,
    /// Time a refund stays PROCESSING before it becomes SUCCESS.
    pub refund_delay: Duration,
    /// Journal that lets the state survive a restart; `None` keeps it in memory.
    pub state_file: Option<PathBuf>,
    /// Least time between two refunds of one order (WeChat: one minute), by the simulator's clock.
    pub refund_interval: Duration,
}

impl SimConfig {
    /// Real speeds and rules, a free port on the loopback, no merchant, state in memory.
    pub fn new(platform: PlatformKeys) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            merchants: Vec::new(),
            mini_programs: Vec::new(),
            platform,
            notify_speed: 1.0,
            notify_delay: Duration::from_millis(200),
            refund_delay: Duration::from_secs(2),
            state_file: None,
            refund_interval: Duration::from_mins(1),
        }
    }
}

/// A merchant account, direct or service provider.
#[derive(Clone, Debug)]
pub struct SimMerchant {
    /// Merchant number, 8 to 10 digits.
    pub mchid: String,
    /// Mini programs bound to it.
    pub appids: Vec<String>,
    /// Serial of the merchant's API certificate, upper-case hexadecimal.
    pub serial: String,
    /// The merchant's public key, SPKI in PEM.
    pub public_key_pem: String,
    /// APIv3 key, exactly 32 bytes.
    pub api_v3_key: String,
    /// Sub-merchants; when there are any the merchant is a service provider and may use only the
    /// partner paths.
    pub subs: Vec<SubMerchant>,
}

/// A merchant below a service provider.
#[derive(Clone, Debug)]
pub struct SubMerchant {
    /// Its merchant number.
    pub mchid: String,
    /// Its own mini program, if it has one.
    pub appid: Option<String>,
}

/// A mini program.
#[derive(Clone, Debug)]
pub struct SimMiniProgram {
    /// Its appid.
    pub appid: String,
    /// Its secret.
    pub secret: String,
}
