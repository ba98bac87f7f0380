//! Measures a song: its duration, loudness, tempo and key, and the outline of its waveform.
//!
//! ```text
//! blocks --+-- level                      duration, loudness, peaks
//!          +-- frames -- onsets -- tempo  beats per minute
//!          +-- frames -- chroma -- key    tonic and mode
//!          +-- peaks                      the waveform as it is drawn
//! ```
//!
//! Everything is a stream: samples come in blocks of any length and are not kept. Invariants:
//!
//! - The result depends on the samples alone, not on the blocks.
//! - Memory grows by at most two kB per second of music, and the size of [`Peaks`] is bounded.
//! - Every number in a result is finite for any input. A property that the song does not have is `None`.
//!
//! There is one tempo and one key for the whole song. If they change, the prevailing one is reported with less
//! confidence. Time signatures, the positions of beats, and chords are not detected.

mod chroma;
mod frames;
mod key;
mod level;
mod onsets;
mod peaks;
mod spelling;
mod tempo;

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};

pub use key::{Key, KeyEstimate, Mode, ParseKeyError};
pub use peaks::{Peaks, PeaksBuilder};
pub use tempo::Tempo;

use crate::pcm::Pcm;
use crate::{RATE, Stereo};
use chroma::Chroma;
use level::Level;
use onsets::Onsets;

/// The number of frames that are read at a time.
const BLOCK: usize = 1 << 16;
/// The largest magnitude of a sample, so that no sum of squares overflows; 120 dB above full scale.
const LOUDEST: f32 = 1e6;

/// The properties of a song.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Its duration in seconds.
    pub seconds: f64,
    /// Its integrated loudness in LUFS (EBU R128); none if it is silent or shorter than 0.4 s.
    pub loudness: Option<f64>,
    /// Its loudness range in LU (EBU Tech 3342); none if there is no loudness.
    pub loudness_range: Option<f64>,
    /// The highest level, including between samples, in dBTP (ITU-R BS.1770, fourfold oversampled); none in silence.
    pub true_peak: Option<f64>,
    /// The highest sample's level in dBFS; none in silence.
    pub sample_peak: Option<f64>,
    /// Its tempo; none if it has no beat.
    pub tempo: Option<Tempo>,
    /// Its key; none if it has no clear one.
    pub key: Option<KeyEstimate>,
}

/// Analyses a song as a stream.
pub struct Analyser {
    frames: u64,
    level: Level,
    onsets: Onsets,
    chroma: Chroma,
}

impl Default for Analyser {
    fn default() -> Self {
        Self::new()
    }
}

impl Analyser {
    /// Starts the analysis of a song at 44.1 kHz.
    pub fn new() -> Self {
        Self { frames: 0, level: Level::new(), onsets: Onsets::new(), chroma: Chroma::new() }
    }

    /// Takes the song's next frames, any number of them. If a channel is longer than the other, its rest is ignored;
    /// NaN counts as silence.
    pub fn feed(&mut self, block: &Stereo) {
        let block = finite(block);
        let length = block[0].len().min(block[1].len());
        let channels = [&block[0][..length], &block[1][..length]];
        self.frames += length as u64;
        self.level.feed(channels);
        self.onsets.feed(channels);
        self.chroma.feed(channels);
    }

    /// The result.
    pub fn finish(self) -> Analysis {
        let level = self.level.finish();
        let tempo = tempo::estimate(&self.onsets.finish());
        let key = self.chroma.finish().as_ref().and_then(key::estimate);
        Analysis {
            seconds: self.frames as f64 / f64::from(RATE),
            loudness: level.loudness.map(rounded),
            loudness_range: level.range.map(rounded),
            true_peak: level.true_peak.map(rounded),
            sample_peak: level.sample_peak.map(rounded),
            tempo: tempo.map(|Tempo { bpm, confidence }| Tempo { bpm: rounded(bpm), confidence: rounded(confidence) }),
            key: key.map(|KeyEstimate { key, confidence }| KeyEstimate { key, confidence: rounded(confidence) }),
        }
    }
}

/// Rounds to hundredths: no measurement here is more exact.
fn rounded(value: f64) -> f64 {
    (100.0 * value).round() / 100.0
}

/// The block, with NaN and very large samples replaced.
fn finite(block: &Stereo) -> Cow<'_, Stereo> {
    // False for NaN too.
    let sound = |sample: &f32| sample.abs() <= LOUDEST;
    if block.iter().flatten().all(sound) {
        return Cow::Borrowed(block);
    }
    let replace = |sample: &f32| if sample.is_nan() { 0.0 } else { sample.clamp(-LOUDEST, LOUDEST) };
    Cow::Owned(block.each_ref().map(|channel| channel.iter().map(replace).collect()))
}

/// Computes the analysis and the outline of a decoded song.
///
/// # Errors
///
/// The file of samples cannot be read.
pub fn analyse(pcm: &Pcm) -> io::Result<(Analysis, Peaks)> {
    let (mut analyser, mut peaks) = (Analyser::new(), PeaksBuilder::new());
    let mut start = 0;
    while start < pcm.frames() {
        let length = (pcm.frames() - start).min(BLOCK as u64);
        let block = pcm.read(start as i64, length as usize)?;
        analyser.feed(&block);
        peaks.feed(&block);
        start += length;
    }
    Ok((analyser.finish(), peaks.finish()))
}

/// Computes the outline of a decoded song only.
///
/// # Errors
///
/// The file of samples cannot be read.
pub fn outline(pcm: &Pcm) -> io::Result<Peaks> {
    let mut peaks = PeaksBuilder::new();
    for start in (0..pcm.frames()).step_by(BLOCK) {
        peaks.feed(&pcm.read(start as i64, (pcm.frames() - start).min(BLOCK as u64) as usize)?);
    }
    Ok(peaks.finish())
}

#[cfg(test)]
mod tests;
