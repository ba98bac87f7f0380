//! Playlists and their entries.

use serde::{Deserialize, Serialize};

/// The highest number of playlists of a user.
pub const MOST_PLAYLISTS: usize = 1000;

/// A playlist without its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playlist {
    /// Its number.
    pub id: u64,
    /// The user who owns it.
    pub owner: u64,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// The time at which it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// The time of its last change by a user.
    pub updated_at: u64,
    /// The number of its entries.
    pub songs: u64,
    /// The length of all entries together, in frames at 44.1 kHz.
    pub frames: u64,
    /// The highest number that an entry ever had.
    pub last_entry: u64,
}

/// A song in a playlist. A song may have several entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the playlist, which stays the same when it moves.
    pub id: u64,
    /// The song.
    pub song: u64,
}
