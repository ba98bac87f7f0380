//! What expires.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

/// A thing that expires, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Expiring {
    Session(Hash),
    Token(Hash),
    Link(Hash),
    RateLimit(Hash),
    IdempotencyKey(Hash),
}

impl Expiring {
    pub(crate) fn key(&self) -> &Hash {
        match self {
            Self::Session(key)
            | Self::Token(key)
            | Self::Link(key)
            | Self::RateLimit(key)
            | Self::IdempotencyKey(key) => key,
        }
    }
}
