//! The errors of a merge.

use std::io;

use crate::part::PartError;
use audio::encode::{EncodeError, Format};

/// Parts cannot be merged into stems.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A part is missing or invalid.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A stem cannot be encoded or written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The disk failed.
    #[error("cannot read the song or write the stems: {0}")]
    Io(#[from] io::Error),
    /// The parts do not cover the song.
    #[error("the parts leave a gap at frame {0}")]
    Gap(u64),
    /// The caller asks for a file in a format that was not exported.
    #[error("there is no file in the format {0}: the export did not include it")]
    NotAsked(Format),
    /// The caller set the `stop` flag.
    #[error("the merge was stopped")]
    Stopped,
}
