//! The handle that everything else uses: propose a command, read the state, watch it change.
//!
//! Any node serves any of these. A proposal goes to whoever leads, under the same request id until its deadline, so
//! that an answer lost on the way is given again and nothing is applied twice. A read asks the leader how far the
//! log is, waits until this node is as far, and reads here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use openraft::error::{ClientWriteError, RaftError};
use openraft::{Config, SnapshotPolicy};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::NodeId;
use storage::database::{Database, DatabaseError};
use storage::peer::{Peer, PeerError, Protocol, ServeFuture, Service, Stream};
use storage::wire::WireError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::bootstrap::{self, Finding, Introducer};
use crate::command::{Answer, Command, Refusal};
use crate::consensus::log::Log;
use crate::consensus::machine::Machine;
use crate::consensus::network::{Network, RaftService};
use crate::consensus::{Metrics, Raft, Request, Requests};
use crate::state::{Event, View};

/// How long a proposal or a read may take before it fails.
const DEADLINE: Duration = Duration::from_secs(8);
/// How long one step of it may take.
const STEP: Duration = Duration::from_secs(3);
/// The pause before asking again.
const AGAIN: Duration = Duration::from_millis(40);
/// A leader that no majority has answered for this long takes nothing on.
const QUORUM_SILENCE: u64 = 2000;
/// The most requests in one log entry.
const BATCH: usize = 256;

/// What a cluster handle is made of.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// This node.
    pub id: NodeId,
    /// All members and where their QUIC endpoints listen, this node among them.
    pub members: BTreeMap<NodeId, String>,
    /// The node's folder; snapshots lie in it.
    pub data: PathBuf,
    /// Between the leader's heartbeats.
    pub heartbeat: Duration,
    /// Silence after which a follower stands for election, drawn from this range.
    pub election: Range<Duration>,
}

/// The node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A value on the disk is unreadable.
    #[error("the node's own marks cannot be read: {0}")]
    Wire(#[from] WireError),
    /// The folder belongs to another node.
    #[error(
        "this data folder belongs to node {owner}, not to node {node}; start it with --id {owner}, or name another folder"
    )]
    AnothersDisk {
        /// Who started.
        node: NodeId,
        /// Whose it is.
        owner: NodeId,
    },
    /// The disk was emptied.
    #[error(
        "node {0} has taken part in this cluster with another disk. A node that has lost its disk has forgotten its \
         vote and must not come back under its old id: bring the old data folder back, or give this machine a new id \
         in cluster.toml"
    )]
    WipedDisk(NodeId),
    /// The cluster does not know this node.
    #[error("the cluster that answers has no node {0}; check the id and the addresses in cluster.toml")]
    NotAMember(NodeId),
    /// Raft refused.
    #[error("consensus cannot start: {0}")]
    Consensus(String),
}

/// A proposal or a read could not be carried through. The proposal may still take effect.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// Too few nodes answer each other.
    #[error("no majority of the nodes can be reached; try again when more of them run")]
    NoMajority,
    /// The cluster did not come to an answer in time.
    #[error("the cluster did not answer within {} seconds; try again", DEADLINE.as_secs())]
    Timeout,
    /// This node stops.
    #[error("this node is stopping; ask another one")]
    Stopped,
}

/// Where this node stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Raft's term.
    pub term: u64,
    /// Leader, follower, candidate or learner.
    pub role: String,
    /// The last log entry that is applied here.
    pub last_applied: u64,
    /// The last log entry here.
    pub last_log: u64,
    /// The voters.
    pub members: Vec<NodeId>,
    /// Milliseconds since a majority answered, on the leader.
    pub quorum_ack_ms: Option<u64>,
}

/// What nodes ask each other about the cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Who are you?
    Hello,
    /// Write this, leader.
    Propose(Box<Request>),
    /// How far is the log, leader?
    ReadIndex,
}

/// Why a step failed on the asked node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Miss {
    NotLeader,
    NoMajority,
    Timeout,
}

type Outcome = Result<Answer, Refusal>;
type Waiting = (Request, oneshot::Sender<Result<Outcome, Miss>>);

struct Inner {
    id: NodeId,
    raft: Raft,
    machine: Machine,
    peer: Peer,
    writes: mpsc::Sender<Waiting>,
}

/// The cluster, as one node reaches it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

