//! Audiences: for whom a song is.
//!
//! A song without an owner is for everybody. A user's song is for the user alone until it is shared: with another user,
//! with everybody, or by a link, which opens one song to anybody who has the link until it expires.

use serde::{Deserialize, Serialize};

/// Who has a song in their list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Audience {
    /// Everybody who has access to the cluster.
    Everybody,
    /// One user.
    User(u64),
}

impl Audience {
    /// The audience of an unshared song of this uploader.
    pub fn of(uploader: Option<u64>) -> Self {
        uploader.map_or(Self::Everybody, Self::User)
    }

    /// The audience as a number. Users are counted from 1 on.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Everybody => 0,
            Self::User(user) => user,
        }
    }
}

/// A secret address under which one song can be heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number.
    pub id: u64,
    /// The song.
    pub song: u64,
    /// The time at which it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// The time at which it expires.
    pub expires_at: u64,
}

/// What becomes of a user's songs when the user is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrphanPolicy {
    /// They are removed.
    Delete,
    /// Those that are shared with everybody stay and have no owner; the others are removed.
    Transfer,
}
