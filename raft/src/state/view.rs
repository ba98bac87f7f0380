//! Reading the state.

use std::collections::{BTreeSet, HashSet};

use serde::de::DeserializeOwned;
use storage::NodeId;
use storage::blobs::Hash;
use storage::database::{Database, Pair, Table};
use storage::wire;

use super::keys::{self, Range};
use super::{
    ACCOUNTS, Audience, Card, Delivery, Done, Due, Entry, Hook, Job, JobState, Line, Link, Mark, Model, Order, Output,
    Played, Playlist, Selection, Session, Song, SongStatus, Task, TaskId, Token, Tries, User, ViewError,
};
use crate::command::Refusal;

/// Whoever can read the state: a [`View`], or a transaction that sees its own changes.
pub(crate) trait Read {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;

    fn scan(&self, range: Range) -> Result<Vec<Pair>, ViewError>;

    /// The first `limit` of [`Read::scan`].
    fn scan_some(&self, range: Range, limit: usize) -> Result<Vec<Pair>, ViewError>;

    fn value<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, ViewError> {
        Ok(self.get(key)?.map(|bytes| wire::decode(&bytes)).transpose()?)
    }

    fn values<T: DeserializeOwned>(&self, range: Range) -> Result<Vec<T>, ViewError> {
        self.scan(range)?.iter().map(|(_, value)| Ok(wire::decode(value)?)).collect()
    }

    /// The first `limit` of [`Read::values`].
    fn some_values<T: DeserializeOwned>(&self, range: Range, limit: usize) -> Result<Vec<T>, ViewError> {
        self.scan_some(range, limit)?.iter().map(|(_, value)| Ok(wire::decode(value)?)).collect()
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

/// The state as this node has applied it. Each answer is the newest, so two answers may lie a command apart.
#[derive(Clone)]
pub struct View {
    database: Database,
    generation: u8,
}

impl Read for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.database.get(Table::State, &within(self.generation, key))?)
    }

    fn scan(&self, (from, to): Range) -> Result<Vec<Pair>, ViewError> {
        let (from, to) = (within(self.generation, &from), within(self.generation, &to));
        let pairs = self.database.scan(Table::State, &from, &to)?;
        pairs.map(|pair| Ok(outside_of_generation(pair?))).collect()
    }

    fn scan_some(&self, (from, to): Range, limit: usize) -> Result<Vec<Pair>, ViewError> {
        let (from, to) = (within(self.generation, &from), within(self.generation, &to));
        let pairs = self.database.scan(Table::State, &from, &to)?;
        pairs.take(limit).map(|pair| Ok(outside_of_generation(pair?))).collect()
    }
}

fn outside_of_generation((key, value): Pair) -> Pair {
    (key[1..].to_vec(), value)
}

/// A key within one generation of the state; a snapshot is installed as a new generation beside the old one.
pub(crate) fn within(generation: u8, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(key.len() + 1);
    full.push(generation);
    full.extend_from_slice(key);
    full
}

impl View {
    pub(crate) fn new(database: Database, generation: u8) -> Self {
        Self { database, generation }
    }

    /// A song.
    pub fn song(&self, id: u64) -> Result<Option<Song>, ViewError> {
        Read::song(self, id)
    }

    /// At most `limit` songs, the newest first; `before` goes on where an earlier page ended.
    pub fn songs(&self, before: Option<u64>, limit: usize) -> Result<Vec<Song>, ViewError> {
        self.newest(keys::songs(before), limit)
    }

    /// At most `limit` of the songs that stand in the list of any of these audiences, the newest first; `before` goes on
    /// where an earlier page ended.
    pub fn songs_for(&self, audiences: &[Audience], before: Option<u64>, limit: usize) -> Result<Vec<Song>, ViewError> {
        if !self.has_level(ACCOUNTS)? {
            // There are no lists yet, nor songs that are not for everybody.
            return self.songs(before, limit);
        }
        let mut ids = BTreeSet::new();
        for audience in audiences {
            ids.extend(self.newest::<u64>(keys::all_visible(*audience, before), limit)?);
        }
        ids.into_iter().rev().take(limit).filter_map(|id| self.song(id).transpose()).collect()
    }

    /// Whether a song stands in an audience's list.
    pub fn is_for(&self, song: &Song, audience: Audience) -> Result<bool, ViewError> {
        let by_right = audience == Audience::of(song.uploader_id);
        Ok(by_right || self.get(&keys::visible(audience, song.id))?.is_some())
    }

