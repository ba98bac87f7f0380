//! A resolver that returns only addresses to which web hooks may connect.
//!
//! The addresses are checked after the name was resolved, and the connection uses exactly these addresses. A name that
//! resolves to another address later (DNS rebinding) therefore does not bypass the check.

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use web::webhook_url::is_public;

/// Resolves names to public addresses, or to all addresses with `allow_private`.
#[derive(Debug)]
pub(super) struct PublicResolver {
    /// Whether private addresses are allowed.
    pub(super) allow_private: bool,
}

impl Resolver for PublicResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        match found.iter().find(|address| !self.allow_private && !is_public(address.ip())) {
            None => Ok(found),
            // A name with both public and private addresses is rejected as well.
            Some(private) => Err(ureq::Error::Io(std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
                format!("the name resolves to {}, which is not a public address", private.ip()),
            ))),
        }
    }
}
