//! The reasons for which a file cannot be decoded, as messages for its owner.

use std::io;

use serde::{Deserialize, Serialize};

use super::formats::ACCEPTED;
use crate::resample::ResampleError;

/// A file cannot be decoded.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum DecodeError {
    /// The file is empty.
    #[error("the file is empty; choose another file")]
    Empty,
    /// The file is not audio in a supported format.
    #[error("this is not an audio file in a supported format; use {ACCEPTED}")]
    NotAudio,
    /// The container is supported, its audio is not.
    #[error("this file's audio cannot be decoded ({0}); convert it to FLAC, WAV or MP3")]
    Unsupported(String),
    /// The file has no samples.
    #[error("the file holds no sound; choose another file")]
    Silent,
    /// The file ends before the length in its header.
    #[error("the file ends after {found:.1} of {promised:.1} seconds; it is cut off, use the complete file")]
    Truncated {
        /// The length of the sound in the file, in seconds.
        found: f64,
        /// The length in the header, in seconds.
        promised: f64,
    },
    /// The file's end is missing; the length of the missing part is unknown.
    #[error("the end of the file is missing; it is cut off, use the complete file")]
    CutOff,
    /// A part of the file is damaged.
    #[error("the file is damaged after {seconds:.1} seconds ({reason}); use an intact copy")]
    Damaged {
        /// The position of the damage, in seconds.
        seconds: f64,
        /// What is wrong there.
        reason: String,
    },
    /// The header is damaged.
    #[error("the header of this {format} file is damaged ({reason}); save or convert it again")]
    Header {
        /// The name of the container.
        format: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file's tag exhausts programs that read it.
    #[error("this file is not accepted: {0}; remove the tag with a tag editor")]
    Tag(String),
    /// The samples are larger than those of any recording.
    #[error(
        "the samples of this file reach {0:+.0} dB above full scale, so they are not what its header says; export it \
         again, for example as 24-bit WAV"
    )]
    Loud(f64),
    /// The song is too long.
    #[error("the song is longer than the limit of {0} seconds; use a shorter one")]
    TooLong(u64),
    /// The sample rate cannot be converted.
    #[error(transparent)]
    Resample(#[from] ResampleError),
    /// The disk failed.
    #[error("cannot read or write the samples: {0}")]
    Io(
        #[from]
        #[serde(with = "crate::sandbox::io_error")]
        io::Error,
    ),
    /// The process that decoded the file failed.
    #[error("cannot read the file: {0}; export the song again, for example as WAV or FLAC")]
    Failed(Failure),
}

/// The reasons for which a file makes its decoding process fail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Failure {
    /// The bound in bytes.
    #[error("decoding it needs more than {} MB of memory", .0 / 1_000_000)]
    Memory(u64),
    /// The bound on processor time, in seconds.
    #[error("decoding it takes more than {0} seconds of processor time")]
    Processor(u64),
    /// The bound on real time, in seconds.
    #[error("decoding it takes longer than {0} seconds")]
    Time(u64),
    /// The bound in bytes.
    #[error("it holds more than {} MB of samples", .0 / 1_000_000)]
    Samples(u64),
    /// A signal ended the process.
    #[error("its decoder crashed")]
    Crashed,
    /// The process' answer is invalid.
    #[error("its decoder returned an invalid result")]
    Nonsense,
}

impl DecodeError {
    /// Whether the file itself is the cause, so that every node would fail. Other errors may be temporary.
    pub fn is_the_files(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}
