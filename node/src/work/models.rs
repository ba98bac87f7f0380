//! The models that this node's workers have in memory.
//!
//! A model that the cluster has is fetched from whichever peer holds its files and built once; the few used last stay.

use std::sync::Arc;

use audio::thread::{Panicked, at_low_priority};
use inference::models::{ModelsError, load};
use inference::{Separator, built_in};
use raft::Cluster;
use replication::{ShareError, Sharing};
use state::Model;
use state::ViewError;
use storage::blobs::Hash;
use tokio::sync::{Mutex, OnceCell};

/// How many built models stay. HTDemucs takes 170 MB, Hybrid Demucs 340.
const KEPT: usize = 2;

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    /// The cluster does not have it, or not any more.
    #[error("the cluster has no model {0:?}; `node model fetch` or `node model import` adds one")]
    Unknown(String),
    /// The state cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A file of it cannot be had.
    #[error("a file of the model {name} cannot be had: {source}")]
    File {
        /// Which.
        name: String,
        /// Why.
        source: ShareError,
    },
    /// Its files cannot be used.
    #[error(transparent)]
    Load(#[from] ModelsError),
    /// The thread broke down.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

type Key = (Vec<Hash>, u64);
type Slot = Arc<OnceCell<Arc<dyn Separator>>>;

/// See the module's page.
pub(crate) struct Models {
    cluster: Cluster,
    sharing: Sharing,
    /// By their files and segment, the one used last at the end.
    built: Mutex<Vec<(Key, Slot)>>,
}

impl Models {
    /// None is built yet.
    pub(crate) fn new(cluster: Cluster, sharing: Sharing) -> Self {
        Self { cluster, sharing, built: Mutex::new(Vec::new()) }
    }

    /// The model of this name, ready to separate.
    pub(crate) async fn of(&self, name: &str) -> Result<Arc<dyn Separator>, ModelError> {
        if let Some(separator) = built_in(name) {
            return Ok(separator);
        }
        let model = self.cluster.peek().model(name)?.ok_or_else(|| ModelError::Unknown(name.into()))?;
        let slot = self.slot(&model).await;
        Ok(Arc::clone(slot.get_or_try_init(|| self.build(model)).await?))
    }

    async fn slot(&self, model: &Model) -> Slot {
        let key: Key = (model.files.iter().map(|file| file.hash).collect(), model.segment);
        let mut built = self.built.lock().await;
        let slot = match built.iter().position(|(known, _)| *known == key) {
            Some(place) => built.remove(place).1,
            None => Slot::default(),
        };
        if built.len() >= KEPT {
            built.remove(0);
        }
        built.push((key, Arc::clone(&slot)));
        slot
    }

    async fn build(&self, model: Model) -> Result<Arc<dyn Separator>, ModelError> {
        let mut paths = Vec::new();
        for file in &model.files {
            let whole = self.sharing.whole(&file.hash).await;
            paths.push(whole.map_err(|source| ModelError::File { name: model.name.clone(), source })?);
        }
        tracing::info!(model = model.name, "loading the model");
        // Jobs were planned with the segment that the state has.
        let segment = usize::try_from(model.segment).ok();
        let built = move || load(&model.name, &paths, model.weights.as_deref(), segment);
        let separator = at_low_priority("model", built).await??;
        Ok(separator)
    }
}
