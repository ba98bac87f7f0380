//! The handle that everything else uses: propose a command, read the state, watch it change.
//!
//! Any node serves any of these. A proposal goes to whoever leads, under the same request id until its deadline, so
//! that an answer lost on the way is given again and nothing is applied twice. A read asks the leader how far the
//! log is, waits until this node is as far, and reads here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use net::{NodeId, Peer, Protocol};
use openraft::error::ClientWriteError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::archive::{Archive, ArchiveError};
use crate::call::{Call, Miss};
use crate::consensus::machine::Machine;
use crate::consensus::{Metrics, Raft, Request, Requests, fitting};
use state::command::{Answer, Command, Refusal};
use state::{Event, View};

/// How long a proposal or a read may take before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(8);
/// How long one step of it may take.
const STEP: Duration = Duration::from_secs(3);
/// The pause before asking again.
const AGAIN: Duration = Duration::from_millis(40);
/// Without a leader for this long, which is several elections, nothing is waited for any more.
const LEADERLESS: Duration = Duration::from_secs(2);
/// A leader that no majority has answered for this long takes nothing on.
const QUORUM_SILENCE: u64 = 2000;
/// The most requests in one log entry.
const BATCH: usize = 256;
/// The most log entries of this node's that are written at a time. While one is on its way to the disks, the next one is
/// made; more of them would only make them smaller.
const UNDER_WAY: usize = 2;

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

impl From<ClusterError> for Miss {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::NoMajority => Self::NoMajority,
            ClusterError::Timeout => Self::Timeout,
            ClusterError::Stopped => Self::NotLeader,
        }
    }
}

impl From<Miss> for ClusterError {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::NoMajority => Self::NoMajority,
            Miss::Timeout => Self::Timeout,
            Miss::NotLeader => Self::Stopped,
        }
    }
}

/// Where this node stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// How many log entries each other member has yet to get; the leader alone knows.
    #[serde(default)]
    pub behind: BTreeMap<NodeId, u64>,
    /// The voters.
    pub members: Vec<NodeId>,
    /// The nodes that join, and how many log entries each has yet to get; the leader alone knows how many.
    pub joining: BTreeMap<NodeId, Option<u64>>,
    /// Where the QUIC endpoints of all of them listen.
    pub addresses: BTreeMap<NodeId, String>,
    /// Milliseconds since a majority answered, on the leader.
    pub quorum_ack_ms: Option<u64>,
}

pub(crate) type Outcome = Result<Answer, Refusal>;

/// A request that is to be written.
struct Waiting {
    request: Request,
    /// How many bytes it has.
    bytes: usize,
    answer: oneshot::Sender<Result<Outcome, Miss>>,
}

struct Inner {
    id: NodeId,
    raft: Raft,
    machine: Machine,
    peer: Peer,
    writes: mpsc::Sender<Waiting>,
    left: watch::Receiver<bool>,
    standing: watch::Receiver<Standing>,
    /// When this node last knew a leader, or began.
    led: Mutex<Instant>,
}

/// What seldom changes of what openraft tells with every entry. Whoever waits for it on another thread is woken seldom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Standing {
    /// Who leads, as far as this node knows.
    leader: Option<NodeId>,
    /// Why consensus has ended, when it has.
    ended: Option<String>,
}

impl Standing {
    fn of(metrics: &Metrics) -> Self {
        let ended = metrics.running_state.as_ref().err().map(ToString::to_string);
        Self { leader: metrics.current_leader, ended }
    }
}

/// The cluster, as one node reaches it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

impl Cluster {
    /// The handle on a Raft that runs.
    pub(crate) fn new(id: NodeId, raft: Raft, machine: Machine, peer: Peer, left: watch::Receiver<bool>) -> Self {
        let (writes, waiting) = mpsc::channel(4 * BATCH);
        tokio::spawn(write_batches(raft.clone(), waiting));
        let led = Mutex::new(Instant::now());
        let (noted, standing) = watch::channel(Standing::of(&raft.metrics().borrow()));
        let cluster = Self(Arc::new(Inner { id, raft, machine, peer, writes, left, standing, led }));
        tokio::spawn(note_standing(cluster.clone(), noted));
        cluster
    }

    /// Asks the cluster for a change and waits until a majority has it on disk and the leader has applied it.
    pub async fn propose(&self, command: impl Into<Command>) -> Result<Outcome, ClusterError> {
        self.carry(Request { id: Uuid::new_v4(), command: command.into() }).await
    }

