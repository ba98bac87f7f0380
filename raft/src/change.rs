//! How the membership can change, and why it may not.

use net::NodeId;
use serde::{Deserialize, Serialize};

/// A change of the membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A node with an empty disk comes in.
    Join {
        /// Its number.
        node: NodeId,
        /// Where its QUIC endpoint listens.
        address: String,
        /// The member whose place it takes, which is dead or about to go.
        replaces: Option<NodeId>,
    },
    /// A member gets no more files, so that it can leave.
    Retire {
        /// Which.
        node: NodeId,
    },
    /// A member leaves.
    Leave {
        /// Which.
        node: NodeId,
    },
    /// A member is reached at another address from now on.
    Move {
        /// Which.
        node: NodeId,
        /// Where its QUIC endpoint listens.
        address: String,
    },
}

/// Why the membership was not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Obstacle {
    /// The number stands for another disk.
    #[error(
        "node {0} is a member with another disk; a new disk needs a new number (`join --replace {0}` gives it the old one's place)"
    )]
    Taken(NodeId),
    /// The node is on its way out.
    #[error(
        "node {0} was told to leave and is still a member; that cannot be taken back, since its number may be given up any \
         moment: finish it with `leave`, and let the machine in again with an empty folder under another number"
    )]
    Leaving(NodeId),
    /// The number was used.
    #[error("node {0} has left this cluster; its number is not used again, take another one")]
    Used(NodeId),
    /// Nobody can have this number.
    #[error("{0} cannot be a node's number")]
    NoNumber(NodeId),
    /// The node does not answer.
    #[error("node {node} does not answer at {address}; start it first, it waits until it is let in: {reason}")]
    Unreachable {
        /// Which.
        node: NodeId,
        /// Where it was asked.
        address: String,
        /// What went wrong.
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
        /// Which.
        node: NodeId,
        /// What it knows.
        level: u32,
        /// What the cluster takes.
        needed: u32,
    },
    /// The cluster is being upgraded.
    #[error("some members run an older program, or have not said yet which; try again when all run this version")]
    Upgrading,
    /// No such member.
    #[error("node {0} is no member of this cluster")]
    NoMember(NodeId),
    /// It is the only one.
    #[error("node {0} is the only member; there would be no cluster without it")]
    Last(NodeId),
    /// Too few would be left.
    #[error(
        "of the members that would be left only {alive} of {members} answer, which is no majority; nothing was changed"
    )]
    NoMajorityLeft {
        /// How many answer.
        alive: usize,
        /// How many there would be.
        members: usize,
    },
    /// One change at a time.
    #[error("another change of the membership is under way; try again when it is done")]
    Busy,
    /// Consensus refused.
    #[error("the membership cannot be changed: {0}")]
    Consensus(String),
}

impl Obstacle {
    /// Whether it may go away by itself in a moment.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Upgrading | Self::Busy)
    }
}
