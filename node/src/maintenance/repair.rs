//! Repair: keeps every blob on a majority of the nodes.
//!
//! A round asks all nodes in batches which blobs they have, and then fetches the blobs that this node should have, one by
//! one. A round starts
//!
//! * when the members change,
//! * when a node has not answered for `repair_after`, or answers again,
//! * when a damaged blob was found on this node,
//! * when disk space becomes short,
//! * when the last round found blobs with too few replicas,
//! * and at least every `repair_after`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use net::NodeId;
use replication::ReplicationError;
use replication::repair::{BATCH, Survey};
use storage::blobs::{BlobError, Hash};
use tokio::sync::watch;

use super::background_loop::{Activity, BackgroundLoop, Next};
use super::{Deps, Maintenance, MaintenanceSettings, ReplicaCounts};

/// How often the reasons for a round are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// An incomplete round is repeated after this time, or after `repair_after` if that is shorter.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The conditions that decide which nodes should have which blobs. A change starts a round.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Conditions {
    /// The nodes that store blobs.
    holders: Vec<NodeId>,
    /// The nodes that have not answered for `repair_after`.
    away: BTreeSet<NodeId>,
    /// Damaged blobs found on this node since its start.
    damaged: u64,
    /// Whether disk space is short.
    tight: bool,
}

/// The first phase of a round: asking the nodes for their blobs.
struct Counting {
    files: Vec<Hash>,
    next: usize,
    found: Survey,
}

/// The second phase of a round: fetching blobs.
struct Fetching {
    files: Vec<Hash>,
    next: usize,
    bytes: u64,
    /// Blobs with too few replicas, including those that other nodes will fetch.
    short: u64,
    /// Whether all nodes answered and all blobs could be fetched.
    complete: bool,
    /// Blobs that no answering node has.
    unavailable: u64,
    /// Blobs for which this node has no space.
    no_space: u64,
}

enum Phase {
    Idle,
    Counting(Counting),
    Fetching(Fetching),
}

/// The repair loop.
pub(super) struct RepairLoop {
    deps: Deps,
    maintenance: Arc<Maintenance>,
    after: Duration,
    grace: Duration,
    damaged: watch::Receiver<u64>,
    phase: Phase,
    /// The conditions at the start of the last round.
    seen: Option<Conditions>,
    next_round: Instant,
}

impl RepairLoop {
    pub(super) fn new(deps: Deps, maintenance: Arc<Maintenance>, settings: &MaintenanceSettings) -> Self {
        Self {
            damaged: deps.replication.blobs().damaged(),
            deps,
            maintenance,
            after: settings.repair_after,
            grace: settings.grace,
            phase: Phase::Idle,
            seen: None,
            next_round: Instant::now(),
        }
    }

    async fn conditions(&self) -> Result<Conditions> {
        let blobs = self.deps.replication.blobs().clone();
        let tight = tokio::task::spawn_blocking(move || blobs.is_nearly_full()).await??;
        Ok(Conditions {
            holders: self.deps.peer.holders(),
            away: self.deps.live.silent_for(self.after),
            damaged: *self.damaged.borrow(),
            tight,
        })
    }

    /// Starts a round if there is a reason.
    async fn start_round(&mut self, activity: &Activity) -> Result<Next> {
        let conditions = self.conditions().await?;
        if self.seen.as_ref() == Some(&conditions) && Instant::now() < self.next_round {
            return Ok(Next::Pause(CHECK_INTERVAL));
        }
        // A node without a majority would consider all others dead. This read fails without a majority.
        let view = self.deps.cluster.read().await?;
        let blobs = self.deps.replication.blobs().clone();
        let files = tokio::task::spawn_blocking(move || {
            blobs.recount()?;
            let mut files: Vec<Hash> = view.files()?.into_iter().collect();
            files.sort_unstable();
            Ok::<_, anyhow::Error>(files)
        });
        let files = files.await??;
        activity.progress("counting replicas", 0, files.len() as u64, 0);
        self.seen = Some(conditions);
        self.phase = Phase::Counting(Counting { files, next: 0, found: Survey::default() });
        Ok(Next::Continue)
    }

