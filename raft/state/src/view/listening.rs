//! Reading playlists, plays and favourites.

use std::collections::BTreeSet;

use super::there;
use crate::tables::{FAVOURITES, PLAYLISTS_FOR, PLAYLISTS_OF_USER};
use crate::{Audience, Entry, Played, Playlist, Read, View, ViewError};

impl View {
    /// A playlist.
    pub fn playlist(&self, id: u64) -> Result<Option<Playlist>, ViewError> {
        Read::playlist(self, id)
    }

    /// A playlist's entries in their order.
    pub fn entries(&self, playlist: u64) -> Result<Vec<Entry>, ViewError> {
        Read::entries(self, playlist)
    }

    /// A user's playlists, the oldest first.
    pub fn playlists_of(&self, user: u64) -> Result<Vec<Playlist>, ViewError> {
        there(self.list(PLAYLISTS_OF_USER, PLAYLISTS_OF_USER.under(user))?, |id| self.playlist(id))
    }

    /// At most `limit` of the playlists that are shared with an audience, the oldest first.
    pub fn playlists_for(&self, audience: Audience, limit: usize) -> Result<Vec<Playlist>, ViewError> {
        there(self.first(PLAYLISTS_FOR, PLAYLISTS_FOR.under(audience), limit)?, |id| self.playlist(id))
    }

    /// The audiences that a playlist is shared with.
    pub fn playlist_shares(&self, playlist: u64) -> Result<Vec<Audience>, ViewError> {
        Read::playlist_shares(self, playlist)
    }

    /// Whether a playlist is shared with one of these audiences.
    pub fn is_playlist_for(&self, playlist: u64, audiences: &[Audience]) -> Result<bool, ViewError> {
        self.has_any(PLAYLISTS_FOR, audiences.iter().map(|audience| (*audience, playlist)))
    }

    /// How often a song was played.
    pub fn plays(&self, song: u64) -> Result<u64, ViewError> {
        Read::plays(self, song)
    }

    /// How a user has played a song.
    pub fn played(&self, user: u64, song: u64) -> Result<Option<Played>, ViewError> {
        Read::played(self, user, song)
    }

    /// Whether a song is a user's favourite.
    pub fn is_favourite(&self, user: u64, song: u64) -> Result<bool, ViewError> {
        self.has(FAVOURITES, (user, song))
    }

    /// A user's favourites.
    pub fn favourites_of(&self, user: u64) -> Result<BTreeSet<u64>, ViewError> {
        Ok(self.list(FAVOURITES, FAVOURITES.under(user))?.into_iter().collect())
    }
}
