//! The client of a request: its address, whether it uses HTTPS, and the host that it requested.
//!
//! Headers such as `X-Forwarded-For` count only if the connection comes from a proxy that `cluster.toml` trusts,
//! because any client can send them. The list of addresses is read from its end, because a client can forge its
//! beginning.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, Uri, header};

/// A network, such as `10.0.0.0/8`. A single address is a network too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: u128,
    mask: u128,
}

/// The text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid network {0:?}: use an address, or an address with a prefix length such as 10.0.0.0/8")]
pub struct InvalidNetwork(String);

/// The bits of an address. IPv4 addresses are mapped to IPv6.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let none = || InvalidNetwork(text.chars().take(60).collect());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().map_err(|_| none())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| none())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(most);
        let free = most.checked_sub(length).ok_or_else(none)?;
        let mask = u128::MAX.checked_shl(free).unwrap_or(0);
        Ok(Self { address: bits(address) & mask, mask })
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.address
    }
}

/// The client of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address, if it is known.
    address: Option<IpAddr>,
    /// Whether the client uses HTTPS.
    pub(crate) https: bool,
    /// The requested host with its port.
    pub(crate) host: Option<String>,
}

impl Client {
    /// The client of a request. `https` tells whether this node serves HTTPS.
    pub(crate) fn of(
        extensions: &Extensions,
        headers: &HeaderMap,
        uri: &Uri,
        trusted: &[Network],
        https: bool,
    ) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // HTTP/2 has the host in the URI.
        let host = field(header::HOST.as_str()).or_else(|| uri.authority().map(|authority| authority.as_str()));
        let direct = Self { address: peer, https, host: host.map(str::to_owned) };
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        if !peer.is_some_and(is_trusted) {
            return direct;
        }
        let last = |name: &str| Some(field(name)?.rsplit(',').next()?.trim().to_owned());
        let handed = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let handed: Vec<&str> = handed.flat_map(|list| list.split(',')).map(str::trim).collect();
        // The last address that is not a trusted proxy. An entry that is not an address is unknown.
        let mut address = peer;
        for hop in handed.into_iter().rev() {
            address = hop.parse().ok();
            if !address.is_some_and(is_trusted) {
                break;
            }
        }
        Self {
            address,
            https: last("x-forwarded-proto").map_or(direct.https, |scheme| scheme.eq_ignore_ascii_case("https")),
            host: last("x-forwarded-host").or(direct.host),
        }
    }

    /// A stable name of the client for rate limits; empty if the address is not known.
    pub(crate) fn name(&self) -> String {
        self.address.map(named).unwrap_or_default()
    }
}

/// A stable name of an address. For IPv6 it is the /64 network, because one customer has all of its addresses.
fn named(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("ip:{address}"),
        IpAddr::V6(address) if address.is_loopback() => format!("ip:{address}"),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("ip:{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn customer_has_one_name() {
        for (address, name) in [
            ("203.0.113.7", "ip:203.0.113.7"),
            ("::ffff:203.0.113.7", "ip:203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::9", "ip:2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "ip:2001:db8:1:3::/64"),
            ("::1", "ip:::1"),
        ] {
            assert_eq!(named(address.parse().unwrap()), name);
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let contains =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(contains("127.0.0.1/32", "127.0.0.1") && contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!contains("127.0.0.1", "127.0.0.2") && !contains("::1", "127.0.0.1"));
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("2001:db8::/32", "2001:db8:5::1") && !contains("2001:db8::/32", "2001:db9::"));
        assert!(
            contains("0.0.0.0/0", "203.0.113.7")
                && !contains("0.0.0.0/0", "2001:db8::1")
                && contains("::/0", "2001:db8::1")
        );
        for bad in ["", "10.0.0.0/33", "::/129", "example.org", "10.0.0.0/x", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_trusted_proxies_can_forward() {
        let found = |peer: &str, fields: &[(&'static str, &str)]| {
            let mut extensions = Extensions::new();
            extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "node:8080".parse().unwrap());
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            let trusted = ["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
            let client = Client::of(&extensions, &headers, &Uri::from_static("/"), &trusted, false);
            (client.name(), client.https, client.host.unwrap())
        };
        let all = [
            ("x-forwarded-for", "6.6.6.6, 9.9.9.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "q.example"),
        ];
        assert_eq!(found("8.8.8.8", &all), ("ip:8.8.8.8".into(), false, "node:8080".into()));
        assert_eq!(found("127.0.0.1", &all), ("ip:9.9.9.9".into(), true, "q.example".into()));
        assert_eq!(found("127.0.0.1", &[]), ("ip:127.0.0.1".into(), false, "node:8080".into()));
        let through = [("x-forwarded-for", "6.6.6.6, 9.9.9.9"), ("x-forwarded-for", "10.1.1.1")];
        assert_eq!(found("10.0.0.1", &through).0, "ip:9.9.9.9");
        // A malformed entry does not name a client.
        assert_eq!(found("127.0.0.1", &[("x-forwarded-for", "9.9.9.9, unknown")]).0, "");
    }
}
