//! The loops that a node runs beside its work: telling the others what it does, and removing what no song needs.

use std::sync::Arc;
use std::time::Duration;

use raft::Cluster;
use storage::peer::{Peer, Protocol};
use storage::sharing::Sharing;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::reports::{INTERVAL, Reports};
use crate::work::service::{Call, Reply};

/// How often unreferenced files are looked for.
const COLLECT_EVERY: Duration = Duration::from_secs(15);

/// Tells every other node what this one does.
pub(crate) async fn report(reports: Arc<Reports>, peer: Peer, stop: CancellationToken) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let composing = Arc::clone(&reports);
        let Ok(report) = tokio::task::spawn_blocking(move || composing.compose()).await else {
            continue;
        };
        reports.hear(report.clone());
        let told = peer.members().into_iter().filter(|member| *member != peer.id()).map(|member| {
            let (peer, call) = (&peer, Call::Report(report.clone()));
            // A node that does not listen will hear the next one.
            async move {
                let _ = peer.call::<_, Reply>(member, Protocol::Work, &call, INTERVAL).await;
            }
        });
        futures_util::future::join_all(told).await;
    }
}

/// Removes this node's files that nothing in the state refers to and that are older than `grace`.
///
/// The grace covers a file that is already here while the command that refers to it is on its way.
pub(crate) async fn collect(cluster: Cluster, sharing: Sharing, grace: Duration, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(COLLECT_EVERY.min(grace.max(Duration::from_secs(1)))) => {}
        }
        // Only a linearizable read may decide that nothing refers to a file.
        let Ok(view) = cluster.read().await else {
            continue;
        };
        let keep = match tokio::task::spawn_blocking(move || view.references()).await {
            Ok(Ok(keep)) => keep,
            Ok(Err(error)) => {
                tracing::error!(%error, "the state cannot be read");
                continue;
            }
            Err(_) => continue,
        };
        match sharing.collect(&keep, grace).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "files that no song needs were removed"),
            Err(error) => tracing::warn!(%error, "unneeded files could not be removed"),
        }
    }
}
