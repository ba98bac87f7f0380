//! HTDemucs: Demucs v4, with a transformer between the branches (Rouard, Massa and Défossez, "Hybrid transformers for
//! music source separation", 2023; `demucs/htdemucs.py`).

mod config;
mod fused;
mod plain;
mod transformer;

use candle_core::Device;

use super::arguments;
use super::hybrid::{Hybrid, HybridParts, Network};
use super::spectrum::SpectrumTransform;
use crate::architecture::{Architecture, LoadOptions};
use crate::checkpoint::{BuildError, Checkpoint, Weights};
use crate::separator::Separator;
use config::HTDemucsConfig;
use fused::Fused;
use plain::Plain;

pub(crate) const ARCHITECTURE: Architecture =
    Architecture { name: "htdemucs", classes: &["demucs.htdemucs.HTDemucs"], load };

fn load(checkpoint: Checkpoint, options: LoadOptions<'_>) -> Result<Box<dyn Separator>, BuildError> {
    let config = HTDemucsConfig::read(&arguments::by_name(checkpoint.positional, checkpoint.named))?;
    let mut weights = Weights::new(checkpoint.tensors);
    let (segment, spectrum) = (config.segment, SpectrumTransform::new(config.nfft));
    let network: Box<dyn Network> = match device()? {
        Device::Cpu => Box::new(Fused::load(&mut weights, &config, &spectrum, segment)?),
        device => Box::new(Plain::load(&mut weights, &config, &spectrum, segment, &device)?),
    };
    weights.finish()?;
    let parts = HybridParts { sources: config.sources, segment, any_length: false, spectrum, network };
    Ok(Box::new(Hybrid::new(parts, options)?))
}

/// The first GPU of the kind that this program was built for, else the CPU.
fn device() -> Result<Device, candle_core::Error> {
    if cfg!(feature = "cuda") {
        Device::new_cuda(0)
    } else if cfg!(feature = "metal") {
        Device::new_metal(0)
    } else {
        Ok(Device::Cpu)
    }
}
