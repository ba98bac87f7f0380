//! The tempo, from the onset envelope.
//!
//! A beat repeats: the envelope's autocorrelation has peaks at its period and the multiples of it. Each period from 40
//! to 240 BPM has a score. It is the mean of the autocorrelation at the first multiples of the period (a comb, as in
//! Percival and Tzanetakis, "Streamlined tempo estimation based on autocorrelation and cross-correlation with pulses",
//! 2014). The correlation at a quarter of the period is subtracted: a beat with many onsets within is probably two
//! beats. The score is weighted by a normal distribution over the logarithm of the tempo (Ellis, "Beat tracking by
//! dynamic programming", 2007). Then the best period is refined: the peak near twice the period is found, near four
//! times, and so on, as far as the music keeps its time. This divides the uncertainty by the same factor.
//!
//! Errors of an octave remain: whether a song is at 80 or 160 BPM can be ambiguous.

use realfft::num_complex::Complex;
use realfft::{FftError, RealFftPlanner};
use serde::{Deserialize, Serialize};

use super::onsets::{Envelope, ONSET_RATE};

/// The range of tempi, in BPM.
const RANGE: [f64; 2] = [40.0, 240.0];
/// The ratio of two neighbouring candidates.
const STEP: f64 = 1.004;
/// The most common tempo in BPM, and the standard deviation of common tempi in octaves.
const USUAL: f64 = 120.0;
const SPREAD: f64 = 1.2;
/// The multiples of a period in the comb, with their weights. Four beats are a bar, which distinguishes a beat from one
/// and a half. Two beats have a lower weight: with a backbeat, two beats repeat better than one.
const COMB: [(f64, f64); 4] = [(1.0, 1.0), (2.0, 0.5), (3.0, 1.0), (4.0, 1.5)];
/// The weight of the correlation at quarters of a period, which is subtracted.
const INSIDE: f64 = 0.4;
/// The length of the blocks in which the envelope is correlated with itself: 41 s, overlapping by half.
const BLOCK: usize = 4096;
/// The longest lag that is computed, 20 s.
const LAGS: usize = BLOCK / 2;
/// The mean around an onset is taken over half a second and subtracted.
const AROUND: usize = 50;
/// Below the first mean correlation there is no beat; from the second on the beat has full confidence.
const BEAT: [f64; 2] = [0.12, 0.6];
/// Another tempo is a rival if it differs by this factor, and no rival if its score is lower by this much.
const APART: f64 = 0.06;
const CLEAR: f64 = 0.25;
/// The onset strength of sounds without a beat, relative to the level; a steady tone has none.
const STEADY: f32 = 1e-3;
/// The least correlation of a repetition, relative to that of the beat, that refines the tempo.
const HELD: f64 = 0.4;

/// A tempo.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tempo {
    /// Beats per minute.
    pub bpm: f64,
    /// The confidence, from 0 to 1: about a half if the beat is clear and half or double the tempo is as likely.
    pub confidence: f64,
}

/// The prevailing tempo, if there is a beat.
pub(super) fn estimate(envelope: &Envelope) -> Option<Tempo> {
    let strengths = &envelope.strengths;
    let mean = strengths.iter().sum::<f32>() / strengths.len().max(1) as f32;
    if mean <= STEADY * envelope.level {
        return None;
    }
    let repetition = Repetition::of(&standing_out(strengths)).ok()??;
    let candidates = (0..).map(|step| RANGE[0] * STEP.powi(step)).take_while(|bpm| *bpm <= RANGE[1]);
    let judged: Vec<(f64, f64)> =
        candidates.filter_map(|bpm| Some((bpm, repetition.beat(period(bpm))? * usual(bpm)))).collect();
    let best = |apart: &dyn Fn(f64) -> bool| {
        judged.iter().filter(|(bpm, _)| apart(*bpm)).copied().max_by(|a, b| a.1.total_cmp(&b.1))
    };
    let (bpm, score) = best(&|_| true)?;
    let rival = best(&|other| (other / bpm).ln().abs() > APART).map_or(0.0, |(_, score)| score.max(0.0));
    let sharp = repetition.sharpen(period(bpm));
    let beat = ((repetition.comb(sharp)? - BEAT[0]) / (BEAT[1] - BEAT[0])).min(1.0);
    // The existence of a beat is one half of the confidence, the choice of the tempo the other.
    let lead = if score > 0.0 { ((1.0 - rival / score) / CLEAR).min(1.0) } else { 0.0 };
    (beat > 0.0).then(|| Tempo { bpm: 60.0 * ONSET_RATE / sharp, confidence: beat * (0.5 + 0.5 * lead) })
}

