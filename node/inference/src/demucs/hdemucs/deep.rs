//! The layers over time after the merge, `[length, channels]` (`demucs/hdemucs.py`, `HEncLayer` and `HDecLayer` with
//! norms). A norm needs the whole segment before the next activation can begin, so there is less to fuse here than in
//! the branches; and segments are short here.

use candle_core::{Result, Shape, Tensor};
use rayon::prelude::*;

use super::config::HDemucsConfig;
use super::norm::GroupNorm;
use crate::checkpoint::{BuildError, Weights};
use crate::demucs::dconv::DConv;
use crate::demucs::frequency::{taps_outermost, transposed_taps};
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::op::{read, unary};
use crate::kernels::pointwise;
use crate::kernels::pointwise::transposed;

/// The number of rows per product: enough to be worth a pass over the weights.
pub(super) const BLOCK: usize = 256;
/// The decoders' padding at each end.
pub(super) const AROUND: usize = 3;

/// Products of windows: row `at` of the result is `width` numbers computed from the `columns` numbers that begin at `at
/// * stride`, and a bias.
pub(super) fn windows(
    values: &[f32],
    [columns, stride]: [usize; 2],
    rows: usize,
    weight: &[f32],
    bias: &[f32],
) -> Vec<f32> {
    let width = weight.len() / columns;
    let mut out = vec![0.0; rows * width];
    out.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, out)| {
        let seen = &values[block * BLOCK * stride..];
        let seen = Matrix::strided(seen, [out.len() / width, columns], [stride, 1]);
        product(out, width, false, seen, Matrix::new(weight, columns, width));
        pointwise::add_biases(out, bias);
    });
    out
}

/// The exact GELU of a norm, in place.
pub(super) fn normed_gelu(values: &mut [f32], norm: &GroupNorm) {
    let [factors, summands] = norm.maps(values);
    values
        .par_chunks_mut(BLOCK * factors.len())
        .for_each(|block| pointwise::affine_gelu_rows(block, &factors, &summands));
}

/// A strided convolution whose kernel is twice its stride.
pub(super) struct Strided {
    from: usize,
    stride: usize,
    /// `[2 stride in, out]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Strided {
    pub(super) fn load(
        weights: &mut Weights,
        prefix: &str,
        [from, to]: [usize; 2],
        stride: usize,
    ) -> std::result::Result<Self, BuildError> {
        let weight = weights.take(&format!("{prefix}.conv.weight"), &[to, from, 2 * stride])?;
        let weight = transposed(&taps_outermost(&weight, to, from, 2 * stride), 2 * stride * from);
        Ok(Self { from, stride, weight, bias: weights.take(&format!("{prefix}.conv.bias"), &[to])? })
    }

    /// Maps `[length, in]` to `[length / stride, out]`, rounded up.
    pub(super) fn forward(&self, values: &[f32]) -> Vec<f32> {
        let Self { from, stride, .. } = *self;
        let outputs = (values.len() / from).div_ceil(stride);
        let mut padded = vec![0.0; (outputs + 1) * stride * from];
        let pad = stride / 2 * from;
        padded[pad..pad + values.len()].copy_from_slice(values);
        windows(&padded, [2 * stride * from, stride * from], outputs, &self.weight, &self.bias)
    }
}

/// A transposed convolution whose kernel is twice its stride, with its norm and its activation.
pub(super) struct Transposed {
    from: usize,
    stride: usize,
    /// `[2 in, stride out]`.
    weight: Vec<f32>,
    /// For `stride` outputs.
    biases: Vec<f32>,
    norm: GroupNorm,
}

