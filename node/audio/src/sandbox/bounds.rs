//! The bounds of a process that reads one file.

use serde::{Deserialize, Serialize};

use crate::RATE;

/// The memory that a decoder may use in addition to the memory that the program maps at its start, in bytes. The
/// largest need of a file of scripts/formats is 58 MB.
const MEMORY: u64 = 512 << 20;
/// The processor time for work that does not depend on the length, in seconds: the start, headers, tags.
const ANY_LENGTH: u64 = 30;
/// The seconds of sound per second of processor time that decoding must reach: the slowest format, AAC with six
/// channels, is some four times faster.
const SECONDS_IN_ONE: u64 = 25;
/// The real time per second of processor time: the machine has other work, which has priority.
const PATIENCE: u64 = 4;
/// The size of a decoded frame in bytes: two channels of 32 bits.
const FRAME: u64 = 8;
/// The number of frames by which a decoded file may exceed its expected length.
const SLACK: u64 = 60 * RATE as u64;
/// The longest song if its length is unknown, in seconds: a day.
const LONGEST: u64 = 24 * 60 * 60;

/// The bounds for reading files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Memory in addition to that mapped at the program's start, in bytes.
    pub memory: u64,
    /// Processor time for work that does not depend on the length, in seconds.
    pub any_length: u64,
    /// The longest song, in seconds.
    pub longest: u64,
    /// Real time per second of processor time.
    pub patience: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory: MEMORY, any_length: ANY_LENGTH, longest: LONGEST, patience: PATIENCE }
    }
}

impl Bounds {
    /// The bounds for decoding at most this many seconds, with or without an output file.
    pub(super) fn for_sound(&self, seconds: u64, writes: bool) -> Budget {
        let frames = seconds.saturating_mul(u64::from(RATE)).saturating_add(SLACK);
        let file = if writes { frames.saturating_mul(FRAME) } else { 0 };
        self.of(self.any_length.saturating_add(seconds / SECONDS_IN_ONE), file)
    }

    /// The bounds for reading tags.
    pub(super) fn for_tags(&self) -> Budget {
        self.of(self.any_length, 0)
    }

    fn of(&self, processor: u64, file: u64) -> Budget {
        Budget { memory: self.memory, processor, patience: processor.saturating_mul(self.patience), file }
    }
}

/// The bounds of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Budget {
    /// Memory in addition to that mapped at the program's start, in bytes.
    pub memory: u64,
    /// Processor time in seconds.
    pub processor: u64,
    /// Real time in seconds.
    pub patience: u64,
    /// The largest size of the output file, in bytes.
    pub file: u64,
}
