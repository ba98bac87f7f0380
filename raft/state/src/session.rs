//! What opens an account for a while: sessions of browsers and tokens of programs.
//!
//! Each is kept under the SHA-256 of its secret, which is random and long, so the state, and a stolen backup of it, opens
//! nothing. What has expired is refused by whoever reads, with its own clock, and swept away later ([`super::passing`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A browser in which somebody is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its number, by which it can be named without its secret.
    pub id: u64,
    /// Whose it is.
    pub user: u64,
    /// When it began.
    pub created_at: u64,
    /// When it ends by itself.
    pub expires_at: u64,
    /// What the browser calls itself, cut short.
    pub seen: String,
}

/// What a program shows instead of a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub user: u64,
    /// What the user calls it.
    pub name: String,
    /// When it was made.
    pub created_at: u64,
    /// When it ends by itself, if it does.
    pub expires_at: Option<u64>,
    /// The secret, sealed with a key that follows from the cluster's secret: there are protocols, OpenSubsonic's among
    /// them, whose clients prove with a digest that they know it.
    pub sealed: Sealed,
}

/// A secret that can be had back with the cluster's own secret, and without it not.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(sealed)")
    }
}
