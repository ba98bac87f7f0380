//! Checkpoint files: `.th`, PyTorch's zip archive with a pickle in it, and safetensors with the class and its arguments
//! in the header.
//!
//! Both formats give the same `Checkpoint`: a class, its arguments, and named tensors. No code in a file is run.

mod contents;
mod pickle;
mod safetensors;
mod torch;
mod weights;

use std::path::{Path, PathBuf};

pub(crate) use contents::Checkpoint;
pub use pickle::PickleError;
pub use torch::TorchError;
pub use weights::BuildError;
pub(crate) use weights::Weights;

/// A checkpoint file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk failed, or there is no such file.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The checkpoint.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not a safetensors file with a model's header.
    #[error("{path} is not a valid safetensors checkpoint: {reason}")]
    Safetensors {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is not a PyTorch checkpoint of plain data.
    #[error("{path} is not a valid PyTorch checkpoint: {source}")]
    Torch {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        source: TorchError,
    },
}

/// Reads a checkpoint. A file that begins like a zip archive is read as PyTorch's format, any other as safetensors.
pub(crate) fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
    if bytes.starts_with(b"PK") {
        torch::read(&bytes).map_err(|source| CheckpointError::Torch { path: path.into(), source })
    } else {
        safetensors::read(&bytes).map_err(|reason| CheckpointError::Safetensors { path: path.into(), reason })
    }
}
