//! What connections are for, and who may ask what.

use crate::NodeId;
use crate::OPERATOR;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Consensus.
    Raft,
    /// Proposals, reads and introductions.
    Cluster,
    /// Files.
    Blobs,
    /// Live, unreplicated state.
    Live,
    /// Tasks.
    Work,
    /// What the cluster's operator asks of a node.
    Operator,
}

impl Protocol {
    pub(crate) const ALL: [Self; 6] = [Self::Raft, Self::Cluster, Self::Blobs, Self::Live, Self::Work, Self::Operator];

    /// Its name among the metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Cluster => "cluster",
            Self::Blobs => "blobs",
            Self::Live => "live",
            Self::Work => "work",
            Self::Operator => "operator",
        }
    }

    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Raft => b"quartet/raft/1",
            Self::Cluster => b"quartet/cluster/1",
            Self::Blobs => b"quartet/blobs/1",
            Self::Live => b"quartet/live/1",
            Self::Work => b"quartet/work/1",
            Self::Operator => b"quartet/operator/1",
        }
    }

    /// Whether it is on the swift runtime.
    pub(crate) fn uses_consensus_runtime(self) -> bool {
        matches!(self, Self::Raft | Self::Cluster)
    }

    /// Whether `from` may ask this. A node that is no member may introduce itself and ask to be let in, no more; the
    /// operator may ask what is meant for operators, make proposals, and fetch files.
    pub(crate) fn open_to(self, from: NodeId, is_member: bool) -> bool {
        match self {
            Self::Cluster => true,
            Self::Operator => from == OPERATOR,
            Self::Blobs => is_member || from == OPERATOR,
            Self::Raft | Self::Live | Self::Work => is_member,
        }
    }
}
