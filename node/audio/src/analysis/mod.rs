//! What musicians look for in a song: how long and how loud it is, its tempo, its key, and its outline to draw.
//!
//! ```text
//! blocks --+-- level                      duration, loudness, peaks
//!          +-- frames -- onsets -- tempo  beats per minute
//!          +-- frames -- chroma -- key    tonic and mode
//!          +-- peaks                      the waveform as it is drawn
//! ```
//!
//! Everything is a stream: samples come in blocks of any length and are not kept. What must hold:
//!
//! - The result depends on the samples alone, not on how they were cut into blocks.
//! - Memory grows by at most two kB a second of music, and [`Peaks`] stay as small as they are.
//! - Every number in a result is finite, whatever comes in. What a song does not have is `None`.
//!
//! Tempo and key are one each for the whole song: where a song changes them, the one that prevails is given, with less
//! confidence. Time signatures, the places of beats and chords are not found.

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

pub use key::{Key, KeyEstimate, Mode};
pub use peaks::{Peaks, PeaksBuilder};
pub use spelling::ParseKeyError;
pub use tempo::Tempo;

use crate::pcm::Pcm;
use crate::{RATE, Stereo};
use chroma::Chroma;
use level::Level;
use onsets::Onsets;

/// How much of a song is read at once, in frames.
const BLOCK: usize = 1 << 16;
/// No sample counts as louder, so that no sum of squares overflows; 120 dB above full scale.
const LOUDEST: f32 = 1e6;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Its duration in seconds.
    pub seconds: f64,
    /// Its integrated loudness in LUFS (EBU R128); none where it is silent or shorter than 0.4 s.
    pub loudness: Option<f64>,
    /// Its loudness range in LU (EBU Tech 3342); none where there is no loudness.
    pub loudness_range: Option<f64>,
    /// The highest level between the samples too, in dBTP (ITU-R BS.1770, fourfold oversampled); none in silence.
    pub true_peak: Option<f64>,
    /// The highest sample's level in dBFS; none in silence.
    pub sample_peak: Option<f64>,
    /// Its tempo; none where there is no beat.
    pub tempo: Option<Tempo>,
    /// Its key; none where there is none.
    pub key: Option<KeyEstimate>,
}

/// Analyses a song as it comes.
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
    /// For a song at 44.1 kHz that has not begun yet.
    pub fn new() -> Self {
        Self { frames: 0, level: Level::new(), onsets: Onsets::new(), chroma: Chroma::new() }
    }

    /// Takes the song's next frames, any number of them. Where a channel is longer than the other, its rest is left
    /// out; samples that are not numbers count as silence.
    pub fn feed(&mut self, block: &Stereo) {
        let block = finite(block);
        let length = block[0].len().min(block[1].len());
        let channels = [&block[0][..length], &block[1][..length]];
        self.frames += length as u64;
        self.level.feed(channels);
        self.onsets.feed(channels);
        self.chroma.feed(channels);
    }

    /// Says what was found.
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

/// To hundredths: no measurement here is finer, and a short number stays itself as text.
fn rounded(value: f64) -> f64 {
    (100.0 * value).round() / 100.0
}

/// The block, with what no computation survives replaced.
fn finite(block: &Stereo) -> Cow<'_, Stereo> {
    // False for what is not a number as well.
    let sound = |sample: &f32| sample.abs() <= LOUDEST;
    if block.iter().flatten().all(sound) {
        return Cow::Borrowed(block);
    }
    let mend = |sample: &f32| if sample.is_nan() { 0.0 } else { sample.clamp(-LOUDEST, LOUDEST) };
    Cow::Owned(block.each_ref().map(|channel| channel.iter().map(mend).collect()))
}

/// Analyses and outlines a decoded song.
///
/// # Errors
///
/// The file with its samples cannot be read.
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

/// Outlines a decoded song and does no more.
///
/// # Errors
///
/// The file with its samples cannot be read.
pub fn outline(pcm: &Pcm) -> io::Result<Peaks> {
    let mut peaks = PeaksBuilder::new();
    for start in (0..pcm.frames()).step_by(BLOCK) {
        peaks.feed(&pcm.read(start as i64, (pcm.frames() - start).min(BLOCK as u64) as usize)?);
    }
    Ok(peaks.finish())
}

#[cfg(test)]
mod tests;
