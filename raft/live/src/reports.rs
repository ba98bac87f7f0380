//! The last report of each node, and which nodes are alive by it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use net::NodeId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use state::TaskId;

use crate::DEAD_AFTER;
use crate::report::NodeReport;

struct Received {
    report: NodeReport,
    at: Instant,
}

impl Received {
    fn is_alive(&self) -> bool {
        self.at.elapsed() < DEAD_AFTER
    }
}

/// A member as this node sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The member.
    pub id: NodeId,
    /// `host:port` of its HTTP interface, from its report or else from the configuration.
    pub http: String,
    /// Whether it has reported within [`DEAD_AFTER`].
    pub alive: bool,
    /// Time since its last report; `None` if it has not reported to this process.
    pub silence: Option<Duration>,
    /// Its last report.
    pub report: Option<NodeReport>,
}

/// The last report of each node.
pub(crate) struct Reports {
    http: BTreeMap<NodeId, String>,
    started: Instant,
    received: Mutex<BTreeMap<NodeId, Received>>,
}

impl Reports {
    pub(crate) fn new(http: BTreeMap<NodeId, String>) -> Self {
        Self { http, started: Instant::now(), received: Mutex::default() }
    }

    pub(crate) fn insert(&self, report: NodeReport) {
        self.received.lock().insert(report.id, Received { at: Instant::now(), report });
    }

    pub(crate) fn status(&self, id: NodeId) -> NodeStatus {
        let received = self.received.lock();
        let last = received.get(&id);
        NodeStatus {
            id,
            http: last.map(|last| last.report.http.clone()).or_else(|| self.http.get(&id).cloned()).unwrap_or_default(),
            alive: last.is_some_and(Received::is_alive),
            silence: last.map(|last| last.at.elapsed()),
            report: last.map(|last| last.report.clone()),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        let received = self.received.lock();
        received.values().filter(|last| last.is_alive()).map(|last| last.report.slots as usize).sum()
    }

    /// Time since the node's last report, or since this process started.
    pub(crate) fn silence(&self, node: NodeId) -> Duration {
        self.received.lock().get(&node).map_or(self.started, |last| last.at).elapsed()
    }

    pub(crate) fn works_on(&self, node: NodeId, task: TaskId, attempt: u32) -> Option<bool> {
        let received = self.received.lock();
        let last = received.get(&node).filter(|last| last.is_alive())?;
        Some(last.report.working_on.contains(&(task, attempt)))
    }
}
