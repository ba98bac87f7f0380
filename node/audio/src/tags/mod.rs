//! What a file says of its song: title, artist, album, tempo, key and the like, and the picture on the cover.
//!
//! Tags come from strangers. A text is at most [`MAX_TEXT`] bytes long and has no control characters; a picture is at
//! most [`MAX_COVER`] bytes large, and its bytes, not its tag, say what kind it is. Where a file has several tags, what
//! lies nearest to the sound wins: an ID3v1 tag cuts texts off and lies at the very end.
//!
//! Lyrics, comments, ratings and all else are not read, nor ID3 tags in WAV files.

mod riff;

use std::fs::File;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use symphonia::core::meta::{MetadataContainer, RawValue, StandardTag, StandardVisualKey, Tag, Visual};

use crate::analysis::Key;
use crate::decode::{DecodeError, guarded, open};
use crate::source::Source;

/// The longest text, in bytes.
pub const MAX_TEXT: usize = 1024;
/// The largest picture, in bytes.
pub const MAX_COVER: usize = 8 << 20;
/// The tempi that songs have, in beats per minute.
pub const BPM: RangeInclusive<f64> = 20.0..=400.0;

/// What a file says of its song.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tags {
    /// The song's title.
    pub title: Option<String>,
    /// Who plays.
    pub artist: Option<String>,
    /// The album that it is on.
    pub album: Option<String>,
    /// Its number on the album.
    pub track: Option<String>,
    /// The year in which it was recorded or published, in four digits.
    pub year: Option<String>,
    /// The kind of music.
    pub genre: Option<String>,
    /// The tempo in hundredths of beats per minute.
    pub bpm: Option<u32>,
    /// The key.
    pub key: Option<Key>,
    /// Which stem of the song the file is; a whole song is none.
    pub stem: Option<String>,
}

impl Tags {
    /// The tags of one of the song's stems: "Song (vocals)".
    pub fn for_stem(&self, stem: &str) -> Self {
        let title = self.title.as_ref().map_or_else(|| stem.into(), |title| format!("{title} ({stem})"));
        Self { title: Some(title), stem: Some(stem.into()), ..self.clone() }
    }

    fn take(&mut self, tag: &Tag) {
        match &tag.std {
            Some(StandardTag::TrackTitle(text)) => set(&mut self.title, text),
            Some(StandardTag::Artist(text)) => set(&mut self.artist, text),
            Some(StandardTag::Album(text)) => set(&mut self.album, text),
            Some(StandardTag::TrackNumber(number)) => set(&mut self.track, &number.to_string()),
            Some(StandardTag::Genre(text)) => set(&mut self.genre, text),
            Some(StandardTag::RecordingYear(year) | StandardTag::ReleaseYear(year)) => {
                self.take_year(&year.to_string());
            }
            Some(StandardTag::RecordingDate(date) | StandardTag::ReleaseDate(date)) => self.take_year(date),
            Some(StandardTag::InitialKey(text)) => self.take_key(text),
            _ => {}
        }
        self.take_other(tag);
        // In ID3 a text frame of any meaning has its name beside the text.
        let described = tag.raw.sub_fields.iter().flatten().any(|field| is_stem(&field.value));
        if (described || tag.raw.key.eq_ignore_ascii_case("STEM"))
            && let RawValue::String(text) = &tag.raw.value
        {
            set(&mut self.stem, text);
        }
    }

    /// Takes tempo and key from tags that symphonia gives no meaning, or only one in whole numbers.
    fn take_other(&mut self, tag: &Tag) {
        if let Some(StandardTag::Bpm(bpm)) = &tag.std {
            self.take_bpm(&bpm.to_string());
        }
        let RawValue::String(text) = &tag.raw.value else { return };
        let name = tag.raw.key.rsplit(':').next().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "tbpm" | "bpm" | "tempo" | "tmpo" => self.take_bpm(text),
            "tkey" | "initialkey" | "initial_key" | "initial key" | "key" => self.take_key(text),
            _ => {}
        }
    }

    /// Takes a tempo that a song may have; 0 is what programs write that know none.
    fn take_bpm(&mut self, text: &str) {
        let bpm = text.trim().replace(',', ".").parse().ok();
        self.bpm = bpm.and_then(hundredths).or(self.bpm);
    }

    fn take_key(&mut self, text: &str) {
        self.key = text.trim().parse().ok().or(self.key);
    }

    /// Takes the year of a date, which it begins with.
    fn take_year(&mut self, date: &str) {
        if let Some(year) = date.get(..4).filter(|year| year.bytes().all(|digit| digit.is_ascii_digit())) {
            set(&mut self.year, year);
        }
    }
}

/// The picture on a song's cover.
#[derive(Clone, PartialEq, Eq)]
pub struct Cover {
    /// Its media type.
    pub mime: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Cover {
    /// The picture in these bytes, if they are one and not too many.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mime = Self::kind_of(bytes).filter(|_| bytes.len() <= MAX_COVER)?;
        Some(Self { mime, bytes: bytes.into() })
    }

    /// The media type of a picture that begins so.
    pub fn kind_of(beginning: &[u8]) -> Option<&'static str> {
        match beginning {
            [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
            _ => None,
        }
    }
}

/// A tempo in beats per minute as whole hundredths, if it is one: 20 to 400.
pub fn hundredths(bpm: f64) -> Option<u32> {
    BPM.contains(&bpm).then(|| (bpm * 100.0).round() as u32)
}

