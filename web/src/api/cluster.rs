//! The cluster: its members, the leader, and what each node is doing.

use audio::decode::formats::KINDS;
use std::collections::BTreeSet;
use std::sync::Arc;

use live::{BrokerStatus, NodeStatus};
use serde::Serialize;
use state::TaskState;
use utoipa::ToSchema;

use crate::app::State;
use crate::auth::request_auth::RequestAuth;
use crate::http::answer::Answer;
use crate::http::error::ApiError;

/// A node.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NodeView {
    /// Its id.
    pub id: u64,
    /// `host:port` of its HTTP interface.
    pub http: String,
    /// Whether it has reported within the last three seconds.
    pub alive: bool,
    /// Milliseconds since its last report; null if it has not reported to the node that was asked.
    pub heard_ms_ago: Option<u64>,
    /// Whether it is the leader, as far as the node that was asked knows.
    pub leader: bool,
    /// The version of its program.
    pub version: String,
    /// The tasks that it runs, as `7.3`.
    pub working_on: Vec<String>,
    /// The number of tasks that it can run at a time.
    pub slots: u32,
    /// Slots held by tasks that were aborted and have not ended, for example because a disk or GPU hangs.
    pub stuck: u32,
    /// Tasks finished since it started.
    pub tasks_done: u64,
    /// Files that it holds.
    pub blobs: u64,
    /// Their size in bytes.
    pub blob_bytes: u64,
    /// Bytes of files that it can still store, within its quota and the disk's reserve.
    pub free_bytes: u64,
    /// The most bytes of files that it may hold; null without a limit.
    pub quota_bytes: Option<u64>,
    /// Files found damaged and set aside since it started.
    pub damaged: u64,
    /// Files with fewer replicas than a majority, as of its last count.
    pub short: u64,
    /// Those of them of which it is to fetch a replica.
    pub missing: u64,
    /// The members whose files it counted; empty before the first count.
    pub copies_among: BTreeSet<u64>,
    /// Its background loops.
    pub loops: Vec<LoopView>,
}

impl NodeView {
    /// The view of a node while `leader` leads.
    pub fn of(node: NodeStatus, leader: Option<u64>) -> Self {
        let report = node.report.unwrap_or_default();
        let loops = report.loops.into_iter().map(|loop_| LoopView {
            name: loop_.name,
            doing: loop_.doing,
            done: loop_.done,
            total: loop_.total,
            bytes: loop_.bytes,
            error: loop_.error,
        });
        Self {
            id: node.id,
            http: node.http,
            alive: node.alive,
            heard_ms_ago: node.silence.map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX)),
            leader: leader == Some(node.id),
            version: report.version,
            working_on: report.working_on.iter().map(|(task, _)| task.to_string()).collect(),
            slots: report.slots,
            stuck: report.stuck,
            tasks_done: report.tasks_done,
            blobs: report.blobs,
            blob_bytes: report.blob_bytes,
            free_bytes: report.free_bytes,
            quota_bytes: report.quota_bytes,
            damaged: report.damaged,
            short: report.short,
            missing: report.missing,
            copies_among: report.copies_among,
            loops: loops.collect(),
        }
    }
}

/// A background loop of a node.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LoopView {
    /// `repair`, `scrub` or `collect`.
    pub name: String,
    /// The current activity; null while it rests.
    pub doing: Option<String>,
    /// Progress of the activity, out of `total`.
    pub done: u64,
    /// The amount of work of the activity.
    pub total: u64,
    /// Bytes moved or read by the activity.
    pub bytes: u64,
    /// The last error, until a step succeeds.
    pub error: Option<String>,
}

/// The broker and the open tasks.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BrokerView {
    /// Whether a broker is configured.
    pub configured: bool,
    /// Whether the node that was asked is connected to it. Without the broker, workers get tasks from the leader.
    pub connected: bool,
    /// The prefix of the names of its queues.
    pub queue: String,
    /// The number of messages that wait in its queues, if known.
    pub ready: Option<u64>,
    /// The number of tasks that wait for a worker.
    pub pending: u64,
    /// The number of tasks that run.
    pub running: u64,
}

impl BrokerView {
    /// The view of the broker's status and the numbers of open tasks.
    pub fn of(status: Option<BrokerStatus>, pending: u64, running: u64) -> Self {
        let configured = status.is_some();
        let BrokerStatus { prefix, connected, ready, .. } = status.unwrap_or_default();
        Self { configured, connected, queue: prefix, ready, pending, running }
    }
}

