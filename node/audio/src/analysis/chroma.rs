//! The weight of each pitch class in a song, in any tuning.
//!
//! Spectral peaks that exceed their surroundings are tones; noise and drums have few. Each tone adds the logarithm of
//! its strength within its window to its pitch class, so that loud passages and loud voices do not dominate. The
//! weights are collected in steps of ten cents. At the end of the song its tuning is estimated (as in Gómez, "Tonal
//! description of music audio signals", 2006), and the steps become twelve classes.

use std::f64::consts::{PI, TAU};

use super::frames::Frames;
use crate::RATE;

/// The length of a window in samples, 372 ms: it resolves semitones from 150 Hz on.
const WINDOW: usize = 16_384;
/// The distance between the starts of two windows, in samples.
const HOP: usize = WINDOW / 2;
/// The range of tones, in Hz.
const RANGE: [f64; 2] = [65.0, 1600.0];
/// The number of steps in a semitone and in an octave.
const STEPS: usize = 10;
const OCTAVE: usize = 12 * STEPS;
/// The least power of a tone relative to the geometric mean of the bins around it; one noise peak in some thousands
/// exceeds it.
const SALIENCE: f32 = 16.0;
/// The number of bins on each side that surround a tone.
const AROUND: usize = 16;
/// A window whose strongest bin has less power is silent; 90 dB below full scale.
const SILENCE: f32 = 1e-9;
/// The least power of a tone relative to the strongest bin, 60 dB below it; weaker tones are inaudible beside it.
const MASKED: f32 = 1e-6;
/// The magnitude, relative to the strongest tone of the window, at which the compression of magnitudes begins.
const KNEE: f32 = 0.02;
/// A window with fewer tones counts as noise.
const TONES: usize = 2;
/// The least fraction of a song's windows that must have tones, silent windows aside.
const TONAL: f64 = 0.3;

/// Collects the pitch classes of a song.
pub(super) struct Chroma {
    frames: Frames,
    tones: Tones,
}

struct Tones {
    /// The weights by pitch class, in steps of ten cents above C.
    steps: Vec<f64>,
    /// The number of windows that are not silent, and of those with tones.
    sounding: u64,
    tonal: u64,
    /// The cumulative sums of the logarithms of the bins' power.
    logarithms: Vec<f32>,
    /// The tones of a window: the pitch in steps above C, and the magnitude.
    found: Vec<(f64, f32)>,
}

impl Chroma {
    pub(super) fn new() -> Self {
        let tones =
            Tones { steps: vec![0.0; OCTAVE], sounding: 0, tonal: 0, logarithms: Vec::new(), found: Vec::new() };
        Self { frames: Frames::new(WINDOW, HOP), tones }
    }

    pub(super) fn feed(&mut self, channels: [&[f32]; 2]) {
        self.frames.feed(channels, |power| self.tones.take(power));
    }

    /// The weight of each pitch class from C on, with the sum 1; none if there are hardly any tones.
    pub(super) fn finish(self) -> Option<[f64; 12]> {
        let Self { frames, mut tones } = self;
        frames.finish(|power| tones.take(power));
        let is_tonal = tones.tonal > 0 && tones.tonal as f64 >= TONAL * tones.sounding as f64;
        is_tonal.then(|| classes(&tones.steps))
    }
}

