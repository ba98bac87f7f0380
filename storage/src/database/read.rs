//! Reads: single keys and ranges.

use rocksdb::{Direction, IteratorMode, ReadOptions};

use super::{Database, DatabaseError, Table};

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

impl Database {
    /// The value of a key.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        let read = self.0.rocks.get_cf(self.table(table)?, key);
        read.map_err(|error| DatabaseError::Read(self.check_damage(error)))
    }

    /// The pairs with keys in `from..to`, in ascending order. The iterator does not see later writes.
    pub fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
    ) -> Result<impl Iterator<Item = Result<Pair, DatabaseError>> + '_, DatabaseError> {
        self.iterate(table, from, to, IteratorMode::From(from, Direction::Forward))
    }

    /// Like [`Database::scan`], in descending order.
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
            pair.map_err(|error| DatabaseError::Read(self.check_damage(error)))
        }))
    }

    /// The pair with the highest key in `from..to`.
    pub fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Pair>, DatabaseError> {
        self.scan_reverse(table, from, to)?.next().transpose()
    }
}
