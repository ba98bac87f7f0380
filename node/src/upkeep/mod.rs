//! The loops that a node runs beside its work: telling the others what it does, and looking after its files.

mod collect;
mod repair;
mod report;
mod scrub;
mod worker;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::peer::Peer;
use raft::Cluster;
use replication::Sharing;
use storage::NodeId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use web::api::cluster::LoopReport;

use crate::reports::Reports;
use collect::Collect;
use repair::Repair;
pub(crate) use report::report;
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
pub(crate) struct Means {
    /// The state.
    pub cluster: Cluster,
    /// The other nodes.
    pub peer: Peer,
    /// The files.
    pub sharing: Sharing,
    /// What the other nodes say of themselves.
    pub reports: Arc<Reports>,
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
pub(crate) struct Upkeep {
    repair: Activity,
    scrub: Activity,
    collect: Activity,
    /// Rounds of the scrub that somebody orders.
    scrubs: Scrubs,
    copies: Mutex<Copies>,
}

impl Upkeep {
    /// Begins to look after this node's files, until `stop`.
    pub(crate) fn start(
        self: &Arc<Self>,
        means: &Means,
        settings: &Settings,
        loops: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let repair = Repair::new(means.clone(), Arc::clone(self), settings);
        let scrub = Scrubbing::new(means.clone(), self.scrubs(), settings);
        let collect = Collect::new(means.clone(), settings);
        loops.spawn(run(repair, self.repair.clone(), stop.clone()));
        loops.spawn(run(scrub, self.scrub.clone(), stop.clone()));
        loops.spawn(run(collect, self.collect.clone(), stop.clone()));
    }

    /// Orders rounds of the scrub.
    pub(crate) fn scrubs(&self) -> Scrubs {
        self.scrubs.clone()
    }

    /// What each loop does now.
    pub(crate) fn loops(&self) -> Vec<LoopReport> {
        let named = [("repair", &self.repair), ("scrub", &self.scrub), ("collect", &self.collect)];
        named.map(|(name, activity)| activity.report(name)).into()
    }

    /// How many copies of files there are.
    pub(crate) fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
