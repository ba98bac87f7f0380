//! The content of one tag, before all tags of a file are combined.

use super::genre;
use super::text::clean;
use super::{Tags, hundredths};
use crate::analysis::Key;

/// The largest number of artists or genres that are kept.
const MAX_VALUES: usize = 32;

/// The field of a text in a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Title,
    Artist,
    AlbumArtist,
    Album,
    Track,
    Year,
    Genre,
    Bpm,
    Key,
    Stem,
}

impl Field {
    /// The field with a name, in any case. Vorbis comments, APE items, Matroska, CAF and free MP4 items have names.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "title" => Self::Title,
            "artist" => Self::Artist,
            "albumartist" | "album artist" | "album_artist" => Self::AlbumArtist,
            "album" => Self::Album,
            "track" | "tracknumber" | "track number" | "part_number" => Self::Track,
            "date" | "year" | "releasedate" | "recorded date" | "date_recorded" | "date_released" => Self::Year,
            "genre" => Self::Genre,
            "bpm" | "tempo" | "tbpm" | "tmpo" => Self::Bpm,
            "key" | "tkey" | "initialkey" | "initial_key" | "initial key" | "key signature" => Self::Key,
            "stem" => Self::Stem,
            _ => return None,
        })
    }
}

/// The content of one tag. A field with one value takes the first usable text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Draft {
    title: Option<String>,
    artists: Vec<String>,
    album_artists: Vec<String>,
    album: Option<String>,
    track: Option<String>,
    year: Option<String>,
    genres: Vec<String>,
    bpm: Option<u32>,
    key: Option<Key>,
    stem: Option<String>,
}

impl Draft {
    /// Takes a text, unless it is unusable or the field has a value.
    pub(super) fn add(&mut self, field: Field, text: &str) {
        let Some(text) = clean(text) else { return };
        match field {
            Field::Title => set(&mut self.title, text),
            Field::Artist => append(&mut self.artists, text),
            Field::AlbumArtist => append(&mut self.album_artists, text),
            Field::Album => set(&mut self.album, text),
            Field::Track => self.track = self.track.take().or_else(|| track(&text)),
            Field::Year => self.year = self.year.take().or_else(|| year(&text)),
            Field::Genre => genre::names(&text).into_iter().for_each(|name| append(&mut self.genres, name)),
            Field::Bpm => self.bpm = self.bpm.or_else(|| bpm(&text)),
            Field::Key => self.key = self.key.or_else(|| text.parse().ok()),
            Field::Stem => set(&mut self.stem, text),
        }
    }

    /// Takes every missing field from a tag of lower priority.
    pub(super) fn complete_by(&mut self, other: Self) {
        let Self { title, artists, album_artists, album, track, year, genres, bpm, key, stem } = other;
        for (mine, theirs) in [
            (&mut self.title, title),
            (&mut self.album, album),
            (&mut self.track, track),
            (&mut self.year, year),
            (&mut self.stem, stem),
        ] {
            *mine = mine.take().or(theirs);
        }
        for (mine, theirs) in
            [(&mut self.artists, artists), (&mut self.album_artists, album_artists), (&mut self.genres, genres)]
        {
            if mine.is_empty() {
                *mine = theirs;
            }
        }
        self.bpm = self.bpm.or(bpm);
        self.key = self.key.or(key);
    }

    /// The song's tags. The album's artist replaces a missing artist.
    pub(super) fn into_tags(self) -> Tags {
        let artists = if self.artists.is_empty() { self.album_artists } else { self.artists };
        let several = |values: &[String]| if values.len() > 1 { values.to_vec() } else { Vec::new() };
        Tags {
            title: self.title,
            artist: artists.first().cloned(),
            artists: several(&artists),
            album: self.album,
            track: self.track,
            year: self.year,
            genre: self.genres.first().cloned(),
            genres: several(&self.genres),
            bpm: self.bpm,
            key: self.key,
            stem: self.stem,
        }
    }
}

