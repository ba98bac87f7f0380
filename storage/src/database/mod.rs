//! One RocksDB database for the Raft log, the vote and the state of a node.
//!
//! Invariants:
//! - Every write is one atomic batch. After a crash, the database contains a prefix of all batches in the order in
//!   which they were written: if a batch survives, so do all earlier ones. There is one database because two could lose
//!   this order.
//! - [`Database::write`] returns after its batch is on disk (`fsync`). [`Database::write_unsynced`] returns earlier; it
//!   serves data that a node can compute again from what is on disk.
//! - A database that lost data after that data was on disk does not open, and damage that a later read or write finds
//!   is reported by [`Database::wait_for_damage`]. Such a database may lack votes and entries that the node confirmed
//!   to others, so the node must not use it.
//!
//! All calls block on the disk. Asynchronous callers wrap them in `spawn_blocking`.

mod batch;
mod durability_mark;
mod error;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;
use std::sync::Arc;

use rocksdb::{BlockBasedOptions, ColumnFamily, ColumnFamilyDescriptor, DB, ErrorKind, Options};
use tokio::sync::watch;

pub use batch::Batch;
use durability_mark::DurabilityMark;
pub use error::DatabaseError;
pub use read::Pair;

/// A table of the database, which is a column family of RocksDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Single values, such as the vote and the ids of the node and its cluster.
    Meta,
    /// The Raft log.
    Log,
    /// The state that the log produced.
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

/// The size of the write-ahead log in bytes. When it is larger, RocksDB moves its contents into the tables.
const WAL_BYTES: u64 = 32 << 20;

struct DatabaseInner {
    rocks: DB,
    mark: DurabilityMark,
    /// The first error that means damage.
    damage: watch::Sender<Option<String>>,
}

/// A handle of the database. Cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<DatabaseInner>);

impl Database {
    /// Opens the database in `folder`. If there is none, this creates it.
    pub fn open(folder: &Path) -> Result<Self, DatabaseError> {
        if let Some(parent) = folder.parent() {
            // RocksDB creates only the last folder of the path. It reports the error if the others are missing.
            let _ = std::fs::create_dir_all(parent);
        }
        let options = options();
        let tables = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), options.clone()));
        let rocks = DB::open_cf_descriptors(&options, folder, tables)
            .map_err(|source| DatabaseError::from_open(folder, source))?;
        let mark =
            DurabilityMark::open(folder).map_err(|source| DatabaseError::Mark { path: folder.into(), source })?;
        let (found, durable) = (rocks.latest_sequence_number(), mark.get());
        if found < durable {
            let reason = format!("it ends with write {found}, but write {durable} was on disk");
            return Err(DatabaseError::Damaged { path: folder.into(), reason });
        }
        Ok(Self(Arc::new(DatabaseInner { rocks, mark, damage: watch::Sender::new(None) })))
    }

    fn table(&self, table: Table) -> Result<&ColumnFamily, DatabaseError> {
        self.0.rocks.cf_handle(table.name()).ok_or(DatabaseError::MissingTable(table))
    }

    /// Waits until a read or write finds damage, and returns the error.
    pub async fn wait_for_damage(&self) -> String {
        let mut damage = self.0.damage.subscribe();
        match damage.wait_for(Option::is_some).await.map(|found| found.clone()) {
            Ok(Some(found)) => found,
            _ => std::future::pending().await,
        }
    }

    /// The error with which a read or write found damage, if one did.
    pub fn damage(&self) -> Option<String> {
        self.0.damage.borrow().clone()
    }

    /// Passes an error on, and reports it as damage if it means corruption.
    fn check_damage(&self, error: rocksdb::Error) -> rocksdb::Error {
        if error.kind() == ErrorKind::Corruption {
            self.0.damage.send_if_modified(|damage| {
                let first = damage.is_none();
                damage.get_or_insert_with(|| error.to_string());
                first
            });
        }
        error
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_keep_log_file_num(4);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    // Bounds the memory for unwritten tables.
    options.set_db_write_buffer_size(64 << 20);
    // RocksDB overwrites old files of the write-ahead log instead of creating new ones. The size of the file then does
    // not change, so an fsync does not write the file system's journal, which would cost more than the data.
    options.set_max_total_wal_size(WAL_BYTES);
    options.set_recycle_log_file_num(4);
    // Almost all writes come from one thread, and inserts into the memtable are faster without support for others.
    options.set_allow_concurrent_memtable_write(false);
    // Most lookups of missing keys are for random keys, such as request ids without a stored answer. Bloom filters
    // answer these without reading the disk.
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&blocks);
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(0.02);
    options
}
