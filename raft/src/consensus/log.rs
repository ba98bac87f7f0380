//! The Raft log and the vote, in the node's database.
//!
//! Every write is on the disk before openraft hears of it: an unsynced vote can elect two leaders, and an unsynced
//! entry is an acknowledged write that a power failure takes back.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{Entry, ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader, Vote};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::NodeId;
use storage::database::{Batch, Database, DatabaseError, Table};
use storage::wire::{self, WireError};

use super::{LogId, StorageError, Types, on_disk};

const VOTE: &[u8] = b"raft/vote";
const PURGED: &[u8] = b"raft/purged";

#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// The log. Clones read the same one.
#[derive(Clone)]
pub(crate) struct Log(Database);

impl Log {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    fn mark<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, LogError> {
        Ok(self.0.get(Table::Meta, key)?.map(|bytes| wire::decode(&bytes)).transpose()?)
    }

    /// Whether this disk has ever taken part in a cluster.
    pub(crate) fn is_fresh(&self) -> Result<bool, LogError> {
        let voted = self.mark::<Vote<NodeId>>(VOTE)?.is_some();
        Ok(!voted && self.0.last(Table::Log, &index(0), &index(u64::MAX))?.is_none())
    }

    async fn set_mark<T: Serialize>(
        &self,
        subject: ErrorSubject<NodeId>,
        key: &'static [u8],
        value: &T,
    ) -> Result<(), StorageError> {
        let (database, encoded) = (self.0.clone(), wire::encode(value));
        on_disk(subject, ErrorVerb::Write, move || {
            let mut batch = Batch::new();
            batch.put(Table::Meta, key, encoded?);
            Ok::<_, LogError>(database.write(batch)?)
        })
        .await
    }
}

/// Marks an empty log as purged up to `at`, by a node that has voted in that entry's term.
pub(crate) fn begin_at(database: &Database, at: LogId) -> Result<(), LogError> {
    let mut batch = Batch::new();
    batch.put(Table::Meta, VOTE, wire::encode(&Vote::new(at.leader_id.term, at.leader_id.node_id))?);
    batch.put(Table::Meta, PURGED, wire::encode(&at)?);
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
        let database = self.0.clone();
        on_disk(ErrorSubject::Logs, ErrorVerb::Read, move || {
            let pairs = database.scan(Table::Log, &index(from), &index(to))?;
            pairs.map(|pair| Ok(wire::decode(&pair?.1)?)).collect::<Result<_, LogError>>()
        })
        .await
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let log = self.clone();
        on_disk(ErrorSubject::Logs, ErrorVerb::Read, move || {
            let last_purged_log_id: Option<LogId> = log.mark(PURGED)?;
            let last = log.0.last(Table::Log, &index(0), &index(u64::MAX))?;
            let last: Option<Entry<Types>> = last.map(|(_, value)| wire::decode(&value)).transpose()?;
            let last_log_id = last.map(|entry| entry.log_id).or(last_purged_log_id);
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

    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, StorageError> {
        let log = self.clone();
        on_disk(ErrorSubject::Vote, ErrorVerb::Read, move || log.mark(VOTE)).await
    }

    // The committed mark is not saved: the state is on the disk with the position that it was applied up to, so a
    // restart has nothing to replay that the leader would not tell it about.

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut batch = Batch::new();
        for entry in entries {
            match wire::encode(&entry) {
                Ok(bytes) => batch.put(Table::Log, index(entry.log_id.index), bytes),
                Err(error) => {
                    let error = openraft::AnyError::new(&error);
                    return Err(openraft::StorageIOError::new(ErrorSubject::Logs, ErrorVerb::Write, error).into());
                }
            }
        }
        let database = self.0.clone();
        let written = on_disk(ErrorSubject::Logs, ErrorVerb::Write, move || database.write(batch)).await;
        let heard = match &written {
            Ok(()) => Ok(()),
            Err(error) => Err(std::io::Error::other(error.to_string())),
        };
        callback.log_io_completed(heard);
        written
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        let database = self.0.clone();
        on_disk(ErrorSubject::Logs, ErrorVerb::Delete, move || {
            let mut batch = Batch::new();
            batch.delete_range(Table::Log, index(from.index), index(u64::MAX));
            database.write(batch)
        })
        .await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let (database, mark) = (self.0.clone(), wire::encode(&upto));
        on_disk(ErrorSubject::Logs, ErrorVerb::Delete, move || {
            let mut batch = Batch::new();
            batch.put(Table::Meta, PURGED, mark?);
            batch.delete_range(Table::Log, index(0), index(upto.index + 1));
            Ok::<_, LogError>(database.write(batch)?)
        })
        .await
    }
}
