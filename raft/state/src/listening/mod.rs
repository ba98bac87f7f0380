//! Listening: favourites and plays.
//!
//! Each song counts its plays, by users and others. Favourites and plays of a user are removed together with the user or the
//! song.

pub(crate) mod types;

use serde::{Deserialize, Serialize};

use self::types::Played;
use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, granted, refuse};
use crate::songs::index;
use crate::tables::{FAVOURED_BY, FAVOURITES, PLAYED, PLAYED_AT, PLAYED_BY, PLAYS};
use crate::{Event, RateLimit, Read, Transaction, ViewError, rate_limits};

/// The highest number of favourites of a user.
const MOST_FAVOURITES: usize = 10_000;

/// Makes a song a user's favourite, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetFavourite {
    /// The user.
    pub user: u64,
    /// The song.
    pub song: u64,
    /// Whether it is a favourite.
    pub favourite: bool,
}

impl Apply for SetFavourite {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Self { user, song, favourite } = *self;
        if state.user(user)?.is_none() {
            refuse!(Refusal::NoSuchUser(user));
        }
        if state.song(song)?.is_none() {
            refuse!(Refusal::NoSuchSong(song));
        }
        if state.has(FAVOURITES, (user, song))? == favourite {
            return DONE;
        }
        if favourite && state.count(FAVOURITES.under(user), MOST_FAVOURITES)? >= MOST_FAVOURITES {
            refuse!(Refusal::TooManyFavourites(MOST_FAVOURITES));
        }
        state.set(favourite, FAVOURITES, (user, song), &song)?;
        state.set(favourite, FAVOURED_BY, (song, user), &user)?;
        state.emit(Event::Song { id: song });
        DONE
    }
}

/// Counts a play of a song, unless its listener has reached the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountPlay {
    /// The song.
    pub song: u64,
    /// The user who played it; none for a listener without an account.
    pub user: Option<u64>,
    /// How many plays of one listener count.
    pub limit: RateLimit,
    /// The time.
    pub at: u64,
}

impl Apply for CountPlay {
    fn adds_expiring(&self) -> Option<u64> {
        Some(self.at)
    }

    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Self { song: id, user, at, .. } = *self;
        let Some(song) = state.song(id)? else { refuse!(Refusal::NoSuchSong(id)) };
        if let Some(user) = user
            && state.user(user)?.is_none()
        {
            refuse!(Refusal::NoSuchUser(user));
        }
        granted!(rate_limits::count(state, &[self.limit], at)?);
        let plays = state.plays(id)? + 1;
        state.put(PLAYS, id, &plays)?;
        index::update(state, &song)?;
        if let Some(user) = user {
            let before = state.played(user, id)?;
            if let Some(before) = before {
                state.delete(PLAYED_AT, (user, before.at, id));
            }
            let times = before.map_or(0, |before| before.times) + 1;
            state.put(PLAYED, (user, id), &Played { times, at })?;
            state.put(PLAYED_AT, (user, at, id), &id)?;
            state.put(PLAYED_BY, (id, user), &user)?;
        }
        DONE
    }
}

/// Removes the favourites and plays of a song that is removed.
pub(crate) fn remove_song(state: &mut Transaction, song: u64) -> Result<(), ViewError> {
    for user in state.list(FAVOURED_BY, FAVOURED_BY.under(song))? {
        remove_favourite(state, user, song);
    }
    for user in state.list(PLAYED_BY, PLAYED_BY.under(song))? {
        remove_played(state, user, song)?;
    }
    state.delete(PLAYS, song);
    Ok(())
}

/// Removes the favourites and plays of a user who is removed.
pub(crate) fn remove_user(state: &mut Transaction, user: u64) -> Result<(), ViewError> {
    for song in state.list(FAVOURITES, FAVOURITES.under(user))? {
        remove_favourite(state, user, song);
    }
    for song in state.list(PLAYED_AT, PLAYED_AT.under(user))? {
        remove_played(state, user, song)?;
    }
    Ok(())
}

fn remove_favourite(state: &mut Transaction, user: u64, song: u64) {
    state.delete(FAVOURITES, (user, song));
    state.delete(FAVOURED_BY, (song, user));
}

fn remove_played(state: &mut Transaction, user: u64, song: u64) -> Result<(), ViewError> {
    if let Some(played) = state.played(user, song)? {
        state.delete(PLAYED_AT, (user, played.at, song));
    }
    state.delete(PLAYED, (user, song));
    state.delete(PLAYED_BY, (song, user));
    Ok(())
}
