//! Bounds on how much one caller may ask.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Requests a second, for one caller.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For one session; it may burst to four times this.
    pub per_session: NonZeroU32,
    /// For sign-ins and refreshes from one address; it may burst to four times this. Generous, because a store's
    /// Wi-Fi or a carrier puts many customers behind one address.
    pub sign_in_per_address: NonZeroU32,
    /// For everything without a session from one address.
    pub anonymous_per_address: NonZeroU32,
    /// For WeChat's notifications from one address, which come in bursts after a sale begins: what is refused comes
    /// again by itself, and each costs a signature check whoever sent it. It may burst to four times this.
    pub notify_per_address: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        let n = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self {
            per_session: n(50),
            sign_in_per_address: n(50),
            anonymous_per_address: n(200),
            notify_per_address: n(500),
        }
    }
}

/// The limiters at work.
#[derive(Clone)]
pub(crate) struct Limiters {
    session: Arc<DefaultKeyedRateLimiter<u64>>,
    sign_in: Arc<DefaultKeyedRateLimiter<IpAddr>>,
    anonymous: Arc<DefaultKeyedRateLimiter<IpAddr>>,
    notify: Arc<DefaultKeyedRateLimiter<IpAddr>>,
}

impl Limiters {
    pub(crate) fn new(limits: Limits) -> Self {
        let quota = |n: NonZeroU32| {
            Quota::per_second(n).allow_burst(n.saturating_mul(NonZeroU32::MIN.saturating_add(3)))
        };
        Self {
            session: Arc::new(RateLimiter::keyed(quota(limits.per_session))),
            sign_in: Arc::new(RateLimiter::keyed(quota(limits.sign_in_per_address))),
            anonymous: Arc::new(RateLimiter::keyed(quota(limits.anonymous_per_address))),
            notify: Arc::new(RateLimiter::keyed(quota(limits.notify_per_address))),
        }
    }

    /// Whether a request may go on. `session` is a token that was verified before; one that was not counts like none,
    /// so that made-up tokens do not get around the limit of their address.
    pub(crate) fn allow(&self, path: &str, session: Option<&str>, address: IpAddr) -> bool {
        let address = subscriber(address);
        if path.starts_with("/api/v1/notify/") {
            return self.notify.check_key(&address).is_ok();
        }
        let sign_in = path.starts_with("/api/v1/auth/") && !path.ends_with("/me");
        if sign_in && self.sign_in.check_key(&address).is_err() {
            return false;
        }
        match session {
            Some(token) => self.session.check_key(&hash(token)).is_ok(),
            None => sign_in || self.anonymous.check_key(&address).is_ok(),
        }
    }

    /// Forgets callers that are quiet, so that the tables stay small.
    pub(crate) fn forget_idle(&self) {
        self.session.retain_recent();
        self.sign_in.retain_recent();
        self.anonymous.retain_recent();
        self.notify.retain_recent();
    }
}

fn hash(token: &str) -> u64 {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one(token)
}
/// Whom an address stands for: an IPv6 subscriber has a whole /64 and takes any address in it.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_subscriber_is_a_network() {
        let of = |text: &str| subscriber(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:aaaa::1"), of("2001:db8:1:2::ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
    }
}