    async fn count(&mut self, mut counting: Counting, activity: &Activity) -> Result<Next> {
        let (total, from) = (counting.files.len(), counting.next);
        let to = total.min(from + BATCH);
        let away = self.seen.iter().flat_map(|seen| seen.away.iter().copied()).collect();
        counting.found.merge(self.deps.replication.survey(&counting.files[from..to], &away).await);
        counting.next = to;
        activity.progress("counting replicas", to as u64, total as u64, 0);
        if to < total {
            self.phase = Phase::Counting(counting);
            return Ok(Next::Continue);
        }
        let Survey { under_replicated: short, to_fetch, surplus, unanswered } = counting.found;
        let present = self.seen.iter().flat_map(|seen| seen.holders.iter().filter(|node| !seen.away.contains(node)));
        let among = present.copied().filter(|node| !unanswered.contains(node)).collect();
        *self.maintenance.replica_counts() = ReplicaCounts { short, missing: to_fetch.len() as u64, among };
        if !to_fetch.is_empty() {
            tracing::info!(files = to_fetch.len(), "fetching files that have too few copies");
        }
        let complete = unanswered.is_empty();
        self.phase = Phase::Fetching(Fetching {
            files: to_fetch,
            next: 0,
            bytes: 0,
            short,
            complete,
            unavailable: 0,
            no_space: 0,
        });
        if self.seen.as_ref().is_some_and(|seen| seen.tight) {
            self.make_room(&surplus).await?;
        }
        Ok(Next::Continue)
    }

    /// Removes blobs that enough other nodes have and that were not used here for the grace period.
    async fn make_room(&self, surplus: &[Hash]) -> Result<()> {
        if let Some(since) = Instant::now().checked_sub(self.grace) {
            let dropped = self.deps.replication.drop_surplus(surplus, since).await?;
            if dropped > 0 {
                tracing::info!(dropped, "removed files that enough other nodes have, to free disk space");
            }
        }
        Ok(())
    }

    async fn fetch(&mut self, mut fetching: Fetching, activity: &Activity) -> Result<Next> {
        let total = fetching.files.len() as u64;
        let Some(hash) = fetching.files.get(fetching.next).copied() else {
            // If other nodes are to fetch blobs, count again soon to check that they have.
            self.schedule_next_round(fetching.complete && fetching.short == 0);
            if fetching.no_space > 0 {
                bail!("not enough disk space for {} files that have too few copies", fetching.no_space);
            }
            if fetching.unavailable > 0 {
                bail!("no reachable node has {} files that have too few copies", fetching.unavailable);
            }
            activity.succeeded();
            return Ok(Next::Pause(CHECK_INTERVAL));
        };
        match self.deps.replication.fetch(&hash).await {
            Ok(()) => {
                fetching.bytes += self.deps.replication.blobs().size(&hash).unwrap_or(0);
                fetching.short = fetching.short.saturating_sub(1);
            }
            // A smaller blob may still fit.
            Err(ReplicationError::Blob(BlobError::Full)) => {
                fetching.no_space += 1;
                fetching.complete = false;
            }
            Err(ReplicationError::Unavailable { .. }) => {
                fetching.unavailable += 1;
                fetching.complete = false;
            }
            Err(error) => {
                self.schedule_next_round(false);
                return Err(error.into());
            }
        }
        fetching.next += 1;
        let done = fetching.next as u64;
        activity.progress("fetching files", done, total, fetching.bytes);
        let missing = total - done + fetching.unavailable + fetching.no_space;
        let mut counts = self.maintenance.replica_counts();
        *counts = ReplicaCounts { short: fetching.short, missing, among: std::mem::take(&mut counts.among) };
        drop(counts);
        self.phase = Phase::Fetching(fetching);
        Ok(Next::Continue)
    }

    fn schedule_next_round(&mut self, complete: bool) {
        let pause = if complete { self.after } else { RETRY_INTERVAL.min(self.after) };
        self.next_round = Instant::now() + pause.max(CHECK_INTERVAL);
    }
}

impl BackgroundLoop for RepairLoop {
    /// The repair may run half of the time, because the next failure could destroy the last replica.
    const PAUSE_PER_STEP: u32 = 1;

    async fn step(&mut self, activity: &Activity) -> Result<Next> {
        // A failed step ends the round. The next one starts for the same reason.
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => self.start_round(activity).await,
            Phase::Counting(counting) => self.count(counting, activity).await,
            Phase::Fetching(fetching) => self.fetch(fetching, activity).await,
        }
    }

    async fn woken(&mut self) {
        if self.damaged.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
