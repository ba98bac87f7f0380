//! Jobs and their tasks.
//!
//! ```text
//! Waiting --(all parts made; merge only)--> Pending --claim--> Running --finish--> Done
//!                                              ^                  |                  |
//!                                              +--fail, release, expire; reopen------+
//! ```
//!
//! A task's attempt number grows each time it returns to Pending, so that whoever holds an older number has lost.
//!
//! All tasks of a job that is outside wait: they are there for the case that nobody takes the job.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use storage::NodeId;
use storage::blobs::Hash;

/// Frames per second of a [`Plan`].
const RATE: u64 = 44_100;

/// How a song is cut into segments and tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The song's length in frames at 44.1 kHz.
    pub frames: u64,
    /// How many segments of the model it has.
    pub segments: u32,
    /// How many of them make a task.
    pub segments_per_task: u32,
}

impl Plan {
    /// The tasks: segments apart, then the merge.
    pub(super) fn kinds(&self) -> impl Iterator<Item = TaskKind> {
        let (segments, size) = (self.segments, self.segments_per_task);
        (0..segments.div_ceil(size))
            .map(move |index| {
                let first = index * size;
                TaskKind::Separate { first, count: size.min(segments - first) }
            })
            .chain([TaskKind::Merge])
    }

    /// How many seconds of music a task is about, rounded up.
    pub fn seconds(&self, kind: TaskKind) -> u64 {
        let frames = match kind {
            TaskKind::Separate { count, .. } => {
                self.frames.saturating_mul(u64::from(count)).div_ceil(u64::from(self.segments.max(1)))
            }
            TaskKind::Merge => self.frames,
        };
        frames.div_ceil(RATE)
    }
}

/// How urgent a job is. What each is worth, the dispatcher says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// It may wait while others do not.
    Low,
    /// As everybody's.
    #[default]
    Normal,
    /// Somebody waits for it.
    High,
}

impl fmt::Display for Priority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        })
    }
}

impl FromStr for JobState {
    type Err = NoState;

    fn from_str(word: &str) -> Result<Self, NoState> {
        Self::EVERY.into_iter().find(|state| state.to_string() == word).ok_or(NoState)
    }
}

/// The word is no job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job is pending, running, done, failed or cancelled")]
pub struct NoState;

/// The word is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a priority is high, normal or low")]
pub struct NoPriority;

impl FromStr for Priority {
    type Err = NoPriority;

    fn from_str(word: &str) -> Result<Self, NoPriority> {
        [Self::Low, Self::Normal, Self::High]
            .into_iter()
            .find(|priority| priority.to_string() == word)
            .ok_or(NoPriority)
    }
}

/// Who does a job: the cluster's own workers task by task, or a worker outside of it that takes the whole song.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Road {
    /// The cluster's own workers.
    #[default]
    Inside,
    /// A worker outside, who is still to be told.
    Outside,
    /// A worker outside; the song is in the queue, or was there.
    Sent,
    /// The cluster's own workers, since nobody outside took it. A result from there still counts if it comes first.
    Returned,
}

impl Road {
    /// Whether the cluster's own workers have nothing to do with the job.
    pub fn is_outside(self) -> bool {
        matches!(self, Self::Outside | Self::Sent)
    }
}

/// What a user asked for: one file separated by one model into files of some formats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// The file.
    pub hash: Hash,
    /// The model.
    pub model: String,
    /// The formats of the stems, as `inference` writes them; no two with the same extension.
    pub formats: Vec<String>,
    /// How it is cut.
    pub plan: Plan,
    /// The file's extension in lower case.
    pub format: String,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// Whose turn it takes when workers are shared out; empty when nobody can tell.
    #[serde(default)]
    pub owner: String,
    /// Who does it.
    #[serde(default)]
    pub road: Road,
    /// How far it is.
    pub state: JobState,
    /// How many tasks it has, the merge among them.
    pub tasks: u32,
    /// How many of them are done.
    pub done: u32,
    /// How often each task may fail.
    pub max_attempts: u32,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// When it ended.
    pub finished_at: Option<u64>,
    /// Its result.
    pub stems: Option<Stems>,
    /// Which stems it makes.
    #[serde(default)]
    pub selection: Selection,
    /// The states it has been in, the oldest first; of very many the latest. Older programs wrote none.
    #[serde(default)]
    pub history: Vec<Passage>,
}

