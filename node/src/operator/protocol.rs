//! What an operator asks of a node, over QUIC.

use std::collections::BTreeSet;

use live::{BrokerStatus, NodeStatus};
use net::NodeId;
use raft::archive::At;
use raft::{Change, Status};
use serde::{Deserialize, Serialize};

use crate::maintenance::OrderedRound;

/// A question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Call {
    /// How is the cluster?
    Overview,
    /// Change the membership.
    Change(Change),
    /// Write down the state and send it.
    Archive,
    /// Drop all running work, at every node.
    Reset,
    /// Read all your own files now.
    Scrub,
    /// How far is what was ordered with `Scrub`?
    Scrubbed,
}

/// The cluster as a node sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Overview {
    /// Where that node stands.
    pub status: Status,
    /// The members.
    pub nodes: Vec<NodeStatus>,
    /// The broker, if one is configured.
    pub broker: Option<BrokerStatus>,
    /// The number of tasks that wait for a worker.
    pub pending: u64,
    /// The number of tasks that run.
    pub running: u64,
    /// The feature level of the state; none before the cluster's first leader has set it.
    pub level: Option<u32>,
    /// The nodes that leave or have left.
    pub retired: BTreeSet<NodeId>,
}

/// Its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// So it is.
    Overview(Box<Overview>),
    /// It is done.
    Done,
    /// It is done, but these nodes did not answer.
    DoneBut(Vec<NodeId>),
    /// It is ordered, under this number.
    Ordered(u64),
    /// So far it is.
    Scrubbed(OrderedRound),
    /// It is not done.
    Refused {
        /// Why.
        reason: String,
        /// Whether it may be otherwise in a moment.
        soon: bool,
    },
    /// The state, whose bytes follow.
    Archive {
        /// How far it is.
        at: At,
        /// How many bytes follow.
        length: u64,
    },
}
