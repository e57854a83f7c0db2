//! Which address a request comes from, where proxies stand in between.
//!
//! **Invariant:** nobody chooses their own address. What a header says counts only as far as each that wrote it is
//! trusted: the peer wrote the last entry, the peer's peer the one before.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The right-most address that is not a trusted proxy: the peer itself, or who it says it speaks for. Where an entry
/// can't be read, the one that wrote it is as far as anything is known.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut known = peer.to_canonical();
    // Several headers are one list, in their order.
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
            if !is_trusted(known) {
                return known;
            }
            let Some(before) = parse(entry) else { return known };
            known = before;
        }
    }
    known
}

/// `192.0.2.1`, `2001:db8::1`, and with a port as some proxies write it: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()));
    address.map(|a| a.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, headers: &[&[u8]]) -> String {
        let trusted = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8:1::/48"].map(|n| n.parse().unwrap());
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(FORWARDED_FOR, axum::http::HeaderValue::from_bytes(value).unwrap());
        }
        client_address(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn a_peer_that_is_not_trusted_speaks_for_itself_only() {
        assert_eq!(from("203.0.113.5", &[]), "203.0.113.5");
        assert_eq!(from("203.0.113.5", &[b"198.51.100.1"]), "203.0.113.5");
        assert_eq!(from("203.0.113.5", &[b"198.51.100.1, 10.0.0.1"]), "203.0.113.5");
        assert_eq!(from("192.0.2.8", &[b"198.51.100.1"]), "192.0.2.8");
    }

    #[test]
    fn a_trusted_proxy_says_for_whom_it_speaks() {
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &[b"198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("::ffff:10.0.0.1", &[b"198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("2001:db8:1::9", &[b" 2001:db8:2::1 "]), "2001:db8:2::1");
        assert_eq!(from("10.0.0.1", &[b"198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &[b"[2001:db8:2::1]:4711"]), "2001:db8:2::1");
        assert_eq!(from("10.0.0.1", &[b"[2001:db8:2::1]"]), "2001:db8:2::1");
        assert_eq!(from("10.0.0.1", &[b"::ffff:198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn through_two_proxies_and_past_what_the_client_wrote_itself() {
        assert_eq!(from("10.0.0.1", &[b"198.51.100.1, 192.0.2.7"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &[b"8.8.8.8, 198.51.100.1, 192.0.2.7"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &[b"8.8.8.8, 10.0.0.9, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &[b"8.8.8.8", b"198.51.100.1", b"192.0.2.7"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"]), "10.0.0.3", "inside the house");
    }

    #[test]
    fn what_cannot_be_read_ends_at_the_proxy_that_wrote_it() {
        for nonsense in
            [&b""[..], b"unknown", b"198.51.100.1;", b"_hidden", b"\xff\xfe", b"198.51.100.256", b"a, b"]
        {
            assert_eq!(from("10.0.0.1", &[nonsense]), "10.0.0.1", "{nonsense:?}");
        }
        assert_eq!(from("10.0.0.1", &[b"198.51.100.1, unknown, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(from("10.0.0.1", &[b"198.51.100.1,"]), "10.0.0.1");
    }
}
