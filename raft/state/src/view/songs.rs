//! Reading songs and access to them.

use storage::blobs::Hash;

use crate::command::answer::Refusal;
use crate::jobs::separation;
use crate::tables::{
    IDEMPOTENCY, LINKS, LINKS_OF_SONG, PLAYLISTS_FOR, PLAYLISTS_WITH_SONG, SHARES, SONGS, SONGS_OF_FILE, VISIBLE,
};
use crate::{Audience, IdempotencyRecord, Link, Read, Selection, Song, SongStatus, View, ViewError};

impl View {
    /// A song.
    pub fn song(&self, id: u64) -> Result<Option<Song>, ViewError> {
        Read::song(self, id)
    }

    /// At most `limit` songs, the newest first; `before` is the number of the last song on the page before.
    pub fn songs(&self, before: Option<u64>, limit: usize) -> Result<Vec<Song>, ViewError> {
        self.newest(SONGS, SONGS.below(before), limit)
    }

    /// At most `limit` songs with this file, the oldest first.
    pub fn songs_of(&self, hash: &Hash, limit: usize) -> Result<Vec<u64>, ViewError> {
        self.first(SONGS_OF_FILE, SONGS_OF_FILE.under(hash), limit)
    }

    /// The status of a song.
    pub fn song_status(&self, song: &Song) -> Result<SongStatus, ViewError> {
        // A song's own job exists as long as the song; if not, both were removed between two reads.
        Ok(self.job(song.job)?.map_or(SongStatus::Cancelled, |job| job.state.into()))
    }

    /// Whether a song is in an audience's list.
    pub fn is_for(&self, song: &Song, audience: Audience) -> Result<bool, ViewError> {
        Ok(audience == Audience::of(song.uploader_id) || self.has(VISIBLE, (audience, song.id))?)
    }

    /// Whether the song of this number is in one of these audiences' lists.
    pub fn is_listed(&self, song: u64, audiences: &[Audience]) -> Result<bool, ViewError> {
        self.has_any(VISIBLE, audiences.iter().map(|audience| (*audience, song)))
    }

    /// Whether a song is in a playlist of its uploader that is shared with one of these audiences.
    pub fn is_played_for(&self, song: &Song, audiences: &[Audience]) -> Result<bool, ViewError> {
        let Some(owner) = song.uploader_id else { return Ok(false) };
        let playlists = self.list(PLAYLISTS_WITH_SONG, PLAYLISTS_WITH_SONG.under_two(song.id, owner))?;
        let shares = |playlist| audiences.iter().map(move |audience| (*audience, playlist));
        self.has_any(PLAYLISTS_FOR, playlists.into_iter().flat_map(shares))
    }

    /// The audiences that a song is shared with.
    pub fn shares_of(&self, song: u64) -> Result<Vec<Audience>, ViewError> {
        self.list(SHARES, SHARES.under(song))
    }

    /// The link with this secret's hash. It may have expired.
    pub fn link(&self, secret: &Hash) -> Result<Option<Link>, ViewError> {
        self.get(LINKS, secret)
    }

    /// A song's links, the oldest first. Some may have expired.
    pub fn links_of(&self, song: u64) -> Result<Vec<Link>, ViewError> {
        self.by_hashes(LINKS_OF_SONG, LINKS_OF_SONG.under(song), LINKS)
    }

    /// The record of an idempotency key. It may have expired.
    pub fn idempotency_record(&self, key: &Hash) -> Result<Option<IdempotencyRecord>, ViewError> {
        self.get(IDEMPOTENCY, key)
    }

    /// Whether a song with this file, model and formats would be accepted from `owner`, who may have `limit` open jobs. So an
    /// upload can be refused before its file is replicated. Applying the command decides.
    pub fn would_accept(
        &self,
        hash: &Hash,
        model: &str,
        formats: &[String],
        owner: &str,
        limit: u32,
    ) -> Result<Result<(), Refusal>, ViewError> {
        if self.job_like(&separation::dedup_key(hash, model, formats, &Selection::All))?.is_some() {
            return Ok(Ok(()));
        }
        self.admits(owner, limit)
    }
}
