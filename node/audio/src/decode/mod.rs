//! Decodes audio files to samples.
//!
//! ```text
//! file --> demux: packets --> codec: samples --> trim --> downmix --> 44.1 kHz
//! ```
//!
//! A file is decoded to its end before it is accepted. So a damaged file is refused at upload, not later on a worker.
//! The decoded song is exactly the sound in the file. Estimates of a length are ignored. The delay of encoders is cut
//! if the file states it. A length in a header that contradicts the file makes the file damaged. A packet of a lossy
//! codec that cannot be decoded becomes silence of its length; in a lossless file it is damage.

mod codec;
mod demux;
mod downmix;
mod error;
pub mod formats;
mod signal;
mod stream;

use std::fs::File;
use std::panic::AssertUnwindSafe;

use serde::{Deserialize, Serialize};

pub use self::error::{DecodeError, Failure};
pub use crate::pcm::Pcm;
use crate::pcm::PcmWriter;
use crate::resample::{ToRate, resampled};
use stream::{Block, Stream};

/// The limits on accepted songs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The longest song, in seconds.
    pub max_seconds: u64,
}

/// The sound in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The usual extension of such files, in lower case.
    pub format: String,
    /// The length in frames at 44.1 kHz, exactly as [`decode_to`] writes them.
    pub frames: u64,
    /// The file's sample rate in Hz: the first, if it changes.
    pub rate: u32,
    /// The file's number of channels: the first, if it changes.
    pub channels: usize,
}

/// Decodes the whole file and returns the properties of its sound.
pub fn probe(file: &File, limits: &Limits) -> Result<Probe, DecodeError> {
    guarded(|| {
        let mut stream = Stream::open(file, Some(limits.max_seconds))?;
        let (mut total, mut run) = (0u64, (0, 0u64));
        stream.run(&mut |block: Block<'_>| {
            if block.rate != run.0 {
                total += resampled_frames(run);
                run = (block.rate, 0);
            }
            run.1 += block.interleaved.len() as u64 / 2;
            Ok(())
        })?;
        let (rate, channels) = stream.signal();
        Ok(Probe { format: stream.format().into(), frames: total + resampled_frames(run), rate, channels })
    })
}

/// Converts a number of frames at a rate to frames at 44.1 kHz; 0 before there are any.
fn resampled_frames((rate, frames): (u32, u64)) -> u64 {
    if frames == 0 { 0 } else { resampled(frames, rate) }
}

/// Decodes the file to the empty file `out` at 44.1 kHz.
pub fn decode_to(file: &File, out: File) -> Result<Pcm, DecodeError> {
    guarded(|| {
        let mut writer = PcmWriter::new(out);
        let mut write = |samples: &[f32]| Ok::<(), DecodeError>(writer.write(samples)?);
        let mut converter: Option<(u32, ToRate)> = None;
        let mut stream = Stream::open(file, None)?;
        stream.run(&mut |block: Block<'_>| {
            let current = match &mut converter {
                Some((rate, current)) if *rate == block.rate => current,
                other => {
                    if let Some((_, before)) = other {
                        before.finish(&mut write)?;
                    }
                    &mut other.insert((block.rate, ToRate::new(block.rate)?)).1
                }
            };
            current.feed(block.interleaved, &mut write)
        })?;
        if let Some((_, last)) = &mut converter {
            last.finish(&mut write)?;
        }
        Ok(writer.finish()?)
    })
}

/// Turns a panic of a decoder into an error: the file counts as damaged, and the process goes on.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(DecodeError::Damaged { seconds: 0.0, reason: "its decoder failed".into() }))
}
