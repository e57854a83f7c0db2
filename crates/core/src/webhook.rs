//! Signed outgoing webhooks: what is told, where it may be sent, and how long a receiver that fails is tried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chrono::Duration;

use crate::state::text_enum;
use crate::time::Timestamp;

text_enum! {
    /// What a receiver can be told.
    pub enum WebhookEvent {
        /// Uses of an order's vouchers were redeemed.
        RedemptionCreated = "redemption.created",
        /// A redemption or some of its uses were undone.
        RedemptionReversed = "redemption.reversed",
        /// An order was paid and its vouchers are there.
        VoucherIssued = "voucher.issued",
        /// The customer has the money back.
        RefundSucceeded = "refund.succeeded",
        /// A test that staff asked for. Cannot be subscribed to.
        Ping = "ping",
    }
}

impl WebhookEvent {
    /// Whether a webhook can name it among its events.
    pub const fn can_be_chosen(self) -> bool {
        match self {
            Self::RedemptionCreated
            | Self::RedemptionReversed
            | Self::VoucherIssued
            | Self::RefundSucceeded => true,
            Self::Ping => false,
        }
    }
}

text_enum! {
    /// Whether a webhook is told anything.
    pub enum WebhookState {
        /// It is told what happens.
        Active = "Active",
        /// Staff stopped it.
        Paused = "Paused",
        /// It failed for days and was stopped by the system.
        Disabled = "Disabled",
        /// Gone; its log stays for a while.
        Deleted = "Deleted",
    }
}

text_enum! {
    /// Where one event for one webhook is.
    pub enum DeliveryState {
        /// Not tried yet.
        Pending = "Pending",
        /// The receiver took it.
        Delivered = "Delivered",
        /// The last try failed; another one will follow.
        Failed = "Failed",
        /// Tried for days in vain; only a replay by hand sends it again.
        Dead = "Dead",
    }
}

impl DeliveryState {
    /// Whether it will be tried again by itself.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::Failed => true,
            Self::Delivered | Self::Dead => false,
        }
    }
}

/// Webhooks of one merchant that are not deleted.
pub const MAX_WEBHOOKS: usize = 10;
/// The longest address.
pub const MAX_URL_CHARS: usize = 500;
/// Tries that a delivery remembers, the last ones.
pub const MAX_LOGGED_TRIES: usize = 20;
/// Seconds after each failure until the next try: eleven tries over about three days.
const RETRY_AFTER_S: [i64; 10] = [5, 30, 120, 600, 1_800, 7_200, 21_600, 43_200, 86_400, 86_400];

/// For how long the secret before the present one signs as well.
pub fn secret_overlap() -> Duration {
    Duration::hours(24)
}

/// How long to wait after so many failures in a row; nothing when it was tried often enough.
pub fn retry_after(failures: i64) -> Option<Duration> {
    let n = usize::try_from(failures.checked_sub(1)?).ok()?;
    RETRY_AFTER_S.get(n).map(|seconds| Duration::seconds(*seconds))
}

/// What follows from a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterTry {
    /// The receiver has it.
    Delivered,
    /// Again after this time.
    Retry(Duration),
    /// It was tried often enough.
    Dead,
}

/// Decides what follows from a try; `failures` counts those in a row, this one included.
pub fn after_try(taken: bool, failures: i64) -> AfterTry {
    if taken {
        return AfterTry::Delivered;
    }
    retry_after(failures).map_or(AfterTry::Dead, AfterTry::Retry)
}

/// Whether a receiver has failed for so long that it is not asked any more. Asked when a delivery has failed.
pub fn gives_up(failing_since: Timestamp, now: Timestamp) -> bool {
    now >= failing_since.plus(Duration::days(3))
}

/// Whether a status says that the receiver took it.
pub const fn is_taken(status: u16) -> bool {
    status >= 200 && status < 300
}

/// Whether an address belongs to the public internet. Everything else is refused: a webhook must not become a way to
/// ask our own network, or the cloud's metadata service, on somebody's behalf.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = a == 0 // this network
        || a == 10 // private
        || a == 100 && (64..128).contains(&b) // carriers' own
        || a == 127 // this host
        || a == 169 && b == 254 // this link; the metadata service of clouds
        || a == 172 && (16..32).contains(&b) // private
        || a == 192 && b == 0 && (c == 0 || c == 2) // protocols, documentation
        || a == 192 && b == 88 && c == 99 // 6to4 relays
        || a == 192 && b == 168 // private
        || a == 198 && (b == 18 || b == 19) // benchmarks
        || a == 198 && b == 51 && c == 100 // documentation
        || a == 203 && b == 0 && c == 113 // documentation
        || a >= 224; // multicast and reserved
    !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // What carries an IPv4 address is as public as that one.
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Protocols' own, Teredo, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Only these are given out: no loopback, link-local, unique local or multicast is among them.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_grow_from_seconds_to_a_day_and_end_after_three_days() {
        let waits: Vec<i64> = (1..).map_while(retry_after).map(|wait| wait.num_seconds()).collect();
        assert_eq!(waits.len(), 10);
        assert!(waits.is_sorted() && waits[0] == 5 && waits[9] == 86_400);
        let hours = waits.iter().sum::<i64>() / 3600;
        assert!((60..=84).contains(&hours), "{hours} hours");
        for nothing in [0, -1, i64::MIN, 11, i64::MAX] {
            assert_eq!(retry_after(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_receiver_is_given_up_after_three_days() {
        let since = Timestamp::from_micros(1_790_000_000_000_000);
        assert!(!gives_up(since, since.plus(Duration::hours(71))));
        assert!(gives_up(since, since.plus(Duration::hours(72))));
    }

    #[test]
    fn only_success_is_success() {
        assert!(is_taken(200) && is_taken(204) && is_taken(299));
        assert!(!is_taken(199) && !is_taken(301) && !is_taken(410) && !is_taken(500));
    }

    #[test]
    fn only_the_public_internet_is_public() {
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "198.17.0.1",
            "223.5.5.5",
            "2606:4700::1111",
            "2400:3200::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for not in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(not.parse().unwrap()), "{not}");
        }
    }

    #[test]
    fn what_is_open_is_tried_again() {
        let open: Vec<_> = DeliveryState::ALL.iter().filter(|s| s.is_open()).collect();
        assert_eq!(open, [&DeliveryState::Pending, &DeliveryState::Failed]);
        let fixed: Vec<_> = WebhookEvent::ALL.iter().filter(|e| !e.can_be_chosen()).collect();
        assert_eq!(fixed, [&WebhookEvent::Ping]);
    }
}
