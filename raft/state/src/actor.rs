//! On whose behalf a command is given.

use serde::{Deserialize, Serialize};

use crate::Song;

/// On whose behalf a command is given, where that makes a difference in applying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// An administrator, or the cluster itself: may change everything.
    Admin,
    /// A client without an account.
    Anonymous,
    /// A user.
    User(u64),
}

impl Actor {
    /// Whether the actor may change a song. A song without an owner can be changed by everybody.
    pub fn may_change(self, song: &Song) -> bool {
        match (self, song.uploader_id) {
            (Self::Admin, _) | (_, None) => true,
            (Self::Anonymous, Some(_)) => false,
            (Self::User(user), Some(owner)) => user == owner,
        }
    }
}
