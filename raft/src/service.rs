//! Answers the calls of other nodes and of operators about the cluster.

use net::{NodeId, OPERATOR, PeerError, ServeFuture, Service, Stream};

use crate::bootstrap::Identity;
use crate::cluster::Cluster;
use crate::protocol::{ClusterCall, ForwardError};

/// Answers [`ClusterCall`]s.
pub(crate) struct ClusterService {
    pub(crate) identity: Identity,
    /// `None` before this node's own Raft runs: then only introductions are answered.
    pub(crate) cluster: Option<Cluster>,
}

impl Service for ClusterService {
    fn serve(&self, from: NodeId, mut stream: Stream) -> ServeFuture {
        let (cluster, identity) = (self.cluster.clone(), self.identity.clone());
        Box::pin(async move {
            let call = stream.read_frame::<ClusterCall>().await?;
            let running = cluster.ok_or_else(|| PeerError::Refused("this node is starting".into()));
            match call {
                ClusterCall::Hello => stream.write_frame(&identity.introduce()).await?,
                ClusterCall::Propose(request) => {
                    // Nodes know the leader and retry there themselves; operators do not.
                    let answer = match from {
                        OPERATOR => running?.forward(*request).await.map_err(ForwardError::from),
                        _ => running?.write_as_leader(*request).await,
                    };
                    stream.write_frame(&answer).await?;
                }
                ClusterCall::ReadIndex => {
                    let answer = running?.read_index().await;
                    stream.write_frame(&answer).await?;
                }
                ClusterCall::Change(change) => {
                    let answer = running?.change_if_leader(change).await;
                    stream.write_frame(&answer).await?;
                }
            }
            stream.finish()
        })
    }
}
