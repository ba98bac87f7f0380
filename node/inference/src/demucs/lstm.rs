//! The LSTM in a residual branch's bottleneck (`demucs/demucs.py`, `BLSTM`): two bidirectional layers.
//!
//! Longer inputs are cut into pieces of 200 times that overlap by half, and the middle of each piece is kept. The
//! pieces run side by side, so that each step is a product of matrices. Half of the work does not depend on the step
//! before. It is one product beforehand.

use rayon::prelude::*;

use super::linear::Linear;
use crate::checkpoint::{BuildError, Weights};
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::pointwise;
use crate::kernels::pointwise::transposed;

const LAYERS: usize = 2;
/// The number of times in a piece.
const PIECE: usize = 200;
/// The distance between the starts of two pieces.
const STRIDE: usize = PIECE / 2;
/// The number of times whose inputs are multiplied in one product.
const BLOCK: usize = 192;
/// The number of a cell's gates: input, forget, cell and output, in this order.
const GATES: usize = 4;

pub(super) struct Lstm {
    hidden: usize,
    /// Each layer, forwards and backwards.
    layers: [[Direction; 2]; LAYERS],
    /// Maps the outputs of both directions to the bottleneck.
    linear: Linear,
}

/// One layer in one direction.
struct Direction {
    /// `[in, 4 hidden]`, for each stream of `hidden` inputs: the bottleneck, or the outputs of both directions of the
    /// layer before.
    inputs: Vec<Vec<f32>>,
    bias: Vec<f32>,
    /// `[hidden, 4 hidden]`.
    recurrence: Vec<f32>,
    backwards: bool,
}

/// The cut of a sequence into pieces.
#[derive(Clone, Copy)]
struct Pieces {
    count: usize,
    /// The length of each.
    length: usize,
}

impl Pieces {
    fn of(times: usize) -> Self {
        match times {
            0..=PIECE => Self { count: 1, length: times },
            _ => Self { count: times.div_ceil(STRIDE), length: PIECE },
        }
    }

    /// The piece that provides a time: each piece provides all but a quarter at each end.
    fn at(self, time: usize) -> usize {
        (time.saturating_sub(STRIDE / 2) / STRIDE).min(self.count - 1)
    }
}

impl Direction {
    fn load(
        weights: &mut Weights,
        prefix: &str,
        layer: usize,
        hidden: usize,
        backwards: bool,
    ) -> Result<Self, BuildError> {
        let suffix = format!("l{layer}{}", if backwards { "_reverse" } else { "" });
        let mut take = |part: &str, shape: &[usize]| weights.take(&format!("{prefix}.lstm.{part}_{suffix}"), shape);
        let streams = if layer == 0 { 1 } else { 2 };
        let whole = transposed(&take("weight_ih", &[GATES * hidden, streams * hidden])?, streams * hidden);
        let biases = [take("bias_ih", &[GATES * hidden])?, take("bias_hh", &[GATES * hidden])?];
        Ok(Self {
            inputs: whole.chunks_exact(GATES * hidden * hidden).map(<[f32]>::to_vec).collect(),
            bias: biases[0].iter().zip(&biases[1]).map(|(one, other)| one + other).collect(),
            recurrence: transposed(&take("weight_hh", &[GATES * hidden, hidden])?, hidden),
            backwards,
        })
    }

    /// The inputs' contributions to the gates of each row; of `rows`, those after the inputs have zeros as inputs.
    fn prepared(&self, streams: &[&[f32]], rows: usize, hidden: usize) -> Vec<f32> {
        let width = self.bias.len();
        let mut gates = self.bias.repeat(rows);
        gates.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, gates)| {
            for (stream, weight) in streams.iter().zip(&self.inputs) {
                let from = (block * BLOCK * hidden).min(stream.len());
                let end = (from + BLOCK * hidden).min(stream.len());
                if from < end {
                    let seen = Matrix::new(&stream[from..end], (end - from) / hidden, hidden);
                    product(gates, width, true, seen, Matrix::new(weight, hidden, width));
                }
            }
        });
        gates
    }

    /// Runs pieces that begin `spacing` rows apart in the prepared gates; `out` is `[pieces][length, hidden]`.
    fn run(&self, gates: &[f32], spacing: usize, length: usize, out: &mut [f32], hidden: usize) {
        let width = self.bias.len();
        let pieces = out.len() / (length * hidden);
        let recurrence = Matrix::new(&self.recurrence, hidden, width);
        let (mut cells, mut output) = (vec![0.0; pieces * hidden], vec![0.0; pieces * hidden]);
        let mut now = vec![0.0; pieces * width];
        for step in 0..length {
            let time = if self.backwards { length - 1 - step } else { step };
            for (piece, now) in now.chunks_exact_mut(width).enumerate() {
                now.copy_from_slice(&gates[(piece * spacing + time) * width..][..width]);
            }
            product(&mut now, width, true, Matrix::new(&output, pieces, hidden), recurrence);
            for (piece, now) in now.chunks_exact(width).enumerate() {
                let row = piece * hidden..(piece + 1) * hidden;
                pointwise::lstm_cells(now, &mut cells[row.clone()], &mut output[row.clone()]);
                out[(piece * length + time) * hidden..][..hidden].copy_from_slice(&output[row]);
            }
        }
    }
}

