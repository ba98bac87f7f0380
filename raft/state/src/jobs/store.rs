//! Stores jobs and tasks together with their indexes, and emits the events.

use super::log;
use crate::songs::index;
use crate::tables::{
    ENDED_JOBS, EXTERNAL_JOBS, JOB_BY_SPEC, JOBS, JOBS_IN_STATE, OPEN_JOBS, OPEN_TASKS, SONGS_OF_FILE, TASKS,
};
use crate::{Event, Job, JobState, Read, Task, TaskId, Transaction, ViewError, hooks};

/// Adds the tasks of a job that has none, all of which wait.
pub(crate) fn add_tasks(state: &mut Transaction, job: &mut Job) -> Result<(), ViewError> {
    for (stage, kinds) in (0..).zip(job.spec.stages()) {
        for kind in kinds {
            put_task(state, &Task::new(TaskId { job: job.id, index: job.tasks }, kind, stage))?;
            job.tasks += 1;
        }
    }
    Ok(())
}

/// Stores a task.
pub(crate) fn put_task(state: &mut Transaction, task: &Task) -> Result<(), ViewError> {
    state.set(task.is_open(), OPEN_TASKS, task.id, &task.id)?;
    state.put(TASKS, task.id, task)?;
    state.emit(Event::Job { id: task.id.job });
    Ok(())
}

/// Stores a job. If its state has changed, the songs of its file get an event, hooks a delivery if it has ended, and the
/// index its facts if it is done.
pub(crate) fn put(state: &mut Transaction, job: &Job) -> Result<(), ViewError> {
    let before = state.job(job.id)?;
    if let Some(before) = &before {
        unlist(state, before);
    }
    add(state, job)?;
    if before.is_none_or(|before| before.state != job.state) {
        announce(state, job)?;
    }
    Ok(())
}

/// Stores a new job.
pub(crate) fn add(state: &mut Transaction, job: &Job) -> Result<(), ViewError> {
    state.put(JOBS, job.id, job)?;
    state.put(JOBS_IN_STATE, (job.state, job.id), &job.id)?;
    if let Some(at) = job.finished_at {
        state.put(ENDED_JOBS, (at, job.id), &job.id)?;
    }
    let open = job.state.is_open();
    state.set(open && job.executor.is_external(), EXTERNAL_JOBS, job.id, &job.id)?;
    state.set(open && !job.owner.is_empty(), OPEN_JOBS, (&*job.owner, job.id), &job.id)?;
    state.emit(Event::Job { id: job.id });
    Ok(())
}

fn announce(state: &mut Transaction, job: &Job) -> Result<(), ViewError> {
    hooks::announce(state, job)?;
    if let Some(file) = job.spec.file() {
        for song in state.list(SONGS_OF_FILE, SONGS_OF_FILE.under(file))? {
            state.emit(Event::Song { id: song });
        }
    }
    if job.state == JobState::Done {
        for song in state.songs_with(job)? {
            index::update(state, &song)?;
        }
    }
    Ok(())
}

/// Removes a job with its tasks and logs. A worker that has one of the tasks loses its claim.
pub(crate) fn remove(state: &mut Transaction, id: u64) -> Result<(), ViewError> {
    let Some(job) = state.job(id)? else {
        return Ok(());
    };
    for task in state.tasks(id)? {
        state.delete(TASKS, task.id);
        state.delete(OPEN_TASKS, task.id);
    }
    state.delete(JOBS, id);
    state.delete(OPEN_JOBS, (&*job.owner, id));
    state.delete(EXTERNAL_JOBS, id);
    unlist(state, &job);
    log::remove(state, id)?;
    if let Some(key) = job.spec.dedup_key()
        && state.get(JOB_BY_SPEC, &*key)? == Some(id)
    {
        state.delete(JOB_BY_SPEC, &*key);
    }
    state.emit(Event::Job { id });
    Ok(())
}

/// Removes a job from the lists by state and by end.
fn unlist(state: &mut Transaction, job: &Job) {
    state.delete(JOBS_IN_STATE, (job.state, job.id));
    if let Some(at) = job.finished_at {
        state.delete(ENDED_JOBS, (at, job.id));
    }
}
