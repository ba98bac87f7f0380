//! What both readers and applying ask of the state.

use serde::de::DeserializeOwned;
use storage::blobs::Hash;
use storage::codec;
use storage::database::Pair;

use super::keys::{self, Range};
use super::{Audience, Entry, Job, JobState, Mark, Played, Playlist, Selection, Song, Task, TaskId, User, ViewError};
use crate::command::Refusal;

/// Whoever can read the state: a [`super::View`], or a transaction that sees its own changes.
pub(crate) trait Read {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;

    fn scan(&self, range: Range) -> Result<Vec<Pair>, ViewError>;

    /// The first `limit` of [`Read::scan`].
    fn scan_some(&self, range: Range, limit: usize) -> Result<Vec<Pair>, ViewError>;

    fn value<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, ViewError> {
        Ok(self.get(key)?.map(|bytes| codec::decode(&bytes)).transpose()?)
    }

    fn values<T: DeserializeOwned>(&self, range: Range) -> Result<Vec<T>, ViewError> {
        self.scan(range)?.iter().map(|(_, value)| Ok(codec::decode(value)?)).collect()
    }

    /// The first `limit` of [`Read::values`].
    fn some_values<T: DeserializeOwned>(&self, range: Range, limit: usize) -> Result<Vec<T>, ViewError> {
        self.scan_some(range, limit)?.iter().map(|(_, value)| Ok(codec::decode(value)?)).collect()
    }

    fn song(&self, id: u64) -> Result<Option<Song>, ViewError> {
        self.value(&keys::song(id))
    }

    fn job(&self, id: u64) -> Result<Option<Job>, ViewError> {
        self.value(&keys::job(id))
    }

    fn user(&self, id: u64) -> Result<Option<User>, ViewError> {
        self.value(&keys::user(id))
    }

    fn playlist(&self, id: u64) -> Result<Option<Playlist>, ViewError> {
        self.value(&keys::playlist(id))
    }

    /// A playlist's entries, in their order.
    fn entries(&self, playlist: u64) -> Result<Vec<Entry>, ViewError> {
        Ok(self.value(&keys::entries(playlist))?.unwrap_or_default())
    }

    /// With whom a playlist is shared.
    fn playlist_shares(&self, playlist: u64) -> Result<Vec<Audience>, ViewError> {
        Ok(self.values(keys::playlist_shares(playlist))?.into_iter().map(Audience::from_number).collect())
    }

    /// How often a song was played.
    fn plays(&self, song: u64) -> Result<u64, ViewError> {
        Ok(self.value(&keys::plays(song))?.unwrap_or(0))
    }

    /// How a user has played a song.
    fn played(&self, user: u64, song: u64) -> Result<Option<Played>, ViewError> {
        self.value(&keys::played(user, song))
    }

    /// The songs that a job is done for.
    fn songs_with(&self, job: &Job) -> Result<Vec<Song>, ViewError> {
        let mut found = Vec::new();
        for song in self.values::<u64>(keys::songs_of(&job.hash))? {
            if let Some(song) = self.song(song)?
                && self.has_job(&song, job.id)?
            {
                found.push(song);
            }
        }
        Ok(found)
    }

    /// Whether there is a song that a job is done for. One file may have very many songs, and the first will do.
    fn is_wanted(&self, job: &Job) -> Result<bool, ViewError> {
        for song in self.values::<u64>(keys::songs_of(&job.hash))? {
            if let Some(song) = self.song(song)?
                && self.has_job(&song, job.id)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a job separates a song.
    fn has_job(&self, song: &Song, job: u64) -> Result<bool, ViewError> {
        Ok(song.job == job || self.get(&keys::separation(song.id, job))?.is_some())
    }

    /// The jobs that separate a song: its own, then the others, the oldest first.
    fn jobs_of(&self, song: &Song) -> Result<Vec<u64>, ViewError> {
        let others = self.values::<u64>(keys::separations_of(song.id))?;
        Ok([song.job].into_iter().chain(others).collect())
    }

    fn task(&self, id: TaskId) -> Result<Option<Task>, ViewError> {
        self.value(&keys::task(id))
    }

    fn tasks(&self, job: u64) -> Result<Vec<Task>, ViewError> {
        self.values(keys::tasks(job))
    }

    /// The cluster's name and level; none before its leader has given them.
    fn mark(&self) -> Result<Option<Mark>, ViewError> {
        self.value(&keys::mark())
    }

    /// Whether the cluster takes the commands of this level.
    fn has_level(&self, level: u32) -> Result<bool, ViewError> {
        Ok(self.mark()?.map_or(1, |mark| mark.level) >= level)
    }

    /// How many jobs of `owner` have not ended.
    fn open_jobs_of(&self, owner: &str) -> Result<usize, ViewError> {
        Ok(self.scan(keys::open_jobs_of(owner))?.len())
    }

    /// The job that does this already, or is done with it.
    fn job_for(
        &self,
        hash: &Hash,
        model: &str,
        formats: &[String],
        selection: &Selection,
    ) -> Result<Option<Job>, ViewError> {
        let Some(id) = self.value::<u64>(&keys::job_of(hash, model, formats, selection))? else {
            return Ok(None);
        };
        Ok(self.job(id)?.filter(|job| !matches!(job.state, JobState::Failed | JobState::Cancelled)))
    }

    /// Whether `owner` may have one more open job where one may have `limit`; nobody in particular may have any number.
    fn admits(&self, owner: &str, limit: u32) -> Result<Result<(), Refusal>, ViewError> {
        if limit == 0 || owner.is_empty() || self.open_jobs_of(owner)? < limit as usize {
            return Ok(Ok(()));
        }
        Ok(Err(Refusal::TooManyJobs { limit }))
    }
}
