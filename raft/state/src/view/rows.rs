//! Reading the index of songs ([`crate::index_entry`]).
//!
//! A *place* is the key of a row without the beginning that all rows of a list have in common. It ends with the song's
//! number, and is where the next page begins.

use std::collections::BTreeSet;

use storage::database::{Pair, Table};

use super::without_generation;
use crate::key::Range;
use crate::tables::{INDEX_ENTRIES, PLAYED_AT, SONGS, SORTED, VISIBLE, WORDS};
use crate::{Audience, IndexEntry, Order, Read, View, ViewError};

impl View {
    /// A song's entry in the index.
    pub fn index_entry(&self, song: u64) -> Result<Option<IndexEntry>, ViewError> {
        self.get(INDEX_ENTRIES, song)
    }

    /// At most `limit` songs in an order, each with its place, behind the place `after` or from the beginning; with
    /// `backwards` in the reverse order.
    pub fn in_order(
        &self,
        order: Order,
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        let range = match order {
            Order::Added => SONGS.all(),
            order => SORTED.under(order),
        };
        self.walk(range, after, backwards, limit)
    }

    /// Like [`View::in_order`], of the songs that a user has played, by the time of the last play.
    pub fn in_order_played(
        &self,
        user: u64,
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        self.walk(PLAYED_AT.under(user), after, backwards, limit)
    }

    /// Like [`View::in_order`] by the time of the upload, of the songs in the lists of these audiences.
    pub fn in_lists(
        &self,
        audiences: &[Audience],
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        let mut found = BTreeSet::new();
        for audience in audiences {
            found.extend(self.walk(VISIBLE.under(*audience), after, backwards, limit)?);
        }
        let walked: Box<dyn Iterator<Item = _>> =
            if backwards { Box::new(found.into_iter().rev()) } else { Box::new(found.into_iter()) };
        Ok(walked.take(limit).collect())
    }

    /// The numbers at the ends of the keys of a range, each with its place. All keys of the range begin with its first one.
    fn walk(
        &self,
        (mut from, mut to): Range,
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        let head = from.len();
        if let Some(after) = after {
            let mut key = from.clone();
            key.extend_from_slice(after);
            if backwards {
                to = key;
            } else {
                // The first key behind this one.
                key.push(0);
                from = key;
            }
        }
        if from >= to {
            return Ok(Vec::new());
        }
        let (from, to) = self.range((from, to));
        let number = |pair: Pair| {
            let (key, _) = without_generation(pair);
            let last = key.last_chunk().map_or(0, |last| u64::from_be_bytes(*last));
            (key[head..].to_vec(), last)
        };
        if backwards {
            let pairs = self.database.scan_reverse(Table::State, &from, &to)?;
            pairs.take(limit).map(|pair| Ok(number(pair?))).collect()
        } else {
            let pairs = self.database.scan(Table::State, &from, &to)?;
            pairs.take(limit).map(|pair| Ok(number(pair?))).collect()
        }
    }

    /// The songs with a word that begins with this text; none if there are more than `limit`.
    pub fn with_word(&self, beginning: &str, limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        self.few(WORDS.beginning_with(beginning), limit)
    }

    /// The songs whose sort key in an order begins with these bytes; none if there are more than `limit`.
    pub fn sorted_at(&self, order: Order, beginning: &[u8], limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        self.few(SORTED.under_beginning(order, beginning), limit)
    }

    /// The songs in the lists of these audiences; none if there are more than `limit`.
    pub fn listed(&self, audiences: &[Audience], limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        let mut found = BTreeSet::new();
        for audience in audiences {
            match self.few(VISIBLE.under(*audience), limit)? {
                Some(songs) => found.extend(songs),
                None => return Ok(None),
            }
        }
        Ok(Some(found).filter(|found| found.len() <= limit))
    }

    /// The songs whose numbers are the values of a range; none if there are more than `limit`.
    fn few(&self, range: Range, limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        let found = self.scan(range, limit + 1)?;
        if found.len() > limit {
            return Ok(None);
        }
        Ok(Some(found.iter().map(|(_, value)| codec::decode(value)).collect::<Result<_, _>>()?))
    }
}
