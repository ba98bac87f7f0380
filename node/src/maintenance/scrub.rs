//! Scrub: reads every blob periodically, and fetches damaged ones again.

use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::blobs::Hash;
use storage::blobs::scrub::{Finding, Scrub, ScrubTrigger};

use super::background_loop::{Activity, BackgroundLoop, Next};
use super::{Deps, MaintenanceSettings};

/// The progress of the last scrub that the operator requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScrubProgress {
    /// The number of requests since the node started, which is the number of the last request.
    pub last_request: u64,
    /// The number of the request of this scrub; 0 before the first.
    pub request: u64,
    /// Whether the scrub has read all blobs.
    pub ended: bool,
    /// Blobs read.
    pub files: u64,
    /// Blobs in total.
    pub total: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Damaged blobs, which were set aside.
    pub damaged: u64,
    /// Damaged blobs that were fetched again.
    pub replaced: u64,
    /// Damaged blobs that the state does not refer to.
    pub unneeded: u64,
}

/// Requests scrubs, and returns their progress. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ScrubRequests {
    trigger: ScrubTrigger,
    progress: Arc<Mutex<ScrubProgress>>,
}

impl ScrubRequests {
    /// Requests a scrub of this node now, and returns the number of the request.
    pub(crate) fn request(&self) -> u64 {
        self.trigger.trigger()
    }

    /// The progress of the last requested scrub.
    pub(crate) fn progress(&self) -> ScrubProgress {
        let progress = *self.progress.lock();
        ScrubProgress { last_request: self.trigger.last_request(), ..progress }
    }

    /// Updates the progress of the scrub with the number `request`. Does nothing for a periodic scrub.
    fn update(&self, request: Option<u64>, change: impl FnOnce(&mut ScrubProgress)) {
        let Some(request) = request else { return };
        let mut progress = self.progress.lock();
        if progress.request != request {
            *progress = ScrubProgress { request, ..ScrubProgress::default() };
        }
        change(&mut progress);
    }
}

/// The scrub of this node's blobs.
pub(super) struct ScrubLoop {
    deps: Deps,
    scrub: Scrub,
    scrubs: ScrubRequests,
}

impl ScrubLoop {
    pub(super) fn new(deps: Deps, scrubs: ScrubRequests, settings: &MaintenanceSettings) -> Self {
        let (blobs, mark) = (deps.replication.blobs().clone(), settings.scrub_mark.clone());
        Self { deps, scrub: Scrub::new(blobs, settings.scrub, mark, scrubs.trigger.clone()), scrubs }
    }

    /// Fetches a damaged blob again if the state refers to it.
    async fn replace(&self, hash: Hash) -> Result<()> {
        let request = self.scrub.requested();
        self.scrubs.update(request, |progress| progress.damaged += 1);
        let view = self.deps.cluster.peek();
        let needed = tokio::task::spawn_blocking(move || view.references()).await??.contains(&hash);
        if needed {
            self.deps.replication.fetch(&hash).await.context("cannot fetch a damaged file again")?;
            tracing::info!(%hash, "fetched a damaged file again");
            self.scrubs.update(request, |progress| progress.replaced += 1);
        } else {
            self.scrubs.update(request, |progress| progress.unneeded += 1);
        }
        Ok(())
    }
}

impl BackgroundLoop for ScrubLoop {
    /// The scrub runs at most a quarter of the time, which is only reached for requested scrubs.
    const PAUSE_PER_STEP: u32 = 3;

    async fn step(&mut self, activity: &Activity) -> Result<Next> {
        let (finding, pause) = self.scrub.step().await?;
        let (done, total, bytes) = self.scrub.progress();
        activity.progress("reading files", done, total, bytes);
        self.scrubs.update(self.scrub.requested(), |progress| {
            (progress.files, progress.total, progress.bytes) = (done, total, bytes)
        });
        match finding {
            Finding::Damaged(hash) => self.replace(hash).await?,
            Finding::Intact => {}
            Finding::End { request } => {
                activity.succeeded();
                self.scrubs.update(request, |progress| progress.ended = true);
            }
        }
        Ok(match pause {
            None => Next::Continue,
            Some(pause) => Next::Pause(pause),
        })
    }

    async fn woken(&mut self) {
        self.scrubs.trigger.triggered().await;
    }
}
