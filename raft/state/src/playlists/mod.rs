//! Playlists: songs in an order that a user gives them.
//!
//! Invariants: the song of an entry exists; a playlist is removed together with its owner, an entry together with its song.
//! A song is listed with the playlists that have it. An audience that a playlist is shared with may hear the entries whose
//! songs belong to the playlist's owner; songs that others have shared with the owner are not the owner's to pass on.

pub(crate) mod types;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use self::types::{Entry, MOST_PLAYLISTS, Playlist};
use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, refuse};
use crate::tables::{ENTRIES, PLAYLIST_SHARES, PLAYLISTS, PLAYLISTS_FOR, PLAYLISTS_OF_USER, PLAYLISTS_WITH_SONG};
use crate::{Audience, Read, Song, Transaction, ViewError};

/// The highest number of entries of a playlist.
const MOST_ENTRIES: usize = 10_000;
/// How many shares a playlist may have.
const MOST_SHARES: usize = 200;

/// Makes a playlist without entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakePlaylist {
    /// The user who owns it.
    pub owner: u64,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// The time.
    pub at: u64,
}

impl Apply for MakePlaylist {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        if state.user(self.owner)?.is_none() {
            refuse!(Refusal::NoSuchUser(self.owner));
        }
        if state.count(PLAYLISTS_OF_USER.under(self.owner), MOST_PLAYLISTS)? >= MOST_PLAYLISTS {
            refuse!(Refusal::TooManyPlaylists(MOST_PLAYLISTS));
        }
        let playlist = Playlist {
            id: state.next("playlist")?,
            owner: self.owner,
            name: self.name.clone(),
            description: self.description.clone(),
            created_at: self.at,
            updated_at: self.at,
            songs: 0,
            frames: 0,
            last_entry: 0,
        };
        state.put(PLAYLISTS, playlist.id, &playlist)?;
        state.put(PLAYLISTS_OF_USER, (self.owner, playlist.id), &playlist.id)?;
        Ok(Ok(Answer::Made(playlist.id)))
    }
}

/// Changes the name or the description of a playlist. Fields without a value leave it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePlaylist {
    /// The playlist.
    pub playlist: u64,
    /// The new name.
    pub name: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// The time.
    pub at: u64,
}

impl Apply for ChangePlaylist {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(mut playlist) = state.playlist(self.playlist)? else {
            refuse!(Refusal::NoSuchPlaylist(self.playlist))
        };
        if let Some(name) = &self.name {
            playlist.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            playlist.description.clone_from(description);
        }
        playlist.updated_at = self.at;
        state.put(PLAYLISTS, playlist.id, &playlist)?;
        DONE
    }
}

/// Removes a playlist. Its songs stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovePlaylist {
    /// The playlist.
    pub playlist: u64,
}

impl Apply for RemovePlaylist {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(playlist) = state.playlist(self.playlist)? else { refuse!(Refusal::NoSuchPlaylist(self.playlist)) };
        remove(state, &playlist)?;
        DONE
    }
}

/// Removes entries from a playlist and adds songs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddToPlaylist {
    /// The playlist.
    pub playlist: u64,
    /// The songs to add, in their order.
    pub songs: Vec<u64>,
    /// The number of remaining entries before them; none to add them at the end.
    pub place: Option<u64>,
    /// The entries to remove first.
    pub without: Vec<u64>,
    /// The time.
    pub at: u64,
}

impl Apply for AddToPlaylist {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let id = self.playlist;
        let Some(mut playlist) = state.playlist(id)? else { refuse!(Refusal::NoSuchPlaylist(id)) };
        let mut leaving: BTreeSet<u64> = self.without.iter().copied().collect();
        let (removed, mut entries): (Vec<Entry>, Vec<Entry>) =
            state.entries(id)?.into_iter().partition(|entry| leaving.remove(&entry.id));
        if let Some(missing) = leaving.first() {
            refuse!(Refusal::NoSuchEntry(*missing));
        }
        if entries.len() + self.songs.len() > MOST_ENTRIES {
            refuse!(Refusal::PlaylistFull(MOST_ENTRIES));
        }
        let mut new = Vec::new();
        for song in &self.songs {
            let Some(song) = state.song(*song)? else { refuse!(Refusal::NoSuchSong(*song)) };
            playlist.last_entry += 1;
            playlist.frames += song.frames;
            new.push(Entry { id: playlist.last_entry, song: song.id });
        }
        for entry in &removed {
            state.delete(PLAYLISTS_WITH_SONG, (entry.song, playlist.owner, id));
            playlist.frames -= state.song(entry.song)?.map_or(0, |song| song.frames);
        }
        // A song of a removed entry may have another entry.
        let gone: BTreeSet<u64> = removed.iter().map(|entry| entry.song).collect();
        for entry in entries.iter().filter(|entry| gone.contains(&entry.song)).chain(&new) {
            state.put(PLAYLISTS_WITH_SONG, (entry.song, playlist.owner, id), &id)?;
        }
        let place = self.place.map_or(entries.len(), |place| usize::try_from(place).unwrap_or(usize::MAX));
        let place = place.min(entries.len());
        entries.splice(place..place, new);
        playlist.updated_at = self.at;
        put(state, playlist, &entries)?;
        DONE
    }
}

/// Removes an entry from a playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveFromPlaylist {
    /// The playlist.
    pub playlist: u64,
    /// The entry.
    pub entry: u64,
    /// The time.
    pub at: u64,
}

