//! A checkpoint's tensors, taken one by one: each must be there in its shape, and none may be left over.

use std::collections::HashMap;

use candle_core::{DType, Tensor};

/// A network cannot be built from a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration contradicts itself.
    #[error("its configuration is invalid: {0}")]
    Config(String),
    /// The configuration needs a feature that is not implemented.
    #[error("its configuration needs {0}, which is not supported")]
    Unsupported(String),
    /// The network has a segment of another, fixed length, or the length is out of range.
    #[error("its segments of {own} frames cannot be made {asked} frames long")]
    Segment {
        /// The checkpoint's own length, in frames.
        own: usize,
        /// The length that the manifest asks for, in frames.
        asked: usize,
    },
    /// A tensor is missing.
    #[error("the tensor {0} is missing")]
    Missing(String),
    /// A tensor has another shape.
    #[error("the tensor {name} has the shape {found:?} instead of {expected:?}")]
    Misshapen {
        /// The tensor.
        name: String,
        /// Its shape in the checkpoint.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// There are tensors that the network does not use.
    #[error("{count} tensors are not part of this network, {name} among them")]
    LeftOver {
        /// The first of them, by name.
        name: String,
        /// Their number.
        count: usize,
    },
    /// The tensors cannot be read.
    #[error("its tensors cannot be read: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// The tensors that are not taken yet.
pub(crate) struct Weights(HashMap<String, Tensor>);

impl Weights {
    pub(crate) fn new(tensors: HashMap<String, Tensor>) -> Self {
        Self(tensors)
    }

    /// Takes a tensor's numbers, row-major.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, BuildError> {
        let tensor = self.0.remove(name).ok_or_else(|| BuildError::Missing(name.into()))?;
        if tensor.dims() != shape {
            return Err(BuildError::Misshapen {
                name: name.into(),
                found: tensor.dims().to_vec(),
                expected: shape.to_vec(),
            });
        }
        Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    /// Fails if a tensor was not taken.
    pub(crate) fn finish(self) -> Result<(), BuildError> {
        match self.0.keys().min() {
            None => Ok(()),
            Some(name) => Err(BuildError::LeftOver { name: name.clone(), count: self.0.len() }),
        }
    }
}
