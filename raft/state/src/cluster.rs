//! Commands on the cluster itself, and the start of a new cluster from a backup.

use crate::NodeId;
use serde::{Deserialize, Serialize};
use storage::database::{Batch, Table};
use uuid::Uuid;

use crate::command::answer::Answer;
use crate::command::apply::{Applied, Apply, DONE};
use crate::tables::{CLUSTER_META, RETIRED_NODES};
use crate::{ClusterMeta, FEATURE_LEVEL, Read, Transaction, View, ViewError};

/// Raises the feature level, which all members know; a cluster without a name gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetLevel {
    /// The new level. A lower one than the cluster's changes nothing.
    pub level: u32,
    /// The name for a cluster that has none.
    pub cluster: Uuid,
}

impl Apply for SetLevel {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Self { level, cluster } = *self;
        let meta = state.cluster_meta()?.unwrap_or(ClusterMeta { cluster, level });
        state.put(CLUSTER_META, (), &ClusterMeta { level: meta.level.max(level), ..meta })?;
        DONE
    }
}

/// Marks a node that is to leave: it gets no more files, and its number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetireNode {
    /// The node's number.
    pub node: NodeId,
}

impl Apply for RetireNode {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        state.put(RETIRED_NODES, self.node, &self.node)?;
        DONE
    }
}

/// The changes that turn a restored state into that of a new cluster: it gets a new name, and all node numbers are free
/// again.
pub fn new_cluster(view: &View, cluster: Uuid) -> Result<Batch, ViewError> {
    let level = view.cluster_meta()?.map_or(FEATURE_LEVEL, |meta| meta.level);
    let mut batch = Batch::new();
    for retired in view.retired()? {
        batch.delete(Table::State, view.key(&RETIRED_NODES.key(retired)));
    }
    batch.put(Table::State, view.key(&CLUSTER_META.key(())), codec::encode(&ClusterMeta { cluster, level })?);
    Ok(batch)
}
