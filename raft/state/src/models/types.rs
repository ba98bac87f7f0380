//! Models and their files.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

/// A model, with everything that is needed to plan a job with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its name, by which jobs choose it.
    pub name: String,
    /// Its checkpoints.
    pub files: Vec<ModelFile>,
    /// The weight of each checkpoint (rows) in each stem (columns); if there are none, all checkpoints count alike.
    pub weights: Option<Vec<Vec<f32>>>,
    /// The names of the stems that it makes.
    pub sources: Vec<String>,
    /// The length of its window, in frames.
    pub segment: u64,
    /// The distance from the start of one window to the start of the next, in frames.
    pub stride: u64,
    /// The time at which it was added, in milliseconds since 1970.
    pub added_at: u64,
}

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Its name at its source.
    pub name: String,
    /// The file.
    pub hash: Hash,
    /// Its length in bytes.
    pub size: u64,
}
