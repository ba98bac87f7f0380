//! Hybrid Demucs: Demucs v3, whose branches become one (Défossez, "Hybrid spectrogram and waveform source separation",
//! 2021; `demucs/hdemucs.py`).
//!
//! When the spectrum's branch has a single frequency left, it has as many times as the waveform's, and the two are
//! added. What follows are layers over time; on the way back the waveform's branch leaves where it came in.
//!
//! ```text
//! frequency encoders ──► meeting ──► deep encoders ──► deep decoders ──► parting ──► frequency decoders
//! time encoders ────────────┘                                               └──────► time decoders
//! ```
//!
//! The network takes segments of any length.

mod config;
mod deep;
mod meeting;
mod norm;

use candle_core::{Result, Tensor};

use super::ModelError;
use super::branches::{Branches, BranchesShape};
use super::weights::Weights;
pub(crate) use config::Config;
use deep::{DeepDecoder, DeepEncoder};
use meeting::{Meeting, Parting};

type Loaded<T> = std::result::Result<T, ModelError>;

/// See the module's page.
pub(crate) struct Merging {
    branches: Branches,
    meeting: Meeting,
    encoders: Vec<DeepEncoder>,
    /// In the order in which they are run.
    decoders: Vec<DeepDecoder>,
    parting: Parting,
}

impl Merging {
    pub(crate) fn load(weights: &mut Weights, config: &Config) -> Loaded<Self> {
        let meeting = config.meeting();
        let shape = BranchesShape {
            sources: config.sources.len(),
            frequencies: config.nfft / 2,
            layers: (0..meeting).map(|index| config.dconv(index)).collect(),
            dconv_mode: config.dconv_mode,
            embedding: config.emb_scale * config.freq_emb,
            outermost: [config.depth - 1, meeting],
        };
        let deeper = meeting + 1..config.depth;
        Ok(Self {
            branches: Branches::load(weights, &shape)?,
            meeting: Meeting::load(weights, config)?,
            encoders: deeper.clone().map(|index| DeepEncoder::load(weights, config, index)).collect::<Loaded<_>>()?,
            decoders: deeper.rev().map(|index| DeepDecoder::load(weights, config, index)).collect::<Loaded<_>>()?,
            parting: Parting::load(weights, config)?,
        })
    }

    /// `[frequencies, 4, frames]` and `[length, 2]` to as many with four and two channels a source.
    pub(crate) fn forward(&self, x: Tensor, xt: Tensor) -> Result<(Tensor, Tensor)> {
        let (x, xt, skips) = self.branches.encode(x, xt)?;
        let length = xt.dims2()?.0;
        let met = self.meeting.forward(x, xt)?;
        let mut deep = vec![met];
        for encoder in &self.encoders {
            let next = encoder.forward(&deep[deep.len() - 1])?;
            deep.push(next);
        }
        // The decoders begin with nothing but what the encoders saw.
        let mut x = None;
        for decoder in &self.decoders {
            let (Some(skip), Some(before)) = (deep.pop(), deep.last()) else { break };
            x = Some(decoder.forward(x, skip, before.dims2()?.0)?);
        }
        let Some(skip) = deep.pop() else { candle_core::bail!("the branches have not met") };
        let (x, xt) = self.parting.forward(x, skip, length)?;
        self.branches.decode(x, xt, skips)
    }
}
