//! For whom a song is.
//!
//! A song of nobody's is for everybody. A user's is theirs alone until it is shared: with another user, with everybody,
//! or by a link, which opens that one song to whoever has it until it ends.

use serde::{Deserialize, Serialize};

/// Who finds a song in their list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Audience {
    /// Whoever the cluster lets in at all.
    Everybody,
    /// One user.
    User(u64),
}

impl Audience {
    /// Who has the songs of this uploader by right.
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

    pub(crate) fn from_number(number: u64) -> Self {
        if number == 0 { Self::Everybody } else { Self::User(number) }
    }
}

/// A secret address under which one song can be heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number.
    pub id: u64,
    /// What it opens.
    pub song: u64,
    /// When it was made.
    pub created_at: u64,
    /// When it ends.
    pub expires_at: u64,
}

/// What becomes of a user's songs when the user goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Legacy {
    /// They go too.
    Delete,
    /// Those that are for everybody stay and are nobody's; the others go too.
    HandOver,
}
