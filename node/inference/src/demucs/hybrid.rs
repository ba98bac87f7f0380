//! The common frame of the hybrid networks, as a separator.
//!
//! A song is normalised as a whole, a segment's spectrum and waveform each on their own. The network maps both to as
//! many for each stem; their sum is denormalised.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::arguments;
use super::spectrum::SpectrumTransform;
use crate::architecture::LoadOptions;
use crate::checkpoint::BuildError;
use crate::kernels::op::read;
use crate::kernels::pointwise;
use crate::separator::{Geometry, SeparateError, Separator};
use audio::Stereo;
use audio::pcm::SongStats;

/// Demucs' overlap of neighbouring segments.
const OVERLAP: f64 = 0.25;

/// The layers between the normalised inputs and the outputs.
pub(super) trait Network: Send + Sync {
    /// Maps `[frequencies, 4, frames]` and `[length, 2]` to tensors of the same sizes with four and two channels for
    /// each source.
    fn forward(&self, x: Tensor, xt: Tensor) -> candle_core::Result<(Tensor, Tensor)>;
}

/// A hybrid network with its weights.
pub(super) struct Hybrid {
    name: String,
    sources: Vec<String>,
    segment: usize,
    any_length: bool,
    spectrum: SpectrumTransform,
    network: Box<dyn Network>,
}

/// The parts of a [`Hybrid`] that its architecture determines.
pub(super) struct HybridParts {
    pub(super) sources: Vec<String>,
    /// The checkpoint's segment, in frames.
    pub(super) segment: usize,
    /// Whether the network takes segments of any length, or only of its own.
    pub(super) any_length: bool,
    pub(super) spectrum: SpectrumTransform,
    pub(super) network: Box<dyn Network>,
}

impl Hybrid {
    /// Fails if the network cannot have the segment of the options.
    pub(super) fn new(parts: HybridParts, options: LoadOptions<'_>) -> Result<Self, BuildError> {
        let HybridParts { sources, segment: own, any_length, spectrum, network } = parts;
        let segment = options.segment.unwrap_or(own);
        if segment != own && !(any_length && arguments::SEGMENTS.contains(&segment)) {
            return Err(BuildError::Segment { own, asked: segment });
        }
        Ok(Self { name: options.name.into(), sources, segment, any_length, spectrum, network })
    }

    /// Separates one segment of a normalised song.
    fn forward(&self, mixture: &Stereo) -> Result<Vec<Stereo>, SeparateError> {
        let length = mixture[0].len();
        let frequencies = self.spectrum.frequencies();
        let frames = self.spectrum.frames(length);
        let (spectrum, of_spectrum) = normalised(self.spectrum.forward(mixture)?);
        let interleaved = mixture[0].iter().zip(&mixture[1]).flat_map(|(left, right)| [*left, *right]).collect();
        let (wave, of_wave) = normalised(interleaved);
        let x = Tensor::from_vec(spectrum, (frequencies, 4, frames), &Device::Cpu)?;
        let xt = Tensor::from_vec(wave, (length, 2), &Device::Cpu)?;

        let (x, xt) = self.network.forward(x, xt)?;
        let mut channels = read(&x, |x| self.spectrum.inverse(x, length, of_spectrum))??;
        drop(x);
        let [factor, summand] = of_wave;
        read(&xt, |xt| {
            let width = channels.len();
            for (channel, samples) in channels.iter_mut().enumerate() {
                let column = xt.iter().skip(channel).step_by(width);
                samples.iter_mut().zip(column).for_each(|(sample, wave)| *sample += wave * factor + summand);
            }
        })?;
        let mut channels = channels.into_iter();
        Ok(std::iter::from_fn(|| Some([channels.next()?, channels.next()?])).collect())
    }
}

impl Separator for Hybrid {
    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> &[String] {
        &self.sources
    }

    fn geometry(&self) -> Geometry {
        Geometry::overlapping(self.segment, OVERLAP)
    }

    fn any_length(&self) -> bool {
        self.any_length
    }

    fn separate(&self, segment: &Stereo, inside: Range<usize>, song: &SongStats) -> Result<Vec<Stereo>, SeparateError> {
        // Frames outside the song are zero after the normalisation, not before it.
        let factor = song.std + 1e-8;
        let normalised = segment.each_ref().map(|channel| {
            let mut out = vec![0.0; channel.len()];
            for (out, sample) in out[inside.clone()].iter_mut().zip(&channel[inside.clone()]) {
                *out = (sample - song.mean) / factor;
            }
            out
        });
        let mut stems = self.forward(&normalised)?;
        for sample in stems.iter_mut().flatten().flatten() {
            *sample = *sample * factor + song.mean;
        }
        Ok(stems)
    }
}

/// The values without their mean and divided by their deviation, and the factor and summand that undo it.
fn normalised(mut values: Vec<f32>) -> (Vec<f32>, [f32; 2]) {
    let count = values.len() as f64;
    let mean = pointwise::sum(&values) / count;
    let squares = pointwise::squares(&values, mean as f32);
    // Unbiased, as in torch.
    let std = (squares / (count - 1.0)).sqrt() as f32;
    let (mean, factor) = (mean as f32, 1.0 / (1e-5 + std));
    values.iter_mut().for_each(|value| *value = (*value - mean) * factor);
    (values, [std, mean])
}
