//! Reading jobs and their tasks.

use std::collections::BTreeSet;

use storage::blobs::Hash;

use super::there;
use crate::tables::{ENDED_JOBS, EXTERNAL_JOBS, JOBS, JOBS_IN_STATE, LOGS, OPEN_TASKS, SONGS_OF_FILE};
use crate::{Job, JobState, LogLine, Read, Song, Task, TaskId, View, ViewError};

impl View {
    /// A job.
    pub fn job(&self, id: u64) -> Result<Option<Job>, ViewError> {
        Read::job(self, id)
    }

    /// At most `limit` jobs, the newest first; `before` is the number of the last job on the page before.
    pub fn jobs(&self, before: Option<u64>, limit: usize) -> Result<Vec<Job>, ViewError> {
        self.newest(JOBS, JOBS.below(before), limit)
    }

    /// At most `limit` of the jobs in one of these states, the newest first; `before` is the number of the last job on the
    /// page before.
    pub fn jobs_in(&self, states: &[JobState], before: Option<u64>, limit: usize) -> Result<Vec<Job>, ViewError> {
        let mut ids = BTreeSet::new();
        for state in states {
            ids.extend(self.newest(JOBS_IN_STATE, JOBS_IN_STATE.under_below(*state, before), limit)?);
        }
        there(ids.into_iter().rev().take(limit), |id| self.job(id))
    }

    /// At most `limit` of the jobs that ended at this time or later, in the reverse order of their ends.
    pub fn jobs_ended_since(&self, at: u64, limit: usize) -> Result<Vec<Job>, ViewError> {
        let ids = self.newest(ENDED_JOBS, ENDED_JOBS.from(at), limit)?;
        there(ids, |id| self.job(id))
    }

    /// The jobs of the songs with this file, the oldest first.
    pub fn jobs_with(&self, hash: &Hash) -> Result<Vec<Job>, ViewError> {
        let mut ids = BTreeSet::new();
        for song in self.list(SONGS_OF_FILE, SONGS_OF_FILE.under(hash))? {
            if let Some(song) = self.song(song)? {
                ids.extend(Read::jobs_of(self, &song)?);
            }
        }
        there(ids, |id| self.job(id))
    }

    /// The jobs of a song: its own, then the others, the oldest first.
    pub fn jobs_of(&self, song: &Song) -> Result<Vec<Job>, ViewError> {
        there(Read::jobs_of(self, song)?, |id| self.job(id))
    }

    /// A song's own job, or the one with this number if it is one of the song's.
    pub fn job_of(&self, song: &Song, job: Option<u64>) -> Result<Option<Job>, ViewError> {
        let job = job.unwrap_or(song.job);
        if self.has_job(song, job)? { self.job(job) } else { Ok(None) }
    }

    /// The songs that have a job.
    pub fn songs_with(&self, job: &Job) -> Result<Vec<Song>, ViewError> {
        Read::songs_with(self, job)
    }

    /// The open jobs that external workers do, the oldest first.
    pub fn external_jobs(&self) -> Result<Vec<Job>, ViewError> {
        there(self.list(EXTERNAL_JOBS, EXTERNAL_JOBS.all())?, |id| self.job(id))
    }

    /// A task.
    pub fn task(&self, id: TaskId) -> Result<Option<Task>, ViewError> {
        Read::task(self, id)
    }

    /// A job's tasks in order.
    pub fn tasks(&self, job: u64) -> Result<Vec<Task>, ViewError> {
        Read::tasks(self, job)
    }

    /// All tasks that are pending or running, in the order of their jobs.
    pub fn open_tasks(&self) -> Result<Vec<Task>, ViewError> {
        there(self.list(OPEN_TASKS, OPEN_TASKS.all())?, |id| self.task(id))
    }

    /// A job's tasks that are pending or running.
    pub fn open_tasks_of(&self, job: u64) -> Result<Vec<Task>, ViewError> {
        there(self.list(OPEN_TASKS, OPEN_TASKS.under(job))?, |id| self.task(id))
    }

    /// The log of an attempt.
    pub fn log(&self, task: TaskId, attempt: u32) -> Result<Vec<LogLine>, ViewError> {
        Ok(self.get(LOGS, (task.job, task.index, attempt))?.unwrap_or_default())
    }
}
