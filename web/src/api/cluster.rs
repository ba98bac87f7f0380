//! The cluster: who its members are, who leads, who is up, and who works on what.

use audio::decode::formats::KINDS;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::Visitor;
use crate::error::ApiError;

/// What one node says of itself.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NodeReport {
    /// Its number.
    pub id: u64,
    /// `host:port` of its HTTP interface.
    pub http: String,
    /// Whether it spoke lately.
    pub alive: bool,
    /// Milliseconds since it last spoke; null if it never did to this node.
    pub heard_ms_ago: Option<u64>,
    /// Whether it leads, as far as the node that was asked knows.
    pub leader: bool,
    /// Its program's version.
    pub version: String,
    /// The tasks that it works on, as `7.3`.
    pub working_on: Vec<String>,
    /// Tasks that it can work on at a time.
    pub slots: u32,
    /// Tasks that it gave up and that do not end, as a hung disk or graphics card can make them.
    #[serde(default)]
    pub stuck: u32,
    /// Tasks that it has finished since it started.
    pub tasks_done: u64,
    /// Files that it holds.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Bytes of files that it still takes: what its disk has free beyond the reserve, within its quota.
    pub free_bytes: u64,
    /// The most bytes of files that it may hold; null is as many as its disk takes.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Files that it has found damaged and set aside since it started.
    #[serde(default)]
    pub damaged: u64,
    /// Files of which it found fewer copies than make a majority when it last looked.
    #[serde(default)]
    pub short: u64,
    /// Those of them of which it is to take a copy and has not yet.
    #[serde(default)]
    pub missing: u64,
    /// The members that said which files they hold, when it last counted copies; empty before it has.
    #[serde(default)]
    pub copies_among: BTreeSet<u64>,
    /// What it does beside its tasks.
    #[serde(default)]
    pub loops: Vec<LoopReport>,
}

/// What one of a node's loops does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LoopReport {
    /// Which: `repair`, `scrub` or `collect`.
    pub name: String,
    /// What it does just now; null while it rests.
    pub doing: Option<String>,
    /// How far it is with that.
    pub done: u64,
    /// Of how much.
    pub total: u64,
    /// Bytes that it has moved or read for that.
    pub bytes: u64,
    /// What went wrong last, until it goes well again.
    pub error: Option<String>,
}

/// The way tasks take to the workers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BrokerReport {
    /// Whether there is a broker in the configuration.
    pub configured: bool,
    /// Whether this node is connected to it. While it is not, workers ask the leader for tasks.
    pub connected: bool,
    /// What its queues' names begin with.
    pub queue: String,
    /// Messages that wait in it, if that is known.
    pub ready: Option<u64>,
    /// Tasks that wait for a worker.
    pub pending: u64,
    /// Tasks that are worked on.
    pub running: u64,
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
    pub nodes: Vec<NodeReport>,
    /// The way tasks take to the workers.
    pub broker: BrokerReport,
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
        let nodes = shared.app.nodes.overview();
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
            broker: shared.app.nodes.broker(),
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
