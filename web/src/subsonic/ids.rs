//! The ids of artists, albums, songs, stems and playlists.
//!
//! An id depends only on what it names, so it is the same at every node and after every restart. The id of an artist is
//! its normalized name. The id of an album is the normalized names of the album and its artist. A song without an album
//! is an album of its own, and a split song has an album of its stems.

use std::fmt;

use state::Song;
use state::index_entry::normalize;

/// The id of something that players can request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Id {
    /// An artist by its name as [`normalize`] normalizes it; none for songs without an artist.
    Artist(Option<String>),
    Album(Album),
    Song(u64),
    /// The stem of a song.
    Stem(u64, String),
    Playlist(u64),
}

/// The id of an album.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Album {
    /// The songs of an artist on an album, by names as [`normalize`] normalizes them.
    Named { album: String, artist: Option<String> },
    /// A song without an album.
    Single(u64),
    /// The stems of a song.
    Stems(u64),
}

impl Album {
    /// The album of a song.
    pub(super) fn of(song: &Song) -> Self {
        match song.credits.album.as_deref() {
            Some(album) => {
                Self::Named { album: normalize(album), artist: song.credits.artist.as_deref().map(normalize) }
            }
            None => Self::Single(song.id),
        }
    }
}

/// The text is not an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidId;

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |text: &Option<String>| hex::encode(text.as_deref().unwrap_or_default());
        match self {
            Self::Artist(artist) => write!(formatter, "ar-{}", hex(artist)),
            Self::Album(Album::Named { album, artist }) => {
                write!(formatter, "al-{}-{}", hex::encode(album), hex(artist))
            }
            Self::Album(Album::Single(song)) => write!(formatter, "si-{song}"),
            Self::Album(Album::Stems(song)) => write!(formatter, "sa-{song}"),
            Self::Song(song) => write!(formatter, "so-{song}"),
            Self::Stem(song, stem) => write!(formatter, "st-{song}-{stem}"),
            Self::Playlist(playlist) => write!(formatter, "pl-{playlist}"),
        }
    }
}

impl Id {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidId> {
        let (kind, rest) = text.split_once('-').ok_or(InvalidId)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| InvalidId);
        let text = |hex: &str| hex::decode(hex).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(InvalidId);
        let maybe = |hex: &str| text(hex).map(|text| Some(text).filter(|text| !text.is_empty()));
        Ok(match kind {
            "ar" => Self::Artist(maybe(rest)?),
            "al" => {
                let (album, artist) = rest.split_once('-').ok_or(InvalidId)?;
                Self::Album(Album::Named { album: text(album)?, artist: maybe(artist)? })
            }
            "si" => Self::Album(Album::Single(number(rest)?)),
            "sa" => Self::Album(Album::Stems(number(rest)?)),
            "so" => Self::Song(number(rest)?),
            "st" => {
                let (song, stem) = rest.split_once('-').ok_or(InvalidId)?;
                Self::Stem(number(song)?, stem.to_owned())
            }
            "pl" => Self::Playlist(number(rest)?),
            _ => return Err(InvalidId),
        })
    }

    /// The song, if the id names a song, a stem, a single or an album of stems.
    pub(super) fn song(&self) -> Option<u64> {
        match self {
            Self::Song(song) | Self::Stem(song, _) | Self::Album(Album::Single(song) | Album::Stems(song)) => {
                Some(*song)
            }
            Self::Artist(_) | Self::Album(Album::Named { .. }) | Self::Playlist(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ids_are_parsed_and_formatted() {
        let some = |text: &str| Some(text.to_owned());
        for (id, text) in [
            (Id::Artist(some("beyonce")), "ar-6265796f6e6365"),
            (Id::Artist(None), "ar-"),
            (Id::Album(Album::Named { album: "b".into(), artist: some("a") }), "al-62-61"),
            (Id::Album(Album::Named { album: "b".into(), artist: None }), "al-62-"),
            (Id::Album(Album::Single(7)), "si-7"),
            (Id::Album(Album::Stems(7)), "sa-7"),
            (Id::Song(7), "so-7"),
            (Id::Stem(7, "no_vocals".into()), "st-7-no_vocals"),
            (Id::Playlist(7), "pl-7"),
        ] {
            assert_eq!(id.to_string(), text);
            assert_eq!(Id::parse(text).unwrap(), id);
        }
        for bad in ["", "7", "so", "so-", "so-x", "so--1", "ar-6", "ar-zz", "ar-ff", "al-62", "st-7", "xx-7"] {
            assert_eq!(Id::parse(bad), Err(InvalidId), "{bad}");
        }
    }
}
