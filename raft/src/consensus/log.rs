//! The Raft log and the vote, in the node's database.
//!
//! Votes, cuts and purges are on the disk before openraft hears of them. Entries are on their way there, and whoever is
//! told of them elsewhere waits until they are ([`super::flushed`]).
//!
//! The last entries are kept in memory too: each is read again at once, for every follower and to be applied.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use codec::CodecError;
use net::NodeId;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{Entry, ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader, Vote};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::database::{Batch, Database, DatabaseError, Table};

use super::flushed::Flushed;
use super::{LogId, StorageError, Types, fitting, on_disk};

const VOTE: &[u8] = b"raft/vote";
const PURGED: &[u8] = b"raft/purged";

#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Wire(#[from] CodecError),
}

/// Entries that are kept in memory.
const RECENT: usize = 64;

/// An entry in memory, and how many bytes it has on the disk.
struct Recent {
    entry: Entry<Types>,
    bytes: usize,
}

impl Recent {
    fn index(&self) -> u64 {
        self.entry.log_id.index
    }
}

/// The log. Clones read the same one.
#[derive(Clone)]
pub(crate) struct Log {
    database: Database,
    flushed: Flushed,
    /// The last entries, without gaps.
    recent: Arc<Mutex<VecDeque<Recent>>>,
    /// Bytes of entries that were appended since this process began.
    appended: Arc<AtomicU64>,
}

impl Log {
    /// Opens the log in the database.
    pub(crate) fn open(database: Database) -> Result<Self, LogError> {
        let last = last(&database)?.map_or(0, |entry| entry.log_id.index);
        // What a process wrote that was killed may still be on its way.
        database.sync()?;
        let flushed = Flushed::start(database.clone(), last)?;
        Ok(Self { database, flushed, recent: Arc::default(), appended: Arc::default() })
    }

    /// Bytes of entries that were appended since this process began.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// How far it is on the disk.
    pub(crate) fn flushed(&self) -> &Flushed {
        &self.flushed
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Recent>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries from `from` up to and without `to`, as long as they fit, if all of them are in memory.
    fn remembered(&self, from: u64, to: u64, mut fits: impl FnMut(usize) -> bool) -> Option<Vec<Entry<Types>>> {
        let recent = self.recent();
        let (first, last) = (recent.front()?.index(), recent.back()?.index());
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let count = usize::try_from(to.checked_sub(from)?).ok()?;
        let wanted = recent.iter().skip(skip).take(count).take_while(|recent| fits(recent.bytes));
        (to <= last + 1).then(|| wanted.map(|recent| recent.entry.clone()).collect())
    }

    /// The entries from `from` up to and without `to`, as long as they fit.
    async fn entries(
        &self,
        from: u64,
        to: u64,
        mut fits: impl FnMut(usize) -> bool + Send + 'static,
    ) -> Result<Vec<Entry<Types>>, StorageError> {
        if let Some(entries) = self.remembered(from, to, &mut fits) {
            return Ok(entries);
        }
        let database = self.database.clone();
        on_disk(ErrorSubject::Logs, ErrorVerb::Read, move || {
            let mut entries = Vec::new();
            for pair in database.scan(Table::Log, &index(from), &index(to))? {
                let (_, value) = pair?;
                if !fits(value.len()) {
                    break;
                }
                entries.push(codec::decode(&value)?);
            }
            Ok::<_, LogError>(entries)
        })
        .await
    }

    fn mark<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, LogError> {
        Ok(self.database.get(Table::Meta, key)?.map(|bytes| codec::decode(&bytes)).transpose()?)
    }

    /// Whether this disk has ever taken part in a cluster.
    pub(crate) fn is_fresh(&self) -> Result<bool, LogError> {
        let voted = self.mark::<Vote<NodeId>>(VOTE)?.is_some();
        Ok(!voted && self.database.last(Table::Log, &index(0), &index(u64::MAX))?.is_none())
    }

    async fn set_mark<T: Serialize>(
        &self,
        subject: ErrorSubject<NodeId>,
        key: &'static [u8],
        value: &T,
    ) -> Result<(), StorageError> {
        let (database, encoded) = (self.database.clone(), codec::encode(value));
        on_disk(subject, ErrorVerb::Write, move || {
            let mut batch = Batch::new();
            batch.put(Table::Meta, key, encoded?);
            Ok::<_, LogError>(database.write(batch)?)
        })
        .await
    }
}

fn last(database: &Database) -> Result<Option<Entry<Types>>, LogError> {
    let last = database.last(Table::Log, &index(0), &index(u64::MAX))?;
    Ok(last.map(|(_, value)| codec::decode(&value)).transpose()?)
}

/// Marks an empty log as purged up to `at`, by a node that has voted in that entry's term.
pub(crate) fn begin_at(database: &Database, at: LogId) -> Result<(), LogError> {
    let mut batch = Batch::new();
    batch.put(Table::Meta, VOTE, codec::encode(&Vote::new(at.leader_id.term, at.leader_id.node_id))?);
    batch.put(Table::Meta, PURGED, codec::encode(&at)?);
    Ok(database.write(batch)?)
}

fn index(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<Types>>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(from) => from + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(to) => to.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(from, to, |_| true).await
    }

