//! The residual branch in every encoder and decoder layer: dilated convolutions through a bottleneck
//! (`demucs/demucs.py`, `DConv`), in the core of some models with an LSTM and an attention in the bottleneck.
//!
//! A branch's norm covers the input of one call: a whole segment in the time branch, one frequency in the other. One
//! frequency fits the cache and is processed at once. Time is processed in blocks. The wide product of a block is
//! cheap, because the bottleneck is narrow. It is computed twice instead of stored: once for the norm's statistics and
//! once for the result.

use rayon::prelude::*;

use super::local::LocalState;
use super::lstm::Lstm;
use crate::checkpoint::{BuildError, Weights};
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::pointwise::{self, Affine};

/// The `eps` of PyTorch's `GroupNorm`.
const EPS: f64 = 1e-5;
const KERNEL: usize = 3;
/// The approximate number of values in a block of the time branch: half a cache.
const BLOCK: usize = 1 << 16;

/// The branch's shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DConvShape {
    /// Input and output channels.
    pub(crate) channels: usize,
    /// Channels of the bottleneck.
    pub(crate) hidden: usize,
    /// The number of layers; each has twice the dilation of the one before.
    pub(crate) depth: usize,
    /// Whether there is an LSTM in the bottleneck. Only [`DConv::time`] supports this and the attention.
    pub(crate) lstm: bool,
    /// Whether there is a local attention in the bottleneck.
    pub(crate) attention: bool,
}

impl DConvShape {
    /// Convolutions alone, with a bottleneck of `channels / comp` channels.
    pub(crate) fn plain(channels: usize, comp: f64, depth: usize) -> Self {
        Self { channels, hidden: (channels as f64 / comp) as usize, depth, lstm: false, attention: false }
    }
}

pub(crate) struct DConv {
    shape: DConvShape,
    layers: Vec<DConvLayer>,
}

struct DConvLayer {
    dilation: usize,
    /// `[3 hidden, channels]`: the kernel's three columns stacked, for one product instead of three.
    squeeze: Vec<f32>,
    squeeze_bias: Vec<f32>,
    squeeze_norm: [Vec<f32>; 2],
    lstm: Option<Lstm>,
    attention: Option<LocalState>,
    /// `[2 channels, hidden]`.
    expand: Vec<f32>,
    expand_bias: Vec<f32>,
    expand_norm: [Vec<f32>; 2],
    scale: Vec<f32>,
}

/// The number of values, their mean, and the sum of the squared differences from it.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(super) fn of(values: &[f32]) -> Self {
        let count = values.len() as f64;
        let mean = pointwise::sum(values) / count;
        // The mean is rounded to single precision; this corrects the squares for it.
        let centre = mean as f32;
        let off = mean - f64::from(centre);
        Self { count, mean, squares: pointwise::squares(values, centre) - count * off * off }
    }

    /// The moments of both sets together (Chan, Golub and LeVeque, 1979).
    pub(super) fn with(self, other: Self) -> Self {
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * other.count / count,
            squares: self.squares + other.squares + apart * apart * self.count * other.count / count,
        }
    }

    /// The factor and summand that normalise a channel with this weight and bias.
    pub(super) fn affine(self, weight: f32, bias: f32) -> [f32; 2] {
        let factor = f64::from(weight) / (self.squares / self.count + EPS).sqrt();
        [factor as f32, (f64::from(bias) - self.mean * factor) as f32]
    }

    fn affines(self, [weights, biases]: &[Vec<f32>; 2]) -> [Vec<f32>; 2] {
        let both = weights.iter().zip(biases).map(|(weight, bias)| self.affine(*weight, *bias));
        let (factors, summands) = both.map(|[factor, summand]| (factor, summand)).unzip();
        [factors, summands]
    }
}

/// Buffers that a thread reuses for every frequency.
#[derive(Default)]
pub(crate) struct Scratch {
    shifted: Vec<f32>,
    hidden: Vec<f32>,
    wide: Vec<f32>,
}