impl Cluster {
    /// Takes part; a fresh disk waits here until it has found the others.
    pub async fn start(config: ClusterConfig, database: Database, peer: Peer) -> Result<Self, StartError> {
        let told = |error: &dyn std::fmt::Display| StartError::Consensus(error.to_string());
        let disk = bootstrap::disk(&database, config.id)?;
        let log = Log::new(database.clone());
        let fresh = log.is_fresh().map_err(|error| told(&error))?;
        let introducer = Introducer { disk, raft: Arc::new(OnceLock::new()) };
        peer.serve(Protocol::Cluster, Arc::new(Greeter(introducer.clone())));
        let finding = if fresh { Some(bootstrap::find_cluster(&peer, disk, &config.members).await?) } else { None };

        let machine = Machine::open(database, config.data.join("snapshots")).map_err(|error| told(&error))?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let settings = Config {
            cluster_name: "quartet".into(),
            heartbeat_interval: millis(config.heartbeat),
            election_timeout_min: millis(config.election.start),
            election_timeout_max: millis(config.election.end),
            install_snapshot_timeout: 60_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(5_000),
            max_in_snapshot_log_to_keep: 1_000,
            ..Config::default()
        };
        let settings = Arc::new(settings.validate().map_err(|error| told(&error))?);
        let raft = Raft::new(config.id, settings, Network(peer.clone()), log, machine.clone())
            .await
            .map_err(|error| told(&error))?;
        peer.serve(Protocol::Raft, Arc::new(RaftService(raft.clone())));
        if let Some(Finding::Begin(members)) = finding
            && let Err(error) = raft.initialize(members).await
        {
            match error {
                // Another node was quicker, and has begun with the same members.
                RaftError::APIError(_) => tracing::debug!(%error, "the cluster has begun already"),
                RaftError::Fatal(error) => return Err(told(&error)),
            }
        }
        // Set only now: until the membership is known here, a node that asks should ask again.
        let _ = introducer.raft.set(raft.clone());

        let (writes, waiting) = mpsc::channel(4 * BATCH);
        let cluster = Self(Arc::new(Inner { id: config.id, raft, machine, peer, writes }));
        let service = ClusterService { cluster: cluster.clone(), introducer };
        cluster.0.peer.serve(Protocol::Cluster, Arc::new(service));
        tokio::spawn(write_batches(cluster.0.raft.clone(), waiting));
        Ok(cluster)
    }

    /// Asks the cluster for a change and waits until a majority has it on disk and the leader has applied it.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ClusterError> {
        let request = Request { id: Uuid::new_v4(), command };
        let call = Call::Propose(Box::new(request.clone()));
        self.persist(call, |cluster| {
            let request = request.clone();
            async move { cluster.write(request).await }
        })
        .await
    }

    /// A state in which everything is applied that was committed when this was called, at whichever node.
    pub async fn read(&self) -> Result<View, ClusterError> {
        let index: u64 = self.persist(Call::ReadIndex, |cluster| async move { cluster.read_index().await }).await?;
        let wait = self.0.raft.wait(Some(STEP));
        let applied = wait.applied_index_at_least(Some(index), "a linearizable read").await;
        applied.map_err(|_| ClusterError::Timeout)?;
        Ok(self.peek())
    }

    /// The state as this node knows it, which may be older than what another node has answered.
    pub fn peek(&self) -> View {
        self.0.machine.view()
    }

    /// What changes from now on, as this node applies it.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.machine.events()
    }

    /// Where this node stands.
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
            members: metrics.membership_config.voter_ids().collect(),
            quorum_ack_ms: metrics.millis_since_quorum_ack,
        }
    }

    /// Whether this node leads, and a majority has agreed lately.
    pub fn is_leader(&self) -> bool {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        metrics.current_leader == Some(self.0.id)
            && metrics.millis_since_quorum_ack.is_some_and(|silence| silence < QUORUM_SILENCE)
    }

    /// Ends this node's part in order.
    pub async fn stop(&self) {
        if let Err(error) = self.0.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
    }

    /// Calls whoever leads until it answers or the deadline comes; `here` is the same call on this node. A call to a
    /// leader that is followed by another is given up: the old one may be dead, and would be waited for in vain.
    async fn persist<T, F>(&self, call: Call, here: impl Fn(Self) -> F) -> Result<T, ClusterError>
    where
        T: DeserializeOwned,
        F: Future<Output = Result<T, Miss>>,
    {
        let began = Instant::now();
        let mut last = Miss::NotLeader;
        let mut metrics = self.0.raft.metrics();
        while began.elapsed() < DEADLINE {
            let (leader, running) = {
                let metrics = metrics.borrow_and_update();
                (metrics.current_leader, metrics.running_state.is_ok())
            };
            if !running {
                return Err(ClusterError::Stopped);
            }
            if let Some(leader) = leader {
                let step = async {
                    if leader == self.0.id { here(self.clone()).await } else { self.ask(leader, &call).await }
                };
                let answered = tokio::select! {
                    answered = tokio::time::timeout(STEP, step) => answered.unwrap_or(Err(Miss::Timeout)),
                    () = leads_no_more(&mut metrics, leader) => Err(Miss::NotLeader),
                };
                match answered {
                    Ok(value) => return Ok(value),
                    Err(Miss::NoMajority) => return Err(ClusterError::NoMajority),
                    Err(miss) => last = miss,
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
        Err(if last == Miss::NotLeader { ClusterError::NoMajority } else { ClusterError::Timeout })
    }

    async fn ask<A: DeserializeOwned>(&self, leader: NodeId, call: &Call) -> Result<A, Miss> {
        match self.0.peer.call::<_, Result<A, Miss>>(leader, Protocol::Cluster, call, STEP).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(leader, %error, "the leader does not answer");
                Err(Miss::NotLeader)
            }
        }
    }

    fn refuse_without_majority(&self) -> Result<(), Miss> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        if metrics.current_leader != Some(self.0.id) {
            return Err(Miss::NotLeader);
        }
        match metrics.millis_since_quorum_ack {
            Some(silence) if silence > QUORUM_SILENCE => Err(Miss::NoMajority),
            _ => Ok(()),
        }
    }

    /// Writes on this node, if it leads.
    async fn write(&self, request: Request) -> Result<Outcome, Miss> {
        self.refuse_without_majority()?;
        let (answer, answered) = oneshot::channel();
        self.0.writes.send((request, answer)).await.map_err(|_| Miss::NotLeader)?;
        answered.await.unwrap_or(Err(Miss::NotLeader))
    }

    /// How far the log is committed, if this node leads, which a majority confirms.
    async fn read_index(&self) -> Result<u64, Miss> {
        self.refuse_without_majority()?;
        match tokio::time::timeout(STEP, self.0.raft.get_read_log_id()).await {
            Ok(Ok((read, _))) => Ok(read.map_or(0, |id| id.index)),
            Ok(Err(_)) => Err(Miss::NotLeader),
            Err(_) => Err(Miss::Timeout),
        }
    }
}

