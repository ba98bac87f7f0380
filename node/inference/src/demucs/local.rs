//! The attention in a residual branch's bottleneck (`demucs/demucs.py`, `LocalState`): each time attends to all others
//! but not to itself. Scores decay with the distance, at a rate that the network computes for each time.

use rayon::prelude::*;

use super::linear::Linear;
use crate::checkpoint::{BuildError, Weights};
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::pointwise;

/// `DConv`'s number of heads, and of decay rates in each.
const HEADS: usize = 4;
const DECAYS: usize = 4;
/// The score of a time for itself.
const SELF: f32 = -100.0;
/// The number of times whose scores are in the cache together.
const QUERIES: usize = 64;

pub(super) struct LocalState {
    query: Linear,
    key: Linear,
    content: Linear,
    decay: Linear,
    projection: Linear,
}

impl LocalState {
    /// Whether the heads can divide this number of channels.
    pub(super) fn fits(channels: usize) -> bool {
        channels > 0 && channels.is_multiple_of(HEADS)
    }

    pub(super) fn load(weights: &mut Weights, prefix: &str, channels: usize) -> Result<Self, BuildError> {
        let mut linear = |name: &str, outputs: usize| {
            let [weight, bias] = ["weight", "bias"].map(|part| format!("{prefix}.{name}.{part}"));
            Linear::load(weights, [&weight, &bias], &[outputs, channels, 1])
        };
        Ok(Self {
            query: linear("query", channels)?,
            key: linear("key", channels)?,
            content: linear("content", channels)?,
            decay: linear("query_decay", HEADS * DECAYS)?,
            projection: linear("proj", channels)?,
        })
    }

    /// Adds the attention's output to all times, `[length, channels]`.
    pub(super) fn run(&self, values: &mut [f32]) {
        let channels = self.query.bias.len();
        let length = values.len() / channels;
        let size = channels / HEADS;
        let scale = 1.0 / (size as f32).sqrt();
        let mut queries = self.query.all(values);
        queries.iter_mut().for_each(|query| *query *= scale);
        let mut keys = vec![0.0; values.len()];
        pointwise::transpose(&mut keys, &self.key.all(values), channels);
        let contents = self.content.all(values);
        // The decay of a score per step of distance, for each time and head.
        let fades: Vec<f32> = self.decay.all(values).chunks_exact(DECAYS).map(fade).collect();

        let mut heard = vec![0.0; values.len()];
        heard.par_chunks_mut(QUERIES * channels).enumerate().for_each_init(Vec::new, |scores, (block, heard)| {
            let first = block * QUERIES;
            let asking = heard.len() / channels;
            scores.resize(asking * length, 0.0);
            for head in 0..HEADS {
                let at = head * size;
                let query = Matrix::strided(&queries[first * channels + at..], [asking, size], [channels, 1]);
                let keys = Matrix::new(&keys[at * length..(at + size) * length], size, length);
                product(scores, length, false, query, keys);
                let mut totals = [0.0; QUERIES];
                for ((time, row), total) in (first..).zip(scores.chunks_exact_mut(length)).zip(&mut totals) {
                    pointwise::fade(row, time, fades[time * HEADS + head]);
                    row[time] = SELF;
                    *total = pointwise::exp_row(row);
                }
                let contents = Matrix::strided(&contents[at..], [length, size], [channels, 1]);
                product(&mut heard[at..], channels, false, Matrix::new(scores, asking, length), contents);
                for (row, total) in heard.chunks_exact_mut(channels).zip(totals) {
                    row[at..at + size].iter_mut().for_each(|value| *value /= total);
                }
            }
        });
        values.iter_mut().zip(self.projection.all(&heard)).for_each(|(value, heard)| *value += heard);
    }
}

/// The sum of the rates, each weighted by a sigmoid.
fn fade(openings: &[f32]) -> f32 {
    let half_open = |opening: f32| 0.5 / (1.0 + (-opening).exp());
    let rates = openings.iter().zip(1u8..).map(|(opening, rate)| f32::from(rate) * half_open(*opening));
    rates.sum::<f32>() / (DECAYS as f32).sqrt()
}
