//! The changes of the membership, and why one can fail.

use net::NodeId;
use serde::{Deserialize, Serialize};

/// A change of the membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Adds a node with an empty disk.
    Join {
        /// Its id, which no node of this cluster has used before.
        node: NodeId,
        /// Its QUIC address, as `host:port`.
        address: String,
        /// The member to remove when the new node has caught up; it may be dead.
        replaces: Option<NodeId>,
    },
    /// Prepares a member for leaving: it gets no more files.
    Retire {
        /// The member's id.
        node: NodeId,
    },
    /// Removes a member.
    Leave {
        /// The member's id.
        node: NodeId,
    },
    /// Changes the address of a member.
    Move {
        /// The member's id.
        node: NodeId,
        /// Its new QUIC address, as `host:port`.
        address: String,
    },
}

/// Why the membership was not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MembershipError {
    /// A member with this id has another disk.
    #[error(
        "node {0} is a member with another disk; a node with a new disk needs a new id: add it with \
         `join --replace {0}` to replace the old node"
    )]
    Taken(NodeId),
    /// The node is retired and still a member.
    #[error(
        "node {0} is leaving and is still a member; this cannot be taken back: complete it with `leave`, then join the \
         machine again with an empty folder under another id"
    )]
    Leaving(NodeId),
    /// A node with this id has left.
    #[error("node {0} has left this cluster; its id is not used again, choose another one")]
    Used(NodeId),
    /// The id is reserved.
    #[error("{0} cannot be the id of a node")]
    NoNumber(NodeId),
    /// The node does not answer.
    #[error("node {node} does not answer at {address}; start it first, it then waits until it is added: {reason}")]
    Unreachable {
        /// The node's id.
        node: NodeId,
        /// The address that was called.
        address: String,
        /// The error of the call.
        reason: String,
    },
    /// The node belongs to a cluster.
    #[error("node {0} has been in a cluster before; only a node with an empty data folder can join")]
    NotFresh(NodeId),
    /// The node's program is too old.
    #[error(
        "node {node} runs an older program (level {level}, the cluster is at {needed}); install this version there first"
    )]
    TooOld {
        /// The node's id.
        node: NodeId,
        /// The highest level that its program knows.
        level: u32,
        /// The level of the cluster.
        needed: u32,
    },
    /// The cluster is being upgraded.
    #[error("some members run an older program or do not answer; try again when all run this version")]
    Upgrading,
    /// The node is not a member.
    #[error("node {0} is no member of this cluster")]
    NoMember(NodeId),
    /// The node is the only voter.
    #[error("node {0} is the only member and cannot leave; without it there is no cluster")]
    Last(NodeId),
    /// Too few of the remaining members answer.
    #[error("only {alive} of the {members} remaining members answer, which is no majority; nothing was changed")]
    NoMajorityLeft {
        /// How many of the remaining voters answer.
        alive: usize,
        /// How many voters would remain.
        members: usize,
    },
    /// Another change is under way.
    #[error("another change of the membership is under way; try again when it is done")]
    Busy,
    /// Consensus or the state failed.
    #[error("the membership cannot be changed: {0}")]
    Consensus(String),
}

impl MembershipError {
    /// Whether a repetition may succeed a moment later without any action.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Upgrading | Self::Busy)
    }
}
