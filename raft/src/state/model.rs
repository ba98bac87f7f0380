//! Models that the cluster has: their checkpoints are files like any others, held by a majority and fetched by whoever
//! needs them.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

/// A model and what planning a job with it needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its name, by which jobs choose it.
    pub name: String,
    /// Its checkpoints.
    pub files: Vec<ModelFile>,
    /// How much each checkpoint counts (rows) for each stem (columns); without it, all count alike.
    pub weights: Option<Vec<Vec<f32>>>,
    /// The stems that it makes.
    pub sources: Vec<String>,
    /// Its window, in frames.
    pub segment: u64,
    /// From one window's start to the next, in frames.
    pub stride: u64,
    /// When it was added, in milliseconds since 1970.
    pub added_at: u64,
}

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// What it is called where it comes from.
    pub name: String,
    /// The file.
    pub hash: Hash,
    /// Its length in bytes.
    pub size: u64,
}
