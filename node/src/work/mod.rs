//! How tasks reach workers and results reach the cluster.
//!
//! Raft is the truth about tasks. What travels over RabbitMQ, or over QUIC while no broker answers, is only a [`Hint`]
//! that a task may be open: a worker that follows a hint claims the task through Raft first, so a hint may be lost,
//! doubled, late or out of order and nothing is separated wrongly.
//!
//! ```text
//! state --(dispatcher, leader only)--> hint --(broker or QUIC)--> worker --> ClaimTask, inference, FinishTask
//! ```

mod board;
pub(crate) mod broker;
pub(crate) mod dispatcher;
pub(crate) mod models;
pub(crate) mod outside;
pub(crate) mod reset;
pub(crate) mod samples;
pub(crate) mod service;
mod slot;
pub(crate) mod task;
mod turns;
pub(crate) mod worker;

use serde::{Deserialize, Serialize};
use state::{Task, TaskId, TaskKind};
use tokio::sync::oneshot;

/// The message that a task may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Hint {
    /// The task's job.
    pub job: u64,
    /// The task's place in it.
    pub index: u32,
    /// The attempt that the hint is for; a later attempt makes it stale.
    pub attempt: u32,
    /// Whether it is the job's merge.
    pub merge: bool,
}

impl Hint {
    /// The hint for a task's next attempt.
    pub(crate) fn of(task: &Task) -> Self {
        Self {
            job: task.id.job,
            index: task.id.index,
            attempt: task.attempt,
            merge: matches!(task.kind, TaskKind::Merge),
        }
    }

    /// The task.
    pub(crate) fn task(&self) -> TaskId {
        TaskId { job: self.job, index: self.index }
    }
}

/// A hint that waits for a worker, and the way to say what became of it.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The hint.
    pub hint: Hint,
    /// Told when the worker is through with it; dropped untold when the worker stops.
    pub done: oneshot::Sender<Outcome>,
}

/// What became of a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The result is committed, or somebody else has the task: the hint has served.
    Settled,
    /// The worker could not see it through; somebody should be told again.
    Returned,
}

/// The time for a command, in milliseconds since 1970. Only for people to read: no decision rests on it.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
