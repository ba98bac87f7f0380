//! Commands on tasks: what workers and the leader report.
//!
//! A command names the attempt that it is about. If that is not the attempt that runs, the worker has lost its claim, and
//! the command is refused.

use crate::NodeId;
use serde::{Deserialize, Serialize};

use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, granted, refuse};
use crate::jobs::{log, stages, store};
use crate::{Ending, Job, JobError, JobState, LogLine, Output, Read, Task, TaskId, TaskState, Transaction};

/// A worker claims a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimTask {
    /// The task.
    pub task: TaskId,
    /// The attempt that it wants to make.
    pub attempt: u32,
    /// The worker's node.
    pub node: NodeId,
    /// The time.
    pub at: u64,
}

impl Apply for ClaimTask {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let (Some(mut job), Some(mut task)) = (state.job(self.task.job)?, state.task(self.task)?) else {
            refuse!(Refusal::ClaimLost)
        };
        if !job.state.is_open() || task.state != TaskState::Pending || task.attempt != self.attempt {
            refuse!(Refusal::ClaimLost);
        }
        task.begin_attempt(self.node, self.at);
        store::put_task(state, &task)?;
        if job.state == JobState::Pending {
            job.enter(JobState::Running, self.at);
            store::put(state, &job)?;
        }
        Ok(Ok(Answer::Claimed(task)))
    }
}

/// A worker has the result of a task on its disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinishTask {
    /// The task.
    pub task: TaskId,
    /// The attempt that it made.
    pub attempt: u32,
    /// The worker's node.
    pub node: NodeId,
    /// The result.
    pub output: Output,
    /// The log of the attempt.
    pub lines: Vec<LogLine>,
    /// The time.
    pub at: u64,
}

impl Apply for FinishTask {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let (mut job, mut task) = granted!(claimed(state, self.task, self.attempt, Some(self.node))?);
        if !job.spec.accepts(task.kind, &self.output) {
            refuse!(Refusal::WrongOutput(task.id));
        }
        log::keep(state, &task, &self.lines)?;
        task.end_attempt(Ending::Done, None, self.at);
        task.state = TaskState::Done { node: self.node };
        task.output = Some(self.output.clone());
        store::put_task(state, &task)?;
        job.done += 1;
        stages::advance(state, &mut job, self.at)?;
        store::put(state, &job)?;
        DONE
    }
}

/// A worker has failed at a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailTask {
    /// The task.
    pub task: TaskId,
    /// The attempt that it made.
    pub attempt: u32,
    /// The worker's node.
    pub node: NodeId,
    /// The reason.
    pub reason: String,
    /// The log of the attempt.
    pub lines: Vec<LogLine>,
    /// The time.
    pub at: u64,
}

impl Apply for FailTask {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let (mut job, mut task) = granted!(claimed(state, self.task, self.attempt, Some(self.node))?);
        log::keep(state, &task, &self.lines)?;
        task.end_attempt(Ending::Failed, Some(&self.reason), self.at);
        count_failure(state, &mut job, task, &self.reason, self.at)
    }
}

/// A worker that stops hands its task back, which is no failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseTask {
    /// The task.
    pub task: TaskId,
    /// The attempt that it began.
    pub attempt: u32,
    /// The worker's node.
    pub node: NodeId,
    /// The log of the attempt.
    pub lines: Vec<LogLine>,
    /// The time.
    pub at: u64,
}

impl Apply for ReleaseTask {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let (_, mut task) = granted!(claimed(state, self.task, self.attempt, Some(self.node))?);
        log::keep(state, &task, &self.lines)?;
        task.end_attempt(Ending::HandedBack, None, self.at);
        task.state = TaskState::Pending;
        task.attempt += 1;
        store::put_task(state, &task)?;
        DONE
    }
}

/// The leader ends the claim of a worker that is gone. This counts as a failure, because a task that kills its workers would
/// be retried for ever otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireTask {
    /// The task.
    pub task: TaskId,
    /// The attempt that ends.
    pub attempt: u32,
    /// The reason.
    pub reason: String,
    /// The time.
    pub at: u64,
}

impl Apply for ExpireTask {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let (mut job, mut task) = granted!(claimed(state, self.task, self.attempt, None)?);
        task.end_attempt(Ending::Expired, Some(&self.reason), self.at);
        count_failure(state, &mut job, task, &self.reason, self.at)
    }
}

/// A finished task must be done again because its result is lost. This counts as a failure, because a job whose results are
/// lost again and again would never end otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReopenTask {
    /// The task.
    pub task: TaskId,
    /// The reason.
    pub reason: String,
    /// The time.
    pub at: u64,
}

impl Apply for ReopenTask {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let (Some(mut job), Some(mut task)) = (state.job(self.task.job)?, state.task(self.task)?) else {
            refuse!(Refusal::ClaimLost)
        };
        if !job.state.is_open() || !task.is_done() {
            refuse!(Refusal::ClaimLost);
        }
        if let Some(attempt) = task.attempts.last_mut() {
            attempt.error = Some(self.reason.clone());
            attempt.ending = Some(Ending::Withdrawn);
        }
        task.output = None;
        job.done -= 1;
        count_failure(state, &mut job, task, &self.reason, self.at)
    }
}

/// The job and the task of a claim that still holds; with `node`, only if it is that node's.
fn claimed(state: &Transaction, id: TaskId, attempt: u32, node: Option<NodeId>) -> Applied<(Job, Task)> {
    let (Some(job), Some(task)) = (state.job(id.job)?, state.task(id)?) else { refuse!(Refusal::ClaimLost) };
    let TaskState::Running { node: owner, .. } = task.state else { refuse!(Refusal::ClaimLost) };
    if !job.state.is_open() || task.attempt != attempt || node.is_some_and(|node| node != owner) {
        refuse!(Refusal::ClaimLost);
    }
    Ok(Ok((job, task)))
}

/// Counts a failure of a task: it is tried again, or its job fails.
fn count_failure(state: &mut Transaction, job: &mut Job, mut task: Task, reason: &str, at: u64) -> Applied<Answer> {
    task.failures += 1;
    if task.failures < job.max_attempts {
        task.state = TaskState::Waiting;
        task.attempt += 1;
        store::put_task(state, &task)?;
        stages::settle(state, job, Some(reason), at)?;
        store::put(state, job)?;
        return DONE;
    }
    task.state = TaskState::Failed;
    store::put_task(state, &task)?;
    let endings = task.attempts.iter().rev().filter_map(|attempt| attempt.ending);
    let mut failures = endings.filter(|ending| *ending != Ending::HandedBack).take(task.failures as usize);
    let workers_died = failures.all(|ending| ending == Ending::Expired);
    job.enter(JobState::Failed, at);
    let (task, failures) = (task.id, task.failures);
    job.error = Some(JobError { task, failures, reason: reason.into(), workers_died });
    job.finished_at = Some(at);
    stages::close(state, job.id, at)?;
    store::put(state, job)?;
    DONE
}
