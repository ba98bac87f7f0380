//! Raft's calls between nodes, over a QUIC connection of their own.
//!
//! A follower confirms entries that are on its disk, and the leader processes the confirmation when they are on its own
//! disk too ([`super::flusher`]). openraft receives a failed call as `Unreachable` and backs off. A snapshot is one
//! stream: a frame, the bytes of the file, and the answer. The receiver verifies the file before Raft sees it.

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

use super::flusher::LogFlusher;
use super::machine::Machine;
use super::snapshot::{SnapshotFile, SnapshotReader};
use super::{Member, Raft, Types};

/// How long the receiver of a snapshot may take to install it, plus [`INSTALL_TIMEOUT_PER_MIB`] for each MiB.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(120);
const INSTALL_TIMEOUT_PER_MIB: Duration = Duration::from_millis(500);
/// A transfer of a snapshot without progress for this long is abandoned.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A call of Raft to another node.
#[derive(Serialize, Deserialize)]
enum RaftCall {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<NodeId>),
    Snapshot { vote: Vote<NodeId>, meta: SnapshotMeta<NodeId, Member>, length: u64 },
}

type Rpc<E> = RPCError<NodeId, Member, E>;

/// Makes a [`Link`] for each member.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) peer: Peer,
    pub(crate) flusher: LogFlusher,
}

/// Calls one member.
pub(crate) struct Link {
    peer: Peer,
    flusher: LogFlusher,
    target: NodeId,
}

/// The index of the last entry that a follower has after it accepted the call.
fn last_of(rpc: &AppendEntriesRequest<Types>) -> u64 {
    rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id).map_or(0, |id| id.index)
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Link {
        self.peer.set_address(target, node.address.clone());
        Link { peer: self.peer.clone(), flusher: self.flusher.clone(), target }
    }
}

impl Link {
    async fn call<A: DeserializeOwned>(
        &self,
        action: RPCTypes,
        call: &RaftCall,
        timeout: Duration,
    ) -> Result<A, Rpc<RaftError<NodeId>>> {
        let answer =
            self.peer.call::<_, Result<A, RaftError<NodeId>>>(self.target, Protocol::Raft, call, timeout).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(RPCError::RemoteError(RemoteError::new(self.target, error))),
            Err(PeerError::Timeout(_)) => {
                Err(Timeout { action, id: self.peer.id(), target: self.target, timeout }.into())
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
        // A heartbeat's time to live is too short when the follower's disk is busy.
        let timeout = option.hard_ttl().max(Duration::from_millis(500));
        let (committed, last) = (rpc.leader_commit.map_or(0, |id| id.index), last_of(&rpc));
        self.flusher.wait_synced(committed).await.map_err(|error| Unreachable::new(&error))?;
        let answer = self.call(RPCTypes::AppendEntries, &RaftCall::Append(rpc), timeout).await?;
        self.flusher.wait_synced(last).await.map_err(|error| Unreachable::new(&error))?;
        Ok(answer)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Rpc<RaftError<NodeId>>> {
        self.call(RPCTypes::Vote, &RaftCall::Vote(rpc), option.hard_ttl()).await
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
        let file_error = |error: io::Error| StreamingError::from(NetworkError::new(&error));
        let peer_error = |error: PeerError| StreamingError::from(Unreachable::new(&error));
        let mut file = tokio::fs::File::open(snapshot.snapshot.path()).await.map_err(file_error)?;
        let mut left = file.metadata().await.map_err(file_error)?.len();
        let install_timeout = INSTALL_TIMEOUT + INSTALL_TIMEOUT_PER_MIB * u32::try_from(left >> 20).unwrap_or(u32::MAX);
        let call = RaftCall::Snapshot { vote, meta: snapshot.meta, length: left };
        let mut stream = self.peer.open(self.target, Protocol::Raft).await.map_err(peer_error)?;
        stream.write_frame(&call).await.map_err(peer_error)?;
        let mut buffer = vec![0; 1 << 18];
        while left > 0 {
            let read = file.read(&mut buffer).await.map_err(file_error)?;
            if read == 0 {
                return Err(file_error(io::ErrorKind::UnexpectedEof.into()));
            }
            let sent = tokio::time::timeout(STALL_TIMEOUT, stream.send.write_all(&buffer[..read])).await;
            sent.map_err(|_| peer_error(PeerError::Timeout(self.target)))?.map_err(|error| peer_error(error.into()))?;
            left = left.saturating_sub(read as u64);
        }
        stream.finish().map_err(peer_error)?;
        let answer: Result<SnapshotResponse<NodeId>, Fatal<NodeId>> =
            tokio::time::timeout(install_timeout, stream.read_frame())
                .await
                .map_err(|_| peer_error(PeerError::Timeout(self.target)))?
                .map_err(peer_error)?;
        answer.map_err(|error| StreamingError::RemoteError(RemoteError::new(self.target, error)))
    }
}

/// Answers the calls of other members.
pub(crate) struct RaftService {
    pub(crate) raft: Raft,
    pub(crate) flusher: LogFlusher,
    pub(crate) machine: Machine,
}

impl Service for RaftService {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        let (raft, flusher, machine) = (self.raft.clone(), self.flusher.clone(), self.machine.clone());
        Box::pin(async move {
            match stream.read_frame::<RaftCall>().await? {
                RaftCall::Append(rpc) => {
                    let last = last_of(&rpc);
                    let answer = raft.append_entries(rpc).await;
                    flusher.wait_synced(last).await.map_err(|error| PeerError::Refused(error.to_string()))?;
                    stream.write_frame(&answer).await?;
                }
                RaftCall::Vote(rpc) => {
                    let answer = raft.vote(rpc).await;
                    stream.write_frame(&answer).await?;
                }
                RaftCall::Snapshot { vote, meta, length } => {
                    let into_error = |error: &dyn std::fmt::Display| PeerError::Protocol(error.to_string());
                    let snapshot = raft.begin_receiving_snapshot().await.map_err(|error| into_error(&error))?;
                    receive(&mut stream, &snapshot, length).await.map_err(|error| into_error(&error))?;
                    // Make it survive a crash first: openraft truncates the log while it is being installed.
                    let (snapshot, kept) = {
                        let meta = meta.clone();
                        let keep = move || {
                            let kept = machine.keep_received(&meta, &snapshot);
                            (snapshot, kept)
                        };
                        tokio::task::spawn_blocking(keep).await.map_err(|error| into_error(&error))?
                    };
                    kept.map_err(|error| into_error(&error))?;
                    let answer = raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
                    stream.write_frame(&answer).await?;
                }
            }
            stream.finish()
        })
    }
}

/// Receives the file of a snapshot and verifies its checksum.
async fn receive(stream: &mut Stream, snapshot: &SnapshotFile, length: u64) -> io::Result<()> {
    let mut file = tokio::fs::File::create(snapshot.path()).await?;
    let mut left = length;
    let mut buffer = vec![0; 1 << 18];
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = tokio::time::timeout(STALL_TIMEOUT, stream.recv.read(&mut buffer[..length])).await;
        let read = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let read = read.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        file.write_all(&buffer[..read]).await?;
        left -= read as u64;
    }
    file.sync_all().await?;
    drop(file);
    let path = Arc::new(snapshot.path().to_owned());
    tokio::task::spawn_blocking(move || SnapshotReader::verify(&path)).await.map_err(io::Error::other)?
}
