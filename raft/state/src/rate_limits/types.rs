//! Rate limits and their counters.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

/// A limit: at most `max` in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// A hash of what is counted, so that the state does not hold what people type into fields for names.
    pub key: Hash,
    /// The highest count.
    pub max: u32,
    /// The length of the window in milliseconds, from the first count on.
    pub window: u64,
}

/// What was counted against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateCounter {
    /// The count.
    pub count: u32,
    /// The time at which the window ends and counting starts anew.
    pub until: u64,
}
