//! Writes, with and without waiting for the disk.

use std::time::Instant;

use rocksdb::{WriteBatch, WriteOptions};

use super::batch::Change;
use super::{Batch, Database, DatabaseError};

impl Database {
    /// Writes a batch. It is on disk when this returns.
    pub fn write(&self, batch: Batch) -> Result<(), DatabaseError> {
        let began = Instant::now();
        // Each change has a sequence number. If another thread writes first, the batch gets higher numbers than this
        // one, which is safe: the mark then claims less than is on disk.
        let number = self.0.rocks.latest_sequence_number() + batch.len() as u64;
        self.write_batch(batch, true)?;
        self.0.mark.advance(number);
        metrics::histogram!("quartet_database_sync_seconds").record(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Writes a batch without waiting for the disk. The batch survives the end of the process. It survives a power
    /// failure after the next [`Database::write`] or [`Database::sync`] returns, or after the system has written it by
    /// itself.
    pub fn write_unsynced(&self, batch: Batch) -> Result<(), DatabaseError> {
        self.write_batch(batch, false)
    }

    /// Waits until all earlier writes are on disk. Other threads can write meanwhile.
    pub fn sync(&self) -> Result<(), DatabaseError> {
        let began = Instant::now();
        let number = self.0.rocks.latest_sequence_number();
        self.0.rocks.flush_wal(true).map_err(|error| DatabaseError::Write(self.check_damage(error)))?;
        self.0.mark.advance(number);
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
        written.map_err(|error| DatabaseError::Write(self.check_damage(error)))
    }
}
