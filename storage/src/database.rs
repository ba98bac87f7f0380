//! One RocksDB for the vote, the log and the state of a node.
//!
//! Invariants: every write is one atomic batch, and batches survive a crash in their order: whatever is there, all
//! that was written before it is there too. [`Database::write`] returns when its batch is on the disk (`sync = true`).
//! [`Database::write_unsynced`] returns earlier, and is for what can be made again from what is on the disk. One database
//! for everything, because two could lose the order between them in a crash.
//!
//! A database that has lost something which was on the disk is not opened, and one in which damage shows later says so
//! ([`Database::wait_for_damage`]): it may have forgotten what its node promised.
//!
//! Calls block on the disk; asynchronous callers wrap them in `spawn_blocking`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rocksdb::{
    BlockBasedOptions, ColumnFamily, ColumnFamilyDescriptor, DB, Direction, ErrorKind, IteratorMode, Options,
    ReadOptions, WriteBatch, WriteOptions,
};
use tokio::sync::watch;

use durability_mark::DurabilityMark;

mod durability_mark;

/// The database could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It could not be opened.
    #[error("the database {path} cannot be opened: {source}")]
    Open {
        /// Its folder.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// Another process has it open.
    #[error("the database {0} is in use; is another node running on this folder?")]
    InUse(PathBuf),
    /// Something of it was changed or has gone that was on the disk.
    #[error("the database {path} is damaged: {reason}")]
    Damaged {
        /// Its folder.
        path: PathBuf,
        /// What shows that.
        reason: String,
    },
    /// How far it is on the disk cannot be noted.
    #[error("the database {path} cannot have its note of what is on the disk: {source}")]
    Note {
        /// Its folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It could not be read.
    #[error("the database cannot be read: {0}")]
    Read(#[source] rocksdb::Error),
    /// It could not be written; nothing of the batch took effect.
    #[error("the database cannot be written: {0}")]
    Write(#[source] rocksdb::Error),
    /// Its thread could not be started.
    #[error("the database's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    /// A table that every database has is missing.
    #[error("the database has no table {0:?}; it is damaged")]
    MissingTable(Table),
}

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Single values: the vote, identities, marks.
    Meta,
    /// The Raft log.
    Log,
    /// What the log has led to.
    State,
}

impl Table {
    const ALL: [Self; 3] = [Self::Meta, Self::Log, Self::State];

    fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Log => "log",
            Self::State => "state",
        }
    }
}

/// Of the write-ahead log; when there are more, what they hold moves into the tables.
const WAL_BYTES: u64 = 32 << 20;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

enum Change {
    Put(Table, Vec<u8>, Vec<u8>),
    Delete(Table, Vec<u8>),
    DeleteRange(Table, Vec<u8>, Vec<u8>),
}

/// Changes that take effect together or not at all, in the order in which they were added.
#[derive(Default)]
pub struct Batch(Vec<Change>);

