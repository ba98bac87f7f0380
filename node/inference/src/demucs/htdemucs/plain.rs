//! The network in Candle's own operators, for GPUs, and as the reference for tests of the fused layers.
//!
//! It follows `demucs/htdemucs.py` line by line. The spectrum's branch is `[frequencies, channels, frames]`, and its
//! convolutions along the frequencies have the frames as a batch. The waveform's branch is `[1, channels, length]`.

use candle_core::{D, Device, Result, Tensor};

use super::config::HTDemucsConfig;
use super::transformer::{spectrum_positions, wave_positions};
use crate::checkpoint::{BuildError, Weights};
use crate::demucs::dconv::DConvShape;
use crate::demucs::frequency::{KERNEL, STRIDE, transposed_taps};
use crate::demucs::hybrid::Network;
use crate::demucs::spectrum::SpectrumTransform;

const PAD: usize = 2;
const EPS: f64 = 1e-5;

/// A layer's weight and bias.
struct WeightAndBias {
    weight: Tensor,
    bias: Tensor,
}

/// Takes weights and moves them to a device.
struct DeviceWeights<'a> {
    weights: &'a mut Weights,
    device: &'a Device,
}

impl DeviceWeights<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> std::result::Result<Tensor, BuildError> {
        Ok(Tensor::from_vec(self.weights.take(name, shape)?, shape, self.device)?)
    }

    /// Takes `prefix.weight` of this shape, and `prefix.bias` with the length of its first axis, or `bias`.
    fn affine(&mut self, prefix: &str, shape: &[usize], bias: usize) -> std::result::Result<WeightAndBias, BuildError> {
        let weight = self.tensor(&format!("{prefix}.weight"), shape)?;
        Ok(WeightAndBias { weight, bias: self.tensor(&format!("{prefix}.bias"), &[bias])? })
    }
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// The gated linear unit over the channels, the second axis.
fn glu(x: &Tensor) -> Result<Tensor> {
    let halves = x.chunk(2, 1)?;
    &halves[0] * sigmoid(&halves[1])?
}

impl WeightAndBias {
    /// Adds the bias along the second axis.
    fn add_bias(&self, x: Tensor) -> Result<Tensor> {
        let mut shape = vec![1; x.rank()];
        shape[1] = self.bias.elem_count();
        x.broadcast_add(&self.bias.reshape(shape)?)
    }

    fn conv(&self, x: &Tensor, padding: usize, stride: usize, dilation: usize) -> Result<Tensor> {
        self.add_bias(x.contiguous()?.conv1d(&self.weight, padding, stride, dilation, 1)?)
    }

    /// The transposed convolution with kernel 8 and stride 4 as one with kernel 1: two neighbouring inputs give four
    /// outputs (see [`transposed_taps`]). Candle's own is wrong for batches of more than one on a CPU.
    fn transposed(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, _, length) = x.dims3()?;
        let padded = x.pad_with_zeros(2, 1, 1)?;
        let pairs = Tensor::cat(&[padded.narrow(2, 0, length + 1)?, padded.narrow(2, 1, length + 1)?], 1)?;
        let fours = pairs.conv1d(&self.weight, 0, 1, 1, 1)?.reshape((batch, STRIDE, (), length + 1))?;
        self.add_bias(fours.permute((0, 2, 3, 1))?.contiguous()?.flatten_from(2)?)
    }

    /// For tokens, along the last axis.
    fn linear(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }

    /// Normalises each batch over all its channels and positions.
    fn group_norm(&self, x: &Tensor) -> Result<Tensor> {
        let flat = x.flatten_from(1)?;
        let centred = flat.broadcast_sub(&flat.mean_keepdim(1)?)?;
        let variance = centred.sqr()?.mean_keepdim(1)?;
        let normal = centred.broadcast_div(&(variance + EPS)?.sqrt()?)?.reshape(x.shape())?;
        let mut shape = vec![1; x.rank()];
        shape[1] = self.weight.elem_count();
        self.add_bias(normal.broadcast_mul(&self.weight.reshape(shape)?)?)
    }

    /// Normalises each token on its own.
    fn layer_norm(&self, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + EPS)?.sqrt()?)?;
        normal.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// The residual branch: squeeze, norm, GELU, expand, norm, gate, scale.
struct PlainDConv(Vec<(WeightAndBias, WeightAndBias, WeightAndBias, WeightAndBias, Tensor)>);

