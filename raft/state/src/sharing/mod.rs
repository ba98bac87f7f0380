//! Sharing: the lists that songs stand in, their shares and links.
//!
//! Invariant: a song stands in the list of its uploader ([`Audience::of`]), in the lists of the audiences that it is shared
//! with, and in no other. An audience that loses a song gets an event.

pub(crate) mod audience;

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, refuse};
use crate::expiry::{self, GRACE, types::Expiring};
use crate::songs::index;
use crate::tables::{LINKS, LINKS_OF_SONG, SHARES, VISIBLE};
use crate::{Audience, Event, Link, Read, Song, Transaction, ViewError};

/// How many shares, and how many links, a song may have.
const MOST: usize = 200;

/// Shares a song with an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareSong {
    /// The song.
    pub song: u64,
    /// Its owner. Another owner's song is refused.
    pub owner: Option<u64>,
    /// The audience.
    pub audience: Audience,
}

impl Apply for ShareSong {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Self { song: id, audience, .. } = *self;
        let Some(song) = state.song(id)?.filter(|song| song.uploader_id == self.owner) else {
            refuse!(Refusal::NoSuchSong(id))
        };
        if let Audience::User(user) = audience
            && state.user(user)?.is_none()
        {
            refuse!(Refusal::NoSuchUser(user));
        }
        if audience == Audience::of(song.uploader_id) || state.has(SHARES, (id, audience))? {
            return DONE;
        }
        if state.count(SHARES.under(id), MOST)? >= MOST {
            refuse!(Refusal::TooManyShares(MOST));
        }
        state.put(SHARES, (id, audience), &audience)?;
        state.put(VISIBLE, (audience, id), &id)?;
        state.emit(Event::Song { id });
        DONE
    }
}

/// Ends the share of a song with an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnshareSong {
    /// The song.
    pub song: u64,
    /// The audience.
    pub audience: Audience,
}

impl Apply for UnshareSong {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Self { song: id, audience } = *self;
        if !state.has(SHARES, (id, audience))? {
            refuse!(Refusal::NotShared(id));
        }
        state.delete(SHARES, (id, audience));
        state.delete(VISIBLE, (audience, id));
        state.emit(Event::SongRemoved { id, audience });
        DONE
    }
}

/// Makes a link to a song.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeLink {
    /// The hash of its secret.
    pub secret: Hash,
    /// The song.
    pub song: u64,
    /// The time at which it expires.
    pub expires_at: u64,
    /// The time.
    pub at: u64,
}

impl Apply for MakeLink {
    fn adds_expiring(&self) -> Option<u64> {
        Some(self.at)
    }

    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Self { secret, song, expires_at, at } = *self;
        if state.song(song)?.is_none() {
            refuse!(Refusal::NoSuchSong(song));
        }
        if state.count(LINKS_OF_SONG.under(song), MOST)? >= MOST {
            refuse!(Refusal::TooManyShares(MOST));
        }
        let link = Link { id: state.next("link")?, song, created_at: at, expires_at };
        state.put(LINKS, &secret, &link)?;
        state.put(LINKS_OF_SONG, (song, link.id), &secret)?;
        expiry::schedule(state, expires_at.saturating_add(GRACE), Expiring::Link(secret))?;
        Ok(Ok(Answer::Made(link.id)))
    }
}

/// Removes a link to a song.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveLink {
    /// The song.
    pub song: u64,
    /// The number of the link.
    pub link: u64,
}

impl Apply for RemoveLink {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(secret) = state.get(LINKS_OF_SONG, (self.song, self.link))? else {
            refuse!(Refusal::NoSuchLink(self.link))
        };
        remove_link(state, &secret)?;
        DONE
    }
}

/// Removes the link with this secret's hash.
pub(crate) fn remove_link(state: &mut Transaction, secret: &Hash) -> Result<(), ViewError> {
    if let Some(link) = state.get(LINKS, secret)? {
        state.delete(LINKS, secret);
        state.delete(LINKS_OF_SONG, (link.song, link.id));
        expiry::cancel(state, link.expires_at.saturating_add(GRACE), secret);
    }
    Ok(())
}

/// Puts a new song into the list of its uploader.
pub(crate) fn show(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    state.put(VISIBLE, (Audience::of(song.uploader_id), song.id), &song.id)
}

/// Removes a song from all lists, with its shares and links.
pub(crate) fn hide(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    let mut audiences = vec![Audience::of(song.uploader_id)];
    for audience in state.list(SHARES, SHARES.under(song.id))? {
        state.delete(SHARES, (song.id, audience));
        audiences.push(audience);
    }
    for audience in audiences {
        state.delete(VISIBLE, (audience, song.id));
        state.emit(Event::SongRemoved { id: song.id, audience });
    }
    for secret in state.list(LINKS_OF_SONG, LINKS_OF_SONG.under(song.id))? {
        remove_link(state, &secret)?;
    }
    Ok(())
}

/// Makes a user's song one without an owner, if it is shared with everybody; otherwise returns false.
pub(crate) fn transfer(state: &mut Transaction, mut song: Song) -> Result<bool, ViewError> {
    if !state.has(SHARES, (song.id, Audience::Everybody))? {
        return Ok(false);
    }
    // A song for everybody needs no other shares, and a song without an owner has no user who could end them.
    hide(state, &song)?;
    song.uploader_id = None;
    index::put_song(state, &song)?;
    show(state, &song)?;
    state.emit(Event::Song { id: song.id });
    Ok(true)
}

/// Ends the shares with a user who is removed, whose own songs are gone.
pub(crate) fn remove_user(state: &mut Transaction, user: u64) -> Result<(), ViewError> {
    let audience = Audience::User(user);
    for song in state.list(VISIBLE, VISIBLE.under(audience))? {
        state.delete(SHARES, (song, audience));
        state.delete(VISIBLE, (audience, song));
    }
    Ok(())
}
