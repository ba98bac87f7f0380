//! The rows in which songs are found and ordered ([`crate::card`]).
//!
//! A place is a row's key behind what all rows of the range begin with. It ends with the song's number.

use std::collections::BTreeSet;

use storage::codec;
use storage::database::{Pair, Table};

use super::{outside_of_generation, within};
use crate::keys::{self, Range};
use crate::{Audience, Card, Order, Read, View, ViewError};

impl View {
    /// What a song is found and ordered by.
    pub fn card(&self, song: u64) -> Result<Option<Card>, ViewError> {
        self.value(&keys::card(song))
    }

    /// At most `limit` songs in an order, each with its place, from `after` on or from the beginning; with `backwards`
    /// the other way round.
    pub fn in_order(
        &self,
        order: Order,
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        let (range, head) = match order {
            Order::Added => (keys::songs(None), keys::SONG_HEAD),
            order => (keys::rows(order), keys::ROW_HEAD),
        };
        self.walk(range, head, after, backwards, limit)
    }

    /// Like [`View::in_order`], of the songs that a user has played, by when.
    pub fn in_order_played(
        &self,
        user: u64,
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        self.walk(keys::all_played(user), keys::PLAYED_HEAD, after, backwards, limit)
    }

    /// Like [`View::in_order`] by when they came, of the songs in the lists of these audiences.
    pub fn in_lists(
        &self,
        audiences: &[Audience],
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        let mut found = BTreeSet::new();
        for audience in audiences {
            let range = keys::all_visible(*audience, None);
            let head = range.0.len();
            found.extend(self.walk(range, head, after, backwards, limit)?);
        }
        let walked: Box<dyn Iterator<Item = _>> =
            if backwards { Box::new(found.into_iter().rev()) } else { Box::new(found.into_iter()) };
        Ok(walked.take(limit).collect())
    }

    /// The numbers in a range of keys, each with its key behind the first `head` bytes.
    fn walk(
        &self,
        (mut from, mut to): Range,
        head: usize,
        after: Option<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, ViewError> {
        if let Some(after) = after {
            let mut key = from[..head].to_vec();
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
        let (from, to) = (within(self.generation, &from), within(self.generation, &to));
        let number = |pair: Pair| {
            let (key, _) = outside_of_generation(pair);
            let last = key.last_chunk().map_or(0, |last| u64::from_be_bytes(*last));
            (key[head..].to_vec(), last)
        };
        if backwards {
            let pairs = self.database.scan_back(Table::State, &from, &to)?;
            pairs.take(limit).map(|pair| Ok(number(pair?))).collect()
        } else {
            let pairs = self.database.scan(Table::State, &from, &to)?;
            pairs.take(limit).map(|pair| Ok(number(pair?))).collect()
        }
    }

    /// The songs with a word that begins so; none if that are more than `limit`.
    pub fn with_word(&self, beginning: &str, limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        self.few(keys::words(beginning), limit)
    }

    /// The songs whose place in an order begins so; none if that are more than `limit`.
    pub fn placed_at(&self, order: Order, place: &[u8], limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        self.few(keys::rows_at(order, place), limit)
    }

    /// The songs in the lists of these audiences; none if that are more than `limit`.
    pub fn listed(&self, audiences: &[Audience], limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        let mut found = BTreeSet::new();
        for audience in audiences {
            match self.few(keys::all_visible(*audience, None), limit)? {
                Some(songs) => found.extend(songs),
                None => return Ok(None),
            }
        }
        Ok(Some(found).filter(|found| found.len() <= limit))
    }

    /// The songs that are named in a range; none if that are more than `limit`.
    fn few(&self, range: Range, limit: usize) -> Result<Option<BTreeSet<u64>>, ViewError> {
        let found = self.scan_some(range, limit + 1)?;
        if found.len() > limit {
            return Ok(None);
        }
        Ok(Some(found.iter().map(|(_, value)| codec::decode(value)).collect::<Result<_, _>>()?))
    }
}