    /// The entries of a message to a follower.
    async fn limited_get_log_entries(&mut self, from: u64, to: u64) -> Result<Vec<Entry<Types>>, StorageError> {
        self.entries(from, to, fitting()).await
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let log = self.clone();
        on_disk(ErrorSubject::Logs, ErrorVerb::Read, move || {
            let last_purged_log_id: Option<LogId> = log.mark(PURGED)?;
            let last_log_id = last(&log.database)?.map(|entry| entry.log_id).or(last_purged_log_id);
            Ok::<_, LogError>(LogState { last_purged_log_id, last_log_id })
        })
        .await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<NodeId>) -> Result<(), StorageError> {
        self.set_mark(ErrorSubject::Vote, VOTE, vote).await
    }

    /// The vote, as that of a node that leads nobody and follows nobody yet. It is read at the start alone, and a leader
    /// that has forgotten the end of its log in a power failure must not go on in its term.
    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, StorageError> {
        let log = self.clone();
        on_disk(ErrorSubject::Vote, ErrorVerb::Read, move || {
            let vote: Option<Vote<NodeId>> = log.mark(VOTE)?;
            Ok::<_, LogError>(vote.map(|vote| Vote { committed: false, ..vote }))
        })
        .await
    }

    // The committed mark is not saved: the state is on the disk with the position that it was applied up to, so a
    // restart has nothing to replay that the leader would not tell it about.

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let failed =
            |error| StorageError::from(openraft::StorageIOError::new(ErrorSubject::Logs, ErrorVerb::Write, error));
        let mut appended: Vec<Recent> = Vec::new();
        let mut batch = Batch::new();
        for entry in entries {
            let encoded = codec::encode(&entry).map_err(|error| failed(openraft::AnyError::new(&error)))?;
            let bytes = encoded.len();
            self.appended.fetch_add(bytes as u64, Ordering::Relaxed);
            batch.put(Table::Log, index(entry.log_id.index), encoded);
            appended.push(Recent { entry, bytes });
        }
        // This does not wait for the disk, and handing it to another thread would take longer than doing it.
        self.database.write_unsynced(batch).map_err(|error| failed(openraft::AnyError::new(&error)))?;
        storage::failpoint!("log.appended");
        if let Some(last) = appended.last().map(Recent::index) {
            let mut recent = self.recent();
            // After a snapshot the log may go on further up.
            if recent.back().map(|before| before.index() + 1) != appended.first().map(Recent::index) {
                recent.clear();
            }
            recent.extend(appended);
            let excess = recent.len().saturating_sub(RECENT);
            recent.drain(..excess);
            drop(recent);
            self.flushed.wrote(last);
        }
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        let database = self.database.clone();
        self.recent().retain(|recent| recent.index() < from.index);
        on_disk(ErrorSubject::Logs, ErrorVerb::Delete, move || {
            let mut batch = Batch::new();
            batch.delete_range(Table::Log, index(from.index), index(u64::MAX));
            database.write(batch)
        })
        .await?;
        self.flushed.cut(from.index);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let (database, mark) = (self.database.clone(), codec::encode(&upto));
        self.recent().retain(|recent| recent.index() > upto.index);
        on_disk(ErrorSubject::Logs, ErrorVerb::Delete, move || {
            let mut batch = Batch::new();
            batch.put(Table::Meta, PURGED, mark?);
            batch.delete_range(Table::Log, index(0), index(upto.index + 1));
            Ok::<_, LogError>(database.write(batch)?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leader_that_starts_again_leads_nobody() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut log = Log::open(Database::open(&folder.path().join("database")).unwrap()).unwrap();
        log.save_vote(&Vote::new_committed(7, 1)).await.unwrap();
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(7, 1)));
    }
}