impl std::fmt::Debug for Cover {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Cover({}, {} bytes)", self.mime, self.bytes.len())
    }
}

/// Reads what the file says of its song. `extension` is the file name's, if known.
pub fn tags_of(file: &File, extension: Option<&str>) -> Result<(Tags, Option<Cover>), DecodeError> {
    guarded(|| {
        let mut format = open(file, extension)?;
        let mut tags = Tags::default();
        let mut visuals = Vec::new();
        let mut read = |container: &MetadataContainer| {
            // A tag may hold several artists or genres: the first is the main one.
            let mut own = Tags::default();
            container.tags.iter().rev().for_each(|tag| own.take(tag));
            tags.replace_by(own);
            visuals.splice(0..0, container.visuals.iter().cloned());
        };
        let mut metadata = format.metadata();
        while let Some(revision) = metadata.current() {
            read(&revision.media);
            revision.per_track.iter().for_each(|track| read(&track.metadata));
            if metadata.pop().is_none() {
                break;
            }
        }
        // symphonia's reader of WAV files forgets their tags (symphonia-format-riff 0.6.1, wave/mod.rs).
        riff::read(&mut Source::new(file)?, |name, text| tags.take_riff(name, text))?;
        Ok((tags, front_cover(&visuals)))
    })
}

impl Tags {
    fn replace_by(&mut self, other: Self) {
        let Self { title, artist, album, track, year, genre, bpm, key, stem } = other;
        self.bpm = bpm.or(self.bpm);
        self.key = key.or(self.key);
        for (mine, theirs) in [
            (&mut self.title, title),
            (&mut self.artist, artist),
            (&mut self.album, album),
            (&mut self.track, track),
            (&mut self.year, year),
            (&mut self.genre, genre),
            (&mut self.stem, stem),
        ] {
            if theirs.is_some() {
                *mine = theirs;
            }
        }
    }

    fn take_riff(&mut self, name: [u8; 4], text: &str) {
        match &name {
            b"INAM" => set(&mut self.title, text),
            b"IART" => set(&mut self.artist, text),
            b"IPRD" => set(&mut self.album, text),
            b"IPRT" | b"ITRK" => set(&mut self.track, text.split('/').next().unwrap_or_default()),
            b"ICRD" => self.take_year(text),
            b"IGNR" => set(&mut self.genre, text),
            b"ISBJ" => set(&mut self.stem, text),
            _ => {}
        }
    }
}

fn is_stem(value: &RawValue) -> bool {
    matches!(value, RawValue::String(text) if text.eq_ignore_ascii_case("STEM"))
}

/// The front cover, or else the first picture.
fn front_cover(visuals: &[Visual]) -> Option<Cover> {
    let is_front = |visual: &&Visual| visual.usage == Some(StandardVisualKey::FrontCover);
    let mut candidates = visuals.iter().filter(is_front).chain(visuals.iter().filter(|visual| !is_front(visual)));
    candidates.find_map(|visual| Cover::of(&visual.data))
}

/// Sets a field, unless nothing is left of the text when it is cleaned.
fn set(field: &mut Option<String>, text: &str) {
    let printable: String = text.chars().filter(|character| !character.is_control()).take(MAX_TEXT).collect();
    let mut text = printable.trim().to_owned();
    while text.len() > MAX_TEXT {
        text.pop();
    }
    if !text.is_empty() {
        *field = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cleaned_and_cut() {
        let cleaned = |text: &str| {
            let mut field = None;
            set(&mut field, text);
            field
        };
        assert_eq!(cleaned(" A\0 song\r\n\u{1b}[31m "), Some("A song[31m".into()));
        assert_eq!(cleaned("\0\t "), None);
        assert_eq!(cleaned(&"ä".repeat(5000)), Some("ä".repeat(MAX_TEXT / 2)));
    }

    #[test]
    fn a_year_is_four_digits() {
        for (date, year) in [("1999", Some("1999")), ("2021-03-04", Some("2021")), ("99", None), ("in 1999", None)] {
            let mut tags = Tags::default();
            tags.take_year(date);
            assert_eq!(tags.year.as_deref(), year, "{date}");
        }
    }

    #[test]
    fn a_tempo_is_one_that_songs_have() {
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
            let mut tags = Tags::default();
            tags.take_bpm(text);
            assert_eq!(tags.bpm, bpm, "{text}");
        }
    }

    #[test]
    fn only_pictures_are_covers() {
        assert_eq!(Cover::of(b"\xff\xd8\xff\xe0JFIF").unwrap().mime, "image/jpeg");
        assert_eq!(Cover::of(b"\x89PNG\r\n\x1a\n").unwrap().mime, "image/png");
        assert_eq!(Cover::of(b"RIFF\0\0\0\0WEBPVP8 ").unwrap().mime, "image/webp");
        assert_eq!(Cover::of(b"GIF89a\x10\0").unwrap().mime, "image/gif");
        assert_eq!(Cover::of(b"<svg onload=alert(1)>"), None);
        let mut large = b"\xff\xd8\xff".to_vec();
        large.resize(MAX_COVER, 0);
        assert!(Cover::of(&large).is_some());
        large.push(0);
        assert_eq!(Cover::of(&large), None);
    }
}
