//! Hybrid Demucs: Demucs v3, which adds its branches up (Défossez, "Hybrid spectrogram and waveform source separation",
//! 2021; `demucs/hdemucs.py`).
//!
//! When the spectrum's branch has a single frequency left, it has as many times as the waveform's, and the two are
//! added. Layers over time follow. On the way back, the waveform's branch starts where it ended.
//!
//! ```text
//! frequency encoders ──► merge ──► deep encoders ──► deep decoders ──► split ──► frequency decoders
//! time encoders ───────────┘                                             └─────► time decoders
//! ```
//!
//! The network takes segments of any length.

mod config;
mod deep;
mod merging;
mod norm;

use candle_core::{Result, Tensor};

use super::arguments;
use super::branches::{Branches, BranchesShape};
use super::hybrid::{Hybrid, HybridParts, Network};
use super::spectrum::SpectrumTransform;
use crate::architecture::{Architecture, LoadOptions};
use crate::checkpoint::{BuildError, Checkpoint, Weights};
use crate::separator::Separator;
use config::HDemucsConfig;
use deep::{DeepDecoder, DeepEncoder};
use merging::{MergeLayer, SplitLayer};

pub(crate) const ARCHITECTURE: Architecture =
    Architecture { name: "hdemucs", classes: &["demucs.hdemucs.HDemucs"], load };

fn load(checkpoint: Checkpoint, options: LoadOptions<'_>) -> Loaded<Box<dyn Separator>> {
    let config = HDemucsConfig::read(&arguments::by_name(checkpoint.positional, checkpoint.named))?;
    let mut weights = Weights::new(checkpoint.tensors);
    let network = Box::new(HDemucs::load(&mut weights, &config)?);
    weights.finish()?;
    let spectrum = SpectrumTransform::new(config.nfft);
    let parts = HybridParts { sources: config.sources, segment: config.segment, any_length: true, spectrum, network };
    Ok(Box::new(Hybrid::new(parts, options)?))
}

type Loaded<T> = std::result::Result<T, BuildError>;

/// The network. It runs on the CPU even where there is a GPU: its recurrence is a long sequence of small products.
struct HDemucs {
    branches: Branches,
    merge: MergeLayer,
    encoders: Vec<DeepEncoder>,
    /// In the order in which they run.
    decoders: Vec<DeepDecoder>,
    split: SplitLayer,
}

impl HDemucs {
    fn load(weights: &mut Weights, config: &HDemucsConfig) -> Loaded<Self> {
        let merge = config.merge_layer();
        let shape = BranchesShape {
            sources: config.sources.len(),
            frequencies: config.nfft / 2,
            layers: (0..merge).map(|index| config.dconv(index)).collect(),
            dconv_mode: config.dconv_mode,
            embedding: config.emb_scale * config.freq_emb,
            outermost: [config.depth - 1, merge],
        };
        let deeper = merge + 1..config.depth;
        Ok(Self {
            branches: Branches::load(weights, &shape)?,
            merge: MergeLayer::load(weights, config)?,
            encoders: deeper.clone().map(|index| DeepEncoder::load(weights, config, index)).collect::<Loaded<_>>()?,
            decoders: deeper.rev().map(|index| DeepDecoder::load(weights, config, index)).collect::<Loaded<_>>()?,
            split: SplitLayer::load(weights, config)?,
        })
    }
}

impl Network for HDemucs {
    fn forward(&self, x: Tensor, xt: Tensor) -> Result<(Tensor, Tensor)> {
        let (x, xt, skips) = self.branches.encode(x, xt)?;
        let length = xt.dims2()?.0;
        let merged = self.merge.forward(x, xt)?;
        let mut deep = vec![merged];
        for encoder in &self.encoders {
            let next = encoder.forward(&deep[deep.len() - 1])?;
            deep.push(next);
        }
        // The first decoder has only a skip as its input.
        let mut x = None;
        for decoder in &self.decoders {
            let (Some(skip), Some(before)) = (deep.pop(), deep.last()) else { break };
            x = Some(decoder.forward(x, skip, before.dims2()?.0)?);
        }
        let Some(skip) = deep.pop() else { candle_core::bail!("the branches were not merged") };
        let (x, xt) = self.split.forward(x, skip, length)?;
        self.branches.decode(x, xt, skips)
    }
}
