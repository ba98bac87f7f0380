//! Publishes this node's report to the other nodes.

use std::sync::Arc;

use live::{Live, NodeReport, REPORT_INTERVAL};
use storage::blobs::Blobs;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use work::claims::Claims;

use super::{Maintenance, ReplicaCounts};
use crate::configuration::Configuration;

/// What a report is composed of.
pub(crate) struct Reporter {
    /// The node's configuration.
    pub configuration: Arc<Configuration>,
    /// The node's files.
    pub blobs: Blobs,
    /// The claims of its workers.
    pub claims: Arc<Claims>,
    /// Its background loops.
    pub maintenance: Arc<Maintenance>,
}

impl Reporter {
    /// Publishes a report twice a second, until `stop`.
    pub(crate) async fn run(self, live: Live, stop: CancellationToken) {
        let reporter = Arc::new(self);
        let mut tick = tokio::time::interval(REPORT_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let reporter = Arc::clone(&reporter);
            if let Ok(report) = tokio::task::spawn_blocking(move || reporter.compose()).await {
                live.publish(report).await;
            }
        }
    }

    /// The node's report as of now. Reads the disk, so it must not run on a thread of the async runtime.
    fn compose(&self) -> NodeReport {
        let held = self.blobs.usage();
        let ReplicaCounts { short, missing, among } = self.maintenance.replica_counts().clone();
        NodeReport {
            id: self.configuration.id,
            version: env!("CARGO_PKG_VERSION").into(),
            http: self.configuration.me().http.clone(),
            slots: self.configuration.workers.all_slots(),
            stuck: self.claims.stuck(),
            working_on: self.claims.held(),
            tasks_done: self.claims.finished(),
            blobs: held.files,
            blob_bytes: held.bytes,
            free_bytes: self.blobs.free_bytes().unwrap_or(0),
            quota_bytes: self.blobs.max_bytes(),
            damaged: *self.blobs.damaged().borrow(),
            short,
            missing,
            copies_among: among,
            loops: self.maintenance.loops(),
        }
    }
}
