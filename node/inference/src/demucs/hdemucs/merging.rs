//! The layers that merge the branches and split them again (`demucs/hdemucs.py`, the last layer over frequencies and
//! the empty layers of the waveform's branch).
//!
//! The few frequencies that are left become channels of one. A convolution over all of them is a product. Time is the
//! outermost axis from here on, as in the waveform's branch.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::config::{HDemucsConfig, LEFT};
use super::deep::{AROUND, BLOCK, Decoded, Encoded, Gate, Strided, Transposed, normed_gelu, windows};
use super::norm::GroupNorm;
use crate::checkpoint::{BuildError, Weights};
use crate::demucs::frequency::{STRIDE, taps_outermost};
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::op::read;
use crate::kernels::pointwise;
use crate::kernels::pointwise::transposed;

/// The last encoder over frequencies, and the waveform's last encoder.
pub(super) struct MergeLayer {
    from: usize,
    /// `[frequencies in, out]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    wave: Strided,
    rest: Encoded,
}

impl MergeLayer {
    pub(super) fn load(weights: &mut Weights, config: &HDemucsConfig) -> std::result::Result<Self, BuildError> {
        let index = config.merge_layer();
        let [from, to] = [config.channels_at(index - 1), config.channels_at(index)];
        let prefix = format!("encoder.{index}");
        let weight = weights.take(&format!("{prefix}.conv.weight"), &[to, from, LEFT, 1])?;
        Ok(Self {
            from,
            weight: transposed(&taps_outermost(&weight, to, from, LEFT), LEFT * from),
            bias: weights.take(&format!("{prefix}.conv.bias"), &[to])?,
            wave: Strided::load(weights, &format!("t{prefix}"), [from, to], STRIDE)?,
            rest: Encoded::load(weights, config, index, &[1, 1])?,
        })
    }

    /// Maps `[frequencies, in, frames]` and `[length, in]` to `[frames, out]`.
    pub(super) fn forward(&self, x: Tensor, xt: Tensor) -> Result<Tensor> {
        let (frequencies, _, frames) = x.dims3()?;
        let columns = frequencies * self.from;
        let mut merged = read(&xt, |xt| self.wave.forward(xt))?;
        let to = self.bias.len();
        read(&x, |spectrum| {
            merged.par_chunks_mut(BLOCK * to).enumerate().for_each(|(block, out)| {
                let seen = Matrix::strided(&spectrum[block * BLOCK..], [out.len() / to, columns], [1, frames]);
                product(out, to, true, seen, Matrix::new(&self.weight, columns, to));
                pointwise::add_biases(out, &self.bias);
            });
        })?;
        Tensor::from_vec(self.rest.forward(merged), (frames, to), &Device::Cpu)
    }
}

/// The first decoder over frequencies, and the waveform's first decoder.
pub(super) struct SplitLayer {
    before: Decoded,
    /// `[in, frequencies out]`.
    weight: Vec<f32>,
    /// One bias for all frequencies.
    biases: Vec<f32>,
    norm: GroupNorm,
    wave: Transposed,
}

impl SplitLayer {
    pub(super) fn load(weights: &mut Weights, config: &HDemucsConfig) -> std::result::Result<Self, BuildError> {
        let index = config.merge_layer();
        let [to, from] = [config.channels_at(index - 1), config.channels_at(index)];
        let prefix = config.decoder(index);
        let groups = config.groups(index);
        let weight = weights.take(&format!("{prefix}.rewrite.weight"), &[2 * from, from, AROUND, AROUND])?;
        // The single frequency has no neighbours.
        let own: Vec<f32> = weight.as_chunks::<AROUND>().0.iter().skip(1).step_by(AROUND).flatten().copied().collect();
        let bias = weights.take(&format!("{prefix}.rewrite.bias"), &[2 * from])?;
        let norm = GroupNorm::load(weights, &format!("{prefix}.norm1"), 2 * from, groups)?;
        let before = Decoded::load(weights, config, index, Gate::new(&own, AROUND, bias, norm))?;
        let weight = weights.take(&format!("{prefix}.conv_tr.weight"), &[from, to, LEFT, 1])?;
        let bias = weights.take(&format!("{prefix}.conv_tr.bias"), &[to])?;
        Ok(Self {
            before,
            weight: taps_outermost(&weight, from, to, LEFT),
            biases: bias.repeat(LEFT),
            norm: GroupNorm::load(weights, &format!("{prefix}.norm2"), to, groups)?,
            wave: Transposed::load(weights, "tdecoder.0", [from, to], STRIDE, groups)?,
        })
    }

    /// Maps `[frames, in]`, with a skip of the same shape, to `[frequencies, out, frames]` and `[length, out]`.
    pub(super) fn forward(&self, x: Option<Tensor>, skip: Tensor, length: usize) -> Result<(Tensor, Tensor)> {
        let (frames, from) = skip.dims2()?;
        let padded = self.before.forward(x, skip)?;
        let xt = read(&padded, |padded| self.wave.forward(padded, length))??;
        let mut parted = read(&padded, |padded| {
            let inner = &padded[from..(frames + 1) * from];
            windows(inner, [from, from], frames, &self.weight, &self.biases)
        })?;
        normed_gelu(&mut parted, &self.norm);
        let columns = self.biases.len();
        let mut x = vec![0.0; parted.len()];
        pointwise::transpose(&mut x, &parted, columns);
        Ok((Tensor::from_vec(x, (LEFT, columns / LEFT, frames), &Device::Cpu)?, xt))
    }
}
