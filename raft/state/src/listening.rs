//! What users listen to: favourites and plays.
//!
//! A song counts how often it was played, whoever played it. What a user likes and has played is theirs, and goes with
//! them or with the song.

use serde::{Deserialize, Serialize};

use super::transaction::{Applied, granted, refuse};
use super::{Count, Event, Read, Transaction, ViewError, index, keys, tries};
use crate::command::{Answer, Refusal};

/// The most favourites of a user.
const MOST_FAVOURITES: usize = 10_000;

/// How a user has played a song.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Played {
    /// How often.
    pub times: u64,
    /// When last, in milliseconds since 1970.
    pub at: u64,
}

/// Makes a song a user's favourite, or no longer.
pub(super) fn favour(state: &mut Transaction, user: u64, song: u64, favourite: bool) -> Applied<Answer> {
    if state.user(user)?.is_none() {
        refuse!(Refusal::NoSuchUser(user));
    }
    if state.song(song)?.is_none() {
        refuse!(Refusal::NoSuchSong(song));
    }
    let (mark, back) = (keys::favourite(user, song), keys::favoured_by(song, user));
    if state.get(&mark)?.is_some() == favourite {
        return Ok(Ok(Answer::Done));
    }
    if !favourite {
        state.delete(mark);
        state.delete(back);
    } else {
        if state.scan_some(keys::favourites_of(user), MOST_FAVOURITES)?.len() >= MOST_FAVOURITES {
            refuse!(Refusal::TooManyFavourites(MOST_FAVOURITES));
        }
        state.put(mark, &song)?;
        state.put(back, &user)?;
    }
    state.tell(Event::Song { id: song });
    Ok(Ok(Answer::Done))
}

/// Counts a play, unless `count` says that there were too many of late.
pub(super) fn play(state: &mut Transaction, id: u64, user: Option<u64>, count: &Count, at: u64) -> Applied<Answer> {
    let Some(song) = state.song(id)? else { refuse!(Refusal::NoSuchSong(id)) };
    if let Some(user) = user
        && state.user(user)?.is_none()
    {
        refuse!(Refusal::NoSuchUser(user));
    }
    granted!(tries::count(state, std::slice::from_ref(count), at)?);
    let plays = state.plays(id)? + 1;
    state.put(keys::plays(id), &plays)?;
    index::put(state, &song)?;
    if let Some(user) = user {
        let before = state.played(user, id)?;
        if let Some(before) = before {
            state.delete(keys::played_at(user, before.at, id));
        }
        let times = before.map_or(0, |before| before.times) + 1;
        state.put(keys::played(user, id), &Played { times, at })?;
        state.put(keys::played_at(user, at, id), &id)?;
        state.put(keys::played_by(id, user), &user)?;
    }
    Ok(Ok(Answer::Done))
}

/// Forgets who liked and played a song that goes.
pub(super) fn forget_song(state: &mut Transaction, song: u64) -> Result<(), ViewError> {
    for user in state.values::<u64>(keys::all_favoured_by(song))? {
        state.delete(keys::favourite(user, song));
        state.delete(keys::favoured_by(song, user));
    }
    for user in state.values::<u64>(keys::all_played_by(song))? {
        forget_played(state, user, song)?;
    }
    state.delete(keys::plays(song));
    Ok(())
}

/// Forgets what a user who goes liked and played.
pub(super) fn forget_user(state: &mut Transaction, user: u64) -> Result<(), ViewError> {
    for song in state.values::<u64>(keys::favourites_of(user))? {
        state.delete(keys::favourite(user, song));
        state.delete(keys::favoured_by(song, user));
    }
    for song in state.values::<u64>(keys::all_played(user))? {
        forget_played(state, user, song)?;
    }
    Ok(())
}

fn forget_played(state: &mut Transaction, user: u64, song: u64) -> Result<(), ViewError> {
    if let Some(played) = state.played(user, song)? {
        state.delete(keys::played_at(user, played.at, song));
    }
    state.delete(keys::played(user, song));
    state.delete(keys::played_by(song, user));
    Ok(())
}
