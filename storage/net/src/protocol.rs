//! The protocols between nodes, and which nodes may use them.

use crate::{NodeId, OPERATOR};

/// What a connection is used for. TLS negotiates it by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Raft messages.
    Raft,
    /// Proposals, reads, and requests to join the cluster.
    Cluster,
    /// Transfers of blobs.
    Blobs,
    /// Live, unreplicated state.
    Live,
    /// Tasks.
    Work,
    /// Requests of the operator's command line.
    Operator,
}

impl Protocol {
    pub(crate) const ALL: [Self; 6] = [Self::Raft, Self::Cluster, Self::Blobs, Self::Live, Self::Work, Self::Operator];

    /// The value of the label `protocol` in metrics.
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

    /// The ALPN protocol id (RFC 7301).
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

    /// Whether its connections run on the consensus runtime.
    pub(crate) fn uses_consensus_runtime(self) -> bool {
        matches!(self, Self::Raft | Self::Cluster)
    }

    /// Whether node `from` may use it. Nodes that are not members may only ask to join. The operator may use the
    /// operator protocol, make proposals, and fetch blobs.
    pub(crate) fn is_open_to(self, from: NodeId, is_member: bool) -> bool {
        match self {
            Self::Cluster => true,
            Self::Operator => from == OPERATOR,
            Self::Blobs => is_member || from == OPERATOR,
            Self::Raft | Self::Live | Self::Work => is_member,
        }
    }
}
