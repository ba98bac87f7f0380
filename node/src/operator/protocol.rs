//! What an operator asks of a node, over QUIC.

use raft::archive::At;
use raft::{Change, Status};
use serde::{Deserialize, Serialize};
use storage::NodeId;
use web::api::cluster::{BrokerReport, NodeReport};

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
}

/// The cluster as a node sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Overview {
    /// Where that node stands.
    pub status: Status,
    /// What all nodes say of themselves.
    pub nodes: Vec<NodeReport>,
    /// The way tasks take to the workers.
    pub broker: BrokerReport,
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
