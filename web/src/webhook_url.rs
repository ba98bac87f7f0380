//! Which URLs web hooks may have.
//!
//! A user who creates a web hook makes this node send requests. These must not reach services that only the node can
//! reach: the node itself, its network, or the metadata service of a cloud (server-side request forgery). The node
//! therefore resolves a host name right before it connects, connects only to these addresses, and refuses addresses
//! that are not public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::Uri;
use net::secret_box::SecretBox;

/// The longest URL, in bytes.
const LONGEST: usize = 1000;

/// The settings for web hooks.
pub struct Webhooks {
    /// Encrypts the secrets of web hooks.
    pub seal: SecretBox,
    /// Whether web hooks may use addresses that are not public.
    pub allow_private: bool,
}

/// The error of a URL, if it has one. Host names are not resolved here.
pub(crate) fn fault(url: &str, allow_private: bool) -> Option<&'static str> {
    const INVALID: &str =
        "Invalid URL: use a complete one such as https://example.org/quartet, with at most 1000 ASCII characters.";
    let Ok(uri) = url.parse::<Uri>() else { return Some(INVALID) };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Some(INVALID) };
    if url.len() > LONGEST || authority.host().is_empty() || authority.port_u16() == Some(0) {
        return Some(INVALID);
    }
    if !matches!(scheme, "http" | "https") {
        return Some("Unsupported scheme: use http or https.");
    }
    if authority.as_str().contains('@') {
        return Some("The URL must not contain a user name or password: deliveries are signed instead.");
    }
    let literal = authority.host().trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if !allow_private && literal.is_ok_and(|address| !is_public(address)) {
        return Some(
            "The address is not public. Set `allow_private = true` under [hooks] in cluster.toml to allow it.",
        );
    }
    None
}

/// Whether an address is public, according to IANA's registries of special-purpose addresses.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && matches!(b, 18 | 19))
        // Multicast, reserved and broadcast.
        || a >= 224;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let segments = address.segments();
    // Global unicast, without NAT64, 6to4 and Teredo, which embed an IPv4 address.
    (0x2000..0x4000).contains(&segments[0])
        && segments[0] != 0x2002
        && !(segments[0] == 0x2001 && segments[1] < 0x0200)
        && !(segments[0] == 0x2001 && segments[1] == 0x0db8)
        && !(segments[0] == 0x3fff && segments[1] < 0x1000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for public in ["93.184.216.34", "8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "203.0.113.5",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
    }

    #[test]
    fn invalid_urls_are_refused() {
        for good in ["https://example.org", "http://example.org:8080/a?b=c", "https://8.8.8.8/"] {
            assert_eq!(fault(good, false), None, "{good}");
        }
        for bad in [
            "",
            "example.org",
            "/path",
            "ftp://example.org",
            "https://",
            "https://me:word@example.org",
            "http://127.0.0.1",
            "http://[::1]:80/",
            "http://a b",
            "http://example.org:0",
            "file:///etc/passwd",
        ] {
            assert!(fault(bad, false).is_some(), "{bad}");
        }
        assert_eq!(fault("http://127.0.0.1:9", true), None);
        assert!(fault(&format!("https://{}.org", "x".repeat(1000)), true).is_some());
    }
}
