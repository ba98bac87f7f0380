//! Who sends a request and what they may do: clients, sessions, tokens, passwords and rate limits.

pub(crate) mod access;
pub mod accounts;
pub(crate) mod auth_cache;
pub(crate) mod caller;
pub mod client;
pub mod external_workers;
pub(crate) mod passwords;
pub(crate) mod rate_limits;
pub(crate) mod request_auth;
pub(crate) mod secret;
