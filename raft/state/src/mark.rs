//! What the cluster is called, and which commands it takes.
//!
//! A node that meets a command that it does not know would have to stop, and one that reads less out of a command than
//! the others would come to another state. So whatever is new in applying has a level, and takes effect only from the
//! moment on at which the cluster's state says that level. The leader raises it once every member has said that it
//! knows it. Until then a cluster in the middle of a rolling upgrade behaves as the older program does.

use serde::{Deserialize, Serialize};
use storage::codec;
use storage::database::{Batch, Table};
use uuid::Uuid;

use crate::{View, ViewError, keys};

/// The level that this program knows. 1: the first. 2: nodes join and leave, the cluster has a name. 3: see [`JOBS`].
/// 4: see [`OUTSIDE`]. 5: see [`ACCOUNTS`].
pub const LEVEL: u32 = 5;

/// The level from which on jobs have owners, priorities and limits, attempts say how they ended, a lost part counts as a
/// failure, and a job that is tried again gives its songs to another one that does the same.
pub const JOBS: u32 = 3;

/// The level from which on jobs may be done by workers outside of the cluster.
pub const OUTSIDE: u32 = 4;

/// The level from which on there are users, songs of their own, and an index of which songs are for whom.
pub const ACCOUNTS: u32 = 5;

/// The cluster's name and level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The random name, the same for ever. A restored backup is another cluster.
    pub cluster: Uuid,
    /// The level of the commands that it takes.
    pub level: u32,
}

/// The changes that make a restored state that of a new cluster: a new name, and all node ids free again.
pub fn new_cluster(view: &View, cluster: Uuid) -> Result<Batch, ViewError> {
    let level = view.mark()?.map_or(LEVEL, |mark| mark.level);
    let mut batch = Batch::new();
    for retired in view.retired()? {
        batch.delete(Table::State, view.key(&keys::retired(retired)));
    }
    batch.put(Table::State, view.key(&keys::mark()), codec::encode(&Mark { cluster, level })?);
    Ok(batch)
}