impl PlainDConv {
    fn load(
        loader: &mut DeviceWeights<'_>,
        prefix: &str,
        config: &HTDemucsConfig,
        index: usize,
    ) -> std::result::Result<Self, BuildError> {
        let DConvShape { channels, hidden, depth, .. } = config.dconv(index);
        let layers = (0..depth).map(|index| {
            let name = |part: usize| format!("{prefix}.layers.{index}.{part}");
            Ok((
                loader.affine(&name(0), &[hidden, channels, 3], hidden)?,
                loader.affine(&name(1), &[hidden], hidden)?,
                loader.affine(&name(3), &[2 * channels, hidden, 1], 2 * channels)?,
                loader.affine(&name(4), &[2 * channels], 2 * channels)?,
                loader.tensor(&format!("{}.scale", name(6)), &[channels])?,
            ))
        });
        Ok(Self(layers.collect::<std::result::Result<_, BuildError>>()?))
    }

    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let mut x = x;
        for (index, (squeeze, squeezed, expand, expanded, scale)) in self.0.iter().enumerate() {
            let dilation = 1 << index;
            let bottleneck = squeezed.group_norm(&squeeze.conv(&x, dilation, 1, dilation)?)?.gelu_erf()?;
            let branch = glu(&expanded.group_norm(&expand.conv(&bottleneck, 0, 1, 1)?)?)?;
            x = (x + branch.broadcast_mul(&scale.reshape((1, scale.elem_count(), 1))?)?)?;
        }
        Ok(x)
    }
}

/// One layer of one branch, encoder or decoder.
struct PlainLayer {
    conv: WeightAndBias,
    rewrite: WeightAndBias,
    dconv: Option<PlainDConv>,
}

struct Attention {
    cross: bool,
    heads: usize,
    norms: Vec<WeightAndBias>,
    /// Queries, keys and values.
    project: Vec<WeightAndBias>,
    out: WeightAndBias,
    widen: WeightAndBias,
    narrow: WeightAndBias,
    norm_out: WeightAndBias,
    scales: [Tensor; 2],
}

impl Attention {
    fn load(
        loader: &mut DeviceWeights<'_>,
        prefix: &str,
        config: &HTDemucsConfig,
        cross: bool,
    ) -> std::result::Result<Self, BuildError> {
        let width = config.width();
        let hidden = (width as f64 * config.t_hidden_scale) as usize;
        let name = |part: &str| format!("{prefix}.{part}");
        let attention = name(if cross { "cross_attn" } else { "self_attn" });
        let weight = loader.tensor(&format!("{attention}.in_proj_weight"), &[3 * width, width])?;
        let bias = loader.tensor(&format!("{attention}.in_proj_bias"), &[3 * width])?;
        let part = |part: usize| -> Result<WeightAndBias> {
            let rows = part * width;
            Ok(WeightAndBias { weight: weight.narrow(0, rows, width)?, bias: bias.narrow(0, rows, width)? })
        };
        let norms: &[&str] = if cross { &["norm1", "norm2", "norm3"] } else { &["norm1", "norm2"] };
        let norms = norms
            .iter()
            .map(|norm| loader.affine(&name(norm), &[width], width))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self {
            cross,
            heads: config.t_heads,
            norms,
            project: (0..3).map(part).collect::<Result<_>>()?,
            out: loader.affine(&format!("{attention}.out_proj"), &[width, width], width)?,
            widen: loader.affine(&name("linear1"), &[hidden, width], hidden)?,
            narrow: loader.affine(&name("linear2"), &[width, hidden], width)?,
            norm_out: loader.affine(&name("norm_out"), &[width], width)?,
            scales: [
                loader.tensor(&name("gamma_1.scale"), &[width])?,
                loader.tensor(&name("gamma_2.scale"), &[width])?,
            ],
        })
    }

    /// Maps `[tokens, channels]` to the same shape.
    fn forward(&self, x: &Tensor, other: &Tensor) -> Result<Tensor> {
        let asking = self.norms[0].layer_norm(x)?;
        let asked = if self.cross { self.norms[1].layer_norm(other)? } else { asking.clone() };
        let x = (x + self.attend(&asking, &asked)?.broadcast_mul(&self.scales[0])?)?;
        let feed = &self.norms[self.norms.len() - 1];
        let wide = self.widen.linear(&feed.layer_norm(&x)?)?.gelu_erf()?;
        let x = (&x + self.narrow.linear(&wide)?.broadcast_mul(&self.scales[1])?)?;
        // One group over all tokens and channels.
        self.norm_out.group_norm(&x.t()?.unsqueeze(0)?.contiguous()?)?.squeeze(0)?.t()?.contiguous()
    }

    fn attend(&self, asking: &Tensor, asked: &Tensor) -> Result<Tensor> {
        let heads = |part: usize, tokens: &Tensor| -> Result<Tensor> {
            let projected = self.project[part].linear(tokens)?;
            let (count, width) = projected.dims2()?;
            projected.reshape((count, self.heads, width / self.heads))?.transpose(0, 1)?.contiguous()
        };
        let (queries, keys, values) = (heads(0, asking)?, heads(1, asked)?, heads(2, asked)?);
        let scale = 1.0 / (queries.dim(2)? as f64).sqrt();
        let scores = (queries.matmul(&keys.transpose(1, 2)?.contiguous()?)? * scale)?;
        let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        let shares = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
        let heard = shares.matmul(&values)?.transpose(0, 1)?.contiguous()?;
        self.out.linear(&heard.flatten_from(1)?)
    }
}

