//! The cluster: who its members are, who leads, who is up, and who works on what.

use audio::decode::formats::KINDS;
use std::collections::BTreeSet;
use std::sync::Arc;

use live::{BrokerStatus, NodeStatus};
use serde::Serialize;
use state::TaskState;
use utoipa::ToSchema;

use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::Visitor;
use crate::error::ApiError;

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

/// Whether the cluster can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// All nodes are up.
    Good,
    /// A majority is up and there is a leader: everything works, and one node less may be one too few.
    Degraded,
    /// There is no majority or no leader: nothing can be changed.
    Down,
}

/// What uploads may be.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LimitsView {
    /// The largest file in bytes.
    pub upload_bytes: u64,
    /// The longest song in seconds.
    pub song_seconds: u64,
    /// Jobs that one user may have open; 0 is any number.
    pub jobs_per_user: u32,
    /// The longest title in characters.
    pub title_characters: usize,
    /// The kinds of files that are accepted, the most usual first.
    pub kinds: Vec<FileKindView>,
}

/// A kind of file that is accepted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FileKindView {
    /// What people call it.
    #[schema(example = "Ogg Vorbis")]
    pub name: &'static str,
    /// The extensions that its files usually have, in lower case. The content of a file decides, not its name.
    #[schema(example = json!(["ogg", "oga"]))]
    pub extensions: &'static [&'static str],
}

/// The cluster as the node that was asked sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClusterData {
    /// The node that was asked.
    pub id: u64,
    /// Its program's version.
    pub version: &'static str,
    /// Who leads; null while nobody does.
    pub leader: Option<u64>,
    /// Raft's term.
    pub term: u64,
    /// What the asked node is to Raft: leader, follower, candidate or learner.
    pub role: String,
    /// Whether the cluster can do its work.
    pub health: Health,
    /// The members' numbers.
    pub members: Vec<u64>,
    /// What every node says of itself.
    pub nodes: Vec<NodeView>,
    /// The way tasks take to the workers.
    pub broker: BrokerView,
    /// The last log entry that the asked node has applied.
    pub last_applied: u64,
    /// The last log entry that it has.
    pub last_log: u64,
    /// Milliseconds since a majority last answered; only the leader knows.
    pub quorum_ack_ms: Option<u64>,
    /// The model that uploads are separated with if they name none.
    pub model: String,
    /// What uploads may be.
    pub limits: LimitsView,
}

/// Shows the cluster as the asked node sees it: members, leader, health, queue, workers.
///
/// This works without a majority and may be a moment old. Whoever is let in may call this.
#[utoipa::path(get, path = "/cluster", tag = "cluster", responses(
    (status = 200, body = Answer<ClusterData>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
))]
pub(crate) async fn cluster(state: State, visitor: Visitor) -> Result<Answer<ClusterData>, ApiError> {
    state.read_or_stale(&visitor, true, |_, _| Ok(())).await?;
    // The reports count the open tasks, which asks the disk.
    let shared = Arc::clone(&state);
    crate::blocking("looking at the cluster", move || {
        let status = shared.app.cluster.status();
        let nodes: Vec<_> = shared.app.live.nodes().into_iter().map(|node| NodeView::of(node, status.leader)).collect();
        let open = shared.app.cluster.peek().open_tasks().unwrap_or_default();
        let running = open.iter().filter(|task| matches!(task.state, TaskState::Running { .. })).count() as u64;
        let broker = shared.app.broker.as_ref().map(|status| status.borrow().clone());
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
            model: shared.app.model.clone(),
            limits: LimitsView {
                upload_bytes: shared.app.limits.max_upload_bytes,
                song_seconds: shared.app.limits.max_seconds,
                jobs_per_user: shared.app.limits.jobs_per_user,
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
