//! The network for CPUs: all layers fused, see `kernels`.

use candle_core::{Device, Result, Tensor};

use super::ModelError;
use super::config::Config;
use super::dconv::DConvShape;
use super::frequency::{self, FrequencyDecoder, FrequencyEncoder};
use super::spectrum::Spectrum;
use super::time::{TimeDecoder, TimeEncoder};
use super::transformer::{Layer, LayerShape, Linear, Norm, spectrum_positions, wave_positions};
use super::weights::Weights;

pub(super) struct Fused {
    encoders: Vec<(FrequencyEncoder, TimeEncoder)>,
    /// In the order in which they are run: the narrowest first.
    decoders: Vec<(FrequencyDecoder, TimeDecoder)>,
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
    pub(super) fn load(
        weights: &mut Weights,
        config: &Config,
        spectrum: &Spectrum,
        segment: usize,
    ) -> std::result::Result<Self, ModelError> {
        let sources = config.sources.len();
        let (mut encoders, mut decoders) = (Vec::new(), Vec::new());
        for index in 0..config.depth {
            let inner = config.channels_at(index);
            let [outer, outer_time] = match index {
                0 => [4, 2],
                index => [config.channels_at(index - 1); 2],
            };
            let branch = DConvShape { channels: inner, hidden: config.hidden(inner), depth: config.dconv_depth };
            let of_encoder = (config.dconv_mode & 1 != 0).then_some(branch);
            let of_decoder = (config.dconv_mode & 2 != 0).then_some(branch);
            let embedding = (index == 0 && config.freq_emb != 0.0)
                .then(|| {
                    let shape = [spectrum.frequencies() / frequency::STRIDE, inner];
                    let weight = weights.take("freq_emb.embedding.weight", &shape)?;
                    let scale = config.emb_scale * config.freq_emb;
                    Ok::<_, ModelError>(weight.iter().map(|value| value * scale).collect())
                })
                .transpose()?;
            let name = format!("encoder.{index}");
            let of_frequency = FrequencyEncoder::load(weights, &name, [outer, inner], of_encoder, embedding)?;
            let of_time = TimeEncoder::load(weights, &format!("t{name}"), [outer_time, inner], of_encoder)?;
            encoders.push((of_frequency, of_time));

            let last = index == 0;
            let [outer, outer_time] = if last { [4 * sources, 2 * sources] } else { [outer, outer_time] };
            let name = format!("decoder.{}", config.depth - 1 - index);
            let of_frequency = FrequencyDecoder::load(weights, &name, [inner, outer], of_decoder, last)?;
            let of_time = TimeDecoder::load(weights, &format!("t{name}"), [inner, outer_time], of_decoder, last)?;
            decoders.insert(0, (of_frequency, of_time));
        }
        let transformer =
            (config.t_layers > 0).then(|| Transformer::load(weights, config, spectrum, segment)).transpose()?;
        Ok(Self { encoders, decoders, transformer })
    }

    /// `[frequencies, 4, frames]` and `[length, 2]` to as many with four and two channels a source.
    pub(super) fn forward(&self, mut x: Tensor, mut xt: Tensor) -> Result<(Tensor, Tensor)> {
        let mut skips = Vec::new();
        for (of_frequency, of_time) in &self.encoders {
            let length = xt.dims2()?.0;
            x = of_frequency.forward(&x)?;
            xt = of_time.forward(&xt)?;
            skips.push((x.clone(), xt.clone(), length));
        }
        if let Some(transformer) = &self.transformer {
            (x, xt) = transformer.forward(&x, &xt)?;
        }
        for ((of_frequency, of_time), (skip, skip_time, length)) in self.decoders.iter().zip(skips.into_iter().rev()) {
            x = of_frequency.forward(x, skip)?;
            xt = of_time.forward(xt, skip_time, length)?;
        }
        Ok((x, xt))
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
        let shrunk = |length: usize| (0..config.depth).fold(length, |length, _| length.div_ceil(frequency::STRIDE));
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
