//! The messages between both processes.
//!
//! The request is one argument of the child, in JSON. Its answer goes to its standard output: the length of a JSON text
//! (four bytes, little-endian), the text, and then the bytes of the cover. The file itself is the child's standard
//! input. The path of the samples, if there are any, is an argument of its own, because a path need not be Unicode.

use std::io::{self, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bounds::Budget;
use crate::decode::{DecodeError, Limits, Probe};
use crate::pcm::SongStats;
use crate::tags::{Cover, MAX_COVER, Tags};

/// The longest JSON text of an answer, in bytes.
const LONGEST_TEXT: usize = 1 << 20;
/// The longest answer, in bytes.
pub(super) const LONGEST_ANSWER: usize = 4 + LONGEST_TEXT + MAX_COVER;

/// The work on the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    /// Decode it without writing, and read its tags.
    Inspect(Limits),
    /// Decode it into a file.
    Decode,
    /// Read its tags.
    Tags,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// The work to do.
    pub work: Work,
    /// The bounds of the child.
    pub budget: Budget,
    /// The id of the parent process.
    pub parent: i32,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The result of [`Work::Inspect`]; a cover may follow.
    Inspected {
        /// The properties of the sound.
        probe: Probe,
        /// The tags.
        tags: Tags,
    },
    /// The result of [`Work::Decode`].
    Decoded {
        /// The number of frames.
        frames: u64,
        /// The statistics of the samples.
        stats: SongStats,
    },
    /// The result of [`Work::Tags`]; a cover may follow.
    Tagged {
        /// The tags.
        tags: Tags,
    },
    /// The work failed.
    Failed(DecodeError),
}

/// Writes an answer.
pub(super) fn write(to: &mut impl Write, answer: &Answer, cover: Option<&Cover>) -> io::Result<()> {
    let text = serde_json::to_vec(answer)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&text)?;
    to.write_all(cover.map_or(&[], |cover| &cover.bytes))?;
    to.flush()
}

/// Reads an answer; none if it is invalid.
pub(super) fn read(bytes: &[u8]) -> Option<(Answer, Option<Cover>)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, cover) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let answer = serde_json::from_slice(text).ok()?;
    // The bytes of the cover determine its media type again: the child is not trusted.
    let cover = if cover.is_empty() { None } else { Some(Cover::of(cover)?) };
    Some((answer, cover))
}

/// An [`io::Error`] in a message.
#[derive(Serialize, Deserialize)]
struct Told {
    number: Option<i32>,
    kind: String,
    message: String,
}

/// The kinds of errors without a number of the system.
const KINDS: [io::ErrorKind; 5] = [
    io::ErrorKind::InvalidData,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::StorageFull,
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::WriteZero,
];

/// The functions for `#[serde(with)]`.
pub(crate) mod io_error {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(error: &io::Error, to: S) -> Result<S::Ok, S::Error> {
        let (number, kind) = (error.raw_os_error(), format!("{:?}", error.kind()));
        Told { number, kind, message: error.to_string() }.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<io::Error, D::Error> {
        let Told { number, kind, message } = Told::deserialize(from)?;
        Ok(match number {
            Some(number) => io::Error::from_raw_os_error(number),
            None => {
                let known = KINDS.into_iter().find(|known| format!("{known:?}") == kind);
                io::Error::new(known.unwrap_or(io::ErrorKind::Other), message)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travelled(answer: &Answer, cover: Option<&Cover>) -> (Answer, Option<Cover>) {
        let mut bytes = Vec::new();
        write(&mut bytes, answer, cover).unwrap();
        read(&bytes).unwrap()
    }

    #[test]
    fn errors_are_transferred_unchanged() {
        let full = || DecodeError::Io(io::Error::from(rustix::io::Errno::NOSPC));
        for error in [
            DecodeError::NotAudio,
            DecodeError::Truncated { found: 1.25, promised: 3.5 },
            DecodeError::Damaged { seconds: 0.5, reason: "\"quoted\"".into() },
            DecodeError::TooLong(7200),
            DecodeError::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "early")),
            full(),
        ] {
            let (text, debug) = (error.to_string(), format!("{error:?}"));
            let (Answer::Failed(arrived), None) = travelled(&Answer::Failed(error), None) else { panic!("{text}") };
            assert_eq!((arrived.to_string(), format!("{arrived:?}")), (text, debug));
        }
        let (Answer::Failed(DecodeError::Io(arrived)), _) = travelled(&Answer::Failed(full()), None) else { panic!() };
        assert_eq!(arrived.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn statistics_are_transferred_exactly() {
        for seed in 1..2000u32 {
            let value = f32::from_bits(seed.wrapping_mul(0x9e37_79b9) & 0x7f7f_ffff);
            let sent = SongStats { mean: -value, std: value };
            let (Answer::Decoded { stats, .. }, _) = travelled(&Answer::Decoded { frames: 1, stats: sent }, None)
            else {
                panic!()
            };
            assert_eq!((stats.mean.to_bits(), stats.std.to_bits()), ((-value).to_bits(), value.to_bits()));
        }
    }

    #[test]
    fn invalid_answers_are_refused() {
        let mut good = Vec::new();
        let cover = Cover::of(b"\xff\xd8\xff\xe0JFIF").unwrap();
        let answer = Answer::Tagged { tags: Tags::default() };
        write(&mut good, &answer, Some(&cover)).unwrap();
        assert_eq!(travelled(&answer, Some(&cover)).1, Some(cover));
        let text = usize::try_from(u32::from_le_bytes(*good.first_chunk().unwrap())).unwrap();
        for length in 0..4 + text {
            assert!(read(&good[..length]).is_none(), "{length}");
        }
        // The cover is not a picture.
        assert!(read(&[&good[..4 + text], b"#!/bin/sh"].concat()).is_none());
        assert!(read(&[&[0xff; 4], &good[4..]].concat()).is_none());
        assert!(read(b"").is_none());
    }
}
