//! Tasks: the parts of a job, each of which one worker does in one go.
//!
//! ```text
//! Waiting --(earlier stages done)--> Pending --claim--> Running --finish--> Done
//!    ^                                  ^                  |                  |
//!    |                                  +--fail, release, expire              |
//!    +-------------------------------- reopen --------------------------------+
//! ```
//!
//! The number of a task's attempt grows whenever a claim on it, or a message that offers it, loses its validity.

use std::fmt;

use crate::NodeId;
use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use crate::Stems;

/// The highest number of attempts that a task lists; older ones are dropped.
const ATTEMPTS_KEPT: usize = 30;

/// The number of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The number of its job.
    pub job: u64,
    /// Its place in the job, from 0 on.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.job, self.index)
    }
}

/// The work of one worker in one go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// The work.
    pub kind: TaskKind,
    /// Its stage, from 0 on. The tasks of a stage begin when those of all lower stages are done.
    pub stage: u32,
    /// Its state.
    pub state: TaskState,
    /// The number of the attempt that runs or comes next, from 1 on.
    pub attempt: u32,
    /// How often it has failed since its job was last started.
    pub failures: u32,
    /// Its attempts, the oldest first; only the latest ones if there are very many.
    pub attempts: Vec<Attempt>,
    /// Its result.
    pub output: Option<Output>,
}

/// The work of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Separate some segments.
    Separate {
        /// The first segment.
        first: u32,
        /// The number of segments.
        count: u32,
    },
    /// Merge the parts and encode the stems.
    Merge,
}

impl TaskKind {
    /// The names of all kinds.
    pub const NAMES: [&'static str; 2] = ["separate", "merge"];

    /// The name of the kind, as queues, metrics and clients know it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Separate { .. } => Self::NAMES[0],
            Self::Merge => Self::NAMES[1],
        }
    }
}

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// An earlier stage is not done, an external worker does the job, or the job has ended without this task.
    Waiting,
    /// It waits for a worker.
    Pending,
    /// A worker has it.
    Running {
        /// The worker's node.
        node: NodeId,
        /// The time of the claim, in milliseconds since 1970.
        since: u64,
    },
    /// Its result exists.
    Done {
        /// The node on whose disk the result is.
        node: NodeId,
    },
    /// It failed too often.
    Failed,
}

/// One attempt at a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub number: u32,
    /// The worker's node.
    pub node: NodeId,
    /// The time of the claim, in milliseconds since 1970.
    pub started: u64,
    /// The time of its end; none while it runs.
    pub ended: Option<u64>,
    /// Why it failed, or why its result does not count any more.
    pub error: Option<String>,
    /// How it ended; none while it runs.
    pub ending: Option<Ending>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With a result.
    Done,
    /// The worker failed and gave a reason.
    Failed,
    /// The leader ended the claim: the worker died, lost the task or took too long.
    Expired,
    /// The worker handed it back, which is no failure.
    HandedBack,
    /// Its result was not wanted any more, or is lost.
    Withdrawn,
}

/// The result of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// A file with the share of some segments in every stem.
    Part(Hash),
    /// The stems.
    Stems(Stems),
}

impl Output {
    /// The files of the output.
    pub(crate) fn files(&self) -> Vec<Hash> {
        match self {
            Self::Part(part) => vec![*part],
            Self::Stems(stems) => stems.files(),
        }
    }
}

/// The highest number of log lines of an attempt.
pub const LOG_LINES: usize = 200;
/// The highest number of bytes of text in the log lines of an attempt.
pub const LOG_BYTES: usize = 16 << 10;

/// A line of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The time, in milliseconds since 1970.
    pub at: u64,
    /// How severe it is.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

/// How severe a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// An error at this node.
    Error,
    /// A warning.
    Warn,
    /// Progress.
    Info,
}

impl Task {
    /// A waiting task without attempts.
    pub(crate) fn new(id: TaskId, kind: TaskKind, stage: u32) -> Self {
        let (state, attempts) = (TaskState::Waiting, Vec::new());
        Self { id, kind, stage, state, attempt: 1, failures: 0, attempts, output: None }
    }

    /// Whether a worker has it or may claim it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, TaskState::Pending | TaskState::Running { .. })
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, TaskState::Done { .. })
    }

    /// Begins the next attempt.
    pub(crate) fn begin_attempt(&mut self, node: NodeId, at: u64) {
        self.state = TaskState::Running { node, since: at };
        let (number, error, ending) = (self.attempt, None, None);
        self.attempts.push(Attempt { number, node, started: at, ended: None, error, ending });
        let old = self.attempts.len().saturating_sub(ATTEMPTS_KEPT);
        self.attempts.drain(..old);
    }

    /// Records how the attempt that runs has ended.
    pub(crate) fn end_attempt(&mut self, ending: Ending, error: Option<&str>, at: u64) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended = Some(at);
            attempt.error = error.map(str::to_owned);
            attempt.ending = Some(ending);
        }
    }

    /// Takes the task from its worker, if it has one, and ends the validity of messages that offer it.
    pub(crate) fn withdraw(&mut self, reason: Option<&str>, at: u64) {
        if matches!(self.state, TaskState::Running { .. }) {
            self.end_attempt(Ending::Withdrawn, reason, at);
        }
        self.state = TaskState::Waiting;
        self.attempt += 1;
    }
}
