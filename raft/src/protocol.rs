//! The calls that nodes make to each other about the cluster, over QUIC.

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::consensus::Request;
use crate::error::ClusterError;

/// A call to another node about the cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ClusterCall {
    /// Asks any node for its [`Introduction`](crate::bootstrap::Introduction).
    Hello,
    /// Asks the leader to write a request to the log.
    Propose(Box<Request>),
    /// Asks the leader for the index that a linearizable read must wait for.
    ReadIndex,
    /// Asks the leader to change the membership.
    Change(Change),
}

/// Why the called node did not do what only the leader can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForwardError {
    NotLeader,
    NoMajority,
    Timeout,
}

impl From<ClusterError> for ForwardError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::NoMajority => Self::NoMajority,
            ClusterError::Timeout => Self::Timeout,
            ClusterError::Stopped => Self::NotLeader,
        }
    }
}

impl From<ForwardError> for ClusterError {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::NoMajority => Self::NoMajority,
            ForwardError::Timeout => Self::Timeout,
            ForwardError::NotLeader => Self::Stopped,
        }
    }
}
