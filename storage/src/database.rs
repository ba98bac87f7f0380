//! One RocksDB for the vote, the log and the state of a node.
//!
//! Invariants: every write is one atomic batch, and batches survive a crash in their order: whatever is there, all
//! that was written before it is there too. [`Database::write`] returns when its batch is on the disk (`sync = true`).
//! [`Database::write_behind`] returns earlier, and is for what can be made again from what is on the disk. One database
//! for everything, because two could lose the order between them in a crash.
//!
//! Calls block on the disk; asynchronous callers wrap them in `spawn_blocking`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rocksdb::{
    BlockBasedOptions, ColumnFamily, ColumnFamilyDescriptor, DB, Direction, IteratorMode, Options, ReadOptions,
    WriteBatch, WriteOptions,
};

/// The database could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It could not be opened.
    #[error("the database {path} cannot be opened (is another node running on this folder?): {source}")]
    Open {
        /// Its folder.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
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

/// The handle on the database. Cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<DB>);

impl Database {
    /// Opens the database in `folder`, and makes it if there is none.
    pub fn open(folder: &Path) -> Result<Self, DatabaseError> {
        let failed = |source| DatabaseError::Open { path: folder.into(), source };
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
        Ok(Self(Arc::new(DB::open_cf_descriptors(&options, folder, tables).map_err(failed)?)))
    }

    fn table(&self, table: Table) -> Result<&ColumnFamily, DatabaseError> {
        self.0.cf_handle(table.name()).ok_or(DatabaseError::MissingTable(table))
    }

    /// The value of `key`.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.0.get_cf(self.table(table)?, key).map_err(DatabaseError::Read)
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
    pub fn scan_back(
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
        let pairs = self.0.iterator_cf_opt(self.table(table)?, options, mode);
        Ok(pairs.map(|pair| pair.map(|(key, value)| (key.into_vec(), value.into_vec())).map_err(DatabaseError::Read)))
    }

    /// The last pair from `from` up to and without `to`.
    pub fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Pair>, DatabaseError> {
        self.scan_back(table, from, to)?.next().transpose()
    }

    /// Writes the batch; it is on the disk when this returns.
    pub fn write(&self, batch: Batch) -> Result<(), DatabaseError> {
        let began = Instant::now();
        self.put_down(batch, true)?;
        metrics::histogram!("quartet_database_sync_seconds").record(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Writes the batch; it is on the disk when the next [`Database::write`] or [`Database::sync`] returns, or a little
    /// later by itself. The end of the process alone does not lose it.
    pub fn write_behind(&self, batch: Batch) -> Result<(), DatabaseError> {
        self.put_down(batch, false)
    }

    /// Returns when all that was written before is on the disk. Writes go on meanwhile.
    pub fn sync(&self) -> Result<(), DatabaseError> {
        let began = Instant::now();
        self.0.flush_wal(true).map_err(DatabaseError::Write)?;
        metrics::histogram!("quartet_database_sync_seconds").record(began.elapsed().as_secs_f64());
        Ok(())
    }

    fn put_down(&self, batch: Batch, sync: bool) -> Result<(), DatabaseError> {
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
        self.0.write_opt(writes, &options).map_err(DatabaseError::Write)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

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
        let (value, count) = (vec![7; 1 << 20], 4 * (WAL_BYTES >> 20));
        for key in 0..count {
            let mut batch = Batch::new();
            batch.put(Table::Log, key.to_be_bytes(), value.clone());
            database.write_behind(batch).unwrap();
        }
        let mut batch = Batch::new();
        batch.put(Table::Meta, b"last", b"written");
        database.write(batch).unwrap();
        let words = std::fs::read_to_string(original.join("LOG")).unwrap();
        assert!(words.contains("from recycle list"), "no file was used again");
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

    #[test]
    fn a_folder_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Database::open(folder.path()).unwrap();
        let error = Database::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("another node"), "{error}");
    }
}
