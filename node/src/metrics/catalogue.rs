//! Every metric that a node exports: name, kind, unit and description.
//!
//! Names follow Prometheus' conventions: base units, and `_total` for counters. Labels are few, and their values are
//! bounded by the program or by the membership: never a song, a title, a hash or a user. Metrics are recorded where things
//! happen. Here they are described, and initialised with 0, so that rates are right from the first event on.

use metrics::Unit;

/// The kind of a metric.
pub(super) enum Kind {
    Counter,
    /// A counter with fractions, which the library records as a gauge.
    FractionalCounter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

type Labels = &'static [(&'static str, &'static str)];

/// A metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) description: &'static str,
    /// The label values that it starts with. Others appear with their first event.
    pub(super) initial: &'static [Labels],
}

/// Buckets for answers of disks, peers and the cluster, in seconds.
const QUICK: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Buckets for requests, transfers and snapshots, in seconds.
const MEDIUM: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Buckets for tasks, in seconds.
const SLOW: &[f64] = &[0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1200.0];
/// Buckets for the size of a batch.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

const ONE: &[Labels] = &[&[]];
const LATER: &[Labels] = &[];
const KINDS: &[Labels] = &[&[("kind", "separate")], &[("kind", "merge")]];
const PROPOSAL_OUTCOMES: &[Labels] = &[&[("outcome", "applied")], &[("outcome", "refused")], &[("outcome", "failed")]];
const DELIVERY_OUTCOMES: &[Labels] =
    &[&[("outcome", "delivered")], &[("outcome", "failed")], &[("outcome", "given_up")]];

const fn counter(name: &'static str, unit: Unit, initial: &'static [Labels], description: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit, description, initial }
}

const fn gauge(name: &'static str, unit: Unit, description: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, description, initial: LATER }
}

const fn histogram(
    name: &'static str,
    buckets: &'static [f64],
    initial: &'static [Labels],
    description: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(buckets), unit: Unit::Seconds, description, initial }
}

use Unit::{Bytes, Count, Seconds};

