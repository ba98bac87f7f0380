//! The network on CPUs: all layers fused, see `kernels`.

use candle_core::{Device, Result, Tensor};

use super::config::HTDemucsConfig;
use super::transformer::{LayerNorm, LayerShape, TransformerLayer, spectrum_positions, wave_positions};
use crate::checkpoint::{BuildError, Weights};
use crate::demucs::branches::{Branches, BranchesShape};
use crate::demucs::frequency::STRIDE;
use crate::demucs::hybrid::Network;
use crate::demucs::linear::Linear;
use crate::demucs::spectrum::SpectrumTransform;

pub(crate) struct Fused {
    branches: Branches,
    transformer: Option<Transformer>,
}

/// The transformer, with the linear layers that map to its width and back.
struct Transformer {
    upsamplers: Option<[Linear; 2]>,
    downsamplers: Option<[Linear; 2]>,
    norms: [LayerNorm; 2],
    /// One for the spectrum, one for the waveform.
    layers: Vec<[TransformerLayer; 2]>,
    /// The positional embeddings.
    positions: [Tensor; 2],
}

impl Fused {
    pub(crate) fn load(
        weights: &mut Weights,
        config: &HTDemucsConfig,
        spectrum: &SpectrumTransform,
        segment: usize,
    ) -> std::result::Result<Self, BuildError> {
        let shape = BranchesShape {
            sources: config.sources.len(),
            frequencies: spectrum.frequencies(),
            layers: (0..config.depth).map(|index| config.dconv(index)).collect(),
            dconv_mode: config.dconv_mode,
            embedding: config.emb_scale * config.freq_emb,
            outermost: [config.depth - 1; 2],
        };
        let branches = Branches::load(weights, &shape)?;
        let transformer =
            (config.t_layers > 0).then(|| Transformer::load(weights, config, spectrum, segment)).transpose()?;
        Ok(Self { branches, transformer })
    }
}

impl Network for Fused {
    fn forward(&self, x: Tensor, xt: Tensor) -> Result<(Tensor, Tensor)> {
        let (mut x, mut xt, skips) = self.branches.encode(x, xt)?;
        if let Some(transformer) = &self.transformer {
            (x, xt) = transformer.forward(&x, &xt)?;
        }
        self.branches.decode(x, xt, skips)
    }
}

impl Transformer {
    fn load(
        weights: &mut Weights,
        config: &HTDemucsConfig,
        spectrum: &SpectrumTransform,
        segment: usize,
    ) -> std::result::Result<Self, BuildError> {
        let (narrow, width) = (config.channels_at(config.depth - 1), config.width());
        let mut resampler = |name: &str, shape: [usize; 3]| {
            let mut both = ["", "_t"].into_iter().map(|branch| {
                let name = format!("channel_{name}{branch}");
                Linear::load(weights, [&format!("{name}.weight"), &format!("{name}.bias")], &shape)
            });
            match (both.next(), both.next()) {
                (Some(one), Some(other)) => Ok([one?, other?]),
                _ => Err(BuildError::Missing(name.into())),
            }
        };
        let resampled = config.bottom_channels > 0;
        let upsamplers = resampled.then(|| resampler("upsampler", [width, narrow, 1])).transpose()?;
        let downsamplers = resampled.then(|| resampler("downsampler", [narrow, width, 1])).transpose()?;
        let shape = LayerShape {
            channels: width,
            hidden: (width as f64 * config.t_hidden_scale) as usize,
            heads: config.t_heads,
        };
        let mut layers = Vec::new();
        for index in 0..config.t_layers {
            let cross = (index % 2 == 1) != config.t_cross_first;
            let mut layer = |branch: &str| {
                TransformerLayer::load(weights, &format!("crosstransformer.layers{branch}.{index}"), shape, cross)
            };
            layers.push([layer("")?, layer("_t")?]);
        }
        let norms = [
            LayerNorm::load(weights, "crosstransformer.norm_in", width)?,
            LayerNorm::load(weights, "crosstransformer.norm_in_t", width)?,
        ];
        let shrunk = |length: usize| (0..config.depth).fold(length, |length, _| length.div_ceil(STRIDE));
        let (frames, frequencies) = (spectrum.frames(segment), shrunk(spectrum.frequencies()));
        let length = shrunk(segment);
        let tensor = |mut positions: Vec<f32>, tokens: usize| {
            positions.iter_mut().for_each(|position| *position *= config.t_weight_pos_embed);
            Tensor::from_vec(positions, (tokens, width), &Device::Cpu)
        };
        let positions = [
            tensor(spectrum_positions(frames, frequencies, width, config.t_max_period), frames * frequencies)?,
            tensor(wave_positions(length, width, config.t_max_period), length)?,
        ];
        Ok(Self { upsamplers, downsamplers, norms, layers, positions })
    }

    /// Maps `[frequencies, channels, frames]` and `[length, channels]` to tensors of the same shapes.
    fn forward(&self, x: &Tensor, xt: &Tensor) -> Result<(Tensor, Tensor)> {
        let (frequencies, channels, frames) = x.dims3()?;
        // Tokens are ordered by frame, then by frequency.
        let tokens = x.permute((2, 0, 1))?.contiguous()?.reshape((frames * frequencies, channels))?;
        let mut both = [tokens, xt.clone()];
        if let Some(upsamplers) = &self.upsamplers {
            both = [upsamplers[0].forward(&both[0])?, upsamplers[1].forward(&both[1])?];
        }
        for ((tokens, norm), positions) in both.iter_mut().zip(&self.norms).zip(&self.positions) {
            *tokens = (norm.forward(tokens)? + positions)?;
        }
        for [of_spectrum, of_wave] in &self.layers {
            // Each branch attends to the other's input of this layer, not to its output.
            both = [of_spectrum.forward(&both[0], &both[1])?, of_wave.forward(&both[1], &both[0])?];
        }
        if let Some(downsamplers) = &self.downsamplers {
            both = [downsamplers[0].forward(&both[0])?, downsamplers[1].forward(&both[1])?];
        }
        let [tokens, xt] = both;
        let x = tokens.reshape((frames, frequencies, channels))?.permute((1, 2, 0))?.contiguous()?;
        Ok((x, xt))
    }
}
