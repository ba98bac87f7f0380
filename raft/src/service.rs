//! Answers what other nodes ask about the cluster.

use net::{NodeId, OPERATOR, PeerError, ServeFuture, Service, Stream};

use crate::bootstrap::Introducer;
use crate::call::{Call, Miss};
use crate::cluster::Cluster;

/// Answers introductions while the node's own Raft does not run yet.
pub(crate) struct Greeter(pub(crate) Introducer);

impl Service for Greeter {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        let introducer = self.0.clone();
        Box::pin(async move {
            match stream.read_frame::<Call>().await? {
                Call::Hello => stream.write_frame(&introducer.introduce()).await?,
                Call::Propose(_) | Call::ReadIndex | Call::Change(_) => {
                    return Err(PeerError::Refused("this node is starting".into()));
                }
            }
            stream.finish()
        })
    }
}

/// Answers the other nodes.
pub(crate) struct ClusterService {
    pub(crate) cluster: Cluster,
    pub(crate) introducer: Introducer,
}

impl Service for ClusterService {
    fn serve(&self, from: NodeId, mut stream: Stream) -> ServeFuture {
        let (cluster, introducer) = (self.cluster.clone(), self.introducer.clone());
        Box::pin(async move {
            match stream.read_frame::<Call>().await? {
                Call::Hello => stream.write_frame(&introducer.introduce()).await?,
                Call::Propose(request) => {
                    // A node knows itself who leads, and asks again elsewhere; whoever comes from outside does not.
                    let answer = match from {
                        OPERATOR => cluster.carry(*request).await.map_err(Miss::from),
                        _ => cluster.write(*request).await,
                    };
                    stream.write_frame(&answer).await?;
                }
                Call::ReadIndex => {
                    let answer = cluster.read_index().await;
                    stream.write_frame(&answer).await?;
                }
                Call::Change(change) => {
                    let answer = cluster.change_if_leader(change).await;
                    stream.write_frame(&answer).await?;
                }
            }
            stream.finish()
        })
    }
}
