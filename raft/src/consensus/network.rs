//! Raft's calls between nodes, over a QUIC connection of their own.
//!
//! Entries are on the disk of whoever says that he has them, and on the leader's before it hears so
//! ([`super::flushed`]). A call that fails is `Unreachable` to openraft, which then backs off. A snapshot is one stream:
//! its frame, the file's bytes, and the answer; the receiver verifies the file before Raft sees it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use net::{NodeId, Peer, PeerError, Protocol, ServeFuture, Service, Stream};
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{OptionalSend, RPCTypes, Snapshot, SnapshotMeta, Vote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::flushed::Flushed;
use super::machine::Machine;
use super::snapshot::{Reader, SnapshotFile};
use super::{Member, Raft, Types};

/// How long the receiver of a snapshot may take to install it, and besides for each MiB.
const INSTALL_WITHIN: Duration = Duration::from_secs(120);
const INSTALL_MIB_WITHIN: Duration = Duration::from_millis(500);
/// A snapshot of which nothing came for this long is given up.
const STALLED: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
enum Call {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<NodeId>),
    Snapshot { vote: Vote<NodeId>, meta: SnapshotMeta<NodeId, Member>, length: u64 },
}

type Rpc<E> = RPCError<NodeId, Member, E>;

/// Makes the calling sides.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) peer: Peer,
    pub(crate) log: Flushed,
}

/// The calling side for one target.
pub(crate) struct Link {
    peer: Peer,
    log: Flushed,
    target: NodeId,
}

/// The index of the last entry that a follower who agrees has.
fn last_of(rpc: &AppendEntriesRequest<Types>) -> u64 {
    rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id).map_or(0, |id| id.index)
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Link {
        self.peer.set_address(target, node.address.clone());
        Link { peer: self.peer.clone(), log: self.log.clone(), target }
    }
}

impl Link {
    async fn call<A: DeserializeOwned>(
        &self,
        action: RPCTypes,
        call: &Call,
        patience: Duration,
    ) -> Result<A, Rpc<RaftError<NodeId>>> {
        let answer =
            self.peer.call::<_, Result<A, RaftError<NodeId>>>(self.target, Protocol::Raft, call, patience).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(RPCError::RemoteError(RemoteError::new(self.target, error))),
            Err(PeerError::Timeout(_)) => {
                Err(Timeout { action, id: self.peer.id(), target: self.target, timeout: patience }.into())
            }
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Rpc<RaftError<NodeId>>> {
        // A heartbeat's time to live is too short for a disk that has just been busy.
        let patience = option.hard_ttl().max(Duration::from_millis(500));
        let (committed, last) = (rpc.leader_commit.map_or(0, |id| id.index), last_of(&rpc));
        self.log.up_to(committed).await.map_err(|error| Unreachable::new(&error))?;
        let answer = self.call(RPCTypes::AppendEntries, &Call::Append(rpc), patience).await?;
        self.log.up_to(last).await.map_err(|error| Unreachable::new(&error))?;
        Ok(answer)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Rpc<RaftError<NodeId>>> {
        self.call(RPCTypes::Vote, &Call::Vote(rpc), option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<NodeId>,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<Types, Fatal<NodeId>>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => sent,
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(Duration::from_millis(200)))
    }
}

impl Link {
    async fn send_snapshot(
        &self,
        vote: Vote<NodeId>,
        snapshot: Snapshot<Types>,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<Types, Fatal<NodeId>>> {
        let told = |error: io::Error| StreamingError::from(NetworkError::new(&error));
        let failed = |error: PeerError| StreamingError::from(Unreachable::new(&error));
        let mut file = tokio::fs::File::open(snapshot.snapshot.path()).await.map_err(told)?;
        let mut left = file.metadata().await.map_err(told)?.len();
        let patience = INSTALL_WITHIN + INSTALL_MIB_WITHIN * u32::try_from(left >> 20).unwrap_or(u32::MAX);
        let call = Call::Snapshot { vote, meta: snapshot.meta, length: left };
        let mut stream = self.peer.open(self.target, Protocol::Raft).await.map_err(failed)?;
        stream.write_frame(&call).await.map_err(failed)?;
        let mut buffer = vec![0; 1 << 18];
        while left > 0 {
            let read = file.read(&mut buffer).await.map_err(told)?;
            if read == 0 {
                return Err(told(io::ErrorKind::UnexpectedEof.into()));
            }
            let sent = tokio::time::timeout(STALLED, stream.send.write_all(&buffer[..read])).await;
            sent.map_err(|_| failed(PeerError::Timeout(self.target)))?.map_err(|error| failed(error.into()))?;
            left = left.saturating_sub(read as u64);
        }
        stream.finish().map_err(failed)?;
        let answer: Result<SnapshotResponse<NodeId>, Fatal<NodeId>> =
            tokio::time::timeout(patience, stream.read_frame())
                .await
                .map_err(|_| failed(PeerError::Timeout(self.target)))?
                .map_err(failed)?;
        answer.map_err(|error| StreamingError::RemoteError(RemoteError::new(self.target, error)))
    }
}

/// The answering side.
pub(crate) struct RaftService {
    pub(crate) raft: Raft,
    pub(crate) log: Flushed,
    pub(crate) machine: Machine,
}

impl Service for RaftService {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        let (raft, log, machine) = (self.raft.clone(), self.log.clone(), self.machine.clone());
        Box::pin(async move {
            match stream.read_frame::<Call>().await? {
                Call::Append(rpc) => {
                    let last = last_of(&rpc);
                    let answer = raft.append_entries(rpc).await;
                    log.up_to(last).await.map_err(|error| PeerError::Refused(error.to_string()))?;
                    stream.write_frame(&answer).await?;
                }
                Call::Vote(rpc) => {
                    let answer = raft.vote(rpc).await;
                    stream.write_frame(&answer).await?;
                }
                Call::Snapshot { vote, meta, length } => {
                    let refused = |reason: String| PeerError::Protocol(reason);
                    let snapshot = raft.begin_receiving_snapshot().await.map_err(|error| refused(error.to_string()))?;
                    receive(&mut stream, &snapshot, length).await.map_err(|error| refused(error.to_string()))?;
                    // From here on it outlives a crash. openraft cuts off the log while it is installed.
                    let (snapshot, arrived) = {
                        let meta = meta.clone();
                        let keep = move || {
                            let arrived = machine.arrived(&meta, &snapshot);
                            (snapshot, arrived)
                        };
                        tokio::task::spawn_blocking(keep).await.map_err(|error| refused(error.to_string()))?
                    };
                    arrived.map_err(|error| refused(error.to_string()))?;
                    let answer = raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
                    stream.write_frame(&answer).await?;
                }
            }
            stream.finish()
        })
    }
}

/// Takes in a snapshot's file and checks it.
async fn receive(stream: &mut Stream, snapshot: &SnapshotFile, length: u64) -> io::Result<()> {
    let mut file = tokio::fs::File::create(snapshot.path()).await?;
    let mut left = length;
    let mut buffer = vec![0; 1 << 18];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = tokio::time::timeout(STALLED, stream.recv.read(&mut buffer[..wanted])).await;
        let read = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let read = read.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        file.write_all(&buffer[..read]).await?;
        left -= read as u64;
    }
    file.sync_all().await?;
    drop(file);
    let path = Arc::new(snapshot.path().to_owned());
    tokio::task::spawn_blocking(move || Reader::verify(&path)).await.map_err(io::Error::other)?
}
