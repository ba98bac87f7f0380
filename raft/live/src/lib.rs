//! Live, unreplicated state: what nodes do at this moment.
//!
//! Raft replicates what must survive. This crate is for what changes many times a second and may be lost: it is kept in
//! memory by one node, its *owner*, and other nodes get it by a push from the owner or by a call to it.
//!
//! | state | owner | how others get it |
//! | --- | --- | --- |
//! | [`NodeReport`]: load, files, running attempts | the node itself | the owner pushes it to every member twice a second |
//! | [`attempt_log`]: log lines of a running attempt | the node that runs the attempt | a call to the owner |
//!
//! [`Live`] is a node's handle on all of it. A new kind of live state gets a module here, and calls in `protocol`
//! if nodes ask for it.
//!
//! Invariant: nothing in the replicated state depends on live state, except for the leader's decision to expire a claim,
//! which any other leader can make again.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod attempt_log;
mod broker;
mod protocol;
mod report;
mod reports;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use net::{NodeId, Peer, Protocol};
use state::{LogLine, TaskId};

pub use broker::BrokerStatus;
use protocol::{Call, LiveService, Reply};
pub use report::{LoopStatus, NodeReport};
pub use reports::NodeStatus;
use reports::Reports;

/// How often a node publishes its report.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// A node without a report for this long counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(3);
/// How long the owner of an attempt log may take to answer.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// A node's handle on live state. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    peer: Peer,
    reports: Arc<Reports>,
}

impl Live {
    /// Starts without reports and answers the other nodes. `http` has the configured HTTP addresses of the nodes, for
    /// those that have not reported yet.
    pub fn start(peer: Peer, http: BTreeMap<NodeId, String>) -> Self {
        let reports = Arc::new(Reports::new(http));
        peer.serve(Protocol::Live, Arc::new(LiveService { reports: Arc::clone(&reports) }));
        Self { peer, reports }
    }

    /// Stores this node's report and sends it to every other member. A member that does not answer within
    /// [`REPORT_INTERVAL`] gets the next one.
    pub async fn publish(&self, report: NodeReport) {
        self.reports.insert(report.clone());
        let others = self.peer.members().into_iter().filter(|member| *member != self.peer.id());
        let sent = others.map(|member| {
            let call = Call::Report(report.clone());
            async move {
                let _ = self.peer.call::<_, Reply>(member, Protocol::Live, &call, REPORT_INTERVAL).await;
            }
        });
        futures_util::future::join_all(sent).await;
    }

    /// The status of every member, in the order of their ids.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.peer.members().into_iter().map(|id| self.reports.status(id)).collect()
    }

    /// The number of tasks that all live nodes together can run at a time.
    pub fn capacity(&self) -> usize {
        self.reports.capacity()
    }

    /// The other members without a report for `duration`. Until this node has run for as long itself there are none.
    pub fn silent_for(&self, duration: Duration) -> BTreeSet<NodeId> {
        let others = self.peer.members().into_iter().filter(|member| *member != self.peer.id());
        others.filter(|member| self.reports.silence(*member) >= duration).collect()
    }

    /// Whether `node` runs this attempt; `None` if the node counts as dead.
    pub fn works_on(&self, node: NodeId, task: TaskId, attempt: u32) -> Option<bool> {
        self.reports.works_on(node, task, attempt)
    }

    /// The log lines of an attempt that `node` runs; empty if the node does not answer within a second.
    pub async fn attempt_log(&self, node: NodeId, task: TaskId, attempt: u32) -> Vec<LogLine> {
        if node == self.peer.id() {
            return attempt_log::lines(task, attempt);
        }
        match self.peer.call(node, Protocol::Live, &Call::AttemptLog { task, attempt }, LOG_TIMEOUT).await {
            Ok(Reply::AttemptLog(lines)) => lines,
            Ok(Reply::Received) | Err(_) => Vec::new(),
        }
    }
}
