//! Keeping the rows in which songs stand true: see [`super::card`].
//!
//! Invariant: from the level [`super::ACCOUNTS`] on, every song has a card that says what the song, its job and its plays
//! say, and stands in the rows of its card and in no others. There is one set of rows for all songs, not one for each
//! listener: who may hear a song is looked up when a row is read, so sharing one costs no rows.

use super::{Card, Read, Song, Transaction, ViewError, keys, raise};

/// Stores a song, and its card and rows with it.
pub(super) fn put_song(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    state.put(keys::song(song.id), song)?;
    put(state, song)
}

/// Makes a song's card and rows say what is so now.
pub(super) fn put(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    if !raise::lists_song(state, song.id)? {
        return Ok(());
    }
    let facts = state.job(song.job)?.and_then(|job| job.stems?.facts);
    let card = Card::of(song, facts.as_deref(), state.plays(song.id)?);
    let before = state.value::<Card>(&keys::card(song.id))?;
    if before.as_ref() == Some(&card) {
        return Ok(());
    }
    let old = before.map_or(Vec::new(), |before| before.rows(song.id));
    let new = card.rows(song.id);
    for row in old.iter().filter(|row| !new.contains(row)) {
        state.delete(row.clone());
    }
    for row in new.into_iter().filter(|row| !old.contains(row)) {
        state.put(row, &song.id)?;
    }
    state.put(keys::card(song.id), &card)
}

/// Takes a song that goes out of all rows.
pub(super) fn remove(state: &mut Transaction, song: u64) -> Result<(), ViewError> {
    if let Some(card) = state.value::<Card>(&keys::card(song))? {
        for row in card.rows(song) {
            state.delete(row);
        }
        state.delete(keys::card(song));
    }
    Ok(())
}
