//! From where a request comes: the address, whether the browser spoke HTTPS, and the name that it asked for.
//!
//! What a request says of itself, as in `X-Forwarded-For`, is believed only where a proxy that `cluster.toml` trusts hands
//! it over, since anybody else may write anything there. A proxy's list is read from its end, for the beginning may be the
//! client's own invention.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, Uri, header};

/// A network of addresses, as `10.0.0.0/8`; a single address is a network too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: u128,
    mask: u128,
}

/// What cannot be a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network; write an address, or one with the length of its prefix as in 10.0.0.0/8")]
pub struct NoNetwork(String);

/// IPv4 in IPv6's way, so that there is one kind of address.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let none = || NoNetwork(text.chars().take(60).collect());
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
    fn has(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.address
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address, where it is known.
    address: Option<IpAddr>,
    /// Whether the browser spoke HTTPS.
    pub(crate) https: bool,
    /// The host, with its port, that the browser asked for.
    pub(crate) host: Option<String>,
}

impl Client {
    /// The client of a request to a node that itself speaks HTTPS or not.
    pub(crate) fn of(
        extensions: &Extensions,
        headers: &HeaderMap,
        uri: &Uri,
        trusted: &[Network],
        https: bool,
    ) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // HTTP/2 has the host in the address.
        let host = field(header::HOST.as_str()).or_else(|| uri.authority().map(|authority| authority.as_str()));
        let direct = Self { address: peer, https, host: host.map(str::to_owned) };
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.has(address));
        if !peer.is_some_and(is_trusted) {
            return direct;
        }
        let last = |name: &str| Some(field(name)?.rsplit(',').next()?.trim().to_owned());
        let handed = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let handed: Vec<&str> = handed.flat_map(|list| list.split(',')).map(str::trim).collect();
        // The nearest that is no proxy of ours. What is no address may be anybody.
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

    /// A name for whoever it is that stays the same; empty where the address is not known.
    pub(crate) fn name(&self) -> String {
        self.address.map(named).unwrap_or_default()
    }
}

/// A name for an address that stays the same. Of IPv6 it is the network, in which one customer has 2^64 addresses.
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
    fn one_customer_has_one_name() {
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
    fn networks_have_their_addresses() {
        let has = |network: &str, address: &str| network.parse::<Network>().unwrap().has(address.parse().unwrap());
        assert!(has("127.0.0.1/32", "127.0.0.1") && has("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!has("127.0.0.1", "127.0.0.2") && !has("::1", "127.0.0.1"));
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("2001:db8::/32", "2001:db8:5::1") && !has("2001:db8::/32", "2001:db9::"));
        assert!(has("0.0.0.0/0", "203.0.113.7") && !has("0.0.0.0/0", "2001:db8::1") && has("::/0", "2001:db8::1"));
        for bad in ["", "10.0.0.0/33", "::/129", "example.org", "10.0.0.0/x", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_speaks_for_others() {
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
        // Nobody becomes a trusted proxy by saying so.
        assert_eq!(found("127.0.0.1", &[("x-forwarded-for", "9.9.9.9, unknown")]).0, "");
    }
}
