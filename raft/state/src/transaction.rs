//! Changes laid over the state until they are written together.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use storage::codec;
use storage::database::{Batch, Pair, Table};

use super::keys::{self, Range};
use super::read::Read;
use super::{Event, View, ViewError};
use crate::command::Refusal;

/// What applying comes to: a value or a refusal, or an error that stops the node.
pub(super) type Applied<T> = Result<Result<T, Refusal>, ViewError>;

/// Leaves the function with a refusal.
macro_rules! refuse {
    ($refusal:expr) => {
        return Ok(Err($refusal))
    };
}
pub(super) use refuse;

/// What was granted, or leaves the function with the refusal.
macro_rules! granted {
    ($granted:expr) => {
        match $granted {
            Ok(granted) => granted,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}
pub(super) use granted;

/// What a transaction comes to.
#[derive(Debug, Default)]
pub struct Changes {
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What readers should look at again.
    pub events: BTreeSet<Event>,
}

impl Changes {
    /// Adds the changes to a batch, for this generation of the state.
    pub fn write(self, generation: u8, batch: &mut Batch) -> BTreeSet<Event> {
        for (mut key, value) in self.values {
            key.insert(0, generation);
            match value {
                Some(value) => batch.put(Table::State, key, value),
                None => batch.delete(Table::State, key),
            }
        }
        self.events
    }
}

/// A state with changes that only the transaction sees.
pub struct Transaction {
    below: View,
    changes: Changes,
}

impl Read for Transaction {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        match self.changes.values.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.below.get(key),
        }
    }

    fn scan(&self, range: Range) -> Result<Vec<Pair>, ViewError> {
        let mut found: BTreeMap<_, _> = self.below.scan(range.clone())?.into_iter().collect();
        for (key, value) in self.changes.values.range(range.0..range.1) {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(found.into_iter().collect())
    }

    fn scan_some(&self, range: Range, limit: usize) -> Result<Vec<Pair>, ViewError> {
        let changes: Vec<_> = self.changes.values.range(range.0.clone()..range.1.clone()).collect();
        // As many more from below as may be gone from there.
        let mut found: BTreeMap<_, _> = self.below.scan_some(range, limit + changes.len())?.into_iter().collect();
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

    pub(super) fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) -> Result<(), ViewError> {
        self.changes.values.insert(key, Some(codec::encode(value)?));
        Ok(())
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.changes.values.insert(key, None);
    }

    /// The next number for something.
    pub(super) fn next(&mut self, name: &str) -> Result<u64, ViewError> {
        let number = self.value::<u64>(&keys::counter(name))?.unwrap_or(0) + 1;
        self.put(keys::counter(name), &number)?;
        Ok(number)
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.changes.events.insert(event);
    }

    /// Ends with the changes.
    pub fn finish(self) -> Changes {
        self.changes
    }
}
