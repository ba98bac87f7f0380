//! The open jobs as the leader keeps them in memory, so that a look at the work need not read all of the state.
//!
//! The board is read whole when a term of leadership begins, and after that job by job as events tell of changes. It
//! holds what was true at the last look; whoever follows a hint claims the task through Raft all the same.

use std::collections::{BTreeMap, BTreeSet};

use state::{Job, Priority, Task, TaskState};
use state::{View, ViewError};
use storage::NodeId;

use super::Hint;

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenJob {
    /// How urgent it is.
    pub priority: Priority,
    /// Whose turn it takes.
    pub owner: String,
    /// Its tasks that wait for a worker, in order.
    pub pending: Vec<Hint>,
    /// Its tasks that workers have.
    pub running: Vec<Claim>,
}

/// A task that a worker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Task and attempt.
    pub hint: Hint,
    /// The worker's node.
    pub node: NodeId,
    /// How many seconds of music the task is about.
    pub seconds: u64,
}

impl OpenJob {
    fn of(job: Job, tasks: &[Task]) -> Self {
        let mut found = Self { priority: job.priority, owner: job.owner, pending: Vec::new(), running: Vec::new() };
        for task in tasks {
            let hint = Hint::of(task);
            match task.state {
                TaskState::Pending => found.pending.push(hint),
                TaskState::Running { node, .. } => {
                    found.running.push(Claim { hint, node, seconds: job.plan.seconds(task.kind) });
                }
                TaskState::Waiting | TaskState::Done { .. } | TaskState::Failed => {}
            }
        }
        found
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Board {
    jobs: BTreeMap<u64, OpenJob>,
}

impl Board {
    /// Reads all of it.
    pub(crate) fn read(view: &View) -> Result<Self, ViewError> {
        let mut board = Self::default();
        let open: BTreeSet<u64> = view.open_tasks()?.iter().map(|task| task.id.job).collect();
        for job in open {
            board.look(view, job)?;
        }
        Ok(board)
    }

    /// Reads one job anew.
    pub(crate) fn look(&mut self, view: &View, id: u64) -> Result<(), ViewError> {
        // The tasks first: if the job ends between the two reads, an event will say so.
        let tasks = view.open_tasks_of(id)?;
        match view.job(id)?.filter(|job| job.state.is_open() && !tasks.is_empty()) {
            Some(job) => self.put(id, OpenJob::of(job, &tasks)),
            None => drop(self.jobs.remove(&id)),
        }
        Ok(())
    }

    /// Puts a job on the board.
    pub(crate) fn put(&mut self, id: u64, job: OpenJob) {
        self.jobs.insert(id, job);
    }

    /// The jobs, the oldest first.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &OpenJob> {
        self.jobs.values()
    }

    /// The job of a hint.
    pub(crate) fn job(&self, hint: &Hint) -> Option<&OpenJob> {
        self.jobs.get(&hint.job)
    }

    /// Whether the task of this hint still waits for this attempt.
    pub(crate) fn is_pending(&self, hint: &Hint) -> bool {
        self.job(hint).is_some_and(|job| job.pending.contains(hint))
    }
}
