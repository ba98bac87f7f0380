//! The record of an idempotency key.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use crate::command::answer::Refusal;

/// What an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// The song that was added.
    pub song: u64,
    /// A hash of everything that was asked for.
    pub content: Hash,
    /// The time at which it expires, in milliseconds since 1970.
    pub until: u64,
    /// Its place among the keys of its owner.
    pub(crate) number: u64,
    /// A hash of the client's identity.
    pub(crate) owner: Hash,
}

impl IdempotencyRecord {
    /// The song's number if the same content is sent again at this time; none if the key has expired.
    pub fn song_for(&self, content: &Hash, at: u64) -> Result<Option<u64>, Refusal> {
        if self.until <= at {
            return Ok(None);
        }
        if self.content == *content { Ok(Some(self.song)) } else { Err(Refusal::KeyTaken) }
    }
}
