//! Why a file cannot be decoded, in sentences for the person who has it.

use std::io;

use serde::{Deserialize, Serialize};

use super::formats::ACCEPTED;
use crate::resample::ResampleError;

/// A file cannot be decoded.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum DecodeError {
    /// The file is empty.
    #[error("the file is empty; choose one with music in it")]
    Empty,
    /// No audio of a known kind.
    #[error("this is not an audio file that can be read; use {ACCEPTED}")]
    NotAudio,
    /// The container is known; its audio cannot be decoded.
    #[error("this file's audio cannot be decoded ({0}); convert it to FLAC, WAV or MP3")]
    Unsupported(String),
    /// It has no samples.
    #[error("the file holds no sound; choose one that is longer than nothing")]
    Silent,
    /// It ends before the length that its header gives.
    #[error("the file ends after {found:.1} of {promised:.1} seconds; it was cut off, use the whole file")]
    Truncated {
        /// Seconds that are there.
        found: f64,
        /// Seconds that should be.
        promised: f64,
    },
    /// Its end is missing; how much of it is unknown.
    #[error("the end of the file is missing; it was cut off, use the whole file")]
    CutOff,
    /// A part of it is broken.
    #[error("the file is damaged after {seconds:.1} seconds ({reason}); use an intact copy")]
    Damaged {
        /// Where.
        seconds: f64,
        /// How.
        reason: String,
    },
    /// Its header is broken.
    #[error("the header of this {format} file is damaged ({reason}); save or convert it again")]
    Header {
        /// The container.
        format: String,
        /// How.
        reason: String,
    },
    /// Its tag can harm programs that read it.
    #[error("this file is not accepted: {0}; remove the tag with a tag editor")]
    Tag(String),
    /// Its samples are beyond what any recording has.
    #[error(
        "the samples of this file reach {0:+.0} dB above full scale, so they are not what its header says; export it \
         again, for example as 24-bit WAV"
    )]
    Loud(f64),
    /// It is too long.
    #[error("the song is longer than {0} seconds, the most that is accepted here; use a shorter one")]
    TooLong(u64),
    /// The sample rate cannot be converted.
    #[error(transparent)]
    Resample(#[from] ResampleError),
    /// The disk failed.
    #[error("the samples cannot be read or written: {0}")]
    Io(
        #[from]
        #[serde(with = "crate::sandbox::io_error")]
        io::Error,
    ),
    /// The process that decoded it did not end well.
    #[error("the file cannot be read: {0}; export the song again, for example as WAV or FLAC")]
    Failed(Failure),
}

/// Why a process that decodes a file gives no result, where that is the file's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Failure {
    /// The bound in bytes.
    #[error("decoding it needs more than {} MB of memory", .0 / 1_000_000)]
    Memory(u64),
    /// The bound in seconds.
    #[error("decoding it takes more than {0} seconds of processor time")]
    Processor(u64),
    /// The bound in seconds.
    #[error("decoding it takes longer than {0} seconds")]
    Time(u64),
    /// The bound in bytes.
    #[error("it holds more than {} MB of samples", .0 / 1_000_000)]
    Samples(u64),
    /// A signal ended it.
    #[error("its decoder crashed")]
    Crashed,
    /// Its answer cannot be read.
    #[error("its decoder gave no usable result")]
    Nonsense,
}

impl DecodeError {
    /// Whether the file is at fault, so that it cannot be decoded anywhere. Other errors may pass.
    pub fn is_the_files(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}
