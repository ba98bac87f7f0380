//! From parts to stems: overlap-add, then encoding, as a stream.
//!
//! If stems are rescaled, the parts are added up twice: once for the stems' peaks, once for the files.

mod error;
mod overlap_add;
mod stem;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use audio::clip::ClipMode;
use audio::pcm::Pcm;
pub use error::MergeError;
pub use overlap_add::Parts;
use overlap_add::sum_parts;
use stem::StemWriter;
pub use stem::{Export, MadeStem, Wanted};

/// A pass over all parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Finds the peaks of the stems; only if they are rescaled.
    Peaks,
    /// Writes the files.
    Files,
}

/// Merges parts into stems in `folder`. `song` is the decoded song, for stems with a gain for it. `stop` ends the
/// work between blocks; `progress` is called after each block with the number of frames that the pass has done.
pub fn merge(
    parts: &Parts,
    song: Option<&Pcm>,
    folder: &Path,
    export: &Export,
    stop: &AtomicBool,
    progress: &dyn Fn(Pass, u64),
) -> Result<Vec<MadeStem>, MergeError> {
    let mut stems: Vec<StemWriter> =
        export.stems.iter().map(|wanted| StemWriter::create(wanted, folder, export)).collect::<Result<_, _>>()?;
    let song = song.filter(|_| export.stems.iter().any(|wanted| wanted.song != 0.0));
    let length = |block: &[f32]| block.len() / (2 * parts.sources);
    let song_at = |at: u64, block: &[f32]| {
        if stop.load(Ordering::Relaxed) {
            return Err(MergeError::Stopped);
        }
        let length = length(block);
        Ok(song.map(|song| song.read(at as i64, length)).transpose()?.unwrap_or_default())
    };
    if export.clip == ClipMode::Rescale {
        sum_parts(parts, &mut |at, block| {
            let song = song_at(at, block)?;
            stems.par_iter_mut().for_each(|stem| {
                let samples = stem.samples(block, &song);
                stem.peak = samples.iter().flatten().fold(stem.peak, |peak, sample| peak.max(sample.abs()));
            });
            progress(Pass::Peaks, at + length(block) as u64);
            Ok(())
        })?;
    }
    sum_parts(parts, &mut |at, block| {
        let song = song_at(at, block)?;
        stems.par_iter_mut().try_for_each(|stem| {
            let mut samples = stem.samples(block, &song);
            export.clip.apply(&mut samples, stem.peak);
            stem.peaks.feed(&samples);
            stem.encoders.iter_mut().try_for_each(|encoder| encoder.write(&samples))
        })?;
        progress(Pass::Files, at + length(block) as u64);
        Ok(())
    })?;
    stems.into_par_iter().map(StemWriter::finish).collect()
}
