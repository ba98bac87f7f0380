//! The transformer between the encoders and the decoders: each branch attends to itself and, in every second layer, to
//! the other (`demucs/transformer.py`, `CrossTransformerEncoder`).
//!
//! Tensors are `[tokens, channels]`. The steps of a layer after its keys and values run block by block. So only the
//! keys and values of a whole layer are in memory, and never the scores of all tokens for all tokens.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::checkpoint::{BuildError, Weights};
use crate::demucs::linear::{BLOCK, Linear};
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::op::{Input, Output, binary, unary};
use crate::kernels::pointwise;

/// The `eps` of PyTorch's `LayerNorm` and `GroupNorm`.
const EPS: f32 = 1e-5;
/// The number of queries whose scores are in the cache together.
const QUERIES: usize = 64;

/// Weights and biases of a norm.
pub(crate) struct LayerNorm([Vec<f32>; 2]);

impl LayerNorm {
    pub(crate) fn load(weights: &mut Weights, prefix: &str, channels: usize) -> std::result::Result<Self, BuildError> {
        let mut take = |part: &str| weights.take(&format!("{prefix}.{part}"), &[channels]);
        Ok(Self([take("weight")?, take("bias")?]))
    }

    fn apply(&self, out: &mut Vec<f32>, values: &[f32]) {
        out.resize(values.len(), 0.0);
        pointwise::layer_norm(out, values, &self.0[0], &self.0[1], EPS);
    }

    /// Normalises each token on its own.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        unary("layer-norm", x, |input| {
            let columns = self.0[0].len();
            let mut out = vec![0.0; input.values.len()];
            out.par_chunks_mut(BLOCK * columns)
                .zip(input.values.par_chunks(BLOCK * columns))
                .for_each(|(out, values)| pointwise::layer_norm(out, values, &self.0[0], &self.0[1], EPS));
            Ok((out, input.shape.clone()))
        })
    }

    /// Normalises all tokens and channels together, in place: `GroupNorm` with one group.
    fn all(&self, values: &mut [f32]) {
        let columns = self.0[0].len();
        let count = values.len() as f64;
        let mean = values.par_chunks(1 << 16).map(pointwise::sum).collect::<Vec<_>>().iter().sum::<f64>() / count;
        let parts: Vec<_> = values.par_chunks(1 << 16).map(|part| pointwise::squares(part, mean as f32)).collect();
        let factor = 1.0 / (parts.iter().sum::<f64>() / count + f64::from(EPS)).sqrt();
        let factors: Vec<f32> = self.0[0].iter().map(|weight| (f64::from(*weight) * factor) as f32).collect();
        let summands: Vec<f32> = self.0[1]
            .iter()
            .zip(&factors)
            .map(|(bias, factor)| (f64::from(*bias) - mean * f64::from(*factor)) as f32)
            .collect();
        values.par_chunks_mut(BLOCK * columns).for_each(|block| {
            for row in block.chunks_exact_mut(columns) {
                for ((value, factor), summand) in row.iter_mut().zip(&factors).zip(&summands) {
                    *value = *value * factor + summand;
                }
            }
        });
    }
}

/// One layer of one branch.
pub(crate) struct TransformerLayer {
    heads: usize,
    cross: bool,
    /// The norms of the queries' tokens; of the keys' tokens, in a cross layer; before the feed-forward part; of the
    /// output.
    norms: [Option<LayerNorm>; 4],
    /// `[3 channels, channels]`: queries, keys and values.
    attention: Linear,
    projection: Linear,
    /// The feed-forward part.
    widen: Linear,
    narrow: Linear,
    scales: [Vec<f32>; 2],
}

/// A layer's sizes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerShape {
    pub(crate) channels: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
}