impl Apply for RemoveFromPlaylist {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let id = self.playlist;
        let Some(mut playlist) = state.playlist(id)? else { refuse!(Refusal::NoSuchPlaylist(id)) };
        let mut entries = state.entries(id)?;
        let Some(place) = entries.iter().position(|entry| entry.id == self.entry) else {
            refuse!(Refusal::NoSuchEntry(self.entry))
        };
        let removed = entries.remove(place);
        if entries.iter().all(|other| other.song != removed.song) {
            state.delete(PLAYLISTS_WITH_SONG, (removed.song, playlist.owner, id));
        }
        playlist.frames -= state.song(removed.song)?.map_or(0, |song| song.frames);
        playlist.updated_at = self.at;
        put(state, playlist, &entries)?;
        DONE
    }
}

/// Gives the entries of a playlist another order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReorderPlaylist {
    /// The playlist.
    pub playlist: u64,
    /// All its entries, each once, in the new order.
    pub entries: Vec<u64>,
    /// The time.
    pub at: u64,
}

impl Apply for ReorderPlaylist {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(mut playlist) = state.playlist(self.playlist)? else {
            refuse!(Refusal::NoSuchPlaylist(self.playlist))
        };
        let mut entries = state.entries(playlist.id)?;
        let mut places: Vec<(u64, usize)> =
            self.entries.iter().enumerate().map(|(place, entry)| (*entry, place)).collect();
        places.sort_unstable();
        places.dedup_by_key(|(entry, _)| *entry);
        let place = |entry: &Entry| places.binary_search_by_key(&entry.id, |(id, _)| *id).map(|found| places[found].1);
        if places.len() != self.entries.len()
            || self.entries.len() != entries.len()
            || entries.iter().any(|known| place(known).is_err())
        {
            refuse!(Refusal::OtherEntries);
        }
        entries.sort_by_key(|entry| place(entry).unwrap_or(usize::MAX));
        playlist.updated_at = self.at;
        put(state, playlist, &entries)?;
        DONE
    }
}

/// Shares a playlist, and its owner's songs in it, with an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharePlaylist {
    /// The playlist.
    pub playlist: u64,
    /// The audience.
    pub audience: Audience,
}

impl Apply for SharePlaylist {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Self { playlist: id, audience } = *self;
        let Some(playlist) = state.playlist(id)? else { refuse!(Refusal::NoSuchPlaylist(id)) };
        if let Audience::User(user) = audience
            && state.user(user)?.is_none()
        {
            refuse!(Refusal::NoSuchUser(user));
        }
        let shares = state.playlist_shares(id)?;
        if audience == Audience::User(playlist.owner) || shares.contains(&audience) {
            return DONE;
        }
        if shares.len() >= MOST_SHARES {
            refuse!(Refusal::PlaylistSharedTooOften(MOST_SHARES));
        }
        state.put(PLAYLIST_SHARES, (id, audience), &audience)?;
        state.put(PLAYLISTS_FOR, (audience, id), &id)?;
        DONE
    }
}

/// Ends the share of a playlist with an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsharePlaylist {
    /// The playlist.
    pub playlist: u64,
    /// The audience.
    pub audience: Audience,
}

impl Apply for UnsharePlaylist {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Self { playlist, audience } = *self;
        if !state.has(PLAYLIST_SHARES, (playlist, audience))? {
            refuse!(Refusal::PlaylistNotShared(playlist));
        }
        unshare(state, playlist, audience);
        DONE
    }
}

/// Removes the entries of a song that is removed.
pub(crate) fn remove_song(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    for (key, id) in state.pairs(PLAYLISTS_WITH_SONG, PLAYLISTS_WITH_SONG.under(song.id))? {
        state.delete_key(key);
        let Some(mut playlist) = state.playlist(id)? else { continue };
        let mut entries = state.entries(id)?;
        let before = entries.len();
        entries.retain(|entry| entry.song != song.id);
        playlist.frames -= song.frames * (before - entries.len()) as u64;
        put(state, playlist, &entries)?;
    }
    Ok(())
}

/// Removes the playlists of a user who is removed, and ends the shares with the user.
pub(crate) fn remove_user(state: &mut Transaction, user: u64) -> Result<(), ViewError> {
    for id in state.list(PLAYLISTS_OF_USER, PLAYLISTS_OF_USER.under(user))? {
        if let Some(playlist) = state.playlist(id)? {
            remove(state, &playlist)?;
        }
    }
    let audience = Audience::User(user);
    for playlist in state.list(PLAYLISTS_FOR, PLAYLISTS_FOR.under(audience))? {
        unshare(state, playlist, audience);
    }
    Ok(())
}

fn unshare(state: &mut Transaction, playlist: u64, audience: Audience) {
    state.delete(PLAYLIST_SHARES, (playlist, audience));
    state.delete(PLAYLISTS_FOR, (audience, playlist));
}

fn remove(state: &mut Transaction, playlist: &Playlist) -> Result<(), ViewError> {
    let Playlist { id, owner, .. } = *playlist;
    for entry in state.entries(id)? {
        state.delete(PLAYLISTS_WITH_SONG, (entry.song, owner, id));
    }
    for audience in state.playlist_shares(id)? {
        unshare(state, id, audience);
    }
    state.delete(ENTRIES, id);
    state.delete(PLAYLISTS_OF_USER, (owner, id));
    state.delete(PLAYLISTS, id);
    Ok(())
}

/// Stores a playlist with its entries.
fn put(state: &mut Transaction, playlist: Playlist, entries: &Vec<Entry>) -> Result<(), ViewError> {
    state.put(ENTRIES, playlist.id, entries)?;
    state.put(PLAYLISTS, playlist.id, &Playlist { songs: entries.len() as u64, ..playlist })
}