struct PlainTransformer {
    upsamplers: Option<[WeightAndBias; 2]>,
    downsamplers: Option<[WeightAndBias; 2]>,
    norms: [WeightAndBias; 2],
    layers: Vec<[Attention; 2]>,
    positions: [Tensor; 2],
}

impl PlainTransformer {
    fn load(
        loader: &mut DeviceWeights<'_>,
        config: &HTDemucsConfig,
        spectrum: &SpectrumTransform,
        segment: usize,
    ) -> std::result::Result<Self, BuildError> {
        let (narrow, width) = (config.channels_at(config.depth - 1), config.width());
        let mut resamplers = |name: &str, [to, from]: [usize; 2]| {
            let mut one = |branch: &str| {
                let mut affine = loader.affine(&format!("channel_{name}{branch}"), &[to, from, 1], to)?;
                affine.weight = affine.weight.squeeze(2)?;
                Ok::<_, BuildError>(affine)
            };
            Ok::<_, BuildError>([one("")?, one("_t")?])
        };
        let resampled = config.bottom_channels > 0;
        let upsamplers = resampled.then(|| resamplers("upsampler", [width, narrow])).transpose()?;
        let downsamplers = resampled.then(|| resamplers("downsampler", [narrow, width])).transpose()?;
        let mut layers = Vec::new();
        for index in 0..config.t_layers {
            let cross = (index % 2 == 1) != config.t_cross_first;
            let mut layer = |branch: &str| {
                Attention::load(loader, &format!("crosstransformer.layers{branch}.{index}"), config, cross)
            };
            layers.push([layer("")?, layer("_t")?]);
        }
        let mut norm = |name: &str| loader.affine(&format!("crosstransformer.{name}"), &[width], width);
        let norms = [norm("norm_in")?, norm("norm_in_t")?];
        let shrunk = |length: usize| (0..config.depth).fold(length, |length, _| length.div_ceil(STRIDE));
        let (frames, frequencies, length) = (spectrum.frames(segment), shrunk(spectrum.frequencies()), shrunk(segment));
        let position = |values: Vec<f32>, tokens: usize| {
            Tensor::from_vec(values, (tokens, width), loader.device)? * f64::from(config.t_weight_pos_embed)
        };
        let positions = [
            position(spectrum_positions(frames, frequencies, width, config.t_max_period), frames * frequencies)?,
            position(wave_positions(length, width, config.t_max_period), length)?,
        ];
        Ok(Self { upsamplers, downsamplers, norms, layers, positions })
    }

    /// Maps `[frequencies, channels, frames]` and `[1, channels, length]` to tensors of the same shapes.
    fn forward(&self, x: &Tensor, xt: &Tensor) -> Result<(Tensor, Tensor)> {
        let (frequencies, channels, frames) = x.dims3()?;
        let tokens = x.permute((2, 0, 1))?.contiguous()?.reshape((frames * frequencies, channels))?;
        let mut both = [tokens, xt.squeeze(0)?.t()?.contiguous()?];
        for branch in 0..2 {
            if let Some(upsamplers) = &self.upsamplers {
                both[branch] = upsamplers[branch].linear(&both[branch])?;
            }
            both[branch] = (self.norms[branch].layer_norm(&both[branch])? + &self.positions[branch])?;
        }
        for [of_spectrum, of_wave] in &self.layers {
            both = [of_spectrum.forward(&both[0], &both[1])?, of_wave.forward(&both[1], &both[0])?];
        }
        if let Some(downsamplers) = &self.downsamplers {
            both = [downsamplers[0].linear(&both[0])?, downsamplers[1].linear(&both[1])?];
        }
        let [tokens, wave] = both;
        let x = tokens.reshape((frames, frequencies, channels))?.permute((1, 2, 0))?.contiguous()?;
        Ok((x, wave.t()?.unsqueeze(0)?.contiguous()?))
    }
}

