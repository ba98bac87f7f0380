//! The handle on the cluster: propose commands, read the state, watch changes.
//!
//! Every node serves all of these. A proposal goes to the leader and is repeated under the same request id until its
//! deadline: after a lost answer the repetition returns the same answer, and nothing is applied twice. A read asks the
//! leader for the committed index, waits until this node has applied it, and reads locally.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::{NodeId, Peer, Protocol};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::archive::{Archive, ArchiveError, At};
use crate::consensus::machine::Machine;
use crate::consensus::{Metrics, Raft, Request};
use crate::error::{ClusterError, DEADLINE};
use crate::leader::{LeaderState, LeaderWatch, leader_replaced};
use crate::protocol::{ClusterCall, ForwardError};
use crate::writer::{CommandResult, Writer};
use state::command::Command;
use state::{Event, View};

/// How long one attempt of a proposal or a read may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(40);
/// Without a leader for this long, which is several elections, calls fail at once.
const NO_LEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// A leader that no majority has answered for this many milliseconds accepts nothing.
const QUORUM_TIMEOUT_MS: u64 = 2000;

/// The state of Raft at this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// The leader, if this node knows one.
    pub leader: Option<NodeId>,
    /// Raft's term.
    pub term: u64,
    /// Leader, follower, candidate or learner.
    pub role: String,
    /// Index of the last log entry applied at this node.
    pub last_applied: u64,
    /// Index of the last log entry at this node.
    pub last_log: u64,
    /// How many log entries each other voter lacks; empty except on the leader.
    #[serde(default)]
    pub behind: BTreeMap<NodeId, u64>,
    /// The voters.
    pub members: Vec<NodeId>,
    /// The joining nodes, and how many log entries each lacks; only the leader knows the numbers.
    pub joining: BTreeMap<NodeId, Option<u64>>,
    /// The QUIC addresses of voters and joining nodes, as `host:port`.
    pub addresses: BTreeMap<NodeId, String>,
    /// Milliseconds since a majority answered; only on the leader.
    pub quorum_ack_ms: Option<u64>,
}

struct ClusterInner {
    id: NodeId,
    raft: Raft,
    machine: Machine,
    peer: Peer,
    writer: Writer,
    left: watch::Receiver<bool>,
    leader: LeaderWatch,
}

/// The handle on the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<ClusterInner>);

impl Cluster {
    /// Makes a handle on a running Raft.
    pub(crate) fn new(id: NodeId, raft: Raft, machine: Machine, peer: Peer, left: watch::Receiver<bool>) -> Self {
        let (writer, leader) = (Writer::start(raft.clone()), LeaderWatch::start(&raft));
        Self(Arc::new(ClusterInner { id, raft, machine, peer, writer, left, leader }))
    }

    /// Proposes a command and waits until a majority has it on disk and the leader has applied it.
    pub async fn propose(&self, command: impl Into<Command>) -> Result<CommandResult, ClusterError> {
        self.forward(Request { id: Uuid::new_v4(), command: command.into() }).await
    }

    /// Forwards a request to the leader.
    pub(crate) async fn forward(&self, request: Request) -> Result<CommandResult, ClusterError> {
        let began = Instant::now();
        let call = ClusterCall::Propose(Box::new(request.clone()));
        let outcome = self
            .call_leader(call, |cluster| {
                let request = request.clone();
                async move { cluster.write_as_leader(request).await }
            })
            .await;
        let label = match &outcome {
            Ok(Ok(_)) => "applied",
            Ok(Err(_)) => "refused",
            Err(_) => "failed",
        };
        metrics::counter!("quartet_raft_proposals_total", "outcome" => label).increment(1);
        metrics::histogram!("quartet_raft_proposal_seconds").record(began.elapsed().as_secs_f64());
        outcome
    }

    /// A linearizable read: returns a state with everything that was committed at any node before this call.
    pub async fn read(&self) -> Result<View, ClusterError> {
        let index: u64 =
            self.call_leader(ClusterCall::ReadIndex, |cluster| async move { cluster.read_index().await }).await?;
        let wait = self.0.raft.wait(Some(ATTEMPT_TIMEOUT));
        let applied = wait.applied_index_at_least(Some(index), "a linearizable read").await;
        applied.map_err(|_| ClusterError::Timeout)?;
        Ok(self.peek())
    }

    /// Returns when this node has been removed from the cluster.
    pub async fn left(&self) {
        let mut left = self.0.left.clone();
        if left.wait_for(|left| *left).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns the reason when consensus has ended unexpectedly: a failed disk or a damaged state.
    pub async fn broken(&self) -> String {
        self.0.leader.ended().await
    }

    /// The state as this node has applied it, which may be older than an answer of another node.
    pub fn peek(&self) -> View {
        self.0.machine.view()
    }

    /// Writes the state, with everything that was committed before this call, to a temporary file.
    pub async fn archive(&self) -> Result<Archive, ArchiveError> {
        self.read().await?;
        let machine = self.0.machine.clone();
        let exported =
            tokio::task::spawn_blocking(move || machine.export()).await.map_err(|_| ClusterError::Stopped)?;
        let (applied, file) = exported.map_err(|error| ArchiveError::Write(error.to_string()))?;
        let at = applied.map_or_else(At::default, |id| At { term: id.leader_id.term, index: id.index });
        Ok(Archive { at, file })
    }

    /// Builds a snapshot at this node now, and returns when it is done. Snapshots are also built automatically.
    pub async fn snapshot(&self) -> Result<(), ClusterError> {
        let applied = self.0.raft.metrics().borrow().last_applied;
        self.0.raft.trigger().snapshot().await.map_err(|_| ClusterError::Stopped)?;
        let mut metrics = self.0.raft.metrics();
        let built = metrics.wait_for(|metrics| metrics.snapshot >= applied || metrics.running_state.is_err()).await;
        match built.map(|metrics| metrics.running_state.is_ok()) {
            Ok(true) => Ok(()),
            _ => Err(ClusterError::Stopped),
        }
    }

    /// The changes of the state from now on, in the order in which this node applies them.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.machine.events()
    }

