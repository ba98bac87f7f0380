//! What each node says of itself, twice a second, to every other.
//!
//! Reports serve two ends: people see on the cluster page what every node does, and the leader learns that a worker
//! is gone or has forgotten a task. They are hints, kept in memory only; nothing in the cluster's state rests on them
//! but the leader's decision to propose that a claim has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use net::peer::{Peer, Protocol};
use raft::Cluster;
use serde::{Deserialize, Serialize};
use state::{Line, TaskId};
use storage::NodeId;
use storage::blobs::Blobs;
use web::api::cluster::{BrokerReport, LoopReport, NodeReport};

use crate::configuration::Configuration;
use crate::journal;
use crate::upkeep::{Copies, Upkeep};
use crate::work::broker::Broker;
use crate::work::service::{Call, Reply};

/// How often a node reports.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);
/// A node that was silent for this long is taken for dead.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(3);
/// How long a node may take to tell the lines of an attempt.
const LINES_WITHIN: Duration = Duration::from_secs(1);

/// One node's words about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Who speaks.
    pub id: NodeId,
    /// Its program's version.
    pub version: String,
    /// Where its HTTP interface is.
    #[serde(default)]
    pub http: String,
    /// Tasks it can work on at a time.
    pub slots: u32,
    /// Slots that a task holds which was given up and does not end.
    #[serde(default)]
    pub stuck: u32,
    /// The claims it works on: task and attempt.
    pub working_on: Vec<(TaskId, u32)>,
    /// Tasks it has finished since it started.
    pub tasks_done: u64,
    /// Files it holds.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Bytes of files that it still takes.
    pub free_bytes: u64,
    /// The most bytes of files that it may hold.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Files that it found damaged since it started.
    #[serde(default)]
    pub damaged: u64,
    /// Files of which it found too few copies.
    #[serde(default)]
    pub short: u64,
    /// Those of them of which it is to take one.
    #[serde(default)]
    pub missing: u64,
    /// The members that said which files they hold, when it last counted.
    #[serde(default)]
    pub copies_among: BTreeSet<NodeId>,
    /// What it does beside its tasks.
    #[serde(default)]
    pub loops: Vec<LoopReport>,
}

/// The claims that this node's workers hold, and how many tasks they have finished.
#[derive(Debug, Default)]
pub(crate) struct OwnWork {
    claims: Mutex<BTreeMap<TaskId, u32>>,
    done: AtomicU64,
    stuck: AtomicU32,
}

impl OwnWork {
    /// Notes a claim until the returned guard is dropped.
    pub(crate) fn hold(self: &Arc<Self>, task: TaskId, attempt: u32) -> Held {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).insert(task, attempt);
        Held { work: Arc::clone(self), task }
    }

    /// Counts a thread that does not end, until the returned guard is dropped, and says how many there are.
    pub(crate) fn stick(self: &Arc<Self>) -> (Stuck, u32) {
        let others = self.stuck.fetch_add(1, Ordering::Relaxed);
        (Stuck(Arc::clone(self)), others + 1)
    }

    /// How many threads were told to stop and do not.
    pub(crate) fn stuck(&self) -> u32 {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Counts a finished task.
    pub(crate) fn finished(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// A claim that is being worked on.
pub(crate) struct Held {
    work: Arc<OwnWork>,
    task: TaskId,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.work.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.task);
    }
}

/// A thread that was told to stop and does not.
pub(crate) struct Stuck(Arc<OwnWork>);

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.stuck.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Heard {
    report: Report,
    at: Instant,
}

/// The reports that this node has heard, its own among them.
pub(crate) struct Reports {
    configuration: Arc<Configuration>,
    cluster: Cluster,
    peer: Peer,
    blobs: Blobs,
    broker: Option<Broker>,
    own: Arc<OwnWork>,
    upkeep: Arc<Upkeep>,
    began: Instant,
    heard: Mutex<BTreeMap<NodeId, Heard>>,
}

impl Reports {
    /// Begins with no report at all.
    pub(crate) fn new(
        configuration: Arc<Configuration>,
        cluster: Cluster,
        peer: Peer,
        blobs: Blobs,
        broker: Option<Broker>,
        own: Arc<OwnWork>,
        upkeep: Arc<Upkeep>,
    ) -> Self {
        let (began, heard) = (Instant::now(), Mutex::default());
        Self { configuration, cluster, peer, blobs, broker, own, upkeep, began, heard }
    }

