//! Runners: one for each kind of task.
//!
//! A [`Runner`] turns an [`Assignment`], which is a claimed task with its job, into an [`Output`]. [`Runners`] is the
//! registry by the name of the kind. A runner knows nothing of queues, claims or attempts: it returns an error whose
//! variant says what the worker does with the attempt.

pub mod facts;
mod models;
mod samples;
mod separation;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use audio::sandbox::Sandbox;
use audio::thread::Panicked;
use futures_util::future::BoxFuture;
use net::NodeId;
use raft::Cluster;
use replication::Replication;
use state::{Job, Output, Task, TaskId};

use models::Models;
use samples::Samples;

/// The cause of an error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a task has no output.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The attempt failed.
    #[error(transparent)]
    Failed(Cause),
    /// A file or node is not available at the moment. The attempt failed, and the next one waits for a while.
    #[error(transparent)]
    Unavailable(Cause),
    /// This node has no disk space. The task is released, which is no failure.
    #[error(transparent)]
    NoSpace(Cause),
    /// The output of an earlier task of the job is lost. That task runs again.
    #[error("the part of task {task}, made by node {node}, is lost: {cause}")]
    LostInput {
        /// The earlier task.
        task: TaskId,
        /// The node that ran it.
        node: NodeId,
        /// The cause.
        #[source]
        cause: Cause,
    },
}

impl From<Panicked> for TaskError {
    fn from(panicked: Panicked) -> Self {
        Self::Failed(panicked.into())
    }
}

/// A claimed task.
#[derive(Debug)]
pub struct Assignment {
    /// The job.
    pub job: Job,
    /// The task.
    pub task: Task,
    /// All tasks of the job, with the outputs of those that are done.
    pub tasks: Vec<Task>,
    /// Set when the attempt is aborted. The runner returns soon after, with any result.
    pub aborted: Arc<AtomicBool>,
}

/// Runs tasks of one kind.
pub trait Runner: Send + Sync + 'static {
    /// Runs a task.
    fn run<'a>(&'a self, assignment: &'a Assignment) -> BoxFuture<'a, Result<Output, TaskError>>;
}

/// What runners work with.
pub struct TaskContext {
    pub(crate) replication: Replication,
    pub(crate) samples: Samples,
    pub(crate) models: Models,
    /// A folder for incomplete results.
    pub(crate) scratch: PathBuf,
}

impl TaskContext {
    /// Keeps temporary files in the folder `cache`, which must be this node's own, and removes those of earlier processes.
    /// Files of songs are read in `sandbox`.
    pub fn open(cluster: Cluster, replication: Replication, cache: &Path, sandbox: Sandbox) -> std::io::Result<Self> {
        let (samples, scratch) = (empty_folder(cache.join("samples"))?, empty_folder(cache.join("scratch"))?);
        let models = Models::new(cluster, replication.clone());
        Ok(Self { replication, samples: Samples::new(samples, sandbox), models, scratch })
    }
}

/// Makes a folder, or removes its content.
pub fn empty_folder(folder: PathBuf) -> std::io::Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The runners by the name of their kind.
#[derive(Default)]
pub struct Runners(BTreeMap<&'static str, Box<dyn Runner>>);

impl Runners {
    /// The runners of all kinds.
    pub fn new(context: TaskContext) -> Self {
        let context = Arc::new(context);
        Self::default()
            .with("separate", separation::Separate(Arc::clone(&context)))
            .with("merge", separation::Merge(context))
    }

    /// Adds the runner of a kind.
    #[must_use]
    pub fn with(mut self, kind: &'static str, runner: impl Runner) -> Self {
        self.0.insert(kind, Box::new(runner));
        self
    }

    /// Runs a task with the runner of its kind.
    pub(crate) async fn run(&self, assignment: &Assignment) -> Result<Output, TaskError> {
        match self.0.get(assignment.task.kind.name()) {
            Some(runner) => runner.run(assignment).await,
            None => {
                let kind = assignment.task.kind.name();
                Err(TaskError::Failed(format!("this node has no runner for tasks of the kind {kind}").into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use state::TaskKind;

    use super::*;

    #[test]
    fn every_kind_has_a_runner() {
        struct Nothing;
        impl Runner for Nothing {
            fn run<'a>(&'a self, _: &'a Assignment) -> BoxFuture<'a, Result<Output, TaskError>> {
                Box::pin(std::future::pending())
            }
        }
        let runners = Runners::default().with("separate", Nothing).with("merge", Nothing);
        assert!(TaskKind::NAMES.iter().all(|kind| runners.0.contains_key(kind)));
    }
}
