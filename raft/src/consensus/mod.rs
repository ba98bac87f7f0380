//! openraft on this node's disk and network. No openraft type leaves this crate.
//!
//! A log entry is a batch of [`Request`]s, because openraft syncs once for each entry: the leader gathers the requests
//! that arrive while a write is under way ([`crate::writer`]). An entry, and a message of several entries, is limited in
//! bytes ([`size_limit`]). Entries are never split.

pub(crate) mod compaction;
#[cfg(test)]
mod conformance;
pub(crate) mod flusher;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod snapshot;

use std::sync::Arc;

use net::NodeId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use state::command::{Answer, Command, Refusal};

/// A command, and the id under which its answer is stored to detect repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: Uuid,
    pub(crate) command: Command,
}

/// The requests of one log entry. Clones share them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Requests(pub(crate) Arc<Vec<Request>>);

impl std::fmt::Display for Requests {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} requests", self.0.len())
    }
}

/// The answers to the requests of one log entry, in the same order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answers(pub(crate) Vec<Result<Answer, Refusal>>);

/// A member's record in the membership.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The random name of its disk. A node that returns with another disk has lost its vote.
    pub(crate) disk: Uuid,
    /// Its QUIC address, as `host:port`.
    pub(crate) address: String,
    /// The member to remove when this one has caught up.
    #[serde(default)]
    pub(crate) replaces: Option<NodeId>,
}

openraft::declare_raft_types!(
    /// The types that openraft is instantiated with.
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

/// The most bytes in a log entry of several requests, and in a message of several entries. openraft abandons a message
/// that has not arrived within a heartbeat interval and sends it again, so a larger message might never arrive.
const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// Returns a function that takes the sizes of items in order and tells whether each still fits into one message. The
/// first item always fits.
pub(crate) fn size_limit() -> impl FnMut(usize) -> bool {
    let mut total = 0;
    move |bytes| {
        let fits = total == 0 || total + bytes <= MAX_MESSAGE_BYTES;
        total += bytes;
        fits
    }
}

/// Runs disk work on a thread that may block, and reports failures to openraft as failures to `verb` the `subject`.
pub(crate) async fn on_disk<T: Send + 'static, E: std::error::Error + Send + Sync + 'static>(
    subject: openraft::ErrorSubject<NodeId>,
    verb: openraft::ErrorVerb,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StorageError> {
    let into_error =
        |error: openraft::AnyError| StorageError::from(openraft::StorageIOError::new(subject.clone(), verb, error));
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(into_error(openraft::AnyError::new(&error))),
        Err(error) => Err(into_error(openraft::AnyError::new(&error))),
    }
}
