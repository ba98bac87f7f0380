//! Element-wise operations: activations, sums and norms.
//!
//! Each loop is compiled for several kinds of processors, and the right one is chosen at run time (`pulp`). The
//! functions that it calls are inlined, so that the whole loop is vectorised.

use pulp::{Arch, NullaryFnOnce};

/// The number of values that are summed side by side; without this the compiler must keep their order and adds one at a
/// time.
const LANES: usize = 16;

/// A loop with its own mutable call. Closures are called through `FnOnce`, which adds a function that is not compiled
/// for the processor.
struct Loop<F>(F);

impl<F: FnMut()> NullaryFnOnce for Loop<F> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        (self.0)();
    }
}

/// Runs `body`, compiled for this processor. The body must be `#[inline(always)]`.
#[inline(always)]
fn vectorised(body: impl FnMut()) {
    Arch::new().dispatch(Loop(body));
}

/// A polynomial, its coefficients from the highest power down.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = sum.mul_add(x, *coefficient);
    }
    sum
}

/// `e^x`, by Cephes' polynomial (S. Moshier, `expf`), within 2 units in the last place between -87 and 88.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    // Adding this number rounds to whole numbers and leaves the number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    // The logarithm of 2 in two parts, the first of which has few digits.
    let rest = whole.mul_add(2.121_944_4e-4, whole.mul_add(-0.693_359_4, x));
    let y = (polynomial(rest, COEFFICIENTS) * rest).mul_add(rest, rest) + 1.0;
    let power = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    y * f32::from_bits(((power + 127) << 23) as u32)
}

/// The error function, within 1.2e-7: up to 1 as `x + x p(x^2)`, above 1 as `1 - e^-q(x)`, with minimax polynomials.
#[inline(always)]
fn erf(x: f32) -> f32 {
    const SMALL: [f32; 7] =
        [7.889_12e-5, -8.020_841e-4, 5.189_535e-3, -2.685_444_5e-2, 1.128_36e-1, -3.761_262_7e-1, 1.283_791_7e-1];
    const LARGE: [f32; 7] =
        [-1.855_740_1e-4, 2.939_607_5e-3, -2.180_532e-2, 1.030_373_7e-1, 6.382_257e-1, 1.127_04, 3.537_183_7e-4];
    let t = x.abs().min(4.0);
    let small = t.mul_add(polynomial(t * t, SMALL), t);
    let large = 1.0 - exp(-polynomial(t, LARGE));
    (if t < 1.0 { small } else { large }).copysign(x)
}

#[inline(always)]
fn gelu_of(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, within 1.5e-7, and within 5e-7 of its value: up to 5/8 by Cephes' polynomial (S. Moshier,
/// `tanhf`), above by the exponential.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    const SMALL: [f32; 5] = [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1];
    let t = x.abs();
    let square = t * t;
    let small = (polynomial(square, SMALL) * square).mul_add(t, t);
    let large = 1.0 - 2.0 / (exp(2.0 * t) + 1.0);
    (if t < 0.625 { small } else { large }).copysign(x)
}

/// Adds `bias` to each value and applies the exact (erf) GELU.
pub(crate) fn bias_gelu(values: &mut [f32], bias: f32) {
    vectorised(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value = gelu_of(*value + bias)),
    );
}

/// The same with a bias for each column.
pub(crate) fn biases_gelu(values: &mut [f32], biases: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(biases.len()) {
                row.iter_mut().zip(biases).for_each(|(value, bias)| *value = gelu_of(*value + bias));
            }
        },
    );
}

/// Adds a bias to each column.
pub(crate) fn add_biases(values: &mut [f32], biases: &[f32]) {
    for row in values.chunks_exact_mut(biases.len()) {
        row.iter_mut().zip(biases).for_each(|(value, bias)| *value += bias);
    }
}

/// Exchanges rows and columns: `values` has `columns` columns, and `out` as many rows.
pub(crate) fn transpose(out: &mut [f32], values: &[f32], columns: usize) {
    /// The side of the squares that are transposed in the cache.
    const SIDE: usize = 16;
    let rows = values.len() / columns;
    for first in (0..rows).step_by(SIDE) {
        for (column, out) in out.chunks_exact_mut(rows).enumerate() {
            let squares = values[first * columns + column..].iter().step_by(columns);
            out[first..].iter_mut().take(SIDE).zip(squares).for_each(|(out, value)| *out = *value);
        }
    }
}

