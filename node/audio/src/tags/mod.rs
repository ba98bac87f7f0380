//! The tags of a song's file: title, artists, album, tempo, key and the like, and the picture of the cover.
//!
//! ```text
//! mod: finds the tags in a file, by its content
//!   id3v2, tail (APEv2, ID3v1), comments (FLAC, Ogg), iff (WAV, AIFF), mp4, matroska, caf: read one kind of tag
//!     input, picture: read bytes of the file, within limits
//!     text, genre, draft: decode and clean texts, and choose among them
//! ```
//!
//! Invariants:
//!
//! - A text has at most [`MAX_TEXT`] bytes, no control characters and at least one visible character. A picture has at
//!   most [`MAX_COVER`] bytes, and its bytes determine its media type.
//! - No reader recurses deeper than the fixed depth of its format, and none trusts a length or a count in the file.
//!   Reading takes less than 64 MiB of memory and 200,000 reads for any file.
//! - Tags do not decide whether a song is accepted: an unreadable tag is absent. The exception is an ID3v2 tag that no
//!   program writes and that exhausts other readers: more than 10,000 frames, 2,000 chapters or 100 tables of contents,
//!   or chapters within chapters.
//! - If a file has several tags, each field comes from the tag nearest to the sound that has it. ID3v1 has the lowest
//!   priority, because it truncates texts.
//!
//! Lyrics, comments, ratings and chapters are not read, nor compressed or encrypted frames.

mod caf;
mod comments;
mod draft;
mod genre;
mod id3v2;
mod iff;
mod input;
mod matroska;
mod mp4;
mod picture;
mod tail;
mod text;

use std::fs::File;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::analysis::Key;
use crate::decode::{DecodeError, guarded};
use crate::source::Source;
use draft::Draft;
use input::{Input, SeekRead};
use picture::Pictures;

/// The longest text, in bytes.
pub const MAX_TEXT: usize = 1024;
/// The largest picture, in bytes.
pub const MAX_COVER: usize = 8 << 20;
/// The range of tempi, in beats per minute.
pub const BPM: RangeInclusive<f64> = 20.0..=400.0;

/// The largest number of tags before the sound that are read.
const MAX_LEADING: usize = 8;

/// The tags of a song.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tags {
    /// The song's title.
    pub title: Option<String>,
    /// The main artist, or the album's artist if there is none.
    pub artist: Option<String>,
    /// All artists, the main one first, if there are several; else empty.
    pub artists: Vec<String>,
    /// The album.
    pub album: Option<String>,
    /// The track number on the album.
    pub track: Option<String>,
    /// The year of the recording or the release, in four digits.
    pub year: Option<String>,
    /// The main genre.
    pub genre: Option<String>,
    /// All genres, the main one first, if there are several; else empty.
    pub genres: Vec<String>,
    /// The tempo in hundredths of beats per minute.
    pub bpm: Option<u32>,
    /// The key.
    pub key: Option<Key>,
    /// The name of the stem in the file; none for a whole song.
    pub stem: Option<String>,
}

impl Tags {
    /// The tags of one of the song's stems: "Song (vocals)".
    pub fn for_stem(&self, stem: &str) -> Self {
        let title = self.title.as_ref().map_or_else(|| stem.into(), |title| format!("{title} ({stem})"));
        Self { title: Some(title), stem: Some(stem.into()), ..self.clone() }
    }
}

/// The cover of a song.
#[derive(Clone, PartialEq, Eq)]
pub struct Cover {
    /// Its media type.
    pub mime: &'static str,
    /// The bytes of the picture.
    pub bytes: Vec<u8>,
}

impl Cover {
    /// The picture in these bytes, if they are a picture within the size limit.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mime = Self::kind_of(bytes).filter(|_| bytes.len() <= MAX_COVER)?;
        Some(Self { mime, bytes: bytes.into() })
    }

    /// The media type of a picture that begins with these bytes.
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

