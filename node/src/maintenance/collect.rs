//! Removing what nothing refers to: files of songs that are gone, and staged files of uploads that broke off.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::worker::{Activity, Next, Worker};
use super::{Deps, Settings};

/// How often unneeded files are looked for, at most.
const EVERY: Duration = Duration::from_secs(15);
/// How many times as long as a look the rest after it is, for a state so large that a look takes seconds.
const REST: u32 = 30;

/// Removes unneeded files.
pub(super) struct Collect {
    deps: Deps,
    grace: Duration,
}

impl Collect {
    pub(super) fn new(deps: Deps, settings: &Settings) -> Self {
        Self { deps, grace: settings.grace }
    }
}

impl Worker for Collect {
    const TRANQUILLITY: u32 = 1;

    async fn step(&mut self, activity: &Activity) -> Result<Next> {
        let blobs = self.deps.replication.blobs().clone();
        let seen = Instant::now();
        // Only a linearizable read may decide that nothing refers to a file.
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
            tracing::info!(removed, swept, "files that nothing needs were removed");
        }
        activity.well();
        let often = EVERY.min(self.grace.max(Duration::from_secs(1)));
        Ok(Next::Rest(often.max(seen.elapsed() * REST)))
    }
}
