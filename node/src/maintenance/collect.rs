//! Garbage collection: removes blobs that the state does not refer to, and staged files of interrupted uploads.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::background_loop::{Activity, BackgroundLoop, Next};
use super::{Deps, MaintenanceSettings};

/// The shortest interval between two collections.
const INTERVAL: Duration = Duration::from_secs(15);
/// The pause after a collection is at least this many times its duration, for large states.
const PAUSE_FACTOR: u32 = 30;

/// The garbage collection.
pub(super) struct CollectLoop {
    deps: Deps,
    grace: Duration,
}

impl CollectLoop {
    pub(super) fn new(deps: Deps, settings: &MaintenanceSettings) -> Self {
        Self { deps, grace: settings.grace }
    }
}

impl BackgroundLoop for CollectLoop {
    const PAUSE_PER_STEP: u32 = 1;

    async fn step(&mut self, activity: &Activity) -> Result<Next> {
        let blobs = self.deps.replication.blobs().clone();
        let seen = Instant::now();
        // Only a linearizable read can decide that a blob is unreferenced.
        let view = self.deps.cluster.read().await?;
        let grace = self.grace;
        let work = move || {
            let swept = blobs.sweep_staging()?;
            let removed = blobs.collect_garbage(&view.references()?, seen, grace)?;
            Ok::<_, anyhow::Error>((swept, removed))
        };
        let (swept, removed) = tokio::task::spawn_blocking(work).await??;
        metrics::counter!("quartet_blobs_collected_total").increment(removed as u64);
        if swept + removed > 0 {
            tracing::info!(removed, swept, "removed unreferenced files");
        }
        activity.succeeded();
        let interval = INTERVAL.min(self.grace.max(Duration::from_secs(1)));
        Ok(Next::Pause(interval.max(seen.elapsed() * PAUSE_FACTOR)))
    }
}