impl TransformerLayer {
    pub(crate) fn load(
        weights: &mut Weights,
        prefix: &str,
        shape: LayerShape,
        cross: bool,
    ) -> std::result::Result<Self, BuildError> {
        let LayerShape { channels, hidden, heads } = shape;
        let name = |part: &str| format!("{prefix}.{part}");
        let attention = name(if cross { "cross_attn" } else { "self_attn" });
        let [first, asked, feed] = if cross { ["norm1", "norm2", "norm3"] } else { ["norm1", "", "norm2"] }
            .map(|norm| (!norm.is_empty()).then(|| LayerNorm::load(weights, &name(norm), channels)).transpose());
        let out = LayerNorm::load(weights, &name("norm_out"), channels)?;
        let mut linear =
            |weight: String, bias: String, shape: [usize; 2]| Linear::load(weights, [&weight, &bias], &shape);
        Ok(Self {
            heads,
            cross,
            norms: [first?, asked?, feed?, Some(out)],
            attention: linear(
                format!("{attention}.in_proj_weight"),
                format!("{attention}.in_proj_bias"),
                [3 * channels, channels],
            )?,
            projection: linear(
                format!("{attention}.out_proj.weight"),
                format!("{attention}.out_proj.bias"),
                [channels, channels],
            )?,
            widen: linear(name("linear1.weight"), name("linear1.bias"), [hidden, channels])?,
            narrow: linear(name("linear2.weight"), name("linear2.bias"), [channels, hidden])?,
            scales: [
                weights.take(&name("gamma_1.scale"), &[channels])?,
                weights.take(&name("gamma_2.scale"), &[channels])?,
            ],
        })
    }

    /// The tokens of `x` attend to those of `other` in a cross layer, and to each other in any other layer.
    pub(crate) fn forward(&self, x: &Tensor, other: &Tensor) -> Result<Tensor> {
        if self.cross {
            binary("cross-layer", x, other, |x, other| self.run(x, other))
        } else {
            unary("self-layer", x, |x| self.run(x, x))
        }
    }

    fn run(&self, x: Input<'_>, other: Input<'_>) -> Result<Output> {
        let (_, channels) = x.shape.dims2()?;
        let [Some(first), asked, Some(feed), Some(last)] = &self.norms else {
            candle_core::bail!("a transformer layer without its norms")
        };
        let asked = asked.as_ref().unwrap_or(first);

        // Keys and values of all tokens; the keys of a block are transposed, for the products that follow.
        let mut keys = vec![0.0; other.values.len()];
        let mut values = vec![0.0; other.values.len()];
        let blocks = keys.par_chunks_mut(BLOCK * channels).zip(values.par_chunks_mut(BLOCK * channels));
        blocks.zip(other.values.par_chunks(BLOCK * channels)).for_each_init(
            || (Vec::new(), vec![0.0; BLOCK * channels]),
            |(normed, straight), ((keys, values), tokens)| {
                asked.apply(normed, tokens);
                let (_, biases) = self.attention.bias.split_at(channels);
                self.attention.some(values, normed, [2 * channels, 3 * channels]);
                pointwise::add_biases(values, &biases[channels..]);
                let straight = &mut straight[..tokens.len()];
                self.attention.some(straight, normed, [channels, 2 * channels]);
                pointwise::add_biases(straight, &biases[..channels]);
                pointwise::transpose(keys, straight, channels);
            },
        );
        let asked = Asked { keys, values };

        let mut out = x.values.to_vec();
        out.par_chunks_mut(BLOCK * channels).for_each_init(Block::default, |block, out| {
            let Block { normed, queries, heard, result, wide, scores } = block;
            first.apply(normed, out);
            queries.resize(out.len(), 0.0);
            self.attention.some(queries, normed, [0, channels]);
            pointwise::add_biases(queries, &self.attention.bias[..channels]);
            heard.resize(out.len(), 0.0);
            self.attend(heard, queries, &asked, channels, scores);
            result.resize(out.len(), 0.0);
            self.projection.some(result, heard, [0, channels]);
            pointwise::add_scaled(out, result, &self.projection.bias, &self.scales[0]);

            feed.apply(normed, out);
            wide.resize(out.len() / channels * self.widen.bias.len(), 0.0);
            self.widen.some(wide, normed, [0, self.widen.bias.len()]);
            pointwise::biases_gelu(wide, &self.widen.bias);
            self.narrow.some(result, wide, [0, channels]);
            pointwise::add_scaled(out, result, &self.narrow.bias, &self.scales[1]);
        });
        last.all(&mut out);
        Ok((out, x.shape.clone()))
    }