impl Batch {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push(Change::Put(table, key.into(), value.into()));
    }

    /// Removes a value.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.0.push(Change::Delete(table, key.into()));
    }

    /// Removes all values from `from` up to and without `to`.
    pub fn delete_range(&mut self, table: Table, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        self.0.push(Change::DeleteRange(table, from.into(), to.into()));
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct Inner {
    rocks: DB,
    synced: DurabilityMark,
    /// What shows that it is damaged, once something does.
    damage: watch::Sender<Option<String>>,
}

/// The handle on the database. Cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

/// Why RocksDB does not open what is in `folder`.
fn unopened(folder: &Path, source: rocksdb::Error) -> DatabaseError {
    let (path, reason) = (folder.to_owned(), source.to_string());
    match source.kind() {
        ErrorKind::IOError if reason.contains("lock file") || reason.contains("lock hold by") => {
            DatabaseError::InUse(path)
        }
        // A file that others name is not there.
        ErrorKind::IOError if reason.contains("No such file") => DatabaseError::Damaged { path, reason },
        ErrorKind::Corruption => DatabaseError::Damaged { path, reason },
        _ => DatabaseError::Open { path, source },
    }
}

impl Database {
    /// Opens the database in `folder`, and makes it if there is none.
    pub fn open(folder: &Path) -> Result<Self, DatabaseError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_keep_log_file_num(4);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        // A bounded part of the memory for a database that is small beside the songs.
        options.set_db_write_buffer_size(64 << 20);
        // Files of the write-ahead log are written over instead of made anew. A file that does not grow needs no change of
        // its length in the file system's journal at every fsync, which costs more than the bytes themselves.
        options.set_max_total_wal_size(WAL_BYTES);
        options.set_recycle_log_file_num(4);
        // One thread writes nearly all there is, and without others beside it the memtable takes keys faster.
        options.set_allow_concurrent_memtable_write(false);
        // Most keys that are looked for and are not there are random, as a request's that has no answer so far.
        let mut blocks = BlockBasedOptions::default();
        blocks.set_bloom_filter(10.0, false);
        options.set_block_based_table_factory(&blocks);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.02);
        if let Some(parent) = folder.parent() {
            // RocksDB makes the last folder only; an error shows when it tries.
            let _ = std::fs::create_dir_all(parent);
        }
        let tables = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), options.clone()));
        let rocks = DB::open_cf_descriptors(&options, folder, tables).map_err(|source| unopened(folder, source))?;
        let synced =
            DurabilityMark::open(folder).map_err(|source| DatabaseError::Note { path: folder.into(), source })?;
        let (found, noted) = (rocks.latest_sequence_number(), synced.noted());
        if found < noted {
            let reason = format!("it ends with write {found}, and write {noted} was on the disk");
            return Err(DatabaseError::Damaged { path: folder.into(), reason });
        }
        Ok(Self(Arc::new(Inner { rocks, synced, damage: watch::Sender::new(None) })))
    }

    fn table(&self, table: Table) -> Result<&ColumnFamily, DatabaseError> {
        self.0.rocks.cf_handle(table.name()).ok_or(DatabaseError::MissingTable(table))
    }

    /// Returns what shows that the database is damaged, when something does.
    pub async fn wait_for_damage(&self) -> String {
        let mut damage = self.0.damage.subscribe();
        match damage.wait_for(Option::is_some).await.map(|found| found.clone()) {
            Ok(Some(found)) => found,
            _ => std::future::pending().await,
        }
    }

    /// What shows that the database is damaged, if something did.
    pub fn damage(&self) -> Option<String> {
        self.0.damage.borrow().clone()
    }

    /// Looks whether an error means damage.
    fn noticed(&self, error: rocksdb::Error) -> rocksdb::Error {
        if error.kind() == ErrorKind::Corruption {
            self.0.damage.send_if_modified(|damage| {
                let first = damage.is_none();
                damage.get_or_insert_with(|| error.to_string());
                first
            });
        }
        error
    }

    /// The value of `key`.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        let read = self.0.rocks.get_cf(self.table(table)?, key);
        read.map_err(|error| DatabaseError::Read(self.noticed(error)))
    }

    /// The pairs from `from` up to and without `to`, in the order of their keys, as of this moment.
    pub fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
    ) -> Result<impl Iterator<Item = Result<Pair, DatabaseError>> + '_, DatabaseError> {
        self.iterate(table, from, to, IteratorMode::From(from, Direction::Forward))
    }

    /// Like [`Database::scan`], from the last key to the first.
    pub fn scan_reverse(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
    ) -> Result<impl Iterator<Item = Result<Pair, DatabaseError>> + '_, DatabaseError> {
        self.iterate(table, from, to, IteratorMode::End)
    }

    fn iterate(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        mode: IteratorMode<'_>,
    ) -> Result<impl Iterator<Item = Result<Pair, DatabaseError>> + '_, DatabaseError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let pairs = self.0.rocks.iterator_cf_opt(self.table(table)?, options, mode);
        Ok(pairs.map(|pair| {
            let pair = pair.map(|(key, value)| (key.into_vec(), value.into_vec()));
            pair.map_err(|error| DatabaseError::Read(self.noticed(error)))
        }))
    }

    /// The last pair from `from` up to and without `to`.
    pub fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Pair>, DatabaseError> {
        self.scan_reverse(table, from, to)?.next().transpose()
    }

    /// Writes the batch; it is on the disk when this returns.
    pub fn write(&self, batch: Batch) -> Result<(), DatabaseError> {
        let began = Instant::now();
        // Each change has a number, and this batch's come after those of all that was written before.
        let number = self.0.rocks.latest_sequence_number() + batch.len() as u64;
        self.write_batch(batch, true)?;
        self.0.synced.note(number);
        metrics::histogram!("quartet_database_sync_seconds").record(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Writes the batch; it is on the disk when the next [`Database::write`] or [`Database::sync`] returns, or a little
    /// later by itself. The end of the process alone does not lose it.
    pub fn write_unsynced(&self, batch: Batch) -> Result<(), DatabaseError> {
        self.write_batch(batch, false)
    }

    /// Returns when all that was written before is on the disk. Writes go on meanwhile.
    pub fn sync(&self) -> Result<(), DatabaseError> {
        let began = Instant::now();
        let number = self.0.rocks.latest_sequence_number();
        self.0.rocks.flush_wal(true).map_err(|error| DatabaseError::Write(self.noticed(error)))?;
        self.0.synced.note(number);
        metrics::histogram!("quartet_database_sync_seconds").record(began.elapsed().as_secs_f64());
        Ok(())
    }

    fn write_batch(&self, batch: Batch, sync: bool) -> Result<(), DatabaseError> {
        let mut writes = WriteBatch::default();
        for change in &batch.0 {
            match change {
                Change::Put(table, key, value) => writes.put_cf(self.table(*table)?, key, value),
                Change::Delete(table, key) => writes.delete_cf(self.table(*table)?, key),
                Change::DeleteRange(table, from, to) => {
                    writes.delete_range_cf(self.table(*table)?, from.as_slice(), to.as_slice());
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        let written = self.0.rocks.write_opt(writes, &options);
        written.map_err(|error| DatabaseError::Write(self.noticed(error)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::fs::File;

    use super::*;

    #[test]
    fn what_was_written_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        {
            let database = Database::open(folder.path()).unwrap();
            let mut batch = Batch::new();
            for key in [1u8, 2, 3, 4] {
                batch.put(Table::Log, [key], [key * 10]);
            }
            batch.put(Table::Meta, b"a", b"b");
            database.write(batch).unwrap();
            let mut batch = Batch::new();
            batch.delete_range(Table::Log, [2], [4]);
            batch.delete(Table::Meta, b"a");
            database.write(batch).unwrap();
        }
        let database = Database::open(folder.path()).unwrap();
        assert_eq!(database.get(Table::Meta, b"a").unwrap(), None);
        let keys: Vec<_> = database.scan(Table::Log, &[0], &[9]).unwrap().map(|pair| pair.unwrap().0).collect();
        assert_eq!(keys, [[1], [4]]);
        assert_eq!(database.last(Table::Log, &[0], &[4]).unwrap(), Some((vec![1], vec![10])));
    }

    #[test]
    fn nothing_is_lost_where_the_write_ahead_log_was_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (original, copy) = (folder.path().join("original"), folder.path().join("copy"));
        let database = Database::open(&original).unwrap();
        let (value, fewest) = (vec![7; 1 << 20], 4 * (WAL_BYTES >> 20));
        let reused = || std::fs::read_to_string(original.join("LOG")).unwrap().contains("from recycle list");
        // A file is free to be used again when its entries lie in tables, which takes a busy machine a while.
        let mut count = 0u64;
        while count < fewest || !reused() {
            assert!(count < 16 * fewest, "no file was used again");
            for _ in 0..WAL_BYTES >> 22 {
                let mut batch = Batch::new();
                batch.put(Table::Log, count.to_be_bytes(), value.clone());
                database.write_unsynced(batch).unwrap();
                count += 1;
            }
        }
        let mut batch = Batch::new();
        batch.put(Table::Meta, b"last", b"written");
        database.write(batch).unwrap();
        // Files must not come and go while they are copied.
        database.0.rocks.wait_for_compact(&rocksdb::WaitForCompactOptions::default()).unwrap();
        database.0.rocks.disable_file_deletions().unwrap();
        // What a process leaves that is killed now.
        std::fs::create_dir(&copy).unwrap();
        for file in std::fs::read_dir(&original).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        let recovered = Database::open(&copy).unwrap();
        assert_eq!(recovered.get(Table::Meta, b"last").unwrap(), Some(b"written".to_vec()));
        let keys = recovered.scan(Table::Log, &[], &[255]).unwrap().filter(Result::is_ok).count() as u64;
        assert_eq!(keys, count);
    }

    /// The one file of this kind in the folder.
    fn file(folder: &Path, extension: &str) -> PathBuf {
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut found: Vec<_> = files.filter(|file| file.extension().is_some_and(|found| found == extension)).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn put(database: &Database, key: u8) {
        let mut batch = Batch::new();
        batch.put(Table::Log, [key], vec![key; 1000]);
        database.write_unsynced(batch).unwrap();
    }

    #[test]
    fn what_was_synced_and_has_gone_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        (1..=9).for_each(|key| put(&database, key));
        let mut vote = Batch::new();
        vote.put(Table::Meta, b"vote", b"7");
        database.write(vote).unwrap();
        put(&database, 10);
        drop(database);
        let log = file(folder.path(), "log");
        let bytes = std::fs::read(&log).unwrap();
        let refused = || match Database::open(folder.path()).err() {
            Some(DatabaseError::Damaged { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        // A bit in the middle, from which on RocksDB sees nothing.
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        std::fs::write(&log, &flipped).unwrap();
        assert!(refused().contains("write 10 was on the disk"));
        // What it made of that is no better the next time.
        refused();
        // The last write alone was not synced, and may be torn by what ended the process.
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        put(&database, 1);
        database.sync().unwrap();
        put(&database, 2);
        drop(database);
        let log = file(folder.path(), "log");
        let torn = File::options().write(true).open(&log).unwrap();
        torn.set_len(torn.metadata().unwrap().len() - 1).unwrap();
        let database = Database::open(folder.path()).unwrap();
        assert!(database.get(Table::Log, &[1]).unwrap().is_some());
        assert_eq!(database.get(Table::Log, &[2]).unwrap(), None);
    }

    #[tokio::test]
    async fn a_table_that_is_damaged_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        (1..=9).for_each(|key| put(&database, key));
        drop(database);
        // What was in the log moves into a table.
        drop(Database::open(folder.path()).unwrap());
        let table = file(folder.path(), "sst");
        let mut bytes = std::fs::read(&table).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&table, &bytes).unwrap();
        let database = Database::open(folder.path()).unwrap();
        assert_eq!(database.damage(), None);
        assert!(matches!(database.get(Table::Log, &[1]), Err(DatabaseError::Read(_))));
        assert!(database.wait_for_damage().await.contains("mismatch"));
        drop(database);
        // And one that is not there.
        std::fs::remove_file(&table).unwrap();
        assert!(matches!(Database::open(folder.path()), Err(DatabaseError::Damaged { .. })));
    }

    #[test]
    fn a_folder_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Database::open(folder.path()).unwrap();
        let error = Database::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("another node"), "{error}");
    }
}
