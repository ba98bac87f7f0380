//! Keeping as many copies of every file as make a majority.
//!
//! A look asks all nodes about all files, in batches; what this node is to take is fetched one by one. A look begins
//! when the members change, when a node has been away for so long that it may not come back, when it comes back after
//! all, when a file was found damaged here, when room gets scarce, when there were too few copies the last time, and in
//! any case now and then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use net::NodeId;
use replication::ReplicationError;
use replication::repair::{BATCH, Survey};
use storage::blobs::{BlobError, Hash};
use tokio::sync::watch;

use super::worker::{Activity, Next, Worker};
use super::{Copies, Deps, Maintenance, Settings};

/// How often the situation is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A look that was not complete is repeated after this long, or sooner if looks are more frequent anyway.
const SOON: Duration = Duration::from_secs(30);

/// What decides where copies should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Situation {
    /// Who should hold files.
    holders: Vec<NodeId>,
    /// Who does not answer any more.
    away: BTreeSet<NodeId>,
    damaged: u64,
    tight: bool,
}

/// Asking where the files are.
struct Asking {
    files: Vec<Hash>,
    next: usize,
    found: Survey,
}

/// Fetching what this node should hold.
struct Taking {
    files: Vec<Hash>,
    next: usize,
    bytes: u64,
    /// Files with too few copies, whoever is to take one.
    short: u64,
    /// Whether all nodes were heard and all files could be had.
    complete: bool,
    /// Files that nobody who answers holds.
    nowhere: u64,
    /// Files for which there is no room here.
    no_room: u64,
}

enum Phase {
    Resting,
    Asking(Asking),
    Taking(Taking),
}

/// Repairs the number of copies, as far as this node has a part in it.
pub(super) struct Repair {
    deps: Deps,
    maintenance: Arc<Maintenance>,
    after: Duration,
    grace: Duration,
    damaged: watch::Receiver<u64>,
    phase: Phase,
    seen: Option<Situation>,
    again: Instant,
}

impl Repair {
    pub(super) fn new(deps: Deps, maintenance: Arc<Maintenance>, settings: &Settings) -> Self {
        Self {
            damaged: deps.replication.blobs().damaged(),
            deps,
            maintenance,
            after: settings.repair_after,
            grace: settings.grace,
            phase: Phase::Resting,
            seen: None,
            again: Instant::now(),
        }
    }

    async fn situation(&self) -> Result<Situation> {
        let blobs = self.deps.replication.blobs().clone();
        let tight = tokio::task::spawn_blocking(move || blobs.is_nearly_full()).await??;
        Ok(Situation {
            holders: self.deps.peer.holders(),
            away: self.deps.live.silent_for(self.after),
            damaged: *self.damaged.borrow(),
            tight,
        })
    }

    /// Begins a look if there is a reason to.
    async fn rest(&mut self, activity: &Activity) -> Result<Next> {
        let situation = self.situation().await?;
        if self.seen.as_ref() == Some(&situation) && Instant::now() < self.again {
            return Ok(Next::Rest(LOOK));
        }
        // Who is alone takes the others for dead; this asks whether a majority is here.
        let view = self.deps.cluster.read().await?;
        let blobs = self.deps.replication.blobs().clone();
        let files = tokio::task::spawn_blocking(move || {
            blobs.recount()?;
            let mut files: Vec<Hash> = view.files()?.into_iter().collect();
            files.sort_unstable();
            Ok::<_, anyhow::Error>(files)
        });
        let files = files.await??;
        activity.doing("counting copies", 0, files.len() as u64, 0);
        self.seen = Some(situation);
        self.phase = Phase::Asking(Asking { files, next: 0, found: Survey::default() });
        Ok(Next::Again)
    }

