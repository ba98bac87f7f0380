//! The layers of the spectrum's branch (`demucs/hdemucs.py`, `HEncLayer` and `HDecLayer` with `freq=True`).
//!
//! Tensors are `[frequencies, channels, frames]`. With the frequencies outermost, the eight neighbouring frequencies
//! under a convolution's kernel are one matrix of `8 channels` rows that need no copy. Each frequency, with its
//! residual branch, is processed while it is in the cache.

use candle_core::{Result, Shape, Tensor};
use rayon::prelude::*;

use super::dconv::{DConv, DConvShape, Scratch};
use crate::checkpoint::{BuildError, Weights};
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::op::{binary, unary};
use crate::kernels::pointwise::{self, Affine};

/// The kernel and the stride of the convolutions along the frequencies.
pub(super) const KERNEL: usize = 8;
pub(super) const STRIDE: usize = 4;
/// Their padding at each end.
const PAD: usize = 2;
/// The decoder's padding, in frequency and in time.
const AROUND: usize = 3;

/// Reorders `[out, in, taps]` to `[out, taps in]`, so that neighbouring rows of `in` channels are one long row.
pub(super) fn taps_outermost(weight: &[f32], out: usize, channels: usize, taps: usize) -> Vec<f32> {
    let mut reordered = Vec::with_capacity(weight.len());
    for row in weight.chunks_exact(channels * taps).take(out) {
        for tap in 0..taps {
            reordered.extend(row.iter().skip(tap).step_by(taps));
        }
    }
    reordered
}

/// A transposed convolution whose kernel is twice its stride, `[in, out, 2 stride]`, as the matrix `[stride out, 2
/// in]`. It computes `stride` outputs from two neighbouring inputs: the earlier input contributes with the second half
/// of its taps, the later one with the first half.
pub(super) fn transposed_taps(weight: &[f32], [channels, out]: [usize; 2], stride: usize) -> Vec<f32> {
    let mut reordered = Vec::with_capacity(weight.len());
    for place in 0..stride {
        for to in 0..out {
            for tap in [place + stride, place] {
                reordered.extend((0..channels).map(|from| weight[(from * out + to) * 2 * stride + tap]));
            }
        }
    }
    reordered
}

pub(crate) struct FrequencyEncoder {
    /// Input and output channels.
    channels: [usize; 2],
    /// `[out, 8 in]`.
    conv: Vec<f32>,
    conv_bias: Vec<f32>,
    dconv: Option<DConv>,
    /// `[2 out, out]`.
    rewrite: Vec<f32>,
    rewrite_bias: Vec<f32>,
    /// Added to the output: `[frequencies, out]`.
    embedding: Option<Vec<f32>>,
}

impl FrequencyEncoder {
    pub(crate) fn load(
        weights: &mut Weights,
        prefix: &str,
        channels: [usize; 2],
        dconv: Option<DConvShape>,
        embedding: Option<Vec<f32>>,
    ) -> std::result::Result<Self, BuildError> {
        let [from, to] = channels;
        let conv = weights.take(&format!("{prefix}.conv.weight"), &[to, from, KERNEL, 1])?;
        Ok(Self {
            channels,
            conv: taps_outermost(&conv, to, from, KERNEL),
            conv_bias: weights.take(&format!("{prefix}.conv.bias"), &[to])?,
            dconv: dconv.map(|shape| DConv::load(weights, &format!("{prefix}.dconv"), shape)).transpose()?,
            rewrite: weights.take(&format!("{prefix}.rewrite.weight"), &[2 * to, to, 1, 1])?,
            rewrite_bias: weights.take(&format!("{prefix}.rewrite.bias"), &[2 * to])?,
            embedding,
        })
    }

