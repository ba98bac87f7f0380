//! The order of tasks: opens the stages of a job one after the other, and ends the job.

use super::store;
use crate::tables::OPEN_TASKS;
use crate::{Job, JobResult, JobState, Read, TaskState, Transaction, ViewError};

/// Continues a job after a task is done: opens the next stage, or ends the job. The job is not stored yet.
pub(crate) fn advance(state: &mut Transaction, job: &mut Job, at: u64) -> Result<(), ViewError> {
    // Open tasks all belong to the lowest stage that is not done.
    if state.count(OPEN_TASKS.under(job.id), 1)? > 0 {
        return Ok(());
    }
    settle(state, job, None, at)
}

/// Makes the tasks of the lowest stage that is not done pending, and those of later stages wait, for this reason; ends a
/// job whose tasks are all done. The job is not stored yet.
pub(crate) fn settle(state: &mut Transaction, job: &mut Job, reason: Option<&str>, at: u64) -> Result<(), ViewError> {
    let tasks = state.tasks(job.id)?;
    let Some(stage) = tasks.iter().filter(|task| !task.is_done()).map(|task| task.stage).min() else {
        return match job.spec.result(tasks) {
            Some(result) => finish(state, job, result, at),
            None => Ok(()),
        };
    };
    for mut task in tasks {
        if task.stage == stage && task.state == TaskState::Waiting {
            task.state = TaskState::Pending;
        } else if task.stage > stage && task.is_open() {
            task.withdraw(reason, at);
        } else {
            continue;
        }
        store::put_task(state, &task)?;
    }
    Ok(())
}

/// Ends a job with its result. The outputs of its tasks are not needed any more. The job is not stored yet.
pub(crate) fn finish(state: &mut Transaction, job: &mut Job, result: JobResult, at: u64) -> Result<(), ViewError> {
    job.enter(JobState::Done, at);
    job.result = Some(result);
    job.finished_at = Some(at);
    for mut task in state.tasks(job.id)? {
        task.output = None;
        store::put_task(state, &task)?;
    }
    Ok(())
}

/// Takes the tasks of a job that ends from the workers.
pub(crate) fn close(state: &mut Transaction, job: u64, at: u64) -> Result<(), ViewError> {
    for mut task in state.tasks(job)? {
        if task.is_open() {
            task.withdraw(None, at);
            store::put_task(state, &task)?;
        }
    }
    Ok(())
}
