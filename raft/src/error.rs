//! Errors of starting a node and of using the cluster.

use std::time::Duration;

use codec::CodecError;
use net::NodeId;
use storage::database::DatabaseError;

/// How long a proposal or a read may take before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(8);

/// A proposal or a read failed. A failed proposal may still take effect.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// Too few nodes reach each other.
    #[error("no majority of the nodes can be reached; try again when more of them run")]
    NoMajority,
    /// The cluster did not answer before the deadline.
    #[error("the cluster did not answer within {} seconds; try again", DEADLINE.as_secs())]
    Timeout,
    /// This node is stopping.
    #[error("this node is stopping; ask another one")]
    Stopped,
}

/// The node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The identity of the disk cannot be decoded.
    #[error("the node's identity on the disk cannot be read: {0}")]
    Wire(#[from] CodecError),
    /// The data folder belongs to another node.
    #[error(
        "this data folder belongs to node {owner}, not to node {node}; start it with --id {owner}, or name another folder"
    )]
    AnothersDisk {
        /// The id of this process.
        node: NodeId,
        /// The node id that the folder was created with.
        owner: NodeId,
    },
    /// The member's disk was replaced or emptied.
    #[error(
        "node {0} is a member of this cluster with another disk. A node that lost its disk also lost its vote and must \
         not return under its old id: restore the old data folder, or give this machine a new id in cluster.toml, start \
         it, and add it with `node --id NEW --cluster cluster.toml join --replace {0}`"
    )]
    WipedDisk(NodeId),
    /// This node was removed from its cluster.
    #[error(
        "node {0} has left its cluster, and its data folder has no further use: remove it. To bring this machine back, \
         give it an id that was never used, start it, and add it with `node --id NEW --cluster cluster.toml join`"
    )]
    Left(NodeId),
    /// Another node with this id was removed from the cluster.
    #[error("a node {0} has left this cluster before, and ids are not used again: give this machine another id")]
    Used(NodeId),
    /// A newer program wrote the state.
    #[error("a newer version wrote the data folder (feature level {found}, this one knows {known}); start that one")]
    TooNew {
        /// The state's feature level.
        found: u32,
        /// The highest feature level that this version knows.
        known: u32,
    },
    /// openraft or its storage failed.
    #[error("consensus cannot start: {0}")]
    Consensus(String),
}
