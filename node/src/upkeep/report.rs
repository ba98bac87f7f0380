//! Telling every other node what this one does.

use std::sync::Arc;

use net::peer::{Peer, Protocol};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::reports::{INTERVAL, Reports};
use crate::work::service::{Call, Reply};

/// Reports twice a second, until `stop`. A report that is late is worth nothing, so this loop takes no rests.
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
