//! Who asks, as far as anybody can tell without accounts: the network address.
//!
//! Behind a proxy everybody has the proxy's address and is one owner. What a request says of itself, as in
//! `X-Forwarded-For`, is not asked, since anybody may write anything there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::Extensions;

/// The owner of what this request asks for; empty where the address is not known.
pub(crate) fn owner(extensions: &Extensions) -> String {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| named(address.ip())).unwrap_or_default()
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
}
