//! Pages of artists, albums and genres.

use std::collections::{BTreeMap, BTreeSet};

use state::index_entry::{text_key, words};
use state::{Order, View};

use super::{CHUNK, FEW, MOST_LOOKED_AT};
use crate::auth::caller::Caller;
use crate::http::error::ApiError;

/// The songs of a group are counted up to this number.
const MOST_COUNTED: usize = 1_000;

/// The songs of one artist, album or genre.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// One of the songs, for the spelling of the name.
    pub(crate) song: u64,
    /// The number of songs, up to [`MOST_COUNTED`].
    pub(crate) songs: usize,
    /// Whether there may be more songs.
    pub(crate) more: bool,
}

/// Groups and the place behind which the next page begins; none on the last page.
type Page = (Vec<Group>, Option<Vec<u8>>);

/// Finds the groups in the library of the caller, ordered by name. A group matches if its name has a word for each of
/// `beginnings`. The page begins behind the place `after`.
pub(crate) fn groups(
    view: &View,
    caller: &Caller,
    order: Order,
    beginnings: &[String],
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Page, ApiError> {
    let search = GroupSearch { view, caller, order, beginnings };
    let library = match caller.audiences() {
        Some(audiences) => view.listed(&audiences, FEW)?,
        None => None,
    };
    match library {
        Some(songs) => search.among(songs, after, limit),
        None => search.walk(after, limit),
    }
}

struct GroupSearch<'a> {
    view: &'a View,
    caller: &'a Caller,
    order: Order,
    beginnings: &'a [String],
}

impl GroupSearch<'_> {
    fn matches(&self, name: &str) -> bool {
        let words = words(name);
        self.beginnings.iter().all(|beginning| words.iter().any(|word| word.starts_with(beginning)))
    }

    /// The page, from a small library.
    fn among(&self, songs: BTreeSet<u64>, after: Option<Vec<u8>>, limit: usize) -> Result<Page, ApiError> {
        let mut counts = Counts::default();
        for song in songs {
            let Some(entry) = self.view.index_entry(song)? else { continue };
            let Some(name) = entry.text(self.order).filter(|name| self.matches(name)) else { continue };
            let place = text_key(Some(name));
            if after.as_ref().is_none_or(|after| place > *after) {
                counts.add(place, song);
            }
        }
        Ok(counts.first(limit))
    }

    /// The page, from the rows of the order. The rows of a group lie side by side.
    fn walk(&self, after: Option<Vec<u8>>, limit: usize) -> Result<Page, ApiError> {
        let (mut rows, mut counts) = (Rows::new(self.view, self.order, after), Counts::default());
        let mut looked_at = 0;
        while let Some((place, song)) = rows.next()? {
            // Songs without a name come last.
            let Some(name) = name_in(&place) else { break };
            looked_at += 1;
            if !self.matches(&name) {
                rows.skip_group(&place);
                continue;
            }
            if looked_at > MOST_LOOKED_AT {
                counts.mark_incomplete(&place);
                return Ok((counts.first(limit).0, Some(place)));
            }
            if !self.caller.is_listed(self.view, song)? {
                continue;
            }
            if counts.0.len() == limit && !counts.0.contains_key(&place) {
                let last = counts.0.keys().next_back().cloned();
                return Ok((counts.first(limit).0, last));
            }
            if counts.add(place.clone(), song) {
                rows.skip_group(&place);
            }
        }
        Ok(counts.first(limit))
    }
}

/// Groups by place.
#[derive(Default)]
struct Counts(BTreeMap<Vec<u8>, Group>);

impl Counts {
    /// Counts a song, and returns whether its group needs no further counting.
    fn add(&mut self, place: Vec<u8>, song: u64) -> bool {
        let group = self.0.entry(place).or_insert(Group { song, songs: 0, more: false });
        group.more = group.songs == MOST_COUNTED;
        group.songs = (group.songs + 1).min(MOST_COUNTED);
        group.more
    }

    /// Notes that not all songs of a group were counted.
    fn mark_incomplete(&mut self, place: &[u8]) {
        if let Some(group) = self.0.get_mut(place) {
            group.more = true;
        }
    }

    /// The first groups, and the place of the last of them if there are others.
    fn first(self, limit: usize) -> Page {
        let next = if self.0.len() > limit { self.0.keys().nth(limit - 1).cloned() } else { None };
        (self.0.into_values().take(limit).collect(), next)
    }
}

/// The rows of an order, read in chunks.
struct Rows<'a> {
    view: &'a View,
    order: Order,
    chunk: std::vec::IntoIter<(Vec<u8>, u64)>,
    /// The row behind which the next chunk begins.
    behind: Option<Vec<u8>>,
    ended: bool,
}

impl<'a> Rows<'a> {
    /// The rows behind the group at `after`.
    fn new(view: &'a View, order: Order, after: Option<Vec<u8>>) -> Self {
        let behind = after.as_deref().map(behind_group);
        Self { view, order, chunk: Vec::new().into_iter(), behind, ended: false }
    }

    /// The place of the next row's group, and its song.
    fn next(&mut self) -> Result<Option<(Vec<u8>, u64)>, ApiError> {
        loop {
            if let Some((row, song)) = self.chunk.next() {
                let place = row[..row.len().saturating_sub(size_of::<u64>())].to_vec();
                self.behind = Some(row);
                return Ok(Some((place, song)));
            }
            if self.ended {
                return Ok(None);
            }
            let rows = self.view.in_order(self.order, self.behind.as_deref(), false, CHUNK)?;
            self.ended = rows.len() < CHUNK;
            self.chunk = rows.into_iter();
        }
    }

    /// Continues behind all rows of a group.
    fn skip_group(&mut self, place: &[u8]) {
        self.behind = Some(behind_group(place));
        self.chunk = Vec::new().into_iter();
        self.ended = false;
    }
}

/// The name in a place: it lies between two zero bytes.
fn name_in(place: &[u8]) -> Option<String> {
    let [0, name @ .., 0] = place else { return None };
    Some(String::from_utf8_lossy(name).into_owned())
}

/// A row behind all rows of the group at a place.
fn behind_group(place: &[u8]) -> Vec<u8> {
    [place, &[u8::MAX; 9]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted_up_to_a_limit() {
        let mut counts = Counts::default();
        let full: Vec<usize> = (0..MOST_COUNTED + 2).filter(|song| counts.add(b"a".to_vec(), *song as u64)).collect();
        assert_eq!(full, [MOST_COUNTED, MOST_COUNTED + 1]);
        counts.add(b"b".to_vec(), 7);
        let (groups, next) = counts.first(1);
        assert_eq!(groups, [Group { song: 0, songs: MOST_COUNTED, more: true }]);
        assert_eq!(next, Some(b"a".to_vec()));
    }
}
