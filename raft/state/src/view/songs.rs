//! Songs, and for whom they are.

use storage::blobs::Hash;

use crate::command::Refusal;
use crate::{Audience, Done, Link, Read, Selection, Song, SongStatus, View, ViewError, keys};

impl View {
    /// A song.
    pub fn song(&self, id: u64) -> Result<Option<Song>, ViewError> {
        Read::song(self, id)
    }

    /// At most `limit` songs, the newest first; `before` goes on where an earlier page ended.
    pub fn songs(&self, before: Option<u64>, limit: usize) -> Result<Vec<Song>, ViewError> {
        self.newest(keys::songs(before), limit)
    }

    /// At most `limit` songs with this file, the oldest first.
    pub fn songs_of(&self, hash: &Hash, limit: usize) -> Result<Vec<u64>, ViewError> {
        self.some_values(keys::songs_of(hash), limit)
    }

    /// How far a song is.
    pub fn song_status(&self, song: &Song) -> Result<SongStatus, ViewError> {
        // A song's job exists as long as the song does; one without was removed a moment ago.
        Ok(self.job(song.job)?.map_or(SongStatus::Cancelled, |job| job.state.into()))
    }

    /// Whether a song stands in an audience's list.
    pub fn is_for(&self, song: &Song, audience: Audience) -> Result<bool, ViewError> {
        let by_right = audience == Audience::of(song.uploader_id);
        Ok(by_right || self.get(&keys::visible(audience, song.id))?.is_some())
    }

    /// Whether a song of this number stands in any of these audiences' lists.
    pub fn is_listed(&self, song: u64, audiences: &[Audience]) -> Result<bool, ViewError> {
        self.has_any(audiences.iter().map(|audience| keys::visible(*audience, song)))
    }

    /// Whether a song stands in a playlist of its uploader's that is shared with one of these audiences.
    pub fn is_played_for(&self, song: &Song, audiences: &[Audience]) -> Result<bool, ViewError> {
        let Some(owner) = song.uploader_id else { return Ok(false) };
        let playlists: Vec<u64> = self.values(keys::entries_with_of(song.id, owner))?;
        let shares = |playlist| audiences.iter().map(move |audience| keys::playlist_for(*audience, playlist));
        self.has_any(playlists.into_iter().flat_map(shares))
    }

    /// With whom a song is shared.
    pub fn shares_of(&self, song: u64) -> Result<Vec<Audience>, ViewError> {
        Ok(self.values(keys::shares_of(song))?.into_iter().map(Audience::from_number).collect())
    }

    /// The link with this secret's hash. It may have ended.
    pub fn link(&self, secret: &Hash) -> Result<Option<Link>, ViewError> {
        self.value(&keys::link(secret))
    }

    /// A song's links, the oldest first. Some may have ended.
    pub fn links_of(&self, song: u64) -> Result<Vec<Link>, ViewError> {
        self.behind(keys::links_of(song), keys::link)
    }

    /// What a client's key stands for.
    pub fn done(&self, key: &Hash) -> Result<Option<Done>, ViewError> {
        self.value(&keys::done(key))
    }

    /// Whether a song with this file, model and formats would be taken from `owner` where one may have `limit` open
    /// jobs, so that it need not travel to be refused. Adding it decides.
    pub fn would_take(
        &self,
        hash: &Hash,
        model: &str,
        formats: &[String],
        owner: &str,
        limit: u32,
    ) -> Result<Result<(), Refusal>, ViewError> {
        if self.job_for(hash, model, formats, &Selection::All)?.is_some() {
            return Ok(Ok(()));
        }
        self.admits(owner, limit)
    }
}