/// All metrics.
pub(super) const METRICS: &[Metric] = &[
    // The cluster, as this node sees it.
    gauge("quartet_node_info", Count, "1; the label has the version of the program"),
    gauge("quartet_peer_alive", Count, "1 if the member has reported in the last seconds, by member"),
    // Raft.
    gauge("quartet_raft_term", Count, "Raft's term"),
    gauge("quartet_raft_is_leader", Count, "1 if this node is the leader"),
    gauge("quartet_raft_leader_known", Count, "1 if this node knows the leader"),
    gauge("quartet_raft_last_log_index", Count, "index of the last log entry of this node"),
    gauge("quartet_raft_applied_index", Count, "index of the last log entry that this node has applied"),
    gauge(
        "quartet_raft_replication_lag_entries",
        Count,
        "log entries that a member lacks; 0 if this node is not the leader",
    ),
    gauge(
        "quartet_raft_quorum_silence_seconds",
        Seconds,
        "time since a majority answered the leader; 0 on other nodes",
    ),
    counter("quartet_raft_leader_changes_total", Count, ONE, "changes of leader or term seen by this node"),
    counter("quartet_raft_proposals_total", Count, PROPOSAL_OUTCOMES, "commands proposed by this node"),
    histogram("quartet_raft_proposal_seconds", QUICK, ONE, "time from a proposal to its answer"),
    Metric {
        name: "quartet_raft_batch_requests",
        kind: Kind::Histogram(COUNTS),
        unit: Count,
        description: "commands in one log entry, at the leader",
        initial: ONE,
    },
    histogram("quartet_raft_apply_seconds", QUICK, ONE, "time to apply a batch of log entries"),
    histogram("quartet_database_sync_seconds", QUICK, ONE, "time to sync a write of the database"),
    histogram("quartet_raft_snapshot_build_seconds", MEDIUM, ONE, "time to build a snapshot"),
    histogram("quartet_raft_snapshot_install_seconds", MEDIUM, ONE, "time to install a snapshot of the leader"),
    Metric {
        name: "quartet_raft_snapshot_bytes",
        kind: Kind::Gauge,
        unit: Bytes,
        description: "size of the last snapshot built or installed since the start; 0 if none",
        initial: ONE,
    },
    // QUIC.
    gauge("quartet_quic_connections", Count, "open connections, by protocol"),
    gauge("quartet_quic_rtt_seconds", Seconds, "round-trip time to a member, as QUIC measures it"),
    counter("quartet_quic_sent_bytes_total", Bytes, LATER, "UDP payload sent, by protocol"),
    counter("quartet_quic_received_bytes_total", Bytes, LATER, "UDP payload received, by protocol"),
    counter("quartet_quic_calls_total", Count, LATER, "calls to other nodes, answered or failed, by protocol"),
    histogram("quartet_quic_call_seconds", QUICK, LATER, "time from a call to its answer, by protocol"),
    counter("quartet_quic_handshakes_failed_total", Count, ONE, "failed connection attempts, incoming and outgoing"),
    // Files.
    gauge("quartet_blobs", Count, "files held by this node"),
    gauge("quartet_blobs_bytes", Bytes, "bytes of these files"),
    gauge("quartet_blobs_room_bytes", Bytes, "bytes of files that this node can still store"),
    gauge("quartet_blobs_staged", Count, "incomplete files"),
    gauge("quartet_blobs_short", Count, "files with too few replicas, as of this node's last count"),
    gauge("quartet_blobs_missing", Count, "files with too few replicas that this node is to fetch"),
    counter("quartet_blobs_pushed_total", Count, ONE, "files sent to another node"),
    counter("quartet_blobs_pushed_bytes_total", Bytes, ONE, "bytes of these files"),
    histogram("quartet_blobs_push_seconds", MEDIUM, ONE, "time to send a file until it is on the other node's disk"),
    counter("quartet_blobs_fetched_total", Count, ONE, "files fetched from another node"),
    counter("quartet_blobs_fetched_bytes_total", Bytes, ONE, "bytes of these files"),
    counter("quartet_blobs_passed_bytes_total", Bytes, ONE, "bytes relayed from another node to a client"),
    histogram("quartet_blobs_fetch_seconds", MEDIUM, ONE, "time to fetch a file until it is on the disk"),
    counter("quartet_blobs_damaged_total", Count, ONE, "files found damaged on this node"),
    counter("quartet_blobs_collected_total", Count, ONE, "unreferenced files removed"),
    // The queue.
    gauge("quartet_queue_connected", Count, "1 if this node is connected to the broker"),
    gauge("quartet_queue_ready", Count, "messages that wait in the broker's queues, if known"),
    counter("quartet_queue_sessions_total", Count, ONE, "connections made to the broker"),
    counter("quartet_queue_published_total", Count, ONE, "messages published"),
    counter("quartet_queue_confirmed_total", Count, ONE, "published messages confirmed by the broker"),
    counter("quartet_queue_returned_total", Count, ONE, "published messages that no queue accepted"),
    counter("quartet_queue_deliveries_total", Count, ONE, "messages delivered by the broker"),
    counter("quartet_queue_acks_total", Count, ONE, "delivered messages acknowledged"),
    counter("quartet_queue_nacks_total", Count, ONE, "delivered messages rejected or requeued"),
    // Tasks.
    gauge("quartet_tasks_pending", Count, "tasks of the cluster that wait for a worker"),
    gauge("quartet_tasks_running", Count, "tasks of the cluster that run"),
    gauge("quartet_tasks_oldest_seconds", Seconds, "age of the oldest job with an open task; 0 if none"),
    gauge("quartet_slots", Count, "number of tasks that this node can run at a time"),
    gauge("quartet_slots_stuck", Count, "slots held by threads that do not end"),
    counter("quartet_tasks_claimed_total", Count, KINDS, "tasks started by this node"),
    counter("quartet_tasks_finished_total", Count, KINDS, "tasks finished by this node"),
    counter("quartet_tasks_failed_total", Count, KINDS, "tasks failed on this node"),
    counter("quartet_tasks_released_total", Count, KINDS, "tasks released by this node"),
    counter("quartet_tasks_lost_total", Count, KINDS, "tasks whose claim was lost or whose worker died"),
    counter("quartet_tasks_expired_total", Count, KINDS, "claims of any node expired by this node as the leader"),
    histogram("quartet_task_seconds", SLOW, KINDS, "time of a finished task from its claim to its result"),
    counter("quartet_task_audio_seconds_total", Seconds, KINDS, "music in finished tasks"),
    counter("quartet_task_segments_total", Count, ONE, "model segments separated in finished tasks"),
    counter(
        "quartet_hook_tries_total",
        Count,
        DELIVERY_OUTCOMES,
        "delivery attempts to web hooks by this node as the leader",
    ),
    // HTTP.
    counter("quartet_http_requests_total", Count, LATER, "requests answered, by method, route and status"),
    histogram(
        "quartet_http_request_seconds",
        MEDIUM,
        LATER,
        "time from the head of a request to that of its response, by route",
    ),
    gauge("quartet_http_requests_in_flight", Count, "requests in flight"),
    counter("quartet_uploads_total", Count, ONE, "songs uploaded"),
    counter("quartet_upload_bytes_total", Bytes, ONE, "bytes of these files"),
    counter("quartet_outside_results_total", Count, ONE, "jobs with stems from an external worker"),
    // The process.
    gauge("process_start_time_seconds", Seconds, "start time of the process since 1970"),
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::FractionalCounter,
        unit: Seconds,
        description: "processor time that it took",
        initial: LATER,
    },
    gauge("process_resident_memory_bytes", Bytes, "memory that it holds"),
    gauge("process_threads", Count, "its threads"),
    gauge("process_open_fds", Count, "its open files and sockets"),
    gauge("process_max_fds", Count, "how many it may have open"),
];