impl std::fmt::Debug for Cover {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Cover({}, {} bytes)", self.mime, self.bytes.len())
    }
}

/// A tempo in beats per minute as hundredths, if it is valid: 20 to 400.
pub fn hundredths(bpm: f64) -> Option<u32> {
    BPM.contains(&bpm).then(|| (bpm * 100.0).round() as u32)
}

/// Reads the file's tags. Its content determines their positions.
///
/// # Errors
///
/// [`DecodeError::Tag`] for an ID3v2 tag that no program writes, and [`DecodeError::Io`] if the disk fails.
pub fn tags_of(file: &File) -> Result<(Tags, Option<Cover>), DecodeError> {
    guarded(|| read(Source::new(file)?))
}

fn read(stream: impl SeekRead) -> Result<(Tags, Option<Cover>), DecodeError> {
    let mut input = Input::new(stream)?;
    let mut pictures = Pictures::default();
    let (leading, at) = leading(&mut input)?;

    let container = Wrapper::of(&input.read(at, 12)?);
    let mut draft = match container {
        Wrapper::Stream => Draft::default(),
        Wrapper::Flac => comments::flac(&mut input, at, &mut pictures)?,
        Wrapper::Ogg => comments::ogg(&mut input, at, &mut pictures)?,
        Wrapper::Wav => iff::wav(&mut input, at, &mut pictures)?,
        Wrapper::Aiff => iff::aiff(&mut input, at, &mut pictures)?,
        Wrapper::Mp4 => mp4::read(&mut input, at, &mut pictures)?,
        Wrapper::Matroska => matroska::read(&mut input, at, &mut pictures)?,
        Wrapper::Caf => caf::read(&mut input, at)?,
    };
    let end = input.length();
    for tag in leading.into_iter().rev() {
        draft.complete_by(match tag {
            Leading::Id3(at) => id3v2::read(&mut input, at, end, &mut pictures)?,
            Leading::Ape(at) => tail::leading_ape(&mut input, at, &mut pictures)?,
        });
    }
    let may_have_id3v1 = matches!(container, Wrapper::Stream | Wrapper::Flac);
    for tag in tail::read(&mut input, may_have_id3v1, &mut pictures)? {
        draft.complete_by(tag);
    }
    Ok((draft.into_tags(), pictures.into_cover()))
}

/// The position of a tag before the sound.
enum Leading {
    Id3(u64),
    Ape(u64),
}

/// The tags before the sound, and the position after them.
fn leading(input: &mut Input<'_>) -> Result<(Vec<Leading>, u64), DecodeError> {
    let (mut tags, mut at) = (Vec::new(), 0);
    while tags.len() < MAX_LEADING {
        let (tag, end) = if let Some((_, end)) = id3v2::range(input, at)? {
            (Leading::Id3(at), end)
        } else if let Some(end) = tail::leading_ape_end(input, at)? {
            (Leading::Ape(at), end)
        } else {
            break;
        };
        tags.push(tag);
        at = end;
    }
    Ok((tags, at))
}

/// The container of the sound.
#[derive(Clone, Copy)]
enum Wrapper {
    /// None: MPEG or ADTS frames, or no audio at all.
    Stream,
    Flac,
    Ogg,
    Wav,
    Aiff,
    Mp4,
    Matroska,
    Caf,
}

impl Wrapper {
    /// The container of a file that begins with these bytes.
    fn of(beginning: &[u8]) -> Self {
        match beginning {
            [b'f', b'L', b'a', b'C', ..] => Self::Flac,
            [b'O', b'g', b'g', b'S', ..] => Self::Ogg,
            [b'R', b'I' | b'F', b'F' | b'6', b'F' | b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Self::Wav,
            [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => Self::Aiff,
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Self::Matroska,
            [b'c', b'a', b'f', b'f', ..] => Self::Caf,
            // The type of an MP4 file's first atom, which QuickTime does not fix.
            _ => match beginning.get(4..8) {
                Some(b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"pnot") => Self::Mp4,
                _ => Self::Stream,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
