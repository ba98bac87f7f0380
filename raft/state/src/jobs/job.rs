//! Jobs: requested work that is divided into tasks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use super::separation::Separation;
use super::spec::{JobResult, Spec};
use crate::{Facts, Output, Stems, Task, TaskId, TaskKind};

/// The highest number of transitions that a job lists; older ones are dropped.
const TRANSITIONS_KEPT: usize = 50;

/// Requested work, divided into tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// The name of its owner; empty if the owner is unknown. Owners take turns.
    pub owner: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Who does it.
    pub executor: Executor,
    /// Its state.
    pub state: JobState,
    /// The number of its tasks.
    pub tasks: u32,
    /// The number of its tasks that are done.
    pub done: u32,
    /// How often each task may fail.
    pub max_attempts: u32,
    /// Why it failed.
    pub error: Option<JobError>,
    /// The time at which it was added, in milliseconds since 1970.
    pub created_at: u64,
    /// The time of its end.
    pub finished_at: Option<u64>,
    /// Its states, the oldest first; only the latest ones if there are very many.
    pub history: Vec<Transition>,
    /// The work.
    pub spec: JobSpec,
    /// Its result, once it is done.
    pub result: Option<JobResult>,
}

/// The work of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobSpec {
    /// Separate a file into stems.
    Separation(Separation),
    /// A kind for tests.
    #[cfg(test)]
    Planted(crate::tests::Planted),
}

/// Options of a requested job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobOptions {
    /// How often each task may fail.
    pub max_attempts: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// The owner's name, which is the same with each request of one client; empty if the owner is unknown.
    pub owner: String,
    /// How many open jobs an owner may have; 0 is any number. Joining an open job does not count.
    pub jobs_per_owner: u32,
    /// Whether an external worker does it.
    pub external: bool,
}

/// Who does a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// The cluster's workers, task by task.
    #[default]
    Cluster,
    /// An external worker, which takes the whole job; it is not in their queue yet.
    External,
    /// An external worker; the job is in their queue, or was taken from it.
    Queued,
    /// The cluster's workers, after no external worker took the job. A result of an external worker counts if it is first.
    Reclaimed,
}

impl Executor {
    /// Whether the cluster's workers have nothing to do with the job.
    pub fn is_external(self) -> bool {
        matches!(self, Self::External | Self::Queued)
    }
}

/// How urgent a job is. The scheduler gives each priority its share of turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Less urgent than most.
    Low,
    /// As urgent as most.
    #[default]
    Normal,
    /// More urgent than most.
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

/// The beginning of a state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The state.
    pub state: JobState,
    /// The time at which it began, in milliseconds since 1970.
    pub at: u64,
}

/// The state of a job. The numbers are in keys and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// No worker has taken a task yet.
    Pending = 0,
    /// Workers have taken tasks.
    Running = 1,
    /// Its result exists.
    Done = 2,
    /// A task failed too often.
    Failed = 3,
    /// Somebody cancelled it.
    Cancelled = 4,
}

impl JobState {
    /// All states.
    pub const EVERY: [Self; 5] = [Self::Pending, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// Whether the job has not ended.
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

impl FromStr for JobState {
    type Err = NoState;

    fn from_str(word: &str) -> Result<Self, NoState> {
        Self::EVERY.into_iter().find(|state| state.to_string() == word).ok_or(NoState)
    }
}

/// The word is no state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job is pending, running, done, failed or cancelled")]
pub struct NoState;

/// Why a job failed: one of its tasks failed too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error(
    "task {task} failed {failures} times, the last time: {reason}{}",
    if *.workers_died { "; no worker lived to report a reason, so the song or the model may crash the workers" } else { "" }
)]
pub struct JobError {
    /// The task.
    pub task: TaskId,
    /// How often it failed.
    pub failures: u32,
    /// The reason of its last failure.
    pub reason: String,
    /// Whether all its failures were workers that died, lost the task or took too long.
    pub workers_died: bool,
}

impl JobSpec {
    fn spec(&self) -> &dyn Spec {
        match self {
            Self::Separation(separation) => separation,
            #[cfg(test)]
            Self::Planted(planted) => planted,
        }
    }

    /// See [`Spec::stages`].
    pub(crate) fn stages(&self) -> Vec<Vec<TaskKind>> {
        self.spec().stages()
    }

    /// See [`Spec::dedup_key`].
    pub(crate) fn dedup_key(&self) -> Option<String> {
        self.spec().dedup_key()
    }

    /// See [`Spec::file`].
    pub(crate) fn file(&self) -> Option<&Hash> {
        self.spec().file()
    }

    /// See [`Spec::accepts`].
    pub(crate) fn accepts(&self, kind: TaskKind, output: &Output) -> bool {
        self.spec().accepts(kind, output)
    }

    /// See [`Spec::result`].
    pub(crate) fn result(&self, tasks: Vec<Task>) -> Option<JobResult> {
        self.spec().result(tasks)
    }
}

impl Job {
    /// Its separation, if that is the work.
    pub fn separation(&self) -> Option<&Separation> {
        match &self.spec {
            JobSpec::Separation(separation) => Some(separation),
            #[cfg(test)]
            JobSpec::Planted(_) => None,
        }
    }

    /// The stems that it made.
    pub fn stems(&self) -> Option<&Stems> {
        match self.result.as_ref()? {
            JobResult::Separation(stems) => Some(stems),
        }
    }

    /// The facts that it found about its song.
    pub fn facts(&self) -> Option<&Facts> {
        self.stems()?.facts.as_deref()
    }

    /// How many seconds of audio a task of this kind processes, rounded up.
    pub fn audio_seconds(&self, kind: TaskKind) -> u64 {
        self.spec.spec().audio_seconds(kind)
    }

    /// Records the transition to a state.
    pub(crate) fn enter(&mut self, state: JobState, at: u64) {
        self.state = state;
        self.history.push(Transition { state, at });
        let old = self.history.len().saturating_sub(TRANSITIONS_KEPT);
        self.history.drain(..old);
    }
}
