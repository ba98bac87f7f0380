//! The operator protocol: one call and its reply on a QUIC stream.
//!
//! Frames contain the names of variants and fields, so the command and the node must agree on them.

use std::collections::BTreeSet;

use live::{BrokerStatus, NodeStatus};
use net::NodeId;
use raft::archive::At;
use raft::{Change, Status};
use serde::{Deserialize, Serialize};

use crate::maintenance::ScrubProgress;

/// A call of the operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Return the status of the cluster: [`Reply::Overview`].
    Overview,
    /// Change the membership: [`Reply::Done`].
    Change(Change),
    /// Send the state: [`Reply::Archive`].
    Archive,
    /// Drop all running work at every node: [`Reply::DoneExcept`].
    Reset,
    /// Start a scrub of the called node: [`Reply::ScrubStarted`].
    Scrub,
    /// Return the progress of the last requested scrub: [`Reply::ScrubProgress`].
    ScrubProgress,
}

/// The status of the cluster as one node sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Overview {
    /// The node's view of Raft.
    pub status: Status,
    /// The status of all nodes.
    pub nodes: Vec<NodeStatus>,
    /// The broker, if one is configured.
    pub broker: Option<BrokerStatus>,
    /// The number of tasks that wait for a worker.
    pub pending: u64,
    /// The number of tasks that run.
    pub running: u64,
    /// The feature level of the state; none before the cluster's first leader has set it.
    pub level: Option<u32>,
    /// The nodes that are leaving or have left.
    pub retired: BTreeSet<NodeId>,
}

/// The reply to a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The status of the cluster.
    Overview(Box<Overview>),
    /// The call succeeded.
    Done,
    /// The call succeeded, but these nodes did not reply.
    DoneExcept(Vec<NodeId>),
    /// The scrub was requested, with this number.
    ScrubStarted(u64),
    /// The progress of the last requested scrub.
    ScrubProgress(ScrubProgress),
    /// The call failed.
    Refused {
        /// The reason, for people.
        reason: String,
        /// Whether the call may succeed if it is repeated soon.
        temporary: bool,
    },
    /// The state, whose bytes follow the reply.
    Archive {
        /// The log position of the state.
        at: At,
        /// The length of the state in bytes.
        length: u64,
    },
}