    /// The attention of some tokens to all: softmax(Q K / sqrt(d)) V, head by head.
    fn attend(&self, heard: &mut [f32], queries: &mut [f32], asked: &Asked, channels: usize, scores: &mut Vec<f32>) {
        let size = channels / self.heads;
        let tokens = asked.values.len() / channels;
        let scale = 1.0 / (size as f32).sqrt();
        queries.iter_mut().for_each(|query| *query *= scale);
        for (queries, heard) in queries.chunks(QUERIES * channels).zip(heard.chunks_mut(QUERIES * channels)) {
            let asking = queries.len() / channels;
            scores.resize(asking * tokens, 0.0);
            for head in 0..self.heads {
                let at = head * size;
                let query = Matrix::strided(&queries[at..], [asking, size], [channels, 1]);
                for (block, keys) in asked.keys.chunks(BLOCK * channels).enumerate() {
                    let width = keys.len() / channels;
                    let keys = Matrix::new(&keys[at * width..(at + size) * width], size, width);
                    product(&mut scores[block * BLOCK..], tokens, false, query, keys);
                }
                let mut totals = [0.0; QUERIES];
                for (total, row) in totals.iter_mut().zip(scores.chunks_exact_mut(tokens)) {
                    *total = pointwise::exp_row(row);
                }
                let values = Matrix::strided(&asked.values[at..], [tokens, size], [channels, 1]);
                product(&mut heard[at..], channels, false, Matrix::new(scores, asking, tokens), values);
                for (row, total) in heard.chunks_exact_mut(channels).zip(totals) {
                    row[at..at + size].iter_mut().for_each(|value| *value /= total);
                }
            }
        }
    }
}

/// Keys and values of all tokens.
struct Asked {
    /// `[blocks][channels, BLOCK]`, the last block shorter.
    keys: Vec<f32>,
    /// `[tokens, channels]`.
    values: Vec<f32>,
}

/// Buffers that a thread reuses for every block.
#[derive(Default)]
struct Block {
    normed: Vec<f32>,
    queries: Vec<f32>,
    heard: Vec<f32>,
    result: Vec<f32>,
    wide: Vec<f32>,
    scores: Vec<f32>,
}

/// The positional embedding of the spectrum's tokens: the first half of the channels encodes the frame, the second the
/// frequency (`create_2d_sin_embedding`). `[frames frequencies, channels]`.
pub(crate) fn spectrum_positions(frames: usize, frequencies: usize, channels: usize, period: f32) -> Vec<f32> {
    let half = channels / 2;
    // Rounds where torch rounds: phases are large, and an error in the last place of this factor is visible in them.
    let step = -(f64::from(period).ln() / half as f64) as f32;
    let rate = |at: usize| ((at - at % 2) as f32 * step).exp();
    let wave = |place: usize, at: usize| {
        let phase = place as f32 * rate(at);
        if at.is_multiple_of(2) { phase.sin() } else { phase.cos() }
    };
    let mut positions = Vec::with_capacity(frames * frequencies * channels);
    for frame in 0..frames {
        for frequency in 0..frequencies {
            positions.extend((0..half).map(|at| wave(frame, at)));
            positions.extend((0..half).map(|at| wave(frequency, at)));
        }
    }
    positions
}

/// The positional embedding of the waveform's tokens: cosines, then sines (`create_sin_embedding`). `[length,
/// channels]`.
pub(crate) fn wave_positions(length: usize, channels: usize, period: f32) -> Vec<f32> {
    let half = channels / 2;
    let mut positions = Vec::with_capacity(length * channels);
    for place in 0..length {
        let phase = |at: usize| place as f32 / period.powf(at as f32 / (half - 1) as f32);
        positions.extend((0..half).map(|at| phase(at).cos()));
        positions.extend((0..half).map(|at| phase(at).sin()));
    }
    positions
}
