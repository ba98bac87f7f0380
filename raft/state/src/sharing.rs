//! Applying what decides for whom a song is: the lists it stands in, its shares and its links.
//!
//! Invariant: from the level [`super::ACCOUNTS`] on, a song stands in the list of whoever has it by right
//! ([`Audience::of`]), in the lists of those it is shared with, and in no other. Whoever loses it is told.

use storage::blobs::Hash;

use super::passing::{self, GRACE, Passing};
use super::transaction::{Applied, refuse};
use super::{Audience, Event, Link, Read, Song, Transaction, ViewError, index, keys};
use crate::command::{Answer, Refusal};

/// How many shares and links a song may have.
const MOST: usize = 200;

/// Puts a new song into the lists where it belongs.
pub(super) fn show(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    state.put(keys::visible(Audience::of(song.uploader_id), song.id), &song.id)
}

/// Takes a song that goes out of all lists, with its links.
pub(super) fn hide(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    let mut audiences = vec![Audience::of(song.uploader_id)];
    for audience in state.values::<u64>(keys::shares_of(song.id))?.into_iter().map(Audience::from_number) {
        state.delete(keys::shared_with(song.id, audience));
        audiences.push(audience);
    }
    for audience in audiences {
        state.delete(keys::visible(audience, song.id));
        state.tell(Event::SongRemoved { id: song.id, audience });
    }
    for secret in state.values::<Hash>(keys::links_of(song.id))? {
        remove_link(state, &secret)?;
    }
    Ok(())
}

/// Makes a song of nobody's out of a user's, if it is for everybody; otherwise says false.
pub(super) fn hand_over(state: &mut Transaction, mut song: Song) -> Result<bool, ViewError> {
    if state.get(&keys::shared_with(song.id, Audience::Everybody))?.is_none() {
        return Ok(false);
    }
    // What is for everybody needs no other shares, and nobody would be left to end them.
    hide(state, &song)?;
    song.uploader_id = None;
    index::put_song(state, &song)?;
    show(state, &song)?;
    state.tell(Event::Song { id: song.id });
    Ok(true)
}

pub(super) fn share(state: &mut Transaction, id: u64, owner: Option<u64>, audience: Audience) -> Applied<Answer> {
    let Some(song) = state.song(id)?.filter(|song| song.uploader_id == owner) else { refuse!(Refusal::NoSuchSong(id)) };
    if let Audience::User(user) = audience
        && state.user(user)?.is_none()
    {
        refuse!(Refusal::NoSuchUser(user));
    }
    // Whoever has it by right needs no share.
    let there = audience == Audience::of(song.uploader_id) || state.get(&keys::shared_with(id, audience))?.is_some();
    if there {
        return Ok(Ok(Answer::Done));
    }
    if state.scan(keys::shares_of(id))?.len() >= MOST {
        refuse!(Refusal::TooManyShares(MOST));
    }
    state.put(keys::shared_with(id, audience), &audience.number())?;
    state.put(keys::visible(audience, id), &id)?;
    state.tell(Event::Song { id });
    Ok(Ok(Answer::Done))
}

pub(super) fn unshare(state: &mut Transaction, id: u64, audience: Audience) -> Applied<Answer> {
    let shared = keys::shared_with(id, audience);
    if state.get(&shared)?.is_none() {
        refuse!(Refusal::NotShared(id));
    }
    state.delete(shared);
    state.delete(keys::visible(audience, id));
    state.tell(Event::SongRemoved { id, audience });
    Ok(Ok(Answer::Done))
}

/// Ends the shares with a user who goes, whose own songs are gone.
pub(super) fn forget_user(state: &mut Transaction, user: u64) -> Result<(), ViewError> {
    let audience = Audience::User(user);
    for song in state.values::<u64>(keys::all_visible(audience, None))? {
        state.delete(keys::shared_with(song, audience));
        state.delete(keys::visible(audience, song));
    }
    Ok(())
}

pub(super) fn make_link(
    state: &mut Transaction,
    secret: &Hash,
    song: u64,
    expires_at: u64,
    at: u64,
) -> Applied<Answer> {
    passing::sweep(state, at)?;
    if state.song(song)?.is_none() {
        refuse!(Refusal::NoSuchSong(song));
    }
    if state.scan(keys::links_of(song))?.len() >= MOST {
        refuse!(Refusal::TooManyShares(MOST));
    }
    let link = Link { id: state.next("link")?, song, created_at: at, expires_at };
    state.put(keys::link(secret), &link)?;
    state.put(keys::link_of(song, link.id), secret)?;
    state.put(keys::passing(expires_at.saturating_add(GRACE), secret), &Passing::Link(*secret))?;
    Ok(Ok(Answer::Made(link.id)))
}

pub(super) fn unlink(state: &mut Transaction, song: u64, id: u64) -> Applied<Answer> {
    let Some(secret) = state.value::<Hash>(&keys::link_of(song, id))? else { refuse!(Refusal::NoSuchLink(id)) };
    remove_link(state, &secret)?;
    Ok(Ok(Answer::Done))
}

pub(super) fn remove_link(state: &mut Transaction, secret: &Hash) -> Result<(), ViewError> {
    if let Some(link) = state.value::<Link>(&keys::link(secret))? {
        state.delete(keys::link(secret));
        state.delete(keys::link_of(link.song, link.id));
        state.delete(keys::passing(link.expires_at.saturating_add(GRACE), secret));
    }
    Ok(())
}
