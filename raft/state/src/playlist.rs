//! Playlists: songs in an order that a user gives them.
//!
//! Invariants: an entry's song exists; a playlist goes with its owner, an entry with its song. A song is marked for each
//! playlist that has it, so both are found from the song alone. Who a playlist is shared with may hear those of its songs
//! that are its owner's; what others have let the owner hear is not the owner's to pass on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::transaction::{Applied, refuse};
use super::{Audience, Read, Song, Transaction, ViewError, keys};
use crate::command::{Answer, Refusal};

/// The most playlists of a user.
pub const MOST_PLAYLISTS: usize = 1000;
/// The most entries of a playlist.
const MOST_ENTRIES: usize = 10_000;
/// How many shares a playlist may have.
const MOST_SHARES: usize = 200;

/// A playlist without its songs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playlist {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub owner: u64,
    /// What they call it.
    pub name: String,
    /// What they say of it.
    pub description: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// When it was last changed by somebody.
    pub updated_at: u64,
    /// How many entries it has.
    pub songs: u64,
    /// How long they are together, in frames.
    pub frames: u64,
    /// The number of the last entry that it got.
    pub last_entry: u64,
}

/// A song's place in a playlist. A song may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the playlist, which stays the same when it moves.
    pub id: u64,
    /// Which song.
    pub song: u64,
}

pub(super) fn make(state: &mut Transaction, owner: u64, name: &str, description: &str, at: u64) -> Applied<Answer> {
    if state.user(owner)?.is_none() {
        refuse!(Refusal::NoSuchUser(owner));
    }
    if state.scan(keys::playlists_of(owner))?.len() >= MOST_PLAYLISTS {
        refuse!(Refusal::TooManyPlaylists(MOST_PLAYLISTS));
    }
    let playlist = Playlist {
        id: state.next("playlist")?,
        owner,
        name: name.into(),
        description: description.into(),
        created_at: at,
        updated_at: at,
        songs: 0,
        frames: 0,
        last_entry: 0,
    };
    state.put(keys::playlist(playlist.id), &playlist)?;
    state.put(keys::playlist_of(owner, playlist.id), &playlist.id)?;
    Ok(Ok(Answer::Made(playlist.id)))
}

/// What is to be different about a playlist.
pub(super) fn change(
    state: &mut Transaction,
    id: u64,
    name: Option<&String>,
    description: Option<&String>,
    at: u64,
) -> Applied<Answer> {
    let Some(mut playlist) = state.playlist(id)? else { refuse!(Refusal::NoSuchPlaylist(id)) };
    if let Some(name) = name {
        playlist.name.clone_from(name);
    }
    if let Some(description) = description {
        playlist.description.clone_from(description);
    }
    playlist.updated_at = at;
    state.put(keys::playlist(id), &playlist)?;
    Ok(Ok(Answer::Done))
}

pub(super) fn remove(state: &mut Transaction, id: u64) -> Applied<Answer> {
    let Some(playlist) = state.playlist(id)? else { refuse!(Refusal::NoSuchPlaylist(id)) };
    for entry in state.entries(id)? {
        state.delete(keys::entry_of(entry.song, playlist.owner, id));
    }
    for audience in state.playlist_shares(id)? {
        state.delete(keys::playlist_shared_with(id, audience));
        state.delete(keys::playlist_for(audience, id));
    }
    state.delete(keys::entries(id));
    state.delete(keys::playlist_of(playlist.owner, id));
    state.delete(keys::playlist(id));
    Ok(Ok(Answer::Done))
}

/// What is to come into a playlist, and what is to leave it for that.
pub(super) struct Change<'a> {
    pub(super) songs: &'a [u64],
    /// Before how many of the entries that stay; at the end if it is none.
    pub(super) place: Option<u64>,
    /// Entries that leave.
    pub(super) without: &'a [u64],
}

/// Takes entries out of a playlist and puts songs into it.
pub(super) fn add(state: &mut Transaction, id: u64, change: &Change<'_>, at: u64) -> Applied<Answer> {
    let Some(mut playlist) = state.playlist(id)? else { refuse!(Refusal::NoSuchPlaylist(id)) };
    let mut leaving: BTreeSet<u64> = change.without.iter().copied().collect();
    let (taken, mut entries): (Vec<Entry>, Vec<Entry>) =
        state.entries(id)?.into_iter().partition(|entry| leaving.remove(&entry.id));
    if let Some(missing) = leaving.first() {
        refuse!(Refusal::NoSuchEntry(*missing));
    }
    if entries.len() + change.songs.len() > MOST_ENTRIES {
        refuse!(Refusal::PlaylistFull(MOST_ENTRIES));
    }
    let mut new = Vec::new();
    for song in change.songs {
        let Some(song) = state.song(*song)? else { refuse!(Refusal::NoSuchSong(*song)) };
        playlist.last_entry += 1;
        playlist.frames += song.frames;
        new.push(Entry { id: playlist.last_entry, song: song.id });
    }
    for entry in &taken {
        state.delete(keys::entry_of(entry.song, playlist.owner, id));
        playlist.frames -= state.song(entry.song)?.map_or(0, |song| song.frames);
    }
    // A song that left may stand in another entry.
    let gone: BTreeSet<u64> = taken.iter().map(|entry| entry.song).collect();
    for entry in entries.iter().filter(|entry| gone.contains(&entry.song)).chain(&new) {
        state.put(keys::entry_of(entry.song, playlist.owner, id), &id)?;
    }
    let place =
        change.place.map_or(entries.len(), |place| entries.len().min(usize::try_from(place).unwrap_or(usize::MAX)));
    entries.splice(place..place, new);
    playlist.updated_at = at;
    put(state, playlist, &entries)?;
    Ok(Ok(Answer::Done))
}