    /// Brings a request to whoever leads.
    pub(crate) async fn carry(&self, request: Request) -> Result<Outcome, ClusterError> {
        let began = Instant::now();
        let call = Call::Propose(Box::new(request.clone()));
        let outcome = self
            .persist(call, |cluster| {
                let request = request.clone();
                async move { cluster.write(request).await }
            })
            .await;
        let word = match &outcome {
            Ok(Ok(_)) => "applied",
            Ok(Err(_)) => "refused",
            Err(_) => "failed",
        };
        metrics::counter!("quartet_raft_proposals_total", "outcome" => word).increment(1);
        metrics::histogram!("quartet_raft_proposal_seconds").record(began.elapsed().as_secs_f64());
        outcome
    }

    /// A state in which everything is applied that was committed when this was called, at whichever node.
    pub async fn read(&self) -> Result<View, ClusterError> {
        let index: u64 = self.persist(Call::ReadIndex, |cluster| async move { cluster.read_index().await }).await?;
        let wait = self.0.raft.wait(Some(STEP));
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

    /// Returns why consensus has ended without being asked to, when it has: the disk failed, or the state is damaged.
    pub async fn broken(&self) -> String {
        let mut standing = self.0.standing.clone();
        let ended = standing.wait_for(|standing| standing.ended.is_some()).await;
        ended.ok().and_then(|standing| standing.ended.clone()).unwrap_or_else(|| "it is gone".into())
    }

    /// The state as this node knows it, which may be older than what another node has answered.
    pub fn peek(&self) -> View {
        self.0.machine.view()
    }

    /// Writes the state down as one file, with all that was committed when this was called.
    pub async fn archive(&self) -> Result<Archive, ArchiveError> {
        self.read().await?;
        let machine = self.0.machine.clone();
        tokio::task::spawn_blocking(move || machine.archive()).await.map_err(|_| ClusterError::Stopped)?
    }

    /// Folds the log into a snapshot at this node, and returns when that is done. It happens by itself when it is due.
    pub async fn fold(&self) -> Result<(), ClusterError> {
        let applied = self.0.raft.metrics().borrow().last_applied;
        self.0.raft.trigger().snapshot().await.map_err(|_| ClusterError::Stopped)?;
        let mut metrics = self.0.raft.metrics();
        let folded = metrics.wait_for(|metrics| metrics.snapshot >= applied || metrics.running_state.is_err()).await;
        match folded.map(|metrics| metrics.running_state.is_ok()) {
            Ok(true) => Ok(()),
            _ => Err(ClusterError::Stopped),
        }
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

    /// Whether this node leads, and a majority has agreed lately.
    pub fn is_leader(&self) -> bool {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        metrics.current_leader == Some(self.0.id)
            && metrics.millis_since_quorum_ack.is_some_and(|silence| silence < QUORUM_SILENCE)
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.0.raft
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// How many log entries `node` has yet to get, as far as this node, the leader, knows.
    pub(crate) fn lag(&self, node: NodeId) -> Option<u64> {
        lag(&self.0.raft.metrics().borrow(), node)
    }

    /// Ends this node's part in order.
    pub async fn stop(&self) {
        if let Err(error) = self.0.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
    }

    /// Calls whoever leads until it answers or the deadline comes; `here` is the same call on this node. A call to a
    /// leader that is followed by another is given up: the old one may be dead, and would be waited for in vain.
    pub(crate) async fn persist<T, F>(&self, call: Call, here: impl Fn(Self) -> F) -> Result<T, ClusterError>
    where
        T: DeserializeOwned,
        F: Future<Output = Result<T, Miss>>,
    {
        let began = Instant::now();
        let mut last = Miss::NotLeader;
        let mut standing = self.0.standing.clone();
        while began.elapsed() < DEADLINE {
            let Standing { leader, ended } = standing.borrow_and_update().clone();
            if ended.is_some() {
                return Err(ClusterError::Stopped);
            }
            if let Some(leader) = leader {
                let step = async {
                    if leader == self.0.id { here(self.clone()).await } else { self.ask(leader, &call).await }
                };
                let answered = tokio::select! {
                    answered = tokio::time::timeout(STEP, step) => answered.unwrap_or(Err(Miss::Timeout)),
                    () = leads_no_more(&mut standing, leader) => Err(Miss::NotLeader),
                };
                match answered {
                    Ok(value) => return Ok(value),
                    Err(Miss::NoMajority) => return Err(ClusterError::NoMajority),
                    Err(miss) => last = miss,
                }
            } else if self.leaderless() > LEADERLESS {
                return Err(ClusterError::NoMajority);
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

    /// For how long this node has known no leader.
    pub(crate) fn leaderless(&self) -> Duration {
        if self.0.raft.metrics().borrow().current_leader.is_some() {
            return Duration::ZERO;
        }
        self.0.led.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    pub(crate) fn refuse_without_majority(&self) -> Result<(), Miss> {
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
    pub(crate) async fn write(&self, request: Request) -> Result<Outcome, Miss> {
        self.refuse_without_majority()?;
        let (answer, answered) = oneshot::channel();
        // What has no form is refused by the log.
        let bytes = codec::encode(&request).map_or(0, |encoded| encoded.len());
        self.0.writes.send(Waiting { request, bytes, answer }).await.map_err(|_| Miss::NotLeader)?;
        answered.await.unwrap_or(Err(Miss::NotLeader))
    }

    /// How far the log is committed, if this node leads, which a majority confirms.
    pub(crate) async fn read_index(&self) -> Result<u64, Miss> {
        self.refuse_without_majority()?;
        match tokio::time::timeout(STEP, self.0.raft.get_read_log_id()).await {
            Ok(Ok((read, _))) => Ok(read.map_or(0, |id| id.index)),
            Ok(Err(_)) => Err(Miss::NotLeader),
            Err(_) => Err(Miss::Timeout),
        }
    }
}

fn lag(metrics: &Metrics, node: NodeId) -> Option<u64> {
    let matched = metrics.replication.as_ref()?.get(&node)?.as_ref()?;
    Some(metrics.last_log_index.unwrap_or(0).saturating_sub(matched.index))
}

/// Notes who leads and when somebody did, for as long as consensus runs.
async fn note_standing(cluster: Cluster, noted: watch::Sender<Standing>) {
    let mut metrics = cluster.0.raft.metrics();
    let mut last = None;
    loop {
        let (leader, term, standing) = {
            let metrics = metrics.borrow_and_update();
            (metrics.current_leader, metrics.current_term, Standing::of(&metrics))
        };
        noted.send_if_modified(|before| {
            let changes = *before != standing;
            *before = standing;
            changes
        });
        if let Some(leader) = leader {
            *cluster.0.led.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            if last.replace((leader, term)) != Some((leader, term)) {
                metrics::counter!("quartet_raft_leader_changes_total").increment(1);
                tracing::info!(leader, term, "node {leader} leads");
            }
        }
        // A leader's numbers change with every heartbeat, a follower's may stay the same for as long as nothing is written.
        if let Ok(Err(_)) = tokio::time::timeout(LEADERLESS / 4, metrics.changed()).await {
            return;
        }
    }
}

/// Returns when this node sees somebody else lead than `leader`.
async fn leads_no_more(standing: &mut watch::Receiver<Standing>, leader: NodeId) {
    let other = |standing: &Standing| standing.leader.is_some_and(|now| now != leader);
    if standing.wait_for(other).await.is_err() {
        // Consensus has ended; the step will say so.
        std::future::pending::<()>().await;
    }
}

/// Writes what waits, as one log entry each time: what arrives while [`UNDER_WAY`] of them are written goes into the
/// next, as far as it fits.
async fn write_batches(raft: Raft, mut waiting: mpsc::Receiver<Waiting>) {
    let turns = Arc::new(Semaphore::new(UNDER_WAY));
    let mut gathered: Vec<Waiting> = Vec::new();
    while let Ok(turn) = Arc::clone(&turns).acquire_owned().await
        && (!gathered.is_empty() || waiting.recv_many(&mut gathered, BATCH).await > 0)
    {
        let mut fits = fitting();
        let count = gathered.iter().take_while(|waiting| fits(waiting.bytes)).count();
        let (requests, askers): (Vec<_>, Vec<_>) =
            gathered.drain(..count).map(|waiting| (waiting.request, waiting.answer)).unzip();
        metrics::histogram!("quartet_raft_batch_requests").record(requests.len() as f64);
        let written = raft.client_write_ff(Requests(Arc::new(requests))).await;
        tokio::spawn(async move {
            let answers = match written {
                Ok(written) => written.await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            drop(turn);
            match answers {
                Ok(Ok(written)) => {
                    storage::failpoint!("proposal.committed");
                    for (asker, answer) in askers.into_iter().zip(written.data.0) {
                        // An asker that has given up asks again under the same id.
                        let _ = asker.send(Ok(answer));
                    }
                    return;
                }
                Ok(Err(ClientWriteError::ForwardToLeader(_))) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a write failed"),
                Err(error) => tracing::warn!(%error, "a write failed"),
            }
            for asker in askers {
                let _ = asker.send(Err(Miss::NotLeader));
            }
        });
    }
}
