//! A node's answers to its operator.

use std::sync::Arc;

use net::peer::{Peer, PeerError, ServeFuture, Service, Stream};
use raft::Cluster;
use storage::NodeId;
use tokio::io::AsyncWriteExt;
use web::Nodes;

use super::protocol::{Call, Overview, Reply};
use crate::reports::Reports;
use crate::upkeep::Scrubs;
use crate::work::broker::Broker;
use crate::work::reset::Reset;

/// Answers the operator.
pub(crate) struct OperatorService {
    /// The cluster.
    pub cluster: Cluster,
    /// The other nodes.
    pub peer: Peer,
    /// What the nodes say of themselves.
    pub reports: Arc<Reports>,
    /// Drops running work.
    pub reset: Arc<Reset>,
    /// The broker, if there is one.
    pub broker: Option<Broker>,
    /// Has this node's files read.
    pub scrubs: Scrubs,
}

impl Service for OperatorService {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        let (cluster, reports) = (self.cluster.clone(), Arc::clone(&self.reports));
        let (peer, reset, broker) = (self.peer.clone(), Arc::clone(&self.reset), self.broker.clone());
        let scrubs = self.scrubs.clone();
        Box::pin(async move {
            match stream.read_frame::<Call>().await? {
                Call::Overview => {
                    let status = cluster.status();
                    let view = cluster.peek();
                    // The reports count the open tasks, which asks the disk.
                    let seen = tokio::task::spawn_blocking(move || {
                        let level = view.mark().ok().flatten().map(|mark| mark.level);
                        let retired = view.retired().unwrap_or_default();
                        Overview { status, nodes: reports.overview(), broker: reports.broker(), level, retired }
                    });
                    let overview = seen.await.map_err(|error| PeerError::Refused(error.to_string()))?;
                    stream.write_frame(&Reply::Overview(Box::new(overview))).await?;
                }
                Call::Change(change) => {
                    tracing::info!(?change, "the operator changes the membership");
                    let reply = match cluster.change(change).await {
                        Ok(Ok(())) => Reply::Done,
                        Ok(Err(obstacle)) => Reply::Refused { reason: obstacle.to_string(), soon: obstacle.may_pass() },
                        Err(error) => refused(&error),
                    };
                    stream.write_frame(&reply).await?;
                }
                Call::Reset => {
                    let silent = reset.everywhere(&peer, broker.as_ref()).await;
                    stream.write_frame(&Reply::DoneBut(silent)).await?;
                }
                Call::Scrub => stream.write_frame(&Reply::Ordered(scrubs.order())).await?,
                Call::Scrubbed => stream.write_frame(&Reply::Scrubbed(scrubs.round())).await?,
                Call::Archive => send_archive(&cluster, &mut stream).await?,
            }
            stream.finish()
        })
    }
}

fn refused(error: &dyn std::fmt::Display) -> Reply {
    Reply::Refused { reason: error.to_string(), soon: false }
}

async fn send_archive(cluster: &Cluster, stream: &mut Stream) -> Result<(), PeerError> {
    let archive = match cluster.archive().await {
        Ok(archive) => archive,
        Err(error) => return stream.write_frame(&refused(&error)).await,
    };
    let opened = async {
        let file = tokio::fs::File::open(archive.path()).await?;
        let length = file.metadata().await?.len();
        Ok::<_, std::io::Error>((file, length))
    };
    match opened.await {
        Ok((mut file, length)) => {
            stream.write_frame(&Reply::Archive { at: archive.at, length }).await?;
            let sent = tokio::io::copy(&mut file, &mut stream.send).await;
            sent.map_err(|error| PeerError::Protocol(format!("the state could not be sent: {error}")))?;
            stream.send.flush().await.map_err(|error| PeerError::Protocol(error.to_string()))
        }
        Err(error) => stream.write_frame(&refused(&error)).await,
    }
}
