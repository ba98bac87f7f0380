//! Sessions of browsers and tokens of programs, which give access to an account.
//!
//! Each is stored under the SHA-256 of its secret, which is random and long. So neither the state nor a stolen backup of it
//! gives access. Readers refuse what has expired by their own clock; it is removed later ([`crate::expiry`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A browser in which a user is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its number, which names it without its secret.
    pub id: u64,
    /// The user.
    pub user: u64,
    /// The time of the login, in milliseconds since 1970.
    pub created_at: u64,
    /// The time at which it expires.
    pub expires_at: u64,
    /// The browser's name for itself, cut short.
    pub user_agent: String,
}

/// What a program uses instead of a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its number.
    pub id: u64,
    /// The user.
    pub user: u64,
    /// The user's name for it.
    pub name: String,
    /// The time at which it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// The time at which it expires, if it does.
    pub expires_at: Option<u64>,
    /// The secret, encrypted with a key derived from the cluster's secret. Clients of some protocols, such as OpenSubsonic,
    /// send a digest of the secret, which cannot be checked without it.
    pub sealed: Sealed,
}

/// A secret that is encrypted with a key derived from the cluster's secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(sealed)")
    }
}