impl Transposed {
    pub(super) fn load(
        weights: &mut Weights,
        prefix: &str,
        channels: [usize; 2],
        stride: usize,
        groups: Option<usize>,
    ) -> std::result::Result<Self, BuildError> {
        let [from, to] = channels;
        let weight = weights.take(&format!("{prefix}.conv_tr.weight"), &[from, to, 2 * stride])?;
        let bias = weights.take(&format!("{prefix}.conv_tr.bias"), &[to])?;
        Ok(Self {
            from,
            stride,
            weight: transposed(&transposed_taps(&weight, channels, stride), 2 * from),
            biases: bias.repeat(stride),
            norm: GroupNorm::load(weights, &format!("{prefix}.norm2"), to, groups)?,
        })
    }

    /// Maps `[length, in]` with a row of zeros on each side to `[longer, out]`.
    pub(super) fn forward(&self, padded: &[f32], longer: usize) -> Result<Tensor> {
        let rows = padded.len() / self.from - 1;
        let mut out = windows(padded, [2 * self.from, self.from], rows, &self.weight, &self.biases);
        normed_gelu(&mut out, &self.norm);
        let to = self.biases.len() / self.stride;
        Tensor::from_vec(out, (rows * self.stride, to), &candle_core::Device::Cpu)?.narrow(0, self.stride / 2, longer)
    }
}

/// A convolution to twice the channels, its norm, and a gated linear unit.
pub(super) struct Gate {
    channels: usize,
    /// `[taps in, 2 in]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    norm: GroupNorm,
}

impl Gate {
    /// `weight` is `[2 channels, channels, taps]`.
    pub(super) fn new(weight: &[f32], taps: usize, bias: Vec<f32>, norm: GroupNorm) -> Self {
        let channels = bias.len() / 2;
        let weight = transposed(&taps_outermost(weight, 2 * channels, channels, taps), taps * channels);
        Self { channels, weight, bias, norm }
    }

    /// Adds the unit's output for `values` to `out`, `[length, channels]`. `values` has `taps - 1` rows more than
    /// `out`.
    fn add_to(&self, out: &mut [f32], values: &[f32]) {
        let Self { channels, .. } = *self;
        let rows = out.len() / channels;
        let columns = self.weight.len() / (2 * channels);
        let wide = windows(values, [columns, channels], rows, &self.weight, &self.bias);
        let [factors, summands] = self.norm.maps(&wide);
        let ones = vec![1.0; channels];
        out.par_chunks_mut(BLOCK * channels)
            .zip(wide.par_chunks(2 * BLOCK * channels))
            .for_each(|(out, wide)| pointwise::add_glu_rows(out, wide, &factors, &summands, &ones));
    }
}

/// The steps after an encoder's convolution: norm, activation, residual branch, gate.
pub(super) struct Encoded {
    norm: GroupNorm,
    dconv: Option<DConv>,
    gate: Gate,
}

impl Encoded {
    /// `sides` are the tensors of a kernel of one tap.
    pub(super) fn load(
        weights: &mut Weights,
        config: &HDemucsConfig,
        index: usize,
        sides: &[usize],
    ) -> std::result::Result<Self, BuildError> {
        let prefix = format!("encoder.{index}");
        let shape = config.dconv(index);
        let (channels, groups) = (shape.channels, config.groups(index));
        let norm = GroupNorm::load(weights, &format!("{prefix}.norm1"), channels, groups)?;
        let weight = weights.take(&format!("{prefix}.rewrite.weight"), &[&[2 * channels, channels], sides].concat())?;
        let bias = weights.take(&format!("{prefix}.rewrite.bias"), &[2 * channels])?;
        let gate =
            Gate::new(&weight, 1, bias, GroupNorm::load(weights, &format!("{prefix}.norm2"), 2 * channels, groups)?);
        let dconv = (config.dconv_mode & 1 != 0).then(|| DConv::load(weights, &format!("{prefix}.dconv"), shape));
        Ok(Self { norm, dconv: dconv.transpose()?, gate })
    }

    pub(super) fn forward(&self, mut values: Vec<f32>) -> Vec<f32> {
        normed_gelu(&mut values, &self.norm);
        if let Some(dconv) = &self.dconv {
            dconv.time(&mut values);
        }
        let mut out = vec![0.0; values.len()];
        self.gate.add_to(&mut out, &values);
        out
    }
}