impl Tones {
    fn take(&mut self, power: &[f32]) {
        let [first, last] = RANGE.map(|hertz| (hertz * WINDOW as f64 / f64::from(RATE)) as usize);
        let band = &power[first - AROUND - 1..=last + AROUND];
        let loudest = band.iter().fold(0.0, |peak: f32, power| peak.max(*power));
        if loudest < SILENCE {
            return;
        }
        self.sounding += 1;
        // Bins 160 dB below full scale count as silent.
        self.logarithms.clear();
        self.logarithms.push(0.0);
        let mut sum = 0.0;
        for power in band {
            sum += (power + 1e-16).ln();
            self.logarithms.push(sum);
        }
        self.found.clear();
        for at in AROUND + 1..band.len() - AROUND {
            let around = (self.logarithms[at + AROUND] - self.logarithms[at - AROUND]) / (2 * AROUND) as f32;
            let threshold = (around.exp() * SALIENCE).max(loudest * MASKED);
            if band[at] > threshold && band[at] > band[at - 1] && band[at] >= band[at + 1] {
                let bin = (first - AROUND - 1 + at) as f64 + place(&band[at - 1..=at + 1]);
                let hertz = bin * f64::from(RATE) / WINDOW as f64;
                // A is nine semitones above C.
                let pitch = OCTAVE as f64 * (hertz / 440.0).log2() + (9 * STEPS) as f64;
                self.found.push((pitch.rem_euclid(OCTAVE as f64), band[at].sqrt()));
            }
        }
        if self.found.len() < TONES {
            return;
        }
        self.tonal += 1;
        let strongest = self.found.iter().fold(0.0, |strongest: f32, (_, magnitude)| strongest.max(*magnitude));
        let total = self.found.iter().map(|(_, magnitude)| weight(magnitude / strongest)).sum::<f64>();
        for (pitch, magnitude) in &self.found {
            let weight = weight(magnitude / strongest) / total;
            let (step, share) = (pitch.floor(), pitch.fract());
            self.steps[step as usize % OCTAVE] += (1.0 - share) * weight;
            self.steps[(step as usize + 1) % OCTAVE] += share * weight;
        }
    }
}

/// The weight of a tone by its magnitude relative to the strongest.
fn weight(magnitude: f32) -> f64 {
    f64::from((magnitude / KNEE).ln_1p())
}

/// The position of a peak between its neighbours: the top of the parabola through their logarithms, from -0.5 to 0.5.
fn place(power: &[f32]) -> f64 {
    let [before, here, after] = [power[0], power[1], power[2]].map(|power| f64::from(power + 1e-16).ln());
    let bend = before - 2.0 * here + after;
    if bend < 0.0 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 }
}

/// Estimates the tuning and adds up the steps of each semitone, weighted by their closeness.
fn classes(steps: &[f64]) -> [f64; 12] {
    let angle = |step: f64| TAU * step / STEPS as f64;
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (step, weight) in steps.iter().enumerate() {
        sine += weight * angle(step as f64).sin();
        cosine += weight * angle(step as f64).cos();
    }
    // The song's tuning above 440 Hz, in steps.
    let tuning = sine.atan2(cosine) / TAU * STEPS as f64;
    let mut classes = [0.0; 12];
    for (step, weight) in steps.iter().enumerate() {
        let place = step as f64 - tuning;
        let class = (place / STEPS as f64).round();
        let off = place - class * STEPS as f64;
        classes[(class as i64).rem_euclid(12) as usize] += weight * (PI * off / STEPS as f64).cos().powi(2);
    }
    let total: f64 = classes.iter().sum();
    classes.map(|class| class / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chroma of sines at these frequencies.
    fn chroma(hertz: &[f64]) -> Option<[f64; 12]> {
        let sample =
            |at: usize| hertz.iter().map(|hertz| (TAU * hertz * at as f64 / f64::from(RATE)).sin()).sum::<f64>();
        let samples: Vec<f32> = (0..4 * RATE as usize).map(|at| 0.1 * sample(at) as f32).collect();
        let mut chroma = Chroma::new();
        chroma.feed([&samples, &samples]);
        chroma.finish()
    }

    #[test]
    fn tones_are_in_their_classes_in_any_tuning() {
        for cents in [-40.0, -13.0, 0.0, 20.0, 45.0f64] {
            let [c, e, g] = [60.0, 64.0, 67.0].map(|pitch: f64| 440.0 * ((pitch - 69.0 + cents / 100.0) / 12.0).exp2());
            let classes = chroma(&[c, e, g]).unwrap();
            for class in [0, 4, 7] {
                assert!(classes[class] > 0.28, "{cents} cents: {classes:?}");
            }
        }
    }

    #[test]
    fn silence_and_noise_have_no_tones() {
        assert_eq!(chroma(&[]), None);
        let mut state = 1u32;
        let noise: Vec<f32> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as f32 / u32::MAX as f32 - 0.5
        })
        .take(10 * RATE as usize)
        .collect();
        let mut chroma = Chroma::new();
        chroma.feed([&noise, &noise]);
        assert_eq!(chroma.finish(), None);
    }
}
