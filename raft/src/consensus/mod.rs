//! openraft on this node's disk and network. No openraft type leaves this crate.
//!
//! The log's entries are batches of [`Request`]s, since openraft fsyncs once for each entry: the leader gathers what
//! arrives while a write is under way ([`crate::cluster`]). What goes to a follower in one message is bounded in bytes
//! ([`fitting`]), and so is an entry, which is never parted.

pub(crate) mod compaction;
#[cfg(test)]
mod conformance;
pub(crate) mod flushed;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod snapshot;

use std::sync::Arc;

use net::NodeId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use state::command::{Answer, Command, Refusal};

/// A command, and the name by which its answer is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: Uuid,
    pub(crate) command: Command,
}

/// One log entry's worth of requests. Clones share them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Requests(pub(crate) Arc<Vec<Request>>);

impl std::fmt::Display for Requests {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} requests", self.0.len())
    }
}

/// Their answers, in their order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answers(pub(crate) Vec<Result<Answer, Refusal>>);

/// What the membership says about a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The random name of its disk. A node that comes back with another disk has forgotten its vote.
    pub(crate) disk: Uuid,
    /// Where its QUIC endpoint listens.
    pub(crate) address: String,
    /// The member whose place it takes once it has caught up.
    #[serde(default)]
    pub(crate) replaces: Option<NodeId>,
}

openraft::declare_raft_types!(
    /// What openraft is instantiated with.
    pub(crate) Types:
        D = Requests,
        R = Answers,
        NodeId = NodeId,
        Node = Member,
        Entry = openraft::Entry<Types>,
        SnapshotData = snapshot::SnapshotFile,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type Metrics = openraft::RaftMetrics<NodeId, Member>;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;

/// The most bytes of a log entry of several requests, and of a message of several entries. openraft gives a message up
/// that has not arrived within a heartbeat's interval, and sends it again, so what is larger might never arrive.
const MESSAGE: usize = 256 << 10;

/// Says of one thing after the other, by its bytes, whether it goes into the same message. The first one does, however
/// large it is.
pub(crate) fn fitting() -> impl FnMut(usize) -> bool {
    let mut taken = 0;
    move |bytes| {
        let fits = taken == 0 || taken + bytes <= MESSAGE;
        taken += bytes;
        fits
    }
}

/// Runs disk work where it may block, and tells openraft of failures as of failures to `verb` `subject`.
pub(crate) async fn on_disk<T: Send + 'static, E: std::error::Error + Send + Sync + 'static>(
    subject: openraft::ErrorSubject<NodeId>,
    verb: openraft::ErrorVerb,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StorageError> {
    let told =
        |error: openraft::AnyError| StorageError::from(openraft::StorageIOError::new(subject.clone(), verb, error));
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(told(openraft::AnyError::new(&error))),
        Err(error) => Err(told(openraft::AnyError::new(&error))),
    }
}