    /// Maps `[frequencies, in, frames]` to `[frequencies / 4, out, frames]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [from, to] = self.channels;
        unary("frequency-encoder", x, |input| {
            let (frequencies, _, frames) = input.shape.dims3()?;
            let row = from * frames;
            let conv = Matrix::new(&self.conv, to, KERNEL * from);
            let rewrite = Matrix::new(&self.rewrite, 2 * to, to);
            let mut out = vec![0.0; frequencies / STRIDE * to * frames];
            out.par_chunks_exact_mut(to * frames).enumerate().for_each_init(
                || (vec![0.0; to * frames], vec![0.0; 2 * to * frames], Vec::new(), Scratch::default()),
                |(y, wide, edge, scratch), (frequency, out)| {
                    let first = frequency * STRIDE;
                    // The window begins PAD before `first`.
                    let seen = if first >= PAD && first + KERNEL - PAD <= frequencies {
                        &input.values[(first - PAD) * row..(first + KERNEL - PAD) * row]
                    } else {
                        edge.clear();
                        edge.resize(KERNEL * row, 0.0);
                        for at in 0..KERNEL {
                            if let Some(seen) = (first + at).checked_sub(PAD).filter(|seen| *seen < frequencies) {
                                edge[at * row..(at + 1) * row]
                                    .copy_from_slice(&input.values[seen * row..(seen + 1) * row]);
                            }
                        }
                        edge
                    };
                    product(y, frames, false, conv, Matrix::new(seen, KERNEL * from, frames));
                    for (row, bias) in y.chunks_exact_mut(frames).zip(&self.conv_bias) {
                        pointwise::bias_gelu(row, *bias);
                    }
                    if let Some(dconv) = &self.dconv {
                        dconv.frequency(y, scratch);
                    }
                    product(wide, frames, false, rewrite, Matrix::new(y, to, frames));
                    glu_channels(out, wide, &self.rewrite_bias, frames);
                    if let Some(embedding) = &self.embedding {
                        for (row, place) in out.chunks_exact_mut(frames).zip(&embedding[frequency * to..]) {
                            row.iter_mut().for_each(|value| *value += place);
                        }
                    }
                },
            );
            Ok((out, Shape::from((frequencies / STRIDE, to, frames))))
        })
    }
}

/// The gated linear unit of `[2 channels, frames]`, with biases.
fn glu_channels(out: &mut [f32], wide: &[f32], biases: &[f32], frames: usize) {
    let channels = biases.len() / 2;
    let (values, gates) = wide.split_at(channels * frames);
    for (channel, out) in out.chunks_exact_mut(frames).enumerate() {
        let row = channel * frames..(channel + 1) * frames;
        let affine = Affine { value: [1.0, biases[channel]], gate: [1.0, biases[channels + channel]] };
        pointwise::glu(out, &values[row.clone()], &gates[row], affine);
    }
}

pub(crate) struct FrequencyDecoder {
    channels: [usize; 2],
    /// For each of three neighbouring frames, `[2 in, 3 in]`: the columns are three neighbouring frequencies.
    rewrite: [Vec<f32>; AROUND],
    rewrite_bias: Vec<f32>,
    dconv: Option<DConv>,
    /// `[4 out, 2 in]`.
    conv: Vec<f32>,
    conv_bias: Vec<f32>,
    /// The last layer has no activation after its output.
    last: bool,
}

impl FrequencyDecoder {
    pub(crate) fn load(
        weights: &mut Weights,
        prefix: &str,
        channels: [usize; 2],
        dconv: Option<DConvShape>,
        last: bool,
    ) -> std::result::Result<Self, BuildError> {
        let [from, to] = channels;
        let weight = weights.take(&format!("{prefix}.rewrite.weight"), &[2 * from, from, AROUND, AROUND])?;
        let rewrite = std::array::from_fn(|frame| {
            let of_frame: Vec<f32> = weight.iter().skip(frame).step_by(AROUND).copied().collect();
            taps_outermost(&of_frame, 2 * from, from, AROUND)
        });
        let conv = weights.take(&format!("{prefix}.conv_tr.weight"), &[from, to, KERNEL, 1])?;
        Ok(Self {
            channels,
            rewrite,
            rewrite_bias: weights.take(&format!("{prefix}.rewrite.bias"), &[2 * from])?,
            dconv: dconv.map(|shape| DConv::load(weights, &format!("{prefix}.dconv"), shape)).transpose()?,
            conv: transposed_taps(&conv, channels, STRIDE),
            conv_bias: weights.take(&format!("{prefix}.conv_tr.bias"), &[to])?,
            last,
        })
    }