    /// The songs that a job is done for.
    pub fn songs_with(&self, job: &Job) -> Result<Vec<Song>, ViewError> {
        Read::songs_with(self, job)
    }

    /// Whether a song stands in a playlist of its uploader's that is shared with one of these audiences.
    pub fn is_played_for(&self, song: &Song, audiences: &[Audience]) -> Result<bool, ViewError> {
        let Some(owner) = song.uploader_id else { return Ok(false) };
        for playlist in self.values::<u64>(keys::entries_with_of(song.id, owner))? {
            for audience in audiences {
                if self.get(&keys::playlist_for(*audience, playlist))?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether a song of this number stands in any of these audiences' lists.
    pub fn is_listed(&self, song: u64, audiences: &[Audience]) -> Result<bool, ViewError> {
        for audience in audiences {
            if self.get(&keys::visible(*audience, song))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a song is found and ordered by.
    pub fn card(&self, song: u64) -> Result<Option<Card>, ViewError> {
        self.value(&keys::card(song))
    }

    /// At most `limit` songs in an order, each with its place, from `after` on or from the beginning; with `backwards`
    /// the other way round.
    pub fn in_order(
        &self,
        order: Order,
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        let (range, head) = match order {
            Order::Added => (keys::songs(None), keys::song(0).len() - size_of::<u64>()),
            order => (keys::rows(order), keys::ROW_HEAD),
        };
        self.walk(range, head, after, backwards, limit)
    }

    /// Like [`View::in_order`], of the songs that a user has played, by when.
    pub fn in_order_played(
        &self,
        user: u64,
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        self.walk(keys::all_played(user), keys::PLAYED_HEAD, after, backwards, limit)
    }

    /// Like [`View::in_order`] by when they came, of the songs in the lists of these audiences.
    pub fn in_lists(
        &self,
        audiences: &[Audience],
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        let mut found = BTreeSet::new();
        for audience in audiences {
            let range = keys::all_visible(*audience, None);
            let head = range.0.len();
            found.extend(self.walk(range, head, after, backwards, limit)?);
        }
        let walked: Box<dyn Iterator<Item = _>> =
            if backwards { Box::new(found.into_iter().rev()) } else { Box::new(found.into_iter()) };
        Ok(walked.take(limit).collect())
    }

    /// The numbers in a range of keys, each with its key behind the first `head` bytes.
    fn walk(
        &self,
        (mut from, mut to): Range,
        head: usize,
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        if let Some(after) = after {
            let mut key = from[..head].to_vec();
            key.extend_from_slice(after);
            if backwards {
                to = key;
            } else {
                // The first key behind this one.
                key.push(0);
                from = key;
            }
        }
        if from >= to {
            return Ok(Vec::new());
        }
        let (from, to) = (within(self.generation, &from), within(self.generation, &to));
        let number = |pair: Pair| {
            let (key, _) = outside_of_generation(pair);
            let last = key.last_chunk().map_or(0, |last| u64::from_be_bytes(*last));
            (key[head..].to_vec(), last)
        };
        if backwards {
            let pairs = self.database.scan_back(Table::State, &from, &to)?;
            pairs.take(limit).map(|pair| Ok(number(pair?))).collect()
        } else {
            let pairs = self.database.scan(Table::State, &from, &to)?;
            pairs.take(limit).map(|pair| Ok(number(pair?))).collect()
        }
    }

    /// The songs with a word that begins so; none if that are more than `limit`.
    pub fn with_word(&self, beginning: &str, limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        self.few(keys::words(beginning), limit)
    }

    /// The songs whose place in an order begins so; none if that are more than `limit`.
    pub fn placed_at(&self, order: Order, place: &[u8], limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        self.few(keys::rows_at(order, place), limit)
    }

    /// The songs in the lists of these audiences; none if that are more than `limit`.
    pub fn listed(&self, audiences: &[Audience], limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        let mut found = BTreeSet::new();
        for audience in audiences {
            match self.few(keys::all_visible(*audience, None), limit)? {
                Some(songs) => found.extend(songs),
                None => return Ok(None),
            }
        }
        Ok(Some(found).filter(|found| found.len() <= limit))
    }

    /// At most `limit` songs with this file, the oldest first.
    pub fn songs_of(&self, hash: &Hash, limit: usize) -> Result<Vec<u64>, ViewError> {
        self.some_values(keys::songs_of(hash), limit)
    }

    fn few(&self, range: Range, limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        let found = self.scan_some(range, limit + 1)?;
        if found.len() > limit {
            return Ok(None);
        }
        Ok(Some(found.iter().map(|(_, value)| wire::decode(value)).collect::<Result<_, _>>()?))
    }

    /// A playlist.
    pub fn playlist(&self, id: u64) -> Result<Option<Playlist>, ViewError> {
        Read::playlist(self, id)
    }

    /// A playlist's entries, in their order.
    pub fn entries(&self, playlist: u64) -> Result<Vec<Entry>, ViewError> {
        Read::entries(self, playlist)
    }

    /// With whom a playlist is shared.
    pub fn playlist_shares(&self, playlist: u64) -> Result<Vec<Audience>, ViewError> {
        Read::playlist_shares(self, playlist)
    }

    /// Whether a playlist is shared with one of these audiences.
    pub fn is_playlist_for(&self, playlist: u64, audiences: &[Audience]) -> Result<bool, ViewError> {
        for audience in audiences {
            if self.get(&keys::playlist_for(*audience, playlist))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A user's playlists, the oldest first.
    pub fn playlists_of(&self, user: u64) -> Result<Vec<Playlist>, ViewError> {
        let ids: Vec<u64> = self.values(keys::playlists_of(user))?;
        ids.into_iter().filter_map(|id| self.playlist(id).transpose()).collect()
    }

    /// At most `limit` of the playlists that are shared with an audience, the oldest first.
    pub fn playlists_for(&self, audience: Audience, limit: usize) -> Result<Vec<Playlist>, ViewError> {
        let ids = self.scan_some(keys::playlists_for(audience), limit)?;
        ids.iter()
            .filter_map(|(_, id)| {
                wire::decode(id).map_or_else(|error| Some(Err(error.into())), |id| self.playlist(id).transpose())
            })
            .collect()
    }

    /// How often a song was played.
    pub fn plays(&self, song: u64) -> Result<u64, ViewError> {
        Read::plays(self, song)
    }

    /// How a user has played a song.
    pub fn played(&self, user: u64, song: u64) -> Result<Option<Played>, ViewError> {
        Read::played(self, user, song)
    }

    /// Whether a user likes a song.
    pub fn is_favourite(&self, user: u64, song: u64) -> Result<bool, ViewError> {
        Ok(self.get(&keys::favourite(user, song))?.is_some())
    }

    /// What a user likes.
    pub fn favourites_of(&self, user: u64) -> Result<BTreeSet<u64>, ViewError> {
        Ok(self.values(keys::favourites_of(user))?.into_iter().collect())
    }

    /// With whom a song is shared.
    pub fn shares_of(&self, song: u64) -> Result<Vec<Audience>, ViewError> {
        Ok(self.values(keys::shares_of(song))?.into_iter().map(Audience::from_number).collect())
    }

    /// The link with this secret's hash. It may have ended.
    pub fn link(&self, secret: &Hash) -> Result<Option<Link>, ViewError> {
        self.value(&keys::link(secret))
    }

    /// A song's links, the oldest first. Some may have ended.
    pub fn links_of(&self, song: u64) -> Result<Vec<Link>, ViewError> {
        self.behind(keys::links_of(song), keys::link)
    }

    /// A user.
    pub fn user(&self, id: u64) -> Result<Option<User>, ViewError> {
        Read::user(self, id)
    }

    /// The user with this name, as [`super::folded`] gives it.
    pub fn user_named(&self, folded: &str) -> Result<Option<User>, ViewError> {
        self.value::<u64>(&keys::user_named(folded))?.map_or(Ok(None), |id| self.user(id))
    }

    /// At most `limit` users, the newest first; `before` goes on where an earlier page ended.
    pub fn users(&self, before: Option<u64>, limit: usize) -> Result<Vec<User>, ViewError> {
        self.newest(keys::users(before), limit)
    }

    /// Whether anybody has an account.
    pub fn has_users(&self) -> Result<bool, ViewError> {
        Ok(!self.scan_some(keys::users(None), 1)?.is_empty())
    }

    /// The session with this secret's hash. It may have ended.
    pub fn session(&self, secret: &Hash) -> Result<Option<Session>, ViewError> {
        self.value(&keys::session(secret))
    }

    /// A user's sessions, the oldest first. Some may have ended.
    pub fn sessions_of(&self, user: u64) -> Result<Vec<Session>, ViewError> {
        self.behind(keys::sessions_of(user), keys::session)
    }

    /// The token with this secret's hash. It may have ended.
    pub fn token(&self, secret: &Hash) -> Result<Option<Token>, ViewError> {
        self.value(&keys::token(secret))
    }

    /// A user's tokens, the oldest first. Some may have ended.
    pub fn tokens_of(&self, user: u64) -> Result<Vec<Token>, ViewError> {
        self.behind(keys::tokens_of(user), keys::token)
    }

    /// How often something was tried.
    pub fn tries(&self, of: &Hash) -> Result<Option<Tries>, ViewError> {
        self.value(&keys::tries(of))
    }

    /// How far a song is.
    pub fn song_status(&self, song: &Song) -> Result<SongStatus, ViewError> {
        // A song's job exists as long as the song does; one without was removed a moment ago.
        Ok(self.job(song.job)?.map_or(SongStatus::Cancelled, |job| job.state.into()))
    }

    /// A job.
    pub fn job(&self, id: u64) -> Result<Option<Job>, ViewError> {
        Read::job(self, id)
    }

    /// The jobs of the songs with this file, the oldest first.
    pub fn jobs_with(&self, hash: &Hash) -> Result<Vec<Job>, ViewError> {
        let mut ids = BTreeSet::new();
        for song in self.values::<u64>(keys::songs_of(hash))? {
            if let Some(song) = self.song(song)? {
                ids.extend(Read::jobs_of(self, &song)?);
            }
        }
        ids.into_iter().filter_map(|id| self.job(id).transpose()).collect()
    }

    /// The open jobs that are outside, the oldest first.
    pub fn outside(&self) -> Result<Vec<Job>, ViewError> {
        let ids: Vec<u64> = self.values(keys::all_outside())?;
        ids.into_iter().filter_map(|id| self.job(id).transpose()).collect()
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
        ids.into_iter().rev().take(limit).filter_map(|id| self.job(id).transpose()).collect()
    }

    /// At most `limit` of the jobs that ended at this time or later, the last to end first.
    pub fn jobs_ended_since(&self, at: u64, limit: usize) -> Result<Vec<Job>, ViewError> {
        let ids = self.newest::<u64>(keys::ended_since(at), limit)?;
        ids.into_iter().filter_map(|id| self.job(id).transpose()).collect()
    }

    /// The jobs that separate a song: its own, then the others, the oldest first.
    pub fn jobs_of(&self, song: &Song) -> Result<Vec<Job>, ViewError> {
        Read::jobs_of(self, song)?.into_iter().filter_map(|id| self.job(id).transpose()).collect()
    }

    /// A song's own job, or another one of those that separate it.
    pub fn job_of(&self, song: &Song, job: Option<u64>) -> Result<Option<Job>, ViewError> {
        let job = job.unwrap_or(song.job);
        if self.has_job(song, job)? { self.job(job) } else { Ok(None) }
    }

    /// What a worker said of an attempt.
    pub fn lines(&self, task: TaskId, attempt: u32) -> Result<Vec<Line>, ViewError> {
        Ok(self.value(&keys::lines(task, attempt))?.unwrap_or_default())
    }

    /// A user's web hook.
    pub fn hook(&self, user: u64, id: u64) -> Result<Option<Hook>, ViewError> {
        self.value(&keys::hook(user, id))
    }

    /// A user's web hooks, the oldest first.
    pub fn hooks_of(&self, user: u64) -> Result<Vec<Hook>, ViewError> {
        self.values(keys::hooks_of(user))
    }

    /// What a web hook is to be told, or was.
    pub fn delivery(&self, hook: u64, id: u64) -> Result<Option<Delivery>, ViewError> {
        self.value(&keys::delivery(hook, id))
    }

    /// All that a web hook is to be told, or was, of very much the latest, the oldest first.
    pub fn deliveries_of(&self, hook: u64) -> Result<Vec<Delivery>, ViewError> {
        self.values(keys::deliveries_of(hook))
    }

    /// At most `limit` of the deliveries that are still to be made, the soonest first.
    pub fn due(&self, limit: usize) -> Result<Vec<Due>, ViewError> {
        self.scan_some(keys::all_due(), limit)?.iter().map(|(_, value)| Ok(wire::decode(value)?)).collect()
    }

    /// A model that was added to the cluster.
    pub fn model(&self, name: &str) -> Result<Option<Model>, ViewError> {
        self.value(&keys::model(name))
    }

    /// All models that were added to the cluster, in the order of their names.
    pub fn models(&self) -> Result<Vec<Model>, ViewError> {
        self.values(keys::models())
    }

    /// The cluster's name and level; none before its leader has given them.
    pub fn mark(&self) -> Result<Option<Mark>, ViewError> {
        Read::mark(self)
    }

    /// Whether the cluster takes the commands of this level. What was introduced with a level is not to be proposed
    /// before, for a member may still run a program that does not know it.
    pub fn has_level(&self, level: u32) -> Result<bool, ViewError> {
        Read::has_level(self, level)
    }

    /// The nodes that leave or have left.
    pub fn retired(&self) -> Result<BTreeSet<NodeId>, ViewError> {
        Ok(self.values(keys::all_retired())?.into_iter().collect())
    }

    /// A task.
    pub fn task(&self, id: TaskId) -> Result<Option<Task>, ViewError> {
        Read::task(self, id)
    }

    /// A job's tasks in order.
    pub fn tasks(&self, job: u64) -> Result<Vec<Task>, ViewError> {
        Read::tasks(self, job)
    }

    /// What a client's key stands for.
    pub fn done(&self, key: &Hash) -> Result<Option<Done>, ViewError> {
        self.value(&keys::done(key))
    }

    /// Whether a song with this file, model and formats would be taken from `owner` where one may have `limit` open
    /// jobs, so that it need not travel to be refused. Adding it decides.
    pub fn would_take(
        &self,
        hash: &Hash,
        model: &str,
        formats: &[String],
        owner: &str,
        limit: u32,
    ) -> Result<Result<(), Refusal>, ViewError> {
        if self.job_for(hash, model, formats, &Selection::All)?.is_some() {
            return Ok(Ok(()));
        }
        self.admits(owner, limit)
    }

    /// A job's tasks that are pending or running.
    pub fn open_tasks_of(&self, job: u64) -> Result<Vec<Task>, ViewError> {
        let ids: Vec<TaskId> = self.values(keys::open_of(job))?;
        ids.into_iter().filter_map(|id| self.task(id).transpose()).collect()
    }

    /// All tasks that are pending or running, in the order of their jobs.
    pub fn open_tasks(&self) -> Result<Vec<Task>, ViewError> {
        let ids: Vec<TaskId> = self.values(keys::all_open())?;
        ids.into_iter().filter_map(|id| self.task(id).transpose()).collect()
    }

    /// Every file that the state refers to: [`View::files`], and the parts of jobs that are not done.
    pub fn references(&self) -> Result<HashSet<Hash>, ViewError> {
        let mut found = self.files()?;
        self.each(keys::jobs(None), |job: Job| {
            if job.stems.is_none() {
                found.extend(self.tasks(job.id)?.iter().filter_map(|task| match task.output {
                    Some(Output::Part(part)) => Some(part),
                    _ => None,
                }));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Every file of which a majority of the nodes should hold a copy: songs with their covers, models and stems.
    pub fn files(&self) -> Result<HashSet<Hash>, ViewError> {
        let mut found = HashSet::new();
        self.each(keys::songs(None), |song: Song| {
            found.insert(song.hash);
            found.extend(song.credits.cover.map(|cover| cover.hash));
            Ok(())
        })?;
        for model in self.models()? {
            found.extend(model.files.iter().map(|file| file.hash));
        }
        self.each(keys::jobs(None), |job: Job| {
            if let Some(stems) = job.stems {
                found.extend(stems.files.values().flat_map(|files| files.values().copied()).chain(stems.peaks));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Looks at one value after the other, for ranges that are too large for the memory.
    fn each<T: DeserializeOwned>(
        &self,
        (from, to): Range,
        mut look: impl FnMut(T) -> Result<(), ViewError>,
    ) -> Result<(), ViewError> {
        let (from, to) = (within(self.generation, &from), within(self.generation, &to));
        let mut pairs = self.database.scan(Table::State, &from, &to)?;
        pairs.try_for_each(|pair| look(wire::decode(&pair?.1)?))
    }

    /// The values whose hashes stand in this range.
    fn behind<T: DeserializeOwned>(&self, range: Range, key: fn(&Hash) -> Vec<u8>) -> Result<Vec<T>, ViewError> {
        let secrets: Vec<Hash> = self.values(range)?;
        secrets.iter().filter_map(|secret| self.value(&key(secret)).transpose()).collect()
    }

    fn newest<T: DeserializeOwned>(&self, (from, to): Range, limit: usize) -> Result<Vec<T>, ViewError> {
        let (from, to) = (within(self.generation, &from), within(self.generation, &to));
        let pairs = self.database.scan_back(Table::State, &from, &to)?;
        pairs.take(limit).map(|pair| Ok(wire::decode(&pair?.1)?)).collect()
    }
}
