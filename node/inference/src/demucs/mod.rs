//! Demucs' hybrid networks, numerically equal to the reference (the `demucs` package): one branch sees the song's
//! spectrum, one its waveform, and each stem is the sum of what both make of it.
//!
//! ```text
//! samples ──► spectrum ──► frequency encoders ──┐           ┌──► frequency decoders ──► samples ──┐
//!    │                                          ├─ the deep ┤                                     ├──► stems
//!    └─────────────────────► time encoders ─────┘           └──► time decoders ───────────────────┘
//! ```
//!
//! What happens in the deep tells the versions apart: in `htdemucs` (v4) a transformer, in `hdemucs` (v3) the
//! branches become one. What is around it is the same: checkpoints, spectrum, encoders and decoders.

mod arguments;
mod branches;
mod checkpoint;
mod dconv;
mod frequency;
mod hdemucs;
mod htdemucs;
mod linear;
mod local;
mod lstm;
mod spectrum;
mod time;
mod torch;
mod weights;

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use crate::kernels::op::read;
use crate::kernels::pointwise;
use crate::separator::SeparateError;
use audio::Stereo;
pub use checkpoint::CheckpointError;
use spectrum::Spectrum;
use weights::Weights;

/// A model cannot be built from a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The configuration contradicts itself.
    #[error("its configuration is wrong: {0}")]
    Config(String),
    /// The configuration asks for what is not built here.
    #[error("it needs {0}, which this program does not have")]
    Unsupported(String),
    /// A tensor is missing.
    #[error("the tensor {0} is missing")]
    Missing(String),
    /// A tensor has another shape.
    #[error("the tensor {name} has the shape {found:?} instead of {expected:?}")]
    Misshapen {
        /// Which.
        name: String,
        /// What it has.
        found: Vec<usize>,
        /// What it should have.
        expected: Vec<usize>,
    },
    /// There are tensors that nothing needs.
    #[error("{count} tensors belong to nothing, {name} among them")]
    LeftOver {
        /// One of them.
        name: String,
        /// How many.
        count: usize,
    },
    /// The tensors cannot be read.
    #[error("its tensors cannot be read: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// A model with its weights.
pub struct Demucs {
    sources: Vec<String>,
    segment: usize,
    spectrum: Spectrum,
    network: Network,
}

enum Network {
    /// HTDemucs on a CPU.
    Fused(Box<htdemucs::Fused>),
    /// HTDemucs on any other device.
    Plain(Box<htdemucs::Plain>),
    /// Hybrid Demucs, on a CPU whatever else there is: its recurrence is a long row of small products.
    Merging(Box<hdemucs::Merging>),
}

/// Which architecture a checkpoint holds.
#[derive(Debug, Clone, Copy)]
enum Class {
    HtDemucs,
    HDemucs,
}

/// Where networks run: on the first GPU of the kind that this program was built for, and else on the CPU.
fn device() -> Result<Device, candle_core::Error> {
    if cfg!(feature = "cuda") {
        Device::new_cuda(0)
    } else if cfg!(feature = "metal") {
        Device::new_metal(0)
    } else {
        Ok(Device::Cpu)
    }
}

impl Demucs {
    /// Builds the model from the class' arguments and its tensors.
    fn new(class: Class, arguments: &Map<String, Value>, tensors: HashMap<String, Tensor>) -> Result<Self, ModelError> {
        let mut weights = Weights::new(tensors);
        let model = match class {
            Class::HtDemucs => {
                let config = htdemucs::Config::read(arguments)?;
                let (segment, spectrum) = (config.segment, Spectrum::new(config.nfft));
                let network = match device()? {
                    Device::Cpu => {
                        let network = htdemucs::Fused::load(&mut weights, &config, &spectrum, segment)?;
                        Network::Fused(Box::new(network))
                    }
                    device => {
                        let network = htdemucs::Plain::load(&mut weights, &config, &spectrum, segment, &device)?;
                        Network::Plain(Box::new(network))
                    }
                };
                Self { sources: config.sources, segment, spectrum, network }
            }
            Class::HDemucs => {
                let config = hdemucs::Config::read(arguments)?;
                let network = Network::Merging(Box::new(hdemucs::Merging::load(&mut weights, &config)?));
                let spectrum = Spectrum::new(config.nfft);
                Self { sources: config.sources, segment: config.segment, spectrum, network }
            }
        };
        weights.finish()?;
        Ok(model)
    }

    /// The stems, in the order of the output.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// How many frames it separates at a time.
    pub fn segment(&self) -> usize {
        self.segment
    }

    /// Whether it separates segments of any length, or only of its own.
    pub fn any_length(&self) -> bool {
        matches!(self.network, Network::Merging(_))
    }

    /// Separates segments of `frames` frames from now on; false if it cannot.
    pub fn set_segment(&mut self, frames: usize) -> bool {
        let can = frames == self.segment || (self.any_length() && arguments::SEGMENTS.contains(&frames));
        if can {
            self.segment = frames;
        }
        can
    }

    /// Separates one segment, which is as long as [`Demucs::segment`] says unless the model takes any length.
    pub fn forward(&self, mixture: &Stereo) -> Result<Vec<Stereo>, SeparateError> {
        let length = mixture[0].len();
        let frequencies = self.spectrum.frequencies();
        let frames = self.spectrum.frames(length);
        let (spectrum, of_spectrum) = normalised(self.spectrum.forward(mixture)?);
        let interleaved = mixture[0].iter().zip(&mixture[1]).flat_map(|(left, right)| [*left, *right]).collect();
        let (wave, of_wave) = normalised(interleaved);
        let x = Tensor::from_vec(spectrum, (frequencies, 4, frames), &Device::Cpu)?;
        let xt = Tensor::from_vec(wave, (length, 2), &Device::Cpu)?;

        let (x, xt) = match &self.network {
            Network::Fused(network) => network.forward(x, xt)?,
            Network::Plain(network) => network.forward(x, xt)?,
            Network::Merging(network) => network.forward(x, xt)?,
        };
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

/// The values without their mean and divided by their deviation, and the factor and summand that undo it.
fn normalised(mut values: Vec<f32>) -> (Vec<f32>, [f32; 2]) {
    let count = values.len() as f64;
    let mean = pointwise::sum(&values) / count;
    let squares = pointwise::squares(&values, mean as f32);
    // Unbiased, as torch has it.
    let std = (squares / (count - 1.0)).sqrt() as f32;
    let (mean, factor) = (mean as f32, 1.0 / (1e-5 + std));
    values.iter_mut().for_each(|value| *value = (*value - mean) * factor);
    (values, [std, mean])
}