    /// Maps `[frequencies, in, frames]`, with a skip of the same shape, to `[4 frequencies, out, frames]`.
    pub(crate) fn forward(&self, x: Tensor, skip: Tensor) -> Result<Tensor> {
        let [from, to] = self.channels;
        let (frequencies, _, frames) = x.dims3()?;
        // One frame and one frequency of zeros on each side.
        let wider = frames + AROUND - 1;
        let padded = binary("skip", &x, &skip, |x, skip| {
            let mut padded = vec![0.0; (frequencies + 2) * from * wider];
            let inner = &mut padded[from * wider..(frequencies + 1) * from * wider];
            inner
                .par_chunks_exact_mut(from * wider)
                .zip(x.values.par_chunks_exact(from * frames))
                .zip(skip.values.par_chunks_exact(from * frames))
                .for_each(|((padded, x), skip)| {
                    let rows = x.chunks_exact(frames).zip(skip.chunks_exact(frames));
                    for (padded, (x, skip)) in padded.chunks_exact_mut(wider).zip(rows) {
                        let out = padded[1..].iter_mut();
                        out.zip(x).zip(skip).for_each(|((out, x), skip)| *out = x + skip);
                    }
                });
            Ok((padded, Shape::from((frequencies + 2, from, wider))))
        })?;
        drop((x, skip));
        let rewritten = unary("frequency-rewrite", &padded, |input| {
            let mut out = vec![0.0; (frequencies + 2) * from * frames];
            let inner = &mut out[from * frames..(frequencies + 1) * from * frames];
            inner.par_chunks_exact_mut(from * frames).enumerate().for_each_init(
                || (vec![0.0; 2 * from * frames], Scratch::default()),
                |(wide, scratch), (frequency, out)| {
                    let seen = &input.values[frequency * from * wider..(frequency + AROUND) * from * wider];
                    for (frame, rewrite) in self.rewrite.iter().enumerate() {
                        let rewrite = Matrix::new(rewrite, 2 * from, AROUND * from);
                        let shifted = Matrix::strided(&seen[frame..], [AROUND * from, frames], [wider, 1]);
                        product(wide, frames, frame > 0, rewrite, shifted);
                    }
                    glu_channels(out, wide, &self.rewrite_bias, frames);
                    if let Some(dconv) = &self.dconv {
                        dconv.frequency(out, scratch);
                    }
                },
            );
            Ok((out, Shape::from((frequencies + 2, from, frames))))
        })?;
        drop(padded);
        let whole = unary("frequency-transposed", &rewritten, |input| {
            let conv = Matrix::new(&self.conv, STRIDE * to, 2 * from);
            let mut out = vec![0.0; (frequencies + 1) * STRIDE * to * frames];
            out.par_chunks_exact_mut(STRIDE * to * frames).enumerate().for_each(|(at, out)| {
                let seen = &input.values[at * from * frames..(at + 2) * from * frames];
                product(out, frames, false, conv, Matrix::new(seen, 2 * from, frames));
                for (row, bias) in out.chunks_exact_mut(frames).zip(self.conv_bias.iter().cycle()) {
                    if self.last {
                        row.iter_mut().for_each(|value| *value += bias);
                    } else {
                        pointwise::bias_gelu(row, *bias);
                    }
                }
            });
            Ok((out, Shape::from(((frequencies + 1) * STRIDE, to, frames))))
        })?;
        whole.narrow(0, PAD, STRIDE * frequencies)
    }
}
