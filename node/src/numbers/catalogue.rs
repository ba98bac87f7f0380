//! Every number that a node exports, with its kind, its unit in its name, and what it means.
//!
//! Names follow Prometheus' conventions: base units, `_total` for what only grows. Labels are few and their values are
//! bounded by the program or by the membership: never a song, a title, a hash or a user. Numbers are counted where
//! things happen; here they are described, and begun at 0, so that a rate can be taken from the first event on.

use metrics::Unit;

/// What a number is.
pub(super) enum Kind {
    Counter,
    /// A counter of parts as well as of wholes, which the library counts as a gauge.
    Sum,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

type Labels = &'static [(&'static str, &'static str)];

/// One number.
pub(super) struct Number {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) meaning: &'static str,
    /// The label values that it begins with; those of others come with their first event.
    pub(super) begins: &'static [Labels],
}

/// Answers of disks, peers and the cluster, in seconds.
const QUICK: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Requests, transfers and snapshots, in seconds.
const MIDDLING: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Tasks, in seconds.
const SLOW: &[f64] = &[0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1200.0];
/// Things in a batch.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

const ONE: &[Labels] = &[&[]];
const LATER: &[Labels] = &[];
const KINDS: &[Labels] = &[&[("kind", "separate")], &[("kind", "merge")]];
const ENDINGS: &[Labels] = &[&[("outcome", "applied")], &[("outcome", "refused")], &[("outcome", "failed")]];

const TOLD: &[Labels] = &[&[("outcome", "delivered")], &[("outcome", "failed")], &[("outcome", "given_up")]];

const fn counter(name: &'static str, unit: Unit, begins: &'static [Labels], meaning: &'static str) -> Number {
    Number { name, kind: Kind::Counter, unit, meaning, begins }
}

const fn gauge(name: &'static str, unit: Unit, meaning: &'static str) -> Number {
    Number { name, kind: Kind::Gauge, unit, meaning, begins: LATER }
}

const fn histogram(
    name: &'static str,
    buckets: &'static [f64],
    begins: &'static [Labels],
    meaning: &'static str,
) -> Number {
    Number { name, kind: Kind::Histogram(buckets), unit: Unit::Seconds, meaning, begins }
}

use Unit::{Bytes, Count, Seconds};