impl DConv {
    pub(crate) fn load(weights: &mut Weights, prefix: &str, shape: DConvShape) -> Result<Self, BuildError> {
        let DConvShape { channels, hidden, depth, lstm, attention } = shape;
        let mut layers = Vec::with_capacity(depth);
        for index in 0..depth {
            let name = |place: usize| format!("{prefix}.layers.{index}.{place}");
            let lstm = lstm.then(|| Lstm::load(weights, &name(3), hidden)).transpose()?;
            let place = 3 + usize::from(lstm.is_some());
            let attention = attention.then(|| LocalState::load(weights, &name(place), hidden)).transpose()?;
            let place = place + usize::from(attention.is_some());
            let mut take =
                |place: usize, part: &str, shape: &[usize]| weights.take(&format!("{}.{part}", name(place)), shape);
            let kernel = take(0, "weight", &[hidden, channels, KERNEL])?;
            let mut squeeze = Vec::with_capacity(kernel.len());
            for tap in 0..KERNEL {
                squeeze.extend(kernel.iter().skip(tap).step_by(KERNEL));
            }
            layers.push(DConvLayer {
                dilation: 1 << index,
                squeeze,
                squeeze_bias: take(0, "bias", &[hidden])?,
                squeeze_norm: [take(1, "weight", &[hidden])?, take(1, "bias", &[hidden])?],
                lstm,
                attention,
                expand: take(place, "weight", &[2 * channels, hidden, 1])?,
                expand_bias: take(place, "bias", &[2 * channels])?,
                expand_norm: [take(place + 1, "weight", &[2 * channels])?, take(place + 1, "bias", &[2 * channels])?],
                scale: take(place + 3, "scale", &[channels])?,
            });
        }
        Ok(Self { shape, layers })
    }

    /// Processes one frequency, `[channels, frames]`, in place.
    pub(crate) fn frequency(&self, values: &mut [f32], scratch: &mut Scratch) {
        let DConvShape { channels, hidden, .. } = self.shape;
        let frames = values.len() / channels;
        let Scratch { shifted, hidden: bottleneck, wide } = scratch;
        shifted.resize(KERNEL * hidden * frames, 0.0);
        bottleneck.resize(hidden * frames, 0.0);
        wide.resize(2 * channels * frames, 0.0);
        for layer in &self.layers {
            let squeeze = Matrix::new(&layer.squeeze, KERNEL * hidden, channels);
            product(shifted, frames, false, squeeze, Matrix::new(values, channels, frames));
            let (before, rest) = shifted.split_at(hidden * frames);
            let (now, after) = rest.split_at(hidden * frames);
            let reach = layer.dilation.min(frames);
            for (channel, out) in bottleneck.chunks_exact_mut(frames).enumerate() {
                let row = channel * frames..(channel + 1) * frames;
                let bias = layer.squeeze_bias[channel];
                out.iter_mut().zip(&now[row.clone()]).for_each(|(out, now)| *out = now + bias);
                out[reach..].iter_mut().zip(&before[row.clone()]).for_each(|(out, before)| *out += before);
                out.iter_mut().zip(&after[row][reach..]).for_each(|(out, after)| *out += after);
            }
            let moments = Moments::of(bottleneck);
            let [weights, biases] = &layer.squeeze_norm;
            for (channel, row) in bottleneck.chunks_exact_mut(frames).enumerate() {
                let [factor, summand] = moments.affine(weights[channel], biases[channel]);
                pointwise::affine_gelu(row, factor, summand);
            }

            let expand = Matrix::new(&layer.expand, 2 * channels, hidden);
            product(wide, frames, false, expand, Matrix::new(bottleneck, hidden, frames));
            for (row, bias) in wide.chunks_exact_mut(frames).zip(&layer.expand_bias) {
                row.iter_mut().for_each(|value| *value += bias);
            }
            let moments = Moments::of(wide);
            let [weights, biases] = &layer.expand_norm;
            let (upper, gates) = wide.split_at(channels * frames);
            for (channel, out) in values.chunks_exact_mut(frames).enumerate() {
                let row = channel * frames..(channel + 1) * frames;
                let affine = Affine {
                    value: moments.affine(weights[channel], biases[channel]),
                    gate: moments.affine(weights[channels + channel], biases[channels + channel]),
                };
                pointwise::add_glu(out, &upper[row.clone()], &gates[row], affine, layer.scale[channel]);
            }
        }
    }

