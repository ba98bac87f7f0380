//! The cluster from outside: whoever holds its secret and is no node of it proposes over QUIC.

use std::time::Duration;

use net::{NodeId, Peer, PeerError, Protocol};
use uuid::Uuid;

use crate::call::{Call, Miss};
use crate::cluster::{ClusterError, DEADLINE};
use crate::consensus::Request;
use state::command::{Answer, Command, Refusal};

/// For the answer of a node that has itself used up the whole deadline.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// A proposal from outside could not be carried through. It may still take effect.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The node could not be asked.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The cluster did not come to an answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// The cluster, as one reaches it who is no node.
#[derive(Debug, Clone)]
pub struct Remote(Peer);

impl Remote {
    /// Asks over `peer`, whose id must be [`net::OPERATOR`].
    pub fn new(peer: Peer) -> Self {
        Self(peer)
    }

    /// Asks `node` to have a command carried out; any node passes it on to whoever leads.
    pub async fn propose(
        &self,
        node: NodeId,
        command: impl Into<Command>,
    ) -> Result<Result<Answer, Refusal>, RemoteError> {
        let call = Call::Propose(Box::new(Request { id: Uuid::new_v4(), command: command.into() }));
        let patience = DEADLINE + ON_ITS_WAY;
        let answer: Result<_, Miss> = self.0.call(node, Protocol::Cluster, &call, patience).await?;
        Ok(answer.map_err(ClusterError::from)?)
    }
}