/// The health of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// All nodes are up and there is a leader.
    Good,
    /// A majority is up and there is a leader. Everything works, but another failure may cost the majority.
    Degraded,
    /// There is no majority or no leader. Nothing can be changed.
    Down,
}

/// The limits on uploads.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LimitsView {
    /// The largest file in bytes.
    pub upload_bytes: u64,
    /// The longest song in seconds.
    pub song_seconds: u64,
    /// Open jobs per user; 0 means no limit.
    pub jobs_per_user: u32,
    /// The longest title in characters.
    pub title_characters: usize,
    /// The supported kinds of files, the most common first.
    pub kinds: Vec<FileKindView>,
}

/// A supported kind of files.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FileKindView {
    /// The common name.
    #[schema(example = "Ogg Vorbis")]
    pub name: &'static str,
    /// The usual extensions in lower case. The content of a file determines its kind, not its name.
    #[schema(example = json!(["ogg", "oga"]))]
    pub extensions: &'static [&'static str],
}

/// The cluster, as this node sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterData {
    /// The id of this node.
    pub id: u64,
    /// Its program's version.
    pub version: &'static str,
    /// The id of the leader; null without a leader.
    pub leader: Option<u64>,
    /// The Raft term.
    pub term: u64,
    /// The Raft role of this node: leader, follower, candidate or learner.
    pub role: String,
    /// The health of the cluster.
    pub health: Health,
    /// The ids of the members.
    pub members: Vec<u64>,
    /// The last report of every node.
    pub nodes: Vec<NodeView>,
    /// The state of the broker.
    pub broker: BrokerView,
    /// The last log entry that this node has applied.
    pub last_applied: u64,
    /// The last log entry of this node.
    pub last_log: u64,
    /// Milliseconds since a majority last acknowledged the leader; null at other nodes.
    pub quorum_ack_ms: Option<u64>,
    /// The model for uploads that name none.
    pub model: String,
    /// The limits on uploads.
    pub limits: LimitsView,
}

/// Shows the cluster, as this node sees it: members, leader, health, queue and workers.
///
/// This works without a majority and may be a moment old.
#[utoipa::path(get, path = "/cluster", tag = "cluster", responses((status = 200, body = Answer<ClusterData>)))]
pub(crate) async fn cluster(state: State, auth: RequestAuth) -> Result<Answer<ClusterData>, ApiError> {
    state.read_or_stale(&auth, true, |_, _| Ok(())).await?;
    // The reports count the open tasks, which reads the disk.
    let shared = Arc::clone(&state);
    crate::http::blocking("reading the state of the cluster", move || {
        let status = shared.cluster.status();
        let nodes: Vec<_> = shared.live.nodes().into_iter().map(|node| NodeView::of(node, status.leader)).collect();
        let open = shared.cluster.peek().open_tasks().unwrap_or_default();
        let running = open.iter().filter(|task| matches!(task.state, TaskState::Running { .. })).count() as u64;
        let broker = shared.broker.as_ref().map(|status| status.borrow().clone());
        let alive = nodes.iter().filter(|node| node.alive).count();
        Answer::with(ClusterData {
            id: status.id,
            version: env!("CARGO_PKG_VERSION"),
            leader: status.leader,
            term: status.term,
            role: status.role,
            health: health(alive, nodes.len(), status.leader.is_some()),
            members: status.members,
            nodes,
            broker: BrokerView::of(broker, open.len() as u64 - running, running),
            last_applied: status.last_applied,
            last_log: status.last_log,
            quorum_ack_ms: status.quorum_ack_ms,
            model: shared.default_model.clone(),
            limits: LimitsView {
                upload_bytes: shared.limits.max_upload_bytes,
                song_seconds: shared.limits.max_seconds,
                jobs_per_user: shared.limits.jobs_per_user,
                title_characters: super::song_fields::TEXT_CHARACTERS,
                kinds: KINDS.iter().map(|kind| FileKindView { name: kind.name, extensions: kind.extensions }).collect(),
            },
        })
    })
    .await
}

fn health(alive: usize, nodes: usize, has_leader: bool) -> Health {
    if !has_leader || alive * 2 <= nodes {
        Health::Down
    } else if alive < nodes {
        Health::Degraded
    } else {
        Health::Good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_needs_a_leader_and_a_majority() {
        assert_eq!(health(3, 3, true), Health::Good);
        assert_eq!(health(2, 3, true), Health::Degraded);
        assert_eq!(health(2, 3, false), Health::Down);
        assert_eq!(health(1, 3, true), Health::Down);
        assert_eq!(health(2, 4, true), Health::Down);
        assert_eq!(health(1, 1, true), Health::Good);
    }
}
