//! Who may use the cluster, as configured.

use net::secret_box::SecretBox;

use super::client::{Client, Network};

/// The settings for accounts.
#[derive(Debug)]
pub struct Accounts {
    /// Whether callers without an account may use the cluster.
    pub anonymous: bool,
    /// Whether everybody may register.
    pub open: bool,
    /// Whether this node serves HTTPS itself.
    pub https: bool,
    /// The proxies whose `X-Forwarded-*` headers are trusted.
    pub proxies: Vec<Network>,
    /// Encrypts the secrets of tokens.
    pub seal: SecretBox,
}

/// The owner to whom limits assign a job or a play: the user, or the address of an anonymous client.
pub(crate) fn owner_of(client: &Client, user: Option<u64>) -> String {
    user.map_or_else(|| client.name(), |user| format!("user:{user}"))
}
