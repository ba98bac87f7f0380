//! `spectral`: a separator that needs no weights.
//!
//! It applies four soft masks to the short-time spectrum. They rest on general properties of music:
//!
//! - *drums*: hits are vertical lines in a spectrogram, notes are horizontal lines. A median along the frequencies keeps
//!   hits, a median along time keeps notes (Fitzgerald, "Harmonic/percussive separation using median filtering", 2010);
//! - *bass*: the low frequencies of the harmonic part;
//! - *vocals*: the harmonic part in the middle of the stereo image that does not repeat (see [`repeating`]);
//! - *other*: the rest.
//!
//! The masks sum to one, and *other* is the mixture minus the other stems, so the four stems add up to the mixture. The
//! separator is fast, but its stems are much worse than those of a trained model.

mod median;
mod repeating;
mod stft;

use std::ops::Range;

use candle_core::{Device, Tensor};
use realfft::num_complex::Complex;

use crate::separator::{Geometry, SeparateError, Separator};
use audio::Stereo;
use audio::pcm::SongStats;
use median::MedianAlong;
use stft::{BINS, Spectrum, Stft};

const SOURCES: [&str; 4] = ["drums", "bass", "other", "vocals"];
/// About 12 seconds, enough to contain repetitions, with a stride of three quarters.
const GEOMETRY: Geometry = Geometry { segment: 1 << 19, stride: 3 << 17 };

/// The window of the median along time, in frames (odd): 0.4 s.
const TIME_WINDOW: usize = 17;
/// The window of the median along the frequencies, in bins (odd): 330 Hz.
const FREQUENCY_WINDOW: usize = 31;
/// The bass band, in Hz: all of the signal below the first frequency, none above the second, a linear fade between.
const BASS_FADE: [f32; 2] = [170.0, 260.0];
/// The lower end of the singing voice, in Hz: none of the signal below the first frequency, all above the second.
const VOICE_FADE: [f32; 2] = [120.0, 220.0];
/// The part of a bin's energy that both channels share in phase: the bin is not in the middle of the stereo image below
/// the first value, fully in the middle above the second.
const CENTRE_FADE: [f64; 2] = [0.6, 0.98];
/// Prevents divisions by zero; 160 dB below full scale.
const FLOOR: f64 = 1e-8;

/// The separator.
pub(crate) struct Spectral {
    sources: [String; 4],
    stft: Stft,
    /// The gain of each bin in the bass mask.
    bass_band: Vec<f32>,
    /// The gain of each bin in the vocals mask.
    voice_band: Vec<f32>,
}

/// The masks, each `[frames, bins]`. That of *other* is one minus their sum.
struct Masks {
    drums: Vec<f32>,
    bass: Vec<f32>,
    vocals: Vec<f32>,
}

impl Spectral {
    /// The model's name, by which jobs choose it.
    pub(crate) const NAME: &str = "spectral";

    pub(crate) fn new() -> Self {
        let above = |[low, high]: [f32; 2]| {
            (0..BINS).map(move |bin| ((stft::frequency(bin) - low) / (high - low)).clamp(0.0, 1.0))
        };
        Self {
            sources: SOURCES.map(str::to_owned),
            stft: Stft::new(),
            bass_band: above(BASS_FADE).map(|above| 1.0 - above).collect(),
            voice_band: above(VOICE_FADE).collect(),
        }
    }

    fn masks(&self, left: &Spectrum, right: &Spectrum) -> candle_core::Result<Masks> {
        let shape = (left.frames(), BINS);
        let tensor = |value: &dyn Fn(Complex<f32>, Complex<f32>) -> f32| {
            let values = left.bins().iter().zip(right.bins()).map(|(left, right)| value(*left, *right));
            Tensor::from_iter(values, &Device::Cpu)?.reshape(shape)
        };
        let power = tensor(&|left, right| left.norm_sqr() + right.norm_sqr())?;
        let shared = tensor(&|left, right| 2.0 * (left * right.conj()).re)?;
        let magnitude = power.sqrt()?;

        let along_time = magnitude.t()?.contiguous()?.apply_op1_no_bwd(&MedianAlong(TIME_WINDOW))?.t()?;
        let harmonic = along_time.sqr()?;
        let percussive = magnitude.apply_op1_no_bwd(&MedianAlong(FREQUENCY_WINDOW))?.sqr()?;
        let drums = (&percussive / (&percussive + harmonic)?.affine(1.0, FLOOR)?)?;
        let notes = drums.affine(-1.0, 1.0)?;

        let band = |gains: &[f32]| Tensor::from_slice(gains, (1, BINS), &Device::Cpu);
        let bass = notes.broadcast_mul(&band(&self.bass_band)?)?;
        let left_over = (notes - &bass)?;

        let [low, high] = CENTRE_FADE;
        let centre = (shared / power.affine(1.0, FLOOR)?)?;
        let centre = centre.affine(1.0 / (high - low), -low / (high - low))?.clamp(0f32, 1f32)?;
        let new = repeating::novelty(&magnitude)?;
        let vocals = (left_over * centre)?.mul(&new)?.broadcast_mul(&band(&self.voice_band)?)?;

        let flat = |mask: Tensor| mask.flatten_all()?.to_vec1::<f32>();
        Ok(Masks { drums: flat(drums)?, bass: flat(bass)?, vocals: flat(vocals)? })
    }
}

impl Separator for Spectral {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn sources(&self) -> &[String] {
        &self.sources
    }

    fn geometry(&self) -> Geometry {
        GEOMETRY
    }

    fn separate(&self, segment: &Stereo, _: Range<usize>, _: &SongStats) -> Result<Vec<Stereo>, SeparateError> {
        let [left, right] = [self.stft.forward(&segment[0])?, self.stft.forward(&segment[1])?];
        let masks = self.masks(&left, &right)?;
        let length = segment[0].len();
        let masked = |mask: &[f32]| -> Result<Stereo, SeparateError> {
            Ok([self.stft.inverse(&left, mask, length)?, self.stft.inverse(&right, mask, length)?])
        };
        let [drums, bass, vocals] = [masked(&masks.drums)?, masked(&masks.bass)?, masked(&masks.vocals)?];
        let mut other = segment.clone();
        for stem in [&drums, &bass, &vocals] {
            for (rest, stem) in other.iter_mut().zip(stem) {
                rest.iter_mut().zip(stem).for_each(|(rest, sample)| *rest -= sample);
            }
        }
        Ok(vec![drums, bass, other, vocals])
    }
}