pub(super) fn take(state: &mut Transaction, id: u64, entry: u64, at: u64) -> Applied<Answer> {
    let Some(mut playlist) = state.playlist(id)? else { refuse!(Refusal::NoSuchPlaylist(id)) };
    let mut entries = state.entries(id)?;
    let Some(place) = entries.iter().position(|known| known.id == entry) else { refuse!(Refusal::NoSuchEntry(entry)) };
    let taken = entries.remove(place);
    if entries.iter().all(|other| other.song != taken.song) {
        state.delete(keys::entry_of(taken.song, playlist.owner, id));
    }
    playlist.frames -= state.song(taken.song)?.map_or(0, |song| song.frames);
    playlist.updated_at = at;
    put(state, playlist, &entries)?;
    Ok(Ok(Answer::Done))
}

/// Gives the entries another order, which names each of them once.
pub(super) fn order(state: &mut Transaction, id: u64, wanted: &[u64], at: u64) -> Applied<Answer> {
    let Some(mut playlist) = state.playlist(id)? else { refuse!(Refusal::NoSuchPlaylist(id)) };
    let mut entries = state.entries(id)?;
    let mut places: Vec<(u64, usize)> = wanted.iter().enumerate().map(|(place, entry)| (*entry, place)).collect();
    places.sort_unstable();
    places.dedup_by_key(|(entry, _)| *entry);
    let place = |entry: &Entry| places.binary_search_by_key(&entry.id, |(id, _)| *id).map(|found| places[found].1);
    if places.len() != wanted.len()
        || wanted.len() != entries.len()
        || entries.iter().any(|known| place(known).is_err())
    {
        refuse!(Refusal::OtherEntries);
    }
    entries.sort_by_key(|entry| place(entry).unwrap_or(usize::MAX));
    playlist.updated_at = at;
    put(state, playlist, &entries)?;
    Ok(Ok(Answer::Done))
}

/// Stores a playlist with its entries.
fn put(state: &mut Transaction, playlist: Playlist, entries: &Vec<Entry>) -> Result<(), ViewError> {
    state.put(keys::entries(playlist.id), entries)?;
    state.put(keys::playlist(playlist.id), &Playlist { songs: entries.len() as u64, ..playlist })
}

pub(super) fn share(state: &mut Transaction, id: u64, audience: Audience) -> Applied<Answer> {
    let Some(playlist) = state.playlist(id)? else { refuse!(Refusal::NoSuchPlaylist(id)) };
    if let Audience::User(user) = audience
        && state.user(user)?.is_none()
    {
        refuse!(Refusal::NoSuchUser(user));
    }
    let shares = state.playlist_shares(id)?;
    if audience == Audience::User(playlist.owner) || shares.contains(&audience) {
        return Ok(Ok(Answer::Done));
    }
    if shares.len() >= MOST_SHARES {
        refuse!(Refusal::PlaylistSharedTooOften(MOST_SHARES));
    }
    state.put(keys::playlist_shared_with(id, audience), &audience.number())?;
    state.put(keys::playlist_for(audience, id), &id)?;
    Ok(Ok(Answer::Done))
}

pub(super) fn unshare(state: &mut Transaction, id: u64, audience: Audience) -> Applied<Answer> {
    let shared = keys::playlist_shared_with(id, audience);
    if state.get(&shared)?.is_none() {
        refuse!(Refusal::PlaylistNotShared(id));
    }
    state.delete(shared);
    state.delete(keys::playlist_for(audience, id));
    Ok(Ok(Answer::Done))
}

/// Takes a song that goes out of all playlists.
pub(super) fn forget_song(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    for (mark, id) in state.scan(keys::entries_with(song.id))? {
        state.delete(mark);
        let id = storage::codec::decode(&id)?;
        let Some(mut playlist) = state.playlist(id)? else { continue };
        let mut entries = state.entries(id)?;
        let before = entries.len();
        entries.retain(|entry| entry.song != song.id);
        playlist.frames -= song.frames * (before - entries.len()) as u64;
        put(state, playlist, &entries)?;
    }
    Ok(())
}

/// Removes the playlists of a user who goes, and ends the shares with them.
pub(super) fn forget_user(state: &mut Transaction, user: u64) -> Result<(), ViewError> {
    for id in state.values::<u64>(keys::playlists_of(user))? {
        // Those that are listed are there, so it is not refused.
        let _ = remove(state, id)?;
    }
    let audience = Audience::User(user);
    for id in state.values::<u64>(keys::playlists_for(audience))? {
        state.delete(keys::playlist_shared_with(id, audience));
        state.delete(keys::playlist_for(audience, id));
    }
    Ok(())
}