/// The steps before a decoder's convolution: the skip, gate, residual branch.
pub(super) struct Decoded {
    gate: Gate,
    dconv: Option<DConv>,
}

impl Decoded {
    pub(super) fn load(
        weights: &mut Weights,
        config: &HDemucsConfig,
        index: usize,
        gate: Gate,
    ) -> std::result::Result<Self, BuildError> {
        let prefix = config.decoder(index);
        let dconv =
            (config.dconv_mode & 2 != 0).then(|| DConv::load(weights, &format!("{prefix}.dconv"), config.dconv(index)));
        Ok(Self { gate, dconv: dconv.transpose()? })
    }

    /// Maps `[length, channels]` to the same with a row of zeros on each side. Without `x` it is zero.
    pub(super) fn forward(&self, x: Option<Tensor>, skip: Tensor) -> Result<Tensor> {
        let sum = match x {
            Some(x) => (x + skip)?,
            None => skip,
        };
        unary("deep-decoder", &sum, |input| {
            let (length, channels) = input.shape.dims2()?;
            let inner = channels..(length + 1) * channels;
            let mut padded = vec![0.0; (length + AROUND - 1) * channels];
            padded[inner.clone()].copy_from_slice(input.values);
            let mut out = vec![0.0; padded.len()];
            self.gate.add_to(&mut out[inner.clone()], &padded);
            if let Some(dconv) = &self.dconv {
                dconv.time(&mut out[inner]);
            }
            Ok((out, Shape::from((length + 2, channels))))
        })
    }
}

pub(super) struct DeepEncoder {
    conv: Strided,
    rest: Encoded,
}

impl DeepEncoder {
    pub(super) fn load(
        weights: &mut Weights,
        config: &HDemucsConfig,
        index: usize,
    ) -> std::result::Result<Self, BuildError> {
        let channels = [config.channels_at(index - 1), config.channels_at(index)];
        let conv = Strided::load(weights, &format!("encoder.{index}"), channels, config.time_stride)?;
        Ok(Self { conv, rest: Encoded::load(weights, config, index, &[1])? })
    }

    /// Maps `[length, in]` to `[length / stride, out]`, rounded up.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        unary("deep-encoder", x, |input| {
            let out = self.rest.forward(self.conv.forward(input.values));
            let rows = input.shape.dims2()?.0.div_ceil(self.conv.stride);
            let columns = out.len() / rows;
            Ok((out, Shape::from((rows, columns))))
        })
    }
}

pub(super) struct DeepDecoder {
    before: Decoded,
    conv: Transposed,
}

impl DeepDecoder {
    pub(super) fn load(
        weights: &mut Weights,
        config: &HDemucsConfig,
        index: usize,
    ) -> std::result::Result<Self, BuildError> {
        let prefix = config.decoder(index);
        let [to, from] = [config.channels_at(index - 1), config.channels_at(index)];
        let groups = config.groups(index);
        let weight = weights.take(&format!("{prefix}.rewrite.weight"), &[2 * from, from, AROUND])?;
        let bias = weights.take(&format!("{prefix}.rewrite.bias"), &[2 * from])?;
        let norm = GroupNorm::load(weights, &format!("{prefix}.norm1"), 2 * from, groups)?;
        let before = Decoded::load(weights, config, index, Gate::new(&weight, AROUND, bias, norm))?;
        Ok(Self { before, conv: Transposed::load(weights, &prefix, [from, to], config.time_stride, groups)? })
    }

    /// Maps `[length, in]`, with a skip of the same shape, to `[longer, out]`.
    pub(super) fn forward(&self, x: Option<Tensor>, skip: Tensor, longer: usize) -> Result<Tensor> {
        let padded = self.before.forward(x, skip)?;
        read(&padded, |padded| self.conv.forward(padded, longer))?
    }
}
