//! From parts to stems: overlap-add, then encoding, as a stream.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::encode::{EncodeError, Mp3Writer, WavWriter};
use crate::part::{PartError, PartReader};
use crate::separator::{Geometry, Separator};

/// Frames that are merged at a time.
const BLOCK: u64 = 1 << 15;

/// The stems could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A part is missing or wrong.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A stem could not be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The disk failed.
    #[error("the stems cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The parts do not cover the song.
    #[error("the parts leave a gap at frame {0}")]
    Gap(u64),
    /// The caller's flag was raised.
    #[error("the merge was stopped")]
    Stopped,
}

/// One finished stem.
#[derive(Debug, Clone)]
pub struct MadeStem {
    /// Its name.
    pub name: String,
    /// For listening: 320 kbit/s.
    pub mp3: PathBuf,
    /// For working on: 16 bit.
    pub wav: PathBuf,
}

struct StemWriter {
    made: MadeStem,
    mp3: Mp3Writer,
    wav: WavWriter,
}

/// Merges the parts of a song of `frames` frames into `folder`. `stop` ends it between blocks.
pub fn merge(
    separator: &dyn Separator,
    frames: u64,
    parts: &[PathBuf],
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Vec<MadeStem>, MergeError> {
    let mut stems = Vec::new();
    for source in separator.sources() {
        let made = MadeStem {
            name: (*source).into(),
            mp3: folder.join(format!("{source}.mp3")),
            wav: folder.join(format!("{source}.wav")),
        };
        let (mp3, wav) = (Mp3Writer::create(&made.mp3)?, WavWriter::create(&made.wav)?);
        stems.push(StemWriter { made, mp3, wav });
    }
    sum_parts(
        separator.geometry(),
        stems.len(),
        frames,
        parts,
        &mut |block| {
            if stop.load(Ordering::Relaxed) {
                return Err(MergeError::Stopped);
            }
            let width = 2 * stems.len();
            stems
                .par_iter_mut()
                .enumerate()
                .try_for_each(|(source, stem)| {
                    let samples = |channel| {
                        block
                            .iter()
                            .skip(2 * source + channel)
                            .step_by(width)
                            .copied()
                            .collect()
                    };
                    let stereo = [samples(0), samples(1)];
                    stem.wav.write(&stereo)?;
                    stem.mp3.write(&stereo)?;
                    Ok::<_, MergeError>(())
                })
        },
    )?;
    stems
        .into_par_iter()
        .map(|stem| {
            stem.wav.finish()?;
            stem.mp3.finish()?;
            Ok(stem.made)
        })
        .collect()
}

/// Adds the parts up, divides by the weights, and gives the song to `sink` in blocks of interleaved frames, each with
/// left and right of every source.
pub(crate) fn sum_parts(
    geometry: Geometry,
    sources: usize,
    frames: u64,
    parts: &[PathBuf],
    sink: &mut dyn FnMut(&[f32]) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let width = 2 * sources;
    let mut readers: Vec<PartReader> = parts
        .iter()
        .map(|part| PartReader::open(part, width))
        .collect::<Result<_, _>>()?;
    readers.sort_by_key(PartReader::begin);
    let mut covered = 0;
    for reader in &readers {
        if reader.begin() > covered {
            return Err(MergeError::Gap(covered));
        }
        covered = covered.max(reader.end());
    }
    if covered != frames {
        return Err(MergeError::Gap(covered.min(frames)));
    }
    let mut at = 0;
    while at < frames {
        let length = BLOCK.min(frames - at) as usize;
        let mut block = vec![0.0; length * width];
        for reader in &mut readers {
            reader.add_to(&mut block, at)?;
        }
        for (frame, samples) in block.chunks_exact_mut(width).enumerate() {
            let weights = weights_at(geometry, at + frame as u64);
            samples.iter_mut().for_each(|sample| *sample /= weights);
        }
        sink(&block)?;
        at += length as u64;
    }
    Ok(())
}

/// The sum of the weights of all segments over a frame, the earliest first.
fn weights_at(geometry: Geometry, frame: u64) -> f32 {
    let (segment, stride) = (geometry.segment as u64, geometry.stride as u64);
    let last = frame / stride;
    let first = (frame + 1).saturating_sub(segment).div_ceil(stride);
    (first..=last).fold(0.0, |sum, index| {
        sum + geometry.weight((frame - index * stride) as usize)
    })
}
