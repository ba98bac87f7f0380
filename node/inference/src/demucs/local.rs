//! The attention in a residual branch's waist (`demucs/demucs.py`, `LocalState`): each time listens to all others, the
//! less the farther away they are, and never to itself. How fast the others fade, each time says itself.

use rayon::prelude::*;

use super::ModelError;
use super::linear::Linear;
use super::weights::Weights;
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::pointwise;

/// `DConv`'s heads, and the paces at which each may fade.
const HEADS: usize = 4;
const DECAYS: usize = 4;
/// What a time's score for itself is.
const SELF: f32 = -100.0;
/// Times whose scores are in the cache together.
const QUERIES: usize = 64;

pub(super) struct LocalState {
    query: Linear,
    key: Linear,
    content: Linear,
    decay: Linear,
    projection: Linear,
}

impl LocalState {
    /// Whether so many channels can be shared out.
    pub(super) fn fits(channels: usize) -> bool {
        channels > 0 && channels.is_multiple_of(HEADS)
    }

    pub(super) fn load(weights: &mut Weights, prefix: &str, channels: usize) -> Result<Self, ModelError> {
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

    /// Adds to all times, `[length, channels]`, what they hear.
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
        // By how much a score falls with each step away, for each time and head.
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

/// The sum of the paces, each as far as a sigmoid opens it.
fn fade(openings: &[f32]) -> f32 {
    let half_open = |opening: f32| 0.5 / (1.0 + (-opening).exp());
    let paces = openings.iter().zip(1u8..).map(|(opening, pace)| f32::from(pace) * half_open(*opening));
    paces.sum::<f32>() / (DECAYS as f32).sqrt()
}
