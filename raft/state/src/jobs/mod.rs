//! Jobs and their tasks.
//!
//! A job has a spec, which is the work, and tasks, which workers claim. The spec decides which tasks there are and in which
//! stages, which equal job a request joins, and what the outputs of the tasks come to ([`spec`]). All else is the same for
//! all kinds of jobs.
//!
//! Invariants:
//! - Of the jobs with one dedup key at most one is open or done; the key leads to it.
//! - A job with a file belongs to at least one song, and is removed together with the last one that has it.
//! - A task is in the table of open tasks if and only if it is pending or running. Its job is open then, and all tasks of
//!   earlier stages are done.
//! - A job is in the list of its state and in no other, and in the list of ended jobs if it has ended.
//!
//! The files, each of which uses only those before it: `task`, `stems`, `spec`, `separation` and `job` are the values;
//! [`log`] keeps the logs of attempts; [`store`] stores jobs and tasks with their indexes; [`stages`] opens stages and ends
//! jobs; [`songs`] relates jobs to songs; [`request`] finds or adds the job for a request; this file has the commands.

pub(crate) mod job;
pub(crate) mod log;
pub(crate) mod request;
pub(crate) mod separation;
pub(crate) mod songs;
pub(crate) mod spec;
pub(crate) mod stages;
pub(crate) mod stems;
pub(crate) mod store;
pub(crate) mod task;

use serde::{Deserialize, Serialize};

use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, granted, refuse};
use crate::tables::JOB_BY_SPEC;
use crate::{Actor, Executor, Job, JobResult, JobState, Priority, Read, TaskState, Transaction, ViewError};

/// Cancels a job that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelJob {
    /// The job.
    pub job: u64,
    /// Who asks. If songs of others have the job too, the actor's songs leave it, and it goes on.
    pub actor: Actor,
    /// The time.
    pub at: u64,
}

impl Apply for CancelJob {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let mut job = granted!(job_for(state, self.job, "cancelled", |job| job.state.is_open())?);
        if is_for_others(state, &job, self.actor)? {
            return leave(state, &job, self.actor, self.at);
        }
        stages::close(state, job.id, self.at)?;
        job.enter(JobState::Cancelled, self.at);
        job.finished_at = Some(self.at);
        store::put(state, &job)?;
        DONE
    }
}

/// Moves the actor's songs from a job that songs of others have too to a copy of it, which is cancelled. If the copy is
/// retried, the songs join the first job again.
fn leave(state: &mut Transaction, job: &Job, actor: Actor, at: u64) -> Applied<Answer> {
    let mut songs = state.songs_with(job)?;
    songs.retain(|song| actor.may_change(song));
    if songs.is_empty() {
        refuse!(Refusal::NoSuchJob(job.id));
    }
    let id = state.next("job")?;
    let mut copy = Job { id, tasks: 0, done: 0, finished_at: Some(at), history: Vec::new(), ..job.clone() };
    copy.enter(JobState::Cancelled, at);
    store::add_tasks(state, &mut copy)?;
    songs::move_songs(state, songs, job.id, id)?;
    store::put(state, &copy)?;
    Ok(Ok(Answer::Job(id)))
}

/// Retries a job that failed or was cancelled; its finished tasks stay done. If an equal job was added since, the songs of
/// this one join it instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryJob {
    /// The job.
    pub job: u64,
    /// How many open jobs an owner may have; 0 is any number.
    pub jobs_per_owner: u32,
    /// The time.
    pub at: u64,
}

