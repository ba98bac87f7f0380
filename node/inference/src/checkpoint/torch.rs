//! PyTorch's checkpoints: a zip archive with a pickle and a file for each tensor's numbers.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use candle_core::{Device, Tensor};
use serde_json::Value;
use zip::ZipArchive;

use super::contents::Checkpoint;
use super::pickle::{self, Object, PickleError, TensorView};

/// The largest pickle, in bytes. A model's names and sizes take some hundred kB.
const MAX_PICKLE: u64 = 64 << 20;

/// A PyTorch checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    /// The archive is damaged.
    #[error("the archive is damaged or cut off: {0}")]
    Archive(String),
    /// The archive has no pickle.
    #[error("the archive holds no data.pkl")]
    NoPickle,
    /// The pickle is damaged or is not plain data.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A part of the checkpoint is missing.
    #[error("it has no {0}")]
    Without(&'static str),
    /// The weights are quantized.
    #[error("it holds a quantized model; use the model that is not quantized")]
    Quantized,
    /// A tensor's numbers cannot be read.
    #[error("the tensor {name}: {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads a checkpoint: a table of `klass`, `args`, `kwargs` and `state`.
pub(super) fn read(bytes: &[u8]) -> Result<Checkpoint, TorchError> {
    let mut archive = Archive::open(bytes)?;
    let Object::Table(package) = pickle::read(&archive.pickle()?)? else {
        return Err(TorchError::Without("table of a model"));
    };
    let mut parts: HashMap<String, Object> = package
        .into_iter()
        .filter_map(|(key, value)| if let Object::Text(key) = key { Some((key, value)) } else { None })
        .collect();
    let class = match parts.remove("klass") {
        Some(Object::Name(name)) => name,
        _ => return Err(TorchError::Without("class (klass)")),
    };
    let positional = match parts.remove("args").map(|args| args.json()) {
        Some(Some(Value::Array(args))) => args,
        _ => return Err(TorchError::Without("arguments (args)")),
    };
    let named = match parts.remove("kwargs").map(|args| args.json()) {
        Some(Some(Value::Object(args))) => args,
        _ => return Err(TorchError::Without("arguments (kwargs)")),
    };
    let Some(Object::Table(state)) = parts.remove("state") else {
        return Err(TorchError::Without("weights (state)"));
    };
    let mut tensors = HashMap::new();
    for (name, value) in state {
        match (name, value) {
            (Object::Text(name), Object::Tensor(view)) => {
                let tensor =
                    archive.tensor(&view).map_err(|reason| TorchError::Tensor { name: name.clone(), reason })?;
                tensors.insert(name, tensor);
            }
            (Object::Text(name), _) if name == "__quantized" => return Err(TorchError::Quantized),
            _ => return Err(TorchError::Without("plain table of weights (state)")),
        }
    }
    Ok(Checkpoint { class, positional, named, tensors })
}

struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// The folder that holds everything, with its slash.
    folder: String,
    /// How many bytes of numbers may still be read. Entries are stored uncompressed, so only several views of the same
    /// numbers could add up to more than the file.
    left: usize,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, TorchError> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        let mut names = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned()));
        let pickle = names.find(|name| name.ends_with("/data.pkl")).ok_or(TorchError::NoPickle)?;
        drop(names);
        Ok(Self { zip, folder: pickle.trim_end_matches("data.pkl").to_owned(), left: bytes.len() })
    }

    fn pickle(&mut self) -> Result<Vec<u8>, TorchError> {
        let file = self.zip.by_name(&format!("{}data.pkl", self.folder)).map_err(damaged)?;
        let mut program = Vec::new();
        file.take(MAX_PICKLE).read_to_end(&mut program).map_err(damaged)?;
        Ok(program)
    }

    /// Reads a tensor's numbers; the error says what is wrong with them.
    fn tensor(&mut self, view: &TensorView) -> Result<Tensor, String> {
        let TensorView { dtype, file, offset, shape, strides } = view;
        let size = dtype.size_in_bytes();
        let count = shape.iter().try_fold(1usize, |count, side| count.checked_mul(*side)).ok_or("it is too large")?;
        let mut expected = 1;
        for (side, stride) in shape.iter().zip(strides).rev() {
            if *side != 1 && *stride != expected {
                return Err("its numbers are not in row-major order".into());
            }
            expected *= side;
        }
        let file = self.zip.by_name(&format!("{}data/{file}", self.folder)).map_err(|error| error.to_string())?;
        let start = offset.checked_mul(size).ok_or("it is too large")?;
        let end = count.checked_mul(size).and_then(|length| length.checked_add(start)).ok_or("it is too large")?;
        if (end as u64) > file.size() {
            return Err(format!("it needs {end} bytes of a file of {}", file.size()));
        }
        self.left = self.left.checked_sub(end).ok_or("the tensors hold more than the file")?;
        let mut bytes = Vec::with_capacity(end);
        file.take(end as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let bytes = bytes.get(start..end).ok_or("its file is cut off")?;
        Tensor::from_raw_buffer(bytes, *dtype, shape, &Device::Cpu).map_err(|error| error.to_string())
    }
}

fn damaged(error: impl std::fmt::Display) -> TorchError {
    TorchError::Archive(error.to_string())
}