/// All of them.
pub(super) const NUMBERS: &[Number] = &[
    // The cluster, as this node sees it.
    gauge("quartet_node_info", Count, "1; its label says which version of the program runs"),
    gauge("quartet_peer_alive", Count, "1 where the member has spoken in the last seconds, by member"),
    // Raft.
    gauge("quartet_raft_term", Count, "Raft's term"),
    gauge("quartet_raft_is_leader", Count, "1 where this node leads"),
    gauge("quartet_raft_leader_known", Count, "1 where this node knows who leads"),
    gauge("quartet_raft_last_log_index", Count, "the last log entry of this node"),
    gauge("quartet_raft_applied_index", Count, "the last log entry that this node has applied"),
    gauge(
        "quartet_raft_replication_lag_entries",
        Count,
        "log entries that a member lacks; 0 where this node leads not",
    ),
    gauge("quartet_raft_quorum_silence_seconds", Seconds, "how long ago a majority answered the leader; 0 elsewhere"),
    counter("quartet_raft_leader_changes_total", Count, ONE, "leaders and terms that this node has seen begin"),
    counter("quartet_raft_proposals_total", Count, ENDINGS, "changes that this node has asked the cluster for"),
    histogram("quartet_raft_proposal_seconds", QUICK, ONE, "from asking for a change to its answer"),
    Number {
        name: "quartet_raft_batch_requests",
        kind: Kind::Histogram(COUNTS),
        unit: Count,
        meaning: "changes that the leader put into one log entry",
        begins: ONE,
    },
    histogram("quartet_raft_apply_seconds", QUICK, ONE, "applying a run of log entries to the state"),
    histogram("quartet_database_sync_seconds", QUICK, ONE, "a write to the database, until it is on the disk"),
    histogram("quartet_raft_snapshot_build_seconds", MIDDLING, ONE, "folding the log into a snapshot"),
    histogram("quartet_raft_snapshot_install_seconds", MIDDLING, ONE, "taking in the leader's snapshot"),
    Number {
        name: "quartet_raft_snapshot_bytes",
        kind: Kind::Gauge,
        unit: Bytes,
        meaning: "the last snapshot that was made or taken in here since the start; 0 if there was none",
        begins: ONE,
    },
    // QUIC.
    gauge("quartet_quic_connections", Count, "open connections, by protocol"),
    gauge("quartet_quic_rtt_seconds", Seconds, "the round trip to a member, as QUIC measures it"),
    counter("quartet_quic_sent_bytes_total", Bytes, LATER, "UDP payload sent, by protocol"),
    counter("quartet_quic_received_bytes_total", Bytes, LATER, "UDP payload received, by protocol"),
    counter(
        "quartet_quic_calls_total",
        Count,
        LATER,
        "questions to other nodes that were answered or failed, by protocol",
    ),
    histogram("quartet_quic_call_seconds", QUICK, LATER, "from a question to its answer, by protocol"),
    counter("quartet_quic_handshakes_failed_total", Count, ONE, "connections that did not come about, either way"),
    // Files.
    gauge("quartet_blobs", Count, "files that this node holds"),
    gauge("quartet_blobs_bytes", Bytes, "their bytes"),
    gauge("quartet_blobs_room_bytes", Bytes, "bytes of files that this node still takes"),
    gauge("quartet_blobs_staged", Count, "files that are being written"),
    gauge("quartet_blobs_short", Count, "files of which too few nodes hold a copy, as of this node's last look"),
    gauge("quartet_blobs_missing", Count, "those of them of which this node is to take one"),
    counter("quartet_blobs_pushed_total", Count, ONE, "files that were sent to another node"),
    counter("quartet_blobs_pushed_bytes_total", Bytes, ONE, "their bytes"),
    histogram("quartet_blobs_push_seconds", MIDDLING, ONE, "sending a file until the other node has it on its disk"),
    counter("quartet_blobs_fetched_total", Count, ONE, "files that were fetched from another node"),
    counter("quartet_blobs_fetched_bytes_total", Bytes, ONE, "their bytes"),
    counter(
        "quartet_blobs_passed_bytes_total",
        Bytes,
        ONE,
        "bytes that were passed on from another node to a listener",
    ),
    histogram("quartet_blobs_fetch_seconds", MIDDLING, ONE, "fetching a file until it is on the disk"),
    counter("quartet_blobs_damaged_total", Count, ONE, "files that were found damaged here"),
    counter("quartet_blobs_collected_total", Count, ONE, "files that nothing needed any more"),
    // The queue.
    gauge("quartet_queue_connected", Count, "1 where this node has a connection to the broker"),
    gauge("quartet_queue_ready", Count, "messages that wait in the broker, as far as known"),
    counter("quartet_queue_sessions_total", Count, ONE, "connections to the broker; each after the first is a return"),
    counter("quartet_queue_published_total", Count, ONE, "messages sent to the broker"),
    counter("quartet_queue_confirmed_total", Count, ONE, "those that it confirmed"),
    counter("quartet_queue_returned_total", Count, ONE, "those that no queue took"),
    counter("quartet_queue_deliveries_total", Count, ONE, "messages from the broker"),
    counter("quartet_queue_acks_total", Count, ONE, "those that were acknowledged"),
    counter("quartet_queue_nacks_total", Count, ONE, "those that were given back or put aside"),
    // Tasks.
    gauge("quartet_tasks_pending", Count, "tasks of the cluster that wait for a worker"),
    gauge("quartet_tasks_running", Count, "tasks of the cluster that are worked on"),
    gauge("quartet_tasks_oldest_seconds", Seconds, "the age of the oldest job with an open task; 0 if there is none"),
    gauge("quartet_slots", Count, "tasks that this node can work on at a time"),
    gauge("quartet_slots_stuck", Count, "those that are lost to a thread that does not end"),
    counter("quartet_tasks_claimed_total", Count, KINDS, "tasks that this node began"),
    counter("quartet_tasks_finished_total", Count, KINDS, "those that it finished"),
    counter("quartet_tasks_failed_total", Count, KINDS, "those that failed"),
    counter("quartet_tasks_released_total", Count, KINDS, "those that it handed back"),
    counter("quartet_tasks_lost_total", Count, KINDS, "those whose claim it lost, or whose worker died"),
    counter("quartet_tasks_expired_total", Count, KINDS, "claims of any node that this one, leading, has ended"),
    histogram("quartet_task_seconds", SLOW, KINDS, "a finished task, from its claim to its result"),
    counter("quartet_task_audio_seconds_total", Seconds, KINDS, "music in the finished tasks"),
    counter("quartet_task_segments_total", Count, ONE, "segments of the model that were separated and finished"),
    counter("quartet_hook_tries_total", Count, TOLD, "tries of this node, leading, to tell web hooks"),
    // HTTP.
    counter("quartet_http_requests_total", Count, LATER, "requests that were answered, by method, route and status"),
    histogram("quartet_http_request_seconds", MIDDLING, LATER, "from a request's head to its answer's, by route"),
    gauge("quartet_http_requests_in_flight", Count, "requests that are being answered"),
    counter("quartet_uploads_total", Count, ONE, "songs that were taken in"),
    counter("quartet_upload_bytes_total", Bytes, ONE, "their bytes"),
    counter("quartet_outside_results_total", Count, ONE, "jobs whose stems came from a worker outside of the cluster"),
    // The process.
    gauge("process_start_time_seconds", Seconds, "when the process began, since 1970"),
    Number {
        name: "process_cpu_seconds_total",
        kind: Kind::Sum,
        unit: Seconds,
        meaning: "processor time that it took",
        begins: LATER,
    },
    gauge("process_resident_memory_bytes", Bytes, "memory that it holds"),
    gauge("process_threads", Count, "its threads"),
    gauge("process_open_fds", Count, "its open files and sockets"),
    gauge("process_max_fds", Count, "how many it may have open"),
];
