//! Background loops of a node: repair, scrub and garbage collection of its blobs, and its report to the other nodes.

mod background_loop;
mod collect;
mod repair;
mod report;
mod scrub;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use live::{Live, LoopStatus};
use net::NodeId;
use net::Peer;
use parking_lot::{Mutex, MutexGuard};
use raft::Cluster;
use replication::Replication;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use background_loop::{Activity, run};
use collect::CollectLoop;
use repair::RepairLoop;
pub(crate) use report::Reporter;
use scrub::ScrubLoop;
pub(crate) use scrub::{ScrubProgress, ScrubRequests};

/// The settings of the loops.
pub(crate) struct MaintenanceSettings {
    /// The time without contact after which the replicas of a node are replaced, and the interval of complete counts.
    pub repair_after: Duration,
    /// The time in which the scrub reads every blob once.
    pub scrub: Duration,
    /// The time for which an unreferenced blob is kept.
    pub grace: Duration,
    /// The file in which the scrub saves its progress.
    pub scrub_mark: std::path::PathBuf,
}

/// What the loops depend on.
#[derive(Clone)]
pub(crate) struct Deps {
    /// Raft and the state.
    pub cluster: Cluster,
    /// The other nodes.
    pub peer: Peer,
    /// The blobs and their replicas.
    pub replication: Replication,
    /// Which nodes are alive.
    pub live: Live,
}

/// The result of this node's last count of replicas.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplicaCounts {
    /// Blobs on fewer nodes than a majority.
    pub short: u64,
    /// Those of them that this node will fetch.
    pub missing: u64,
    /// The members that took part in the count. Empty before the first count.
    pub among: BTreeSet<NodeId>,
}

/// The running loops and their activities.
#[derive(Default)]
pub(crate) struct Maintenance {
    repair: Activity,
    scrub: Activity,
    collect: Activity,
    /// Scrubs that the operator requests.
    scrubs: ScrubRequests,
    replica_counts: Mutex<ReplicaCounts>,
}

impl Maintenance {
    /// Starts the loops, which run until `stop`.
    pub(crate) fn start(
        self: &Arc<Self>,
        deps: &Deps,
        settings: &MaintenanceSettings,
        loops: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let repair = RepairLoop::new(deps.clone(), Arc::clone(self), settings);
        let scrub = ScrubLoop::new(deps.clone(), self.scrubs(), settings);
        let collect = CollectLoop::new(deps.clone(), settings);
        loops.spawn(run(repair, self.repair.clone(), stop.clone()));
        loops.spawn(run(scrub, self.scrub.clone(), stop.clone()));
        loops.spawn(run(collect, self.collect.clone(), stop.clone()));
    }

    /// A handle to request scrubs.
    pub(crate) fn scrubs(&self) -> ScrubRequests {
        self.scrubs.clone()
    }

    /// The current activity of each loop.
    pub(crate) fn loops(&self) -> Vec<LoopStatus> {
        let named = [("repair", &self.repair), ("scrub", &self.scrub), ("collect", &self.collect)];
        named.map(|(name, activity)| activity.report(name)).into()
    }

    /// The result of the last count of replicas.
    pub(crate) fn replica_counts(&self) -> MutexGuard<'_, ReplicaCounts> {
        self.replica_counts.lock()
    }
}
