//! The orders of lists of songs, and the cursors of their pages.

use state::Order;

use crate::http::error::ApiError;

/// The order of a list of songs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// An order that is the same for all callers.
    By(Order),
    /// By the time when the caller last played a song. Other songs are not listed.
    Played,
}

impl Sort {
    /// The order with this name, and whether it is reversed: `-title` is `title` in reverse.
    pub(crate) fn named(word: &str) -> Result<(Self, bool), ApiError> {
        let (name, backwards) = word.strip_prefix('-').map_or((word, false), |name| (name, true));
        let sort = match name {
            "added" => Self::By(Order::Added),
            "title" => Self::By(Order::Title),
            "artist" => Self::By(Order::Artist),
            "album" => Self::By(Order::Album),
            "genre" => Self::By(Order::Genre),
            "duration" => Self::By(Order::Duration),
            "bpm" => Self::By(Order::Tempo),
            "plays" => Self::By(Order::Plays),
            "played" => Self::Played,
            _ => {
                let shown: String = word.chars().take(20).collect();
                return Err(ApiError::Malformed(format!(
                    "Unknown order {shown:?}: use added, title, artist, album, genre, duration, bpm, plays or played, \
                     with a - in front for the reverse order."
                )));
            }
        };
        Ok((sort, backwards))
    }

    /// The cursor of a place in this order.
    pub(crate) fn cursor(self, place: &[u8]) -> String {
        match (self, place.try_into().map(u64::from_be_bytes)) {
            (Self::By(Order::Added), Ok(song)) => song.to_string(),
            _ => hex::encode(place),
        }
    }

    /// The place of a cursor in this order.
    pub(crate) fn place(self, cursor: &str) -> Result<Vec<u8>, ApiError> {
        let place = match self {
            Self::By(Order::Added) => cursor.parse().map(|song: u64| song.to_be_bytes().to_vec()).ok(),
            _ => hex::decode(cursor).ok(),
        };
        place.ok_or_else(bad_cursor)
    }
}

/// The error for a cursor that no page returned.
pub(crate) fn bad_cursor() -> ApiError {
    ApiError::Malformed("Invalid cursor: pass the `next` value of the previous page unchanged.".into())
}
