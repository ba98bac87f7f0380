//! The server side of the operator protocol.

use std::sync::Arc;

use live::{BrokerStatus, Live};
use net::{NodeId, Peer, PeerError, ServeFuture, Service, Stream};
use raft::Cluster;
use state::TaskState;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use work::broker::Broker;
use work::reset::Reset;
use work::service::reset_all;

use super::protocol::{Call, Overview, Reply};
use crate::maintenance::ScrubRequests;

/// Answers calls of the operator.
pub(crate) struct OperatorService {
    /// The cluster.
    pub cluster: Cluster,
    /// The other nodes.
    pub peer: Peer,
    /// The status of the nodes.
    pub live: Live,
    /// Drops running work of this node.
    pub reset: Reset,
    /// The broker, if one is configured.
    pub broker: Option<Arc<dyn Broker>>,
    /// Starts scrubs of this node.
    pub scrubs: ScrubRequests,
}

impl Service for OperatorService {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        let (cluster, live) = (self.cluster.clone(), self.live.clone());
        let (peer, reset, broker) = (self.peer.clone(), self.reset.clone(), self.broker.clone());
        let scrubs = self.scrubs.clone();
        Box::pin(async move {
            match stream.read_frame::<Call>().await? {
                Call::Overview => {
                    let broker = broker.map(|broker| broker.status());
                    let read = tokio::task::spawn_blocking(move || overview(&cluster, &live, broker.as_ref()));
                    let overview = read.await.map_err(|error| PeerError::Refused(error.to_string()))?;
                    stream.write_frame(&Reply::Overview(Box::new(overview))).await?;
                }
                Call::Change(change) => {
                    tracing::info!(?change, "the operator changes the membership");
                    let reply = match cluster.change(change).await {
                        Ok(Ok(())) => Reply::Done,
                        Ok(Err(error)) => Reply::Refused { reason: error.to_string(), temporary: error.is_temporary() },
                        Err(error) => refused(&error),
                    };
                    stream.write_frame(&reply).await?;
                }
                Call::Reset => {
                    let silent = reset_all(&reset, &peer, broker.as_deref()).await;
                    stream.write_frame(&Reply::DoneExcept(silent)).await?;
                }
                Call::Scrub => stream.write_frame(&Reply::ScrubStarted(scrubs.request())).await?,
                Call::ScrubProgress => stream.write_frame(&Reply::ScrubProgress(scrubs.progress())).await?,
                Call::Archive => send_archive(&cluster, &mut stream).await?,
            }
            stream.finish()
        })
    }
}

/// The status of the cluster. Reads the disk, so it must not run on a thread of the async runtime.
fn overview(cluster: &Cluster, live: &Live, broker: Option<&watch::Receiver<BrokerStatus>>) -> Overview {
    let view = cluster.peek();
    let open = view.open_tasks().unwrap_or_default();
    let running = open.iter().filter(|task| matches!(task.state, TaskState::Running { .. })).count() as u64;
    Overview {
        status: cluster.status(),
        nodes: live.nodes(),
        broker: broker.map(|status| status.borrow().clone()),
        pending: open.len() as u64 - running,
        running,
        level: view.cluster_meta().ok().flatten().map(|meta| meta.level),
        retired: view.retired().unwrap_or_default(),
    }
}

fn refused(error: &dyn std::fmt::Display) -> Reply {
    Reply::Refused { reason: error.to_string(), temporary: false }
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
            sent.map_err(|error| PeerError::Protocol(format!("cannot send the state: {error}")))?;
            stream.send.flush().await.map_err(|error| PeerError::Protocol(error.to_string()))
        }
        Err(error) => stream.write_frame(&refused(&error)).await,
    }
}
