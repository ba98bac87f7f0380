//! Keeps the index of songs up to date: see [`super::index_entry`].
//!
//! Invariant: every song has an index entry that agrees with the song, its own job and its plays, and stands in the rows of
//! its entry and in no others. There is one set of rows for all songs, not one for each listener: access is checked when a
//! row is read, so sharing a song adds no rows.

use crate::tables::{INDEX_ENTRIES, SONGS, SORTED, WORDS};
use crate::{IndexEntry, Order, Read, Song, Transaction, ViewError};

/// The orders that have rows. The order of arrival needs none: the songs themselves lie in it.
pub(crate) const SORTED_ORDERS: [Order; 7] =
    [Order::Title, Order::Artist, Order::Album, Order::Genre, Order::Duration, Order::Tempo, Order::Plays];

/// Stores a song with its index entry and rows.
pub(crate) fn put_song(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    state.put(SONGS, song.id, song)?;
    update(state, song)
}

/// Updates a song's index entry and rows.
pub(crate) fn update(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    let job = state.job(song.job)?;
    let entry = IndexEntry::of(song, job.as_ref().and_then(|job| job.facts()), state.plays(song.id)?);
    let before = state.get(INDEX_ENTRIES, song.id)?;
    if before.as_ref() == Some(&entry) {
        return Ok(());
    }
    let old = before.map_or(Vec::new(), |before| rows(&before, song.id));
    let new = rows(&entry, song.id);
    for row in old.iter().filter(|row| !new.contains(row)) {
        state.delete_key(row.clone());
    }
    for row in new.into_iter().filter(|row| !old.contains(row)) {
        state.put_key(row, &song.id)?;
    }
    state.put(INDEX_ENTRIES, song.id, &entry)
}

/// Removes a song's index entry and rows.
pub(crate) fn remove(state: &mut Transaction, song: u64) -> Result<(), ViewError> {
    if let Some(entry) = state.get(INDEX_ENTRIES, song)? {
        for row in rows(&entry, song) {
            state.delete_key(row);
        }
        state.delete(INDEX_ENTRIES, song);
    }
    Ok(())
}

/// The whole keys of all rows of a song with this entry.
pub(crate) fn rows(entry: &IndexEntry, song: u64) -> Vec<Vec<u8>> {
    let orders = SORTED_ORDERS.iter().map(|order| SORTED.key((*order, &*entry.sort_key(*order, song))));
    orders.chain(entry.words.iter().map(|word| WORDS.key((&**word, song)))).collect()
}
