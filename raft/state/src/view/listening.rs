//! What users make of songs: playlists, plays and favourites.

use std::collections::BTreeSet;

use super::there;
use crate::{Audience, Entry, Played, Playlist, Read, View, ViewError, keys};

impl View {
    /// A playlist.
    pub fn playlist(&self, id: u64) -> Result<Option<Playlist>, ViewError> {
        Read::playlist(self, id)
    }

    /// A playlist's entries, in their order.
    pub fn entries(&self, playlist: u64) -> Result<Vec<Entry>, ViewError> {
        Read::entries(self, playlist)
    }

    /// A user's playlists, the oldest first.
    pub fn playlists_of(&self, user: u64) -> Result<Vec<Playlist>, ViewError> {
        let ids: Vec<u64> = self.values(keys::playlists_of(user))?;
        there(ids, |id| self.playlist(id))
    }

    /// At most `limit` of the playlists that are shared with an audience, the oldest first.
    pub fn playlists_for(&self, audience: Audience, limit: usize) -> Result<Vec<Playlist>, ViewError> {
        let ids: Vec<u64> = self.some_values(keys::playlists_for(audience), limit)?;
        there(ids, |id| self.playlist(id))
    }

    /// With whom a playlist is shared.
    pub fn playlist_shares(&self, playlist: u64) -> Result<Vec<Audience>, ViewError> {
        Read::playlist_shares(self, playlist)
    }

    /// Whether a playlist is shared with one of these audiences.
    pub fn is_playlist_for(&self, playlist: u64, audiences: &[Audience]) -> Result<bool, ViewError> {
        self.has_any(audiences.iter().map(|audience| keys::playlist_for(*audience, playlist)))
    }

    /// How often a song was played.
    pub fn plays(&self, song: u64) -> Result<u64, ViewError> {
        Read::plays(self, song)
    }

    /// How a user has played a song.
    pub fn played(&self, user: u64, song: u64) -> Result<Option<Played>, ViewError> {
        Read::played(self, user, song)
    }

    /// Whether a user likes a song.
    pub fn is_favourite(&self, user: u64, song: u64) -> Result<bool, ViewError> {
        Ok(self.get(&keys::favourite(user, song))?.is_some())
    }

    /// What a user likes.
    pub fn favourites_of(&self, user: u64) -> Result<BTreeSet<u64>, ViewError> {
        Ok(self.values(keys::favourites_of(user))?.into_iter().collect())
    }
}
