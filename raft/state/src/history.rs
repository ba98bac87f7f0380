//! Where jobs are found by how far they are, and the states they have been in.
//!
//! Invariant: from the level [`super::ACCOUNTS`] on, a job stands in the list of the state it is in and in no other, and in
//! the list of those that have ended, at the time at which it did, if it has.

use super::transaction::Transaction;
use super::{ACCOUNTS, Job, JobState, Passage, Read, ViewError, keys, raise};

/// How many of a job's states are kept.
const PASSAGES_KEPT: usize = 50;

/// A job comes into a state.
pub(super) fn enter(state: &Transaction, job: &mut Job, into: JobState, at: u64) -> Result<(), ViewError> {
    job.state = into;
    if state.has_level(ACCOUNTS)? {
        job.history.push(Passage { state: into, at });
        let old = job.history.len().saturating_sub(PASSAGES_KEPT);
        job.history.drain(..old);
    }
    Ok(())
}

/// Keeps the lists true for a job that was otherwise `before`, or not there.
pub(super) fn list(state: &mut Transaction, before: Option<&Job>, job: &Job) -> Result<(), ViewError> {
    if !raise::lists_job(state, job.id)? {
        return Ok(());
    }
    if let Some(before) = before {
        unlist(state, before);
    }
    state.put(keys::job_in(job.state, job.id), &job.id)?;
    if let Some(at) = job.finished_at {
        state.put(keys::ended(at, job.id), &job.id)?;
    }
    Ok(())
}

/// Takes a job out of the lists.
pub(super) fn unlist(state: &mut Transaction, job: &Job) {
    state.delete(keys::job_in(job.state, job.id));
    if let Some(at) = job.finished_at {
        state.delete(keys::ended(at, job.id));
    }
}