impl Lstm {
    pub(super) fn load(weights: &mut Weights, prefix: &str, hidden: usize) -> Result<Self, BuildError> {
        let mut layer = |layer: usize| {
            let mut one = |backwards: bool| Direction::load(weights, prefix, layer, hidden, backwards);
            Ok::<_, BuildError>([one(false)?, one(true)?])
        };
        let layers = [layer(0)?, layer(1)?];
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{prefix}.linear.{part}"));
        Ok(Self { hidden, layers, linear: Linear::load(weights, [&weight, &bias], &[hidden, 2 * hidden])? })
    }

    /// Adds the LSTM's output to all times, `[length, hidden]`.
    pub(super) fn run(&self, values: &mut [f32]) {
        let hidden = self.hidden;
        let times = values.len() / hidden;
        let pieces = Pieces::of(times);
        let [first, second] = &self.layers;
        // Two pieces share each input of the first layer, so these are prepared once.
        let output = Self::layer(first, &[values], STRIDE, pieces, hidden);
        let output = Self::layer(second, &[&output[0], &output[1]], pieces.length, pieces, hidden);
        let mut both = Vec::with_capacity(2 * values.len());
        for time in 0..times {
            let piece = pieces.at(time);
            let row = (piece * pieces.length + time - piece * STRIDE) * hidden;
            both.extend_from_slice(&output[0][row..row + hidden]);
            both.extend_from_slice(&output[1][row..row + hidden]);
        }
        values.iter_mut().zip(self.linear.all(&both)).for_each(|(value, output)| *value += output);
    }

    /// The outputs of both directions of a layer in all pieces, `[pieces][length, hidden]` each. Pieces begin `spacing`
    /// rows apart in the inputs.
    fn layer(
        directions: &[Direction; 2],
        inputs: &[&[f32]],
        spacing: usize,
        pieces: Pieces,
        hidden: usize,
    ) -> [Vec<f32>; 2] {
        // Pieces are independent: with more than two threads, several threads share each direction.
        let share = pieces.count.div_ceil(rayon::current_num_threads().div_ceil(2));
        let of_piece = pieces.length * hidden;
        let run = |direction: &Direction| {
            let rows = (pieces.count - 1) * spacing + pieces.length;
            let gates = direction.prepared(inputs, rows, hidden);
            let mut out = vec![0.0; pieces.count * of_piece];
            out.par_chunks_mut(share * of_piece).enumerate().for_each(|(part, out)| {
                let gates = &gates[part * share * spacing * direction.bias.len()..];
                direction.run(gates, spacing, pieces.length, out, hidden);
            });
            out
        };
        let [forwards, backwards] = directions;
        let (forwards, backwards) = rayon::join(|| run(forwards), || run(backwards));
        [forwards, backwards]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_belongs_to_the_piece_in_whose_middle_it_lies() {
        assert_eq!((Pieces::of(200).count, Pieces::of(200).at(199)), (1, 0));
        let pieces = Pieces::of(201);
        assert_eq!((pieces.count, pieces.length), (3, 200));
        let found: Vec<usize> = [0, 149, 150, 200].into_iter().map(|time| pieces.at(time)).collect();
        assert_eq!(found, [0, 0, 1, 1]);
        let pieces = Pieces::of(1895);
        assert_eq!(pieces.count, 19);
        let found: Vec<usize> = [1749, 1750, 1849, 1850, 1894].into_iter().map(|time| pieces.at(time)).collect();
        assert_eq!(found, [16, 17, 17, 18, 18]);
    }
}
