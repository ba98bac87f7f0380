//! The layers of the waveform's branch (`demucs/hdemucs.py`, `HEncLayer` and `HDecLayer` with `freq=False`).
//!
//! Tensors are `[length, channels]`. The samples under a convolution's kernel are neighbouring rows, and all its
//! windows are one matrix with overlapping rows.

use candle_core::{Result, Shape, Tensor};
use rayon::prelude::*;

use super::dconv::{DConv, DConvShape};
use super::frequency::{KERNEL, STRIDE, taps_outermost, transposed_taps};
use crate::checkpoint::{BuildError, Weights};
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::op::{binary, unary};
use crate::kernels::pointwise;
use crate::kernels::pointwise::transposed;

const PAD: usize = 2;
const AROUND: usize = 3;
/// The approximate number of values in a block: half a cache.
const BLOCK: usize = 1 << 16;

pub(crate) struct TimeEncoder {
    channels: [usize; 2],
    /// `[8 in, out]`.
    conv: Vec<f32>,
    conv_bias: Vec<f32>,
    dconv: Option<DConv>,
    /// `[out, 2 out]`.
    rewrite: Vec<f32>,
    rewrite_bias: Vec<f32>,
}

impl TimeEncoder {
    pub(crate) fn load(
        weights: &mut Weights,
        prefix: &str,
        channels: [usize; 2],
        dconv: Option<DConvShape>,
    ) -> std::result::Result<Self, BuildError> {
        let [from, to] = channels;
        let conv = weights.take(&format!("{prefix}.conv.weight"), &[to, from, KERNEL])?;
        let rewrite = weights.take(&format!("{prefix}.rewrite.weight"), &[2 * to, to, 1])?;
        Ok(Self {
            channels,
            conv: transposed(&taps_outermost(&conv, to, from, KERNEL), KERNEL * from),
            conv_bias: weights.take(&format!("{prefix}.conv.bias"), &[to])?,
            dconv: dconv.map(|shape| DConv::load(weights, &format!("{prefix}.dconv"), shape)).transpose()?,
            rewrite: transposed(&rewrite, to),
            rewrite_bias: weights.take(&format!("{prefix}.rewrite.bias"), &[2 * to])?,
        })
    }

    /// Maps `[length, in]` to `[length / 4, out]`, rounded up.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [from, to] = self.channels;
        unary("time-encoder", x, |input| {
            let (length, _) = input.shape.dims2()?;
            let outputs = length.div_ceil(STRIDE);
            let mut padded = vec![0.0; (outputs * STRIDE + 2 * PAD) * from];
            padded[PAD * from..(PAD + length) * from].copy_from_slice(input.values);
            let conv = Matrix::new(&self.conv, KERNEL * from, to);
            let rows = (BLOCK / to).max(16);
            let mut y = vec![0.0; outputs * to];
            y.par_chunks_mut(rows * to).enumerate().for_each(|(block, out)| {
                let count = out.len() / to;
                let windows = Matrix::strided(
                    &padded[block * rows * STRIDE * from..],
                    [count, KERNEL * from],
                    [STRIDE * from, 1],
                );
                product(out, to, false, windows, conv);
                pointwise::biases_gelu(out, &self.conv_bias);
            });
            if let Some(dconv) = &self.dconv {
                dconv.time(&mut y);
            }
            let mut out = vec![0.0; outputs * to];
            let rewrite = Matrix::new(&self.rewrite, to, 2 * to);
            let ones = vec![1.0; 2 * to];
            out.par_chunks_mut(rows * to).zip(y.par_chunks(rows * to)).for_each_init(Vec::new, |wide, (out, y)| {
                let count = out.len() / to;
                wide.resize(count * 2 * to, 0.0);
                product(wide, 2 * to, false, Matrix::new(y, count, to), rewrite);
                pointwise::add_glu_rows(out, wide, &ones, &self.rewrite_bias, &ones[..to]);
            });
            Ok((out, Shape::from((outputs, to))))
        })
    }
}

