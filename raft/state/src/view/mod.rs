//! Reading the state, part by part of what is looked at.
//!
//! What people leaf through comes in pages, newest first or from a place on.

mod accounts;
mod files;
mod hooks;
mod jobs;
mod listening;
mod rows;
mod songs;

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use storage::NodeId;
use storage::blobs::Hash;
use storage::codec;
use storage::database::{Database, Pair, Table};

use super::keys::{self, Range};
use super::{Mark, Read, ViewError};

/// The state as this node has applied it. Each answer is the newest, so two answers may lie a command apart.
#[derive(Clone)]
pub struct View {
    database: Database,
    generation: u8,
}

impl Read for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.database.get(Table::State, &self.key(key))?)
    }

    fn scan(&self, (from, to): Range) -> Result<Vec<Pair>, ViewError> {
        let (from, to) = (self.key(&from), self.key(&to));
        let pairs = self.database.scan(Table::State, &from, &to)?;
        pairs.map(|pair| Ok(outside_of_generation(pair?))).collect()
    }

    fn scan_some(&self, (from, to): Range, limit: usize) -> Result<Vec<Pair>, ViewError> {
        let (from, to) = (self.key(&from), self.key(&to));
        let pairs = self.database.scan(Table::State, &from, &to)?;
        pairs.take(limit).map(|pair| Ok(outside_of_generation(pair?))).collect()
    }
}

/// Whatever `look` finds for these.
fn there<N, T>(
    of: impl IntoIterator<Item = N>,
    look: impl Fn(N) -> Result<Option<T>, ViewError>,
) -> Result<Vec<T>, ViewError> {
    of.into_iter().filter_map(|one| look(one).transpose()).collect()
}

fn outside_of_generation((key, value): Pair) -> Pair {
    (key[1..].to_vec(), value)
}

/// A key within one generation of the state; a snapshot is installed as a new generation beside the old one.
pub fn within(generation: u8, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(key.len() + 1);
    full.push(generation);
    full.extend_from_slice(key);
    full
}

impl View {
    /// The state of this generation in the database.
    pub fn new(database: Database, generation: u8) -> Self {
        Self { database, generation }
    }

    /// A key of this view's generation.
    pub(crate) fn key(&self, key: &[u8]) -> Vec<u8> {
        within(self.generation, key)
    }

    /// The cluster's name and level; none before its leader has given them.
    pub fn mark(&self) -> Result<Option<Mark>, ViewError> {
        Read::mark(self)
    }

    /// Whether the cluster takes the commands of this level. What was introduced with a level is not to be proposed
    /// before, for a member may still run a program that does not know it.
    pub fn has_level(&self, level: u32) -> Result<bool, ViewError> {
        Read::has_level(self, level)
    }

    /// The nodes that leave or have left.
    pub fn retired(&self) -> Result<BTreeSet<NodeId>, ViewError> {
        Ok(self.values(keys::all_retired())?.into_iter().collect())
    }

    /// Looks at one value after the other, for ranges that are too large for the memory.
    fn each<T: DeserializeOwned>(
        &self,
        (from, to): Range,
        mut look: impl FnMut(T) -> Result<(), ViewError>,
    ) -> Result<(), ViewError> {
        let (from, to) = (self.key(&from), self.key(&to));
        let mut pairs = self.database.scan(Table::State, &from, &to)?;
        pairs.try_for_each(|pair| look(codec::decode(&pair?.1)?))
    }

    /// The last values of a range, the last one first.
    fn newest<T: DeserializeOwned>(&self, (from, to): Range, limit: usize) -> Result<Vec<T>, ViewError> {
        let (from, to) = (self.key(&from), self.key(&to));
        let pairs = self.database.scan_back(Table::State, &from, &to)?;
        pairs.take(limit).map(|pair| Ok(codec::decode(&pair?.1)?)).collect()
    }

    /// Whether there is a value at one of these keys.
    fn has_any(&self, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<bool, ViewError> {
        for key in keys {
            if self.get(&key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The values whose hashes stand in this range.
    fn behind<T: DeserializeOwned>(&self, range: Range, key: fn(&Hash) -> Vec<u8>) -> Result<Vec<T>, ViewError> {
        let secrets: Vec<Hash> = self.values(range)?;
        there(secrets, |secret| self.value(&key(&secret)))
    }
}
