//! The loops that a node runs beside its work: telling the others what it does, and looking after its files.

mod collect;
mod repair;
mod report;
mod scrub;
mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use live::{Live, LoopStatus};
use net::{NodeId, Peer};
use parking_lot::{Mutex, MutexGuard};
use raft::Cluster;
use replication::Replication;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use collect::Collect;
use repair::Repair;
pub(crate) use report::Reporter;
use scrub::Scrubbing;
pub(crate) use scrub::{OrderedRound, Scrubs};
use worker::{Activity, run};

/// What the loops are told.
pub(crate) struct Settings {
    /// How long a node may be away before the others make up for its copies, and how often copies are counted.
    pub repair_after: Duration,
    /// How long a scrub takes to read every file.
    pub scrub: Duration,
    /// How long a file that nothing refers to is kept.
    pub grace: Duration,
    /// Where the scrub notes how far it is.
    pub scrub_mark: std::path::PathBuf,
}

/// What the loops work with.
#[derive(Clone)]
pub(crate) struct Deps {
    /// The state.
    pub cluster: Cluster,
    /// The other nodes.
    pub peer: Peer,
    /// The files.
    pub replication: Replication,
    /// Which nodes are alive.
    pub live: Live,
}

/// How many copies of files there are, as of the last look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copies {
    /// Files with fewer than make a majority.
    pub short: u64,
    /// Those of them of which this node is to take one.
    pub missing: u64,
    /// The members that said which files they hold; nobody before the first look.
    pub among: BTreeSet<NodeId>,
}

/// What the loops do, for whoever wants to see it.
#[derive(Default)]
pub(crate) struct Maintenance {
    repair: Activity,
    scrub: Activity,
    collect: Activity,
    /// Rounds of the scrub that somebody orders.
    scrubs: Scrubs,
    copies: Mutex<Copies>,
}

impl Maintenance {
    /// Begins to look after this node's files, until `stop`.
    pub(crate) fn start(
        self: &Arc<Self>,
        deps: &Deps,
        settings: &Settings,
        loops: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let repair = Repair::new(deps.clone(), Arc::clone(self), settings);
        let scrub = Scrubbing::new(deps.clone(), self.scrubs(), settings);
        let collect = Collect::new(deps.clone(), settings);
        loops.spawn(run(repair, self.repair.clone(), stop.clone()));
        loops.spawn(run(scrub, self.scrub.clone(), stop.clone()));
        loops.spawn(run(collect, self.collect.clone(), stop.clone()));
    }

    /// Orders rounds of the scrub.
    pub(crate) fn scrubs(&self) -> Scrubs {
        self.scrubs.clone()
    }

    /// What each loop does now.
    pub(crate) fn loops(&self) -> Vec<LoopStatus> {
        let named = [("repair", &self.repair), ("scrub", &self.scrub), ("collect", &self.collect)];
        named.map(|(name, activity)| activity.report(name)).into()
    }

    /// How many copies of files there are.
    pub(crate) fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock()
    }
}