fn set(field: &mut Option<String>, text: String) {
    field.get_or_insert(text);
}

fn append(values: &mut Vec<String>, text: String) {
    if values.len() < MAX_VALUES && !values.contains(&text) {
        values.push(text);
    }
}

/// The number in "3/12"; programs write 0 for unknown.
fn track(text: &str) -> Option<String> {
    let number: u32 = text.split('/').next()?.trim().parse().ok()?;
    (number > 0).then(|| number.to_string())
}

/// The year at the beginning of a date; programs write 0000 for unknown.
fn year(date: &str) -> Option<String> {
    let year = date.get(..4).filter(|year| year.bytes().all(|digit| digit.is_ascii_digit()))?;
    (year != "0000").then(|| year.to_owned())
}

/// A valid tempo; programs write 0 for unknown.
fn bpm(text: &str) -> Option<u32> {
    text.replace(',', ".").parse().ok().and_then(hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(texts: &[(Field, &str)]) -> Tags {
        let mut draft = Draft::default();
        texts.iter().for_each(|(field, text)| draft.add(*field, text));
        draft.into_tags()
    }

    #[test]
    fn a_year_is_four_digits() {
        for (date, year) in [
            ("1999", Some("1999")),
            ("2021-03-04", Some("2021")),
            ("99", None),
            ("in 1999", None),
            ("0000", None),
            ("199é", None),
        ] {
            assert_eq!(tags(&[(Field::Year, date)]).year.as_deref(), year, "{date}");
        }
    }

    #[test]
    fn a_track_is_a_number() {
        for (text, track) in
            [("3", Some("3")), ("03/12", Some("3")), ("0", None), ("A1", None), ("", None), ("-3", None)]
        {
            assert_eq!(tags(&[(Field::Track, text)]).track.as_deref(), track, "{text}");
        }
    }

    #[test]
    fn a_tempo_is_within_its_range() {
        for (text, bpm) in [
            ("120", Some(12_000)),
            (" 127.957 ", Some(12_796)),
            ("99,5", Some(9_950)),
            ("20", Some(2_000)),
            ("400", Some(40_000)),
            ("0", None),
            ("19.9", None),
            ("401", None),
            ("-120", None),
            ("NaN", None),
            ("fast", None),
        ] {
            assert_eq!(tags(&[(Field::Bpm, text)]).bpm, bpm, "{text}");
        }
    }

    #[test]
    fn single_fields_take_the_first_usable_text() {
        let found = tags(&[
            (Field::Title, "\u{200b}"),
            (Field::Title, "One"),
            (Field::Title, "Two"),
            (Field::Artist, "A"),
            (Field::Artist, "B"),
            (Field::Artist, "A"),
            (Field::Genre, "(17)"),
            (Field::Genre, "Pop"),
            (Field::Key, "o"),
            (Field::Key, "11A"),
        ]);
        assert_eq!(found.title.as_deref(), Some("One"));
        assert_eq!((found.artist.as_deref(), found.artists), (Some("A"), vec!["A".into(), "B".into()]));
        assert_eq!((found.genre.as_deref(), found.genres), (Some("Rock"), vec!["Rock".into(), "Pop".into()]));
        assert_eq!(found.key, "F# minor".parse().ok());
    }

    #[test]
    fn tags_of_lower_priority_fill_gaps_only() {
        let mut draft = Draft::default();
        draft.add(Field::Artist, "A");
        draft.add(Field::AlbumArtist, "Various");
        let mut other = Draft::default();
        for (field, text) in [(Field::Artist, "B"), (Field::Artist, "C"), (Field::Album, "Album")] {
            other.add(field, text);
        }
        draft.complete_by(other);
        let tags = draft.into_tags();
        assert_eq!((tags.artist.as_deref(), tags.artists.len()), (Some("A"), 0));
        assert_eq!(tags.album.as_deref(), Some("Album"));
        assert_eq!(super::tests::tags(&[(Field::AlbumArtist, "Various")]).artist.as_deref(), Some("Various"));
    }
}
