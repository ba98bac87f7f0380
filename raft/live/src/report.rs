//! What a node reports about itself to the other nodes.

use std::collections::BTreeSet;

use net::NodeId;
use serde::{Deserialize, Serialize};
use state::TaskId;

/// A node's report about itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node.
    pub id: NodeId,
    /// The version of its program.
    pub version: String,
    /// `host:port` of its HTTP interface.
    pub http: String,
    /// The number of tasks that it can run at a time.
    pub slots: u32,
    /// Slots held by tasks that were aborted and have not ended.
    pub stuck: u32,
    /// The attempts that it runs: task and attempt number.
    pub working_on: Vec<(TaskId, u32)>,
    /// Tasks finished since the process started.
    pub tasks_done: u64,
    /// Files that it holds.
    pub blobs: u64,
    /// Their size in bytes.
    pub blob_bytes: u64,
    /// Bytes of files that it can still store, within its quota and the disk's reserve.
    pub free_bytes: u64,
    /// The most bytes of files that it may hold, if limited.
    pub quota_bytes: Option<u64>,
    /// Files found damaged since the process started.
    pub damaged: u64,
    /// Files with fewer replicas than a majority, as of the last count.
    pub short: u64,
    /// Those of them of which this node is to fetch a replica.
    pub missing: u64,
    /// The members whose files were counted; empty before the first count.
    pub copies_among: BTreeSet<NodeId>,
    /// Its background loops.
    pub loops: Vec<LoopStatus>,
}

/// The status of a background loop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopStatus {
    /// `repair`, `scrub` or `collect`.
    pub name: String,
    /// The current activity; `None` while it rests.
    pub doing: Option<String>,
    /// Progress of the activity, out of `total`.
    pub done: u64,
    /// The amount of work of the activity.
    pub total: u64,
    /// Bytes moved or read by the activity.
    pub bytes: u64,
    /// The last error, until a step succeeds.
    pub error: Option<String>,
}
