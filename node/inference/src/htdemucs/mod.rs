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
use dconv::DConvShape;
use frequency::{FrequencyDecoder, FrequencyEncoder};
use spectrum::Spectrum;
use time::{TimeDecoder, TimeEncoder};
use transformer::{Layer, LayerShape, Linear, Norm, spectrum_positions, wave_positions};
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

impl HtDemucs {
    /// Builds the model from the class' arguments and its tensors.
    pub fn new(arguments: &Map<String, Value>, tensors: HashMap<String, Tensor>) -> Result<Self, ModelError> {
        let config = Config::read(arguments)?;
        let segment = config.segment().unwrap_or_default();
        let mut weights = Weights::new(tensors);
        let spectrum = Spectrum::new(config.nfft);
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
            let of_frequency = FrequencyEncoder::load(&mut weights, &name, [outer, inner], of_encoder, embedding)?;
            let of_time = TimeEncoder::load(&mut weights, &format!("t{name}"), [outer_time, inner], of_encoder)?;
            encoders.push((of_frequency, of_time));

            let last = index == 0;
            let [outer, outer_time] = if last { [4 * sources, 2 * sources] } else { [outer, outer_time] };
            let name = format!("decoder.{}", config.depth - 1 - index);
            let of_frequency = FrequencyDecoder::load(&mut weights, &name, [inner, outer], of_decoder, last)?;
            let of_time = TimeDecoder::load(&mut weights, &format!("t{name}"), [inner, outer_time], of_decoder, last)?;
            decoders.insert(0, (of_frequency, of_time));
        }
        let transformer =
            (config.t_layers > 0).then(|| Transformer::load(&mut weights, &config, &spectrum, segment)).transpose()?;
        weights.finish()?;
        Ok(Self { config, segment, spectrum, encoders, decoders, transformer })
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
        let mut x = Tensor::from_vec(spectrum, (frequencies, 4, frames), &Device::Cpu)?;
        let mut xt = Tensor::from_vec(wave, (self.segment, 2), &Device::Cpu)?;

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

impl Transformer {
    fn load(weights: &mut Weights, config: &Config, spectrum: &Spectrum, segment: usize) -> Result<Self, ModelError> {
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
    fn forward(&self, x: &Tensor, xt: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
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
