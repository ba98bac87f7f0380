//! The contents of a checkpoint, whatever its file format.

use std::collections::HashMap;

use candle_core::Tensor;
use serde_json::{Map, Value};

/// A model's class, the arguments that the class was made with, and its tensors.
pub(crate) struct Checkpoint {
    /// The Python class, with its module: `demucs.htdemucs.HTDemucs`.
    pub(crate) class: String,
    /// The arguments given by position.
    pub(crate) positional: Vec<Value>,
    /// The arguments given by name.
    pub(crate) named: Map<String, Value>,
    /// The tensors by their names in the class' `state_dict`.
    pub(crate) tensors: HashMap<String, Tensor>,
}
