//! From parts to the samples of all sources.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::MergeError;
use crate::part::PartReader;
use crate::separator::Geometry;

/// The number of frames that are merged at a time.
const BLOCK: u64 = 1 << 15;

/// The parts of a separated song.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The parts' files, in any order. The parts of each delay are one separation; the stems are the mean of all.
    pub files: Vec<PathBuf>,
    /// The geometry of the separation.
    pub geometry: Geometry,
    /// The number of the model's sources.
    pub sources: usize,
    /// The song's length in frames.
    pub frames: u64,
}

/// Called with each block of a song: the number of its first frame, and its frames.
type Sink<'a> = dyn FnMut(u64, &[f32]) -> Result<(), MergeError> + 'a;

/// Adds the parts up, divides by the weights, and calls `sink` with each block of the song. Its frames are interleaved,
/// each with left and right of every source.
pub(crate) fn sum_parts(parts: &Parts, sink: &mut Sink<'_>) -> Result<(), MergeError> {
    let Parts { ref files, geometry, sources, frames } = *parts;
    let width = 2 * sources;
    let mut passes: BTreeMap<u64, Vec<PartReader>> = BTreeMap::new();
    for part in files {
        let reader = PartReader::open(part, width)?;
        passes.entry(reader.delay()).or_default().push(reader);
    }
    if passes.is_empty() {
        return Err(MergeError::Gap(0));
    }
    for (delay, readers) in &mut passes {
        readers.sort_by_key(PartReader::begin);
        let mut covered = 0;
        for reader in &*readers {
            if reader.begin() > covered {
                return Err(MergeError::Gap(covered));
            }
            covered = covered.max(reader.end());
        }
        if covered != frames + delay {
            return Err(MergeError::Gap(covered.min(frames)));
        }
    }
    let share = 1.0 / passes.len() as f32;
    let mut streams: Vec<_> =
        passes.into_iter().map(|(delay, readers)| Separation { geometry, delay, width, readers, at: 0 }).collect();
    for stream in &mut streams {
        stream.skip_silence()?;
    }
    for at in (0..frames).step_by(BLOCK as usize) {
        let length = BLOCK.min(frames - at) as usize;
        let mut streams = streams.iter_mut();
        let Some(first) = streams.next() else { break };
        let mut block = first.next(length)?;
        for stream in streams {
            block.iter_mut().zip(stream.next(length)?).for_each(|(sum, sample)| *sum += sample);
        }
        if share < 1.0 {
            block.iter_mut().for_each(|sum| *sum *= share);
        }
        sink(at, &block)?;
    }
    Ok(())
}

/// One separation of the song, read in order.
struct Separation {
    geometry: Geometry,
    delay: u64,
    width: usize,
    readers: Vec<PartReader>,
    /// The next frame, counted with the delay.
    at: u64,
}

impl Separation {
    fn skip_silence(&mut self) -> Result<(), MergeError> {
        while self.at < self.delay {
            self.next((self.delay - self.at).min(BLOCK) as usize)?;
        }
        Ok(())
    }

    fn next(&mut self, length: usize) -> Result<Vec<f32>, MergeError> {
        let mut block = vec![0.0; length * self.width];
        for reader in &mut self.readers {
            reader.add_to(&mut block, self.at)?;
        }
        for (frame, samples) in block.chunks_exact_mut(self.width).enumerate() {
            let weights = weights_at(self.geometry, self.at + frame as u64);
            samples.iter_mut().for_each(|sample| *sample /= weights);
        }
        self.at += length as u64;
        Ok(block)
    }
}

/// The sum of the weights of all segments that contain a frame, the earliest first.
fn weights_at(geometry: Geometry, frame: u64) -> f32 {
    let (segment, stride) = (geometry.segment as u64, geometry.stride as u64);
    let last = frame / stride;
    let first = (frame + 1).saturating_sub(segment).div_ceil(stride);
    (first..=last).fold(0.0, |sum, index| sum + geometry.weight((frame - index * stride) as usize))
}
