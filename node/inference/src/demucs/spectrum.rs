//! Transforms between samples and the input of the spectrum's branch (`demucs/htdemucs.py`, `_spec` and `_ispec`).
//!
//! The signal is reflected at its ends by one and a half hops, so that there is one frame per hop. The highest
//! frequency is dropped, and real and imaginary parts are channels: `[frequencies, 2 channels, frames]`.

use std::sync::Arc;

use rayon::prelude::*;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, FftError, RealFftPlanner, RealToComplex};

pub(crate) struct SpectrumTransform {
    size: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// A periodic Hann window.
    window: Vec<f32>,
}

impl SpectrumTransform {
    /// `size` is the length of a window in samples; the hop is a quarter of it.
    pub(crate) fn new(size: usize) -> Self {
        let mut planner = RealFftPlanner::new();
        let turn = std::f64::consts::TAU / size as f64;
        Self {
            size,
            forward: planner.plan_fft_forward(size),
            inverse: planner.plan_fft_inverse(size),
            window: (0..size).map(|at| (0.5 - 0.5 * (turn * at as f64).cos()) as f32).collect(),
        }
    }

    fn hop(&self) -> usize {
        self.size / 4
    }

    pub(crate) fn frequencies(&self) -> usize {
        self.size / 2
    }

    pub(crate) fn frames(&self, length: usize) -> usize {
        length.div_ceil(self.hop())
    }

    /// The samples with a reflection of one and a half hops at each end, in whole hops. A signal shorter than its
    /// reflection is padded with zeros first (`demucs/hdemucs.py`, `pad1d`).
    fn mirrored(&self, samples: &[f32]) -> Vec<f32> {
        let pad = self.hop() / 2 * 3;
        let total = self.frames(samples.len()) * self.hop() + 2 * pad;
        let last = (total - pad - samples.len()).max(samples.len().saturating_sub(1));
        let sample = |at: usize| samples.get(at).copied().unwrap_or_default();
        let before = (1..=pad).rev().map(sample);
        let rest = (0..total - pad).map(|at| sample(if at > last { 2 * last - at } else { at }));
        before.chain(rest).collect()
    }

    /// The spectrum of all channels.
    pub(crate) fn forward(&self, channels: &[Vec<f32>]) -> Result<Vec<f32>, FftError> {
        let (frequencies, hop) = (self.frequencies(), self.hop());
        let frames = self.frames(channels.first().map_or(0, Vec::len));
        let scale = 1.0 / (self.size as f32).sqrt();
        let mut bins = vec![Complex::default(); channels.len() * frames * (frequencies + 1)];
        for (channel, bins) in channels.iter().zip(bins.chunks_exact_mut(frames * (frequencies + 1))) {
            let padded = self.mirrored(channel);
            bins.par_chunks_exact_mut(frequencies + 1).enumerate().try_for_each_init(
                || (vec![0.0; self.size], self.forward.make_scratch_vec()),
                |(input, scratch), (frame, bins)| {
                    let seen = &padded[frame * hop..frame * hop + self.size];
                    for ((input, sample), window) in input.iter_mut().zip(seen).zip(&self.window) {
                        *input = sample * window * scale;
                    }
                    self.forward.process_with_scratch(input, bins, scratch)
                },
            )?;
        }
        let row = 2 * channels.len() * frames;
        let mut out = vec![0.0; frequencies * row];
        out.par_chunks_exact_mut(row).enumerate().for_each(|(frequency, out)| {
            for (channel, parts) in out.chunks_exact_mut(2 * frames).enumerate() {
                let (real, imaginary) = parts.split_at_mut(frames);
                for frame in 0..frames {
                    let bin = bins[(channel * frames + frame) * (frequencies + 1) + frequency];
                    (real[frame], imaginary[frame]) = (bin.re, bin.im);
                }
            }
        });
        Ok(out)
    }

    /// The first `length` samples of every channel of a spectrum with the bins `value * factor + summand`.
    pub(crate) fn inverse(
        &self,
        spectrum: &[f32],
        length: usize,
        [factor, summand]: [f32; 2],
    ) -> Result<Vec<Vec<f32>>, FftError> {
        let (frequencies, hop, frames) = (self.frequencies(), self.hop(), self.frames(length));
        let row = spectrum.len() / frequencies;
        // The squares of four overlapping Hann windows sum to 3/2.
        let scale = 1.0 / (1.5 * (self.size as f32).sqrt());
        (0..row / (2 * frames))
            .into_par_iter()
            .map(|channel| {
                let mut bins = vec![Complex::default(); frames * (frequencies + 1)];
                for frequency in 0..frequencies {
                    let parts = &spectrum[frequency * row + 2 * channel * frames..][..2 * frames];
                    let (real, imaginary) = parts.split_at(frames);
                    for frame in 0..frames {
                        bins[frame * (frequencies + 1) + frequency] = Complex::new(
                            real[frame] * factor + summand,
                            // The lowest frequency's imaginary part has no meaning.
                            if frequency == 0 { 0.0 } else { imaginary[frame] * factor + summand },
                        );
                    }
                }
                let mut padded = vec![0.0; (frames + 3) * hop];
                let mut windowed = vec![0.0; self.size];
                let mut scratch = self.inverse.make_scratch_vec();
                for (frame, bins) in bins.chunks_exact_mut(frequencies + 1).enumerate() {
                    self.inverse.process_with_scratch(bins, &mut windowed, &mut scratch)?;
                    let out = padded[frame * hop..].iter_mut().zip(&windowed).zip(&self.window);
                    out.for_each(|((out, sample), window)| *out += sample * window * scale);
                }
                let pad = hop / 2 * 3;
                Ok(padded[pad..pad + length].to_vec())
            })
            .collect()
    }
}
