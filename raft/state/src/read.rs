//! Reading the state: what both readers and commands need.

use serde::de::DeserializeOwned;
use storage::database::Pair;

use crate::command::answer::Refusal;
use crate::key::{Part, Range, Table};
use crate::tables::{
    CLUSTER_META, ENTRIES, JOB_BY_SPEC, JOBS, JOBS_OF_SONG, OPEN_JOBS, PLAYED, PLAYLIST_SHARES, PLAYLISTS, PLAYS,
    SONGS, SONGS_OF_FILE, TASKS, USERS,
};
use crate::{Audience, ClusterMeta, Entry, Job, JobState, Played, Playlist, Song, Task, TaskId, User, ViewError};

/// The state: a [`crate::View`], or a [`crate::Transaction`], which sees its own changes.
pub(crate) trait Read {
    /// The value at a whole key.
    fn bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;

    /// The first `limit` pairs of a range.
    fn scan(&self, range: Range, limit: usize) -> Result<Vec<Pair>, ViewError>;

    /// A value.
    fn get<K, V: DeserializeOwned>(&self, table: Table<K, V>, key: impl Part<K>) -> Result<Option<V>, ViewError> {
        Ok(self.bytes(&table.key(key))?.map(|bytes| codec::decode(&bytes)).transpose()?)
    }

    /// Whether there is a value.
    fn has<K, V>(&self, table: Table<K, V>, key: impl Part<K>) -> Result<bool, ViewError> {
        Ok(self.bytes(&table.key(key))?.is_some())
    }

    /// The values of a range of this table.
    fn list<K, V: DeserializeOwned>(&self, table: Table<K, V>, range: Range) -> Result<Vec<V>, ViewError> {
        self.first(table, range, usize::MAX)
    }

    /// The first `limit` values of a range of this table.
    fn first<K, V: DeserializeOwned>(&self, _: Table<K, V>, range: Range, limit: usize) -> Result<Vec<V>, ViewError> {
        self.scan(range, limit)?.iter().map(|(_, value)| Ok(codec::decode(value)?)).collect()
    }

    /// The whole keys and values of a range of this table.
    fn pairs<K, V: DeserializeOwned>(&self, _: Table<K, V>, range: Range) -> Result<Vec<(Vec<u8>, V)>, ViewError> {
        self.scan(range, usize::MAX)?.into_iter().map(|(key, value)| Ok((key, codec::decode(&value)?))).collect()
    }

    /// How many values are in a range, up to `limit`.
    fn count(&self, range: Range, limit: usize) -> Result<usize, ViewError> {
        Ok(self.scan(range, limit)?.len())
    }

    fn song(&self, id: u64) -> Result<Option<Song>, ViewError> {
        self.get(SONGS, id)
    }

    fn job(&self, id: u64) -> Result<Option<Job>, ViewError> {
        self.get(JOBS, id)
    }

    fn user(&self, id: u64) -> Result<Option<User>, ViewError> {
        self.get(USERS, id)
    }

    fn playlist(&self, id: u64) -> Result<Option<Playlist>, ViewError> {
        self.get(PLAYLISTS, id)
    }

    /// A playlist's entries in their order.
    fn entries(&self, playlist: u64) -> Result<Vec<Entry>, ViewError> {
        Ok(self.get(ENTRIES, playlist)?.unwrap_or_default())
    }

    /// The audiences that a playlist is shared with.
    fn playlist_shares(&self, playlist: u64) -> Result<Vec<Audience>, ViewError> {
        self.list(PLAYLIST_SHARES, PLAYLIST_SHARES.under(playlist))
    }

    /// How often a song was played.
    fn plays(&self, song: u64) -> Result<u64, ViewError> {
        Ok(self.get(PLAYS, song)?.unwrap_or(0))
    }

    /// How a user has played a song.
    fn played(&self, user: u64, song: u64) -> Result<Option<Played>, ViewError> {
        self.get(PLAYED, (user, song))
    }

    /// The songs that have a job.
    fn songs_with(&self, job: &Job) -> Result<Vec<Song>, ViewError> {
        let mut found = Vec::new();
        let Some(file) = job.spec.file() else { return Ok(found) };
        for song in self.list(SONGS_OF_FILE, SONGS_OF_FILE.under(file))? {
            if let Some(song) = self.song(song)?
                && self.has_job(&song, job.id)?
            {
                found.push(song);
            }
        }
        Ok(found)
    }

    /// Whether a song has a job: as its own, or as another one.
    fn has_job(&self, song: &Song, job: u64) -> Result<bool, ViewError> {
        Ok(song.job == job || self.has(JOBS_OF_SONG, (song.id, job))?)
    }

    /// The jobs of a song: its own, then the others, the oldest first.
    fn jobs_of(&self, song: &Song) -> Result<Vec<u64>, ViewError> {
        let others = self.list(JOBS_OF_SONG, JOBS_OF_SONG.under(song.id))?;
        Ok([song.job].into_iter().chain(others).collect())
    }

    fn task(&self, id: TaskId) -> Result<Option<Task>, ViewError> {
        self.get(TASKS, id)
    }

    /// A job's tasks in their order.
    fn tasks(&self, job: u64) -> Result<Vec<Task>, ViewError> {
        self.list(TASKS, TASKS.under(job))
    }

    /// The cluster's name and feature level; none before its leader has set them.
    fn cluster_meta(&self) -> Result<Option<ClusterMeta>, ViewError> {
        self.get(CLUSTER_META, ())
    }

    /// The cluster's feature level: the first before its leader has set one.
    fn level(&self) -> Result<u32, ViewError> {
        Ok(self.cluster_meta()?.map_or(1, |meta| meta.level))
    }

    /// How many open jobs an owner has.
    fn open_jobs_of(&self, owner: &str) -> Result<usize, ViewError> {
        self.count(OPEN_JOBS.under(owner), usize::MAX)
    }

    /// The job with this dedup key that is open or done.
    fn job_like(&self, dedup_key: &str) -> Result<Option<Job>, ViewError> {
        let Some(id) = self.get(JOB_BY_SPEC, dedup_key)? else {
            return Ok(None);
        };
        Ok(self.job(id)?.filter(|job| !matches!(job.state, JobState::Failed | JobState::Cancelled)))
    }

    /// Refuses one more open job for `owner` if it has `limit` of them. No limit applies if `limit` is 0 or the owner is
    /// not known.
    fn admits(&self, owner: &str, limit: u32) -> Result<Result<(), Refusal>, ViewError> {
        if limit == 0 || owner.is_empty() || self.open_jobs_of(owner)? < limit as usize {
            return Ok(Ok(()));
        }
        Ok(Err(Refusal::TooManyJobs { limit }))
    }
}