    /// This node's report as of now. Looks at the disk, so not for a runtime's thread.
    pub(crate) fn compose(&self) -> Report {
        let held = self.blobs.held();
        let Copies { short, missing, among } = self.upkeep.copies().clone();
        Report {
            id: self.configuration.id,
            version: env!("CARGO_PKG_VERSION").into(),
            http: self.configuration.me().http.clone(),
            slots: self.configuration.workers.all_slots(),
            stuck: self.own.stuck(),
            working_on: self
                .own
                .claims
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .map(|(task, attempt)| (*task, *attempt))
                .collect(),
            tasks_done: self.own.done.load(Ordering::Relaxed),
            blobs: held.files,
            blob_bytes: held.bytes,
            free_bytes: self.blobs.room().unwrap_or(0),
            quota_bytes: self.blobs.quota(),
            damaged: *self.blobs.damaged().borrow(),
            short,
            missing,
            copies_among: among,
            loops: self.upkeep.loops(),
        }
    }

    /// Takes in a report.
    pub(crate) fn hear(&self, report: Report) {
        let heard = Heard { at: Instant::now(), report };
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(heard.report.id, heard);
    }

    /// Tasks that the nodes which spoke lately can work on at a time, all together.
    pub(crate) fn capacity(&self) -> usize {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.values().filter(|heard| heard.at.elapsed() < DEAD_AFTER).map(|heard| heard.report.slots as usize).sum()
    }

    /// The other members of which this node has heard nothing for so long; it must have listened for as long itself.
    pub(crate) fn away(&self, after: Duration) -> BTreeSet<NodeId> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |member: &NodeId| heard.get(member).map_or(self.began, |heard| heard.at).elapsed();
        let members = self.peer.members().into_iter();
        let mut away: BTreeSet<NodeId> = members.filter(|member| since(member) >= after).collect();
        away.remove(&self.configuration.id);
        away
    }

    /// Whether `node` says that it works on this claim; `None` when it said nothing lately.
    pub(crate) fn works_on(&self, node: NodeId, task: TaskId, attempt: u32) -> Option<bool> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = heard.get(&node).filter(|heard| heard.at.elapsed() < DEAD_AFTER)?;
        Some(heard.report.working_on.contains(&(task, attempt)))
    }
}

impl web::Nodes for Reports {
    fn overview(&self) -> Vec<NodeReport> {
        let leader = self.cluster.status().leader;
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        self.peer
            .members()
            .into_iter()
            .map(|id| {
                let known = heard.get(&id);
                let report = known.map(|heard| &heard.report);
                // One that has said nothing since this node started may still stand in its cluster file.
                let listed = || self.configuration.members.get(&id).map(|member| member.http.clone());
                NodeReport {
                    id,
                    http: report.map(|report| report.http.clone()).or_else(listed).unwrap_or_default(),
                    alive: known.is_some_and(|heard| heard.at.elapsed() < DEAD_AFTER),
                    heard_ms_ago: known.map(|heard| u64::try_from(heard.at.elapsed().as_millis()).unwrap_or(u64::MAX)),
                    leader: leader == Some(id),
                    version: report.map(|report| report.version.clone()).unwrap_or_default(),
                    working_on: report
                        .map(|report| report.working_on.iter().map(|(task, _)| task.to_string()).collect())
                        .unwrap_or_default(),
                    slots: report.map_or(0, |report| report.slots),
                    stuck: report.map_or(0, |report| report.stuck),
                    tasks_done: report.map_or(0, |report| report.tasks_done),
                    blobs: report.map_or(0, |report| report.blobs),
                    blob_bytes: report.map_or(0, |report| report.blob_bytes),
                    free_bytes: report.map_or(0, |report| report.free_bytes),
                    quota_bytes: report.and_then(|report| report.quota_bytes),
                    damaged: report.map_or(0, |report| report.damaged),
                    short: report.map_or(0, |report| report.short),
                    missing: report.map_or(0, |report| report.missing),
                    copies_among: report.map(|report| report.copies_among.clone()).unwrap_or_default(),
                    loops: report.map(|report| report.loops.clone()).unwrap_or_default(),
                }
            })
            .collect()
    }

    fn lines(&self, node: NodeId, task: TaskId, attempt: u32) -> BoxFuture<'static, Vec<Line>> {
        let (peer, here) = (self.peer.clone(), node == self.configuration.id);
        Box::pin(async move {
            if here {
                return journal::lines(task, attempt);
            }
            match peer.call(node, Protocol::Work, &Call::Lines { task, attempt }, LINES_WITHIN).await {
                Ok(Reply::Lines(lines)) => lines,
                // It is gone, or older than this question.
                Ok(_) | Err(_) => Vec::new(),
            }
        })
    }

    fn broker(&self) -> BrokerReport {
        let open = self.cluster.peek().open_tasks().unwrap_or_default();
        let running = open.iter().filter(|task| matches!(task.state, state::TaskState::Running { .. })).count() as u64;
        let state = self.broker.as_ref().map(Broker::state).unwrap_or_default();
        BrokerReport {
            configured: self.broker.is_some(),
            connected: state.connected,
            queue: self.broker.as_ref().map(|broker| broker.prefix().to_owned()).unwrap_or_default(),
            ready: state.ready,
            pending: open.len() as u64 - running,
            running,
        }
    }
}