pub(crate) struct Plain {
    device: Device,
    encoders: Vec<[PlainLayer; 2]>,
    /// In the order in which they run.
    decoders: Vec<[PlainLayer; 2]>,
    /// `[frequencies, channels, 1]`, added after the first layer.
    embedding: Option<Tensor>,
    transformer: Option<PlainTransformer>,
}

impl Plain {
    pub(crate) fn load(
        weights: &mut Weights,
        config: &HTDemucsConfig,
        spectrum: &SpectrumTransform,
        segment: usize,
        device: &Device,
    ) -> std::result::Result<Self, BuildError> {
        let mut loader = DeviceWeights { weights, device };
        let sources = config.sources.len();
        let embedding = if config.freq_emb == 0.0 {
            None
        } else {
            let shape = [spectrum.frequencies() / STRIDE, config.channels];
            let weight = loader.tensor("freq_emb.embedding.weight", &shape)?;
            Some((weight.unsqueeze(2)? * f64::from(config.emb_scale * config.freq_emb))?)
        };
        let (mut encoders, mut decoders) = (Vec::new(), Vec::new());
        for index in 0..config.depth {
            let inner = config.channels_at(index);
            let mut encoder = |branch: &str, outer: usize, more: &[usize]| {
                let prefix = format!("{branch}encoder.{index}");
                let conv =
                    loader.affine(&format!("{prefix}.conv"), &[&[inner, outer, KERNEL], more].concat(), inner)?;
                let rewrite =
                    loader.affine(&format!("{prefix}.rewrite"), &[&[2 * inner, inner, 1], more].concat(), 2 * inner)?;
                let dconv = (config.dconv_mode & 1 != 0)
                    .then(|| PlainDConv::load(&mut loader, &format!("{prefix}.dconv"), config, index))
                    .transpose()?;
                Ok::<_, BuildError>(PlainLayer { conv, rewrite, dconv })
            };
            let [outer, outer_time] = match index {
                0 => [4, 2],
                index => [config.channels_at(index - 1); 2],
            };
            let mut of_frequency = encoder("", outer, &[1])?;
            of_frequency.conv.weight = of_frequency.conv.weight.squeeze(3)?;
            of_frequency.rewrite.weight = of_frequency.rewrite.weight.squeeze(3)?;
            encoders.push([of_frequency, encoder("t", outer_time, &[])?]);

            let [outer, outer_time] = if index == 0 { [4 * sources, 2 * sources] } else { [outer, outer_time] };
            let mut decoder = |branch: &str, outer: usize, wide: &[usize], more: &[usize]| {
                let prefix = format!("{branch}decoder.{}", config.depth - 1 - index);
                let rewrite =
                    loader.affine(&format!("{prefix}.rewrite"), &[&[2 * inner, inner], wide].concat(), 2 * inner)?;
                let dconv = (config.dconv_mode & 2 != 0)
                    .then(|| PlainDConv::load(&mut loader, &format!("{prefix}.dconv"), config, index))
                    .transpose()?;
                let name = format!("{prefix}.conv_tr");
                let taps = loader.weights.take(&format!("{name}.weight"), &[&[inner, outer, KERNEL], more].concat())?;
                let taps = transposed_taps(&taps, [inner, outer], STRIDE);
                let weight = Tensor::from_vec(taps, (STRIDE * outer, 2 * inner, 1), loader.device)?;
                let conv = WeightAndBias { weight, bias: loader.tensor(&format!("{name}.bias"), &[outer])? };
                Ok::<_, BuildError>(PlainLayer { conv, rewrite, dconv })
            };
            decoders.insert(0, [decoder("", outer, &[3, 3], &[1])?, decoder("t", outer_time, &[3], &[])?]);
        }
        let transformer = (config.t_layers > 0)
            .then(|| PlainTransformer::load(&mut loader, config, spectrum, segment))
            .transpose()?;
        Ok(Self { device: device.clone(), encoders, decoders, embedding, transformer })
    }
}

