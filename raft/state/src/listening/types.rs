//! Plays.

use serde::{Deserialize, Serialize};

/// How a user has played a song.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Played {
    /// The number of plays.
    pub times: u64,
    /// The time of the last one, in milliseconds since 1970.
    pub at: u64,
}
