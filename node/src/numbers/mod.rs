//! The node's numbers, for Prometheus.
//!
//! What happens is counted where it happens, through the `metrics` crate. What is so at this moment, the log's length or
//! the free room, is looked up when somebody asks for the numbers, and costs nothing while nobody does.

mod catalogue;
mod process;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use metrics::{Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use net::peer::Peer;
use raft::Cluster;
use state::ViewError;
use state::{TaskKind, TaskState};
use storage::NodeId;
use storage::blobs::Blobs;
use tokio_util::sync::CancellationToken;
use web::Nodes;

use crate::reports::Reports;
use crate::work::now;
use catalogue::{Kind, NUMBERS};

/// How often what histograms have gathered is folded into their buckets, so that it takes no memory.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// Begins to count; must come before anything that counts.
pub(crate) fn begin(node: NodeId) -> Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new().add_global_label("node", node.to_string());
    for number in NUMBERS {
        if let Kind::Histogram(buckets) = number.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(number.name.into()), buckets)?;
        }
    }
    let handle = builder.install_recorder().context("numbers cannot be recorded")?;
    for number in NUMBERS {
        match number.kind {
            Kind::Counter => describe_counter!(number.name, number.unit, number.meaning),
            Kind::Gauge | Kind::Sum => describe_gauge!(number.name, number.unit, number.meaning),
            Kind::Histogram(_) => describe_histogram!(number.name, number.unit, number.meaning),
        }
        for labels in number.begins {
            match number.kind {
                Kind::Counter => counter!(number.name, *labels).increment(0),
                Kind::Gauge | Kind::Sum => gauge!(number.name, *labels).set(0.0),
                Kind::Histogram(_) => drop(histogram!(number.name, *labels)),
            }
        }
    }
    gauge!("quartet_node_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    process::begin();
    Ok(handle)
}

/// Keeps the memory that counting takes small while nobody asks for the numbers.
pub(crate) async fn fold(handle: PrometheusHandle, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FOLD_EVERY) => handle.run_upkeep(),
        }
    }
}

/// The counter of this name for merges or for the other tasks.
pub(crate) fn of_kind(name: &'static str, merge: bool) -> Counter {
    counter!(name, "kind" => word(merge))
}

/// Counts a finished task.
pub(crate) fn finished(kind: TaskKind, took: Duration, audio_seconds: u64) {
    let merge = matches!(kind, TaskKind::Merge);
    of_kind("quartet_tasks_finished_total", merge).increment(1);
    histogram!("quartet_task_seconds", "kind" => word(merge)).record(took.as_secs_f64());
    of_kind("quartet_task_audio_seconds_total", merge).increment(audio_seconds);
    if let TaskKind::Separate { count, .. } = kind {
        counter!("quartet_task_segments_total").increment(count.into());
    }
}

fn word(merge: bool) -> &'static str {
    if merge { "merge" } else { "separate" }
}

/// What the numbers of this moment are looked up in.
pub(crate) struct Sources {
    /// Raft and the state.
    pub cluster: Cluster,
    /// The connections.
    pub peer: Peer,
    /// What the nodes say of themselves.
    pub reports: Arc<Reports>,
    /// The files.
    pub blobs: Blobs,
}

impl Sources {
    /// All numbers as of now, in Prometheus' text format. Looks at the disk, so not for a runtime's thread.
    pub(crate) fn text(&self, handle: &PrometheusHandle) -> String {
        self.measure_raft();
        self.measure_nodes();
        if let Err(error) = self.measure_tasks() {
            tracing::error!(%error, "the open tasks cannot be read");
        }
        self.peer.measure();
        process::measure();
        handle.run_upkeep();
        with_sums(handle.render())
    }

    fn measure_raft(&self) {
        let status = self.cluster.status();
        gauge!("quartet_raft_term").set(status.term as f64);
        gauge!("quartet_raft_is_leader").set(truth(status.leader == Some(status.id)));
        gauge!("quartet_raft_leader_known").set(truth(status.leader.is_some()));
        gauge!("quartet_raft_last_log_index").set(status.last_log as f64);
        gauge!("quartet_raft_applied_index").set(status.last_applied as f64);
        gauge!("quartet_raft_quorum_silence_seconds").set(status.quorum_ack_ms.unwrap_or(0) as f64 / 1e3);
        for member in status.members.iter().filter(|member| **member != status.id) {
            // A leader that has not reached a member yet knows of nothing that the member has.
            let unknown = if status.leader == Some(status.id) { status.last_log } else { 0 };
            let behind = status.behind.get(member).copied().unwrap_or(unknown);
            gauge!("quartet_raft_replication_lag_entries", "peer" => member.to_string()).set(behind as f64);
        }
    }

    fn measure_nodes(&self) {
        let own = self.peer.id();
        for node in self.reports.overview() {
            if node.id != own {
                gauge!("quartet_peer_alive", "peer" => node.id.to_string()).set(truth(node.alive));
                continue;
            }
            gauge!("quartet_slots").set(node.slots);
            gauge!("quartet_slots_stuck").set(node.stuck);
            gauge!("quartet_blobs_short").set(node.short as f64);
            gauge!("quartet_blobs_missing").set(node.missing as f64);
        }
        let held = self.blobs.held();
        gauge!("quartet_blobs").set(held.files as f64);
        gauge!("quartet_blobs_bytes").set(held.bytes as f64);
        gauge!("quartet_blobs_room_bytes").set(self.blobs.room().unwrap_or(0) as f64);
        gauge!("quartet_blobs_staged").set(self.blobs.staged() as f64);
        let broker = self.reports.broker();
        gauge!("quartet_queue_connected").set(truth(broker.connected));
        gauge!("quartet_queue_ready").set(broker.ready.unwrap_or(0) as f64);
    }

    fn measure_tasks(&self) -> Result<(), ViewError> {
        let view = self.cluster.peek();
        let open = view.open_tasks()?;
        let running = open.iter().filter(|task| matches!(task.state, TaskState::Running { .. })).count();
        gauge!("quartet_tasks_running").set(running as f64);
        gauge!("quartet_tasks_pending").set((open.len() - running) as f64);
        // They come in the order of their jobs.
        let oldest = open.first().map(|task| view.job(task.id.job)).transpose()?.flatten();
        let age = oldest.map_or(0, |job| now().saturating_sub(job.created_at));
        gauge!("quartet_tasks_oldest_seconds").set(age as f64 / 1e3);
        Ok(())
    }
}

/// Calls sums what they are, counters, or Prometheus' own check complains of them.
fn with_sums(text: String) -> String {
    NUMBERS.iter().filter(|number| matches!(number.kind, Kind::Sum)).fold(text, |text, number| {
        let typed = |kind: &str| format!("# TYPE {} {kind}\n", number.name);
        text.replacen(&typed("gauge"), &typed("counter"), 1)
    })
}

fn truth(so: bool) -> f64 {
    f64::from(u8::from(so))
}
