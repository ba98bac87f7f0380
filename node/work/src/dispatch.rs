//! The message that a task is open.

use serde::{Deserialize, Serialize};
use state::{Task, TaskId, TaskKind};
use tokio::sync::oneshot;

/// The message that a task is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dispatch {
    /// The task.
    pub task: TaskId,
    /// The attempt that the message is for. A later attempt makes the message stale.
    pub attempt: u32,
    /// The kind of the task, which decides its queue.
    pub kind: TaskKind,
    /// The stage of the task in its job. Tasks of later stages go first.
    pub stage: u32,
}

impl Dispatch {
    /// The message for a task's next attempt.
    pub(crate) fn of(task: &Task) -> Self {
        Self { task: task.id, attempt: task.attempt, kind: task.kind, stage: task.stage }
    }
}

/// A message that was delivered to this node, and the channel for its outcome.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub dispatch: Dispatch,
    /// Receives the outcome. A worker that stops drops it without one.
    pub outcome: oneshot::Sender<Outcome>,
}

/// The outcome of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The result is committed, or another worker has the task: acknowledge the message.
    Settled,
    /// The worker could not complete the task: deliver the message again.
    Returned,
}
