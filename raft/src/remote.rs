//! Access to the cluster over QUIC for processes that hold its secret and are no member.

use std::time::Duration;

use net::{NodeId, Peer, PeerError, Protocol};
use uuid::Uuid;

use crate::consensus::Request;
use crate::error::{ClusterError, DEADLINE};
use crate::protocol::{ClusterCall, ForwardError};
use state::command::{Answer, Command, Refusal};

/// Added to the deadline, for the transport of an answer that the node gives at its own deadline.
const TRANSPORT_MARGIN: Duration = Duration::from_secs(1);

/// A proposal through [`Remote`] failed. It may still take effect.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The node could not be called.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The cluster could not complete the proposal.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// The cluster, for a process that is no member.
#[derive(Debug, Clone)]
pub struct Remote(Peer);

impl Remote {
    /// Calls over `peer`, whose id must be [`net::OPERATOR`].
    pub fn new(peer: Peer) -> Self {
        Self(peer)
    }

    /// Proposes a command through `node`, which forwards it to the leader.
    pub async fn propose(
        &self,
        node: NodeId,
        command: impl Into<Command>,
    ) -> Result<Result<Answer, Refusal>, RemoteError> {
        let call = ClusterCall::Propose(Box::new(Request { id: Uuid::new_v4(), command: command.into() }));
        let timeout = DEADLINE + TRANSPORT_MARGIN;
        let answer: Result<_, ForwardError> = self.0.call(node, Protocol::Cluster, &call, timeout).await?;
        Ok(answer.map_err(ClusterError::from)?)
    }
}
