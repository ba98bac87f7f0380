//! The output of a task: the weighted sum of its segments' sources, as a file.
//!
//! The file is a header and then frames, each with a float for every channel of every source. Sums are not yet divided
//! by the sum of the weights, because neighbouring parts overlap and must be added first. If at most two segments
//! overlap anywhere, the sum is bit-identical for any grouping of segments into tasks.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::separator::{Geometry, SeparateError, Separator};
use audio::pcm::Pcm;

const MAGIC: &[u8; 8] = b"QTPART02";

/// A part cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The model failed.
    #[error(transparent)]
    Separate(#[from] SeparateError),
    /// The disk failed.
    #[error("cannot read or write the part {path}: {source}")]
    Io {
        /// The part.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not a part with this number of sources.
    #[error("{0} is not a part of this job")]
    NotAPart(PathBuf),
    /// The caller set the `stop` flag.
    #[error("the separation was stopped")]
    Stopped,
}

/// Adds the part's path to the system's error.
fn io_error(path: &Path) -> impl Fn(io::Error) -> PartError + '_ {
    |source| PartError::Io { path: path.into(), source }
}

/// The segments of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The model's geometry.
    pub geometry: Geometry,
    /// Frames of silence before the song, which shift it against the segments.
    pub delay: u64,
    /// The first segment.
    pub first: u32,
    /// The number of consecutive segments.
    pub count: u32,
}

impl Cut {
    /// All segments of a song of `frames` frames.
    pub fn whole(geometry: Geometry, delay: u64, frames: u64) -> Self {
        Self { geometry, delay, first: 0, count: geometry.segments(frames + delay) }
    }
}

/// Separates the segments of a cut and writes their sum to `out`. `stop` ends the work between segments; `progress` is
/// called with the number of finished segments.
pub fn separate_part(
    separator: &dyn Separator,
    pcm: &Pcm,
    cut: Cut,
    out: &Path,
    stop: &AtomicBool,
    progress: &dyn Fn(u32),
) -> Result<(), PartError> {
    let Cut { geometry, delay, first, count } = cut;
    let width = 2 * separator.sources().len();
    // Frames are counted from the beginning of the silence.
    let frames = pcm.frames() + delay;
    let (begin, _) = geometry.span(first, frames);
    let (_, end) = geometry.span((first + count).saturating_sub(1), frames);
    let header = Header { width: width as u32, begin, frames: end - begin, delay };
    let mut file = BufWriter::with_capacity(1 << 18, File::create(out).map_err(io_error(out))?);
    header.write(&mut file).map_err(io_error(out))?;

    // The sum from frame `at` on; the first stride of a segment is complete once the next segment begins.
    let mut sum = vec![0.0f32; geometry.segment * width];
    let mut at = begin;
    for index in first..first + count {
        if stop.load(Ordering::Relaxed) {
            return Err(PartError::Stopped);
        }
        let (start, stop_at) = geometry.span(index, frames);
        let length = (stop_at - start) as usize;
        // A short last segment is in the middle of the window, between the song's own neighbouring frames where there
        // are any.
        let whole = if separator.any_length() { length } else { geometry.segment };
        let margin = (whole - length) / 2;
        let before = start as i64 - margin as i64 - delay as i64;
        let window = pcm.read(before, whole).map_err(io_error(out))?;
        let place = |frame: i64| (frame - before).clamp(0, whole as i64) as usize;
        let separated = separator.separate(&window, place(0)..place(pcm.frames() as i64), pcm.stats())?;

        let complete = ((start - at) as usize * width).min(sum.len());
        write_samples(&mut file, &sum[..complete]).map_err(io_error(out))?;
        sum.copy_within(complete.., 0);
        let kept = sum.len() - complete;
        sum[kept..].fill(0.0);
        at = start;
        for (source, stereo) in separated.iter().enumerate() {
            for (channel, samples) in stereo.iter().enumerate() {
                let column = 2 * source + channel;
                for (frame, sample) in samples[margin..margin + length].iter().enumerate() {
                    sum[frame * width + column] += geometry.weight(frame) * sample;
                }
            }
        }
        progress(index + 1 - first);
    }
    write_samples(&mut file, &sum[..(end - at) as usize * width]).map_err(io_error(out))?;
    file.flush().map_err(io_error(out))
}

fn write_samples(file: &mut impl Write, samples: &[f32]) -> io::Result<()> {
    samples.iter().try_for_each(|sample| file.write_all(&sample.to_le_bytes()))
}

struct Header {
    width: u32,
    begin: u64,
    frames: u64,
    delay: u64,
}

impl Header {
    const BYTES: u64 = 36;

    fn write(&self, file: &mut impl Write) -> io::Result<()> {
        file.write_all(MAGIC)?;
        file.write_all(&self.width.to_le_bytes())?;
        file.write_all(&self.begin.to_le_bytes())?;
        file.write_all(&self.frames.to_le_bytes())?;
        file.write_all(&self.delay.to_le_bytes())
    }
}

/// Reads a part from its beginning to its end.
pub(crate) struct PartReader {
    path: PathBuf,
    file: BufReader<File>,
    width: usize,
    next: u64,
    end: u64,
    delay: u64,
}

impl PartReader {
    /// Opens a part that must have `width` floats a frame.
    pub(crate) fn open(path: &Path, width: usize) -> Result<Self, PartError> {
        let file = File::open(path).map_err(io_error(path))?;
        let length = file.metadata().map_err(io_error(path))?.len();
        let mut file = BufReader::with_capacity(1 << 18, file);
        let mut bytes = [0; Header::BYTES as usize];
        file.read_exact(&mut bytes).map_err(io_error(path))?;
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().rev().fold(0u64, |number, byte| (number << 8) | u64::from(*byte))
        };
        let (found, begin, frames, delay) = (number(8..12), number(12..20), number(20..28), number(28..36));
        let expected = frames.checked_mul(4 * width as u64).and_then(|bytes| bytes.checked_add(Header::BYTES));
        if bytes[..8] != *MAGIC || found != width as u64 || expected != Some(length) {
            return Err(PartError::NotAPart(path.into()));
        }
        let end = begin.checked_add(frames).ok_or_else(|| PartError::NotAPart(path.into()))?;
        Ok(Self { path: path.into(), file, width, next: begin, end, delay })
    }

    /// The frames of silence before the song; all frames are counted from their beginning.
    pub(crate) fn delay(&self) -> u64 {
        self.delay
    }

    /// The part's first frame.
    pub(crate) fn begin(&self) -> u64 {
        self.next
    }

    /// The end of the part's frames.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Adds the part's frames to `block`, which begins at frame `at`. Blocks must come in order and without gaps.
    pub(crate) fn add_to(&mut self, block: &mut [f32], at: u64) -> Result<(), PartError> {
        let block_end = at + (block.len() / self.width) as u64;
        if self.next >= self.end || self.next >= block_end {
            return Ok(());
        }
        let from = (self.next - at) as usize * self.width;
        let end = (self.end.min(block_end) - at) as usize * self.width;
        let mut bytes = vec![0; 4 * (end - from)];
        self.file.read_exact(&mut bytes).map_err(io_error(&self.path))?;
        for (sum, sample) in block[from..end].iter_mut().zip(bytes.chunks_exact(4)) {
            *sum += f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]]);
        }
        self.next = self.end.min(block_end);
        Ok(())
    }
}
