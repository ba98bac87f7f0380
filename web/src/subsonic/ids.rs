//! The names under which players know things.
//!
//! They follow from what they name and from nothing else, so they are the same at every node and after every restart. An
//! artist is a text on songs and has no number; the text, as it is compared, is the id. A song's album is its album's and its
//! artist's text; one without an album is an album of its own, with its title; and a song that is split has an album of
//! its stems.

use std::fmt;

use state::Song;
use state::card::plain;

/// What players can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Id {
    /// The songs of one artist, as [`plain`] gives the name; of none where the songs name none.
    Artist(Option<String>),
    Album(Album),
    Song(u64),
    /// A song's stem of this name.
    Stem(u64, String),
    Playlist(u64),
}

/// What players see as an album.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Album {
    /// The songs of an artist on an album; the texts are as [`plain`] gives them.
    Named { album: String, artist: Option<String> },
    /// A song that is on none.
    Single(u64),
    /// The stems of a song.
    Stems(u64),
}

impl Album {
    /// The album that a song is on.
    pub(super) fn of(song: &Song) -> Self {
        match song.credits.album.as_deref() {
            Some(album) => Self::Named { album: plain(album), artist: song.credits.artist.as_deref().map(plain) },
            None => Self::Single(song.id),
        }
    }
}

/// What names nothing that there could be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoId;

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
    pub(super) fn parse(text: &str) -> Result<Self, NoId> {
        let (kind, rest) = text.split_once('-').ok_or(NoId)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| NoId);
        let text = |hex: &str| hex::decode(hex).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(NoId);
        let maybe = |hex: &str| text(hex).map(|text| Some(text).filter(|text| !text.is_empty()));
        Ok(match kind {
            "ar" => Self::Artist(maybe(rest)?),
            "al" => {
                let (album, artist) = rest.split_once('-').ok_or(NoId)?;
                Self::Album(Album::Named { album: text(album)?, artist: maybe(artist)? })
            }
            "si" => Self::Album(Album::Single(number(rest)?)),
            "sa" => Self::Album(Album::Stems(number(rest)?)),
            "so" => Self::Song(number(rest)?),
            "st" => {
                let (song, stem) = rest.split_once('-').ok_or(NoId)?;
                Self::Stem(number(song)?, stem.to_owned())
            }
            "pl" => Self::Playlist(number(rest)?),
            _ => return Err(NoId),
        })
    }

    /// The song that this is, or is about, if it is one song.
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
    fn ids_are_read_as_they_are_written() {
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
            assert_eq!(Id::parse(bad), Err(NoId), "{bad}");
        }
    }
}
