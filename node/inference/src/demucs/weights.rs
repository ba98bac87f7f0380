//! A checkpoint's tensors, taken one by one: each must be there in its shape, and none may be left over.

use std::collections::HashMap;

use candle_core::{DType, Tensor};

use super::ModelError;
use crate::kernels::pointwise;

/// A matrix with rows and columns exchanged. A product reads the rows of its right side as they are, and would turn a
/// view of its columns each time.
pub(super) fn turned(matrix: &[f32], columns: usize) -> Vec<f32> {
    let mut turned = vec![0.0; matrix.len()];
    pointwise::transpose(&mut turned, matrix, columns);
    turned
}

/// The tensors that are not taken yet.
pub(crate) struct Weights(HashMap<String, Tensor>);

impl Weights {
    pub(crate) fn new(tensors: HashMap<String, Tensor>) -> Self {
        Self(tensors)
    }

    /// Takes a tensor's numbers, row-major.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let tensor = self.0.remove(name).ok_or_else(|| ModelError::Missing(name.into()))?;
        if tensor.dims() != shape {
            return Err(ModelError::Misshapen {
                name: name.into(),
                found: tensor.dims().to_vec(),
                expected: shape.to_vec(),
            });
        }
        Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    /// Ends the taking.
    pub(crate) fn finish(self) -> Result<(), ModelError> {
        match self.0.keys().min() {
            None => Ok(()),
            Some(name) => Err(ModelError::LeftOver { name: name.clone(), count: self.0.len() }),
        }
    }
}