    /// The state of Raft at this node.
    pub fn status(&self) -> Status {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        Status {
            id: self.0.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            role: format!("{:?}", metrics.state).to_lowercase(),
            last_applied: metrics.last_applied.map_or(0, |id| id.index),
            last_log: metrics.last_log_index.unwrap_or(0),
            behind: metrics
                .membership_config
                .voter_ids()
                .filter(|member| *member != self.0.id)
                .filter_map(|member| Some((member, lag(&metrics, member)?)))
                .collect(),
            members: metrics.membership_config.voter_ids().collect(),
            joining: metrics
                .membership_config
                .membership()
                .learner_ids()
                .map(|learner| (learner, lag(&metrics, learner)))
                .collect(),
            addresses: metrics.membership_config.nodes().map(|(id, member)| (*id, member.address.clone())).collect(),
            quorum_ack_ms: metrics.millis_since_quorum_ack,
        }
    }

    /// Whether this node is the leader and a majority has answered it recently.
    pub fn is_leader(&self) -> bool {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        metrics.current_leader == Some(self.0.id)
            && metrics.millis_since_quorum_ack.is_some_and(|silence| silence < QUORUM_TIMEOUT_MS)
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.0.raft
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// How many log entries `node` lacks; `None` unless this node is the leader.
    pub(crate) fn lag(&self, node: NodeId) -> Option<u64> {
        lag(&self.0.raft.metrics().borrow(), node)
    }

    /// Stops consensus at this node.
    pub async fn stop(&self) {
        if let Err(error) = self.0.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not shut down cleanly");
        }
    }

    /// Calls the leader until it answers or the deadline passes; `here` is the same call on this node. When another
    /// node becomes the leader, the call to the old one is abandoned: the old one may be dead and never answer.
    pub(crate) async fn call_leader<T, F>(&self, call: ClusterCall, here: impl Fn(Self) -> F) -> Result<T, ClusterError>
    where
        T: DeserializeOwned,
        F: Future<Output = Result<T, ForwardError>>,
    {
        let began = Instant::now();
        let mut last = ForwardError::NotLeader;
        let mut state = self.0.leader.subscribe();
        while began.elapsed() < DEADLINE {
            let LeaderState { leader, ended } = state.borrow_and_update().clone();
            if ended.is_some() {
                return Err(ClusterError::Stopped);
            }
            if let Some(leader) = leader {
                let attempt = async {
                    if leader == self.0.id { here(self.clone()).await } else { self.call_node(leader, &call).await }
                };
                let answered = tokio::select! {
                    answered = tokio::time::timeout(ATTEMPT_TIMEOUT, attempt) => {
                        answered.unwrap_or(Err(ForwardError::Timeout))
                    }
                    () = leader_replaced(&mut state, leader) => Err(ForwardError::NotLeader),
                };
                match answered {
                    Ok(value) => return Ok(value),
                    Err(ForwardError::NoMajority) => return Err(ClusterError::NoMajority),
                    Err(error) => last = error,
                }
            } else if self.leaderless() > NO_LEADER_TIMEOUT {
                return Err(ClusterError::NoMajority);
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
        Err(if last == ForwardError::NotLeader { ClusterError::NoMajority } else { ClusterError::Timeout })
    }

    async fn call_node<A: DeserializeOwned>(&self, leader: NodeId, call: &ClusterCall) -> Result<A, ForwardError> {
        match self.0.peer.call::<_, Result<A, ForwardError>>(leader, Protocol::Cluster, call, ATTEMPT_TIMEOUT).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(leader, %error, "the leader does not answer");
                Err(ForwardError::NotLeader)
            }
        }
    }

    /// How long this node has known no leader.
    pub(crate) fn leaderless(&self) -> Duration {
        self.0.leader.leaderless()
    }

    /// Fails unless this node is the leader and a majority has answered it recently.
    pub(crate) fn check_quorum(&self) -> Result<(), ForwardError> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        if metrics.current_leader != Some(self.0.id) {
            return Err(ForwardError::NotLeader);
        }
        match metrics.millis_since_quorum_ack {
            Some(silence) if silence > QUORUM_TIMEOUT_MS => Err(ForwardError::NoMajority),
            _ => Ok(()),
        }
    }

    /// Writes a request if this node is the leader.
    pub(crate) async fn write_as_leader(&self, request: Request) -> Result<CommandResult, ForwardError> {
        self.check_quorum()?;
        self.0.writer.write(request).await
    }

    /// The committed index, confirmed by a majority, if this node is the leader.
    pub(crate) async fn read_index(&self) -> Result<u64, ForwardError> {
        self.check_quorum()?;
        match tokio::time::timeout(ATTEMPT_TIMEOUT, self.0.raft.get_read_log_id()).await {
            Ok(Ok((read, _))) => Ok(read.map_or(0, |id| id.index)),
            Ok(Err(_)) => Err(ForwardError::NotLeader),
            Err(_) => Err(ForwardError::Timeout),
        }
    }
}

fn lag(metrics: &Metrics, node: NodeId) -> Option<u64> {
    let matched = metrics.replication.as_ref()?.get(&node)?.as_ref()?;
    Some(metrics.last_log_index.unwrap_or(0).saturating_sub(matched.index))
}
