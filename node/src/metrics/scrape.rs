//! Values of the moment, read when the metrics are scraped.

use live::{BrokerStatus, Live};
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use net::Peer;
use raft::{Cluster, now};
use state::{TaskState, ViewError};
use storage::blobs::Blobs;
use tokio::sync::watch;

use super::catalogue::{Kind, METRICS};
use super::process;

/// Where the values are read.
pub(crate) struct Sources {
    /// Raft and the state.
    pub cluster: Cluster,
    /// The connections to the other nodes.
    pub peer: Peer,
    /// The status of the nodes.
    pub live: Live,
    /// The status of the broker, if one is configured.
    pub broker: Option<watch::Receiver<BrokerStatus>>,
    /// The files.
    pub blobs: Blobs,
}

impl Sources {
    /// All metrics in Prometheus' text format. Reads the disk, so it must not run on a thread of the async runtime.
    pub(crate) fn text(&self, handle: &PrometheusHandle) -> String {
        self.measure_raft();
        self.measure_nodes();
        self.measure_blobs();
        let broker = self.broker.as_ref().map(|status| status.borrow().clone()).unwrap_or_default();
        gauge!("quartet_queue_connected").set(flag(broker.connected));
        gauge!("quartet_queue_ready").set(broker.ready.unwrap_or(0) as f64);
        if let Err(error) = self.measure_tasks() {
            tracing::error!(%error, "cannot read the open tasks");
        }
        self.peer.update_metrics();
        process::measure();
        handle.run_upkeep();
        with_counter_types(handle.render())
    }

    fn measure_raft(&self) {
        let status = self.cluster.status();
        gauge!("quartet_raft_term").set(status.term as f64);
        gauge!("quartet_raft_is_leader").set(flag(status.leader == Some(status.id)));
        gauge!("quartet_raft_leader_known").set(flag(status.leader.is_some()));
        gauge!("quartet_raft_last_log_index").set(status.last_log as f64);
        gauge!("quartet_raft_applied_index").set(status.last_applied as f64);
        gauge!("quartet_raft_quorum_silence_seconds").set(status.quorum_ack_ms.unwrap_or(0) as f64 / 1e3);
        for member in status.members.iter().filter(|member| **member != status.id) {
            // A leader that has not reached a member yet does not know any of the member's entries.
            let unknown = if status.leader == Some(status.id) { status.last_log } else { 0 };
            let behind = status.behind.get(member).copied().unwrap_or(unknown);
            gauge!("quartet_raft_replication_lag_entries", "peer" => member.to_string()).set(behind as f64);
        }
    }

    fn measure_nodes(&self) {
        let own = self.peer.id();
        for node in self.live.nodes() {
            if node.id != own {
                gauge!("quartet_peer_alive", "peer" => node.id.to_string()).set(flag(node.alive));
                continue;
            }
            let report = node.report.unwrap_or_default();
            gauge!("quartet_slots").set(report.slots);
            gauge!("quartet_slots_stuck").set(report.stuck);
            gauge!("quartet_blobs_short").set(report.short as f64);
            gauge!("quartet_blobs_missing").set(report.missing as f64);
        }
    }

    fn measure_blobs(&self) {
        let held = self.blobs.usage();
        gauge!("quartet_blobs").set(held.files as f64);
        gauge!("quartet_blobs_bytes").set(held.bytes as f64);
        gauge!("quartet_blobs_room_bytes").set(self.blobs.free_bytes().unwrap_or(0) as f64);
        gauge!("quartet_blobs_staged").set(self.blobs.staged_files() as f64);
    }

    fn measure_tasks(&self) -> Result<(), ViewError> {
        let view = self.cluster.peek();
        let open = view.open_tasks()?;
        let running = open.iter().filter(|task| matches!(task.state, TaskState::Running { .. })).count();
        gauge!("quartet_tasks_running").set(running as f64);
        gauge!("quartet_tasks_pending").set((open.len() - running) as f64);
        // Open tasks are in the order of their jobs.
        let oldest = open.first().map(|task| view.job(task.id.job)).transpose()?.flatten();
        let age = oldest.map_or(0, |job| now().saturating_sub(job.created_at));
        gauge!("quartet_tasks_oldest_seconds").set(age as f64 / 1e3);
        Ok(())
    }
}

/// Declares counters with fractions as counters instead of gauges, as promtool demands by their names.
fn with_counter_types(text: String) -> String {
    METRICS.iter().filter(|metric| matches!(metric.kind, Kind::FractionalCounter)).fold(text, |text, metric| {
        let declared = |kind: &str| format!("# TYPE {} {kind}\n", metric.name);
        text.replacen(&declared("gauge"), &declared("counter"), 1)
    })
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}
