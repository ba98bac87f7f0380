//! The onset strength at each moment: the rise of the spectrum from one window to the next, summed over bands on the
//! mel scale (spectral flux; Ellis, "Beat tracking by dynamic programming", 2007; Böck, Krebs and Schedl, "Evaluating
//! the online capabilities of onset detection methods", 2012).
//!
//! Energies are compressed by a power law. So a louder song has the same envelope except for its scale, and no level
//! must be known in advance. One number is kept for each hundredth of a second.

use super::frames::Frames;
use crate::RATE;

/// The length of a window in samples, 46 ms.
const WINDOW: usize = 2048;
/// The distance between the starts of two windows, in samples.
const HOP: usize = 441;
/// The number of onset strengths per second.
pub(super) const ONSET_RATE: f64 = RATE as f64 / HOP as f64;
/// The number of bands, and the frequencies at which the first begins and the last ends, in Hz.
const BANDS: usize = 40;
const RANGE: [f32; 2] = [30.0, 16_000.0];
/// The exponent of the compression; about that of perceived loudness.
const COMPRESSION: f32 = 0.25;

/// Computes the onset envelope of a song.
pub(super) struct Onsets {
    frames: Frames,
    flux: Flux,
}

/// The onset envelope of a whole song.
pub(super) struct Envelope {
    /// The strengths, at [`ONSET_RATE`].
    pub(super) strengths: Vec<f32>,
    /// The mean of the compressed energies, of which the strengths are the rises: the scale of a strong onset.
    pub(super) level: f32,
}

struct Flux {
    /// The first bin of each band, and the end of the last.
    edges: [usize; BANDS + 1],
    before: Option<[f32; BANDS]>,
    strengths: Vec<f32>,
    levels: f64,
}

impl Onsets {
    pub(super) fn new() -> Self {
        let flux = Flux { edges: edges(), before: None, strengths: Vec::new(), levels: 0.0 };
        Self { frames: Frames::new(WINDOW, HOP), flux }
    }

    pub(super) fn feed(&mut self, channels: [&[f32]; 2]) {
        self.frames.feed(channels, |power| self.flux.take(power));
    }

    pub(super) fn finish(self) -> Envelope {
        let Self { frames, mut flux } = self;
        frames.finish(|power| flux.take(power));
        let level = (flux.levels / flux.strengths.len().max(1) as f64) as f32;
        Envelope { strengths: flux.strengths, level }
    }
}

impl Flux {
    fn take(&mut self, power: &[f32]) {
        let mut bands = [0.0; BANDS];
        for (band, edge) in bands.iter_mut().zip(self.edges.windows(2)) {
            *band = power[edge[0]..edge[1]].iter().sum::<f32>().powf(COMPRESSION);
        }
        let before = self.before.replace(bands).unwrap_or(bands);
        self.strengths.push(bands.iter().zip(before).map(|(now, before)| (now - before).max(0.0)).sum());
        self.levels += f64::from(bands.iter().sum::<f32>());
    }
}

/// Bands of equal width on the mel scale (O'Shaughnessy, 1987), with at least one bin each.
fn edges() -> [usize; BANDS + 1] {
    let mel = |hertz: f32| (1.0 + hertz / 700.0).ln();
    let [low, high] = RANGE.map(mel);
    let mut edges = [0; BANDS + 1];
    let mut least = 1;
    for (at, edge) in edges.iter_mut().enumerate() {
        let hertz = 700.0 * ((low + (high - low) * at as f32 / BANDS as f32).exp() - 1.0);
        *edge = ((hertz * WINDOW as f32 / RATE as f32).round() as usize).max(least);
        least = *edge + 1;
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(samples: &[f32]) -> Envelope {
        let mut onsets = Onsets::new();
        onsets.feed([samples, samples]);
        onsets.finish()
    }

    #[test]
    fn bands_are_inside_the_spectrum_and_not_empty() {
        let edges = edges();
        assert!(edges.windows(2).all(|edge| edge[0] < edge[1]) && edges[BANDS] <= WINDOW / 2);
    }

    #[test]
    fn the_envelope_peaks_at_a_click() {
        let mut samples = vec![0.0; RATE as usize];
        samples[20_000] = 0.5;
        let strengths = envelope(&samples).strengths;
        let loudest = (0..strengths.len()).max_by(|a, b| strengths[*a].total_cmp(&strengths[*b])).unwrap();
        assert!(loudest.abs_diff(20_000 / HOP) <= 2, "{loudest}");
    }

    #[test]
    fn loudness_only_scales_the_envelope() {
        let samples: Vec<f32> = (0..RATE as usize).map(|at| ((at * at) as f32 * 1e-5).sin() * 0.01).collect();
        let quiet = envelope(&samples);
        let loud = envelope(&samples.iter().map(|sample| 16.0 * sample).collect::<Vec<_>>());
        for (quiet, loud) in quiet.strengths.iter().zip(&loud.strengths) {
            assert!((4.0 * quiet - loud).abs() <= 1e-3 * loud.abs().max(loud.abs()) + 1e-6);
        }
    }
}
