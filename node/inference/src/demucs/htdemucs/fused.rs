//! The network for CPUs: all layers fused, see `kernels`.

use candle_core::{Device, Result, Tensor};

use super::config::Config;
use super::transformer::{Layer, LayerShape, Norm, spectrum_positions, wave_positions};
use crate::demucs::ModelError;
use crate::demucs::branches::{Branches, BranchesShape};
use crate::demucs::frequency::STRIDE;
use crate::demucs::linear::Linear;
use crate::demucs::spectrum::Spectrum;
use crate::demucs::weights::Weights;

pub(crate) struct Fused {
    branches: Branches,
    transformer: Option<Transformer>,
}

/// The transformer, with the linear layers that lead to its width and back.
struct Transformer {
    upsamplers: Option<[Linear; 2]>,
    downsamplers: Option<[Linear; 2]>,
    norms: [Norm; 2],
    /// For the spectrum and the waveform.
    layers: Vec<[Layer; 2]>,
    /// Where each token is.
    positions: [Tensor; 2],
}

impl Fused {
    pub(crate) fn load(
        weights: &mut Weights,
        config: &Config,
        spectrum: &Spectrum,
        segment: usize,
    ) -> std::result::Result<Self, ModelError> {
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

    /// `[frequencies, 4, frames]` and `[length, 2]` to as many with four and two channels a source.
    pub(crate) fn forward(&self, x: Tensor, xt: Tensor) -> Result<(Tensor, Tensor)> {
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
        config: &Config,
        spectrum: &Spectrum,
        segment: usize,
    ) -> std::result::Result<Self, ModelError> {
        let (narrow, width) = (config.channels_at(config.depth - 1), config.width());
        let mut resampler = |name: &str, shape: [usize; 3]| {
            let mut both = ["", "_t"].into_iter().map(|branch| {
                let name = format!("channel_{name}{branch}");
                Linear::load(weights, [&format!("{name}.weight"), &format!("{name}.bias")], &shape)
            });
            match (both.next(), both.next()) {
                (Some(one), Some(other)) => Ok([one?, other?]),
                _ => Err(ModelError::Missing(name.into())),
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
            let mut layer =
                |branch: &str| Layer::load(weights, &format!("crosstransformer.layers{branch}.{index}"), shape, cross);
            layers.push([layer("")?, layer("_t")?]);
        }
        let norms = [
            Norm::load(weights, "crosstransformer.norm_in", width)?,
            Norm::load(weights, "crosstransformer.norm_in_t", width)?,
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

    /// `[frequencies, channels, frames]` and `[length, channels]`, to the same.
    fn forward(&self, x: &Tensor, xt: &Tensor) -> Result<(Tensor, Tensor)> {
        let (frequencies, channels, frames) = x.dims3()?;
        // Tokens frame by frame, and in each its frequencies.
        let tokens = x.permute((2, 0, 1))?.contiguous()?.reshape((frames * frequencies, channels))?;
        let mut both = [tokens, xt.clone()];
        if let Some(upsamplers) = &self.upsamplers {
            both = [upsamplers[0].forward(&both[0])?, upsamplers[1].forward(&both[1])?];
        }
        for ((tokens, norm), positions) in both.iter_mut().zip(&self.norms).zip(&self.positions) {
            *tokens = (norm.forward(tokens)? + positions)?;
        }
        for [of_spectrum, of_wave] in &self.layers {
            // Both see the other as it was before this layer.
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
