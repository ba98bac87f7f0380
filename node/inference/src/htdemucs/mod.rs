//! HTDemucs: Demucs v4, a hybrid transformer (Rouard, Massa and Défossez, "Hybrid transformers for music source
//! separation", 2023; `demucs/htdemucs.py`), numerically equal to the reference.
//!
//! ```text
//! samples ──► spectrum ──► frequency encoders ──┐              ┌──► frequency decoders ──► samples ──┐
//!    │                                          ├─ transformer ┤                                     ├──► stems
//!    └─────────────────────► time encoders ─────┘              └──► time decoders ───────────────────┘
//! ```

mod checkpoint;
mod config;
mod dconv;
mod frequency;
mod fused;
mod plain;
mod spectrum;
mod time;
mod torch;
mod transformer;
mod weights;

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use crate::Stereo;
use crate::separator::SeparateError;
pub use checkpoint::CheckpointError;
use config::Config;
use fused::Fused;
use plain::Plain;
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
pub struct HtDemucs {
    config: Config,
    segment: usize,
    spectrum: Spectrum,
    network: Network,
}

enum Network {
    /// On a CPU.
    Fused(Box<Fused>),
    /// On any other device.
    Plain(Box<Plain>),
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

impl HtDemucs {
    /// Builds the model from the class' arguments and its tensors.
    pub fn new(arguments: &Map<String, Value>, tensors: HashMap<String, Tensor>) -> Result<Self, ModelError> {
        let config = Config::read(arguments)?;
        let segment = config.segment().unwrap_or_default();
        let mut weights = Weights::new(tensors);
        let spectrum = Spectrum::new(config.nfft);
        let network = match device()? {
            Device::Cpu => Network::Fused(Box::new(Fused::load(&mut weights, &config, &spectrum, segment)?)),
            device => Network::Plain(Box::new(Plain::load(&mut weights, &config, &spectrum, segment, &device)?)),
        };
        weights.finish()?;
        Ok(Self { config, segment, spectrum, network })
    }

    /// The stems, in the order of the output.
    pub fn sources(&self) -> &[String] {
        &self.config.sources
    }

    /// How many frames it separates at a time.
    pub fn segment(&self) -> usize {
        self.segment
    }

    /// Separates one segment, which is as long as [`HtDemucs::segment`] says.
    pub fn forward(&self, mixture: &Stereo) -> Result<Vec<Stereo>, SeparateError> {
        let frequencies = self.spectrum.frequencies();
        let frames = self.spectrum.frames(self.segment);
        let (spectrum, of_spectrum) = normalised(self.spectrum.forward(mixture)?);
        let interleaved = mixture[0].iter().zip(&mixture[1]).flat_map(|(left, right)| [*left, *right]).collect();
        let (wave, of_wave) = normalised(interleaved);
        let x = Tensor::from_vec(spectrum, (frequencies, 4, frames), &Device::Cpu)?;
        let xt = Tensor::from_vec(wave, (self.segment, 2), &Device::Cpu)?;

        let (x, xt) = match &self.network {
            Network::Fused(network) => network.forward(x, xt)?,
            Network::Plain(network) => network.forward(x, xt)?,
        };
        let x = x.flatten_all()?.to_vec1::<f32>()?;
        let mut channels = self.spectrum.inverse(&x, self.segment, of_spectrum)?.into_iter();
        let xt = xt.flatten_all()?.to_vec1::<f32>()?;
        let mut stems = Vec::new();
        let [factor, summand] = of_wave;
        while let (Some(left), Some(right)) = (channels.next(), channels.next()) {
            let mut stem = [left, right];
            for (channel, samples) in stem.iter_mut().enumerate() {
                let column = xt.iter().skip(2 * stems.len() + channel).step_by(2 * self.config.sources.len());
                samples.iter_mut().zip(column).for_each(|(sample, wave)| *sample += wave * factor + summand);
            }
            stems.push(stem);
        }
        Ok(stems)
    }
}

/// The values without their mean and divided by their deviation, and the factor and summand that undo it.
fn normalised(mut values: Vec<f32>) -> (Vec<f32>, [f32; 2]) {
    let count = values.len() as f64;
    let mean = crate::kernels::pointwise::sum(&values) / count;
    let squares = crate::kernels::pointwise::squares(&values, mean as f32);
    // Unbiased, as torch has it.
    let std = (squares / (count - 1.0)).sqrt() as f32;
    let (mean, factor) = (mean as f32, 1.0 / (1e-5 + std));
    values.iter_mut().for_each(|value| *value = (*value - mean) * factor);
    (values, [std, mean])
}