/// Returns when this node sees somebody else lead than `leader`.
async fn leads_no_more(metrics: &mut watch::Receiver<Metrics>, leader: NodeId) {
    let other = |metrics: &Metrics| metrics.current_leader.is_some_and(|now| now != leader);
    if metrics.wait_for(other).await.is_err() {
        // Consensus has ended; the step will say so.
        std::future::pending::<()>().await;
    }
}

/// Writes what waits, as one log entry each time: what arrives while one is written goes into the next.
async fn write_batches(raft: Raft, mut waiting: mpsc::Receiver<Waiting>) {
    let mut gathered = Vec::new();
    while waiting.recv_many(&mut gathered, BATCH).await > 0 {
        let (requests, askers): (Vec<_>, Vec<_>) = gathered.drain(..).unzip();
        match raft.client_write(Requests(requests)).await {
            Ok(written) => {
                for (asker, answer) in askers.into_iter().zip(written.data.0) {
                    // An asker that has given up asks again under the same id.
                    let _ = asker.send(Ok(answer));
                }
            }
            Err(error) => {
                if !matches!(error, RaftError::APIError(ClientWriteError::ForwardToLeader(_))) {
                    tracing::warn!(%error, "a write failed");
                }
                for asker in askers {
                    let _ = asker.send(Err(Miss::NotLeader));
                }
            }
        }
    }
}

/// Answers introductions while the node's own Raft does not run yet.
struct Greeter(Introducer);

impl Service for Greeter {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        let introducer = self.0.clone();
        Box::pin(async move {
            match stream.read_frame::<Call>().await? {
                Call::Hello => stream.write_frame(&introducer.introduce()).await?,
                Call::Propose(_) | Call::ReadIndex => {
                    return Err(PeerError::Refused("this node is starting".into()));
                }
            }
            stream.finish()
        })
    }
}

/// Answers the other nodes.
struct ClusterService {
    cluster: Cluster,
    introducer: Introducer,
}

impl Service for ClusterService {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        let (cluster, introducer) = (self.cluster.clone(), self.introducer.clone());
        Box::pin(async move {
            match stream.read_frame::<Call>().await? {
                Call::Hello => stream.write_frame(&introducer.introduce()).await?,
                Call::Propose(request) => {
                    let answer = cluster.write(*request).await;
                    stream.write_frame(&answer).await?;
                }
                Call::ReadIndex => {
                    let answer = cluster.read_index().await;
                    stream.write_frame(&answer).await?;
                }
            }
            stream.finish()
        })
    }
}
