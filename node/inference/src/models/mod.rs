//! Models: which were released, which a folder holds, and how files become a separator.

mod bag;
mod catalogue;
mod library;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::demucs::{CheckpointError, Demucs};
use crate::separator::Separator;
use audio::RATE;
use bag::Bag;
pub use catalogue::{OFFICIAL, RELEASED, Released};
pub use library::{Kept, Library, LibraryError, State, checksum_in, checksum_of};

/// What a model is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The names of its checkpoints.
    pub files: Vec<String>,
    /// How much each checkpoint counts (rows) for each stem (columns); without it, all count alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<Vec<f32>>>,
    /// How many seconds are separated at a time, if not what the checkpoints say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<f64>,
}

impl Manifest {
    /// How many frames are separated at a time, if not what the checkpoints say.
    pub fn segment_frames(&self) -> Option<usize> {
        self.segment.map(|seconds| (seconds * f64::from(RATE)) as usize)
    }
}

/// A model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// A checkpoint of it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Its checkpoints do not go together.
    #[error("the model {name} does not fit together: {reason}")]
    Bag {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Builds a model from its checkpoints, which lie at `paths` in the manifest's order, with the manifest's weights and
/// its segment in frames.
pub fn load(
    name: &str,
    paths: &[PathBuf],
    weights: Option<&[Vec<f32>]>,
    segment: Option<usize>,
) -> Result<Arc<dyn Separator>, ModelsError> {
    let networks = paths.iter().map(|path| Demucs::load(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Bag::new(name, networks, weights, segment)?))
}

/// Whether a name can be a model's: a file name without surprises.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'))
}

fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str()).filter(|kind| matches!(*kind, "th" | "safetensors"))
}
