//! The Raft log and the vote, in the node's database.
//!
//! Votes, truncations and purges are on the disk before they are reported to openraft. Entries are synced in the
//! background, and other nodes are told of them only after that ([`super::flusher`]).
//!
//! The last entries are also cached in memory: each is read again at once, for every follower and to be applied.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use codec::{self, CodecError};
use net::NodeId;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{Entry, ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader, Vote};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::database::{Batch, Database, DatabaseError, Table};

use super::flusher::LogFlusher;
use super::{LogId, StorageError, Types, on_disk, size_limit};

const VOTE: &[u8] = b"raft/vote";
const PURGED: &[u8] = b"raft/purged";

#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Wire(#[from] CodecError),
}

/// How many entries are cached.
const CACHED: usize = 64;

struct CachedEntry {
    entry: Entry<Types>,
    /// The size of the entry on the disk.
    bytes: usize,
}

impl CachedEntry {
    fn index(&self) -> u64 {
        self.entry.log_id.index
    }
}

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    database: Database,
    flusher: LogFlusher,
    /// The last entries, without gaps.
    cache: Arc<Mutex<VecDeque<CachedEntry>>>,
    /// Bytes of entries appended since this process started.
    appended: Arc<AtomicU64>,
}

impl Log {
    /// Opens the log in the database.
    pub(crate) fn open(database: Database) -> Result<Self, LogError> {
        let last = last(&database)?.map_or(0, |entry| entry.log_id.index);
        // Writes of a killed process may not be synced yet.
        database.sync()?;
        let flusher = LogFlusher::start(database.clone(), last)?;
        Ok(Self { database, flusher, cache: Arc::default(), appended: Arc::default() })
    }

    /// Bytes of entries appended since this process started.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// Tells how far the log is synced.
    pub(crate) fn flusher(&self) -> &LogFlusher {
        &self.flusher
    }

    /// The entries from `from` up to, but not including, `to`, up to the first that does not fit. `None` unless all of
    /// them are cached.
    fn cached(&self, from: u64, to: u64, mut fits: impl FnMut(usize) -> bool) -> Option<Vec<Entry<Types>>> {
        let cache = self.cache.lock();
        let (first, last) = (cache.front()?.index(), cache.back()?.index());
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let count = usize::try_from(to.checked_sub(from)?).ok()?;
        let entries = cache.iter().skip(skip).take(count).take_while(|cached| fits(cached.bytes));
        (to <= last + 1).then(|| entries.map(|cached| cached.entry.clone()).collect())
    }

    /// The entries from `from` up to, but not including, `to`, up to the first that does not fit.
    async fn entries(
        &self,
        from: u64,
        to: u64,
        mut fits: impl FnMut(usize) -> bool + Send + 'static,
    ) -> Result<Vec<Entry<Types>>, StorageError> {
        if let Some(entries) = self.cached(from, to, &mut fits) {
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

    fn read_meta<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, LogError> {
        Ok(self.database.get(Table::Meta, key)?.map(|bytes| codec::decode(&bytes)).transpose()?)
    }

    /// Whether this disk has ever taken part in a cluster.
    pub(crate) fn is_fresh(&self) -> Result<bool, LogError> {
        let voted = self.read_meta::<Vote<NodeId>>(VOTE)?.is_some();
        Ok(!voted && self.database.last(Table::Log, &index(0), &index(u64::MAX))?.is_none())
    }

    async fn write_meta<T: Serialize>(
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

/// Makes an empty log one that was purged up to `at`, of a node that has voted in the term of that entry.
pub(crate) fn bootstrap_from(database: &Database, at: LogId) -> Result<(), LogError> {
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

    /// The entries for one message to a follower.
    async fn limited_get_log_entries(&mut self, from: u64, to: u64) -> Result<Vec<Entry<Types>>, StorageError> {
        self.entries(from, to, size_limit()).await
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let log = self.clone();
        on_disk(ErrorSubject::Logs, ErrorVerb::Read, move || {
            let last_purged_log_id: Option<LogId> = log.read_meta(PURGED)?;
            let last_log_id = last(&log.database)?.map(|entry| entry.log_id).or(last_purged_log_id);
            Ok::<_, LogError>(LogState { last_purged_log_id, last_log_id })
        })
        .await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<NodeId>) -> Result<(), StorageError> {
        self.write_meta(ErrorSubject::Vote, VOTE, vote).await
    }

    /// The vote, always as uncommitted. openraft reads it only at the start: a leader that lost the end of its log in a
    /// power failure must not continue in its term.
    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, StorageError> {
        let log = self.clone();
        on_disk(ErrorSubject::Vote, ErrorVerb::Read, move || {
            let vote: Option<Vote<NodeId>> = log.read_meta(VOTE)?;
            Ok::<_, LogError>(vote.map(|vote| Vote { committed: false, ..vote }))
        })
        .await
    }

    // The committed index is not saved: the state on the disk includes the position up to which it is applied, and the
    // leader sends the committed index after a restart.

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let failed =
            |error| StorageError::from(openraft::StorageIOError::new(ErrorSubject::Logs, ErrorVerb::Write, error));
        let mut appended: Vec<CachedEntry> = Vec::new();
        let mut batch = Batch::new();
        for entry in entries {
            let encoded = codec::encode(&entry).map_err(|error| failed(openraft::AnyError::new(&error)))?;
            let bytes = encoded.len();
            self.appended.fetch_add(bytes as u64, Ordering::Relaxed);
            batch.put(Table::Log, index(entry.log_id.index), encoded);
            appended.push(CachedEntry { entry, bytes });
        }
        // This does not wait for the disk; moving it to another thread would take longer than the write.
        self.database.write_unsynced(batch).map_err(|error| failed(openraft::AnyError::new(&error)))?;
        storage::failpoint!("log.appended");
        if let Some(last) = appended.last().map(CachedEntry::index) {
            let mut cache = self.cache.lock();
            // After a snapshot the log may continue at a higher index.
            if cache.back().map(|before| before.index() + 1) != appended.first().map(CachedEntry::index) {
                cache.clear();
            }
            cache.extend(appended);
            let excess = cache.len().saturating_sub(CACHED);
            cache.drain(..excess);
            drop(cache);
            self.flusher.notify(last);
        }
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        let database = self.database.clone();
        self.cache.lock().retain(|cached| cached.index() < from.index);
        on_disk(ErrorSubject::Logs, ErrorVerb::Delete, move || {
            let mut batch = Batch::new();
            batch.delete_range(Table::Log, index(from.index), index(u64::MAX));
            database.write(batch)
        })
        .await?;
        self.flusher.truncate(from.index);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let (database, purged) = (self.database.clone(), codec::encode(&upto));
        self.cache.lock().retain(|cached| cached.index() > upto.index);
        on_disk(ErrorSubject::Logs, ErrorVerb::Delete, move || {
            let mut batch = Batch::new();
            batch.put(Table::Meta, PURGED, purged?);
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
    async fn restarted_leader_does_not_lead() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut log = Log::open(Database::open(&folder.path().join("database")).unwrap()).unwrap();
        log.save_vote(&Vote::new_committed(7, 1)).await.unwrap();
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(7, 1)));
    }
}
