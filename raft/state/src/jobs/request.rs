//! Finds or adds the job for a request.

use super::{stages, store};
use crate::command::apply::{Applied, granted};
use crate::tables::{JOB_BY_SPEC, OPEN_JOBS};
use crate::{Executor, Job, JobOptions, JobSpec, JobState, Priority, Read, Transaction, ViewError};

/// The number of the job with this spec: of one that is open or done, or of a new one.
pub(crate) fn find_or_add(state: &mut Transaction, spec: JobSpec, options: &JobOptions, at: u64) -> Applied<u64> {
    let dedup_key = spec.dedup_key();
    if let Some(key) = &dedup_key
        && let Some(job) = state.job_like(key)?
    {
        return Ok(Ok(join(state, job, &options.owner, options.priority)?));
    }
    granted!(state.admits(&options.owner, options.jobs_per_owner)?);
    let mut job = Job {
        id: state.next("job")?,
        owner: options.owner.clone(),
        priority: options.priority,
        executor: if options.external { Executor::External } else { Executor::Cluster },
        state: JobState::Pending,
        tasks: 0,
        done: 0,
        max_attempts: options.max_attempts,
        error: None,
        created_at: at,
        finished_at: None,
        history: Vec::new(),
        spec,
        result: None,
    };
    job.enter(JobState::Pending, at);
    store::add_tasks(state, &mut job)?;
    if !job.executor.is_external() {
        stages::settle(state, &mut job, None, at)?;
    }
    // An equal job that failed or was cancelled stays with the songs that have it.
    if let Some(key) = &dedup_key {
        state.put(JOB_BY_SPEC, &**key, &job.id)?;
    }
    store::add(state, &job)?;
    Ok(Ok(job.id))
}

/// Joins a job. Its priority becomes that of the most urgent request. Its owner becomes the one with fewer open jobs, so that
/// an owner does not wait longer because another one requested the same job before.
fn join(state: &mut Transaction, mut job: Job, owner: &str, priority: Priority) -> Result<u64, ViewError> {
    let id = job.id;
    if !job.state.is_open() {
        return Ok(id);
    }
    let yields = !owner.is_empty()
        && !job.owner.is_empty()
        && state.open_jobs_of(owner)? < state.open_jobs_of(&job.owner)?.saturating_sub(1);
    if yields {
        state.delete(OPEN_JOBS, (&*job.owner, id));
        job.owner = owner.into();
    }
    if yields || priority > job.priority {
        job.priority = job.priority.max(priority);
        store::put(state, &job)?;
    }
    Ok(id)
}