impl Network for Plain {
    fn forward(&self, x: Tensor, xt: Tensor) -> Result<(Tensor, Tensor)> {
        let mut x = x.to_device(&self.device)?;
        let mut xt = xt.to_device(&self.device)?.t()?.unsqueeze(0)?.contiguous()?;
        let mut skips = Vec::new();
        for (index, [of_frequency, of_time]) in self.encoders.iter().enumerate() {
            let length = xt.dim(2)?;
            // The frames are the batch of a convolution along the frequencies.
            let along = of_frequency.conv.conv(&x.permute((2, 1, 0))?, PAD, STRIDE, 1)?;
            x = of_frequency.encode(along.permute((2, 1, 0))?.contiguous()?)?;
            if let (0, Some(embedding)) = (index, &self.embedding) {
                x = x.broadcast_add(embedding)?;
            }
            let padded = xt.pad_with_zeros(2, 0, length.next_multiple_of(STRIDE) - length)?;
            xt = of_time.encode(of_time.conv.conv(&padded, PAD, STRIDE, 1)?)?;
            skips.push((x.clone(), xt.clone(), length));
        }
        if let Some(transformer) = &self.transformer {
            (x, xt) = transformer.forward(&x, &xt)?;
        }
        let last = self.decoders.len() - 1;
        let layers = self.decoders.iter().zip(skips.into_iter().rev()).enumerate();
        for (index, ([of_frequency, of_time], (skip, skip_time, length))) in layers {
            let frequencies = x.dim(0)?;
            let image = (x + skip)?.transpose(0, 1)?.unsqueeze(0)?.contiguous()?;
            let wide = of_frequency.rewrite.add_bias(image.conv2d(&of_frequency.rewrite.weight, 1, 1, 1, 1)?)?;
            let y = of_frequency.decode(glu(&wide)?.squeeze(0)?.transpose(0, 1)?.contiguous()?)?;
            let along = of_frequency.conv.transposed(&y.permute((2, 1, 0))?)?;
            x = along.narrow(2, PAD, STRIDE * frequencies)?.permute((2, 1, 0))?.contiguous()?;

            let wide = of_time.rewrite.conv(&(xt + skip_time)?, 1, 1, 1)?;
            xt = of_time.conv.transposed(&of_time.decode(glu(&wide)?)?)?.narrow(2, PAD, length)?;
            if index < last {
                (x, xt) = (x.gelu_erf()?, xt.gelu_erf()?);
            }
        }
        let cpu = Device::Cpu;
        Ok((x.to_device(&cpu)?, xt.squeeze(0)?.t()?.contiguous()?.to_device(&cpu)?))
    }
}

impl PlainLayer {
    /// The steps after an encoder's convolution.
    fn encode(&self, y: Tensor) -> Result<Tensor> {
        let y = y.gelu_erf()?;
        let y = self.dconv.as_ref().map_or_else(|| Ok(y.clone()), |dconv| dconv.forward(y.clone()))?;
        glu(&self.rewrite.conv(&y, 0, 1, 1)?)
    }

    /// The steps before a decoder's convolution.
    fn decode(&self, y: Tensor) -> Result<Tensor> {
        match &self.dconv {
            Some(dconv) => dconv.forward(y),
            None => Ok(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::fused::Fused;
    use super::*;
    use crate::checkpoint;

    /// Uncorrelated numbers.
    fn numbers(shape: &[usize], rate: f32) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|at| ((at * at % 9973) as f32 * rate).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn fused_layers_equal_plain_layers() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny.safetensors");
        let checkpoint = checkpoint::read(&file).unwrap();
        let mut config = HTDemucsConfig::read(&checkpoint.named).unwrap();
        let segment = config.segment;
        let spectrum = SpectrumTransform::new(config.nfft);
        let input = [numbers(&[spectrum.frequencies(), 4, spectrum.frames(segment)], 0.7), numbers(&[segment, 2], 0.3)];
        // With and without the transformer, with residual branches in each place.
        for (layers, mode) in [(config.t_layers, 3), (0, 1), (0, 2), (0, 0)] {
            (config.t_layers, config.dconv_mode) = (layers, mode);
            let fused =
                Fused::load(&mut Weights::new(checkpoint.tensors.clone()), &config, &spectrum, segment).unwrap();
            let device = Device::Cpu;
            let plain =
                Plain::load(&mut Weights::new(checkpoint.tensors.clone()), &config, &spectrum, segment, &device)
                    .unwrap();
            let [x, xt] = input.clone();
            let (x, xt) = fused.forward(x, xt).unwrap();
            let [y, yt] = input.clone();
            let (y, yt) = plain.forward(y, yt).unwrap();
            for (one, other) in [(x, y), (xt, yt)] {
                assert_eq!(one.dims(), other.dims());
                let square = |tensor: Tensor| tensor.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
                let error = (square((&one - &other).unwrap()) / square(other)).sqrt();
                assert!(error < 5e-6, "{layers} {mode}: {error:e}");
            }
        }
    }
}
