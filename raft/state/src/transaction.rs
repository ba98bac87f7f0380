//! Changes that lie over the state until they are written together.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use storage::database::{self, Batch, Pair};

use crate::key::{Part, Range, Table};
use crate::tables::COUNTERS;
use crate::{Event, Read, View, ViewError, within};

/// The changes and events of a transaction.
#[derive(Debug, Default)]
pub struct Changes {
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What readers should look at again.
    pub events: BTreeSet<Event>,
}

impl Changes {
    /// Adds the changes to a batch, for this generation of the state.
    pub fn write(self, generation: u8, batch: &mut Batch) -> BTreeSet<Event> {
        for (key, value) in self.values {
            let key = within(generation, &key);
            match value {
                Some(value) => batch.put(database::Table::State, key, value),
                None => batch.delete(database::Table::State, key),
            }
        }
        self.events
    }

    /// The changed keys with their new values; none for removed ones.
    #[cfg(test)]
    pub(crate) fn values(&self) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &self.values
    }
}

/// A state with changes that only the transaction sees.
pub struct Transaction {
    below: View,
    changes: Changes,
}

impl Read for Transaction {
    fn bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        match self.changes.values.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.below.bytes(key),
        }
    }

    fn scan(&self, range: Range, limit: usize) -> Result<Vec<Pair>, ViewError> {
        let changes: Vec<_> = self.changes.values.range(range.0.clone()..range.1.clone()).collect();
        // The changes may have removed as many of the pairs below.
        let mut found: BTreeMap<_, _> =
            self.below.scan(range, limit.saturating_add(changes.len()))?.into_iter().collect();
        for (key, value) in changes {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(found.into_iter().take(limit).collect())
    }
}

impl Transaction {
    /// Begins with no changes.
    pub fn over(below: View) -> Self {
        Self { below, changes: Changes::default() }
    }

    /// Stores a value.
    pub(crate) fn put<K, V: Serialize>(
        &mut self,
        table: Table<K, V>,
        key: impl Part<K>,
        value: &V,
    ) -> Result<(), ViewError> {
        self.put_key(table.key(key), value)
    }

    /// Stores a value under a whole key.
    pub(crate) fn put_key<V: Serialize>(&mut self, key: Vec<u8>, value: &V) -> Result<(), ViewError> {
        self.changes.values.insert(key, Some(codec::encode(value)?));
        Ok(())
    }

    /// Removes a value.
    pub(crate) fn delete<K, V>(&mut self, table: Table<K, V>, key: impl Part<K>) {
        self.delete_key(table.key(key));
    }

    /// Removes the value with this whole key.
    pub(crate) fn delete_key(&mut self, key: Vec<u8>) {
        self.changes.values.insert(key, None);
    }

    /// Stores the value, or removes it if `there` is false.
    pub(crate) fn set<K, V: Serialize>(
        &mut self,
        there: bool,
        table: Table<K, V>,
        key: impl Part<K>,
        value: &V,
    ) -> Result<(), ViewError> {
        if there {
            return self.put(table, key, value);
        }
        self.delete(table, key);
        Ok(())
    }

    /// The next number for a thing of this name. The first is 1.
    pub(crate) fn next(&mut self, name: &str) -> Result<u64, ViewError> {
        let number = self.get(COUNTERS, name)?.unwrap_or(0) + 1;
        self.put(COUNTERS, name, &number)?;
        Ok(number)
    }

    /// Tells readers to look at something again.
    pub(crate) fn emit(&mut self, event: Event) {
        self.changes.events.insert(event);
    }

    /// Ends with the changes.
    pub fn finish(self) -> Changes {
        self.changes
    }
}
