//! Models that the cluster has: their checkpoints are files like any others, held by a majority and fetched by whoever
//! needs them.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use super::transaction::{Applied, refuse};
use super::{Read, Transaction, keys};
use crate::command::{Answer, Refusal};

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

/// Adds a model. The same one again, from another node perhaps, is no mistake.
pub(super) fn add(state: &mut Transaction, model: &Model) -> Applied<Answer> {
    if let Some(known) = state.value::<Model>(&keys::model(&model.name))? {
        let same = Model { added_at: known.added_at, ..model.clone() } == known;
        return Ok(if same { Ok(Answer::Done) } else { Err(Refusal::ModelTaken(model.name.clone())) });
    }
    state.put(keys::model(&model.name), model)?;
    Ok(Ok(Answer::Done))
}

pub(super) fn remove(state: &mut Transaction, name: &str) -> Applied<Answer> {
    if state.get(&keys::model(name))?.is_none() {
        refuse!(Refusal::NoSuchModel(name.into()));
    }
    state.delete(keys::model(name));
    Ok(Ok(Answer::Done))
}
