//! Linear layers over tokens, `[tokens, channels]`.

use candle_core::{Result, Shape, Tensor};
use rayon::prelude::*;

use crate::checkpoint::{BuildError, Weights};
use crate::kernels::matrix::{Matrix, product};
use crate::kernels::op::unary;
use crate::kernels::pointwise;
use crate::kernels::pointwise::transposed;

/// The number of tokens per product: enough to be worth a pass over the weights.
pub(crate) const BLOCK: usize = 192;

/// A linear layer.
pub(crate) struct Linear {
    /// `[in, out]`.
    weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Linear {
    pub(crate) fn load(
        weights: &mut Weights,
        [weight, bias]: [&str; 2],
        shape: &[usize],
    ) -> std::result::Result<Self, BuildError> {
        let weight = weights.take(weight, shape)?;
        Ok(Self { weight: transposed(&weight, shape[1]), bias: weights.take(bias, &shape[..1])? })
    }

    /// Outputs `from..end` of the layer for `[tokens, in]`, without the bias.
    pub(crate) fn some(&self, out: &mut [f32], values: &[f32], [from, end]: [usize; 2]) {
        let outputs = self.bias.len();
        let inputs = self.weight.len() / outputs;
        let weight = Matrix::strided(&self.weight[from..], [inputs, end - from], [outputs, 1]);
        product(out, end - from, false, Matrix::new(values, values.len() / inputs, inputs), weight);
    }

    /// The outputs of the layer for `[tokens, in]`.
    pub(crate) fn all(&self, values: &[f32]) -> Vec<f32> {
        let outputs = self.bias.len();
        let inputs = self.weight.len() / outputs;
        let mut out = vec![0.0; values.len() / inputs * outputs];
        out.par_chunks_mut(BLOCK * outputs).zip(values.par_chunks(BLOCK * inputs)).for_each(|(out, values)| {
            self.some(out, values, [0, outputs]);
            pointwise::add_biases(out, &self.bias);
        });
        out
    }

    /// The outputs of the layer for a tensor of tokens.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        unary("linear", x, |input| {
            let (tokens, _) = input.shape.dims2()?;
            Ok((self.all(input.values), Shape::from((tokens, self.bias.len()))))
        })
    }
}
