//! What the process that reads one file may use.

use serde::{Deserialize, Serialize};

use crate::RATE;

/// The memory that a decoder may take on top of what the program maps when it starts, in bytes. The most that a file of
/// scripts/formats takes is 58 MB.
const MEMORY: u64 = 512 << 20;
/// The processor time for what does not depend on the length, in seconds: the start, headers, tags.
const ANY_LENGTH: u64 = 30;
/// Decoding may take one second of processor time for this many seconds of sound: some four times what the slowest
/// format takes, AAC of six channels.
const SECONDS_IN_ONE: u64 = 25;
/// Real time that may pass for each second of processor time: the machine has other work, which has priority.
const PATIENCE: u64 = 4;
/// Bytes of a decoded frame: two channels of 32 bits.
const FRAME: u64 = 8;
/// Frames that a decoded file may have beyond its length.
const SLACK: u64 = 60 * RATE as u64;
/// The longest song where nothing is known of its length, in seconds: a day.
const LONGEST: u64 = 24 * 60 * 60;

/// What reading files may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Memory beyond what the program maps when it starts, in bytes.
    pub memory: u64,
    /// Seconds of processor time for what does not depend on the length.
    pub any_length: u64,
    /// The longest song, in seconds.
    pub longest: u64,
    /// Real time that may pass for each second of processor time.
    pub patience: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory: MEMORY, any_length: ANY_LENGTH, longest: LONGEST, patience: PATIENCE }
    }
}

impl Bounds {
    /// For decoding at most this many seconds, into a file or not.
    pub(super) fn for_sound(&self, seconds: u64, writes: bool) -> Budget {
        let frames = seconds.saturating_mul(u64::from(RATE)).saturating_add(SLACK);
        let file = if writes { frames.saturating_mul(FRAME) } else { 0 };
        self.of(self.any_length.saturating_add(seconds / SECONDS_IN_ONE), file)
    }

    /// For reading tags.
    pub(super) fn for_tags(&self) -> Budget {
        self.of(self.any_length, 0)
    }

    fn of(&self, processor: u64, file: u64) -> Budget {
        Budget { memory: self.memory, processor, patience: processor.saturating_mul(self.patience), file }
    }
}

/// What one process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Budget {
    /// Memory beyond what the program maps when it starts, in bytes.
    pub memory: u64,
    /// Processor time in seconds.
    pub processor: u64,
    /// Real time in seconds.
    pub patience: u64,
    /// The largest file that it may write, in bytes.
    pub file: u64,
}
