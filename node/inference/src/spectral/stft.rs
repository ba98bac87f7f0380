//! The short-time Fourier transform and its inverse.

use std::sync::Arc;

use rayon::prelude::*;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, FftError, RealFftPlanner, RealToComplex};

use crate::separator::SeparateError;
use audio::RATE;

/// The length of a window, in samples.
const WINDOW: usize = 4096;
/// The distance between the starts of two windows, in samples.
const HOP: usize = WINDOW / 4;
/// The number of zeros before the first sample and after the last, so that four windows cover every sample.
const MARGIN: usize = WINDOW - HOP;
/// The number of a spectrum's bins, from 0 Hz to half the sample rate.
pub(super) const BINS: usize = WINDOW / 2 + 1;

/// The centre frequency of a bin, in Hz.
pub(super) fn frequency(bin: usize) -> f32 {
    bin as f32 * RATE as f32 / WINDOW as f32
}

/// One channel's spectra, frame by frame.
pub(super) struct Spectrum(Vec<Complex<f32>>);

impl Spectrum {
    pub(super) fn frames(&self) -> usize {
        self.0.len() / BINS
    }

    /// All bins frame by frame, [`BINS`] each.
    pub(super) fn bins(&self) -> &[Complex<f32>] {
        &self.0
    }
}

pub(super) struct Stft {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// A periodic Hann window.
    window: Vec<f32>,
}

impl From<FftError> for SeparateError {
    fn from(error: FftError) -> Self {
        Self::Transform(error.to_string())
    }
}

impl Stft {
    pub(super) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let step = std::f64::consts::TAU / WINDOW as f64;
        Self {
            forward: planner.plan_fft_forward(WINDOW),
            inverse: planner.plan_fft_inverse(WINDOW),
            window: (0..WINDOW).map(|at| (0.5 - 0.5 * (step * at as f64).cos()) as f32).collect(),
        }
    }

    pub(super) fn forward(&self, samples: &[f32]) -> Result<Spectrum, SeparateError> {
        let frames = (samples.len() + MARGIN).div_ceil(HOP);
        let mut spectrum = vec![Complex::default(); frames * BINS];
        spectrum.par_chunks_exact_mut(BINS).enumerate().try_for_each(|(frame, bins)| {
            let mut input = vec![0.0; WINDOW];
            // The frame covers `first..first + WINDOW` of the samples with their margin.
            let first = frame * HOP;
            let from = first.max(MARGIN);
            let end = (first + WINDOW).min(samples.len() + MARGIN);
            let known = &samples[from - MARGIN..end - MARGIN];
            for ((input, sample), window) in
                input[from - first..].iter_mut().zip(known).zip(&self.window[from - first..])
            {
                *input = sample * window;
            }
            self.forward.process(&mut input, bins)
        })?;
        Ok(Spectrum(spectrum))
    }

    /// The first `length` samples of `spectrum` under `mask`, which has a factor for every bin.
    pub(super) fn inverse(&self, spectrum: &Spectrum, mask: &[f32], length: usize) -> Result<Vec<f32>, SeparateError> {
        // The squares of four overlapping Hann windows sum to 3/2, and the transforms multiply by the window's length.
        let scale = 1.0 / (1.5 * WINDOW as f32);
        let mut frames = vec![0.0f32; spectrum.frames() * WINDOW];
        frames
            .par_chunks_exact_mut(WINDOW)
            .zip(spectrum.0.par_chunks_exact(BINS))
            .zip(mask.par_chunks_exact(BINS))
            .try_for_each(|((output, bins), mask)| {
                let mut masked: Vec<_> = bins.iter().zip(mask).map(|(bin, mask)| bin * mask * scale).collect();
                // Real by definition; this removes rounding errors.
                (masked[0].im, masked[BINS - 1].im) = (0.0, 0.0);
                self.inverse.process(&mut masked, output)?;
                output.iter_mut().zip(&self.window).for_each(|(sample, window)| *sample *= window);
                Ok::<_, FftError>(())
            })?;
        let mut samples = vec![0.0f32; length];
        for (frame, windowed) in frames.chunks_exact(WINDOW).enumerate() {
            let first = frame * HOP;
            let from = first.max(MARGIN);
            let end = (first + WINDOW).min(length + MARGIN);
            let sum = &mut samples[from - MARGIN..end - MARGIN];
            sum.iter_mut().zip(&windowed[from - first..]).for_each(|(sum, sample)| *sum += sample);
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_restores_all_samples() {
        let stft = Stft::new();
        for length in [1, 2, HOP - 1, HOP, WINDOW, 3 * WINDOW + 17] {
            let samples: Vec<f32> = (0..length).map(|at| ((at * at) as f32 * 0.37).sin()).collect();
            let spectrum = stft.forward(&samples).unwrap();
            let mask = vec![1.0; spectrum.bins().len()];
            let back = stft.inverse(&spectrum, &mask, length).unwrap();
            for (sample, back) in samples.iter().zip(&back) {
                assert!((sample - back).abs() < 2e-6, "{length}: {sample} came back as {back}");
            }
        }
    }

    #[test]
    fn a_tone_is_in_its_bin() {
        let tone = |at: usize| (std::f32::consts::TAU * frequency(100) * at as f32 / RATE as f32).sin();
        let spectrum = Stft::new().forward(&(0..4 * WINDOW).map(tone).collect::<Vec<_>>()).unwrap();
        let frame = &spectrum.bins()[6 * BINS..7 * BINS];
        let loudest = (0..BINS).max_by(|a, b| frame[*a].norm().total_cmp(&frame[*b].norm())).unwrap();
        assert_eq!(loudest, 100);
    }
}