/// Since when a job was in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// The state.
    pub state: JobState,
    /// When it began, in milliseconds since 1970.
    pub at: u64,
}

/// Which stems a job makes of those that its model finds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Each of them.
    #[default]
    All,
    /// Some, in the order of their names, each once.
    Only(Vec<String>),
    /// One, and the sum of all others as `no_` and its name.
    Two(String),
}

impl Selection {
    /// The names of the stems that it makes of a model's.
    pub fn of(&self, sources: &[String]) -> Vec<String> {
        match self {
            Self::All => sources.to_vec(),
            Self::Only(names) => names.clone(),
            Self::Two(name) => vec![name.clone(), format!("no_{name}")],
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Only(stems) => write!(formatter, "only {}", stems.join(",")),
            Self::Two(stem) => write!(formatter, "two {stem}"),
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// No task was taken yet.
    Pending,
    /// Workers are at it.
    Running,
    /// The stems are there.
    Done,
    /// A task failed too often.
    Failed,
    /// It is not wanted any more.
    Cancelled,
}

impl JobState {
    /// All of them.
    pub const EVERY: [Self; 5] = [Self::Pending, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// Whether the job may still come to an end.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// The separated sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stems {
    /// By the stem's name, and then by the file's extension.
    pub files: BTreeMap<String, BTreeMap<String, Hash>>,
    /// What was found in the song on the way.
    #[serde(default)]
    pub facts: Option<Box<Facts>>,
    /// The waveforms of the song and its stems, to draw: a JSON file.
    #[serde(default)]
    pub peaks: Option<Hash>,
}

/// What musicians look for in a song.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Integrated loudness in LUFS (EBU R128); none for silence.
    pub loudness: Option<f64>,
    /// Loudness range in LU (EBU Tech 3342).
    pub loudness_range: Option<f64>,
    /// The highest level in dBTP (ITU-R BS.1770).
    pub true_peak: Option<f64>,
    /// The tempo in beats per minute, and how sure it is, from 0 to 1; none where there is no beat.
    pub tempo: Option<(f64, f64)>,
    /// The key, as "F# minor", and how sure it is, from 0 to 1; none where there is none.
    pub key: Option<(String, f64)>,
}

/// Which task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Its job.
    pub job: u64,
    /// Its place in the job; the merge is last.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.job, self.index)
    }
}

/// What one worker does in one go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Which.
    pub id: TaskId,
    /// What there is to do.
    pub kind: TaskKind,
    /// How far it is.
    pub state: TaskState,
    /// The number of the attempt that runs or comes next.
    pub attempt: u32,
    /// How often it has failed.
    pub failures: u32,
    /// Its attempts, oldest first; of very many the latest.
    pub attempts: Vec<Attempt>,
    /// Its result.
    pub output: Option<Output>,
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Separate some segments.
    Separate {
        /// The first one.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Make the stems of all parts.
    Merge,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// A merge whose parts are not all made, or any task of a job that is outside or has ended without it.
    Waiting,
    /// Waiting for a worker.
    Pending,
    /// A worker has it.
    Running {
        /// Whose.
        node: NodeId,
        /// Since when, in milliseconds since 1970.
        since: u64,
    },
    /// Its result is on a disk.
    Done {
        /// Whose.
        node: NodeId,
    },
    /// It failed too often.
    Failed,
}

/// One try at a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub number: u32,
    /// Who tried.
    pub node: NodeId,
    /// When it began, in milliseconds since 1970.
    pub started: u64,
    /// When it ended.
    pub ended: Option<u64>,
    /// Why it failed, or why its result does not count any more.
    pub error: Option<String>,
    /// How it ended.
    #[serde(default)]
    pub ending: Option<Ending>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With a result.
    Done,
    /// The worker could not do it, and said why.
    Failed,
    /// The worker died, forgot it or took too long; the leader said so.
    Expired,
    /// The worker handed it back, which is no failure.
    HandedBack,
    /// Its result was not wanted any more, or is lost.
    Withdrawn,
}

/// A task's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Some segments' share of every stem.
    Part(Hash),
    /// The stems.
    Stems(Stems),
}