    async fn ask(&mut self, mut asking: Asking, activity: &Activity) -> Result<Next> {
        let (total, from) = (asking.files.len(), asking.next);
        let to = total.min(from + BATCH);
        let away = self.seen.iter().flat_map(|seen| seen.away.iter().copied()).collect();
        asking.found.merge(self.deps.replication.survey(&asking.files[from..to], &away).await);
        asking.next = to;
        activity.doing("counting copies", to as u64, total as u64, 0);
        if to < total {
            self.phase = Phase::Asking(asking);
            return Ok(Next::Again);
        }
        let Survey { under_replicated: short, to_fetch: take, surplus, unanswered: unheard } = asking.found;
        let present = self.seen.iter().flat_map(|seen| seen.holders.iter().filter(|node| !seen.away.contains(node)));
        let among = present.copied().filter(|node| !unheard.contains(node)).collect();
        *self.maintenance.copies() = Copies { short, missing: take.len() as u64, among };
        if !take.is_empty() {
            tracing::info!(files = take.len(), "taking copies of files that too few nodes hold");
        }
        let complete = unheard.is_empty();
        self.phase = Phase::Taking(Taking { files: take, next: 0, bytes: 0, short, complete, nowhere: 0, no_room: 0 });
        if self.seen.as_ref().is_some_and(|seen| seen.tight) {
            self.make_room(&surplus).await?;
        }
        Ok(Next::Again)
    }

    /// Drops copies that enough others hold and that nobody has used here for a while.
    async fn make_room(&self, surplus: &[Hash]) -> Result<()> {
        if let Some(since) = Instant::now().checked_sub(self.grace) {
            let dropped = self.deps.replication.drop_surplus(surplus, since).await?;
            if dropped > 0 {
                tracing::info!(dropped, "copies that enough others hold have made room");
            }
        }
        Ok(())
    }

    async fn take(&mut self, mut taking: Taking, activity: &Activity) -> Result<Next> {
        let total = taking.files.len() as u64;
        let Some(hash) = taking.files.get(taking.next).copied() else {
            // What others are to take is counted once more, lest it be forgotten when they do not.
            self.look_again(taking.complete && taking.short == 0);
            if taking.no_room > 0 {
                bail!("there is no room here for {} files that too few nodes hold", taking.no_room);
            }
            if taking.nowhere > 0 {
                bail!("{} files cannot be had from any node that answers", taking.nowhere);
            }
            activity.well();
            return Ok(Next::Rest(LOOK));
        };
        match self.deps.replication.fetch(&hash).await {
            Ok(()) => {
                taking.bytes += self.deps.replication.blobs().size(&hash).unwrap_or(0);
                taking.short = taking.short.saturating_sub(1);
            }
            // A smaller one may fit.
            Err(ReplicationError::Blob(BlobError::Full)) => {
                taking.no_room += 1;
                taking.complete = false;
            }
            Err(ReplicationError::Unavailable { .. }) => {
                taking.nowhere += 1;
                taking.complete = false;
            }
            Err(error) => {
                self.look_again(false);
                return Err(error.into());
            }
        }
        taking.next += 1;
        let done = taking.next as u64;
        activity.doing("taking copies", done, total, taking.bytes);
        let missing = total - done + taking.nowhere + taking.no_room;
        let mut copies = self.maintenance.copies();
        *copies = Copies { short: taking.short, missing, among: std::mem::take(&mut copies.among) };
        drop(copies);
        self.phase = Phase::Taking(taking);
        Ok(Next::Again)
    }

    fn look_again(&mut self, complete: bool) {
        let pause = if complete { self.after } else { SOON.min(self.after) };
        self.again = Instant::now() + pause.max(LOOK);
    }
}

impl Worker for Repair {
    /// Half of the time: what is lost next may be the last copy.
    const TRANQUILLITY: u32 = 1;

    async fn step(&mut self, activity: &Activity) -> Result<Next> {
        // A step that fails ends the look; what made it necessary begins the next one.
        match std::mem::replace(&mut self.phase, Phase::Resting) {
            Phase::Resting => self.rest(activity).await,
            Phase::Asking(asking) => self.ask(asking, activity).await,
            Phase::Taking(taking) => self.take(taking, activity).await,
        }
    }

    async fn woken(&mut self) {
        if self.damaged.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
