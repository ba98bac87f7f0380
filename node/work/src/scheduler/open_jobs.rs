//! The open jobs as the leader keeps them in memory, so that a round need not read the whole state.
//!
//! They are read completely when a term of leadership begins, and job by job when events report changes. They are as of
//! the last look; a worker still claims its task through Raft.

use std::collections::{BTreeMap, BTreeSet};

use net::NodeId;
use state::{Job, Priority, Task, TaskState, View, ViewError};

use crate::Dispatch;

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenJob {
    /// Its priority.
    pub(crate) priority: Priority,
    /// The user whose share of the workers it takes.
    pub(crate) owner: String,
    /// Its pending tasks, in order.
    pub(crate) pending: Vec<Dispatch>,
    /// Its claimed tasks.
    pub(crate) running: Vec<RunningTask>,
}

/// A task that a worker has claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningTask {
    /// Task and attempt.
    pub(crate) dispatch: Dispatch,
    /// The worker's node.
    pub(crate) node: NodeId,
    /// Seconds of music that the task is about.
    pub(crate) audio_seconds: u64,
}

impl OpenJob {
    fn of(job: &Job, tasks: &[Task]) -> Self {
        let mut open =
            Self { priority: job.priority, owner: job.owner.clone(), pending: Vec::new(), running: Vec::new() };
        for task in tasks {
            let dispatch = Dispatch::of(task);
            match task.state {
                TaskState::Pending => open.pending.push(dispatch),
                TaskState::Running { node, .. } => {
                    let audio_seconds = job.audio_seconds(task.kind);
                    open.running.push(RunningTask { dispatch, node, audio_seconds });
                }
                TaskState::Waiting | TaskState::Done { .. } | TaskState::Failed => {}
            }
        }
        open
    }
}

/// The open jobs by id.
#[derive(Debug, Default)]
pub(crate) struct OpenJobs {
    jobs: BTreeMap<u64, OpenJob>,
}

impl OpenJobs {
    /// Reads all open jobs.
    pub(crate) fn read(view: &View) -> Result<Self, ViewError> {
        let mut jobs = Self::default();
        let open: BTreeSet<u64> = view.open_tasks()?.iter().map(|task| task.id.job).collect();
        for job in open {
            jobs.reload(view, job)?;
        }
        Ok(jobs)
    }

    /// Reads one job again.
    pub(crate) fn reload(&mut self, view: &View, id: u64) -> Result<(), ViewError> {
        // The tasks first: if the job ends between the two reads, an event follows.
        let tasks = view.open_tasks_of(id)?;
        match view.job(id)?.filter(|job| job.state.is_open() && !tasks.is_empty()) {
            Some(job) => self.insert(id, OpenJob::of(&job, &tasks)),
            None => drop(self.jobs.remove(&id)),
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, id: u64, job: OpenJob) {
        self.jobs.insert(id, job);
    }

    /// The jobs, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OpenJob> {
        self.jobs.values()
    }

    /// The job of a task.
    pub(crate) fn job_of(&self, dispatch: &Dispatch) -> Option<&OpenJob> {
        self.jobs.get(&dispatch.task.job)
    }

    /// Whether the task is pending with this attempt.
    pub(crate) fn is_pending(&self, dispatch: &Dispatch) -> bool {
        self.job_of(dispatch).is_some_and(|job| job.pending.contains(dispatch))
    }
}