/// The length of a beat, in strengths.
fn period(bpm: f64) -> f64 {
    60.0 * ONSET_RATE / bpm
}

/// The prior of a tempo; 1 for the most common.
fn usual(bpm: f64) -> f64 {
    (-0.5 * ((bpm / USUAL).log2() / SPREAD).powi(2)).exp()
}

/// The envelope minus its mean around each moment.
fn standing_out(strengths: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0f64];
    for strength in strengths {
        sums.push(sums[sums.len() - 1] + f64::from(*strength));
    }
    let around = |at: usize| {
        let (from, end) = (at.saturating_sub(AROUND), (at + AROUND + 1).min(strengths.len()));
        ((sums[end] - sums[from]) / (end - from) as f64) as f32
    };
    strengths.iter().enumerate().map(|(at, strength)| strength - around(at)).collect()
}

/// The autocorrelation of an envelope: 1 at lag 0, by lag in strengths.
struct Repetition(Vec<f64>);

impl Repetition {
    /// The mean over blocks of equal weight. None if there is no onset.
    fn of(envelope: &[f32]) -> Result<Option<Self>, FftError> {
        let mut planner = RealFftPlanner::<f32>::new();
        let (forward, inverse) = (planner.plan_fft_forward(2 * BLOCK), planner.plan_fft_inverse(2 * BLOCK));
        let (mut spectrum, mut input) = (forward.make_output_vec(), forward.make_input_vec());
        let longest = LAGS.min(envelope.len() / 2);
        let mut sum = vec![0.0; longest];
        let mut weights = 0.0;
        let mut from = 0;
        loop {
            let block = &envelope[from..envelope.len().min(from + BLOCK)];
            input.fill(0.0);
            input[..block.len()].copy_from_slice(block);
            forward.process(&mut input, &mut spectrum)?;
            spectrum.iter_mut().for_each(|bin| *bin = Complex::new(bin.norm_sqr(), 0.0));
            inverse.process(&mut spectrum, &mut input)?;
            let energy = f64::from(input[0]);
            if energy > 0.0 {
                // Divides by the number of products at each lag, so that long lags count as much as short ones.
                for (lag, (sum, product)) in sum.iter_mut().zip(&input).enumerate().take(block.len()) {
                    *sum += f64::from(*product) / energy * block.len() as f64 / (block.len() - lag) as f64;
                }
                weights += 1.0;
            }
            from += BLOCK / 2;
            // The rest was the second half of this block.
            if from + BLOCK / 2 >= envelope.len() {
                break;
            }
        }
        sum.iter_mut().for_each(|sum| *sum /= weights);
        Ok((weights > 0.0).then_some(Self(sum)))
    }

    /// The correlation between lags, by the line between its neighbours; none beyond the longest.
    fn at(&self, lag: f64) -> Option<f64> {
        let below = lag as usize;
        let (low, high) = (self.0.get(below)?, self.0.get(below + 1)?);
        Some(low + (high - low) * (lag - below as f64))
    }