/// A matrix with rows and columns exchanged. A product reads the rows of its right side in order; with a view of the
/// columns it would copy them at each call.
pub(crate) fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; matrix.len()];
    transpose(&mut out, matrix, columns);
    out
}

/// The affine maps of a gated linear unit, `value * factor + summand`, for the value and for the gate.
#[derive(Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) value: [f32; 2],
    pub(crate) gate: [f32; 2],
}

/// `out = value sigmoid(gate)`, both after their affine map: a gated linear unit of one channel.
pub(crate) fn glu(out: &mut [f32], values: &[f32], gates: &[f32], affine: Affine) {
    vectorised(
        #[inline(always)]
        || {
            for ((out, value), gate) in out.iter_mut().zip(values).zip(gates) {
                *out = (value * affine.value[0] + affine.value[1]) * sigmoid(gate * affine.gate[0] + affine.gate[1]);
            }
        },
    );
}

/// `out += scale value sigmoid(gate)`, both after their affine map.
pub(crate) fn add_glu(out: &mut [f32], values: &[f32], gates: &[f32], affine: Affine, scale: f32) {
    vectorised(
        #[inline(always)]
        || {
            for ((out, value), gate) in out.iter_mut().zip(values).zip(gates) {
                *out += scale
                    * (value * affine.value[0] + affine.value[1])
                    * sigmoid(gate * affine.gate[0] + affine.gate[1]);
            }
        },
    );
}

/// The same for rows that hold values and then gates, with an affine map for every column (factors, then summands).
pub(crate) fn add_glu_rows(out: &mut [f32], rows: &[f32], factors: &[f32], summands: &[f32], scales: &[f32]) {
    let channels = factors.len() / 2;
    let (value_factors, gate_factors) = factors.split_at(channels);
    let (value_summands, gate_summands) = summands.split_at(channels);
    vectorised(
        #[inline(always)]
        || {
            for (out, row) in out.chunks_exact_mut(channels).zip(rows.chunks_exact(2 * channels)) {
                let (values, gates) = row.split_at(channels);
                for channel in 0..channels {
                    let value = values[channel] * value_factors[channel] + value_summands[channel];
                    let gate = gates[channel] * gate_factors[channel] + gate_summands[channel];
                    out[channel] += scales[channel] * value * sigmoid(gate);
                }
            }
        },
    );
}

/// The exact (erf) GELU of an affine map, in place.
pub(crate) fn affine_gelu(values: &mut [f32], factor: f32, summand: f32) {
    vectorised(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value = gelu_of(*value * factor + summand)),
    );
}

/// The same with a map for every column.
pub(crate) fn affine_gelu_rows(values: &mut [f32], factors: &[f32], summands: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(factors.len()) {
                for ((value, factor), summand) in row.iter_mut().zip(factors).zip(summands) {
                    *value = gelu_of(*value * factor + summand);
                }
            }
        },
    );
}

/// Replaces each value by `e^(x - max)` and returns their sum: a softmax before the division.
pub(crate) fn exp_row(values: &mut [f32]) -> f32 {
    let mut total = 0.0;
    vectorised(
        #[inline(always)]
        || {
            let mut lanes = [f32::MIN; LANES];
            let (chunks, rest) = values.as_chunks::<LANES>();
            for chunk in chunks {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *lane = if *value > *lane { *value } else { *lane };
                }
            }
            let max = lanes.iter().chain(rest).copied().fold(f32::MIN, f32::max);
            values.iter_mut().for_each(|value| *value = exp(*value - max));
            total = sum_of(values);
        },
    );
    total
}

/// One step of a recurrent layer: `gates` holds the input, forget, cell and output gates.
pub(crate) fn lstm_cells(gates: &[f32], cells: &mut [f32], outputs: &mut [f32]) {
    let (admit, rest) = gates.split_at(cells.len());
    let (keep, rest) = rest.split_at(cells.len());
    let (new, release) = rest.split_at(cells.len());
    vectorised(
        #[inline(always)]
        || {
            let opened = admit.iter().zip(keep).zip(new).zip(release);
            for ((cell, output), (((admit, keep), new), release)) in
                cells.iter_mut().zip(outputs.iter_mut()).zip(opened)
            {
                *cell = sigmoid(*keep) * *cell + sigmoid(*admit) * tanh(*new);
                *output = sigmoid(*release) * tanh(*cell);
            }
        },
    );
}

