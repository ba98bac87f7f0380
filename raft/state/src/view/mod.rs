//! Reading the state.
//!
//! Lists come in pages, the newest first or in an order.

mod accounts;
mod files;
mod hooks;
mod jobs;
mod listening;
mod rows;
mod songs;

use std::collections::BTreeSet;

use crate::NodeId;
use serde::de::DeserializeOwned;
use storage::blobs::Hash;
use storage::database::{self, Database, Pair};

use crate::key::{Part, Range, Table};
use crate::tables::RETIRED_NODES;
use crate::{ClusterMeta, Read, ViewError};

/// The state as this node has applied it. Each read sees the newest state, so a command may be applied between two reads.
#[derive(Clone)]
pub struct View {
    database: Database,
    generation: u8,
}

impl Read for View {
    fn bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.database.get(database::Table::State, &self.key(key))?)
    }

    fn scan(&self, range: Range, limit: usize) -> Result<Vec<Pair>, ViewError> {
        let (from, to) = self.range(range);
        let pairs = self.database.scan(database::Table::State, &from, &to)?;
        pairs.take(limit).map(|pair| Ok(without_generation(pair?))).collect()
    }
}

/// The values that `look` finds for these numbers.
fn there<N, T>(
    of: impl IntoIterator<Item = N>,
    look: impl Fn(N) -> Result<Option<T>, ViewError>,
) -> Result<Vec<T>, ViewError> {
    of.into_iter().filter_map(|one| look(one).transpose()).collect()
}

fn without_generation((key, value): Pair) -> Pair {
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

    fn range(&self, (from, to): Range) -> Range {
        (self.key(&from), self.key(&to))
    }

    /// The cluster's name and feature level; none before its leader has set them.
    pub fn cluster_meta(&self) -> Result<Option<ClusterMeta>, ViewError> {
        Read::cluster_meta(self)
    }

    /// Whether the cluster has reached this feature level. Commands that a level introduced are refused before.
    pub fn has_level(&self, level: u32) -> Result<bool, ViewError> {
        Ok(Read::level(self)? >= level)
    }

    /// The nodes that leave or have left.
    pub fn retired(&self) -> Result<BTreeSet<NodeId>, ViewError> {
        Ok(self.list(RETIRED_NODES, RETIRED_NODES.all())?.into_iter().collect())
    }

    /// Looks at one value of a table after the other, for tables that are too large for the memory.
    fn each<K, V: DeserializeOwned>(
        &self,
        table: Table<K, V>,
        mut look: impl FnMut(V) -> Result<(), ViewError>,
    ) -> Result<(), ViewError> {
        let (from, to) = self.range(table.all());
        let mut pairs = self.database.scan(database::Table::State, &from, &to)?;
        pairs.try_for_each(|pair| look(codec::decode(&pair?.1)?))
    }

    /// The last `limit` values of a range of this table, the last one first.
    fn newest<K, V: DeserializeOwned>(&self, _: Table<K, V>, range: Range, limit: usize) -> Result<Vec<V>, ViewError> {
        let (from, to) = self.range(range);
        let pairs = self.database.scan_reverse(database::Table::State, &from, &to)?;
        pairs.take(limit).map(|pair| Ok(codec::decode(&pair?.1)?)).collect()
    }

    /// Whether there is a value under one of these keys.
    fn has_any<K, V>(
        &self,
        table: Table<K, V>,
        keys: impl IntoIterator<Item = impl Part<K>>,
    ) -> Result<bool, ViewError> {
        for key in keys {
            if self.has(table, key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The values in `table` whose hashes an index lists in this range.
    fn by_hashes<K, V: DeserializeOwned>(
        &self,
        index: Table<K, Hash>,
        range: Range,
        table: Table<Hash, V>,
    ) -> Result<Vec<V>, ViewError> {
        there(self.list(index, range)?, |hash| self.get(table, &hash))
    }
}