impl Apply for RetryJob {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let ended_without_result = |job: &Job| matches!(job.state, JobState::Failed | JobState::Cancelled);
        let mut job = granted!(job_for(state, self.job, "retried", ended_without_result)?);
        let dedup_key = job.spec.dedup_key();
        if let Some(key) = &dedup_key
            && let Some(equal) = state.job_like(key)?
        {
            let songs = state.songs_with(&job)?;
            songs::move_songs(state, songs, job.id, equal.id)?;
            store::remove(state, job.id)?;
            return Ok(Ok(Answer::Job(equal.id)));
        }
        granted!(state.admits(&job.owner, self.jobs_per_owner)?);
        for mut task in state.tasks(job.id)? {
            task.failures = 0;
            if matches!(task.state, TaskState::Waiting | TaskState::Failed) {
                task.state = TaskState::Waiting;
                task.attempt += 1;
            }
            store::put_task(state, &task)?;
        }
        if job.executor.is_external() {
            job.executor = Executor::Reclaimed;
        }
        job.enter(JobState::Pending, self.at);
        job.error = None;
        job.finished_at = None;
        stages::settle(state, &mut job, None, self.at)?;
        if let Some(key) = &dedup_key {
            state.put(JOB_BY_SPEC, &**key, &job.id)?;
        }
        store::put(state, &job)?;
        Ok(Ok(Answer::Job(job.id)))
    }
}

/// Changes the priority of a job that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPriority {
    /// The job.
    pub job: u64,
    /// The new priority.
    pub priority: Priority,
    /// Who asks. If songs of others have the job too, its priority does not fall.
    pub actor: Actor,
}

impl Apply for SetPriority {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let wish = format!("given {} priority", self.priority);
        let mut job = granted!(job_for(state, self.job, &wish, |job| job.state.is_open())?);
        let shared = is_for_others(state, &job, self.actor)?;
        job.priority = if shared { self.priority.max(job.priority) } else { self.priority };
        store::put(state, &job)?;
        DONE
    }
}

/// Records that a job is in the queue of the external workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueJob {
    /// The job.
    pub job: u64,
}

impl Apply for QueueJob {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let mut job = granted!(external_job(state, self.job, "queued for external workers")?);
        job.executor = Executor::Queued;
        store::put(state, &job)?;
        DONE
    }
}

/// Gives a job that no external worker took to the cluster's workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimJob {
    /// The job.
    pub job: u64,
    /// The time.
    pub at: u64,
}

impl Apply for ReclaimJob {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let mut job = granted!(external_job(state, self.job, "reclaimed")?);
        job.executor = Executor::Reclaimed;
        stages::settle(state, &mut job, None, self.at)?;
        store::put(state, &job)?;
        DONE
    }
}

/// Finishes a job with the result of an external worker, which a majority of the nodes holds. It counts until the job has
/// ended, even if the cluster's workers do the job by then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinishJob {
    /// The job.
    pub job: u64,
    /// Its result.
    pub result: Box<JobResult>,
    /// The time.
    pub at: u64,
}

impl Apply for FinishJob {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let was_external = |job: &Job| job.state.is_open() && job.executor != Executor::Cluster;
        let mut job = granted!(job_for(state, self.job, "finished by an external worker", was_external)?);
        stages::close(state, job.id, self.at)?;
        stages::finish(state, &mut job, JobResult::clone(&self.result), self.at)?;
        store::put(state, &job)?;
        DONE
    }
}

/// A job whose state allows the requested change.
fn job_for(state: &Transaction, id: u64, wish: &str, allowed: impl FnOnce(&Job) -> bool) -> Applied<Job> {
    let Some(job) = state.job(id)? else { refuse!(Refusal::NoSuchJob(id)) };
    if !allowed(&job) {
        refuse!(Refusal::WrongState { job: id, state: job.state, wish: wish.into() });
    }
    Ok(Ok(job))
}

/// An open job that an external worker does.
fn external_job(state: &Transaction, id: u64, wish: &str) -> Applied<Job> {
    job_for(state, id, wish, |job| job.state.is_open() && job.executor.is_external())
}

/// Whether songs have the job that the actor may not change.
fn is_for_others(state: &Transaction, job: &Job, actor: Actor) -> Result<bool, ViewError> {
    Ok(actor != Actor::Admin && state.songs_with(job)?.iter().any(|song| !actor.may_change(song)))
}