/// Subtracts `rate * distance` from each value, where the distance is the number of places to `centre`.
pub(crate) fn fade(values: &mut [f32], centre: usize, rate: f32) {
    vectorised(
        #[inline(always)]
        || {
            let (before, after) = values.split_at_mut(centre);
            before.iter_mut().enumerate().for_each(|(at, value)| *value -= rate * (centre - at) as f32);
            after.iter_mut().enumerate().for_each(|(at, value)| *value -= rate * at as f32);
        },
    );
}

#[inline(always)]
fn sum_of(values: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().chain(rest).sum()
}

#[inline(always)]
fn squares_of(values: &[f32], mean: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += (value - mean) * (value - mean);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>()
}

/// The sum of the values, with partial sums of `piece` values in single precision.
pub(crate) fn sum(values: &[f32]) -> f64 {
    let mut total = 0.0;
    vectorised(
        #[inline(always)]
        || total = values.chunks(4096).map(|chunk| f64::from(sum_of(chunk))).sum(),
    );
    total
}

/// The sum of the squared differences from `mean`.
pub(crate) fn squares(values: &[f32], mean: f32) -> f64 {
    let mut total = 0.0;
    vectorised(
        #[inline(always)]
        || total = values.chunks(4096).map(|chunk| f64::from(squares_of(chunk, mean))).sum(),
    );
    total
}

/// Normalises each row to mean 0 and variance 1 (biased, with `eps` added) and applies weights and biases: PyTorch's
/// `LayerNorm`.
pub(crate) fn layer_norm(out: &mut [f32], values: &[f32], weights: &[f32], biases: &[f32], eps: f32) {
    let columns = weights.len();
    vectorised(
        #[inline(always)]
        || {
            for (out, row) in out.chunks_exact_mut(columns).zip(values.chunks_exact(columns)) {
                let mean = sum_of(row) / columns as f32;
                let factor = 1.0 / (squares_of(row, mean) / columns as f32 + eps).sqrt();
                for column in 0..columns {
                    out[column] = (row[column] - mean) * factor * weights[column] + biases[column];
                }
            }
        },
    );
}

/// `out += scales (values + biases)`, row by row.
pub(crate) fn add_scaled(out: &mut [f32], values: &[f32], biases: &[f32], scales: &[f32]) {
    let columns = biases.len();
    vectorised(
        #[inline(always)]
        || {
            for (out, row) in out.chunks_exact_mut(columns).zip(values.chunks_exact(columns)) {
                for column in 0..columns {
                    out[column] += scales[column] * (row[column] + biases[column]);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By its series, in double precision.
    fn exact_erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn approximations_are_as_close_as_they_say() {
        for step in -4000..4000 {
            let x = step as f32 / 1000.0;
            let wrong = f64::from(erf(x)) - exact_erf(f64::from(x));
            assert!(wrong.abs() < 1.2e-7, "erf({x}) is wrong by {wrong}");
        }
        for step in -870..880 {
            let x = step as f32 / 10.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() < 2.5e-7 * exact, "exp({x})");
        }
        assert!(exp(-1000.0) < 1e-37 && erf(100.0) == erf(4.0));
        for step in -20_000..20_000 {
            let x = step as f32 / 2000.0;
            let exact = f64::from(x).tanh();
            let wrong = (f64::from(tanh(x)) - exact).abs();
            assert!(wrong < 1.5e-7 && wrong <= 5e-7 * exact.abs(), "tanh({x}) is wrong by {wrong}");
        }
        assert!(tanh(-1000.0) == -1.0 && tanh(1e-30) == 1e-30);
    }

    #[test]
    fn a_softmax_sums_to_its_total() {
        let mut row: Vec<f32> = (0..37u8).map(|at| f32::from(at) - 90.0).collect();
        let total = exp_row(&mut row);
        assert!((total - row.iter().sum::<f32>()).abs() < 1e-5);
        assert_eq!(row[36], 1.0);
    }

    #[test]
    fn norms_have_no_mean_and_unit_variance() {
        let values: Vec<f32> = (0..50u8).map(|at| f32::from(at % 7) + 3.0).collect();
        let mut out = vec![0.0; 50];
        layer_norm(&mut out, &values, &[1.0; 50], &[0.0; 50], 0.0);
        assert!(sum(&out).abs() < 1e-4 && (squares(&out, 0.0) - 50.0).abs() < 1e-3);
    }
}
