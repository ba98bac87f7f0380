//! The loudness of a song in broadcast terms: EBU R128 on ITU-R BS.1770.
//!
//! The gates need the whole song, so the energy of each tenth of a second is kept: about a hundred bytes per second.

use ebur128::{EbuR128, Mode};

use crate::RATE;

/// Levels in dB; none in silence.
pub(super) struct Levels {
    pub(super) loudness: Option<f64>,
    pub(super) range: Option<f64>,
    pub(super) true_peak: Option<f64>,
    pub(super) sample_peak: Option<f64>,
}

/// Measures the levels of a song.
pub(super) struct Level {
    /// None after an error of the library, which does not occur with two channels at 44.1 kHz.
    meter: Option<EbuR128>,
}

impl Level {
    pub(super) fn new() -> Self {
        Self { meter: EbuR128::new(2, RATE, Mode::I | Mode::LRA | Mode::TRUE_PEAK).ok() }
    }

    pub(super) fn feed(&mut self, channels: [&[f32]; 2]) {
        self.meter = self.meter.take().and_then(|mut meter| {
            let taken = meter.add_frames_planar_f32(&channels);
            taken.ok().map(|()| meter)
        });
    }

    pub(super) fn finish(self) -> Levels {
        let meter = self.meter.as_ref();
        let highest = |peak: fn(&EbuR128, u32) -> Result<f64, ebur128::Error>| {
            let of = |channel| meter.and_then(|meter| peak(meter, channel).ok()).unwrap_or(0.0);
            Some(20.0 * of(0).max(of(1)).log10()).filter(|level| level.is_finite())
        };
        let loudness = meter.and_then(|meter| meter.loudness_global().ok()).filter(|loudness| loudness.is_finite());
        let range = meter.and_then(|meter| meter.loudness_range().ok()).filter(|range| range.is_finite());
        Levels {
            loudness,
            range: loudness.and(range),
            true_peak: highest(EbuR128::true_peak),
            sample_peak: highest(EbuR128::sample_peak),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(sample: impl Fn(usize) -> f32, seconds: usize) -> Levels {
        let samples: Vec<f32> = (0..seconds * RATE as usize).map(sample).collect();
        let mut level = Level::new();
        samples.chunks(10_000).for_each(|block| level.feed([block, block]));
        level.finish()
    }

    fn sine(hertz: f32, peak: f32) -> impl Fn(usize) -> f32 {
        move |at| peak * (std::f32::consts::TAU * hertz * at as f32 / RATE as f32).sin()
    }

    #[test]
    fn the_tone_of_the_standard_has_its_loudness() {
        // EBU Tech 3341, case 1: a stereo tone of 1 kHz at -23 dBFS has -23 LUFS.
        let found = levels(sine(1000.0, 10f32.powf(-23.0 / 20.0)), 20);
        assert!((found.loudness.unwrap() + 23.0).abs() < 0.1);
        assert!(found.range.unwrap() < 0.1);
        assert!((found.sample_peak.unwrap() + 23.0).abs() < 0.1);
    }

    #[test]
    fn a_peak_between_samples_is_measured() {
        // Every sample of this tone is 3 dB below its crest (EBU Tech 3341, case 16).
        let quarter = |at: usize| 0.5 * (std::f32::consts::FRAC_PI_2 * at as f32 + std::f32::consts::FRAC_PI_4).sin();
        let found = levels(quarter, 2);
        assert!((found.sample_peak.unwrap() + 9.03).abs() < 0.1);
        assert!((found.true_peak.unwrap() + 6.02).abs() < 0.4);
    }

    #[test]
    fn silence_has_no_level() {
        let found = levels(|_| 0.0, 5);
        assert!(found.loudness.or(found.range).or(found.true_peak).or(found.sample_peak).is_none());
    }
}
