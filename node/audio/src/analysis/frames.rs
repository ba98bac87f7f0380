//! Cuts a stream of samples into overlapping windows and computes the power spectrum of each.
//!
//! Window n is centred on sample n times the hop. So the song begins in the middle of the first window, and all samples
//! are in equally many windows. Before and after the song there is silence.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// The stream and its transform.
pub(super) struct Frames {
    fft: Arc<dyn RealToComplex<f32>>,
    /// A periodic Hann window, scaled so that a sine at full scale has a power of 1 in its bin.
    window: Vec<f32>,
    hop: usize,
    /// The samples that later windows still need, by channel.
    pending: [Vec<f32>; 2],
    /// The start of the next window in them.
    next: usize,
    input: Vec<f32>,
    bins: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    power: Vec<f32>,
}

impl Frames {
    /// Starts a stream with windows of `window` samples, one every `hop` samples.
    pub(super) fn new(window: usize, hop: usize) -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(window);
        let turn = std::f64::consts::TAU / window as f64;
        let scale = 2.0 / window as f64;
        Self {
            window: (0..window).map(|at| (scale * (1.0 - (turn * at as f64).cos())) as f32).collect(),
            hop,
            pending: [vec![0.0; window / 2], vec![0.0; window / 2]],
            next: 0,
            input: fft.make_input_vec(),
            bins: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            power: vec![0.0; window / 2 + 1],
            fft,
        }
    }

    /// Takes samples and passes the power spectra of all complete windows to `sink`, the sum of both channels.
    pub(super) fn feed(&mut self, channels: [&[f32]; 2], mut each: impl FnMut(&[f32])) {
        for (pending, channel) in self.pending.iter_mut().zip(channels) {
            pending.extend_from_slice(channel);
        }
        while self.next + self.window.len() <= self.pending[0].len() {
            self.transform();
            each(&self.power);
            self.next += self.hop;
        }
        let done = self.next.min(self.pending[0].len());
        self.pending.iter_mut().for_each(|pending| drop(pending.drain(..done)));
        self.next -= done;
    }

    /// Passes the spectra of the windows at the song's end to `sink`.
    pub(super) fn finish(mut self, each: impl FnMut(&[f32])) {
        let silence = vec![0.0; self.window.len() / 2];
        self.feed([&silence, &silence], each);
    }

    fn transform(&mut self) {
        self.power.fill(0.0);
        for channel in &self.pending {
            let samples = &channel[self.next..self.next + self.window.len()];
            for ((input, sample), window) in self.input.iter_mut().zip(samples).zip(&self.window) {
                *input = sample * window;
            }
            // The transform fails for buffers of the wrong length only, and it created these itself.
            if self.fft.process_with_scratch(&mut self.input, &mut self.bins, &mut self.scratch).is_ok() {
                self.power.iter_mut().zip(&self.bins).for_each(|(power, bin)| *power += bin.norm_sqr());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spectra(samples: &[f32], block: usize) -> Vec<Vec<f32>> {
        let mut frames = Frames::new(256, 100);
        let mut all = Vec::new();
        samples.chunks(block).for_each(|block| frames.feed([block, block], |power| all.push(power.to_vec())));
        frames.finish(|power| all.push(power.to_vec()));
        all
    }

    #[test]
    fn every_hop_has_a_window() {
        for (length, windows) in [(0, 1), (1, 1), (99, 1), (100, 2), (1000, 11)] {
            assert_eq!(spectra(&vec![0.5; length], 64).len(), windows, "{length} samples");
        }
    }

    #[test]
    fn blocks_of_any_length_give_the_same_result() {
        let samples: Vec<f32> = (0..1000).map(|at| ((at * at) as f32 * 0.01).sin()).collect();
        assert_eq!(spectra(&samples, 1), spectra(&samples, 1000));
    }

    #[test]
    fn a_sine_at_full_scale_has_power_one_in_each_channel() {
        let samples: Vec<f32> = (0..1000).map(|at| (std::f32::consts::TAU * at as f32 * 16.0 / 256.0).sin()).collect();
        assert!((spectra(&samples, 1000)[5][16] - 2.0).abs() < 1e-3);
    }
}