pub(crate) struct TimeDecoder {
    channels: [usize; 2],
    /// `[3 in, 2 in]`.
    rewrite: Vec<f32>,
    rewrite_bias: Vec<f32>,
    dconv: Option<DConv>,
    /// `[2 in, 4 out]`.
    conv: Vec<f32>,
    conv_bias: Vec<f32>,
    last: bool,
}

impl TimeDecoder {
    pub(crate) fn load(
        weights: &mut Weights,
        prefix: &str,
        channels: [usize; 2],
        dconv: Option<DConvShape>,
        last: bool,
    ) -> std::result::Result<Self, BuildError> {
        let [from, to] = channels;
        let rewrite = weights.take(&format!("{prefix}.rewrite.weight"), &[2 * from, from, AROUND])?;
        let conv = weights.take(&format!("{prefix}.conv_tr.weight"), &[from, to, KERNEL])?;
        Ok(Self {
            channels,
            rewrite: transposed(&taps_outermost(&rewrite, 2 * from, from, AROUND), AROUND * from),
            rewrite_bias: weights.take(&format!("{prefix}.rewrite.bias"), &[2 * from])?,
            dconv: dconv.map(|shape| DConv::load(weights, &format!("{prefix}.dconv"), shape)).transpose()?,
            conv: transposed(&transposed_taps(&conv, channels, STRIDE), 2 * from),
            conv_bias: weights.take(&format!("{prefix}.conv_tr.bias"), &[to])?,
            last,
        })
    }

    /// Maps `[length, in]`, with a skip of the same shape, to `[longer, out]`.
    pub(crate) fn forward(&self, x: Tensor, skip: Tensor, longer: usize) -> Result<Tensor> {
        let [from, to] = self.channels;
        let (length, _) = x.dims2()?;
        let rows = (BLOCK / from).max(16);
        let inside = from..(length + 1) * from;
        // A row of zeros before and after, here and for the transposed convolution.
        let wider = Shape::from((length + AROUND - 1, from));
        let padded = binary("skip", &x, &skip, |x, skip| {
            let mut padded = vec![0.0; wider.elem_count()];
            let inner = padded[inside.clone()].iter_mut().zip(x.values).zip(skip.values);
            inner.for_each(|((out, x), skip)| *out = x + skip);
            Ok((padded, wider.clone()))
        })?;
        drop((x, skip));
        let rewritten = unary("time-rewrite", &padded, |input| {
            let mut y = vec![0.0; wider.elem_count()];
            let rewrite = Matrix::new(&self.rewrite, AROUND * from, 2 * from);
            let ones = vec![1.0; 2 * from];
            let inner = &mut y[inside.clone()];
            inner.par_chunks_mut(rows * from).enumerate().for_each_init(Vec::new, |wide, (block, out)| {
                let count = out.len() / from;
                let windows = Matrix::strided(&input.values[block * rows * from..], [count, AROUND * from], [from, 1]);
                wide.resize(count * 2 * from, 0.0);
                product(wide, 2 * from, false, windows, rewrite);
                pointwise::add_glu_rows(out, wide, &ones, &self.rewrite_bias, &ones[..from]);
            });
            if let Some(dconv) = &self.dconv {
                dconv.time(inner);
            }
            Ok((y, wider.clone()))
        })?;
        drop(padded);
        let whole = unary("time-transposed", &rewritten, |input| {
            let conv = Matrix::new(&self.conv, 2 * from, STRIDE * to);
            let biases = self.conv_bias.repeat(STRIDE);
            let width = STRIDE * to;
            let mut out = vec![0.0; (length + 1) * width];
            out.par_chunks_mut(rows * width).enumerate().for_each(|(block, out)| {
                let seen = &input.values[block * rows * from..];
                let windows = Matrix::strided(seen, [out.len() / width, 2 * from], [from, 1]);
                product(out, width, false, windows, conv);
                if self.last {
                    pointwise::add_biases(out, &biases);
                } else {
                    pointwise::biases_gelu(out, &biases);
                }
            });
            Ok((out, Shape::from(((length + 1) * STRIDE, to))))
        })?;
        whole.narrow(0, PAD, longer)
    }
}
