//! What the state machine needs to know about a job of some kind.
//!
//! Everything else about jobs and tasks is the same for all kinds. To add a kind, implement [`Spec`] in a file of its own
//! and add a variant to [`crate::JobSpec`].

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use crate::{Output, Stems, Task, TaskKind};

/// A kind of job.
pub(crate) trait Spec {
    /// The work of its tasks, by stage. The tasks of a stage run in parallel, after those of the stages before. There is at
    /// least one task, and the last stage makes the result.
    fn stages(&self) -> Vec<Vec<TaskKind>>;

    /// The key under which an equal job is found and joined; none if each request has a job of its own.
    fn dedup_key(&self) -> Option<String>;

    /// The file whose songs have the job; none for jobs without songs. A job with songs is removed together with the last
    /// one that has it.
    fn file(&self) -> Option<&Hash>;

    /// Whether a task of this kind may have this output.
    fn accepts(&self, kind: TaskKind, output: &Output) -> bool;

    /// The result of the job, from its tasks, which are all done.
    fn result(&self, tasks: Vec<Task>) -> Option<JobResult>;

    /// How many seconds of audio a task of this kind processes, rounded up. Time limits grow with it.
    fn audio_seconds(&self, kind: TaskKind) -> u64;
}

/// The result of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobResult {
    /// Of a separation: the stems.
    Separation(Stems),
}

impl JobResult {
    /// The files of the result.
    pub(crate) fn files(&self) -> Vec<Hash> {
        match self {
            Self::Separation(stems) => stems.files(),
        }
    }
}
