//! Idempotent uploads: an upload that is sent again with the same key returns the existing song.

use axum::http::HeaderMap;
use state::command::{AddSong, AddSongOnce, Refusal};
use storage::blobs::Hash;

use super::song_view::SongView;
use super::songs::SongData;
use crate::app::State;
use crate::auth::caller::Caller;
use crate::clock::DAY;
use crate::clock::now;
use crate::http::answer::Answer;
use crate::http::error::ApiError;

/// The header of the key.
const KEY: &str = "idempotency-key";
/// The longest key, in bytes.
const KEY_BYTES: usize = 255;
/// How long a key is stored, in milliseconds.
const KEPT_FOR: u64 = DAY;

/// The key of an upload, if it has one.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().ok().filter(|text| (1..=KEY_BYTES).contains(&text.len()) && keys.next().is_none());
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        ApiError::Malformed(format!(
            "Invalid Idempotency-Key: use 1 to {KEY_BYTES} ASCII characters, for example a UUID."
        ))
    })
}

/// An upload with a key.
pub(super) struct IdempotentUpload {
    key: Hash,
    owner: Hash,
    content: Hash,
}

impl IdempotentUpload {
    pub(super) fn new(key: &str, owner: &str, hash: &Hash, fingerprint: &str) -> Self {
        let owner = Hash::of(owner.as_bytes());
        let content = Hash::of(format!("{hash} {fingerprint}").as_bytes());
        Self { key: Hash::of(format!("{owner} {key}").as_bytes()), owner, content }
    }

    /// The song that an earlier upload with the key added.
    pub(super) async fn existing(&self, state: &State, caller: Caller) -> Result<Option<Answer<SongData>>, ApiError> {
        let (key, content) = (self.key, self.content);
        state
            .read(move |view| {
                let Some(record) = view.idempotency_record(&key)? else { return Ok(None) };
                let Some(song) = record.song_for(&content, now())? else { return Ok(None) };
                let song = view.song(song)?.ok_or(Refusal::SongOfKeyGone(song))?;
                Ok(Some(Answer::with(SongData { song: SongView::of(view, &caller, song)? })))
            })
            .await
    }

    /// The command that adds the song only once.
    pub(super) fn wrap(self, add: AddSong) -> AddSongOnce {
        let (Self { key, owner, content }, at) = (self, now());
        AddSongOnce { key, owner, content, until: at + KEPT_FOR, add, at }
    }
}
