//! What a cluster allows to whom.

use net::secret_box::SecretBox;

use crate::client::{Client, Network};

/// What the cluster allows.
#[derive(Debug)]
pub struct Accounts {
    /// Whether people without an account may use it.
    pub anonymous: bool,
    /// Whether anybody may register.
    pub open: bool,
    /// Whether this node itself speaks HTTPS.
    pub https: bool,
    /// The proxies that are believed.
    pub proxies: Vec<Network>,
    /// Seals the secrets of tokens.
    pub seal: SecretBox,
}

/// Whose a job or a play is, as limits count: the user's, or that of the address of who has no account.
pub(crate) fn owner_of(client: &Client, user: Option<u64>) -> String {
    user.map_or_else(|| client.name(), |user| format!("user:{user}"))
}
