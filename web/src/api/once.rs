//! Uploads that are sent again: a client that gave an upload a name and lost the answer is told of the song that there is.

use axum::http::HeaderMap;
use state::ACCOUNTS;
use state::command::{Command, Refusal};
use storage::blobs::Hash;

use super::song_view::SongView;
use super::songs::SongData;
use crate::answer::Answer;
use crate::caller::Caller;
use crate::dates::DAY;
use crate::error::ApiError;
use crate::{State, now};

/// The field in which a client names an upload, to send it again without adding it again.
const KEY: &str = "idempotency-key";
/// The longest such name.
const KEY_BYTES: usize = 255;
/// For how many milliseconds it is remembered.
const KEPT_FOR: u64 = DAY;

/// The client's own name for the upload, if it gave one.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().ok().filter(|text| (1..=KEY_BYTES).contains(&text.len()) && keys.next().is_none());
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        ApiError::Malformed(format!(
            "The Idempotency-Key cannot be one. Send one of 1 to {KEY_BYTES} ASCII characters, a random UUID for example."
        ))
    })
}

/// What an upload with a key is, so that it is known again.
pub(super) struct Once {
    key: Hash,
    owner: Hash,
    content: Hash,
}

impl Once {
    pub(super) fn new(key: &str, owner: &str, hash: &Hash, words: &str) -> Self {
        let owner = Hash::of(owner.as_bytes());
        let content = Hash::of(format!("{hash} {words}").as_bytes());
        Self { key: Hash::of(format!("{owner} {key}").as_bytes()), owner, content }
    }

    /// The song that this upload has become already.
    pub(super) async fn done(&self, state: &State, caller: Caller) -> Result<Option<Answer<SongData>>, ApiError> {
        let (key, content) = (self.key, self.content);
        state
            .read(move |view| {
                if !view.has_level(ACCOUNTS)? {
                    return Err(Refusal::NoAccounts.into());
                }
                let Some(done) = view.done(&key)? else { return Ok(None) };
                let Some(song) = done.again(&content, now())? else { return Ok(None) };
                let song = view.song(song)?.ok_or(Refusal::SongOfKeyGone(song))?;
                Ok(Some(Answer::with(SongData { song: SongView::of(view, &caller, song)? })))
            })
            .await
    }

    /// The command that adds the song once.
    pub(super) fn wrap(self, add: Command) -> Command {
        let (Self { key, owner, content }, at) = (self, now());
        Command::Once { key, owner, content, until: at + KEPT_FOR, add: Box::new(add), at }
    }
}
