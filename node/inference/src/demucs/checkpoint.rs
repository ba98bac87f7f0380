//! Checkpoints as people have them: `.th`, PyTorch's zip with a pickle in it, and safetensors with the class and its
//! arguments in the header (as `demucs` 4.1 writes it).
//!
//! Both come to the same: the class' name, its arguments, and named tensors. Nothing in a file is ever run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde_json::{Map, Value};

use super::torch::{self, TorchError};
use super::{Class, Demucs, ModelError};

/// The classes that can be built.
const CLASSES: [(&str, Class); 2] =
    [("demucs.htdemucs.HTDemucs", Class::HtDemucs), ("demucs.hdemucs.HDemucs", Class::HDemucs)];
/// The names of its arguments that may be given by place.
const PLACES: [&str; 1] = ["sources"];

/// A checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk failed, or there is no such file.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file's format.
    #[error("{path} is no sound safetensors file: {reason}")]
    Safetensors {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file's format.
    #[error("{path} is no checkpoint of PyTorch that can be used: {source}")]
    Torch {
        /// Which.
        path: PathBuf,
        /// Why.
        source: TorchError,
    },
    /// Another architecture.
    #[error("{path} holds a model of the class {class}; {} or {} can be used here", CLASSES[0].0, CLASSES[1].0)]
    Class {
        /// Which.
        path: PathBuf,
        /// Its class.
        class: String,
    },
    /// The model cannot be built.
    #[error("{path} does not fit: {source}")]
    Model {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ModelError,
    },
}

/// What a checkpoint says.
pub(crate) struct Checkpoint {
    pub(crate) class: String,
    pub(crate) positional: Vec<Value>,
    pub(crate) named: Map<String, Value>,
    pub(crate) tensors: HashMap<String, Tensor>,
}

impl Demucs {
    /// Reads a checkpoint and builds its model. A file that begins as a zip does is taken for PyTorch's.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let told = |source| CheckpointError::Io { path: path.into(), source };
        let bytes = std::fs::read(path).map_err(told)?;
        let checkpoint = if bytes.starts_with(b"PK") {
            torch::read(&bytes).map_err(|source| CheckpointError::Torch { path: path.into(), source })?
        } else {
            safetensors(&bytes).map_err(|reason| CheckpointError::Safetensors { path: path.into(), reason })?
        };
        drop(bytes);
        let Some((_, class)) = CLASSES.iter().find(|(name, _)| *name == checkpoint.class) else {
            return Err(CheckpointError::Class { path: path.into(), class: checkpoint.class });
        };
        let mut arguments = checkpoint.named;
        for (place, value) in checkpoint.positional.into_iter().enumerate() {
            let name = PLACES.get(place).map_or_else(|| format!("argument {place}"), |name| (*name).into());
            arguments.insert(name, value);
        }
        Self::new(*class, &arguments, checkpoint.tensors)
            .map_err(|source| CheckpointError::Model { path: path.into(), source })
    }
}

pub(super) fn safetensors(bytes: &[u8]) -> Result<Checkpoint, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| told(&error))?;
    let notes = header.metadata().clone().unwrap_or_default();
    let note = |name: &str| {
        notes.get(name).ok_or(format!("its header does not say the model's {name}; it was not written by Demucs"))
    };
    let json = |name: &str| serde_json::from_str::<Value>(note(name)?).map_err(|error| format!("{name}: {error}"));
    if notes.contains_key("structure") {
        return Err("it holds a quantized model; use the one that is not".into());
    }
    let (Value::Array(positional), Value::Object(named)) = (json("args")?, json("kwargs")?) else {
        return Err("its arguments are not a list and a table".into());
    };
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|error| told(&error))?;
    Ok(Checkpoint { class: note("klass")?.clone(), positional, named, tensors })
}
