//! The models that this node has in memory.
//!
//! A model of the cluster is fetched from a node that has its files and loaded once. The models used last stay.

use std::sync::Arc;

use audio::thread::{Panicked, at_low_priority};
use inference::models::{LoadError, ModelSpec, load};
use inference::{Separator, built_in};
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use raft::Cluster;
use replication::{Replication, ReplicationError};
use state::{Model, ViewError};
use storage::blobs::Hash;

/// The number of loaded models that stay in memory. HTDemucs takes 170 MB, Hybrid Demucs 340 MB.
const MODELS_KEPT: u64 = 2;

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    /// The cluster does not have the model, or no longer.
    #[error("the cluster has no model {0:?}; add one by `node model fetch` or `node model import`")]
    Unknown(String),
    /// The state cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A file of the model is not available.
    #[error("cannot get a file of the model {name}: {source}")]
    File {
        /// The model.
        name: String,
        /// The cause.
        source: ReplicationError,
    },
    /// The files are not a valid model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The loading thread panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// The hashes of a model's files, and its segment in samples.
type Key = (Vec<Hash>, u64);

/// The models that this node has in memory.
pub(crate) struct Models {
    cluster: Cluster,
    replication: Replication,
    loaded: Cache<Key, Arc<dyn Separator>>,
}

impl Models {
    pub(crate) fn new(cluster: Cluster, replication: Replication) -> Self {
        let loaded = Cache::builder().max_capacity(MODELS_KEPT).eviction_policy(EvictionPolicy::lru()).build();
        Self { cluster, replication, loaded }
    }

    /// The model `name`, ready to separate.
    pub(crate) async fn get(&self, name: &str) -> Result<Arc<dyn Separator>, Arc<ModelError>> {
        if let Some(separator) = built_in(name) {
            return Ok(separator);
        }
        let model = self.cluster.peek().model(name).map_err(ModelError::from)?;
        let model = model.ok_or_else(|| ModelError::Unknown(name.into()))?;
        let key: Key = (model.files.iter().map(|file| file.hash).collect(), model.segment);
        let separator = self.loaded.try_get_with(key, self.load(model)).await?;
        // Evicts a model beyond the capacity now rather than at some later access.
        self.loaded.run_pending_tasks().await;
        Ok(separator)
    }

    async fn load(&self, model: Model) -> Result<Arc<dyn Separator>, ModelError> {
        let mut paths = Vec::new();
        for file in &model.files {
            let whole = self.replication.fetch_verified(&file.hash).await;
            paths.push(whole.map_err(|source| ModelError::File { name: model.name.clone(), source })?);
        }
        tracing::info!(model = model.name, "loading the model");
        // Jobs were planned with the segment in the state.
        let segment = usize::try_from(model.segment).ok();
        let load_model = move || {
            let (name, weights) = (model.name.as_str(), model.weights.as_deref());
            Ok(load(&ModelSpec { name, architecture: None, checkpoints: &paths, weights, segment })?)
        };
        at_low_priority("model", load_model).await?
    }
}
