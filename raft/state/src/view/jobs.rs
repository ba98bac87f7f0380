//! Jobs and their tasks.

use std::collections::BTreeSet;

use storage::blobs::Hash;

use super::there;
use crate::{Job, JobState, Line, Read, Song, Task, TaskId, View, ViewError, keys};

impl View {
    /// A job.
    pub fn job(&self, id: u64) -> Result<Option<Job>, ViewError> {
        Read::job(self, id)
    }

    /// At most `limit` jobs, the newest first; `before` goes on where an earlier page ended.
    pub fn jobs(&self, before: Option<u64>, limit: usize) -> Result<Vec<Job>, ViewError> {
        self.newest(keys::jobs(before), limit)
    }

    /// At most `limit` of the jobs that are in one of these states, the newest first; `before` goes on where an earlier
    /// page ended.
    pub fn jobs_in(&self, states: &[JobState], before: Option<u64>, limit: usize) -> Result<Vec<Job>, ViewError> {
        let mut ids = BTreeSet::new();
        for state in states {
            ids.extend(self.newest::<u64>(keys::jobs_in(*state, before), limit)?);
        }
        there(ids.into_iter().rev().take(limit), |id| self.job(id))
    }

    /// At most `limit` of the jobs that ended at this time or later, the last to end first.
    pub fn jobs_ended_since(&self, at: u64, limit: usize) -> Result<Vec<Job>, ViewError> {
        let ids = self.newest::<u64>(keys::ended_since(at), limit)?;
        there(ids, |id| self.job(id))
    }

    /// The jobs of the songs with this file, the oldest first.
    pub fn jobs_with(&self, hash: &Hash) -> Result<Vec<Job>, ViewError> {
        let mut ids = BTreeSet::new();
        for song in self.values::<u64>(keys::songs_of(hash))? {
            if let Some(song) = self.song(song)? {
                ids.extend(Read::jobs_of(self, &song)?);
            }
        }
        there(ids, |id| self.job(id))
    }

    /// The jobs that separate a song: its own, then the others, the oldest first.
    pub fn jobs_of(&self, song: &Song) -> Result<Vec<Job>, ViewError> {
        there(Read::jobs_of(self, song)?, |id| self.job(id))
    }

    /// A song's own job, or another one of those that separate it.
    pub fn job_of(&self, song: &Song, job: Option<u64>) -> Result<Option<Job>, ViewError> {
        let job = job.unwrap_or(song.job);
        if self.has_job(song, job)? { self.job(job) } else { Ok(None) }
    }

    /// The songs that a job is done for.
    pub fn songs_with(&self, job: &Job) -> Result<Vec<Song>, ViewError> {
        Read::songs_with(self, job)
    }

    /// The open jobs that are outside, the oldest first.
    pub fn outside(&self) -> Result<Vec<Job>, ViewError> {
        let ids: Vec<u64> = self.values(keys::all_outside())?;
        there(ids, |id| self.job(id))
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
        let ids: Vec<TaskId> = self.values(keys::all_open())?;
        there(ids, |id| self.task(id))
    }

    /// A job's tasks that are pending or running.
    pub fn open_tasks_of(&self, job: u64) -> Result<Vec<Task>, ViewError> {
        let ids: Vec<TaskId> = self.values(keys::open_of(job))?;
        there(ids, |id| self.task(id))
    }

    /// What a worker said of an attempt.
    pub fn lines(&self, task: TaskId, attempt: u32) -> Result<Vec<Line>, ViewError> {
        Ok(self.value(&keys::lines(task, attempt))?.unwrap_or_default())
    }
}