    /// The weighted mean over the multiples of a period that are short enough; none if fewer than two are.
    fn comb(&self, period: f64) -> Option<f64> {
        let known = COMB.iter().map_while(|(multiple, weight)| Some((self.near(multiple * period)?, weight)));
        let (mut sum, mut weights, mut teeth) = (0.0, 0.0, 0);
        for (value, weight) in known {
            (sum, weights, teeth) = (sum + weight * value, weights + weight, teeth + 1);
        }
        (teeth >= 2).then(|| sum / weights)
    }

    /// The score of a period.
    fn beat(&self, period: f64) -> Option<f64> {
        let inside = self.near(0.25 * period)?.min(self.near(0.75 * period)?).max(0.0);
        Some(self.comb(period)? - INSIDE * inside)
    }

    /// The largest of the correlations at a lag and one strength to either side.
    fn near(&self, lag: f64) -> Option<f64> {
        Some(self.at(lag - 1.0)?.max(self.at(lag)?).max(self.at(lag + 1.0)?))
    }

    /// The position of the highest peak at most `reach` away, by the parabola through its neighbours.
    fn peak(&self, lag: f64, reach: f64) -> Option<f64> {
        let (from, end) = (((lag - reach).ceil() as usize).max(1), (lag + reach).floor() as usize);
        let value = |at: usize| self.0.get(at).copied();
        value(end + 1)?;
        let top = (from..=end).max_by(|a, b| self.0[*a].total_cmp(&self.0[*b]))?;
        let [before, here, after] = [value(top - 1)?, value(top)?, value(top + 1)?];
        let bend = before - 2.0 * here + after;
        let shift = if bend < 0.0 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 };
        Some(top as f64 + shift)
    }

    /// The period, refined by the longest multiple at which the music still repeats.
    fn sharpen(&self, rough: f64) -> f64 {
        let Some(mut period) = self.peak(rough, 0.02 * rough + 1.0) else { return rough };
        let strength = self.at(period).unwrap_or(0.0);
        let mut multiple = 2.0;
        while let Some(peak) = self.peak(multiple * period, 3.0) {
            if self.at(peak).is_none_or(|value| value < HELD * strength) {
                break;
            }
            period = peak / multiple;
            multiple *= 2.0;
        }
        period
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `seconds` of an envelope with strength 1 at every beat, spread over the two nearest strengths.
    fn pulses(bpm: f64, seconds: f64) -> Envelope {
        let mut strengths = vec![0.0; (seconds * ONSET_RATE) as usize];
        let mut beat = 0.3 * ONSET_RATE;
        while (beat as usize) + 1 < strengths.len() {
            let share = beat.fract() as f32;
            strengths[beat as usize] += 1.0 - share;
            strengths[beat as usize + 1] += share;
            beat += period(bpm);
        }
        Envelope { strengths, level: 1.0 }
    }

    #[test]
    fn the_tempo_of_pulses_is_exact_to_a_tenth() {
        for bpm in [61.3, 77.7, 90.0, 119.95, 128.02, 150.4, 174.0] {
            let found = estimate(&pulses(bpm, 30.0)).unwrap();
            assert!((found.bpm - bpm).abs() < 0.1, "{bpm}: {found:?}");
            assert!(found.confidence > 0.5, "{bpm}: {found:?}");
        }
    }

    #[test]
    fn a_few_seconds_are_enough() {
        let found = estimate(&pulses(100.0, 5.0)).unwrap();
        assert!((found.bpm - 100.0).abs() < 1.0, "{found:?}");
    }

    #[test]
    fn single_onsets_have_no_tempo() {
        assert_eq!(estimate(&Envelope { strengths: vec![], level: 0.0 }), None);
        assert_eq!(estimate(&Envelope { strengths: vec![0.0; 3000], level: 1.0 }), None);
        let mut once = vec![0.0; 3000];
        once[1000] = 1.0;
        assert_eq!(estimate(&Envelope { strengths: once, level: 1.0 }), None);
    }
}