    /// Processes all times, `[length, channels]`, in place.
    pub(crate) fn time(&self, values: &mut [f32]) {
        let DConvShape { channels, hidden, .. } = self.shape;
        let length = values.len() / channels;
        let rows = (BLOCK / channels).max(16);
        let mut bottleneck = vec![0.0; length * hidden];
        for layer in &self.layers {
            let reach = layer.dilation;
            let squeeze = Matrix::new(&layer.squeeze, KERNEL * hidden, channels).transposed();
            let all = &*values;
            bottleneck.par_chunks_mut(rows * hidden).enumerate().for_each(|(block, out)| {
                let first = block * rows;
                let end = first + out.len() / hidden;
                let (from, to) = (first.saturating_sub(reach), (end + reach).min(length));
                let width = KERNEL * hidden;
                let mut shifted = vec![0.0; (to - from) * width];
                let seen = Matrix::new(&all[from * channels..to * channels], to - from, channels);
                product(&mut shifted, width, false, seen, squeeze);
                let taps = |at: usize, tap: usize| &shifted[(at - from) * width + tap * hidden..][..hidden];
                for (at, out) in (first..).zip(out.chunks_exact_mut(hidden)) {
                    for ((out, now), bias) in out.iter_mut().zip(taps(at, 1)).zip(&layer.squeeze_bias) {
                        *out = now + bias;
                    }
                    if at >= reach {
                        out.iter_mut().zip(taps(at - reach, 0)).for_each(|(out, before)| *out += before);
                    }
                    if at + reach < length {
                        out.iter_mut().zip(taps(at + reach, 2)).for_each(|(out, after)| *out += after);
                    }
                }
            });
            let moments: Vec<_> = bottleneck.par_chunks(rows * hidden).map(Moments::of).collect();
            let Some(moments) = moments.into_iter().reduce(Moments::with) else { return };
            let [factors, summands] = moments.affines(&layer.squeeze_norm);
            bottleneck.par_chunks_mut(rows * hidden).for_each(|block| {
                pointwise::affine_gelu_rows(block, &factors, &summands);
            });
            if let Some(lstm) = &layer.lstm {
                lstm.run(&mut bottleneck);
            }
            if let Some(attention) = &layer.attention {
                attention.run(&mut bottleneck);
            }

            let expand = Matrix::new(&layer.expand, 2 * channels, hidden).transposed();
            let widened = |block: &[f32], wide: &mut Vec<f32>| {
                let rows = block.len() / hidden;
                wide.resize(rows * 2 * channels, 0.0);
                product(wide, 2 * channels, false, Matrix::new(block, rows, hidden), expand);
            };
            let moments: Vec<_> = bottleneck
                .par_chunks(rows * hidden)
                .map_init(Vec::new, |wide, block| {
                    widened(block, wide);
                    pointwise::add_biases(wide, &layer.expand_bias);
                    Moments::of(wide)
                })
                .collect();
            let Some(moments) = moments.into_iter().reduce(Moments::with) else { return };
            let [factors, mut summands] = moments.affines(&layer.expand_norm);
            for ((summand, factor), bias) in summands.iter_mut().zip(&factors).zip(&layer.expand_bias) {
                *summand += factor * bias;
            }
            values.par_chunks_mut(rows * channels).zip(bottleneck.par_chunks(rows * hidden)).for_each_init(
                Vec::new,
                |wide, (out, block)| {
                    widened(block, wide);
                    pointwise::add_glu_rows(out, wide, &factors, &summands, &layer.scale);
                },
            );
        }
    }
}
